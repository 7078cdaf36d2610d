"""DMZ hosts, triggers, pinholes, permits and protocols without ports: what is granted and refused."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

import pytest

from sekimori.gate.undo import wish_of
from sekimori.model.address import Interface, parse_spans
from sekimori.model.causes import Text
from sekimori.model.decision import Notice
from sekimori.model.lifetime import Lifetime
from sekimori.model.mapping import Hop, Mapping, MappingKind, Trigger
from sekimori.model.request import Change, Define, Submit
from sekimori.planes.memory import MemoryPlane
from sekimori.planes.relay.obstacles import find_inability
from sekimori.testing.table import NOW, Table

NO_RIGHT = {"en": "it needs CAP_NET_ADMIN", "ja": "CAP_NET_ADMIN が必要です"}


class Kernel(MemoryPlane):
    """A plane that is called kernel, and unable where a test says so."""

    def __init__(self, why: Text | None = None) -> None:
        super().__init__("kernel")
        self.why = why

    def unable(self, mapping: Mapping) -> Text | None:
        return self.why


class Relay(MemoryPlane):
    """A plane as unable as the relay is."""

    def unable(self, mapping: Mapping) -> Text | None:
        return find_inability(mapping)


@pytest.fixture
def table() -> Table:
    """A machine with a kernel plane, and the relay behind it."""
    return Table(planes=(Kernel(), Relay()))


def ask(table: Table, ports: str, to: str | None = None, **words: object) -> Submit:
    """The ask that opens ports, with no target unless it is said."""
    return Submit(table.wish(ports=ports, to=to, **words))


def opened(table: Table, ports: str, to: str | None = None, **words: object) -> Mapping:
    (change,) = table.grant(ask(table, ports, to, **words)).changes
    assert isinstance(change.after, Mapping)
    return change.after


def edited(table: Table, ref: str, **words: Any) -> Mapping:
    (change,) = table.grant(table.change(ref, **words)).changes
    assert isinstance(change.after, Mapping)
    return change.after


# -- DMZ hosts ---------------------------------------------------------------------------------


def test_a_dmz_host_lasts_an_hour_unless_said(table: Table) -> None:
    mapping = opened(table, "dmz", "192.168.1.50", except_="tcp/443")
    assert (mapping.kind, mapping.name, mapping.path) == (MappingKind.DMZ, "dmz", (Hop("kernel"),))
    assert mapping.excepted == parse_spans("tcp/443")
    assert mapping.lifetime == Lifetime.lasting(3600, NOW)
    longer = opened(Table(planes=(Kernel(),)), "dmz", "192.168.1.51", for_="3d")
    assert longer.lifetime == Lifetime.lasting(3 * 86400, NOW)
    short = Table(lifetime=600, planes=(Kernel(),))
    assert opened(short, "dmz", "192.168.1.50").lifetime == Lifetime.lasting(600, NOW)


@pytest.mark.parametrize("sources", ["anyone", "0.0.0.0/1,128.0.0.0/1", "2000::/3"])
def test_a_dmz_host_for_anyone_is_a_risk_by_its_name(table: Table, sources: str) -> None:
    problem = table.refuse(ask(table, "dmz", "192.168.1.50", from_=sources))
    assert (problem.code, problem.facts["risk"], problem.exit_code) == ("risk-not-accepted", "dmz", 8)
    for language, words in (("en", "forward the ports that are needed"), ("ja", "必要なポートだけ")):
        assert words in problem.title(language)
        assert "--accept-risk dmz" in problem.fix(language)
    assert (
        table.refuse(ask(table, "dmz", "192.168.1.50", from_=sources, accept_risk="exposed-admin")).facts[
            "risk"
        ]
        == "dmz"
    )
    mapping = opened(table, "dmz", "192.168.1.50", from_=sources, accept_risk="dmz")
    assert mapping.accepted_risks == ("dmz",)


def test_an_edit_or_a_list_that_widens_a_dmz_host_is_held_to_the_risk_too(table: Table) -> None:
    office = (ipaddress.ip_network("198.51.100.0/24"),)
    table.grant(Define("office", office))
    opened(table, "dmz", "192.168.1.50", from_="office")
    assert table.refuse(table.change("dmz", from_="anyone")).facts["risk"] == "dmz"
    assert table.refuse(Define("office", (ipaddress.ip_network("0.0.0.0/0"),))).facts["risk"] == "dmz"


@pytest.mark.parametrize(
    ("ports", "to", "words", "code"),
    [
        ("dmz,80", "192.168.1.50", {}, "kinds-mixed"),
        ("dmz+gre", "192.168.1.50", {}, "kinds-mixed"),
        ("dmz", "self", {}, "target-unfit"),
        ("dmz", "::10/-64", {}, "target-unfit"),
        ("dmz", "192.168.1.50:80", {}, "bad-target"),
        ("dmz", "192.168.1.50", {"except_": "80,dmz"}, "bad-value"),
        ("dmz", None, {}, "missing"),
        ("80", "192.168.1.50", {"except_": "443"}, "not-a-dmz"),
        ("gre", "192.168.1.50", {"except_": "443"}, "not-a-dmz"),
    ],
)
def test_what_does_not_fit_a_dmz_host(
    table: Table, ports: str, to: str | None, words: dict[str, Any], code: str
) -> None:
    problem = table.refuse(ask(table, ports, to, **words))
    assert (problem.code, problem.exit_code) == (code, 2)


def test_exceptions_are_changed_and_cleared(table: Table) -> None:
    opened(table, "dmz", "192.168.1.50", except_="tcp/443")
    assert edited(table, "dmz", except_="22,gre").excepted == parse_spans("22,gre")
    assert edited(table, "dmz", log=True).excepted == parse_spans("22,gre")
    # With the DMZ host gone, what it left out would mean nothing.
    assert table.refuse(table.change("dmz", ports="80")).code == "not-a-dmz"
    after = edited(table, "dmz", ports="80", except_="none")
    assert (after.kind, after.excepted) == (MappingKind.FORWARD, ())


# -- triggers ----------------------------------------------------------------------------------


def test_a_trigger_needs_no_target_and_holds_ten_minutes(table: Table) -> None:
    mapping = opened(table, "tcp/113", trigger="tcp/6667")
    assert mapping.kind is MappingKind.TRIGGER
    assert (str(mapping.target), mapping.trigger) == ("trigger", Trigger(parse_spans("tcp/6667"), 600))
    assert mapping.path == (Hop("kernel"),)
    said = opened(table, "udp/6970-7170", "trigger", trigger="554,udp/555", hold="1d")
    assert said.trigger == Trigger(parse_spans("tcp/554,udp/555"), 86400)


@pytest.mark.parametrize(
    ("ports", "to", "words", "code", "fact"),
    [
        ("113", "192.168.1.5", {"trigger": "6667"}, "exclusive", "--to"),
        ("113", "self", {"trigger": "6667"}, "exclusive", "--trigger"),
        ("113", "trigger", {}, "not-a-trigger", "--to trigger"),
        ("113", "trigger", {"trigger": "none"}, "not-a-trigger", "--to trigger"),
        ("113", "192.168.1.5", {"hold": "5m"}, "not-a-trigger", "--hold"),
        ("113", None, {"hold": "5m"}, "not-a-trigger", "--hold"),
        ("113", None, {"trigger": "6667", "hold": "25h"}, "bad-value", "hold"),
        ("113", None, {"trigger": "gre"}, "trigger-without-ports", "gre"),
        ("113", None, {"trigger": "dmz"}, "trigger-without-ports", "dmz"),
        ("gre", None, {"trigger": "6667"}, "trigger-without-ports", "gre"),
        ("dmz", None, {"trigger": "6667"}, "trigger-without-ports", "dmz"),
        ("113:114", None, {"trigger": "6667"}, "same-port-only", "tcp/113"),
        ("113", "trigger:114", {"trigger": "6667"}, "same-port-only", "114"),
        ("113", None, {"trigger": "6667", "except_": "80"}, "not-a-dmz", "tcp/80"),
    ],
)
def test_what_does_not_fit_a_trigger(
    table: Table, ports: str, to: str | None, words: dict[str, Any], code: str, fact: str
) -> None:
    problem = table.refuse(ask(table, ports, to, **words))
    assert (problem.code, problem.exit_code) == (code, 2)
    assert fact in map(str, problem.facts.values())


def test_a_trigger_is_changed_word_by_word(table: Table) -> None:
    opened(table, "113", trigger="6667", hold="5m", name="irc")
    assert edited(table, "irc", trigger="6697").trigger == Trigger(parse_spans("6697"), 300)
    assert edited(table, "irc", hold="20m").trigger == Trigger(parse_spans("6697"), 1200)
    assert edited(table, "irc", hold="none").trigger == Trigger(parse_spans("6697"), 600)
    assert edited(table, "irc", ports="tcp/113-114").trigger == Trigger(parse_spans("6697"), 600)
    assert table.refuse(table.change("irc", to="192.168.1.5")).code == "exclusive"
    assert table.refuse(table.change("irc", trigger="none")).facts["key"] == "--to"
    plain = edited(table, "irc", trigger="none", to="192.168.1.5")
    assert (plain.kind, plain.trigger, str(plain.target)) == (MappingKind.FORWARD, None, "192.168.1.5")
    again = edited(table, "irc", trigger="6667")
    assert (again.kind, str(again.target)) == (MappingKind.TRIGGER, "trigger")


# -- pinholes, permits, protocols without ports ------------------------------------------------


@pytest.mark.parametrize("ports", ["443", "udp/3000-3010", "sctp/2905", "esp", "udp/500,udp/4500,esp"])
@pytest.mark.parametrize("on", [None, "eth0"])
def test_a_suffix_makes_a_pinhole(table: Table, ports: str, on: str | None) -> None:
    mapping = opened(table, ports, "[::10/-64]", on=on)
    assert (mapping.kind, str(mapping.target)) == (MappingKind.PINHOLE, "::10/-64")


@pytest.mark.parametrize(
    ("ports", "to", "words", "code"),
    [
        ("gre", "::10/-64", {}, "target-unfit"),
        ("443,gre", "::10/-64", {}, "target-unfit"),
        ("6in4", "::10/-64", {}, "target-unfit"),
        ("6in4", "2001:db8::5", {}, "target-unfit"),
        ("8443:443", "::10/-64", {}, "same-port-only"),
        ("8443", "[::10/-64]:443", {}, "same-port-only"),
        ("443", "::10/-64", {"on": "2001:db8::1"}, "exclusive"),
        ("443", "::10/-64", {"on": "0.0.0.0"}, "exclusive"),
    ],
)
def test_what_does_not_fit_a_pinhole(
    table: Table, ports: str, to: str, words: dict[str, Any], code: str
) -> None:
    problem = table.refuse(ask(table, ports, to, **words))
    assert (problem.code, problem.exit_code) == (code, 2)
    assert "::10/-64" in map(str, problem.facts.values()) or "2001:db8::5" in problem.title()


def test_a_shifted_pinhole_is_told_what_to_write(table: Table) -> None:
    problem = table.refuse(ask(table, "8443", "[::10/-64]:443"))
    assert "tcp/443" in problem.fix()
    assert "a pinhole lets packets through as they are" in problem.title()


def test_the_relay_is_not_asked_for_a_port_of_this_machine_where_the_kernel_is(table: Table) -> None:
    mapping = opened(table, "51820/udp", "self", on="eth1")
    assert (mapping.kind, mapping.path, mapping.on) == (
        MappingKind.PERMIT,
        (Hop("kernel"),),
        Interface("eth1"),
    )
    problem = table.refuse(ask(table, "8080", "self", via="relay"))
    assert (problem.code, problem.facts["able"]) == ("no-plane", "kernel")
    assert "it would lead to itself" in problem.title()


@pytest.mark.parametrize("to", ["self", "127.0.0.1", "localhost"])
@pytest.mark.parametrize("via", ["auto", "relay"])
def test_where_only_the_relay_is_a_loop_is_told_as_one(to: str, via: str) -> None:
    problem = Table(planes=(Relay(),)).refuse(Table().submit("8080", to, via=via))
    assert (problem.code, problem.exit_code) == ("leads-to-itself", 2)


def test_a_loop_is_one_reason_among_others() -> None:
    table = Table(planes=(Kernel(NO_RIGHT), Relay()))
    problem = table.refuse(ask(table, "8080", "self"))
    assert problem.code == "no-plane"
    for language in ("en", "ja"):
        assert NO_RIGHT[language] in problem.title(language)
    assert "relay: it would lead to itself" in problem.title()
    # What else the relay cannot make comes before the loop.
    only = Table(planes=(Relay(),))
    for ports, words in (("sctp/80", {}), ("gre", {}), ("80", {"log": True})):
        assert only.refuse(ask(only, ports, "self", **words)).code == "no-plane"


@pytest.mark.parametrize(
    ("ports", "name"),
    [("gre", "gre"), ("esp", "esp"), ("6in4", "ip-6in4"), ("sctp/80", "sctp-80"), ("gre,tcp/80", "gre")],
)
def test_a_protocol_without_ports_lends_its_name(table: Table, ports: str, name: str) -> None:
    assert opened(table, ports, "192.168.1.5").name == name
    assert opened(table, "esp" if name != "esp" else "gre", "192.168.1.6", name=f"{name}-x")
    assert table.snapshot.named(name) is not None


def test_ports_and_a_protocol_without_are_exchanged(table: Table) -> None:
    opened(table, "8080:80", "192.168.1.5", name="x")
    assert [str(pair) for pair in edited(table, "x", ports="gre").ports] == ["gre"]
    assert [str(pair) for pair in edited(table, "x", ports="1-65535").ports] == ["tcp/1-65535"]
    assert [str(pair) for pair in edited(table, "x", ports="esp").ports] == ["esp"]
    assert table.refuse(table.change("x", to="192.168.1.5:80")).code == "bad-target"


# -- the plane that is chosen ------------------------------------------------------------------


def test_word_is_given_where_the_choice_fell_on_a_later_plane() -> None:
    kernel = Kernel(NO_RIGHT)
    table = Table(planes=(kernel, Relay()))

    def told(decision_notices: tuple[Notice, ...]) -> list[str]:
        return [each.text() for each in decision_notices if each.code == "plane-chosen"]

    (notice,) = [each for each in table.grant(table.submit("80")).notices if each.code == "plane-chosen"]
    assert "'relay'" in notice.text()
    assert NO_RIGHT["en"] in notice.text()
    assert NO_RIGHT["ja"] in notice.text("ja")
    assert told(table.grant(table.submit("81", via="relay")).notices) == []
    # A change that leaves the plane as it is says nothing of it.
    assert told(table.grant(table.change("tcp-80", idle="1m")).notices) == []
    kernel.why = None
    assert told(table.grant(table.change("tcp-80", idle="2m")).notices) == []
    kernel.why = NO_RIGHT
    assert len(told(table.grant(table.change("tcp-80", idle="3m")).notices)) == 1


RELAY_CANNOT: list[tuple[str, Callable[[Table], Submit]]] = [
    ("DMZ", lambda t: ask(t, "dmz", "192.168.1.5")),
    ("trigger", lambda t: ask(t, "113", trigger="6667")),
    ("pinhole", lambda t: ask(t, "443", "::10/-64")),
    ("gre", lambda t: ask(t, "gre", "192.168.1.5")),
    ("6in4", lambda t: ask(t, "6in4", "192.168.1.5")),
    ("sctp", lambda t: ask(t, "tcp+sctp/80", "192.168.1.5")),
    ("eth1", lambda t: ask(t, "80", "192.168.1.5", on="eth1")),
    ("--log", lambda t: ask(t, "80", "192.168.1.5", log=True)),
    ("4096", lambda t: ask(t, "1-4097", "192.168.1.5")),
]


@pytest.mark.parametrize(("word", "of"), RELAY_CANNOT, ids=[word for word, _ in RELAY_CANNOT])
def test_what_only_the_kernel_can_make_goes_there(word: str, of: Callable[[Table], Submit]) -> None:
    both, alone = Table(planes=(Kernel(), Relay())), Table(planes=(Relay(),))
    (change,) = both.grant(of(both)).changes
    assert isinstance(change.after, Mapping)
    assert change.after.path == (Hop("kernel"),)
    problem = alone.refuse(of(alone))
    assert problem.code == "no-plane"
    assert word in str(problem.fact("why"))
    assert "kernel" in str(problem.fact("why", "ja"))


@pytest.mark.parametrize("words", [{}, {"on": "192.0.2.1"}, {"proxy_protocol": 2}, {"to": "device:nas"}])
def test_what_the_relay_carries_too(words: dict[str, Any]) -> None:
    alone = Table(planes=(Relay(),))
    assert alone.open("tcp+udp/8000-8010", **words).path == (Hop("relay"),)


# -- presets and undo --------------------------------------------------------------------------


def test_pptp_is_flagged(table: Table) -> None:
    mapping = opened(table, "pptp", "192.168.1.5")
    assert [str(pair) for pair in mapping.ports] == ["tcp/1723", "gre"]
    assert str(mapping.sources) == "lan"
    assert table.refuse(table.change("pptp", from_="anyone")).facts["risk"] == "broken-crypto"
    edited(table, "pptp", from_="anyone", accept_risk="broken-crypto")


@pytest.mark.parametrize(
    ("ports", "to", "words"),
    [
        ("dmz", "192.168.1.5", {"except_": "443,gre", "log": True}),
        ("113", None, {"trigger": "6667,udp/3000", "hold": "7m"}),
        ("esp", "::10/-64", {"on": "eth0"}),
        ("80", "device:nas@aa:bb:cc:dd:ee:ff", {}),
        ("51820/udp", "self", {}),
    ],
)
def test_the_wish_of_a_mapping_asks_for_that_mapping(
    table: Table, ports: str, to: str | None, words: dict[str, Any]
) -> None:
    mapping = opened(table, ports, to, **words)
    assert table.decide(Change(mapping.id, wish_of(mapping))).changes == ()  # type: ignore[union-attr]
    fresh = Table(planes=(Kernel(), Relay()))
    (change,) = fresh.grant(Submit(wish_of(mapping), restore=mapping)).changes
    assert change.after == mapping
