"""The bytes that users of the SSH door may carry: counted over restarts, from when a quota is given on.

Who has used theirs up loses the ports here, and the channels to destinations at the door, which asks.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import structlog

from sekimori.gate.ports import Gate
from sekimori.host.writing import write_whole
from sekimori.model.actual import Counters
from sekimori.model.door import Door, DoorName
from sekimori.model.errors import Problem
from sekimori.model.events import Committed
from sekimori.model.mapping import Mapping as PortMapping
from sekimori.model.mapping import Owner, OwnerKind
from sekimori.model.request import Close, Context
from sekimori.model.snapshot import Snapshot
from sekimori.model.user import Grant, User
from sekimori.reconcile.ports import Clock

__all__ = ["EVERY", "Quotas"]

EVERY: Final = 5.0
"""Seconds between looks. What is carried between two of them may exceed the quota."""
_FILE: Final = "quotas.json"
_CHANNELS: Final = "sessions"
"""The counter of channels to destinations. It begins at nothing with each start of the daemon."""
_log = structlog.get_logger("quotas")


@dataclass(slots=True)
class _Account:
    """What a user has carried since `since` (Unix seconds)."""

    since: float
    bytes: int = 0
    seen: dict[str, int] = field(default_factory=dict)
    """What each counter showed last: of a mapping by its id, of channels to destinations by `_CHANNELS`."""
    before: set[str] = field(default_factory=set)
    """Mappings that stood before there was a quota, and were not looked at since."""


class Quotas:
    """Adds up what users with a quota carry. Who has used it up has no ports until its period is over.

    A quota that is given begins at nothing, whatever its user carried before; one that is changed goes on.

    Args:
        counters: the counters of these mappings.
        channels: bytes of each user's channels to destinations (`-L`, `-D`, `-J`) since the daemon's start.
        directory: where the accounts are kept.
    """

    def __init__(
        self,
        gate: Gate,
        snapshot: Callable[[], Snapshot],
        counters: Callable[[Sequence[str]], Awaitable[Mapping[str, Counters]]],
        channels: Callable[[], Mapping[str, int]],
        directory: Path,
        clock: Clock,
    ) -> None:
        self._gate = gate
        self._snapshot = snapshot
        self._counters = counters
        self._channels = channels
        self._file = directory / _FILE
        self._clock = clock
        self._accounts = self._load()
        self._closed: dict[str, list[str]] = {}  # ports by user, since the last look
        self._is_new = False  # whether an account was begun or ended of which the file does not know
        self._begin({*snapshot().users, *self._held()})

    def used(self, user: str) -> int:
        """Bytes that a user has carried in the present period."""
        account, grant = self._accounts.get(user), self._grant(user)
        if account is None or grant is None or self._is_over(account, grant):
            return 0
        return account.bytes

    def is_used_up(self, user: str) -> bool:
        """Whether a user has a quota and has carried that much."""
        grant = self._grant(user)
        return grant is not None and grant.quota is not None and self.used(user) >= grant.quota

    def used_up(self) -> frozenset[str]:
        """Those who have used up their quota."""
        return frozenset(filter(self.is_used_up, self._accounts))

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        never = asyncio.Event()
        while True:
            await self._clock.wait_until(self._clock.now() + EVERY, never)
            await self.look()

    def heed(self, event: Committed) -> None:
        """Take note of ports that close: what they carried since the last look counts too; and of quotas."""
        for change in event.changes:
            before, after = change.before, change.after
            if isinstance(before, PortMapping) and after is None and before.owner.kind is OwnerKind.KEY:
                self._closed.setdefault(before.owner.id, []).append(before.id)
            elif isinstance(change.subject, User):
                self._take_over({change.subject.name}, after is None or _quota(after) is None)
            elif isinstance(after, Door) and after.door is DoorName.SSH:
                of_files = {*self._accounts, *self._held(), *self._channels()} - {*self._snapshot().users}
                self._take_over(of_files, _quota(after) is None)

    def _take_over(self, names: Iterable[str], is_without: bool) -> None:
        """Go by the quotas of these as they are now."""
        if is_without:  # one that is given later begins at nothing
            for name in names:
                self._is_new |= self._accounts.pop(name, None) is not None
        else:
            self._begin(names)

    def _begin(self, names: Iterable[str]) -> None:
        """Open accounts for those of these who have a quota and no account."""
        snapshot, channels, now = self._snapshot(), self._channels(), self._clock.now()
        for name in names:
            if name not in self._accounts and self._has_quota(name):
                stood = {each.id for each in snapshot.leases_of(Owner(OwnerKind.KEY, name))}
                self._accounts[name] = _Account(now, 0, {_CHANNELS: channels.get(name, 0)}, stood)
                self._is_new = True

    async def look(self) -> None:
        """Look once."""
        held = self._held()
        closed, self._closed = self._closed, {}
        names = {name for name in (*held, *closed, *self._channels()) if self._has_quota(name)}
        ids = {
            name: [*(mapping.id for mapping in held.get(name, ())), *closed.get(name, ())] for name in names
        }
        every = [each for some in ids.values() for each in some]
        counters = await self._counters(every) if every else {}
        names = {name for name in names if self._has_quota(name)}  # it may have been taken away meanwhile
        channels = self._channels()
        changed, self._is_new = self._is_new, False
        for name in sorted(names):
            shown = {each: _bytes(counters[each]) for each in ids[name] if each in counters}
            shown[_CHANNELS] = channels.get(name, 0)
            changed |= self._count(name, shown, ids[name])
        if changed:
            self._save()
        for name in sorted(names):
            if self.is_used_up(name):
                await self._close(name, held.get(name, ()))

    def _count(self, name: str, shown: Mapping[str, int], ids: Iterable[str]) -> bool:
        """Add what counters show beyond the last look; whether the account is another now.

        Of counters that were to be shown (`ids`) and could not be had, what they showed last is kept.
        """
        grant, now = self._grant(name), self._clock.now()
        account = self._accounts.get(name)
        was = account and account.bytes
        if account is None:  # somebody of a file, who held nothing when the quota was given
            account = self._accounts[name] = _Account(now)
        elif grant is not None and self._is_over(account, grant):
            account = self._accounts[name] = _Account(now, 0, account.seen, account.before)
        for key, value in shown.items():
            if key not in account.before:
                last = account.seen.get(key, 0)
                account.bytes += value - last if value >= last else value  # a counter that began anew
        account.before.difference_update(shown)
        account.seen = {key: account.seen[key] for key in ids if key in account.seen} | dict(shown)
        return account.bytes != was

    async def _close(self, name: str, mappings: Iterable[PortMapping]) -> None:
        for mapping in mappings:
            _log.info("quota_used_up", user=name, name=mapping.name, bytes=self.used(name))
            try:
                await self._gate.enact(
                    [Close(mapping.id, now=True)], Context(mapping.owner, "guard", "the quota is used up")
                )
            except Problem as problem:  # it may have ended meanwhile; what stands is looked at again
                _log.warning("port_not_closed", name=mapping.name, problem=problem.title())

    def _held(self) -> dict[str, list[PortMapping]]:
        """Leases by the user who has them."""
        snapshot = self._snapshot()
        owners = [owner for owner in snapshot.leaseholders() if owner.kind is OwnerKind.KEY]
        return {owner.id: list(snapshot.leases_of(owner)) for owner in owners}

    def _has_quota(self, name: str) -> bool:
        grant = self._grant(name)
        return grant is not None and grant.quota is not None

    def _grant(self, name: str) -> Grant | None:
        """A user's grant; of the keys of a file, that of the door."""
        snapshot = self._snapshot()
        user = snapshot.users.get(name)
        if user is not None:
            return user.grant
        door = snapshot.doors.get(DoorName.SSH)
        return None if door is None else door.grant

    def _is_over(self, account: _Account, grant: Grant) -> bool:
        return self._clock.now() >= account.since + grant.quota_every

    def _load(self) -> dict[str, _Account]:
        try:
            document: dict[str, Any] = json.loads(self._file.read_text(encoding="utf-8"))
            return {
                str(name): _Account(
                    float(each["since"]),
                    int(each["bytes"]),
                    dict(each["seen"]) | {_CHANNELS: 0},
                    set(each.get("before", ())),
                )
                for name, each in document.items()
                if self._has_quota(name)
            }
        except FileNotFoundError:
            return {}
        except (OSError, AttributeError, KeyError, TypeError, ValueError) as error:
            _log.warning("quotas_not_read", file=str(self._file), why=str(error))
            return {}

    def _save(self) -> None:
        document = {
            name: {
                "since": each.since,
                "bytes": each.bytes,
                "seen": each.seen,
                "before": sorted(each.before),
            }
            for name, each in self._accounts.items()
            if self._has_quota(name)
        }
        try:
            write_whole(self._file, json.dumps(document).encode())
        except OSError as error:  # the figures in memory hold until the next start
            _log.warning("quotas_not_written", file=str(self._file), why=str(error))


def _quota(subject: object) -> int | None:
    grant = subject.grant if isinstance(subject, User | Door) else None
    return None if grant is None else grant.quota


def _bytes(counters: Counters) -> int:
    return counters.bytes_in + counters.bytes_out
