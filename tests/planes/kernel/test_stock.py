"""What the table holds, against a real kernel: put, changed, damaged, adopted, and taken away."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from sekimori.host.nfmonitor import Monitor
from sekimori.host.nfsocket import NetfilterError
from sekimori.model.gateway import Ban
from sekimori.model.limits import Limits, Rate
from sekimori.model.mapping import Owner, OwnerKind
from sekimori.model.source import parse_prefix
from sekimori.planes.kernel.elements import render
from sekimori.planes.kernel.filling import MANY
from sekimori.planes.kernel.frame import Frame
from sekimori.planes.kernel.stock import DAMAGED, LEFTOVER, Stock
from sekimori.planes.kernel.structure import HOOKS
from sekimori.planes.kernel.symmetric import SYMMETRIC
from sekimori.planes.kernel.table import Table
from sekimori.reconcile.ports import Wanted
from sekimori.testing.netlab import Host, Lab, why_not

from .tracked import NETWORK, wanted

pytestmark = pytest.mark.netns

SERVER, OTHER = "192.168.1.10", "192.168.1.11"


class Bench:
    """A stock on a machine of its own."""

    def __init__(self, box: Host) -> None:
        self.box, self._monitor = box, box.call(Monitor)
        self.table = box.call(lambda: Table(self._monitor))
        self.stock = Stock(self.table)

    def close(self) -> None:
        self.table.close()
        self._monitor.close()

    def nft(self, text: str) -> str:
        return self.box.run(["nft", *text.split(" ", 1)] if text.startswith("list") else ["nft", text]).stdout

    def put(self, *mappings: Wanted, remove: tuple[str, ...] = ()) -> None:
        if mappings:
            self.lay(mappings)
        found = {each.mapping.id: each for each in mappings}
        self.stock.change(found, remove, time.time(), {key: f"mark {key}" for key in found})

    def lay(self, coming: tuple[Wanted, ...] = ()) -> None:
        frame = Frame(NETWORK, None, (), self.stock.scopes(coming), (("wan0", 1), ("wan1", 2)))
        self.stock.lay(frame, time.time())

    def hooks(self) -> set[str]:
        """The chains with a hook that are there."""
        return set(HOOKS) & self.table.names()[0].keys()

    def mend(self) -> list[str]:
        """Survey, and put again what is not whole; what that was."""
        self.stock.survey(time.time())
        broken = sorted(key for key, mark in self.stock.marks.items() if mark == DAMAGED)
        again = tuple(self.stock.held[key] for key in broken if key != LEFTOVER)
        self.lay(again)
        self.put(*again, remove=(LEFTOVER,) if LEFTOVER in broken else ())
        return broken

    def there(self) -> set[tuple[str, bytes, bytes | None, str | None]]:
        """Every element that the kernel has, apart from counts and time."""
        _, sets = self.table.names()
        names = [
            each
            for each in sets
            if each not in ("lan", "wan", "lan6") and not each.startswith(("src", "pol"))
        ]
        found = self.table.read(name for name in names if "bans" not in name and "ended" not in name)
        skipped = ("gatew", "inw", "standw", "natw", "outw")
        return {
            (name, seen.key, seen.data, seen.chain)
            for name, rows in found.items()
            for seen in rows.values()
            if not name.startswith(skipped)
        }

    def expected(self) -> set[tuple[str, bytes, bytes | None, str | None]]:
        items = [item for each in self.stock.held.values() for item in render(each)]
        plain = {(item.set, item.key, item.data, item.chain) for item in items if item.set != SYMMETRIC}
        first: dict[bytes, Any] = {}
        for item in items:
            if item.set == SYMMETRIC:
                first.setdefault(item.key, (item.set, item.key, item.data, item.chain))
        return plain | set(first.values())


@pytest.fixture(scope="module")
def box() -> Iterator[Host]:
    why = why_not() or (None if shutil.which("nft") else "needs nft")
    if why is not None:
        pytest.skip(why)
    with Lab() as lab:
        yield lab.host("box")


@pytest.fixture
def make(box: Host) -> Iterator[Callable[[], Bench]]:
    made: list[Bench] = []

    def one() -> Bench:
        made.append(Bench(box))
        return made[-1]

    yield one
    for bench in made:
        bench.close()
    box.run(["nft", "flush", "ruleset"])


@pytest.fixture
def bench(make: Callable[[], Bench]) -> Bench:
    return make()


def some() -> tuple[Wanted, ...]:
    return (
        wanted("m1", "tcp+udp/80", f"{SERVER} 8080"),
        wanted("m2", "udp/7000-7010", SERVER, sources="192.0.2.0/24"),
        wanted("m3", "tcp/81", f"{SERVER} 8080", limits=Limits(Rate(5, 60), None, 3)),
        wanted("m4", "tcp/22", "self", sources="lan"),
        wanted("m5", "tcp/443", "2001:db8:3::10", sources="192.0.2.0/24"),
        wanted("m6", "tcp/82", SERVER, on="203.0.113.2"),
    )


def test_what_is_put_is_there_and_what_is_removed_is_gone(bench: Bench) -> None:
    mappings = some()
    bench.put(*mappings)
    assert bench.there() == bench.expected() != set()
    for mapping in mappings:
        bench.put(remove=(mapping.mapping.id,))
        assert bench.there() == bench.expected()
    assert bench.there() == set()
    rules, sets = bench.table.names()
    assert not [
        name for name in (*rules, *sets) if name.startswith(("pol_", "src_")) and "src_lan" not in name
    ]


def test_changed_terms_change_what_differs(bench: Bench) -> None:
    one = wanted("m1", "tcp/80", SERVER)
    bench.put(one)
    for other in (
        wanted("m1", "tcp/80", OTHER),
        wanted("m1", "tcp/81", OTHER),
        wanted("m1", "tcp/81-90", OTHER),
        wanted("m1", "tcp/81-90", OTHER, sources="lan"),
        wanted("m1", "tcp/81-90", OTHER, sources="192.0.2.0/24"),
        wanted("m1", "tcp/81-90", OTHER, limits=Limits(connections=3)),
        wanted("m1", "tcp/81-90", OTHER, limits=Limits(connections=4), on="203.0.113.2"),
        wanted("m1", "udp/81", "self"),
        one,
    ):
        bench.put(other)
        assert bench.there() == bench.expected()
        rules, sets = bench.table.names()
        left = [name for name in (*rules, *sets) if name.startswith("pol_")]
        assert bool(left) == (other.mapping.limits != Limits())
        assert len([name for name in left if "open" in name]) == (
            other.mapping.limits.connections is not None
        )


@pytest.mark.parametrize(
    ("damage", "broken"),
    [
        ("flush ruleset", ["m1", "m2", "m3", "m4", "m5", "m6"]),
        ("delete table inet sekimori", ["m1", "m2", "m3", "m4", "m5", "m6"]),
        ("flush table inet sekimori", []),
        ("flush map inet sekimori sym4", ["m1"]),
        ("flush map inet sekimori fwdr4_all", ["m2"]),
        ("flush set inet sekimori out_all", ["m1", "m3", "m4"]),
        ("delete element inet sekimori own_all { tcp . 22 }", ["m4"]),
        ("add element inet sekimori own_all { tcp . 23 }", ["?"]),
        ("add element inet sekimori fwdr4_all { tcp . 1-9 : 192.168.1.1 }", ["?"]),
    ],
)
def test_damage_is_found_and_mended(bench: Bench, damage: str, broken: list[str]) -> None:
    bench.put(*some())
    text = bench.nft("list ruleset").count("\n")
    bench.box.run(["nft", *damage.split(" ", 1)])
    found = bench.mend()
    assert [key for key in found if key != LEFTOVER] == [key for key in broken if key != LEFTOVER]
    if broken == [LEFTOVER]:
        assert found == [LEFTOVER]
    assert bench.there() == bench.expected()
    assert bench.mend() == []
    assert bench.nft("list ruleset").count("\n") == text


def test_the_next_one_adopts_what_the_last_one_left_and_sweeps_the_rest(make: Callable[[], Bench]) -> None:
    first, mappings = make(), some()
    first.put(*mappings, wanted("gone", "tcp/99", SERVER))
    first.close()
    second = make()
    first.close = lambda: None  # type: ignore[method-assign]
    second.stock.survey(time.time())
    assert second.stock.marks == {LEFTOVER: DAMAGED}
    second.put(*mappings, remove=(LEFTOVER,))
    assert second.there() == second.expected()
    assert second.mend() == []


def test_hooks_come_and_go_with_what_there_is_to_do(make: Callable[[], Bench]) -> None:
    first = make()
    ban = Ban(prefix=parse_prefix("198.51.100.0/24"), owner=Owner(OwnerKind.PERSON, "test"))
    numbers = (("wan0", 1), ("wan1", 2))
    first.put(*some())
    there = first.hooks()
    first.stock.lay(Frame(NETWORK, None, (ban,), first.stock.scopes(), numbers), time.time())
    assert first.hooks() == there | {"guard"}
    first.lay()
    assert first.hooks() == there
    # What another version, or somebody else, hooked is unhooked by the next one that comes.
    for name, hook in HOOKS.items():
        first.nft(f"add chain inet sekimori {name} {{ type {hook} ; policy accept ; }}")
    first.nft("add rule inet sekimori forward ct state established accept")
    before = first.there()
    first.close()
    second = make()
    first.close = lambda: None  # type: ignore[method-assign]
    second.stock.survey(time.time())
    second.put(*some(), remove=(LEFTOVER,))
    assert second.hooks() == there
    assert second.there() == before == second.expected()


def test_what_the_kernel_refuses_changes_nothing(bench: Bench) -> None:
    bench.put(*some())
    before = bench.there()
    clash = wanted("m9", "udp/7005-7020", SERVER)  # overlaps m2: no ledger would have it
    with pytest.raises(NetfilterError):
        bench.put(clash, wanted("m8", "tcp/8888", SERVER))
    assert bench.there() == before
    assert set(bench.stock.held) == {"m1", "m2", "m3", "m4", "m5", "m6"}
    bench.put(wanted("m8", "tcp/8888", SERVER), remove=("m2",))
    assert bench.there() == bench.expected()


def many() -> dict[str, Wanted]:
    """Too many for one part; some are not in the first one's sets, and many lead to one inside port."""
    made = [wanted(f"n{number}", f"udp/{1000 + number}", f"{SERVER} 9") for number in range(MANY + 100)]
    made += some()
    return {each.mapping.id: each for each in made}


def fill(bench: Bench, mappings: dict[str, Wanted]) -> None:
    bench.lay(tuple(mappings.values()))
    bench.stock.fill(mappings, time.time(), {key: f"mark {key}" for key in mappings})


def test_very_many_are_put_as_few_are(make: Callable[[], Bench]) -> None:
    bench, mappings = make(), many()
    assert bench.stock.lacks(mappings)
    fill(bench, mappings)
    assert bench.stock.held == mappings
    assert bench.stock.marks == {key: f"mark {key}" for key in mappings}
    assert bench.there() == bench.expected()
    assert not bench.stock.lacks(mappings)
    assert bench.mend() == []
    heir = make()  # and the next one finds all of it just so
    heir.put(*mappings.values())
    assert heir.there() == heir.expected()


def test_of_very_many_what_was_put_before_a_refusal_stays(bench: Bench) -> None:
    mappings = many()
    # A range within a range: the kernel refuses the part that it is in, which is the last.
    mappings["bad"] = wanted("bad", "udp/7005-7015", SERVER)
    with pytest.raises(NetfilterError):
        fill(bench, mappings)
    landed = dict(list(mappings.items())[:MANY])
    assert bench.stock.held == landed
    assert bench.stock.marks.keys() == landed.keys()
    assert bench.there() == bench.expected()
    left = {key: each for key, each in mappings.items() if key not in landed and key != "bad"}
    assert bench.stock.lacks(left)
    bench.put(*left.values())
    assert bench.there() == bench.expected()
    assert bench.mend() == []


def test_a_damaged_mapping_may_be_changed_or_removed(bench: Bench) -> None:
    bench.put(*some())
    bench.box.run(["nft", "delete element inet sekimori in_all { tcp . 80 }"])
    bench.stock.survey(time.time())
    bench.put(wanted("m1", "tcp+udp/85", f"{OTHER} 8080"), remove=("m3",))
    assert bench.there() == bench.expected()
    bench.box.run(["nft", "flush map inet sekimori fwd4_all"])
    bench.stock.survey(time.time())
    bench.put(remove=("m1",))
    assert bench.there() == bench.expected()


def test_more_time_moves_the_end_and_nothing_else(bench: Bench) -> None:
    mapping = replace(wanted("m1", "tcp/80", SERVER), accept_until=time.time() + 100)
    bench.put(mapping)
    bench.put(replace(mapping, accept_until=time.time() + 1000))
    found = bench.table.read(["fwd4_all", "in_all"])
    [leads] = found["fwd4_all"].values()
    [counting] = found["in_all"].values()
    assert leads.expires_ms is not None
    assert 990_000 < leads.expires_ms <= 1_000_000
    assert counting.timeout_ms is None
