"""The line and the router above over the API: real calls on a socket, lines as they are judged."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import Any

import pytest

from sekimori.doors.api.line import LineBody, RouterBody
from sekimori.model.behaviour import Behaviour, Endpoint, Seen
from sekimori.model.causes import cause
from sekimori.model.errors import Problem
from sekimori.model.line import Inputs, Look
from sekimori.model.linesettings import LineSettings
from sekimori.model.mapset import parse_rules
from sekimori.model.network import Wan
from sekimori.planes.router.facts import Presence, RouterFacts, RouterProtocol

pytestmark = pytest.mark.loopback

NOW = 1_750_000_000.0
WEB = {"ports": "8080:80", "to": "192.168.1.5", "from": "anyone", "name": "web"}
RULES = parse_rules([{"ipv6": "2001:db8::/40", "ipv4": "192.0.2.0/24", "ea": 16, "offset": 4}])
ROUTER = RouterFacts(
    interface="eth0",
    local=IPv4Address("192.168.0.5"),
    gateway=IPv4Address("192.168.0.1"),
    presence=Presence.THERE,
    protocol=RouterProtocol.PCP,
    answered=(RouterProtocol.PCP, RouterProtocol.UPNP),
    model="Box\x1b[31m 7",
    address=IPv4Address("100.64.0.9"),
    address_doubt=cause("line-cgnat-address", address="100.64.0.9"),
    epoch=3600,
    heard_at=NOW - 40,
    lasting_only=True,
)


def inputs(address: str, interface: str = "eth0") -> Inputs:
    wan = Wan(
        interface,
        addresses4=(IPv4Address(address),),
        addresses6=(IPv6Address("2001:db8:12:3400::2"),),
        has4=True,
        has6=True,
    )
    return Inputs(now=NOW, wan4=wan, wan6=wan, prefixes6=(IPv6Network("2001:db8:12:3400::/64"),))


def seen(local: str, address: str) -> Look:
    server = Endpoint(ipaddress.ip_address("2001:db8:53::1"), 3478)
    behaviour = Behaviour((Seen(server, Endpoint(ipaddress.ip_address(address), 40000)),))
    return Look(ipaddress.ip_address(local), behaviour, NOW - 60)


class TestTheLine:
    async def test_facts_come_with_their_evidence_in_the_language_asked_for(self, served: Any) -> None:
        served.world.judged = [inputs("192.168.0.5")]
        _, _, english = await served.send("GET", "/v1/line")
        _, _, japanese = await served.send("GET", "/v1/line", language="ja")
        for body in (english, japanese):
            LineBody.model_validate(body, strict=True)
        facts = {fact["name"]: fact for fact in english["facts"]}
        assert facts["wan4"] == {
            "name": "wan4",
            "value": "private",
            "evidence": "eth0 has 192.168.0.5, a private address (RFC 1918)",
            "confidence": "certain",
            "at": "2025-06-15T15:06:40+00:00",
        }
        assert english["inbound4"]["answer"] == facts["inbound4"]["value"] == "unknown"
        assert japanese["facts"][0]["evidence"].startswith("eth0 のアドレス 192.168.0.5 は")
        assert [fact["value"] for fact in japanese["facts"]] == [fact["value"] for fact in english["facts"]]
        assert japanese["inbound4"]["why"] != english["inbound4"]["why"]

    async def test_ports_of_a_shared_address_and_what_the_internet_sees(self, served: Any) -> None:
        shared = replace(
            inputs("192.0.2.18"),
            settings=LineSettings(map_rules=RULES),
            looks=(seen("2001:db8:12:3400::2", "2001:db8:12:3400::2"),),
        )
        served.world.judged = [shared, inputs("203.0.113.2", "eth1")]
        body = await served.call(served.client.line)
        LineBody.model_validate(body, strict=True)
        ports = body["port_set"]
        assert (ports["size"], len(ports["ranges"]), ports["ranges"][0]) == (240, 15, "4928-4943")
        assert (ports["offset"], ports["psid_length"], ports["psid"]) == (4, 8, 0x34)
        assert (body["outside_ports"], body["public6"]) == (240, "2001:db8:12:3400::2")
        assert [each["interface"] for each in body["wans"]] == ["eth0", "eth1"]
        assert body["wans"][1]["port_set"] is None
        summary = (await served.call(served.client.status))["line"]
        assert set(summary) == {
            *("interface", "public4", "public6", "outside_ports"),
            *("inbound4", "inbound6"),
        }
        assert summary.items() <= body.items()

    async def test_no_line_is_told_as_such(self, served: Any) -> None:
        body = await served.call(served.client.line)
        LineBody.model_validate(body, strict=True)
        assert (body["interface"], body["wans"], body["public4"]) == (None, [], None)


class TestTheRouter:
    async def test_what_it_is_and_since_when(self, served: Any) -> None:
        silent = replace(
            ROUTER,
            interface="eth1",
            presence=Presence.NONE,
            protocol=None,
            answered=(),
            model="",
            address=None,
            address_doubt=None,
            epoch=None,
            heard_at=None,
            lasting_only=False,
        )
        served.world.routers = [ROUTER, silent]
        _, _, body = await served.send("GET", "/v1/router", language="ja")
        RouterBody.model_validate(body, strict=True)
        first, second = body["routers"]
        assert (first["gateway"], first["protocol"], first["answered"]) == (
            "192.168.0.1",
            "pcp",
            ["pcp", "upnp"],
        )
        assert (first["since"], first["heard_at"]) == (
            "2025-06-15T14:06:00+00:00",
            "2025-06-15T15:06:00+00:00",
        )
        assert "事業者の NAT" in first["doubt"]
        assert first["lasting_only"] is True
        assert second == {
            "interface": "eth1",
            "local": "192.168.0.5",
            "gateway": "192.168.0.1",
            "presence": "none",
            "answered": [],
            "model": "",
            "lasting_only": False,
            **dict.fromkeys(("protocol", "address", "doubt", "since", "heard_at")),
        }

    async def test_nobody_above(self, served: Any) -> None:
        assert await served.call(served.client.router) == {"routers": [], "refused": []}

    async def test_what_it_does_not_open_and_each_hop_of_it(self, served: Any) -> None:
        world = served.world
        world.above.stands = True
        (view,) = (await served.call(served.client.open, WEB))["mappings"]
        assert view["path"] == ["router", "relay"]
        assert view["status"]["hops"] == [
            {"plane": "router", "problem": None},
            {"plane": "relay", "problem": None},
        ]
        (alone,) = (
            await served.call(
                served.client.open, {**WEB, "name": "alone", "ports": "81", "to": ":3000", "via": "router"}
            )
        )["mappings"]
        assert (alone["path"], alone["status"]["hops"]) == (["router"], [])
        assert (await served.call(served.client.router))["refused"] == []
        world.above.held.clear()
        problem = Problem("unexpected", what="the router says no")
        world.above.refuses = {view["id"]: problem, alone["id"]: problem}
        world.engine.wake([view["id"], alone["id"]])
        await world.engine.ensure()
        _, _, body = await served.send("GET", "/v1/router", language="ja")
        RouterBody.model_validate(body, strict=True)
        assert {each["name"]: each["ports"] for each in body["refused"]} == {
            "web": "tcp/8080:80",
            "alone": "tcp/81:3000",
        }
        assert body["refused"][0]["problem"] == problem.body("ja")
        failed = await served.call(served.client.get, "web")
        told = [(hop["plane"], hop["problem"] and hop["problem"]["code"]) for hop in failed["status"]["hops"]]
        assert told == [("router", "unexpected"), ("relay", None)]

    async def test_what_this_machine_fails_at_is_not_the_router_s(self, served: Any) -> None:
        world = served.world
        world.above.stands = True
        (view,) = (await served.call(served.client.open, WEB))["mappings"]
        world.plane.held.clear()
        world.plane.refuses = {view["id"]: Problem("unexpected", what="no memory")}
        world.engine.wake([view["id"]])
        await world.engine.ensure()
        failed = await served.call(served.client.get, "web")
        assert (failed["status"]["state"], failed["status"]["hops"][0]["problem"]) == ("failed", None)
        assert (await served.call(served.client.router))["refused"] == []
