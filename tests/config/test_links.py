"""`[links]`, `[users]` and `[doors.ssh]`: read, asked for once, taken back when gone, and exported."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekimori.config.export import export_toml
from sekimori.config.load import parse_config
from sekimori.config.schema import Config, DoorSettings
from sekimori.config.sync import plan_sync
from sekimori.model.door import DisableDoor, Door, DoorName, EnableDoor
from sekimori.model.errors import Problem
from sekimori.model.grantwords import parse_grant
from sekimori.model.link import AddLink, Link, RemoveLink, SshPlace
from sekimori.model.mapping import Owner, OwnerKind
from sekimori.model.request import Change, Context
from sekimori.model.snapshot import Snapshot
from sekimori.model.user import PutUser, RemoveUser, User
from sekimori.testing.publickeys import public_key
from sekimori.testing.strategies_settings import doors, links, users
from sekimori.testing.world import ALICE, World, reading_at

PATH: Final = Path("/etc/sekimori/sekimori.toml")
OWNER: Final = Owner(OwnerKind.FILE, str(PATH))
BY_FILE: Final = Context(OWNER, "file")
KEY: Final = public_key("server").rpartition(" ")[0]
TEXT: Final = f"""
[lists]
office = ["198.51.100.0/24"]
[doors.ssh]
listen = "192.168.1.1:2222"
authorized_keys = "/etc/sekimori/keys"
[doors.ssh.grant]
ports = "8000-8099"
from = ["office"]
[links.vps]
to = "alice@vps.example:2222"
jump = ["ssh://bastion.example"]
identity = ["/root/.ssh/vps"]
config = "none"
host_keys = ["{KEY}", "ssh://bastion.example {KEY}"]
connections = 4
[links.plain]
to = "ssh://other.example"
[users.bob]
keys = ['{public_key("bob", 'permitlisten="8080"')}']
until = 2030-01-01T00:00:00Z
ports = "8080,9000-9010"
from = "office"
quota = "10G"
to = ["db.example:5432"]
[mappings.db]
ports = "5432"
to = "db:5432"
via = "vps"
"""


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


def parse(text: str, now: float = 1_750_000_000.0) -> Config:
    return parse_config(text, PATH, reading_at(now))


def asks_for(snapshot: Snapshot, text: str, now: float) -> Sequence[Any]:
    return plan_sync(parse(text, now), snapshot, reading_at(now), lambda _owner, _name: None).asks


async def sync(world: World, text: str) -> list[type]:
    """Bring the world to the file; the kinds of asks it took."""
    asks = asks_for(world.ledger.snapshot, text, world.clock.now())
    await world.ask(*asks, context=BY_FILE)
    return [type(ask) for ask in asks]


class TestReading:
    def test_everything(self) -> None:
        config = parse(TEXT)
        server = SshPlace("vps.example", "alice", 2222)
        assert config.links == {
            "vps": Link(
                name="vps",
                owner=OWNER,
                place=server,
                jump=(SshPlace("bastion.example"),),
                identity=("/root/.ssh/vps",),
                config="none",
                host_keys=(f"{server} {KEY}", f"ssh://bastion.example {KEY}"),
                connections=4,
            ),
            "plain": Link(name="plain", owner=OWNER, place=SshPlace("other.example")),
        }
        words = {"ports": "8080,9000-9010", "from": "office", "quota": "10G", "to": "db.example:5432"}
        assert config.users == {
            "bob": User(
                name="bob",
                owner=OWNER,
                keys=(public_key("bob", 'permitlisten="8080"'),),
                grant=parse_grant(words),
                expires_at=1_893_456_000,
            )
        }
        assert config.doors.doors == {
            DoorName.SSH: DoorSettings(
                listen=("192.168.1.1:2222",),
                authorized_keys="/etc/sekimori/keys",
                grant=parse_grant({"ports": "8000-8099", "from": "office"}),
            )
        }

    def test_one_or_several_places_to_listen(self) -> None:
        several = parse("[doors.ssh]\nlisten = ['*:22', '[2001:DB8::1]:2222', '*:22']")
        assert several.doors.doors[DoorName.SSH].listen == ("*:22", "[2001:db8::1]:2222")

    def test_host_keys_of_jumps_that_only_ssh_config_names(self) -> None:
        table = f"[links.vps]\nto = 'vps'\nhost_keys = ['{KEY}', 'bastion {KEY}']"
        assert parse(table).links["vps"].host_keys == (f"ssh://vps {KEY}", f"ssh://bastion {KEY}")

    @pytest.mark.parametrize(
        ("text", "line", "key"),
        [
            ("links = 5", 1, "links"),
            ("[links]\nvps = 'ssh://vps'", 2, "links.vps"),
            ("[links.vps]", 1, "links.vps"),
            ("[links.vps]\nto = 'http://vps'", 2, "links.vps.to"),
            ("[links.vps]\nto = 5", 2, "links.vps.to"),
            ("[links.relay]\nto = 'ssh://vps'", 1, "links.relay"),
            ("[links.vps]\nto = 'vps'\nhost_key = 'x'", 3, "links.vps.host_key"),
            ("[links.vps]\nto = 'vps'\njump = ['a', 5]", 3, "links.vps.jump[1]"),
            ("[links.vps]\nto = 'vps'\nidentity = ['id']", 3, "links.vps.identity[0]"),
            ("[links.vps]\nto = 'vps'\nconfig = 'here'", 3, "links.vps.config"),
            ("[links.vps]\nto = 'vps'\nhost_keys = ['abc']", 3, "links.vps.host_keys[0]"),
            ("[links.vps]\nto = 'vps'\nhost_keys = ['ftp://x a b']", 3, "links.vps.host_keys[0]"),
            (f"[links.vps]\nto = 'vps'\nhost_keys = ['jump {KEY}']", 3, "links.vps.host_keys[0]"),
            (
                f"[links.vps]\nto = 'vps'\nconfig = 'none'\nhost_keys = ['{KEY}', 'jump {KEY}']",
                4,
                "links.vps.host_keys[1]",
            ),
            ("[links.vps]\nto = 'vps'\nhost_keys = {}", 3, "links.vps.host_keys"),
            ("[links.vps]\nto = 'vps'\nconnections = 17", 3, "links.vps.connections"),
            ("[links.vps]\nto = 'vps'\nconnections = true", 3, "links.vps.connections"),
            ("[links.vps]\nto = 'vps'\n[links.VPS]\nto = 'vps'", 3, "links.VPS"),
            ("[users]\nbob = 5", 2, "users.bob"),
            ("[users.'b b']", 1, 'users."b b"'),
            ("[users.bob]\nkey = []", 2, "users.bob.key"),
            ("[users.bob]\nkeys = 'x'", 2, "users.bob.keys"),
            ("[users.bob]\nkeys = [\n'x']", 3, "users.bob.keys[0]"),
            ("[users.bob]\nkeys = [5]", 2, "users.bob.keys[0]"),
            ("[users.bob]\nuntil = 'tomorrow'", 2, "users.bob.until"),
            ("[users.bob]\nquota = 'much'", 2, "users.bob.quota"),
            ("[users.bob]\nfrom = ['office', 'x y']", 2, "users.bob.from"),
            ("[users.Bob]\n[users.bob]", 2, "users.bob"),
            ("[doors.ssh]", 1, "doors.ssh"),
            ("[doors.ssh]\ninterfaces = ['lan0']", 2, "doors.ssh.interfaces"),
            ("[doors.ssh]\nlisten = []", 2, "doors.ssh.listen"),
            ("[doors.ssh]\nlisten = 2222", 2, "doors.ssh.listen"),
            ("[doors.ssh]\nlisten = '2222'", 2, "doors.ssh.listen"),
            ("[doors.ssh]\nlisten = '*:22'\nauthorized_keys = 'keys'", 3, "doors.ssh.authorized_keys"),
            ("[doors.ssh]\nlisten = '*:22'\ngrant = 5", 3, "doors.ssh.grant"),
            ("[doors.ssh]\nlisten = '*:22'\n[doors.ssh.grant]\nport = '8'", 4, "doors.ssh.grant.port"),
            ("[doors.ssh]\nlisten = '*:22'\n[doors.ssh.grant]\nmost = 0", 4, "doors.ssh.grant.most"),
        ],
    )
    def test_what_cannot_be_read_is_told_with_its_line(self, text: str, line: int, key: str) -> None:
        with pytest.raises(Problem) as caught:
            parse(text)
        assert caught.value.code in ("bad-config", "unknown-key")
        assert (caught.value.facts["line"], caught.value.facts["key"]) == (line, key)

    def test_a_near_key_is_offered(self) -> None:
        with pytest.raises(Problem, match="port") as caught:
            parse("[users.bob]\nport = '80'")
        assert "'ports'" in caught.value.fix() or "ports" in str(caught.value.facts["hint"])


class TestSync:
    async def test_the_file_is_followed_and_then_nothing_is_asked(self, world: World) -> None:
        made = await sync(world, TEXT)
        assert [kind.__name__ for kind in made] == [
            "Define",
            "EnableDoor",
            "AddLink",
            "AddLink",
            "PutUser",
            "Submit",
        ]
        snapshot = world.ledger.snapshot
        assert {link.owner for link in snapshot.links.values()} == {OWNER}
        assert snapshot.users["bob"].owner == OWNER
        assert snapshot.doors[DoorName.SSH].owner == OWNER
        assert await sync(world, TEXT) == []
        changed = TEXT.replace("connections = 4", "").replace('quota = "10G"', "").replace("8099", "8098")
        assert await sync(world, changed) == [EnableDoor, AddLink, PutUser]
        gone = changed[: changed.index("[doors.ssh]")]
        assert [kind.__name__ for kind in await sync(world, gone)] == [
            "DisableDoor",
            "RemoveLink",
            "RemoveLink",
            "RemoveUser",
            "Close",
        ]
        assert (dict(snapshot.links), dict(snapshot.users), dict(snapshot.doors)) == ({}, {}, {})

    async def test_what_others_set_up_is_left_alone_until_the_file_names_it(self, world: World) -> None:
        by_hand = Link(name="vps", owner=ALICE.actor, place=SshPlace("vps.example"))
        bob = User(name="bob", owner=ALICE.actor, keys=(), grant=parse_grant({}))
        await world.ask(AddLink(by_hand), PutUser(bob))
        assert await sync(world, "") == []
        assert await sync(world, "[links.vps]\nto = 'vps.example'\n[users.bob]") == [AddLink, PutUser]
        assert world.ledger.snapshot.links["vps"].owner == OWNER
        assert world.ledger.snapshot.users["bob"].owner == OWNER
        assert await sync(world, "") == [RemoveLink, RemoveUser]

    async def test_a_key_may_change_hands_within_a_file(self, world: World) -> None:
        text = "[users.{}]\nkeys = ['{}']\n[users.{}]\nkeys = ['{}']"
        one, two = public_key("one"), public_key("two")
        await sync(world, text.format("a", one, "b", two))
        assert await sync(world, text.format("a", two, "b", one)) == [PutUser, PutUser]
        assert world.ledger.snapshot.users["a"].keys == (two,)


class TestExport:
    @given(
        st.lists(links(), max_size=3, unique_by=lambda link: link.name),
        st.lists(users(), max_size=3, unique_by=lambda user: user.name),
        st.lists(doors(), max_size=3, unique_by=lambda door: door.door),
    )
    def test_what_is_exported_asks_for_nothing_where_it_stands(
        self, some: list[Link], people: list[User], openings: list[Door]
    ) -> None:
        own: dict[str, Any] = {"owner": OWNER, "created_at": 0}
        here: list[Any] = [replace(each, **own) for each in (*some, *people, *openings)]  # type: ignore[type-var]
        snapshot = Snapshot(settings=here)
        text = export_toml(snapshot, "Asia/Tokyo", now=1_750_000_000.0, preset=lambda _name: None)
        assert asks_for(snapshot, text, 1_750_000_000.0) == ()
        asked = asks_for(Snapshot(), text, 1_750_000_000.0)
        assert sorted(type(ask).__name__ for ask in asked) == sorted(
            {Link: "AddLink", User: "PutUser", Door: "EnableDoor"}[type(each)] for each in here
        )

    async def test_what_it_looks_like(self, world: World) -> None:
        await sync(world, TEXT)
        text = export_toml(world.ledger.snapshot, "UTC", now=world.clock.now(), preset=lambda _name: None)
        owner = f'# owner "{OWNER}"'
        for lines in (
            f'[doors.ssh]  {owner}\nlisten = ["192.168.1.1:2222"]\nauthorized_keys = "/etc/sekimori/keys"\n'
            '[doors.ssh.grant]\nports = "8000-8099"\nfrom = ["office"]\n',
            f'[links.plain]  {owner}\nto = "ssh://other.example"\n',
            f'[links.vps]  {owner}\nto = "ssh://alice@vps.example:2222"\njump = ["ssh://bastion.example"]\n',
            f'[users.bob]  {owner}\nkeys = [\n    "permitlisten=\\"8080\\" ssh-ed25519 ',
            'until = "2030-01-01T00:00:00+00:00"\nports = "8080,9000-9010"\nfrom = ["office"]\n',
        ):
            assert lines in text
        assert await sync(world, text) == [Change]  # an end is written as the time that it is


async def test_a_door_that_a_file_opened_is_not_a_persons_to_shut(world: World) -> None:
    await sync(world, TEXT)
    with pytest.raises(Problem) as refused:
        await world.ask(DisableDoor(DoorName.SSH))
    assert refused.value.code == "managed-by-file"
