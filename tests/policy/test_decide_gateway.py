"""The gateway and bans: who may change them, what is refused, and what stays as it was."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

import pytest

from sekimori.model.causes import cause
from sekimori.model.decision import Made, Verb
from sekimori.model.errors import Problem
from sekimori.model.gateway import Ban, Gateway
from sekimori.model.mapping import Owner, OwnerKind
from sekimori.model.network import Network
from sekimori.model.request import Caller, Configure, Context, LiftBan, PutBan
from sekimori.policy.machine import NO_GATEWAY, in_order, value_for
from sekimori.testing.machine import FakeMachine
from sekimori.testing.table import NOW, Table
from sekimori.testing.world import ALICE, FILE

BOB = Context(Owner(OwnerKind.PERSON, "bob"), "api")
DOOR_KINDS = (OwnerKind.DEVICE, OwnerKind.KEY, OwnerKind.CLIENT, OwnerKind.TRIGGER)
FOUND = (
    ("net.ipv4.ip_forward", "0"),
    ("net.ipv6.conf.all.forwarding", "0"),
    ("net.ipv6.conf.wan0.accept_ra", "1"),
)


def gateway(*, masquerade: bool = True, firewall: bool = False) -> Gateway:
    return Gateway(owner=ALICE.actor, masquerade=masquerade, firewall=firewall)


def net(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network(text)


@pytest.fixture
def machine() -> FakeMachine:
    return FakeMachine()


@pytest.fixture
def table(machine: FakeMachine) -> Table:
    return Table(machine=machine.machine)


class TestConfigure:
    def test_what_the_kernel_had_is_kept_with_it(self, table: Table) -> None:
        (change,) = table.grant(Configure(gateway(firewall=True))).changes
        expected = Gateway(owner=ALICE.actor, firewall=True, found=FOUND, created_at=int(NOW))
        assert change == Made(Verb.GATEWAY, None, expected)
        assert table.snapshot.gateway == expected

    def test_a_change_keeps_what_was_found_and_since_when(self, table: Table, machine: FakeMachine) -> None:
        table.grant(Configure(gateway()))
        machine.sysctls = dict.fromkeys(machine.sysctls, "1")  # as enabling left them
        table.now += 60
        (change,) = table.grant(Configure(gateway(masquerade=False))).changes
        assert isinstance(change.after, Gateway)
        assert (change.after.found, change.after.created_at) == (FOUND, int(NOW))
        assert not change.after.masquerade

    def test_the_same_again_changes_nothing_whoever_asks(self, table: Table) -> None:
        table.grant(Configure(gateway()))
        assert table.grant(Configure(gateway()), by=BOB).changes == ()

    def test_it_ends_and_to_end_it_again_changes_nothing(self, table: Table) -> None:
        table.grant(Configure(gateway()))
        stood = table.snapshot.gateway
        assert table.grant(Configure(None)).changes == (Made(Verb.GATEWAY, stood, None),)
        assert table.snapshot.gateway is None
        assert table.grant(Configure(None)).changes == ()

    def test_settings_that_are_so_already_are_not_ours_to_give_back(
        self, table: Table, machine: FakeMachine
    ) -> None:
        machine.sysctls = {"net.ipv4.ip_forward": "1", "net.ipv6.conf.wan0.accept_ra": "0"}
        table.grant(Configure(gateway()))
        assert table.snapshot.gateway is not None
        assert table.snapshot.gateway.found == ()

    def test_an_interface_with_a_dot_is_named_as_sysctl_names_it(self, machine: FakeMachine) -> None:
        wan = replace(machine.network.wans[0], interface="eth0.7")
        machine.network = Network(wans=(wan,))
        machine.sysctls = {"net.ipv6.conf.eth0/7.accept_ra": "1"}
        assert machine.machine.to_change() == (("net.ipv6.conf.eth0/7.accept_ra", "1"),)

    def test_advertisements_are_kept_before_forwarding_is_switched_on(self) -> None:
        assert [name.rpartition(".")[2] for name, _ in in_order(FOUND)] == [
            "accept_ra",
            "ip_forward",
            "forwarding",
        ]
        assert [value_for(name) for name, _ in in_order(FOUND)] == ["2", "1", "1"]

    def test_what_stands_in_the_way_is_told_and_ending_it_needs_nothing(
        self, table: Table, machine: FakeMachine
    ) -> None:
        table.grant(Configure(gateway()))
        machine.problem = Problem("needs-net-admin", why=cause("no-gateway-plane"))
        assert table.refuse(Configure(gateway(firewall=True))).code == "needs-net-admin"
        assert len(table.grant(Configure(None)).changes) == 1

    def test_without_a_plane_for_it_there_is_no_gateway(self) -> None:
        problem = Table(machine=NO_GATEWAY).refuse(Configure(gateway()))
        assert (problem.code, problem.exit_code) == ("needs-net-admin", 6)

    def test_a_machine_between_nothing_is_told_so(self, table: Table, machine: FakeMachine) -> None:
        assert table.grant(Configure(gateway())).notices == ()
        machine.network = Network()
        (notice,) = table.grant(Configure(gateway(firewall=True))).notices
        assert notice.code == "between-nothing"

    @pytest.mark.parametrize("kind", DOOR_KINDS)
    def test_only_people_and_files_may(self, table: Table, kind: OwnerKind) -> None:
        by = Context(Owner(kind, "x"), "api")
        assert table.refuse(Configure(gateway()), by=by).code == "not-permitted"
        assert table.refuse(Configure(None), by=by).code == "not-permitted"

    def test_what_a_file_declares_is_changed_there(self, table: Table) -> None:
        table.grant(Configure(gateway()), by=FILE)
        for ask in (Configure(gateway(firewall=True)), Configure(None)):
            assert table.refuse(ask).code == "managed-by-file"
            assert len(table.decide(ask, undoing=True).changes) == 1  # type: ignore[union-attr]

    def test_a_file_takes_over_what_a_person_made(self, table: Table) -> None:
        table.grant(Configure(gateway()))
        table.grant(Configure(gateway()), by=FILE)
        assert table.snapshot.gateway is not None
        assert table.snapshot.gateway.owner == FILE.actor
        assert table.snapshot.gateway.found == FOUND


class TestBan:
    @pytest.mark.parametrize(
        "prefix",
        ["198.51.100.7/32", "198.51.100.0/24", "11.0.0.0/8", "2001:db8::/32", "2000::/19", "::2/128"],
    )
    def test_a_prefix_is_banned_and_let_in_again(self, table: Table, prefix: str) -> None:
        (put,) = table.grant(PutBan(net(prefix), int(NOW) + 60, "tries passwords")).changes
        expected = Ban(
            prefix=net(prefix),
            owner=ALICE.actor,
            expires_at=int(NOW) + 60,
            reason="tries passwords",
            created_at=int(NOW),
        )
        assert put == Made(Verb.BAN, None, expected)
        assert dict(table.snapshot.bans) == {net(prefix): expected}
        (lifted,) = table.grant(LiftBan(net(prefix)), by=BOB).changes
        assert lifted == Made(Verb.UNBAN, expected, None)
        assert dict(table.snapshot.bans) == {}

    @pytest.mark.parametrize(
        ("prefix", "why"),
        [
            ("0.0.0.0/0", cause("ban-too-wide", widest=8)),
            ("::/0", cause("ban-too-wide", widest=19)),
            ("10.0.0.0/7", cause("ban-too-wide", widest=8)),
            ("2000::/18", cause("ban-too-wide", widest=19)),
            ("127.0.0.1/32", cause("ban-loopback")),
            ("127.0.0.0/8", cause("ban-loopback")),
            ("::1/128", cause("ban-loopback")),
            ("::/64", cause("ban-loopback")),
        ],
    )
    def test_what_would_keep_out_everything_or_ourselves_is_refused(
        self, table: Table, prefix: str, why: dict[str, str]
    ) -> None:
        prefix_ = ipaddress.ip_network(prefix, strict=False)
        problem = table.refuse(PutBan(prefix_, None))
        assert (problem.code, problem.facts["why"], problem.exit_code) == ("bad-ban", why, 8)

    def test_who_asks_may_be_in_it(self, table: Table) -> None:
        """To keep the asker from being locked out for good is another's part, which can take it back."""
        caller = Caller(ipaddress.ip_address("198.51.100.7"), 50000, ipaddress.ip_address("203.0.113.5"), 22)
        by = replace(ALICE, caller=caller)
        assert len(table.grant(PutBan(net("198.51.100.0/24"), None), by=by).changes) == 1

    def test_again_changes_its_end_and_keeps_the_rest(self, table: Table) -> None:
        table.grant(PutBan(net("198.51.100.0/24"), int(NOW) + 60, "scans"))
        table.now += 30
        (change,) = table.grant(PutBan(net("198.51.100.0/24"), None), by=BOB).changes
        after = change.after
        assert isinstance(after, Ban)
        assert (after.expires_at, after.reason, after.created_at) == (None, "scans", int(NOW))
        assert after.owner == ALICE.actor
        assert table.grant(PutBan(net("198.51.100.0/24"), None)).changes == ()

    def test_a_ban_that_is_not_there_cannot_be_lifted(self, table: Table) -> None:
        assert table.refuse(LiftBan(net("198.51.100.7/32"))).fact("near") == ""
        table.grant(PutBan(net("198.51.100.0/24"), None))
        problem = table.refuse(LiftBan(net("198.51.100.7/32")))
        assert (problem.code, problem.exit_code) == ("no-such-ban", 4)
        assert problem.title() == "cannot find a ban of 198.51.100.7"
        assert problem.fix().endswith("It is in the ban of 198.51.100.0/24.")

    @pytest.mark.parametrize("kind", DOOR_KINDS)
    def test_only_people_and_files_may(self, table: Table, kind: OwnerKind) -> None:
        by = Context(Owner(kind, "x"), "api")
        table.grant(PutBan(net("203.0.113.0/24"), None))
        assert table.refuse(PutBan(net("198.51.100.0/24"), None), by=by).code == "not-permitted"
        assert table.refuse(LiftBan(net("203.0.113.0/24")), by=by).code == "not-permitted"

    def test_what_a_file_declares_is_changed_there(self, table: Table) -> None:
        table.grant(PutBan(net("198.51.100.0/24"), None), by=FILE)
        for ask in (PutBan(net("198.51.100.0/24"), int(NOW) + 1), LiftBan(net("198.51.100.0/24"))):
            problem = table.refuse(ask)
            assert (problem.code, problem.facts["name"]) == ("managed-by-file", "198.51.100.0/24")
            assert "pause" not in problem.fix() + problem.fix("ja")

    def test_all_or_none(self, table: Table) -> None:
        assert table.refuse(PutBan(net("198.51.100.0/24"), None), LiftBan(net("203.0.113.0/24")))
        assert dict(table.snapshot.bans) == {}
