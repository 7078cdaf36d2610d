"""SOCKS ports, unix sockets and links over the API: what is shown of them, and what never is."""

from __future__ import annotations

import json
from typing import Any

from sekimori.doors.api.answers import MappingView
from sekimori.doors.api.render import render_change, render_terms
from sekimori.model.link import AddLink, Link, SshPlace
from sekimori.testing.table import Table
from sekimori.testing.world import ALICE


async def opened(served: Any, **words: object) -> dict[str, Any]:
    status, _, body = await served.send("POST", "/v1/mappings", words)
    assert status == 200, body
    (view,) = body["mappings"]
    MappingView.model_validate(view, strict=True)
    assert isinstance(view, dict)
    return view


async def test_of_socks_users_only_the_names_are_shown(served: Any) -> None:
    users = ["alice:correct horse", "bob:battery staple"]
    view = await opened(served, ports="1080", socks=True, socks_user=users, reach="db:5432")
    assert (view["to"], view["socks_users"], view["reach"]) == ("socks", ["alice", "bob"], "db:5432")
    _, _, changed = await served.send("PATCH", "/v1/mappings/1080", {"socks_user": "alice:another horse"})
    (change,) = changed["changes"]
    assert change["changed"] == ["socks"]
    assert change["after"]["socks"] == {"users": ["alice"], "reach": "db:5432"}
    texts = [json.dumps(changed)]
    for path in ("/v1/mappings", "/v1/mappings/1080", "/v1/history"):
        status, _, body = await served.send("GET", path)
        assert status == 200
        texts.append(json.dumps(body))
    for text in texts:
        assert "alice" in text
        assert not any(secret in text for secret in ("scrypt", "horse", "staple"))


async def test_a_password_is_not_repeated_in_a_refusal(served: Any) -> None:
    words = {"ports": "1080", "socks": True, "socks_user": ["alice:short", "bob:battery staple"]}
    status, _, body = await served.send("POST", "/v1/mappings", words)
    assert (status, body["code"]) == (422, "bad-value")
    assert not any(secret in json.dumps(body) for secret in ("short", "staple"))


async def test_a_path_is_shown_as_it_is_asked_for(served: Any) -> None:
    view = await opened(served, ports="unix:/run/db.sock", to="db:5432")
    assert (view["ports"], view["to"], view["on"], view["socks_users"]) == (
        "unix:/run/db.sock",
        "db:5432",
        None,
        None,
    )


def test_a_far_end_is_shown_and_that_it_no_longer_is_one_is_told() -> None:
    table = Table()
    link = Link(name="vps", owner=ALICE.actor, place=SshPlace.parse("ssh://vps.example"))
    table.grant(AddLink(link))
    mapping = table.open("8080", to="127.0.0.1:3000", at="vps", name="web")
    view = render_terms(mapping, table.presets)
    assert (view["at"], view["path"]) == ("vps", ["link@vps", "relay"])
    (change,) = table.grant(table.change("web", at="none")).changes
    assert set(render_change(change)["changed"]) == {"at", "path"}
