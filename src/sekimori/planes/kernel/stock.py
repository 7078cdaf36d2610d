"""What the table holds, and how it is brought to hold something else. Everything here blocks.

Structure first, which is inert until an element refers to it; then one batch of elements, which takes
effect whole or not at all; then what nothing refers to any more is collected.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import Final

from sekimori.model.address import IpProtocol
from sekimori.model.mapping import Mapping as PortMapping
from sekimori.model.source import LAN_PREFIXES
from sekimori.planes.kernel.elements import Item, render
from sekimori.planes.kernel.filling import in_parts, one_ahead
from sekimori.planes.kernel.finds import Finds
from sekimori.planes.kernel.frame import EVERYWHERE, TABLE, Frame, Scope, scope_of
from sekimori.planes.kernel.needs import is_special, needed_names, special_text, texts_to_repeat
from sekimori.planes.kernel.policies import (
    LAN_POLICY,
    chain_of,
    policy_of,
    sources_policy,
    trigger_text,
)
from sekimori.planes.kernel.sets import is_filled
from sekimori.planes.kernel.structure import GATEWAY_CHAIN, HOOKS, hooked, structure_text
from sekimori.planes.kernel.symmetric import SYMMETRIC, Symmetric, Turn
from sekimori.planes.kernel.table import Table
from sekimori.reconcile.ports import Wanted

__all__ = ["DAMAGED", "LEFTOVER", "Stock"]

LEFTOVER: Final = "?"
"""Stands among mapping ids for elements that belong to no mapping we know of. No mapping has this id."""

DAMAGED: Final = ""
"""The mark of what is not wholly as it was put."""

_T: Final = f"inet {TABLE}"
_TIMEOUT = re.compile(r" timeout @(\d+)@")


@dataclass(frozen=True, slots=True)
class _Part:
    """Some of very many mappings, with the sets that they are in and the messages that put them there."""

    put: dict[str, Wanted]
    sets: set[str]
    messages: list[bytes]
    encoded_at: float
    """On the monotonic clock."""


@dataclass(slots=True)
class Stock:
    """The mappings in the table.

    Attributes:
        held: what was put, by mapping id.
        marks: fingerprints of what is there, by mapping id; `DAMAGED` for what is not as it was put.
        used: the sets that hold elements, or did: the others are not looked up.
        shows_gateway: the table was found to be that of a gateway when it was last read.
        is_there: there is a table, whatever it holds.
    """

    table: Table
    held: dict[str, Wanted] = field(default_factory=dict)
    marks: dict[str, str] = field(default_factory=dict)
    shows_gateway: bool = False
    is_there: bool = False
    used: set[str] = field(default_factory=set)
    _frame: Frame | None = None
    _unmade: tuple[str, ...] = ()
    """The commands that make again what mappings brought with them and somebody else may have taken."""
    _hooks: frozenset[str] = frozenset()
    """The chains with a hook that are there, needed or not."""
    _has_litter: bool = False
    """A policy has left sets behind that it no longer uses."""
    _finds: Finds = field(default_factory=Finds)
    _lost: set[str] = field(default_factory=set)
    """Mappings not all of whose elements are known to be there."""
    _chains: Counter[str] = field(default_factory=Counter)
    """How many mappings each policy chain serves."""
    _symmetric: Symmetric = field(default_factory=Symmetric)
    _scopes: Counter[Scope] = field(default_factory=Counter)
    """How many mappings claim ports in each special scope."""
    _special: dict[str, PortMapping] = field(default_factory=dict)
    """The mappings that chains of their own follow from: DMZ hosts, triggers, and those that carry GRE."""

    @property
    def frame(self) -> Frame | None:
        """The facts that the table stands on; None while there is none, or none known to be whole."""
        return self._frame

    @property
    def lost(self) -> Collection[str]:
        """The mappings that are held and not known to be wholly there."""
        return self._lost

    def survey(self, now: float) -> None:
        """Read what is there, and mark what is not as it was put.

        Raises:
            NetfilterError, NftError: it cannot be read.
        """
        rules, sets = self.table.names()
        self.shows_gateway = GATEWAY_CHAIN in rules
        self.is_there = bool(rules)
        self._hooks = frozenset(HOOKS).intersection(rules)
        self._frame = None  # all of it is made again, which changes nothing of what is whole
        self._unmade = tuple(texts_to_repeat(self.held, rules, sets))
        self._finds.read(self.table, filter(is_filled, sets), now)
        self.used |= self._finds.sets
        for key, wanted in self.held.items():
            items = [item for item in render(wanted) if self._has_its_turn(item)]
            lost = {item for item in items if not self._finds.has(item)}
            for item in items:
                # Of a damaged mapping the rest is looked for again when it is put; but not what it shares.
                if item not in lost and (not lost or item.set == SYMMETRIC):
                    self._finds.claim(item)
                elif item.set == SYMMETRIC:
                    self._symmetric.lose(item.key)
            if lost:
                self._lost.add(key)
                if key in self.marks:
                    self.marks[key] = DAMAGED
        if self._finds:
            self.marks[LEFTOVER] = DAMAGED

    def lay(self, frame: Frame, now: float) -> None:
        """Bring the structure to these facts, and collect what it no longer needs.

        Raises:
            NftError: the kernel refused; nothing was done.
        """
        frame = replace(frame, used=frozenset(self.used))
        if frame == self._frame:
            return
        needed = frozenset(hooked(frame))
        idle = (f"flush chain {_T} {each}\ndelete chain {_T} {each}\n" for each in self._hooks - needed)
        made = f"add table {_T}\n", sources_policy(LAN_PREFIXES).text, structure_text(frame), *self._unmade
        self.table.structure(_fill_timeouts("".join((*made, *idle)), now))
        self._frame, self._hooks, self._unmade, self.is_there = frame, needed, (), True
        self._lay_special()

    def clear(self) -> None:
        """Take the table away, which nothing needs any more.

        Raises:
            NftError: the kernel refused.
        """
        self.table.delete()
        self._frame, self._hooks, self.is_there = None, frozenset(), False
        self._finds.clear()
        self.used.clear()
        self._chains.clear()
        self._lost.clear()
        self.marks.pop(LEFTOVER, None)

    def change(
        self, put: Mapping[str, Wanted], remove: Iterable[str], now: float, marks: Mapping[str, str]
    ) -> bool:
        """Put mappings, and remove others (`LEFTOVER` too), all or nothing.

        Returns:
            Whether what is there is still known (`Table.write`).

        Raises:
            NftError, NetfilterError: the kernel refused; nothing of what is looked up changed.
        """
        begun = time.monotonic()
        going = [key for key in remove if key in self.held]
        self._prepare(put.values())
        gone, come, turn = self._plan(put, going)
        self._use({item.set for item in (*come, *turn.add)}, now)
        for item in turn.add:
            self._finds.meet(item, gone, come)
        swept = LEFTOVER in remove
        if swept:
            gone += self._finds.unclaimed()
        ready = time.monotonic()
        is_sure = self.table.write((*gone, *turn.drop), come, now + ready - begun)
        self._finds.late = max(self._finds.late, time.monotonic() - ready)
        self._symmetric.settle(turn)
        self._take(put, going, marks, swept=swept)
        return is_sure

    def lacks(self, put: Mapping[str, Wanted]) -> bool:
        """Whether nothing of these mappings is there, so that there is nothing to compare them with."""
        return not self._finds and self.held.keys().isdisjoint(put)

    def fill(self, put: Mapping[str, Wanted], now: float, marks: Mapping[str, str]) -> bool:
        """Put mappings that the table lacks: each wholly or not at all, but not all in one transaction.

        Returns and raises as `change` does; what was put before the kernel refused is in `held`.
        """
        epoch = now - time.monotonic()
        self._prepare(put.values())
        is_sure = True
        landed: dict[str, Wanted] = {}

        def send(part: _Part) -> bool:
            self._use(part.sets, epoch + time.monotonic())
            is_known = self.table.send(part.messages)
            self._finds.late = max(self._finds.late, time.monotonic() - part.encoded_at)
            return is_known

        try:
            for part, is_known in one_ahead(self._parts(put, epoch), send):
                landed |= part.put
                is_sure &= is_known
        finally:
            if len(landed) < len(put):
                self._disclaim(wanted for key, wanted in put.items() if key not in landed)
            self._take(landed, (), {key: marks[key] for key in landed}, swept=False)
        return is_sure

    def carries_gre(self, coming: Iterable[Wanted] = ()) -> bool:
        """Whether one of the mappings, or of those about to be put, carries GRE."""
        new = [wanted.mapping for wanted in coming if is_special(wanted.mapping)]
        mappings = (*self._special.values(), *new)
        return any(pair.protocol is IpProtocol.GRE for mapping in mappings for pair in mapping.ports)

    def scopes(self, coming: Iterable[Wanted] = ()) -> tuple[Scope, ...]:
        """The special scopes that mappings, or those about to be put, claim ports in."""
        found = {scope for scope, count in self._scopes.items() if count > 0}
        found.update(scope_of(wanted.mapping.on) for wanted in coming if wanted.mapping.on is not None)
        return tuple(sorted(found - {EVERYWHERE}))

    # -- within --------------------------------------------------------------------------

    def _parts(self, put: Mapping[str, Wanted], epoch: float) -> Iterator[_Part]:
        """Mappings that the table lacks, ready to be sent. `epoch` is the Unix time of monotonic 0."""
        for some in in_parts(put):
            encoded_at = time.monotonic()
            items = [item for wanted in some.values() for item in render(wanted)]
            shared = [item for item in items if item.set == SYMMETRIC]
            if shared:
                turn = self._symmetric.plan((), shared)
                self._symmetric.settle(turn)  # the next part's turn comes after this one's
                items = [item for item in items if item.set != SYMMETRIC] + [*turn.add]
            messages = self.table.encode((), items, epoch + encoded_at)
            yield _Part(some, {item.set for item in items}, messages, encoded_at)

    def _disclaim(self, lost: Iterable[Wanted]) -> None:
        """Take back what was claimed for mappings that could not be put."""
        shared = (item for wanted in lost for item in render(wanted) if item.set == SYMMETRIC)
        self._symmetric.settle(self._symmetric.plan(shared, ()))

    def _use(self, names: AbstractSet[str], now: float) -> None:
        """Have the structure look these sets up, which are about to hold elements."""
        fresh = names - self.used
        if fresh:
            self.used |= fresh
            if self._frame is not None:
                self.lay(self._frame, now)

    def _plan(self, put: Mapping[str, Wanted], going: Iterable[str]) -> tuple[list[Item], list[Item], Turn]:
        """The elements to drop and to add, and whose turn it is with those that are shared."""
        drop: dict[Item, None] = {}
        add: dict[Item, None] = {}
        for key in going:
            drop.update(dict.fromkeys(self._found_of(key) if key in self._lost else render(self.held[key])))
        for key, wanted in put.items():
            self._compare(key, wanted, drop, add)
        turn = self._symmetric.plan(
            (item for item in drop if item.set == SYMMETRIC), (item for item in add if item.set == SYMMETRIC)
        )
        gone = [item for item in drop if item.set != SYMMETRIC]
        come = [item for item in add if item.set != SYMMETRIC]
        return gone, come, turn

    def _compare(self, key: str, wanted: Wanted, drop: dict[Item, None], add: dict[Item, None]) -> None:
        """What brings the elements of one mapping to what is wanted."""
        old = self.held.get(key)
        new = render(wanted)
        if old is not None and key not in self._lost:
            before = dict.fromkeys(render(old))
            for item in new:
                if item in before:
                    del before[item]
                else:
                    add[item] = None
            drop.update(before)
            return
        if old is not None:  # what was found of it is in its old place, if not in its new one
            new_keys = {(item.set, item.key) for item in new}
            old_items = self._found_of(key)
            drop.update((item, None) for item in old_items if (item.set, item.key) not in new_keys)
        gone: list[Item] = []
        come: list[Item] = []
        for item in new:
            if item.set == SYMMETRIC:
                add[item] = None
            else:
                self._finds.meet(item, gone, come)
        drop.update(dict.fromkeys(gone))
        add.update(dict.fromkeys(come))

    def _has_its_turn(self, item: Item) -> bool:
        return item.set != SYMMETRIC or self._symmetric.is_first(item)

    def _found_of(self, key: str) -> Iterator[Item]:
        """What was found in the places of a held mapping that was damaged. Its claims are all told."""
        for item in render(self.held[key]):
            if item.set == SYMMETRIC or self._finds.covers(item):
                yield item

    def _take(
        self, put: Mapping[str, Wanted], going: Iterable[str], marks: Mapping[str, str], *, swept: bool
    ) -> None:
        before = [self.held[key] for key in (*going, *put) if key in self.held]
        for key in going:
            del self.held[key]
            self.marks.pop(key, None)
        self.held.update(put)
        self.marks.update(marks)
        self._lost.difference_update(put, going)
        self._chains.update([chain for chain in map(chain_of, put.values()) if chain])
        self._chains.subtract([chain for chain in map(chain_of, before) if chain])
        special = self._note(before, put)
        if special:
            self._lay_special()
        if swept:
            self._finds.clear()
            self.marks.pop(LEFTOVER, None)
        unused = [chain for chain, count in self._chains.items() if count <= 0]
        for chain in unused:
            del self._chains[chain]
        if unused or swept or special or self._has_litter:
            self._collect()
            self._has_litter = False

    def _note(self, before: Iterable[Wanted], put: Mapping[str, Wanted]) -> bool:
        """Keep count of what the structure follows from; whether chains of their own are concerned."""
        special = False
        for wanted in before:
            if wanted.mapping.on is not None:
                self._scopes[scope_of(wanted.mapping.on)] -= 1
            special |= self._special.pop(wanted.mapping.id, None) is not None
        for key, wanted in put.items():
            if wanted.mapping.on is not None:
                self._scopes[scope_of(wanted.mapping.on)] += 1
            if is_special(wanted.mapping):
                self._special[key] = wanted.mapping
                special = True
        return special

    def _prepare(self, wanted: Iterable[Wanted]) -> None:
        """Make the chains that new elements will refer to."""
        texts: dict[str, str] = {}
        for each in wanted:
            old = self.held.get(each.mapping.id)
            if old is not None and old.mapping is each.mapping and old.sources is each.sources:
                continue
            chain = chain_of(each)
            is_told = old is None and chain in texts  # thousands share it
            if chain is not None and chain != LAN_POLICY and not is_told:
                before = None if old is None else policy_of(old)
                policy = policy_of(each)
                assert policy is not None
                if policy != before and (chain.startswith("pol_") or self._chains[chain] <= 0):
                    texts[chain] = policy.text
                self._has_litter |= before is not None and before.chain == chain and policy != before
            if each.mapping.trigger is not None:
                texts[f"trigger {each.mapping.id}"] = trigger_text(
                    each.mapping.id, each.mapping.trigger, chain
                )
        if texts:
            self.table.structure("".join(texts.values()))

    def _lay_special(self) -> None:
        if self._frame is not None:
            self.table.structure(special_text(self._frame, (self.held[key] for key in self._special)))

    def _collect(self) -> None:
        """Take away chains and sets that nothing refers to."""
        if self._frame is None:
            return
        rules, sets = self.table.names()
        wanted_chains, wanted_sets = needed_names(self._frame, self.held)
        gone_chains, gone_sets = sorted(set(rules) - wanted_chains), sorted(sets - wanted_sets)
        lines = [f"flush chain {_T} {chain}" for chain in gone_chains]
        lines += (f"delete chain {_T} {chain}" for chain in gone_chains)
        lines += (f"delete set {_T} {name}" for name in gone_sets)
        if lines:
            self.table.structure("\n".join(lines) + "\n")


def _fill_timeouts(text: str, now: float) -> str:
    return _TIMEOUT.sub(lambda match: f" timeout {max(1, round(int(match[1]) - now))}s", text)
