"""What a plane should hold, from the ledger, the time and the names."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

import pytest

from sekimori.model.mapping import Hop, Mapping
from sekimori.model.request import Define
from sekimori.model.snapshot import Snapshot
from sekimori.model.target import Target, TargetKind
from sekimori.planes.memory import MemoryPlane
from sekimori.reconcile.desired import WHATEVER, Desired
from sekimori.reconcile.devices import Devices
from sekimori.reconcile.names import Names
from sekimori.reconcile.ports import Wanted
from sekimori.testing.clock import FakeClock
from sekimori.testing.lan import FakeLan
from sekimori.testing.table import NOW, Table
from sekimori.testing.world import FakeResolver


class Counting(MemoryPlane):
    """Counts how often a fingerprint is worked out."""

    count = 0

    def fingerprint(self, wanted: Wanted) -> str:
        self.count += 1
        return super().fingerprint(wanted)


class Scene:
    def __init__(self) -> None:
        self.table = Table()
        self.plane = Counting()
        self.resolver = FakeResolver()
        self.names = Names(self.resolver, FakeClock(NOW), lambda _host: None)
        self.lan = FakeLan()
        self.devices = Devices(self.lan, FakeClock(NOW), lambda _target: None)
        self.desired = Desired(
            lambda: self.table.snapshot, self.names, self.devices, {"relay": self.plane}, 10.0
        )

    def wanted(self, mapping: Mapping, now: float = NOW) -> Wanted | None:
        found = self.desired.compute([mapping.id], now).get(mapping.id)
        return found[1] if found else None


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_what_is_open_is_wanted_until_time_closes_it(scene: Scene) -> None:
    mapping = scene.table.open("80", for_="1h", hours="daily/15:00-15:30")
    wanted = scene.wanted(mapping)
    assert wanted is not None
    assert wanted.accept_until == mapping.next_change(NOW)
    assert wanted.accept_until is not None
    assert wanted.accept_until < NOW + 3600
    assert (wanted.mapping, wanted.grace) == (mapping, 10.0)
    assert scene.wanted(mapping, wanted.accept_until) is None
    assert scene.wanted(mapping, NOW + 3600) is None


def test_what_is_permanent_has_no_end(scene: Scene) -> None:
    wanted = scene.wanted(scene.table.open("80", permanent="x"))
    assert wanted is not None
    assert wanted.accept_until is None


def test_what_is_paused_or_unknown_is_not_wanted(scene: Scene) -> None:
    mapping = scene.table.open("80", name="web")
    scene.table.grant(scene.table.change("web", True))
    assert scene.wanted(mapping) is None
    assert scene.desired.compute(["nobody"], NOW) == {}


def test_this_machine_is_both_its_loopback_addresses(scene: Scene) -> None:
    wanted = scene.wanted(scene.table.open("80:8080", to="self"))
    assert wanted is not None
    assert wanted.targets == ("127.0.0.1", "::1")


def test_lists_are_looked_up(scene: Scene) -> None:
    office = (ipaddress.ip_network("192.0.2.0/24"),)
    scene.table.grant(Define("office", office))
    wanted = scene.wanted(scene.table.open("80", from_="office"))
    assert wanted is not None
    assert wanted.sources == office
    anyone = scene.wanted(scene.table.open("81", from_="anyone"))
    assert anyone is not None
    assert anyone.sources is None


async def test_a_name_is_wanted_once_it_was_found(scene: Scene) -> None:
    mapping = scene.table.open("80", to="kids-pc")
    assert scene.wanted(mapping) is None
    assert scene.desired.obstacle(mapping) is None  # not asked yet
    scene.resolver.hosts["kids-pc"] = ("192.0.2.7",)
    await scene.names.learn("kids-pc")
    wanted = scene.wanted(mapping)
    assert wanted is not None
    assert wanted.targets == ("192.0.2.7",)


def test_a_plane_that_is_not_here_is_an_obstacle(scene: Scene) -> None:
    mapping = replace(scene.table.open("80"), path=(Hop("kernel"),))
    scene.table.snapshot = Snapshot([mapping])
    assert scene.wanted(mapping) is None
    problem = scene.desired.obstacle(mapping)
    assert problem is not None
    assert (problem.code, problem.facts["via"], problem.facts["able"]) == ("no-plane", "kernel", "relay")


def test_a_fingerprint_is_worked_out_again_only_when_something_changed(scene: Scene) -> None:
    mapping = scene.table.open("80", name="web", hours="daily/15:00-15:30")
    for _ in range(3):
        scene.wanted(mapping)
    assert scene.plane.count == 1
    scene.table.grant(scene.table.change("web", idle="5m"))
    scene.wanted(mapping)
    assert scene.plane.count == 2
    scene.wanted(mapping, NOW + 86400)  # the end of the next day's window is another
    assert scene.plane.count <= 3


def test_a_list_defined_anew_is_looked_up_anew_and_no_other_terms_are(scene: Scene) -> None:
    before, after = (ipaddress.ip_network("192.0.2.0/24"),), (ipaddress.ip_network("198.51.100.0/24"),)
    scene.table.grant(Define("office", before))
    office, lan = scene.table.open("80", from_="office"), scene.table.open("81", from_="lan")
    first = scene.desired.compute([office.id, lan.id], NOW)
    scene.table.grant(Define("office", after))
    second = scene.desired.compute([office.id, lan.id], NOW)
    assert (first[office.id][1].sources, second[office.id][1].sources) == (before, after)
    assert second[lan.id] is first[lan.id]
    assert scene.plane.count == 3


def test_what_was_remembered_is_not_wanted_past_its_end_nor_lost_when_the_clock_is_put_back(
    scene: Scene,
) -> None:
    mapping = scene.table.open("80", for_="1h")
    windowed = scene.table.open("81", for_="1d", hours="daily/15:00-15:30")
    ids = [mapping.id, windowed.id]
    assert set(scene.desired.compute(ids, NOW)) == {mapping.id, windowed.id}
    assert set(scene.desired.compute(ids, NOW + 3600)) == set()
    assert set(scene.desired.compute(ids, NOW - 3600)) == {mapping.id}
    assert set(scene.desired.compute(ids, NOW)) == {mapping.id, windowed.id}


def test_the_same_sources_are_held_once(scene: Scene) -> None:
    one, two = scene.table.open("80", from_="lan"), scene.table.open("81", from_="lan")
    found = scene.desired.compute([one.id, two.id], NOW)
    assert found[one.id][1].sources is found[two.id][1].sources


def test_more_sources_than_are_remembered_are_all_looked_up(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sekimori.reconcile.desired._MOST_RESOLVED", 2)
    prefixes = [f"192.0.2.{number}/32" for number in range(5)]
    for number, prefix in enumerate(prefixes):
        wanted = scene.wanted(scene.table.open(str(80 + number), from_=prefix))
        assert wanted is not None
        assert wanted.sources == (ipaddress.ip_network(prefix),)
    assert len(scene.desired._resolved) <= 2


@pytest.mark.parametrize(
    ("to", "far"),
    [("db:5432", "db"), ("self", "localhost"), ("192.0.2.7", "192.0.2.7"), ("unix:/run/app", "/run/app")],
)
def test_what_is_dialled_beyond_a_link_stands_as_its_far_end_is_asked_for_it(
    scene: Scene, to: str, far: str
) -> None:
    path = (Hop("relay"), Hop("link", "vps"))
    mapping = replace(scene.table.open("80"), target=Target.parse_host(to.removesuffix(":5432")), path=path)
    assert scene.desired.targets(mapping) == (far,)


def test_what_only_the_client_names_is_wanted_all_the_same(scene: Scene) -> None:
    socks = replace(scene.table.open("80"), target=Target(TargetKind.SOCKS, "socks"))
    client = replace(socks, target=Target(TargetKind.CLIENT, "client"))
    for mapping in (socks, client, replace(socks, path=(Hop("relay"), Hop("link", "vps")))):
        assert scene.desired.targets(mapping) == WHATEVER


def test_a_unix_socket_of_this_machine_is_its_path(scene: Scene) -> None:
    mapping = replace(scene.table.open("80"), target=Target(TargetKind.UNIX, "unix:/run/app.sock"))
    assert scene.desired.targets(mapping) == ("/run/app.sock",)
    at = replace(mapping, at="vps", path=(Hop("link", "vps"), Hop("relay")))
    assert scene.desired.targets(at) == ("/run/app.sock",)
