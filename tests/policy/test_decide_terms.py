"""What is granted, refused and filled in of a new mapping."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import Any

import pytest

from sekimori.model.causes import Text
from sekimori.model.decision import Verb
from sekimori.model.lifetime import Lifetime
from sekimori.model.limits import Rate
from sekimori.model.mapping import Hop, Mapping, Owner, OwnerKind
from sekimori.model.request import Close, Context, Define, Renew, Submit
from sekimori.planes.memory import MemoryPlane
from sekimori.policy.rules import DAY
from sekimori.presets.load import load_presets
from sekimori.testing.table import NOW, Table
from sekimori.testing.world import ALICE

PRESETS = load_presets()
BOB = Context(Owner(OwnerKind.PERSON, "bob"), "api")
TCP_ONLY = {"en": "it knows TCP only", "ja": "TCP だけです"}
OFFICE = (ipaddress.ip_network("198.51.100.0/24"),)


@pytest.fixture
def table() -> Table:
    return Table(PRESETS)


def ports_of(mapping: Mapping) -> list[str]:
    return [str(pair) for pair in mapping.ports]


# -- what is left unsaid -----------------------------------------------------------------


def test_the_safe_default_for_everything_unsaid(table: Table) -> None:
    mapping = table.open()
    assert mapping == Mapping(
        id="01",
        name="tcp-8080",
        owner=ALICE.actor,
        ports=mapping.ports,
        target=mapping.target,
        sources=mapping.sources,
        lifetime=Lifetime.lasting(DAY, NOW),
        path=(Hop("relay"),),
        created_at=int(NOW),
    )
    assert (str(mapping.sources), ports_of(mapping)) == ("lan", ["tcp/8080"])


def test_sources_left_to_us_are_told_and_those_said_are_not(table: Table) -> None:
    (notice,) = table.grant(table.submit("80")).notices
    assert notice.code == "sources-defaulted"
    assert "--from anyone" in notice.text()
    assert "--from anyone" in notice.text("ja")
    assert notice.text("ja") != notice.text()
    assert table.grant(table.submit("81", from_="lan")).notices == ()
    for address in ("127.0.0.1", "::1"):  # where nobody else can come, nobody is kept out
        assert table.grant(table.submit("83", on=address)).notices == ()
    codes = [notice.code for notice in table.grant(table.submit("minecraft")).notices]
    assert "sources-defaulted" not in codes  # the preset admits anyone


def test_what_a_preset_says_should_be_known_is_told(table: Table) -> None:
    (notice,) = table.grant(table.submit("minecraft")).notices
    preset = table.presets.get("minecraft")
    assert preset is not None
    assert notice.code == "preset-note"
    assert notice.text() == f"{preset.title['en']}: {preset.note['en']}"
    assert notice.text("ja") == f"{preset.title['ja']}: {preset.note['ja']}"
    assert table.grant(table.submit("81", from_="anyone")).notices == ()


def test_names_are_chosen_after_the_port_and_free(table: Table) -> None:
    table.open("81", name="tcp-80")
    assert [table.open(ports).name for ports in ("80", "udp/7000-7010", "tcp+udp/53,99")] == [
        "tcp-80-2",
        "udp-7000-7010",
        "tcp-53",
    ]


def test_a_preset_fills_in_ports_name_sources_lifetime_and_limit(table: Table) -> None:
    for number, preset in enumerate(PRESETS.all()):
        fresh = Table(PRESETS)
        # A port of the preset may be dangerous: it then starts with the LAN, which is never refused.
        mapping = fresh.open(preset.name, to=f"192.0.2.{number % 250 + 1}")
        assert mapping.name == mapping.preset == preset.name
        assert str(mapping.sources) == preset.sources
        assert mapping.lifetime == Lifetime.lasting(preset.lifetime, NOW)
        assert mapping.limits.per_source == (Rate.parse(preset.limit) if preset.limit else None)
        assert len(mapping.ports) >= len(preset.ports)


def test_a_second_one_of_a_preset_has_a_name_of_its_own(table: Table) -> None:
    table.open("minecraft", on="192.0.2.1")
    assert table.open("minecraft", on="192.0.2.2").name == "minecraft-2"


def test_what_is_said_comes_before_the_preset(table: Table) -> None:
    mapping = table.open("minecraft", from_="lan", for_="1h", limit="1/s", name="mc")
    assert (mapping.name, str(mapping.sources), str(mapping.limits.per_source)) == ("mc", "lan", "1/s")
    assert mapping.lifetime == Lifetime.lasting(3600, NOW)


@pytest.mark.parametrize(("words", "key"), [({"to": "self"}, "the port"), ({"ports": "80"}, "--to")])
def test_a_port_and_a_target_must_be_said(table: Table, words: dict[str, object], key: str) -> None:
    problem = table.refuse(Submit(table.wish(**words)))
    assert (problem.code, problem.fact("key"), problem.exit_code) == ("missing", key, 2)


# -- risks -------------------------------------------------------------------------------

ADMINS = [preset for preset in PRESETS.all() if preset.danger is not None]


@pytest.mark.parametrize("preset", ADMINS, ids=lambda preset: preset.name)
def test_a_dangerous_service_is_not_opened_to_anyone(preset: Any) -> None:
    table = Table(PRESETS)
    problem = table.refuse(table.submit(preset.name, from_="anyone"))
    assert (problem.code, problem.exit_code) == ("risk-not-accepted", 8)
    risk = str(problem.facts["risk"])
    for language in ("en", "ja"):
        assert f"--accept-risk {risk}" in problem.fix(language)
        assert "VPN" in problem.fix(language)
    assert isinstance(problem.facts["note"], dict)
    assert str(problem.facts["note"]["en"]) in problem.title()


@pytest.mark.parametrize(
    ("ports", "to"),
    [
        ("22", "192.168.1.5"),
        ("2222", "192.168.1.5:22"),
        ("22", "192.168.1.5:2222"),
        ("20-30:1020-1030", "192.168.1.5"),
        ("1000-1010:15-25", "192.168.1.5"),
        ("tcp+udp/3389", "192.168.1.5"),
        ("80,445", "192.168.1.5"),
        ("udp/53", "192.168.1.5"),
    ],
)
@pytest.mark.parametrize(
    "sources", ["anyone", "0.0.0.0/1,128.0.0.0/1", "::/0", "0.0.0.0/0", "2000::/3", "8.0.0.0/8,9.0.0.0/8"]
)
def test_a_dangerous_port_is_known_on_either_side_and_to_any_wide_source(
    table: Table, ports: str, to: str, sources: str
) -> None:
    assert table.refuse(table.submit(ports, to, from_=sources)).code == "risk-not-accepted"
    table.grant(table.submit(ports, to, from_="198.51.100.0/24"))


def test_an_accepted_risk_is_that_one_only(table: Table) -> None:
    def ask(*risks: str) -> Submit:
        return table.submit("21-23", from_="anyone", accept_risk=list(risks))

    assert table.refuse(ask("open-proxy")).code == "risk-not-accepted"
    # FTP and Telnet have another risk than SSH between them.
    assert table.refuse(ask("exposed-admin")).facts["risk"] == "cleartext-login"
    assert table.refuse(ask("cleartext-login")).facts["risk"] == "exposed-admin"
    assert table.open("21-23", from_="anyone", accept_risk="exposed-admin,cleartext-login")


def test_an_edit_that_widens_is_held_to_the_risk_too(table: Table) -> None:
    table.open("22", name="ssh")
    assert table.refuse(table.change("ssh", from_="anyone")).code == "risk-not-accepted"
    table.grant(table.change("ssh", from_="anyone", accept_risk="exposed-admin"))
    # Accepted once, it stays so; a later edit need not say it again.
    table.grant(table.change("ssh", idle="1h"))
    table.open("80", name="web", from_="anyone")
    assert table.refuse(table.change("web", to="192.168.1.5:22")).code == "risk-not-accepted"


def test_a_list_that_grows_wide_is_held_to_the_risk_of_all_who_use_it(table: Table) -> None:
    table.grant(Define("office", OFFICE))
    table.open("22", from_="office")
    wide = (ipaddress.ip_network("0.0.0.0/0"),)
    assert table.refuse(Define("office", wide)).code == "risk-not-accepted"
    table.grant(Define("other", wide))


# -- what contradicts itself -------------------------------------------------------------


@pytest.mark.parametrize(
    ("ports", "words", "code"),
    [
        ("80", {"from_": "office"}, "no-such-list"),
        ("udp/80", {"proxy_protocol": 1}, "udp-proxy-v1"),
        ("tcp+udp/80", {"proxy_protocol": 1}, "udp-proxy-v1"),
        ("80-90,85", {}, "bad-ports"),
        ("80:81", {"to": "192.168.1.5:82"}, "bad-target"),
        ("80-90", {"to": "192.168.1.5:1000"}, "range-mismatch"),
        ("80", {"via": "kernel"}, "no-plane"),
        ("gre", {"to": "192.168.1.5:80"}, "bad-target"),
    ],
)
def test_terms_that_do_not_hold_are_refused(
    table: Table, ports: str, words: dict[str, Any], code: str
) -> None:
    assert table.refuse(table.submit(ports, **words)).code == code


@pytest.mark.parametrize("ports", ["80", "udp/80", "tcp+udp/80"])
def test_proxy_protocol_two_goes_over_both(table: Table, ports: str) -> None:
    assert table.open(ports, proxy_protocol=2).proxy_protocol == 2


def test_a_plane_that_cannot_is_told_with_its_reason() -> None:
    class TcpOnly(MemoryPlane):
        def unable(self, mapping: Mapping) -> Text | None:
            return TCP_ONLY if any(pair.protocol == "udp" for pair in mapping.ports) else None

    table = Table(planes=(TcpOnly("small"), MemoryPlane("relay")))
    assert table.open("80").path == (Hop("small"),)
    assert table.open("udp/80").path == (Hop("relay"),)
    problem = table.refuse(table.submit("udp/81", via="small"))
    assert (problem.fact("why"), problem.facts["able"]) == ("it knows TCP only", "relay")
    table.rules = replace(table.rules, planes=(TcpOnly("small"),))
    problem = table.refuse(table.submit("udp/81"))
    assert problem.fact("why") == "small: it knows TCP only"
    assert problem.fact("why", "ja") == "small: TCP だけです"
    table.rules = replace(table.rules, planes=(TcpOnly("small"), TcpOnly("tiny")))
    problem = table.refuse(table.submit("udp/81"))
    assert problem.fact("why") == "small: it knows TCP only; tiny: it knows TCP only"
    assert problem.fact("why", "ja") == "small: TCP だけです。tiny: TCP だけです"
    # What it is via is chosen again when the terms change.
    table = Table(planes=(TcpOnly("small"), MemoryPlane("relay")))
    table.open("80", name="web")
    (change,) = table.grant(table.change("web", ports="tcp+udp/80")).changes
    assert isinstance(change.after, Mapping)
    assert change.after.path == (Hop("relay"),)


@pytest.mark.parametrize(
    ("to", "on"),
    [
        ("self", None),
        ("self", "127.0.0.1"),
        ("self", "0.0.0.0"),
        ("self", "::"),
        ("self", "::1"),
        ("localhost", None),
        ("web.localhost", None),
        ("127.0.0.1", None),
        ("127.0.0.1", "0.0.0.0"),
        ("127.0.0.1", "127.0.0.1"),
        ("::1", None),
        ("::1", "::"),
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:127.0.0.1", None),
    ],
)
@pytest.mark.parametrize("ports", ["80", "udp/80", "70-80", "81:82,80"])
def test_what_leads_to_itself_is_refused(table: Table, ports: str, to: str, on: str | None) -> None:
    problem = table.refuse(table.submit(ports, to, on=on))
    assert (problem.code, problem.exit_code) == ("leads-to-itself", 2)


@pytest.mark.parametrize(
    ("ports", "to", "on"),
    [
        ("80:8080", "self", None),
        ("70-80:71-81", "self", None),
        ("80", "127.0.0.1", "192.0.2.1"),
        ("80", "self", "192.0.2.1"),
        ("80", "127.0.0.1", "::"),
        ("80", "127.0.0.2", "127.0.0.1"),
        ("80", "192.0.2.1", None),
        ("80", "192.0.2.1", "192.0.2.2"),
    ],
)
def test_what_only_looks_like_a_loop_is_granted(table: Table, ports: str, to: str, on: str | None) -> None:
    table.grant(table.submit(ports, to, on=on))


@pytest.mark.parametrize(
    ("words", "asked"),
    [({"for_": "3h"}, "3h"), ({"permanent": "x"}, "ever"), ({"until": "2025-06-16"}, None), ({}, "24h")],
)
def test_the_longest_lifetime_holds(words: dict[str, object], asked: str | None) -> None:
    table = Table(longest=7200)
    problem = table.refuse(table.submit(**words))  # type: ignore[arg-type]
    assert (problem.code, problem.exit_code, problem.facts["allowed"]) == ("lifetime-too-long", 8, "2h")
    if asked is not None:
        assert problem.fact("asked") == asked
    table.open(for_="2h", name="web")
    assert table.refuse(Renew("web", add=3600)).code == "lifetime-too-long"
    table.now += 1800
    table.grant(Renew("web", add=1800))
    assert table.refuse(table.change("web", permanent="now for good")).code == "lifetime-too-long"


# -- conflicts ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "on", "second", "other_on", "conflict"),
    [
        ("80", None, "80", None, True),
        ("80", None, "udp/80", None, False),
        ("tcp+udp/80", None, "udp/80", None, True),
        ("80-90", None, "85", None, True),
        ("80-90", None, "90-95", None, True),
        ("80-90", None, "91-95", None, False),
        ("1-60000", None, "500", None, True),
        ("500", None, "1-60000", None, True),
        ("80", "0.0.0.0", "80", "192.0.2.1", True),
        ("80", "192.0.2.1", "80", None, True),
        ("80", "192.0.2.1", "80", "192.0.2.2", False),
        ("80", "192.0.2.1", "80", "::ffff:192.0.2.1", True),
        ("80", "0.0.0.0", "80", "::", False),
        ("80", "::", "80", "2001:db8::1", True),
        ("80", "0.0.0.0", "80", "2001:db8::1", False),
        ("80", None, "80", "::", True),
        ("sctp/80", None, "80", None, False),
        ("gre", None, "gre", None, True),
        ("gre", None, "esp", None, False),
        ("gre", None, "1-65535", None, False),
        ("gre", "192.0.2.1", "gre", "192.0.2.2", False),
        ("gre", "eth0", "gre", "eth1", False),
        ("gre", "eth0", "gre", "192.0.2.1", True),
        ("gre", "eth0", "gre", None, True),
        ("tcp/1723,gre", None, "esp+gre", None, True),
        ("dmz", None, "dmz", None, True),
        ("dmz", None, "1-65535", None, False),
        ("dmz", None, "gre", None, False),
        ("dmz", "192.0.2.1", "dmz", "192.0.2.2", False),
        ("80", "eth0", "80", "eth0", True),
        ("80", "eth0", "80", "eth1", False),
        ("80", "eth0", "80", "2001:db8::1", True),
    ],
)
def test_ports_held_by_another(
    table: Table, first: str, on: str | None, second: str, other_on: str | None, conflict: bool
) -> None:
    table.open(first, on=on, name="first", by=BOB)
    ask = table.submit(second, on=other_on)
    if not conflict:
        table.grant(ask)
        return
    problem = table.refuse(ask)
    assert (problem.code, problem.exit_code) == ("port-taken", 5)
    assert (problem.facts["name"], problem.fact("owner")) == ("first", "bob")


def test_two_of_one_batch_are_held_against_each_other(table: Table) -> None:
    assert table.refuse(table.submit("80"), table.submit("80")).code == "port-taken"
    assert table.refuse(table.submit("80", name="a"), table.submit("81", name="A")).code == "name-taken"


def test_two_may_swap_their_ports_in_one_batch(table: Table) -> None:
    table.open("80", name="a")
    table.open("81", name="b")
    assert table.refuse(table.change("a", ports="81")).code == "port-taken"
    table.grant(table.change("a", ports="81"), table.change("b", ports="80"))
    assert (table.snapshot.find("81").name, table.snapshot.find("80").name) == ("a", "b")


def test_closing_makes_room_in_the_same_batch(table: Table) -> None:
    table.open("80", name="a")
    decision = table.grant(Close("a"), table.submit("80", name="a"))
    assert [change.verb for change in decision.changes] == [Verb.CLOSE, Verb.OPEN]


def test_names_are_taken_whatever_their_case(table: Table) -> None:
    table.open("80", name="Web", by=BOB)
    problem = table.refuse(table.submit("81", name="wEB"))
    assert (problem.code, problem.fact("owner")) == ("name-taken", "bob")
    table.open("82", name="other")
    assert table.refuse(table.change("other", name="WEB")).code == "name-taken"
    table.grant(table.change("other", name="OTHER"))  # its own
