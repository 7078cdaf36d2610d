"""Calls drawn from the API's own description: none makes it stumble, and every answer is as described."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi import checks
from starlette.types import Receive, Scope, Send

from sekimori.doors.api.access import Access, Peer
from sekimori.doors.api.app import create_app

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.doors.api.conftest import World

EXAMPLES = 25
"""Calls for each route: enough to meet every field, in a few seconds."""

CHECKS = [
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
]


class Seated:
    """The application with a peer at the other end, as the server would have found it."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope.setdefault("state", {})["peer"] = Peer(1, os.geteuid(), os.getegid())
        await self._app(scope, receive, send)


pytestmark = pytest.mark.loopback

TAKES_ANYTHING = {"/v1/mappings", "/v1/mappings/{ref}", "/v1/mappings/{ref}/who", "/v1/presets/{name}"}
TAKES_ANYTHING |= {"/v1/status", "/v1/export", "/v1/gateway", "/v1/bans", "/v1/pending"}
TAKES_ANYTHING |= {"/v1/doors", "/v1/permissions", "/v1/line", "/v1/router"}
TAKES_ANYTHING |= {"/v1/links", "/v1/links/{name}", "/v1/users", "/v1/users/{name}"}
"""What is read there is a text that any text may be, or nothing."""
TAKES_ANYTHING_WITHOUT_A_BODY = {(path, "get") for path in TAKES_ANYTHING} | {
    ("/v1/links/{name}/test", "post")
}

OPERATIONS = [
    (path, method)
    for path, methods in create_app(None, None, Access(0)).openapi()["paths"].items()  # type: ignore[arg-type]
    for method in methods
    if path != "/v1/events"  # it has no end; test_stream reads it
]
CASES = [
    (path, method, mode)
    for path, method in OPERATIONS
    for mode in GenerationMode
    if mode is GenerationMode.POSITIVE or (path, method) not in TAKES_ANYTHING_WITHOUT_A_BODY
]


@pytest.mark.parametrize(("path", "method", "mode"), CASES)
def test_every_call_is_answered_as_described(
    make_world: Callable[[], World], path: str, method: str, mode: GenerationMode
) -> None:
    world = make_world()
    app = Seated(create_app(world, world, Access(os.geteuid())))
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)

    @given(case=schema[path][method.upper()].as_strategy(generation_mode=mode))
    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def hold(case: Any) -> None:
        case.validate_response(case.call(), checks=CHECKS)

    hold()
    world.ledger.close()
