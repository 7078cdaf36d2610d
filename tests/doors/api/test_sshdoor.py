"""The SSH door over the API: where it answers, whose keys it takes, and who is connected."""

from __future__ import annotations

from typing import Any

import pytest

from sekimori.doors.api.devicedoors import DoorsView
from sekimori.model.door import DoorName
from sekimori.model.errors import Problem
from sekimori.model.linkfacts import SshFacts, SshSession

PLACE = "192.168.1.1:2222"


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
    served.world.closed[DoorName.SSH] = {PLACE: Problem("no-such-host", host="x", why="y")}
    served.world.ssh = SshFacts(
        ("ssh-ed25519 SHA256:abc",),
        (SshSession(user="alice", fingerprint="SHA256:k", address="192.0.2.7", port=50022, since=1.0),),
    )
    door = await shown(served)
    assert (door["enabled"], door["authorized_keys"]) == (True, "/etc/sekimori/keys")
    assert [each["interface"] for each in door["interfaces"]] == [PLACE, "[fd00::1]:2222"]
    assert door["interfaces"][0]["problem"]["code"] == "no-such-host"
    assert door["interfaces"][1]["problem"] is None
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
