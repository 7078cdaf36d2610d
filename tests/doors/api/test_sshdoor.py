"""The SSH door over the API: where it answers, whose keys it takes, and who is connected."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from sekimori.doors.api.devicedoors import DoorShort, DoorsView
from sekimori.model.door import DoorName
from sekimori.model.errors import Problem
from sekimori.model.linkfacts import SshFacts, SshSession

PLACE = "192.168.1.1:2222"


def a_key(number: int) -> str:
    # OpenSSH takes any 32 bytes for a public key of Ed25519.
    blob = b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20" + bytes([number]) * 32
    return f"ssh-ed25519 {base64.b64encode(blob).decode()} somebody"


async def shown(served: Any) -> dict[str, Any]:
    _, _, body = await served.send("GET", "/v1/doors")
    DoorsView.model_validate(body, strict=True)
    door = next(each for each in body["doors"] if each["name"] == "ssh")
    assert isinstance(door, dict)
    return door


async def test_it_is_opened_and_shown_with_what_keeps_it_from_answering(served):
    terms = {
        "listen": [PLACE, "[fd00::1]:2222", PLACE],
        "authorized_keys": "/etc/sekimori/keys",
        "grant": {"ports": "8000-8999", "for": "2h"},
    }
    status, _, outcome = await served.send("PUT", "/v1/doors/ssh", terms)
    assert status == 200, outcome
    served.world.closed[DoorName.SSH] = {
        PLACE: Problem("no-such-host", host="x", why="y"),
        "/etc/sekimori/keys:3": Problem("bad-key", text="x", why="y"),
    }
    served.world.ssh = SshFacts(
        ("ssh-ed25519 SHA256:abc",),
        (SshSession(user="alice", fingerprint="SHA256:k", address="192.0.2.7", port=50022, since=1.0),),
    )
    door = await shown(served)
    assert (door["enabled"], door["authorized_keys"]) == (True, "/etc/sekimori/keys")
    assert [each["interface"] for each in door["interfaces"]] == [PLACE, "[fd00::1]:2222"]
    assert door["interfaces"][0]["problem"]["code"] == "no-such-host"
    assert door["interfaces"][1]["problem"] is None
    assert [(each["place"], each["problem"]["code"]) for each in door["keys_refused"]] == [
        ("/etc/sekimori/keys:3", "bad-key")
    ]
    assert (door["grant"]["ports"], door["grant"]["for"], door["grant"]["hold"]) == ("8000-8999", "2h", "1h")
    assert door["host_keys"] == ["ssh-ed25519 SHA256:abc"]
    assert [(each["user"], each["source"]) for each in door["sessions"]] == [("alice", "192.0.2.7:50022")]


async def test_what_is_not_said_stays(served):
    await served.send("PUT", "/v1/doors/ssh", {"listen": [PLACE], "grant": {"ports": "8000-8999"}})
    status, _, _ = await served.send("PATCH", "/v1/doors", {"doors": {"ssh": {"grant": {"most": 3}}}})
    assert status == 200
    door = await shown(served)
    assert (door["grant"]["ports"], door["grant"]["most"]) == ("8000-8999", 3)
    assert [each["interface"] for each in door["interfaces"]] == [PLACE]


async def test_shut_it_has_nothing(served):
    served.world.ssh = SshFacts(("ssh-ed25519 SHA256:abc",))
    door = await shown(served)
    assert (door["enabled"], door["host_keys"], door["sessions"], door["grant"]) == (False, [], [], None)
    await served.send("PUT", "/v1/doors/ssh", {"listen": [PLACE]})
    assert (await served.send("DELETE", "/v1/doors/ssh"))[0] == 200
    assert not (await shown(served))["enabled"]


@pytest.mark.parametrize(
    ("door", "terms", "code"),
    [
        ("ssh", {"interfaces": ["lan0"]}, "bad-value"),
        ("ssh", {"listen": ["192.168.1.1"]}, "bad-listen"),
        ("ssh", {"listen": ["fd00::1:22"]}, "bad-listen"),
        ("ssh", {"listen": [PLACE], "version": 1}, "bad-value"),
        ("ssh", {"listen": [PLACE], "grant": {"ports": "x"}}, "bad-ports"),
        ("igd", {"interfaces": ["lan0"], "listen": [PLACE]}, "bad-value"),
        ("portmap", {"interfaces": ["lan0"], "grant": {}}, "bad-value"),
    ],
)
async def test_words_of_other_doors_and_what_cannot_be_read_are_refused(served, door, terms, code):
    status, _, problem = await served.send("PUT", f"/v1/doors/{door}", terms)
    assert (status, problem["code"]) == (422, code)


async def test_in_the_status_it_stands_in_short_and_only_where_it_is_open(served):
    _, _, status = await served.send("GET", "/v1/status")
    assert status["doors"] == []
    await served.send("PUT", "/v1/doors/ssh", {"listen": ["*:2222"], "authorized_keys": "/etc/k"})
    for number, name in enumerate(("eve", "bob")):
        user = {"name": name, "keys": [a_key(number)]}
        assert (await served.send("POST", "/v1/users", user))[0] == 200
    served.world.closed[DoorName.SSH] = {"/etc/k:3": Problem("bad-key", text="x", why="y")}
    served.world.ssh = SshFacts(
        ("ssh-ed25519 SHA256:abc",),
        (SshSession(user="bob", fingerprint="SHA256:k", address="192.0.2.7", port=50022, since=1.0),),
    )
    _, _, status = await served.send("GET", "/v1/status")
    (door,) = status["doors"]
    DoorShort.model_validate(door, strict=True)
    assert (door["name"], door["outside"], door["keys_refused"]) == ("ssh", True, 1)
    assert door["interfaces"] == [{"interface": "*:2222", "problem": None}]
    assert (door["users"], door["authorized_keys"]) == (["bob", "eve"], "/etc/k")
    assert [each["source"] for each in door["sessions"]] == ["192.0.2.7:50022"]
