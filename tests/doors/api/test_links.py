"""Links over the API: added with a key that is known or was said, shown with how they are, tried, removed."""

from __future__ import annotations

import base64
from typing import Any

from sekimori.doors.api.hostkeys import fingerprint_of
from sekimori.doors.api.links import LinkOutcome, LinksBody, LinkShort, LinkTestView, LinkView
from sekimori.model.errors import Problem
from sekimori.model.link import LinkPhase
from sekimori.model.linkfacts import HostKey, KeyStanding, LinkFacts, LinkTest

VPS = "ssh://alice@vps.example"
BLOB = base64.b64encode(b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20" + b"\x01" * 32).decode()
KEY = HostKey(VPS, "ssh-ed25519", BLOB, fingerprint_of(BLOB), KeyStanding.UNKNOWN)


def showing(served: Any, *keys: HostKey) -> None:
    served.world.servers.keys = lambda _link: keys


async def add(served: Any, name: str = "vps", **words: Any) -> tuple[int, Any]:
    body = {"to": VPS, "host_keys": [KEY.fingerprint], **words}
    status, _, answer = await served.send("PUT", f"/v1/links/{name}", body)
    return status, answer


async def test_one_is_added_and_shown(served):
    showing(served, KEY)
    status, outcome = await add(served, identity=["/root/.ssh/vps"], connections=2, why="the office")
    assert status == 200
    LinkOutcome.model_validate(outcome, strict=True)
    assert outcome["shown"][0]["standing"] == "unknown"
    assert outcome["changes"][0] | {"after": None} == {
        "verb": "link",
        "subject": "link",
        "name": "vps",
        "before": None,
        "after": None,
        "changed": [],
    }
    link = served.world.snapshot().links["vps"]
    assert (link.host_keys, link.identity, link.connections) == ((KEY.line,), ("/root/.ssh/vps",), 2)
    _, _, listed = await served.send("GET", "/v1/links")
    LinksBody.model_validate(listed, strict=True)
    (view,) = listed["links"]
    assert (view["to"], view["phase"], view["problem"]) == (VPS, "connecting", None)
    assert view["host_keys"] == [
        {"place": VPS, "algorithm": "ssh-ed25519", "fingerprint": KEY.fingerprint, "standing": None}
    ]


async def test_an_unknown_key_is_refused_and_nothing_is_added(served):
    showing(served, KEY)
    status, problem = await add(served, host_keys=[])
    assert (status, problem["code"]) == (403, "host-key-unknown")
    assert problem["facts"]["keys"] == [
        {"place": VPS, "algorithm": "ssh-ed25519", "fingerprint": KEY.fingerprint}
    ]
    assert not served.world.snapshot().links


async def test_a_plan_asks_for_the_keys_and_adds_nothing(served):
    showing(served, KEY)
    status, outcome = await add(served, plan=True)
    assert (status, outcome["planned"], outcome["changes"][0]["name"]) == (200, True, "vps")
    assert served.world.servers.scanned
    assert not served.world.snapshot().links


async def test_what_is_not_said_stays_and_pins_go_with_their_server(served):
    showing(served, KEY)
    assert (await add(served, identity=["/root/.ssh/vps"], connections=3))[0] == 200
    served.world.servers.scanned.clear()
    assert (await served.send("PUT", "/v1/links/vps", {"connections": 4}))[0] == 403  # the fake pins nothing
    assert served.world.servers.scanned[0].host_keys == (KEY.line,)
    assert served.world.servers.scanned[0].identity == ("/root/.ssh/vps",)
    served.world.servers.scanned.clear()
    await served.send("PUT", "/v1/links/vps", {"to": "ssh://other.example"})
    assert served.world.servers.scanned[0].host_keys == ()


async def test_how_it_is_now(served):
    showing(served, KEY)
    await add(served)
    why = Problem("no-such-host", host="vps.example", why="nobody knows it")
    served.world.servers.facts["vps"] = LinkFacts(
        name="vps",
        phase=LinkPhase.WAITING,
        since=1_700_000_000,
        why=why,
        next_try=1_700_000_030,
        rtt=0.025,
        server="SSH-2.0-OpenSSH_9.2",
        algorithms={"cipher": "aes128-gcm@openssh.com"},
        sekimori=False,
        flows=3,
    )
    status, _, view = await served.send("GET", "/v1/links/VPS", language="ja")
    assert status == 200
    LinkView.model_validate(view, strict=True)
    assert (view["phase"], view["flows"], view["rtt"]) == ("waiting", 3, 0.025)
    assert view["next_try"] == "2023-11-14T22:13:50+00:00"
    assert view["problem"]["title"] == why.title("ja")
    _, _, status = await served.send("GET", "/v1/status", language="ja")
    (short,) = status["links"]
    LinkShort.model_validate(short, strict=True)
    assert short == {key: view[key] for key in LinkShort.model_fields}
    assert view["outside"] is None


async def test_trying_it_tells_what_may_be_done(served):
    showing(served, KEY)
    await add(served)
    served.world.servers.tried = LinkTest(
        tried=("publickey",), local=True, remote=False, remote_why="administratively prohibited", rtt=0.01
    )
    status, _, test = await served.send("POST", "/v1/links/vps/test")
    assert status == 200
    LinkTestView.model_validate(test, strict=True)
    assert (test["ok"], test["local"], test["remote"]) == (True, True, False)
    served.world.servers.tried = LinkTest(problem=Problem("no-such-host", host="v", why="w"))
    _, _, test = await served.send("POST", "/v1/links/vps/test")
    assert (test["ok"], test["local"], test["problem"]["code"]) == (False, None, "no-such-host")


async def test_it_is_removed(served):
    showing(served, KEY)
    await add(served)
    assert (await served.send("DELETE", "/v1/links/VPS?why=moved"))[0] == 200
    assert not served.world.snapshot().links
    status, _, problem = await served.send("DELETE", "/v1/links/vps")
    assert (status, problem["code"]) == (404, "no-such-link")


async def test_one_that_there_is_not_is_told_with_what_is_near(served):
    showing(served, KEY)
    await add(served)
    for method, path in (("GET", "/v1/links/vp"), ("POST", "/v1/links/vp/test")):
        status, _, problem = await served.send(method, path)
        assert (status, problem["code"]) == (404, "no-such-link")
        assert "vps" in problem["detail"]


async def test_what_cannot_be_read_is_refused(served):
    showing(served, KEY)
    for words, code in (
        ({"to": None}, "missing"),
        ({"to": "ftp://vps"}, "bad-link"),
        ({"to": "ssh://a:secret@vps"}, "bad-link"),
        ({"jump": ["ssh://"]}, "bad-link"),
        ({"host_keys": ["MD5:aa"]}, "bad-value"),
        ({"connections": 17}, "bad-value"),
        ({"password": "x"}, "bad-request"),
    ):
        status, problem = await add(served, **words)
        assert (status, problem["code"]) == (422, code), words
    assert (await add(served, name="kernel"))[1]["code"] == "bad-name"
    assert not served.world.snapshot().links
