"""Doors, permission rules, leases, imports over the API: real calls on a socket, the real gate behind it."""

from __future__ import annotations

import asyncio
import ipaddress
import json
from dataclasses import replace
from typing import Any

import pytest

from sekimori.doors.api.access import Access, Peer, Role, Visitor
from sekimori.doors.api.answers import Applied, MappingView
from sekimori.doors.api.devicedoors import DoorsView
from sekimori.doors.api.permissions import PermissionsView
from sekimori.model.address import IpProtocol, PortRange
from sekimori.model.door import Door, DoorName, EnableDoor
from sekimori.model.errors import Problem
from sekimori.model.lease import Asker, LeaseProtocol, LeaseTerms, NonceRule, Obtain
from sekimori.model.mapping import Owner, OwnerKind
from sekimori.model.permission import Permission, SetPermissions
from sekimori.model.request import Context

MAC = "02:00:00:00:00:05"
DEVICE = Owner(OwnerKind.DEVICE, MAC)
ADDRESS = ipaddress.ip_address("192.168.1.5")
BY_FILE = Context(Owner(OwnerKind.FILE, "/etc/s.toml"), "file")
NONCE = "0123456789abcdef01234567"


def an_ask(port: int, protocol: LeaseProtocol, **terms: Any) -> Obtain:
    """A device asks for a port to itself."""
    return Obtain(
        asker=Asker(ADDRESS, "lan0"),
        protocol=IpProtocol.UDP,
        inside=ADDRESS,
        ports=PortRange(port, port),
        lifetime=3600,
        terms=LeaseTerms(protocol=protocol, **terms),
    )


async def lease(
    world: Any, port: int = 3074, protocol: LeaseProtocol = LeaseProtocol.IGD, **terms: Any
) -> None:
    """Have a device open a port."""
    ask = an_ask(port, protocol, **terms)
    await world.gate_within.enact([ask], Context(DEVICE, "igd"))


class TestDoors:
    async def test_all_are_listed_while_they_are_shut(self, served: Any) -> None:
        status, _, body = await served.send("GET", "/v1/doors")
        assert status == 200
        DoorsView.model_validate(body, strict=True)
        assert [(door["name"], door["enabled"]) for door in body["doors"]] == [
            ("igd", False),
            ("portmap", False),
            ("ssh", False),
        ]
        assert body["permissions"] == (await served.send("GET", "/v1/permissions"))[2]

    async def test_what_devices_asked_for_in_vain_is_told_with_why(self, served: Any) -> None:
        problem = Problem("port-taken", claim="udp/3074", name="x", owner="alice", theirs="udp/3074")
        ask = an_ask(3074, LeaseProtocol.IGD, description="<Xbox>")
        for _ in range(2):
            served.world.refused.note(DEVICE, "igd", ask, problem, 1_700_000_000)
        _, _, body = await served.send("GET", "/v1/doors", language="ja")
        DoorsView.model_validate(body, strict=True)
        (told,) = body["refusals"]
        assert told.pop("problem")["title"] == problem.title("ja")
        assert told == {
            "at": "2023-11-14T22:13:20+00:00",
            "device": MAC,
            "address": "192.168.1.5",
            "door": "igd",
            "ports": "udp/3074",
            "to": "192.168.1.5",
            "description": "<Xbox>",
            "times": 2,
        }

    async def test_several_are_opened_and_shut_in_one_revision(self, served: Any) -> None:
        doors: dict[str, Any] = {
            "igd": {"interfaces": ["lan0"], "version": 2},
            "portmap": {"interfaces": ["lan0", "lan0"], "nonce": "strict"},
        }
        for plan in (True, False):
            status, _, body = await served.send(
                "PATCH", "/v1/doors", {"doors": doors, "plan": plan, "why": "x"}
            )
            assert (status, body["planned"], body["revision"]) == (200, plan, None if plan else 1)
            assert [(each["verb"], each["subject"]) for each in body["changes"]] == [("door", "door")] * 2
        found = served.world.ledger.snapshot.doors
        assert (found[DoorName.IGD].version, found[DoorName.IGD].interfaces) == (2, ("lan0",))
        assert (found[DoorName.PORTMAP].nonce, found[DoorName.PORTMAP].interfaces) == (
            NonceRule.STRICT,
            ("lan0",),
        )
        await served.call(served.client.change_doors, {"igd": None, "portmap": None}, why="enough")
        assert dict(served.world.ledger.snapshot.doors) == {}
        assert [each.why for each in served.world.ledger.history()] == ["enough", "x"]

    async def test_what_is_not_said_stays(self, served: Any) -> None:
        await served.send("PUT", "/v1/doors/portmap", {"interfaces": ["lan0"], "nonce": "strict"})
        _, _, body = await served.send("PUT", "/v1/doors/portmap", {"interfaces": ["lan0", "lan1"]})
        assert body["changes"][0]["changed"] == ["interfaces"]
        assert [notice["code"] for notice in body["notices"]] == ["no-such-lan"]
        _, _, body = await served.send("PUT", "/v1/doors/portmap", {})
        assert (body["revision"], body["changes"]) == (None, [])
        _, _, view = await served.send("GET", "/v1/doors")
        door = view["doors"][1]
        assert [place["interface"] for place in door["interfaces"]] == ["lan0", "lan1"]
        assert (door["nonce"], door["version"], door["managed_by"]) == ("strict", None, None)
        _, _, body = await served.send("DELETE", "/v1/doors/portmap?plan=true")
        assert body["changes"][0]["after"] is None
        await served.send("DELETE", "/v1/doors/portmap")
        assert dict(served.world.ledger.snapshot.doors) == {}

    async def test_why_one_does_not_answer_and_what_it_leased(self, served: Any) -> None:
        await served.send("PUT", "/v1/doors/igd", {"interfaces": ["lan0", "lan1"]})
        problem = Problem("door-not-open", door="igd", interface="lan1", why="a test")
        served.world.closed = {DoorName.IGD: {"lan1": problem}}
        for number, protocol in enumerate([LeaseProtocol.IGD, LeaseProtocol.PCP, LeaseProtocol.NATPMP]):
            await lease(served.world, 5000 + number, protocol)
        _, _, view = await served.send("GET", "/v1/doors", language="ja")
        DoorsView.model_validate(view, strict=True)
        igd, portmap, _ = view["doors"]
        assert [place["problem"] and place["problem"]["code"] for place in igd["interfaces"]] == [
            None,
            "door-not-open",
        ]
        assert igd["interfaces"][1]["problem"]["title"].startswith("igd の窓口が lan1 で応答できません")
        assert (igd["leases"], portmap["leases"], portmap["enabled"]) == (1, 2, False)

    @pytest.mark.parametrize(
        ("path", "body", "code"),
        [
            ("igd", {}, "missing"),
            ("igd", {"interfaces": []}, "missing"),
            ("igd", {"interfaces": ["wan0"]}, "door-on-wan"),
            ("igd", {"interfaces": ["192.168.1.1"]}, "bad-value"),
            ("igd", {"interfaces": ["a b"]}, "bad-value"),
            ("igd", {"interfaces": ["lan0"], "nonce": "strict"}, "bad-value"),
            ("portmap", {"interfaces": ["lan0"], "version": 1}, "bad-value"),
            ("igd", {"interfaces": ["lan0"], "version": 3}, "bad-request"),
            ("igd", {"interfaces": "lan0"}, "bad-request"),
            ("upnp", {"interfaces": ["lan0"]}, "bad-request"),
        ],
    )
    async def test_what_makes_no_sense_opens_nothing(
        self, served: Any, path: str, body: Any, code: str
    ) -> None:
        facts = served.world.facts
        facts.network = replace(facts.network, outside=frozenset({"wan0"}))
        _, _, problem = await served.send("PUT", f"/v1/doors/{path}", body)
        assert problem["code"] == code
        doors = {"doors": {path: body, "portmap" if path == "igd" else "igd": {"interfaces": ["lan0"]}}}
        _, _, problem = await served.send("PATCH", "/v1/doors", doors)
        assert problem["code"] == code
        assert served.world.ledger.revision == 0


class TestPermissions:
    async def test_the_usual_one_holds_until_others_are_written(self, served: Any) -> None:
        _, _, view = await served.send("GET", "/v1/permissions")
        PermissionsView.model_validate(view, strict=True)
        assert view["rules"] == [{"number": 1, "rule": "allow all", "allow": True}]
        assert (view["written"], view["owner"]) == (False, None)
        _, _, body = await served.send("POST", "/v1/permissions", {"rule": "deny on:guest0", "why": "guests"})
        assert (body["revision"], body["changes"][0]["subject"]) == (1, "permissions")
        assert [notice["code"] for notice in body["notices"]] == ["usual-rule"]
        assert "rule 2" in body["notices"][0]["text"]
        await served.send("POST", "/v1/permissions", {"rule": "allow 192.168.1.9 tcp outside 80"})
        _, _, view = await served.send("GET", "/v1/permissions")
        assert [each["rule"] for each in view["rules"]] == [
            "deny on:guest0",
            "allow all",
            "allow 192.168.1.9/32 tcp outside 80",
        ]
        assert view["written"] is True

    async def test_a_place_and_taking_away(self, served: Any) -> None:
        client = served.client
        await served.call(client.set_permissions, ["allow all", "deny all"])
        await served.call(client.add_permission, "deny on:guest0", 1)
        planned = await served.call(client.forget_permission, 2, plan=True)
        assert (planned["planned"], planned["changes"][0]["after"]["rules"]) == (
            True,
            ["deny on:guest0", "deny all"],
        )
        await served.call(client.forget_permission, 3, why="enough")
        view = await served.call(client.permissions)
        assert [each["rule"] for each in view["rules"]] == ["deny on:guest0", "allow all"]
        assert served.world.ledger.history()[0].why == "enough"
        for number in (3, 99):
            status, _, problem = await served.send("DELETE", f"/v1/permissions/{number}")
            assert (status, problem["code"], problem["facts"]) == (
                404,
                "no-such-rule",
                {"number": number, "count": 2},
            )
        _, _, problem = await served.send("POST", "/v1/permissions", {"rule": "deny all", "at": 4})
        assert problem["code"] == "no-such-rule"

    async def test_without_any_rule_everything_is_denied_and_that_is_said(self, served: Any) -> None:
        _, _, body = await served.send("DELETE", "/v1/permissions/1", language="ja")
        assert [notice["code"] for notice in body["notices"]] == ["no-rule-left"]
        _, _, view = await served.send("GET", "/v1/permissions")
        assert (view["written"], view["rules"]) == (True, [])
        with pytest.raises(Problem, match="no permission rule allows it"):
            await lease(served.world)
        await served.call(served.client.set_permissions, None)
        assert served.world.ledger.snapshot.permissions is None
        await lease(served.world)

    async def test_two_who_add_at_once_both_do(self, served: Any) -> None:
        wanted = [f"allow 192.168.1.{number}/32 outside 80" for number in range(1, 9)]
        await asyncio.gather(*(served.call(served.client.add_permission, rule) for rule in wanted))
        rules = map(str, served.world.ledger.snapshot.permissions.rules)
        assert sorted(rules) == sorted(["allow all", *wanted])

    @pytest.mark.parametrize(
        ("method", "path", "body", "code"),
        [
            ("POST", "", {"rule": "permit all"}, "bad-permission"),
            ("POST", "", {"rule": ""}, "bad-permission"),
            ("POST", "", {"rule": "allow all", "at": 0}, "bad-request"),
            ("POST", "", {"rule": ["allow all"]}, "bad-request"),
            ("POST", "", {}, "bad-request"),
            ("PUT", "", {}, "bad-request"),
            ("PUT", "", {"rules": ["allow all", "x"]}, "bad-permission"),
            ("PUT", "", {"rules": "allow all"}, "bad-request"),
            ("DELETE", "/0", None, "bad-request"),
            ("DELETE", "/x", None, "bad-request"),
        ],
    )
    async def test_what_cannot_be_read_changes_nothing(
        self, served: Any, method: str, path: str, body: Any, code: str
    ) -> None:
        _, _, problem = await served.send(method, f"/v1/permissions{path}", body)
        assert problem["code"] == code
        assert served.world.ledger.revision == 0


class TestLeases:
    async def test_a_mapping_says_how_its_device_asked(self, served: Any) -> None:
        await lease(served.world, description="Xbox\x1b[2J", nonce=NONCE, lasting=True)
        await served.send("POST", "/v1/mappings", {"ports": "8080", "to": "192.168.1.5", "name": "web"})
        _, _, listed = await served.send("GET", "/v1/mappings")
        found = {view["name"]: view for view in listed["mappings"]}
        for view in found.values():
            MappingView.model_validate(view, strict=True)
        assert found["web"]["lease"] is None
        assert found["udp-3074"]["lease"] == {
            "protocol": "igd",
            "description": "Xbox\x1b[2J",
            "lasting": True,
            "outbound": False,
        }
        assert found["udp-3074"]["owner"] == f"device:{MAC}"

    async def test_its_nonce_is_told_to_nobody(self, served: Any) -> None:
        await lease(served.world, protocol=LeaseProtocol.PCP, nonce=NONCE)
        await served.send("POST", "/v1/mappings/udp-3074/adopt", {"plan": True})
        for path in (
            "/v1/mappings",
            "/v1/mappings/udp-3074",
            "/v1/history",
            "/v1/doors",
            "/v1/mappings/3074/who",
        ):
            assert NONCE not in json.dumps((await served.send("GET", path))[2])
        _, _, planned = await served.send("DELETE", "/v1/mappings/udp-3074?plan=true")
        assert planned["changes"][0]["before"]["lease"]["protocol"] == "pcp"
        assert NONCE not in json.dumps(planned)

    async def test_one_is_adopted_and_given_back(self, served: Any) -> None:
        await lease(served.world)
        _, _, body = await served.send("POST", "/v1/mappings/udp-3074/adopt", {"for": "30d", "why": "mine"})
        change = body["changes"][0]
        assert (change["verb"], change["after"].get("lease")) == ("adopt", None)
        assert (body["mappings"][0]["expires_in"], body["mappings"][0]["lease"]) == (30 * 86400, None)
        adopted = served.world.ledger.snapshot.find("udp-3074")
        assert (adopted.owner.kind, adopted.lease) == (OwnerKind.PERSON, None)
        _, _, problem = await served.send("POST", "/v1/mappings/udp-3074/adopt", {})
        assert problem["code"] == "not-a-lease"
        await served.send("POST", "/v1/undo", {})
        assert served.world.ledger.snapshot.find("udp-3074").owner == DEVICE

    @pytest.mark.parametrize(
        ("ref", "body", "code"),
        [
            ("nobody", {}, "no-such-mapping"),
            ("udp-3074", {"for": "x"}, "bad-duration"),
            ("udp-3074", {"for": "1h", "until": "tonight"}, "exclusive"),
            ("udp-3074", {"ports": "80"}, "bad-request"),
        ],
    )
    async def test_what_makes_no_sense_adopts_nothing(
        self, served: Any, ref: str, body: Any, code: str
    ) -> None:
        await lease(served.world)
        _, _, problem = await served.send("POST", f"/v1/mappings/{ref}/adopt", body)
        assert problem["code"] == code
        assert served.world.ledger.snapshot.find("udp-3074").owner == DEVICE


class TestImport:
    TEXT = """
        listening_ip=192.168.1.1/24
        enable_natpmp=yes
        allow 1024-65535 192.168.1.0/24 1024-65535
        deny 0-65535 0.0.0.0/0 0-65535
    """

    async def test_doors_and_rules_come_in_one_revision(self, served: Any) -> None:
        await served.call(served.client.set_permissions, ["deny all"])
        for plan in (True, False):
            body = await served.call(served.client.import_miniupnpd, "/etc/m.conf", self.TEXT, plan=plan)
            Applied.model_validate(body, strict=True)
            assert (body["planned"], body["revision"]) == (plan, None if plan else 2)
            assert [each["subject"] for each in body["changes"]] == ["door", "door", "permissions"]
        assert {each["code"] for each in body["skipped"]} == {"quota", "own-only", "no-pinholes"}
        snapshot = served.world.ledger.snapshot
        assert {name: door.interfaces for name, door in snapshot.doors.items()} == dict.fromkeys(
            (DoorName.IGD, DoorName.PORTMAP), ("lan0",)
        )
        assert [str(rule) for rule in snapshot.permissions.rules] == [
            "allow 192.168.1.0/24",
            "deny 0.0.0.0/0",
        ]
        assert all(door.owner.kind is OwnerKind.PERSON for door in snapshot.doors.values())

    async def test_a_line_that_cannot_be_read_changes_nothing(self, served: Any) -> None:
        text = self.TEXT + "allow everything\n"
        status, _, problem = await served.send(
            "POST", "/v1/import/miniupnpd", {"text": text, "file": "m.conf"}
        )
        assert (status, problem["code"], problem["facts"]["line"]) == (422, "bad-config", 6)
        assert served.world.ledger.revision == 0


class OnlyViewers(Access):
    """Admits everybody to look."""

    def admit(self, peer: Peer) -> Visitor:
        return Visitor("somebody", Role.VIEWER)


async def test_a_viewer_may_look_and_no_more(world: Any, tmp_path: Any, serving: Any) -> None:
    async with serving(world, tmp_path / "s", OnlyViewers(0)) as api:
        for method, path, body in (
            ("PATCH", "/v1/doors", {"doors": {}}),
            ("PUT", "/v1/doors/igd", {"interfaces": ["lan0"]}),
            ("DELETE", "/v1/doors/igd", None),
            ("PUT", "/v1/permissions", {"rules": []}),
            ("POST", "/v1/permissions", {"rule": "allow all"}),
            ("DELETE", "/v1/permissions/1", None),
            ("POST", "/v1/mappings/web/adopt", {}),
            ("POST", "/v1/import/miniupnpd", {"text": ""}),
        ):
            status, _, problem = await api.send(method, path, body)
            assert (status, problem["code"]) == (403, "not-permitted")
        for path in ("/v1/doors", "/v1/permissions"):
            assert (await api.send("GET", path))[0] == 200
    assert world.ledger.revision == 0


async def test_what_a_file_owns_says_so(served: Any) -> None:
    door = Door(door=DoorName.IGD, owner=BY_FILE.actor, interfaces=("lan0",))
    await served.world.enact([EnableDoor(door), SetPermissions((Permission.parse("allow all"),))], BY_FILE)
    _, _, view = await served.send("GET", "/v1/doors")
    assert (view["doors"][0]["managed_by"], view["permissions"]["managed_by"]) == (
        "/etc/s.toml",
        "/etc/s.toml",
    )
    for method, path, body in (
        ("DELETE", "/v1/doors/igd", None),
        ("PUT", "/v1/doors/igd", {"version": 2}),
        ("POST", "/v1/permissions", {"rule": "deny all"}),
        ("DELETE", "/v1/permissions/1", None),
        ("POST", "/v1/import/miniupnpd", {"text": ""}),
    ):
        _, _, problem = await served.send(method, path, body)
        assert problem["code"] == "managed-by-file"
