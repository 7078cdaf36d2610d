"""`[gateway]` and `[bans]`: read, asked for once, taken back when they are gone, and exported."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from sekimori.config.export import export_toml
from sekimori.config.load import parse_config
from sekimori.config.schema import BanEntry, Config, GatewaySettings
from sekimori.config.sync import plan_sync
from sekimori.model.errors import Problem
from sekimori.model.gateway import Ban, Gateway
from sekimori.model.mapping import Owner, OwnerKind
from sekimori.model.request import Configure, Context, LiftBan, PutBan
from sekimori.testing.world import ALICE, World, reading_at

PATH: Final = Path("/etc/sekimori/sekimori.toml")
OWNER: Final = Owner(OwnerKind.FILE, str(PATH))
BY_FILE: Final = Context(OWNER, "file")
SCANS = ipaddress.ip_network("198.51.100.0/24")
HOST = ipaddress.ip_network("2001:db8::7/128")


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


def parse(text: str, now: float = 1_750_000_000.0) -> Config:
    return parse_config(text, PATH, reading_at(now))


async def sync(world: World, text: str) -> list[object]:
    """Bring the world to the file; the asks it took."""
    reading = reading_at(world.clock.now())
    plan = plan_sync(
        parse(text, world.clock.now()), world.ledger.snapshot, reading, lambda _owner, _name: None
    )
    await world.ask(*plan.asks, context=BY_FILE)
    return list(plan.asks)


class TestReading:
    @pytest.mark.parametrize(
        ("text", "settings"),
        [
            ("", None),
            ("[gateway]", GatewaySettings(masquerade=True, firewall=False)),
            ("[gateway]\nfirewall = true", GatewaySettings(masquerade=True, firewall=True)),
            ("[gateway]\nmasquerade = false", GatewaySettings(masquerade=False, firewall=False)),
        ],
    )
    def test_that_the_table_is_there_is_what_counts(
        self, text: str, settings: GatewaySettings | None
    ) -> None:
        assert parse(text).gateway == settings

    def test_bans_have_a_reason_and_perhaps_an_end(self) -> None:
        text = """
            [bans]
            "198.51.100.0/24" = "port scans"
            "2001:db8::7" = { reason = "spam", until = "2030-01-01T00:00:00+00:00" }
            "192.0.2.1" = {}
        """
        assert parse(text).bans == (
            BanEntry(SCANS, "port scans", None),
            BanEntry(HOST, "spam", 1_893_456_000),
            BanEntry(ipaddress.ip_network("192.0.2.1"), "", None),
        )

    @pytest.mark.parametrize(
        ("text", "line", "key"),
        [
            ("[gateway]\nfirewal = true", 2, "gateway.firewal"),
            ('[gateway]\nfirewall = "yes"', 2, "gateway.firewall"),
            ("gateway = true", 1, "gateway"),
            ('[bans]\n"198.51.100.7/24" = "x"', 2, 'bans."198.51.100.7/24"'),
            ('[bans]\nscanner = "x"', 2, "bans.scanner"),
            ('[bans]\n"192.0.2.1" = 5', 2, 'bans."192.0.2.1"'),
            ('[bans]\n"192.0.2.1" = ""\n"192.0.2.1/32" = ""', 3, 'bans."192.0.2.1/32"'),
            ('[bans]\n"192.0.2.1" = { untill = "2030-01-01" }', 2, 'bans."192.0.2.1".untill'),
            ('[bans]\n"192.0.2.1" = { until = "18:00" }', 2, 'bans."192.0.2.1".until'),
            ('[bans]\n"192.0.2.1" = { reason = 5 }', 2, 'bans."192.0.2.1".reason'),
            ("[bans]\n198.51.100.7 = 'x'", 2, "bans.198"),
        ],
    )
    def test_what_cannot_be_read_is_told_with_its_line(self, text: str, line: int, key: str) -> None:
        with pytest.raises(Problem) as caught:
            parse(text)
        assert caught.value.code in ("bad-config", "unknown-key")
        assert (caught.value.facts["line"], caught.value.facts["key"]) == (line, key)


class TestSync:
    async def test_the_file_is_followed_and_then_nothing_is_asked(self, world: World) -> None:
        text = '[gateway]\nfirewall = true\n[bans]\n"198.51.100.0/24" = "scans"\n'
        assert len(await sync(world, text)) == 2
        gateway = world.ledger.snapshot.gateway
        assert gateway is not None
        assert (gateway.owner, gateway.firewall) == (OWNER, True)
        ban = world.ledger.snapshot.bans[SCANS]
        assert (ban.owner, ban.reason, ban.expires_at) == (OWNER, "scans", None)
        assert await sync(world, text) == []
        assert await sync(world, '[gateway]\n[bans]\n"198.51.100.0/24" = "port scans"\n') == [
            Configure(Gateway(owner=OWNER)),
            PutBan(SCANS, None, "port scans"),
        ]
        assert await sync(world, "") == [Configure(None), LiftBan(SCANS)]
        assert (world.ledger.snapshot.gateway, dict(world.ledger.snapshot.bans)) == (None, {})

    async def test_what_others_set_up_is_left_alone_until_the_file_names_it(self, world: World) -> None:
        await world.ask(Configure(Gateway(owner=ALICE.actor)), PutBan(SCANS, None, "scans"))
        assert await sync(world, "") == []
        await sync(world, '[gateway]\n[bans]\n"198.51.100.0/24" = "scans"\n')
        assert world.ledger.snapshot.gateway is not None
        assert world.ledger.snapshot.gateway.owner == OWNER
        assert world.ledger.snapshot.bans[SCANS].owner == OWNER

    async def test_a_ban_that_has_ended_is_not_put_again(self, world: World) -> None:
        until = "2033-05-18T03:33:20+00:00"  # 2,000,000,000
        text = f'[bans]\n"198.51.100.0/24" = {{ reason = "scans", until = "{until}" }}\n'
        await sync(world, text)
        assert world.ledger.snapshot.bans[SCANS].expires_at == 2_000_000_000
        await world.pass_time(2_000_000_000 - world.clock.now())
        assert dict(world.ledger.snapshot.bans) == {}
        assert await sync(world, text) == []

    async def test_a_machine_that_cannot_be_one_refuses_the_file(self, world: World) -> None:
        world.machine.problem = Problem("needs-net-admin", why="a test")
        with pytest.raises(Problem, match="a test"):
            await sync(world, '[gateway]\n[bans]\n"198.51.100.0/24" = "scans"\n')
        assert dict(world.ledger.snapshot.bans) == {}


async def test_what_is_exported_gives_the_same_again(world: World) -> None:
    now = int(world.clock.now())
    await world.ask(
        Configure(Gateway(owner=ALICE.actor, masquerade=False, firewall=True)),
        PutBan(SCANS, None, 'says "hi"\n# not a comment'),
        PutBan(HOST, now + 3600, "spam"),
        PutBan(ipaddress.ip_network("192.0.2.1"), now + 1),
    )
    text = export_toml(world.ledger.snapshot, "Asia/Tokyo", now=now + 2, preset=lambda _name: None)
    again = World(clock=world.clock)
    try:
        await sync(again, text)
        gateway = again.ledger.snapshot.gateway
        assert gateway is not None
        assert (gateway.masquerade, gateway.firewall) == (False, True)
        assert {key: terms(ban) for key, ban in again.ledger.snapshot.bans.items()} == {
            key: terms(ban) for key, ban in world.ledger.snapshot.bans.items() if key.prefixlen != 32
        }
        assert await sync(again, text) == []
    finally:
        again.close()


def terms(ban: Ban) -> tuple[str, int | None]:
    return ban.reason, ban.expires_at
