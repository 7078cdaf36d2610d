"""The line in `status`, and `router status`: what people read of lines of every kind."""

from __future__ import annotations

import ipaddress
import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import Any

import pytest

from sekimori.cli.text import Clock, wide
from sekimori.doors.api.line import render_line, render_router, render_summary
from sekimori.model.behaviour import Behaviour, Endpoint, FilteringBehaviour, MappingBehaviour, Seen
from sekimori.model.causes import cause
from sekimori.model.errors import Problem
from sekimori.model.judging import judge
from sekimori.model.line import Above, Inputs, Line, Look
from sekimori.model.linesettings import Firewall6, LineSettings
from sekimori.model.mapset import parse_rules
from sekimori.model.network import Wan
from sekimori.planes.router.facts import Presence, RouterFacts, RouterProtocol

NOW = 1_750_000_000.0
PREFIX = IPv6Network("2001:db8:12:3400::/64")
SIX = "2001:db8:12:3400::2"
SERVER = Endpoint(ipaddress.ip_address("198.51.100.53"), 3478)
V6PLUS = parse_rules([{"ipv6": "2001:db8::/40", "ipv4": "192.0.2.0/24", "ea": 16, "offset": 4}])


@pytest.fixture(autouse=True)
def at_one_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads does so at `NOW`, however long the test takes."""
    now = datetime.fromtimestamp(NOW, UTC)
    monkeypatch.setattr("sekimori.cli.session.Clock", lambda language: Clock(language, now))


def wan(address: str | None, interface: str = "eth0", six: str | None = SIX) -> Wan:
    return Wan(
        interface,
        addresses4=() if address is None else (IPv4Address(address),),
        addresses6=() if six is None else (IPv6Address(six),),
        has4=address is not None,
        has6=six is not None,
    )


def seen(local: str, address: str, port: int = 40000) -> Look:
    behaviour = Behaviour(
        (Seen(SERVER, Endpoint(ipaddress.ip_address(address), port)),),
        MappingBehaviour.ENDPOINT_INDEPENDENT,
        FilteringBehaviour.ADDRESS_AND_PORT_DEPENDENT,
    )
    return Look(ipaddress.ip_address(local), behaviour, NOW - 130)


def inputs(address: str | None, **more: Any) -> Inputs:
    line = wan(address)
    given = Inputs(now=NOW, wan4=line, wan6=line, prefixes6=(PREFIX,), translates=True)
    return replace(given, **more)


PUBLIC = inputs("203.0.113.2", looks=(seen("203.0.113.2", "203.0.113.2"),))
CARRIER = inputs("100.64.3.9", looks=(seen("100.64.3.9", "198.51.100.200"),))
DOUBLE = inputs(
    "192.168.0.5",
    above=Above("upnp", ipaddress.ip_address("203.0.113.2"), NOW - 40),
    looks=(seen("192.168.0.5", "203.0.113.2"),),
)
MAP_E = inputs(
    "192.0.2.18",
    looks=(seen("192.0.2.18", "192.0.2.18", 4096 + 16 * 0x34 + 5),),
    settings=LineSettings(map_rules=V6PLUS),
)
DS_LITE = inputs("192.0.0.2", settings=LineSettings(inbound6=Firewall6.FILTERED))
LINES = {"public": PUBLIC, "carrier": CARRIER, "double": DOUBLE, "map-e": MAP_E, "ds-lite": DS_LITE}


def answer(fake: Any, *given: Inputs, language: str = "en") -> None:
    """Have the daemon tell these lines, the first as the whole."""
    lines: list[Line] = [judge(each) for each in given]
    wans = [render_line(each, language) for each in lines]
    about = {"version": "0.1.0", "line": render_summary(lines[0], language)}
    fake.answers["GET /v1/status"] = about
    fake.answers["GET /v1/line"] = {**wans[0], "wans": wans}


def a_router(**changes: Any) -> RouterFacts:
    """A router that answers."""
    return replace(
        RouterFacts(
            interface="eth0",
            local=IPv4Address("192.168.0.5"),
            gateway=IPv4Address("192.168.0.1"),
            presence=Presence.THERE,
            protocol=RouterProtocol.UPNP,
            answered=(RouterProtocol.UPNP,),
            model="Box 7",
            address=IPv4Address("203.0.113.2"),
            address_doubt=None,
            epoch=7200,
            heard_at=NOW - 40,
            lasting_only=False,
        ),
        **changes,
    )


def rows(text: str) -> dict[str, str]:
    """The facts by their labels, as a pipe gets them: a line each."""
    listed = [line for line in text.splitlines() if re.match(r"  \S", line)]
    return dict(re.split(r"\s{2,}", line.strip(), maxsplit=1) for line in listed)


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        (
            "public",
            {
                "IPv4 address": "eth0 has 203.0.113.2, ",
                "own NAT": "yes",
                "second router": "no (likely)",
                "carrier's NAT (CGNAT)": "no (likely, 2m 10s ago)",
                "public IPv4": "203.0.113.2 (2m 10s ago)",
                "IPv4 from outside": "gets in (likely): 203.0.113.2 is public and this machine's own",
            },
        ),
        (
            "carrier",
            {
                "IPv4 address": "eth0 has 100.64.3.9, an address for behind a carrier's NAT (RFC 6598)",
                "second router": "unknown",
                "carrier's NAT (CGNAT)": "yes (likely)",
                "public IPv4": "198.51.100.200 (2m 10s ago)",
                "IPv4 from outside": "unknown: 100.64.3.9 is behind a carrier's NAT, ",
            },
        ),
        (
            "double",
            {
                "IPv4 address": "eth0 has 192.168.0.5, a private address (RFC 1918)",
                "own NAT": "yes",
                "second router": "yes (40s ago)",
                "IPv4 from outside": "gets in (likely): the router above has the public address 203.0.113.2",
            },
        ),
        (
            "map-e",
            {
                "outside ports": "240 ports: 4928-4943, 9024-9039, …, 62272-62287",
                "IPv4 from outside": "gets in (likely): the line has a part of a public address: ports 4928",
            },
        ),
        (
            "ds-lite",
            {
                "IPv4 address": "eth0 has 192.0.0.2, the inside of a DS-Lite tunnel (RFC 6333)",
                "carrier's NAT (CGNAT)": "yes",
                "DS-Lite tunnel": "yes",
                "IPv6": SIX,
                "IPv4 from outside": "cannot get in: 192.0.0.2 is the inside of a DS-Lite tunnel (RFC 6333)",
                "IPv6 from outside": "cannot get in (likely): the settings say ",
            },
        ),
    ],
)
def test_status_tells_a_line_of_each_kind(fake, run, name, facts):
    answer(fake, LINES[name])
    out = run("status").out
    told = rows(out)
    assert {label: told[label][: len(text)] for label, text in facts.items()} == facts
    assert "The line by eth0:" in out
    assert "\x1b" not in out
    assert out.endswith("\nWhat each follows from: sekimori status --why\n")
    assert ("outside ports" in told, "DS-Lite tunnel" in told) == (name == "map-e", name == "ds-lite")


def test_with_why_every_fact_has_its_evidence_and_age(fake, run):
    answer(fake, MAP_E)
    out = run("status", "--why").out
    for fact in judge(MAP_E).facts:
        assert fact.evidence["en"] in out
    told = rows(out)
    assert told["own NAT"] == "yes (certain, now)"
    assert told["NAT mapping"] == "endpoint-independent (certain, 2m 10s ago)"
    assert told["outside ports"].count("-") == 15
    assert told["outside ports"].endswith("62272-62287 (certain, now)")
    assert told["IPv6 from outside"] == "unknown (now)"
    assert "--why" not in out
    answer(fake, MAP_E, language="ja")
    japanese = run("status", "--why", "--lang", "ja").out
    assert "自分の NAT" in japanese
    assert "（確実、今）" in japanese
    assert "240 個: 4928-4943" in japanese


def test_a_set_of_very_many_ranges_is_told_in_short(fake, run):
    rules = parse_rules([{"ipv6": "2001:db8::/40", "ipv4": "192.0.2.0/24", "ea": 10, "offset": 12}])
    answer(fake, replace(inputs("192.0.2.18"), settings=LineSettings(map_rules=rules)))
    listed = rows(run("status", "--why").out)["outside ports"]
    assert re.match(r"16380 ports: 16-19, 32-35, …, 65520-65523 \(", listed)


def test_a_rule_that_does_not_fit_is_told(fake, run):
    answer(fake, replace(MAP_E, looks=(seen("192.0.2.18", "192.0.2.18", 1234),)))
    told = rows(run("status").out)
    assert told["outside ports"] == "what the rule gives does not fit the line (likely)"
    assert told["IPv4 from outside"].startswith("unknown: the internet sees port 1234, ")


def test_each_of_several_lines_is_told(fake, run):
    second = replace(CARRIER, wan4=wan("100.64.3.9", "eth1"), wan6=None, prefixes6=())
    answer(fake, PUBLIC, second)
    out = run("status").out
    first, other = out.split("The line by eth1:")
    assert "The line by eth0:" in first
    assert "203.0.113.2" in first
    assert "203.0.113.2" not in other
    assert "100.64.3.9" in other


def test_no_line_is_told_in_a_sentence(fake, run):
    answer(fake, Inputs(now=NOW))
    assert run("status").out.endswith(
        "\nNo line to the internet: no interface has an address or a default route outwards.\n"
    )


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("columns", ["40", "60", "80"])
@pytest.mark.parametrize("name", LINES)
def test_the_line_fits_the_terminal(fake, run, name, columns, language):
    answer(fake, LINES[name], language=language)
    for words in (["status"], ["status", "--why"]):
        out = run(*words, "--lang", language, COLUMNS=columns).out
        block = out[out.index("eth0") :].splitlines()[1:]
        assert max(map(wide, block[:-1])) <= int(columns)
        assert len(block) > len(rows(run(*words, "--lang", language).out))


def test_a_program_gets_the_whole_line(fake, run):
    answer(fake, MAP_E)
    data = run("status", "--json").envelope["data"]
    assert data["line"] == json.loads(json.dumps(fake.answers["GET /v1/line"]))
    assert data["line"]["port_set"]["size"] == 240
    assert data["version"] == "0.1.0"


def test_what_a_newer_daemon_says_is_told_as_it_is(fake, run):
    answer(fake, PUBLIC)
    strange = {
        "name": "x",
        "value": "\x1b[1mno\nyes",
        "evidence": "e",
        "confidence": "sworn",
        "at": "2025-06-15T15:05:40+00:00",
    }
    fake.answers["GET /v1/line"]["facts"].append(strange)
    out = run("status").out
    assert re.search(r"^  x +\N{REPLACEMENT CHARACTER}\[1mno yes \(sworn, 1m ago\)$", out, re.MULTILINE)
    assert "\x1b" not in out


def router_answer(fake: Any, *told: RouterFacts, refused: Any = (), language: str = "en") -> None:
    routers = [render_router(each, language) for each in told]
    fake.answers["GET /v1/router"] = {"routers": routers, "refused": list(refused)}


class TestRouterStatus:
    def test_who_it_is_and_how_it_is_asked(self, fake, run):
        both = (RouterProtocol.PCP, RouterProtocol.UPNP)
        router_answer(fake, a_router(protocol=RouterProtocol.PCP, answered=both, lasting_only=True))
        ran = run("router", "status")
        assert ran.out.startswith("The router above eth0: 192.168.0.1\n")
        told = rows(ran.out)
        assert told["state"] == "answers"
        assert told["asked by"] == "PCP (it answers UPnP too)"
        assert told["model"] == "Box 7"
        assert told["outside address"] == "203.0.113.2"
        assert told["up since"] == "today 13:06 (2h ago)"
        assert told["last heard"] == "40s ago"
        assert told["its entries"].startswith("only without an end")
        router_answer(fake, a_router(), language="ja")
        assert "頼む方法        UPnP" in run("router", "status", "--lang", "ja").out
        assert run("router", "status", "--json").envelope["data"] == fake.answers["GET /v1/router"]

    def test_an_address_that_is_none_of_the_internet_is_told_with_why(self, fake, run):
        doubt = cause("line-cgnat-address", address="100.64.0.9")
        router_answer(fake, a_router(address=IPv4Address("100.64.0.9"), address_doubt=doubt))
        assert rows(run("router", "status").out)["outside address"] == f"100.64.0.9 ({doubt['en']})"

    @pytest.mark.parametrize("language", ["en", "ja"])
    @pytest.mark.parametrize("presence", Presence)
    def test_every_state_is_told_and_fits(self, fake, run, presence, language):
        answered = (RouterProtocol.UPNP,) if presence in (Presence.THERE, Presence.SILENT) else ()
        facts = a_router(presence=presence, protocol=next(iter(answered), None), answered=answered)
        router_answer(fake, facts, language=language)
        out = run("router", "status", "--lang", language, COLUMNS="60").out
        assert max(map(wide, out.splitlines())) <= 60
        assert ("UPnP" in out) is (bool(answered) or presence is Presence.NONE)
        assert ("192.168.0.5 by hand" in " ".join(out.split())) is (
            presence is Presence.NONE and language == "en"
        )

    def test_what_it_does_not_open_and_what_to_do(self, fake, run):
        problem = Problem("unexpected", what="the router says no")
        refused = {"id": "m1", "name": "web", "ports": "tcp/8080", "problem": problem.body()}
        router_answer(fake, a_router(), refused=[refused])
        out = run("router", "status").out
        _, told = out.split("\n\nIt does not open:\n")
        assert told.splitlines() == ["  web (tcp/8080)", f"    {problem.title()}", f"    {problem.fix()}"]

    def test_its_own_words_cannot_drive_the_terminal(self, fake, run):
        router_answer(fake, a_router(model="Box\x1b[31m\n  state  off"))
        out = run("router", "status").out
        assert "\x1b" not in out
        assert rows(out)["state"] == "answers"
        assert rows(out)["model"] == "Box\N{REPLACEMENT CHARACTER}[31m state off"

    def test_nobody_above(self, fake, run):
        router_answer(fake)
        assert run("router", "status").out.startswith("No router above has to be asked: ")
        assert run("router", "status", "--quiet").out == ""
