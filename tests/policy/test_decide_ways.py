"""Ways through links, SOCKS ports and unix sockets: the paths that are chosen, and what is refused."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from sekimori.gate.undo import wish_of
from sekimori.model.address import WHOLE, IpProtocol, PortPair, PortRange, UnixPath
from sekimori.model.destination import ANYWHERE, NOWHERE, Destinations
from sekimori.model.errors import Problem
from sekimori.model.link import AddLink, Link, SshPlace
from sekimori.model.mapping import Hop, Mapping
from sekimori.model.request import Change, Submit
from sekimori.model.target import Target
from sekimori.planes.memory import MemoryPlane
from sekimori.planes.relay.obstacles import find_inability
from sekimori.testing.table import Table
from sekimori.testing.world import ALICE


class Relay(MemoryPlane):
    """A plane as unable as the relay is."""

    def unable(self, mapping: Mapping) -> Any:
        return find_inability(mapping)


class Router(MemoryPlane):
    """A router above that opens whatever it is asked for."""

    def __init__(self) -> None:
        super().__init__("router")

    def stands_before(self) -> bool:
        return True

    def has_gone(self) -> bool:
        return False


@pytest.fixture
def table() -> Table:
    """A gateway with two links."""
    table = Table(planes=(MemoryPlane("kernel"), Relay()))
    for name in ("vps", "bastion"):
        place = SshPlace.parse(f"ssh://{name}.example")
        table.grant(AddLink(Link(name=name, owner=ALICE.actor, place=place)))
    return table


def ask(table: Table, ports: str, to: str | None = None, **words: object) -> Submit:
    return Submit(table.wish(ports=ports, to=to, **words))


def opened(table: Table, ports: str, to: str | None = None, **words: object) -> Mapping:
    (change,) = table.grant(ask(table, ports, to, **words)).changes
    assert isinstance(change.after, Mapping)
    return change.after


def edited(table: Table, ref: str, **words: Any) -> Mapping:
    (change,) = table.grant(table.change(ref, **words)).changes
    assert isinstance(change.after, Mapping)
    return change.after


def notices(table: Table, submit: Submit) -> dict[str, str]:
    return {notice.code: notice.text("en") for notice in table.grant(submit).notices}


# -- links --------------------------------------------------------------------------------------

VIA, AT = (Hop("relay"), Hop("link", "vps")), (Hop("link", "vps"), Hop("relay"))


@pytest.mark.parametrize(
    ("ports", "to", "words", "path"),
    [
        ("5432", "db:5432", {"via": "vps"}, VIA),
        ("5432", "db:5432", {"via": "VPS", "on": "127.0.0.1"}, VIA),
        ("udp/53", "self", {"via": "vps"}, VIA),
        ("1080", None, {"socks": True, "via": "vps"}, VIA),
        ("unix:/run/db.sock", "db:5432", {"via": "vps"}, VIA),
        ("8080", "127.0.0.1:3000", {"at": "vps"}, AT),
        ("8080", "self:8080", {"at": "vps", "via": "relay"}, AT),
        ("8080", "unix:/run/app.sock", {"at": "vps", "on": "127.0.0.1"}, AT),
        ("unix:/run/far.sock", "device:nas:80", {"at": "vps"}, AT),
        ("1080", None, {"socks": True}, (Hop("relay"),)),
        ("80", "unix:/run/app.sock", {}, (Hop("relay"),)),
        ("unix:/run/a.sock", "unix:/run/b.sock", {}, (Hop("relay"),)),
        ("8080", "192.168.1.5", {}, (Hop("kernel"),)),
    ],
)
def test_the_path_follows_from_the_words(
    table: Table, ports: str, to: str | None, words: dict[str, Any], path: tuple[Hop, ...]
) -> None:
    mapping = opened(table, ports, to, **words)
    assert mapping.path == path
    assert mapping.plane in ("relay", "kernel")
    table.grant(Change(mapping.id, wish_of(mapping)))  # asking for the same again changes nothing


@pytest.mark.parametrize(
    ("ports", "to", "words", "code"),
    [
        ("8080", "db", {"via": "vpn"}, "no-plane"),
        ("8080", "db", {"at": "vpn"}, "no-such-link"),
        ("8080", "db", {"at": "vps", "via": "bastion"}, "exclusive"),
        ("8080", "db", {"at": "vps", "via": "kernel"}, "exclusive"),
        ("8080", "db", {"at": "vps", "on": "eth0"}, "way-unfit"),
        ("8080", "db", {"via": "vps", "on": "eth0"}, "way-unfit"),
        ("8080", "db", {"via": "vps", "log": True}, "way-unfit"),
        ("8080", "device:nas", {"via": "vps"}, "way-unfit"),
        ("sctp/2905", "db", {"via": "vps"}, "way-unfit"),
        ("gre", "db", {"at": "vps"}, "way-unfit"),
        ("dmz", "db", {"via": "vps"}, "way-unfit"),
        ("443", "::10/-64", {"via": "vps"}, "way-unfit"),
        ("113", None, {"trigger": "tcp/6667", "via": "vps"}, "exclusive"),
        ("1080", None, {"socks": True, "at": "vps"}, "way-unfit"),
        ("1080", None, {"socks": True, "via": "kernel"}, "no-plane"),
        ("8080", "unix:/run/app.sock", {"via": "kernel"}, "no-plane"),
    ],
)
def test_what_no_link_carries_is_refused(
    table: Table, ports: str, to: str | None, words: dict[str, Any], code: str
) -> None:
    problem = table.refuse(ask(table, ports, to, **words))
    assert problem.code == code
    assert problem.title("en") != problem.title("ja")


def test_a_link_that_may_have_been_meant_is_named(table: Table) -> None:
    problem = table.refuse(ask(table, "8080", "db", via="bastino"))
    assert "bastion" in problem.title("en")
    assert "bastion" in problem.title("ja")


def test_a_name_beyond_a_link_may_be_this_port_here(table: Table) -> None:
    assert table.refuse(ask(table, "8080", "self:8080", via="relay")).code == "no-plane"
    assert opened(table, "8080", "localhost:8080", via="vps").path == VIA
    assert opened(table, "8081", "127.0.0.1:8081", at="vps").path == AT


def test_going_by_a_link_can_be_ended_and_begun(table: Table) -> None:
    assert opened(table, "8080", "192.168.1.5:80", name="web", via="vps").path == VIA
    assert edited(table, "web", via="auto").path == (Hop("kernel"),)
    assert edited(table, "web", at="bastion").path == (Hop("link", "bastion"), Hop("relay"))
    assert edited(table, "web", at="none").path == (Hop("kernel"),)
    assert edited(table, "web", via="vps").path == VIA


def test_ports_at_a_far_end_meet_only_each_other(table: Table) -> None:
    opened(table, "8080", "a", name="here")
    opened(table, "8080", "a", name="there", at="vps")
    opened(table, "8080", "a", name="elsewhere", at="bastion")
    problem = table.refuse(ask(table, "8080", "b", at="vps", on="127.0.0.1"))
    assert (problem.code, problem.facts["name"], problem.facts["theirs"]) == (
        "port-taken",
        "there",
        "tcp/8080 at vps",
    )
    assert [each.name for each in table.snapshot.claiming(IpProtocol.TCP, 8080)] == ["here"]


def test_a_far_end_lets_in_its_neighbours_and_that_is_told(table: Table) -> None:
    told = notices(table, ask(table, "8080", "a:80", at="vps"))
    assert "far end of 'vps'" in told["sources-defaulted"]
    assert "--from anyone" in told["sources-defaulted"]
    mapping = table.snapshot.find("8080")
    # The far machine's own programs come from its loopback address, which the LAN's list holds.
    prefixes = mapping.sources.resolve({})
    assert prefixes is not None
    for address in ("127.0.0.1", "::1", "10.1.2.3"):
        parsed = ipaddress.ip_address(address)
        assert any(parsed in prefix for prefix in prefixes if prefix.version == parsed.version)
    assert not any(ipaddress.ip_address("203.0.113.9") in each for each in prefixes if each.version == 4)
    assert not notices(table, ask(table, "8081", "a:80", at="vps", from_="anyone"))


@pytest.mark.parametrize("words", [{"at": "vps"}, {"via": "vps"}])
def test_a_dangerous_service_is_one_on_either_side_of_a_link(table: Table, words: dict[str, Any]) -> None:
    problem = table.refuse(ask(table, "2222", "db:22", from_="anyone", **words))
    assert (problem.code, problem.facts["risk"]) == ("risk-not-accepted", "exposed-admin")
    assert opened(table, "2222", "db:22", from_="anyone", accept_risk="exposed-admin", **words)


def test_the_router_above_is_not_asked_for_what_listens_elsewhere(table: Table) -> None:
    above = Table(planes=(MemoryPlane("kernel"), Relay()), router=Router())
    above.grant(AddLink(table.snapshot.links["vps"]))
    assert opened(above, "80", "a", from_="anyone").path[0] == Hop("router")
    assert opened(above, "81", "a", from_="anyone", at="vps").path == AT
    assert opened(above, "82", "a", from_="anyone", via="vps").path == VIA
    assert opened(above, "1080", None, socks=True, from_="198.51.100.0/24").path[0] == Hop("router")


# -- SOCKS --------------------------------------------------------------------------------------

MADE = "scrypt$1024$" + "00" * 16 + "$" + "00" * 32


def test_a_socks_port_has_users_and_bounds(table: Table) -> None:
    mapping = opened(table, "1080", None, socks=True)
    assert (mapping.name, mapping.target_text, mapping.is_straight) == ("socks-1080", "socks", True)
    assert mapping.socks is not None
    assert (mapping.socks.users, mapping.socks.reach) == ((), ANYWHERE)
    after = edited(table, "socks-1080", socks_user=[f"alice:{MADE}"], reach="db:5432")
    assert after.socks is not None
    assert [user.name for user in after.socks.users] == ["alice"]
    assert after.socks.reach == Destinations.parse("db:5432")
    freed = edited(table, "socks-1080", socks_user="none", reach="none")
    assert freed.socks is not None
    assert (freed.socks.users, freed.socks.reach) == ((), NOWHERE)  # "none" never opens everything
    gone = edited(table, "socks-1080", to="192.168.1.5")
    assert (gone.socks, gone.path) == (None, (Hop("kernel"),))
    assert edited(table, "socks-1080", socks=True).socks is not None


@pytest.mark.parametrize(
    ("ports", "words", "code"),
    [
        ("udp/1080", {}, "way-unfit"),
        ("gre", {}, "way-unfit"),
        ("1080:1081", {}, "bad-target"),
        ("1080", {"proxy_protocol": 2}, "way-unfit"),
        ("unix:/run/s.sock", {}, "way-unfit"),
    ],
)
def test_what_does_not_fit_a_socks_port(table: Table, ports: str, words: dict[str, Any], code: str) -> None:
    assert table.refuse(ask(table, ports, socks=True, **words)).code == code


def test_a_target_and_a_client_that_names_it_exclude_each_other(table: Table) -> None:
    with pytest.raises(Problem, match="--to and --socks"):
        ask(table, "1080", "192.168.1.5", socks=True)


@pytest.mark.parametrize("words", [{"socks_user": [f"alice:{MADE}"]}, {"reach": "db:5432"}])
def test_users_and_bounds_are_of_socks_ports_only(table: Table, words: dict[str, Any]) -> None:
    problem = table.refuse(ask(table, "8080", "192.168.1.5", **words))
    assert problem.code == "not-socks"
    assert "192.168.1.5" in problem.title("en")


def test_a_socks_port_for_anyone_is_an_open_proxy(table: Table) -> None:
    for ports in ("1080", "9050"):
        problem = table.refuse(ask(table, ports, socks=True, from_="anyone"))
        assert (problem.code, problem.facts["risk"]) == ("risk-not-accepted", "open-proxy")
        assert "--socks-user" in problem.title("en")
    assert table.refuse(ask(table, "1080", socks=True, from_="0.0.0.0/1")).code == "risk-not-accepted"
    assert opened(table, "1080", socks=True, from_="anyone", accept_risk="open-proxy")


def test_passwords_that_leave_the_lan_are_told_to_be_readable(table: Table) -> None:
    users = [f"alice:{MADE}"]
    told = notices(table, ask(table, "1080", socks=True, from_="anyone", socks_user=users))
    assert "encrypts nothing" in told["cleartext-passwords"]
    assert "cleartext-passwords" not in notices(table, ask(table, "1081", socks=True, socks_user=users))
    widened = table.grant(table.change("socks-1081", from_="anyone"))
    assert [notice.code for notice in widened.notices] == ["cleartext-passwords"]
    # Taking the users away from one that is open to anyone is held to the risk.
    assert table.refuse(table.change("socks-1080", socks_user="none")).facts["risk"] == "open-proxy"


# -- unix sockets ---------------------------------------------------------------------------------


def test_a_path_outside_leads_to_a_port_or_a_path(table: Table) -> None:
    mapping = opened(table, "unix:/run/Db-one.sock", "db:5432", name="db")
    assert mapping.on == UnixPath("/run/Db-one.sock")
    assert mapping.ports == (PortPair(IpProtocol.UNIX, WHOLE, PortRange(5432, 5432)),)
    assert (mapping.ports_text, mapping.target_text) == ("unix:/run/Db-one.sock", "db:5432")
    assert Mapping.from_document(mapping.to_document()) == mapping
    assert edited(table, "db", to="db:5433").target_text == "db:5433"
    led = edited(table, "db", to="unix:/run/b.sock")
    assert (led.target, led.target_text) == (Target.parse_host("unix:/run/b.sock"), "unix:/run/b.sock")
    assert table.refuse(table.change("db", to="db")).code == "bad-target"
    back = edited(table, "db", ports="8080", to="db:80")
    assert (back.on, back.path, back.ports_text) == (None, (Hop("kernel"),), "tcp/8080:80")
    assert edited(table, "db", ports="unix:/run/c.sock", to="db:80").on == UnixPath("/run/c.sock")


def test_one_path_has_one_mapping(table: Table) -> None:
    opened(table, "unix:/run/a.sock", "a:80", name="one")
    problem = table.refuse(ask(table, "unix:/run//a.sock", "b:80"))
    assert (problem.code, problem.facts["theirs"]) == ("port-taken", "unix:/run/a.sock")
    opened(table, "unix:/run/a.sock", "b:80", at="vps")
    opened(table, "unix:/run/b.sock", "b:80")


@pytest.mark.parametrize(
    ("ports", "to", "words", "code"),
    [
        ("unix", "db:80", {}, "bad-ports"),
        ("tcp/80", "db", {"on": "unix:/run/a.sock"}, "bad-ports"),
        ("unix,80", "db", {"on": "unix:/run/a.sock"}, "kinds-mixed"),
        ("unix:/run/a.sock", "db", {}, "bad-target"),
        ("unix:/run/a.sock", "unix:/run/a.sock", {}, "leads-to-itself"),
        ("unix:/run/a.sock", None, {"trigger": "80"}, "trigger-without-ports"),
        ("udp/80", "unix:/run/a.sock", {}, "way-unfit"),
        ("80:81", "unix:/run/a.sock", {}, "bad-target"),
        ("dmz", "192.168.1.5", {"except_": "unix"}, "bad-value"),
    ],
)
def test_what_does_not_fit_a_unix_socket(
    table: Table, ports: str, to: str | None, words: dict[str, Any], code: str
) -> None:
    assert table.refuse(ask(table, ports, to, **words)).code == code


def test_a_known_socket_is_as_dangerous_as_its_service(table: Table) -> None:
    problem = table.refuse(ask(table, "8080", "unix:/var/run/docker.sock", from_="anyone"))
    assert (problem.code, problem.facts["risk"]) == ("risk-not-accepted", "exposed-admin")
    assert opened(table, "8080", "unix:/run/app.sock", from_="anyone")


def test_who_may_use_a_path_is_the_files_mode_so_no_default_is_told(table: Table) -> None:
    assert not notices(table, ask(table, "unix:/run/a.sock", "db:80"))
