"""Targets that move: looked up before they are granted, and followed for as long as anything leads there."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import replace

from sekimori.model.decision import Made, Notice
from sekimori.model.errors import Problem
from sekimori.model.link import RESERVED
from sekimori.model.mapping import Mapping as PortMapping
from sekimori.model.request import Ask, Change, Submit
from sekimori.model.snapshot import Snapshot
from sekimori.model.target import Target, TargetKind
from sekimori.reconcile.devices import Devices
from sekimori.reconcile.names import Names

__all__ = ["Following"]

MakeAsks = Callable[[], Sequence[Ask]]


class Following:
    """Tells names and devices which of their targets matter."""

    def __init__(self, names: Names, devices: Devices, snapshot: Callable[[], Snapshot]) -> None:
        self._names = names
        self._devices = devices
        self._snapshot = snapshot
        self._asked_for: Counter[Target] = Counter()
        """Targets of asks under way, which no other ask's end may forget."""

    @contextlib.asynccontextmanager
    async def learned(self, make_asks: MakeAsks) -> AsyncIterator[MakeAsks]:
        """Look up the targets of asks, and keep them known while the asks are under way.

        Yields:
            what makes the asks again, with every device known by its MAC address.

        Raises:
            Problem: `no-such-host`, `device-not-found` or `device-ambiguous`.
        """
        snapshot = self._snapshot()
        asked = [target for ask in make_asks() if (target := _moving_target(ask, snapshot)) is not None]
        pins: dict[Target, Target] = {}
        self._asked_for.update(asked)
        try:
            for target in dict.fromkeys(asked):
                pins[target] = await self._learn(target)
            found = [pin for target, pin in pins.items() if pin != target]
            self._asked_for.update(found)
            asked += found
            yield lambda: [_pinned(ask, pins, self._snapshot()) for ask in make_asks()]
        finally:
            self._asked_for -= Counter(asked)
            self._follow(asked)

    def follow(self, changes: Iterable[Made]) -> None:
        """Follow what changed mappings lead to now; no longer what none leads to any more."""
        stood = [each for change in changes for each in (change.before, change.after)]
        self._follow({each.target for each in stood if isinstance(each, PortMapping)})

    def notices(self, changes: Iterable[Made]) -> list[Notice]:
        """How the devices that mappings now lead to can be given addresses that stay."""
        found: dict[Target, Notice] = {}
        for change in changes:
            before, after = change.before, change.after
            if not isinstance(after, PortMapping) or after.target.kind is not TargetKind.DEVICE:
                continue
            if isinstance(before, PortMapping) and before.target == after.target:
                continue
            line = self._devices.reservation(after.target)
            if line is not None:
                found[after.target] = _reservation_notice(after.target, line)
        return list(found.values())

    async def _learn(self, target: Target) -> Target:
        if target.kind is TargetKind.DEVICE:
            return await self._devices.learn(target)
        await self._names.learn(target.host)
        return target

    def _follow(self, targets: Iterable[Target]) -> None:
        snapshot = self._snapshot()
        for target in targets:
            wanted = target in self._asked_for or bool(snapshot.leading_to(target))
            if target.kind is TargetKind.NAME:
                self._names.follow(target.host, wanted)
            elif target.kind is TargetKind.DEVICE and target.mac:
                self._devices.follow(target, wanted)


def _moving_target(ask: Ask, snapshot: Snapshot) -> Target | None:
    """The target of an ask that has to be looked up here: beyond a link the far end does that."""
    if not isinstance(ask, Submit | Change) or _goes_far(ask, snapshot):
        return None
    target = ask.wish.target
    looked_up = isinstance(target, Target) and target.kind in (TargetKind.NAME, TargetKind.DEVICE)
    return target if isinstance(target, Target) and looked_up else None


def _goes_far(ask: Submit | Change, snapshot: Snapshot) -> bool:
    """Whether what is asked for is dialled at the far end of a link."""
    if isinstance(ask.wish.via, str):
        # A link may be added by the asks themselves; what is no link after all, policy refuses.
        return ask.wish.via not in RESERVED
    stands = _standing(ask.ref, snapshot) if isinstance(ask, Change) else None
    return stands is not None and stands.is_dialled_far


def _standing(ref: str, snapshot: Snapshot) -> PortMapping | None:
    try:
        return snapshot.find(ref)
    except Problem:  # policy refuses it by the same words
        return None


def _pinned(ask: Ask, pins: dict[Target, Target], snapshot: Snapshot) -> Ask:
    target = _moving_target(ask, snapshot)
    if target is None or not isinstance(ask, Submit | Change):
        return ask
    pin = pins.get(target, target)
    return ask if pin == target else replace(ask, wish=replace(ask.wish, target=pin))


def _reservation_notice(target: Target, line: str) -> Notice:
    return Notice(
        "reservation",
        f"{target} is followed when its address changes. To give it one that stays, tell the DHCP server:"
        f" {line}",
        f"{target} はアドレスが変わっても追いかけます。アドレスを固定するには、DHCP サーバーに"
        f"次を設定してください: {line}",
    )
