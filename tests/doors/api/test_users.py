"""Users of the SSH door over the API: their keys, their grants, and who is connected."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from sekimori.doors.api.answers import OutcomeBody
from sekimori.doors.api.users import UsersBody, UserView
from sekimori.model.linkfacts import SshFacts, SshSession
from sekimori.model.mapping import Owner, OwnerKind
from sekimori.model.request import Context
from sekimori.model.user import Grant, PutUser, User
from sekimori.wire.authorizedkeys import parse_line


def line(number: int, comment: str = "alice@laptop", options: str = "") -> str:
    # The base point of Ed25519 times a number is not needed: OpenSSH takes any 32 bytes for a public key.
    blob = b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20" + bytes([number]) * 32
    text = f"ssh-ed25519 {base64.b64encode(blob).decode()} {comment}"
    return f"{options} {text}" if options else text


def seal(number: int) -> str:
    return parse_line(line(number)).fingerprint


async def add(served: Any, name: str = "alice", **words: Any) -> tuple[int, Any]:
    status, _, answer = await served.send("POST", "/v1/users", {"name": name, "keys": [line(1)], **words})
    return status, answer


async def test_one_is_added_and_shown(served):
    options = 'restrict,port-forwarding,permitlisten="8080"'
    status, outcome = await add(
        served,
        keys=[line(1, options=options), line(2, "two words")],
        grant={
            "ports": "8000-8999",
            "for": "2h",
            "quota": "10G",
            "to": ["db.lan:5432", "*:443"],
            "from": "anyone",
        },
        until="2030-01-01 18:00",
        why="a helper",
    )
    assert status == 200, outcome
    OutcomeBody.model_validate(outcome, strict=True)
    _, _, listed = await served.send("GET", "/v1/users")
    UsersBody.model_validate(listed, strict=True)
    (view,) = listed["users"]
    assert view["keys"] == [
        {
            "fingerprint": seal(1),
            "algorithm": "ssh-ed25519",
            "options": options,
            "comment": "alice@laptop",
            "problem": None,
        },
        {
            "fingerprint": seal(2),
            "algorithm": "ssh-ed25519",
            "options": "",
            "comment": "two words",
            "problem": None,
        },
    ]
    grant = view["grant"]
    assert (grant["ports"], grant["for"], grant["quota"]) == ("8000-8999", "2h", 10 << 30)
    assert (grant["to"], grant["from"], grant["most"]) == ("*:443,db.lan:5432", "anyone", 10)
    assert view["expires_at"] == "2030-01-01T09:00:00+00:00"
    assert (view["mappings"], view["sessions"]) == ([], [])


async def test_without_a_grant_they_may_do_nothing(served):
    assert (await add(served))[0] == 200
    assert served.world.snapshot().users["alice"].grant == Grant()


async def test_a_name_that_is_taken_is_refused(served):
    await add(served)
    status, problem = await add(served, name="Alice")
    assert (status, problem["code"]) == (409, "user-exists")


async def test_what_is_not_said_stays(served):
    await add(served, grant={"ports": "8000-8999", "most": 3, "limit": "20/min"}, until="2030-01-01")
    status, _, _ = await served.send(
        "PATCH", "/v1/users/alice", {"grant": {"most": 5, "limit": "none", "from": "lan"}}
    )
    assert status == 200
    user = served.world.snapshot().users["alice"]
    assert (str(user.grant.ports[0]), user.grant.most) == ("8000-8999", 5)
    assert user.grant.limits.per_source is None
    assert user.expires_at is not None
    await served.send("PATCH", "/v1/users/alice", {"until": "none", "keys": [line(2), line(2, "again")]})
    user = served.world.snapshot().users["alice"]
    assert (user.expires_at, user.keys) == (None, (line(2, "again"),))
    assert user.grant.most == 5


async def test_keys_come_and_go(served):
    await add(served)
    assert (await served.send("POST", "/v1/users/alice/keys", {"key": line(2)}))[0] == 200
    narrowed = line(1, options="restrict")
    assert (await served.send("POST", "/v1/users/alice/keys", {"key": narrowed}))[0] == 200
    assert served.world.snapshot().users["alice"].keys == (line(2), narrowed)
    assert (await served.send("DELETE", f"/v1/users/alice/keys/{seal(2)[:14]}?why=lost"))[0] == 200
    assert served.world.snapshot().users["alice"].keys == (narrowed,)
    status, _, problem = await served.send("DELETE", f"/v1/users/alice/keys/{seal(1)}")
    assert (status, problem["code"]) == (409, "last-key")
    for text in (seal(2), "SHA256:", "x"):
        status, _, problem = await served.send("DELETE", f"/v1/users/alice/keys/{text}")
        assert (status, problem["code"]) == (404, "no-such-key")
        assert seal(1) in problem["detail"]


async def test_a_line_that_an_earlier_version_took_and_this_one_cannot_read(served, monkeypatch):
    old = line(3, options="unheard-of")
    with monkeypatch.context() as earlier:
        earlier.setattr("sekimori.policy.users._check_keys", lambda _user: None)
        user = User(name="alice", owner=Owner(OwnerKind.PERSON, "root"), keys=(old, line(1)), grant=Grant())
        await served.world.gate_within.enact([PutUser(user)], Context(user.owner, "cli"))
    status, _, view = await served.send("GET", "/v1/users/alice")
    assert status == 200
    UserView.model_validate(view, strict=True)
    unread, key = view["keys"]
    assert (unread["fingerprint"], unread["comment"], unread["problem"]["code"]) == ("", old, "bad-key")
    assert "'unheard-of' is no option" in unread["problem"]["title"]
    assert (key["fingerprint"], key["problem"]) == (seal(1), None)
    status, _, problem = await served.send("DELETE", f"/v1/users/alice/keys/{seal(2)}")
    assert (status, problem["code"]) == (404, "no-such-key")
    status, _, problem = await served.send("POST", "/v1/users/alice/keys", {"key": line(2)})
    assert (problem["code"], "unheard-of" in problem["title"]) == ("bad-key", True)
    await served.call(served.client.forget_key, "alice", old)
    assert served.world.snapshot().users["alice"].keys == (line(1),)


async def test_a_fingerprint_may_hold_slashes_and_plus_signs(served):
    number = next(each for each in range(1, 256) if "/" in seal(each) and "+" in seal(each))
    await add(served, keys=[line(number), line(0)])
    await served.call(served.client.forget_key, "alice", seal(number))
    assert served.world.snapshot().users["alice"].keys == (line(0),)


async def test_who_is_connected(served):
    await add(served)
    served.world.ssh = SshFacts(
        sessions=(
            SshSession(
                user="alice",
                fingerprint=seal(1),
                address="2001:db8::7",
                port=50022,
                since=1_700_000_000,
                client="SSH-2.0-OpenSSH_9.2",
                mappings=("m-gone",),
                channels=2,
                bytes_in=5,
                bytes_out=7,
            ),
            SshSession(user="bob", fingerprint=seal(2), address="192.0.2.1", port=1, since=1.0),
        )
    )
    _, _, view = await served.send("GET", "/v1/users/alice")
    UserView.model_validate(view, strict=True)
    (session,) = view["sessions"]
    assert (session["source"], session["mappings"], session["channels"]) == ("[2001:db8::7]:50022", [], 2)


async def test_one_is_removed(served):
    await add(served)
    assert (await served.send("DELETE", "/v1/users/alice"))[0] == 200
    assert not served.world.snapshot().users
    for method in ("GET", "DELETE", "PATCH"):
        status, _, problem = await served.send(method, "/v1/users/alice", {} if method == "PATCH" else None)
        assert (status, problem["code"]) == (404, "no-such-user")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ({"keys": []}, "missing"),
        ({"keys": None}, "missing"),
        ({"keys": ["ssh-ed25519 AAAA"]}, "bad-key"),
        ({"keys": [line(1, options="tunnel=1")]}, "bad-key"),
        ({"keys": ["-----BEGIN OPENSSH PRIVATE KEY-----"]}, "bad-key"),
        ({"name": "no name"}, "bad-name"),
        ({"grant": {"ports": "x"}}, "bad-ports"),
        ({"grant": {"quota": "much"}}, "bad-value"),
        ({"grant": {"to": "a b"}}, "bad-destination"),
        ({"grant": {"shell": True}}, "bad-request"),
        ({"until": "whenever"}, "bad-time"),
    ],
)
async def test_what_cannot_be_read_is_refused(served, words, code):
    status, problem = await add(served, **words)
    assert (status, problem["code"]) == (422, code)
    assert not served.world.snapshot().users
