"""`[doors]`: read, asked for once, taken back when it is gone, and exported."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from sekimori.config.export import export_toml
from sekimori.config.load import parse_config
from sekimori.config.schema import Config, DoorSettings, DoorsSection
from sekimori.config.sync import plan_sync
from sekimori.model.address import IpProtocol, PortRange
from sekimori.model.door import DisableDoor, Door, DoorName, EnableDoor
from sekimori.model.errors import Problem
from sekimori.model.lease import Asker, LeaseProtocol, LeaseTerms, NonceRule, Obtain
from sekimori.model.mapping import Owner, OwnerKind
from sekimori.model.permission import Permission, SetPermissions
from sekimori.model.request import Context
from sekimori.testing.world import ALICE, World, reading_at

PATH: Final = Path("/etc/sekimori/sekimori.toml")
OWNER: Final = Owner(OwnerKind.FILE, str(PATH))
BY_FILE: Final = Context(OWNER, "file")
RULES: Final = ("allow 192.168.1.0/24 tcp outside 5000-5010 most 20 for 24h", 'deny all matching "a\\\\b"')
TEXT: Final = """
[doors]
permissions = ["allow 192.168.1.0/24 most 20", "deny all"]
[doors.igd]
interfaces = ["lan0"]
version = 2
[doors.portmap]
interfaces = ["lan0", "lan1", "lan0"]
nonce = "strict"
"""


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


def parse(text: str, now: float = 1_750_000_000.0) -> Config:
    return parse_config(text, PATH, reading_at(now))


async def sync(world: World, text: str) -> list[object]:
    """Bring the world to the file; the asks it took."""
    now = world.clock.now()
    plan = plan_sync(parse(text, now), world.ledger.snapshot, reading_at(now), lambda _owner, _name: None)
    await world.ask(*plan.asks, context=BY_FILE)
    return list(plan.asks)


def a_door(name: DoorName = DoorName.IGD, **terms: object) -> Door:
    return Door(**{"door": name, "owner": ALICE.actor, "interfaces": ("lan0",), **terms})  # type: ignore[arg-type]


class TestReading:
    def test_doors_and_rules(self) -> None:
        assert parse(TEXT).doors == DoorsSection(
            {
                DoorName.IGD: DoorSettings(("lan0",), version=2),
                DoorName.PORTMAP: DoorSettings(("lan0", "lan1"), nonce=NonceRule.STRICT),
            },
            (Permission.parse("allow 192.168.1.0/24 most 20"), Permission.parse("deny all")),
        )
        assert parse("").doors == parse("[doors]").doors == DoorsSection()
        assert parse("[doors]\npermissions = []").doors == DoorsSection({}, ())

    @pytest.mark.parametrize(
        ("text", "line", "key"),
        [
            ("[doors]\nidg = {}", 2, "doors.idg"),
            ("doors = true", 1, "doors"),
            ("[doors]\nigd = ['lan0']", 2, "doors.igd"),
            ("[doors.igd]", 1, "doors.igd"),
            ("[doors.igd]\ninterfaces = 'lan0'", 2, "doors.igd.interfaces"),
            ("[doors.igd]\ninterfaces = []", 2, "doors.igd.interfaces"),
            ("[doors.igd]\ninterfaces = [\n'lan0',\n'192.168.1.1']", 4, "doors.igd.interfaces[1]"),
            ("[doors.igd]\ninterfaces = ['fe80::x']", 2, "doors.igd.interfaces[0]"),
            ("[doors.igd]\ninterfaces = [5]", 2, "doors.igd.interfaces[0]"),
            ("[doors.igd]\ninterfaces = ['lan0']\nversion = 3", 3, "doors.igd.version"),
            ("[doors.igd]\ninterfaces = ['lan0']\nversion = true", 3, "doors.igd.version"),
            ("[doors.igd]\ninterfaces = ['lan0']\nnonce = 'strict'", 3, "doors.igd.nonce"),
            ("[doors.portmap]\ninterfaces = ['lan0']\nversion = 1", 3, "doors.portmap.version"),
            ("[doors.portmap]\ninterfaces = ['lan0']\nnonce = 5", 3, "doors.portmap.nonce"),
            ("[doors.portmap]\ninterfaces = ['lan0']\nnonce = []", 3, "doors.portmap.nonce"),
            ("[doors]\npermissions = 'deny all'", 2, "doors.permissions"),
            ("[doors]\npermissions = [\n'allow all',\n5]", 4, "doors.permissions[1]"),
            ("[doors]\npermissions = [\n'allow all',\n'permit all']", 4, "doors.permissions[1]"),
        ],
    )
    def test_what_cannot_be_read_is_told_with_its_line(self, text: str, line: int, key: str) -> None:
        with pytest.raises(Problem) as caught:
            parse(text)
        assert caught.value.code in ("bad-config", "unknown-key")
        assert (caught.value.facts["line"], caught.value.facts["key"]) == (line, key)


class TestSync:
    async def test_the_file_is_followed_and_then_nothing_is_asked(self, world: World) -> None:
        assert [type(ask) for ask in await sync(world, TEXT)] == [EnableDoor, EnableDoor, SetPermissions]
        doors = world.ledger.snapshot.doors
        assert {name: (door.owner, door.interfaces) for name, door in doors.items()} == {
            DoorName.IGD: (OWNER, ("lan0",)),
            DoorName.PORTMAP: (OWNER, ("lan0", "lan1")),
        }
        permissions = world.ledger.snapshot.permissions
        assert permissions is not None
        assert (permissions.owner, len(permissions.rules)) == (OWNER, 2)
        assert await sync(world, TEXT) == []
        changed = TEXT.replace("version = 2", "").replace(', "deny all"', "")
        assert [type(ask) for ask in await sync(world, changed)] == [EnableDoor, SetPermissions]
        assert await sync(world, "") == [
            DisableDoor(DoorName.IGD),
            DisableDoor(DoorName.PORTMAP),
            SetPermissions(None),
        ]
        assert (dict(world.ledger.snapshot.doors), world.ledger.snapshot.permissions) == ({}, None)

    async def test_what_others_set_up_is_left_alone_until_the_file_names_it(self, world: World) -> None:
        await world.ask(EnableDoor(a_door()), SetPermissions((Permission.parse("allow all"),)))
        assert await sync(world, "") == []
        assert (
            len(await sync(world, '[doors]\npermissions = ["allow all"]\n[doors.igd]\ninterfaces = ["lan0"]'))
            == 2
        )
        assert world.ledger.snapshot.doors[DoorName.IGD].owner == OWNER
        assert world.ledger.snapshot.permissions is not None
        assert world.ledger.snapshot.permissions.owner == OWNER

    async def test_a_door_to_the_internet_refuses_the_file(self, world: World) -> None:
        world.machine.network = replace(world.machine.network, outside=frozenset({"wan0"}))
        with pytest.raises(Problem) as refused:
            await sync(world, '[doors]\npermissions = []\n[doors.igd]\ninterfaces = ["wan0"]')
        assert refused.value.code == "door-on-wan"
        assert world.ledger.snapshot.permissions is None


async def test_what_is_exported_gives_the_same_again(world: World) -> None:
    await world.ask(
        EnableDoor(a_door(version=2)),
        EnableDoor(a_door(DoorName.PORTMAP, interfaces=("lan0", "br-lan.2"), nonce=NonceRule.STRICT)),
        SetPermissions(tuple(map(Permission.parse, RULES))),
    )
    now = world.clock.now()
    text = export_toml(world.ledger.snapshot, "Asia/Tokyo", now=now, preset=lambda _name: None)
    again = World(clock=world.clock)
    try:
        await sync(again, text)
        for name, door in world.ledger.snapshot.doors.items():
            other = again.ledger.snapshot.doors[name]
            assert (other.interfaces, other.version, other.nonce) == (
                door.interfaces,
                door.version,
                door.nonce,
            )
        assert again.ledger.snapshot.permissions is not None
        assert [str(rule) for rule in again.ledger.snapshot.permissions.rules] == list(RULES)
        assert await sync(again, text) == []
    finally:
        again.close()


async def test_no_rule_at_all_is_exported_as_that(world: World) -> None:
    await world.ask(SetPermissions(()))
    text = export_toml(world.ledger.snapshot, "UTC", now=world.clock.now(), preset=lambda _name: None)
    assert parse(text).doors == DoorsSection({}, ())


async def test_what_devices_leased_is_not_exported(world: World) -> None:
    mac, address = "02:00:00:00:00:05", ipaddress.ip_address("192.168.1.5")
    world.lan.meet(mac, str(address))
    terms = LeaseTerms(protocol=LeaseProtocol.IGD, description="x\n[mappings.evil]")
    ask = Obtain(
        asker=Asker(address, "lan0"),
        protocol=IpProtocol.TCP,
        inside=address,
        ports=PortRange(3074, 3074),
        lifetime=3600,
        terms=terms,
    )
    await world.ask(ask, context=Context(Owner(OwnerKind.DEVICE, mac), "igd"))
    await world.open()
    text = export_toml(world.ledger.snapshot, "UTC", now=world.clock.now(), preset=lambda _name: None)
    assert "# 1 mapping, 0 lists; 1 lease of devices left out.\n" in text
    assert "evil" not in text
    assert [entry.name for entry in parse(text, world.clock.now()).mappings] == ["tcp-8080"]
