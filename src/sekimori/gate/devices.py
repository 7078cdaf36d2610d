"""What doors at which devices ask have in common: what they know, what they are, and the way they ask."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import Final, Protocol

from sekimori.gate.ports import Gate
from sekimori.gate.refusals import Refusals
from sekimori.model.actual import State, Status
from sekimori.model.address import IPAddress
from sekimori.model.errors import Problem, not_applied
from sekimori.model.events import Event
from sekimori.model.lease import NonceRule, Obtain, Release
from sekimori.model.mapping import Mapping as PortMapping
from sekimori.model.mapping import Owner
from sekimori.model.network import Network
from sekimori.model.request import Context
from sekimori.model.snapshot import Snapshot
from sekimori.policy.lease import lease_for

__all__ = ["DeviceDoor", "Inside", "Leases"]

_TRIES: Final = 8
"""How many ports that turn out to be in use on this machine are passed over for one request."""


class Inside(Protocol):
    """What a door must know of this machine and of who asks."""

    @property
    def directory(self) -> Path:
        """Where a door keeps what must outlast the daemon, in files that begin with its name."""
        ...

    @property
    def refusals(self) -> Refusals:
        """Where it is kept what devices were refused."""
        ...

    def now(self) -> float:
        """Unix seconds."""
        ...

    def snapshot(self) -> Snapshot:
        """What stands in the ledger."""
        ...

    def revision(self) -> int:
        """The ledger's newest revision."""
        ...

    def network(self) -> Network:
        """This machine's place in the network."""
        ...

    def status_of(self, mapping_id: str) -> Status:
        """The state of a mapping."""
        ...

    def outside_address(self, version: int) -> IPAddress | None:
        """The address by which mappings are reached from outside, IPv4 or IPv6; None where there is none.

        Behind another router it is that one's, where it is known.
        """
        ...

    async def identify(self, address: IPAddress, interface: str) -> Owner | None:
        """The device that has an address on the link of an interface, by its MAC address.

        None where nobody is proved to have it: the address is not on that link, or does not answer.
        """
        ...

    async def find_present(self, address: IPAddress, interface: str) -> Owner | None:
        """The device that answers at an address of a link now; it is asked where it has not answered lately.

        None where nobody does: the device may have left, or be asleep.
        """
        ...

    def subscribe(self) -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        """What is committed, and how the state of mappings changes, from now on."""
        ...


class DeviceDoor(Protocol):
    """A door as the daemon runs it: made anew for each change of its setting."""

    async def run(self) -> None:
        """Answer until cancelled. An interface that cannot be answered on is tried again."""
        ...

    def reframe(self) -> None:
        """The network changed: look again where to answer, and which address to tell."""
        ...

    def problems(self) -> Mapping[str, Problem]:
        """Why it does not answer, by interface; none of those where it does."""
        ...


class Leases:
    """How a door obtains and ends leases: the ways in, with what every protocol needs around them.

    Args:
        gate: the gate.
        inside: what is known.
        door: the door's word for the journal.
    """

    def __init__(self, gate: Gate, inside: Inside, door: str) -> None:
        self._gate = gate
        self._inside = inside
        self._door = door

    async def obtain(self, device: Owner, ask: Obtain) -> PortMapping:
        """Open a lease or renew it; the mapping that now stands.

        It is another's where one already leads to the very same place. A port that a program of this
        machine uses is passed over, unless the ask is for that one.

        Raises:
            Problem: why not, and it is noted for whoever looks after the gateway. Nothing was changed; but
                what stood has more time, though nobody gets in by it now (`not-applied`).
        """
        try:
            mapping = await self._obtain(device, ask)
            self._refuse_broken(mapping)
            return mapping
        except Problem as problem:
            self._inside.refusals.note(device, self._door, ask, problem, self._inside.now())
            raise

    async def _obtain(self, device: Owner, ask: Obtain) -> PortMapping:
        context = Context(device, self._door, ask.terms.description)
        for _ in range(_TRIES):
            try:
                outcome = await self._gate.enact([ask], context)
            except Problem as problem:
                port = problem.facts.get("port")
                if problem.code != "port-busy" or ask.exact or not str(port).isdecimal():
                    raise
                ask = replace(ask, avoid=ask.avoid | {int(str(port))})
                continue
            if outcome.changes:
                made = outcome.changes[0].after
                assert isinstance(made, PortMapping)
                return made
            found = lease_for(ask, device, self._inside.snapshot())
            if found is not None:
                return found
        raise Problem("no-free-port", ports=f"{ask.protocol}/{ask.ports}")

    def _refuse_broken(self, mapping: PortMapping) -> None:
        """Do not tell a device that its port is open where it is not: renewing asks nothing of a plane that
        failed since, such as a router above that takes no more.
        """
        status = self._inside.status_of(mapping.id)
        if status.state is State.FAILED and status.problem is not None:
            raise not_applied(mapping.name, status.problem)

    async def release(
        self, device: Owner, mapping: PortMapping, nonce: str | None, rule: NonceRule, why: str = ""
    ) -> None:
        """End a lease of the device.

        Raises:
            Problem: why not; nothing was changed.
        """
        ask = Release(mapping.id, nonce, rule)
        await self._gate.enact([ask], Context(device, self._door, why))
