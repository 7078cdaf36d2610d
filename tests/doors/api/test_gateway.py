"""The gateway, bans and kills over the API: real calls on a real socket, the real gate behind it."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from sekimori.client import Client
from sekimori.doors.api.access import Access, Peer, Role, Visitor
from sekimori.doors.api.bans import BansBody, BanView, KilledBody
from sekimori.doors.api.gateway import GatewayOutcome, GatewayView
from sekimori.model.errors import Problem
from sekimori.model.gateway import Gateway
from sekimori.model.mapping import Owner, OwnerKind
from sekimori.model.network import Network
from sekimori.model.request import Caller, Configure, Context, PutBan

SCANS = ipaddress.ip_network("198.51.100.0/24")


class TestGateway:
    async def test_what_is_there_is_told_before_it_is_one(self, served: Any) -> None:
        status, _, body = await served.send("GET", "/v1/gateway")
        assert status == 200
        GatewayView.model_validate(body, strict=True)
        assert (body["enabled"], body["owner"], body["found"], body["problem"]) == (False, None, {}, None)
        assert body["wans"] == [
            {"interface": "wan0", "addresses": ["203.0.113.5"], "gateways": ["203.0.113.1"]}
        ]
        assert body["lans"] == [
            {
                "interface": "lan0",
                "prefixes": ["192.168.1.0/24", "fd00:1::/64"],
                "addresses": ["192.168.1.1"],
            }
        ]

    async def test_a_plan_tells_every_step_and_does_nothing(self, served: Any) -> None:
        status, _, body = await served.send("PUT", "/v1/gateway", {"firewall": True, "plan": True})
        assert (status, body["planned"], body["revision"]) == (200, True, None)
        GatewayOutcome.model_validate(body, strict=True)
        assert [step["kind"] for step in body["steps"]] == ["sysctl"] * 3 + ["masquerade"] + ["firewall"] * 2
        assert body["steps"][0]["facts"] == {"name": "net.ipv6.conf.wan0.accept_ra", "from": "1", "to": "2"}
        assert served.world.ledger.snapshot.gateway is None

    async def test_it_is_enabled_changed_and_disabled_with_the_same_steps(self, served: Any) -> None:
        _, _, body = await served.send("PUT", "/v1/gateway", {"why": "the new router"})
        assert (body["revision"], [step["kind"] for step in body["steps"]]) == (
            1,
            ["sysctl"] * 3 + ["masquerade"],
        )
        served.world.facts.sysctls = dict.fromkeys(served.world.facts.sysctls, "1")
        _, _, body = await served.send("PUT", "/v1/gateway", {"firewall": True})
        assert [step["kind"] for step in body["steps"]] == ["firewall"] * 2
        assert body["changes"][0]["changed"] == ["firewall"]
        _, _, body = await served.send("PUT", "/v1/gateway", {"masquerade": True})  # as it is
        assert (body["revision"], body["steps"], body["changes"]) == (None, [], [])
        _, _, view = await served.send("GET", "/v1/gateway")
        assert (view["enabled"], view["masquerade"], view["firewall"]) == (True, True, True)
        assert view["found"]["net.ipv4.ip_forward"] == "0"
        _, _, body = await served.send("DELETE", "/v1/gateway?why=enough", language="ja")
        assert body["steps"][-1]["text"] == "net.ipv6.conf.wan0.accept_ra を 2 から 1 に変える"
        assert served.world.plane.ground.gateway is None
        assert [each.why for each in served.world.ledger.history()] == ["enough", "", "the new router"]

    async def test_what_stands_in_the_way_is_told_ahead_and_refused(self, served: Any) -> None:
        served.world.facts.problem = Problem("needs-net-admin", why="not here")
        served.world.facts.network = Network()
        _, _, view = await served.send("GET", "/v1/gateway")
        assert view["obstacle"]["code"] == "needs-net-admin"
        status, _, body = await served.send("PUT", "/v1/gateway", {})
        assert (status, body["code"], body["kind"]) == (403, "needs-net-admin", "not-permitted")

    async def test_why_it_is_not_wholly_real_is_told(self, served: Any) -> None:
        await served.send("PUT", "/v1/gateway", {})
        served.world.plane.barren = Problem("disk-full", file="x")
        served.world.engine.wake()
        await served.world.engine.ensure()
        _, _, view = await served.send("GET", "/v1/gateway")
        assert view["problem"]["code"] == "disk-full"

    @pytest.mark.parametrize(
        "body", [{"firewall": "yes"}, {"firewall": 1}, {"fire_wall": True}, {"masquerade": []}, [], b"no"]
    )
    async def test_what_cannot_be_read_enables_nothing(self, served: Any, body: object) -> None:
        status, _, answer = await served.send("PUT", "/v1/gateway", body)
        assert (status, answer["code"]) == (422, "bad-request")
        assert served.world.ledger.revision == 0


class TestBans:
    async def test_somebody_is_banned_listed_and_let_in(self, served: Any) -> None:
        body = {"address": "198.51.100.0/24", "for": "1h", "why": "port scans"}
        status, _, answer = await served.send("POST", "/v1/bans", body)
        assert (status, answer["changes"][0]["verb"], answer["changes"][0]["name"]) == (
            200,
            "ban",
            "198.51.100.0/24",
        )
        await served.send("POST", "/v1/bans", {"address": "2001:db8::7"})
        await served.send("POST", "/v1/bans", {"address": "192.0.2.1"})
        _, _, listed = await served.send("GET", "/v1/bans")
        BansBody.model_validate(listed, strict=True)
        assert [ban["name"] for ban in listed["bans"]] == ["192.0.2.1", "198.51.100.0/24", "2001:db8::7"]
        ban = listed["bans"][1]
        BanView.model_validate(ban, strict=True)
        assert (ban["reason"], ban["expires_in"], ban["managed_by"]) == ("port scans", 3600, None)
        assert (listed["bans"][0]["expires_at"], listed["bans"][0]["expires_in"]) == (None, None)
        for path in ("198.51.100.0/24", "198.51.100.0%2F24"):
            status, _, answer = await served.send("DELETE", f"/v1/bans/{path}?plan=true")
            assert (status, answer["planned"], answer["changes"][0]["verb"]) == (200, True, "unban")
        await served.call(served.client.unban, "198.51.100.0/24", why="enough")
        assert [ban["name"] for ban in await served.call(served.client.bans)] == ["192.0.2.1", "2001:db8::7"]
        assert served.world.ledger.revision_of(4).why == "enough"

    @pytest.mark.parametrize(
        ("body", "status", "code"),
        [
            ({"address": "0.0.0.0/0"}, 403, "bad-ban"),
            ({"address": "127.0.0.1"}, 403, "bad-ban"),
            ({"address": "198.51.100.7/24"}, 422, "bad-value"),
            ({"address": "example.org"}, 422, "bad-value"),
            ({"address": ""}, 422, "bad-value"),
            ({"address": "198.51.100.7", "for": "1x"}, 422, "bad-duration"),
            ({"address": "198.51.100.7", "for": "1h", "until": "tonight"}, 422, "exclusive"),
            ({"address": "198.51.100.7", "permanent": "so"}, 422, "bad-request"),
            ({}, 422, "bad-request"),
        ],
    )
    async def test_what_makes_no_sense_bans_nobody(
        self, served: Any, body: dict[str, str], status: int, code: str
    ) -> None:
        answered, _, problem = await served.send("POST", "/v1/bans", body)
        assert (answered, problem["code"]) == (status, code)
        assert dict(served.world.ledger.snapshot.bans) == {}

    async def test_what_is_not_banned_cannot_be_lifted(self, served: Any) -> None:
        status, _, problem = await served.send("DELETE", "/v1/bans/198.51.100.7")
        assert (status, problem["code"], problem["title"]) == (
            404,
            "no-such-ban",
            "cannot find a ban of 198.51.100.7",
        )


class TestKill:
    async def test_flows_of_a_mapping_from_somewhere_or_both(self, served: Any) -> None:
        await served.send("POST", "/v1/mappings", {"ports": "8080", "to": "192.168.1.5", "name": "web"})
        mapping_id = served.world.ledger.snapshot.find("web").id
        status, _, answer = await served.send("POST", "/v1/kill", {"mapping": "WEB"})
        assert (status, answer) == (200, {"ended": 3})
        KilledBody.model_validate(answer, strict=True)
        assert await served.call(served.client.kill, None, "198.51.100.0/24") == 3
        assert await served.call(served.client.kill, "8080", "198.51.100.7") == 3
        host = ipaddress.ip_network("198.51.100.7/32")
        assert served.world.killed == [(mapping_id, None), (None, SCANS), (mapping_id, host)]
        assert served.world.ledger.revision == 1

    @pytest.mark.parametrize(
        ("body", "code"),
        [
            ({}, "bad-request"),
            ({"mapping": None}, "bad-request"),
            ({"mapping": "nobody"}, "no-such-mapping"),
            ({"source": "nobody"}, "bad-value"),
            ({"source": "0.0.0.0/1", "every": True}, "bad-request"),
        ],
    )
    async def test_what_is_not_meant_ends_nothing(self, served: Any, body: Any, code: str) -> None:
        _, _, problem = await served.send("POST", "/v1/kill", body)
        assert problem["code"] == code
        assert served.world.killed == []


class OnlyViewers(Access):
    """Admits everybody to look."""

    def admit(self, peer: Peer) -> Visitor:
        return Visitor("somebody", Role.VIEWER)


async def test_a_viewer_may_look_and_no_more(world: Any, tmp_path: Any, serving: Any) -> None:
    async with serving(world, tmp_path / "s", OnlyViewers(0)) as api:
        for method, path, body in (
            ("PUT", "/v1/gateway", {}),
            ("DELETE", "/v1/gateway", None),
            ("POST", "/v1/bans", {"address": "198.51.100.7"}),
            ("DELETE", "/v1/bans/198.51.100.7", None),
            ("POST", "/v1/kill", {"source": "198.51.100.7"}),
        ):
            status, _, problem = await api.send(method, path, body)
            assert (status, problem["code"]) == (403, "not-permitted")
        for path in ("/v1/gateway", "/v1/bans"):
            assert (await api.send("GET", path))[0] == 200
    assert (world.ledger.revision, world.killed) == (0, [])


class TestCaller:
    async def test_the_way_the_asker_came_is_carried_to_the_gate(self, served: Any) -> None:
        said = "198.51.100.7 50122 203.0.113.5 22"
        await served.send("PUT", "/v1/gateway", {}, sekimori_caller=said)
        expected = Caller(
            ipaddress.ip_address("198.51.100.7"), 50122, ipaddress.ip_address("203.0.113.5"), 22
        )
        assert served.world.contexts[-1].caller == expected
        await served.send("DELETE", "/v1/gateway")
        assert served.world.contexts[-1].caller is None

    async def test_the_client_tells_it_and_nothing_that_is_no_header(self, served: Any) -> None:
        six = Client(served.path, caller="fe80::1%eth0 50122 2001:db8::5 22")
        await served.call(six.disable_gateway)
        caller = served.world.contexts[-1].caller
        assert (str(caller.source), caller.dport) == ("fe80::1%eth0", 22)
        await served.call(Client(served.path, caller="x\r\nEvil: yes").disable_gateway)
        assert served.world.contexts[-1].caller is None

    async def test_who_came_by_no_connection_has_none(self, served: Any) -> None:
        await served.send("DELETE", "/v1/gateway", sekimori_caller="UNKNOWN 65535 UNKNOWN 65535")
        assert served.world.contexts[-1].caller is None

    @pytest.mark.parametrize(
        "said",
        [
            "",
            "x",
            "198.51.100.7 50122 203.0.113.5",
            "198.51.100.7 50122 203.0.113.5 22 23",
            "198.51.100.7  50122 203.0.113.5 22",
            "198.51.100.7 0 203.0.113.5 22",
            "198.51.100.7 65536 203.0.113.5 22",
            "198.51.100.7 50122 203.0.113.5 -22",
            "198.51.100.7 50122 example.org 22",
            "198.51.100.7 ٢٢ 203.0.113.5 22".encode().decode("latin-1"),
        ],
    )
    async def test_what_cannot_be_read_is_refused_and_not_passed_over(self, served: Any, said: str) -> None:
        """A caller that is lost on the way could be locked out."""
        status, _, problem = await served.send("PUT", "/v1/gateway", {}, sekimori_caller=said)
        assert (status, problem["code"]) == (422, "bad-request")
        assert served.world.contexts == []


async def test_what_a_file_owns_says_so(served: Any) -> None:
    by = Context(Owner(OwnerKind.FILE, "/etc/s.toml"), "file")
    await served.world.enact([Configure(Gateway(owner=by.actor)), PutBan(SCANS, None)], by)
    _, _, view = await served.send("GET", "/v1/gateway")
    _, _, listed = await served.send("GET", "/v1/bans")
    assert (view["managed_by"], listed["bans"][0]["managed_by"]) == ("/etc/s.toml", "/etc/s.toml")
    for method, path, body in (
        ("DELETE", "/v1/gateway", None),
        ("DELETE", "/v1/bans/198.51.100.0/24", None),
        ("POST", "/v1/bans", {"address": "198.51.100.0/24", "for": "1h"}),
    ):
        _, _, problem = await served.send(method, path, body)
        assert problem["code"] == "managed-by-file"
