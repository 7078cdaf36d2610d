"""Which sessions hold which ports, on the daemon's side: the ways in to open, take over and leave them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import structlog

from sekimori.gate.devices import Inside
from sekimori.gate.ports import Gate
from sekimori.model.actual import State
from sekimori.model.address import IpProtocol
from sekimori.model.causes import cause
from sekimori.model.errors import Problem, not_applied
from sekimori.model.link import client_away
from sekimori.model.mapping import Mapping as PortMapping
from sekimori.model.mapping import Owner, OwnerKind
from sekimori.model.request import Context
from sekimori.model.user import Bind, Grant, Unbind

__all__ = ["DOOR", "Holding"]

DOOR: Final = "ssh"
"""The door's word for the journal."""

_TRIES: Final = 8
"""How many ports that turn out to be in use on this machine are passed over for one request."""
_log = structlog.get_logger("ssh")


@dataclass(frozen=True, slots=True)
class _Held:
    session: int
    user: str
    generation: int


class Holding:
    """The ports of all sessions.

    Args:
        gate: the gate.
        inside: what is known.
        grant_of: what a user may do now; None for one that is not let in any more.
        look_again: told of mappings that are real now, or no longer.
    """

    def __init__(
        self,
        gate: Gate,
        inside: Inside,
        grant_of: Callable[[str], Grant | None],
        look_again: Callable[[Iterable[str]], None],
    ) -> None:
        self._gate = gate
        self._inside = inside
        self._grant_of = grant_of
        self._look_again = look_again
        self._held: dict[str, _Held] = {}
        self._asking: dict[int, tuple[str, int]] = {}
        self._turns: dict[str, asyncio.Lock] = {}

    def why_away(self, mapping: PortMapping) -> Problem | None:
        """What keeps a mapping of a session from being real: nobody holds it, nor is about to."""
        if mapping.id in self._held or self._is_asked_for(mapping):
            return None
        return client_away(mapping)

    def held_by(self, session: int) -> tuple[str, ...]:
        """The ids of what a session holds."""
        return tuple(key for key, held in self._held.items() if held.session == session)

    def ids(self) -> tuple[str, ...]:
        """The ids of all that is held."""
        return tuple(self._held)

    def holds(self, mapping_id: str) -> bool:
        """Whether some session holds a mapping."""
        return mapping_id in self._held

    def forget(self, mapping_id: str) -> None:
        """A mapping is gone, or paused: nobody holds it."""
        self._held.pop(mapping_id, None)

    async def bind(self, frame: Mapping[str, Any], is_there: Callable[[int], bool]) -> PortMapping:
        """Open a port for a session, or take over the one that its user has.

        The requests of one user are done one after another: each must see which ports the others got.

        Raises:
            Problem: why not; nothing was changed.
        """
        session, user = int(frame["session"]), str(frame["user"])
        async with self._turns.setdefault(user, asyncio.Lock()):
            grant = self._grant_of(user)
            if grant is None:
                raise Problem("no-such-user", name=user, near="")
            ask = _ask(frame, grant)
            self._asking[session] = user, ask.port
            try:
                mapping = self._still_there(await self._obtain(ask, user), ask, user)
                self._held[mapping.id] = _Held(session, user, _generation(mapping))
            finally:
                del self._asking[session]
                self._look_again([each.id for each in self._ports_of(user)])
        if not is_there(session):  # it left meanwhile
            await self.leave(session)
        return mapping

    async def unbind(self, frame: Mapping[str, Any]) -> None:
        """Close a port that a session gave up.

        Raises:
            Problem: why not; it stands, and nobody holds it.
        """
        key = str(frame["id"])
        held = self._held.get(key)
        if held is not None and held.session == int(frame["session"]):
            del self._held[key]
            await self._let_go(key, held, keep=0)

    async def leave(self, session: int) -> None:
        """A session is gone: what it held stays its user's for a while."""
        # All at once: while one is let go, others may be taken by a session that has come back.
        gone = {key: self._held.pop(key) for key in self.held_by(session)}
        self._look_again(gone)
        for key, held in gone.items():
            await self._keep(key, held)

    async def settle(self) -> None:
        """Nobody is connected: what was held before is to be kept no longer than for somebody who left."""
        self._held.clear()
        for mapping in [*self._inside.snapshot()]:
            if mapping.lease is not None and str(mapping.lease.protocol) == DOOR and not mapping.paused:
                await self._keep(mapping.id, _Held(0, mapping.owner.id, _generation(mapping)))

    # -- inside --------------------------------------------------------------------------------------------

    async def _obtain(self, ask: Bind, user: str) -> PortMapping:
        context = Context(Owner(OwnerKind.KEY, user), DOOR, ask.description)
        for _ in range(_TRIES):
            held = frozenset(key for key, each in self._held.items() if each.user == user)
            try:
                outcome = await self._gate.enact([replace(ask, held=held)], context)
            except Problem as problem:
                port = str(problem.facts.get("port"))
                if problem.code != "port-busy" or ask.port or not port.isdecimal():
                    raise
                ask = replace(ask, avoid=ask.avoid | {int(port)})
                continue
            mapping = outcome.changes[0].after
            assert isinstance(mapping, PortMapping)
            self._refuse_broken(mapping)
            return mapping
        raise Problem("no-free-port", ports="tcp")

    def _refuse_broken(self, mapping: PortMapping) -> None:
        """Do not say that a port is open where it is not: what failed since is not asked for again."""
        status = self._inside.status_of(mapping.id)
        if status.state is State.FAILED and status.problem is not None:
            if status.problem.code == "client-away":  # it was, a moment ago
                return
            raise not_applied(mapping.name, status.problem)

    def _still_there(self, opened: PortMapping, ask: Bind, user: str) -> PortMapping:
        """What was opened, as it stands now: of what others did to it meanwhile nobody was told."""
        mapping = self._inside.snapshot().get(opened.id)
        if mapping is None:
            who = Owner(OwnerKind.KEY, user).label
            raise Problem("bind-refused", port=ask.port or "0", who=who, why=cause("bind-closed"))
        if mapping.paused:
            raise Problem("lease-paused", name=mapping.name)
        return mapping

    async def _keep(self, key: str, held: _Held) -> None:
        grant = self._grant_of(held.user)
        try:
            await self._let_go(key, held, keep=0 if grant is None else grant.hold)
        except Problem as problem:
            _log.warning("not_let_go", mapping=key, why=problem.title())

    async def _let_go(self, key: str, held: _Held, keep: int) -> None:
        context = Context(Owner(OwnerKind.KEY, held.user), DOOR)
        await self._gate.enact([Unbind(key, keep, held.generation)], context)

    def _is_asked_for(self, mapping: PortMapping) -> bool:
        user, port = mapping.owner.id, mapping.ports[0].outside.first
        return not {(user, port), (user, 0)}.isdisjoint(self._asking.values())

    def _ports_of(self, user: str) -> Iterable[PortMapping]:
        return self._inside.snapshot().leases_of(Owner(OwnerKind.KEY, user))


def _ask(frame: Mapping[str, Any], grant: Grant) -> Bind:
    return Bind(
        host=str(frame["host"]),
        port=int(frame["port"]),
        grant=grant,
        permitted=None if frame["permitted"] is None else tuple(frame["permitted"]),
        description=str(frame["description"]),
        protocol=IpProtocol.UDP if frame["protocol"] == "udp" else IpProtocol.TCP,
    )


def _generation(mapping: PortMapping) -> int:
    return 0 if mapping.lease is None else mapping.lease.generation
