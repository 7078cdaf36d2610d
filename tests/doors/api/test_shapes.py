"""The description holds: the same words as the model's, and every refusal described."""

from __future__ import annotations

from typing import Any

import pytest

from sekimori.doors.api import answers, shapes
from sekimori.doors.api.access import Access
from sekimori.doors.api.app import create_app
from sekimori.model.mapping import Mapping
from sekimori.model.words import FIELDS


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    return create_app(None, None, Access(0)).openapi()  # type: ignore[arg-type] # nothing is called


def test_the_words_are_the_model_s_words() -> None:
    for shape, more in ((shapes.OpenBody, {"plan", "why"}), (shapes.ChangeBody, {"plan", "why", "paused"})):
        names = {field.alias or name for name, field in shape.model_fields.items()}
        assert names == set(FIELDS) | more


def test_words_are_said_by_their_names() -> None:
    body = shapes.ChangeBody.model_validate(
        {
            "from": ["lan", "office"],
            "for": "2h",
            "max_connections": 5,
            "paused": False,
            "why": "x",
            "to": None,
        }
    )
    assert body.words() == {"from": ["lan", "office"], "for": "2h", "max_connections": 5}
    body = shapes.ChangeBody.model_validate({"except": ["443"], "trigger": "80", "hold": "5m", "log": False})
    assert body.words() == {"except": ["443"], "trigger": "80", "hold": "5m", "log": False}


def test_every_route_is_described_once(described: dict[str, Any]) -> None:
    routes = {(path, method) for path, methods in described["paths"].items() for method in methods}
    assert routes == {
        ("/v1/status", "get"),
        ("/v1/links", "get"),
        ("/v1/links/{name}", "get"),
        ("/v1/links/{name}", "put"),
        ("/v1/links/{name}", "delete"),
        ("/v1/links/{name}/test", "post"),
        ("/v1/users", "get"),
        ("/v1/users", "post"),
        ("/v1/users/{name}", "get"),
        ("/v1/users/{name}", "patch"),
        ("/v1/users/{name}", "delete"),
        ("/v1/users/{name}/keys", "post"),
        ("/v1/users/{name}/keys/{fingerprint}", "delete"),
        ("/v1/mappings", "get"),
        ("/v1/mappings", "post"),
        ("/v1/mappings/{ref}", "get"),
        ("/v1/mappings/{ref}", "patch"),
        ("/v1/mappings/{ref}", "delete"),
        ("/v1/mappings/{ref}/extend", "post"),
        ("/v1/mappings/{ref}/who", "get"),
        ("/v1/gateway", "get"),
        ("/v1/gateway", "put"),
        ("/v1/gateway", "delete"),
        ("/v1/line", "get"),
        ("/v1/router", "get"),
        ("/v1/bans", "get"),
        ("/v1/bans", "post"),
        ("/v1/bans/{prefix}", "delete"),
        ("/v1/kill", "post"),
        ("/v1/doors", "get"),
        ("/v1/doors", "patch"),
        ("/v1/doors/{name}", "put"),
        ("/v1/doors/{name}", "delete"),
        ("/v1/permissions", "get"),
        ("/v1/permissions", "put"),
        ("/v1/permissions", "post"),
        ("/v1/permissions/{number}", "delete"),
        ("/v1/mappings/{ref}/adopt", "post"),
        ("/v1/import/miniupnpd", "post"),
        ("/v1/doctor", "get"),
        ("/v1/doctor/fix", "post"),
        ("/v1/doctor/undo", "post"),
        ("/v1/pending", "get"),
        ("/v1/confirm", "post"),
        ("/v1/history", "get"),
        ("/v1/undo", "post"),
        ("/v1/apply", "post"),
        ("/v1/export", "get"),
        ("/v1/presets", "get"),
        ("/v1/presets/{name}", "get"),
        ("/v1/events", "get"),
    }
    names = [call["operationId"] for methods in described["paths"].values() for call in methods.values()]
    assert len(set(names)) == len(names)


def test_refusals_are_described_as_problems(described: dict[str, Any]) -> None:
    schemas = described["components"]["schemas"]
    assert "ProblemBody" in schemas
    assert not {"HTTPValidationError", "ValidationError"} & set(schemas)
    for methods in described["paths"].values():
        for call in methods.values():
            for status, answer in call["responses"].items():
                if int(status) >= 400:
                    (kind, content) = next(iter(answer["content"].items()))
                    assert kind == "application/problem+json"
                    assert content["schema"]["$ref"].endswith("/ProblemBody")


def test_every_call_says_what_it_is_for(described: dict[str, Any]) -> None:
    for methods in described["paths"].values():
        for call in methods.values():
            assert call["summary"]
            assert call["description"]
            assert call["tags"]


def test_references_lead_somewhere(described: dict[str, Any]) -> None:
    def references(value: Any) -> Any:
        if isinstance(value, dict):
            yield from ([value["$ref"]] if "$ref" in value else [])
            for inner in value.values():
                yield from references(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from references(inner)

    for reference in references(described):
        found: Any = described
        for key in reference.removeprefix("#/").split("/"):
            found = found[key]
        assert found


def test_a_view_shows_every_term_of_a_mapping() -> None:
    shown = {field.alias or name for name, field in answers.MappingView.model_fields.items()}
    terms = set(Mapping.__dataclass_fields__)
    told_otherwise = {
        "target": "to",
        "sources": "from",
        "lifetime": "expires_at",
        "schedule": "hours",
        "limits": "limit",
        "accepted_risks": "accept_risk",
        "excepted": "except",
        "socks": "socks_users",
    }
    assert {told_otherwise.get(term, term) for term in terms} <= shown
