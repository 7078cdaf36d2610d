"""The API: its routes joined into one application."""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from fastapi import FastAPI

from sekimori.doors.api import (
    bans,
    confirm,
    devicedoors,
    doctor,
    gateway,
    imports,
    journal,
    line,
    links,
    mappings,
    permissions,
    services,
    stream,
    sync,
    users,
)
from sekimori.doors.api.access import Access
from sekimori.doors.api.answers import ProblemBody
from sekimori.doors.api.desk import Desk
from sekimori.doors.api.entrance import Entrance
from sekimori.doors.api.ports import Views
from sekimori.doors.api.problems import handle_problems
from sekimori.doors.api.stream import Pace

if TYPE_CHECKING:
    from sekimori.gate import Gate

__all__ = ["create_app"]

_ROUTERS: Final = (
    mappings.router,
    gateway.router,
    line.router,
    bans.router,
    devicedoors.router,
    links.router,
    users.router,
    permissions.router,
    doctor.router,
    confirm.router,
    journal.router,
    sync.router,
    imports.router,
    services.router,
    stream.router,
)

_DESCRIPTION: Final = """\
Opens ports, looks at them, changes and closes them; spoken over a unix socket. The kernel says
who is at the other end; there is nothing to log in with. Instants are ISO 8601 in UTC. Every
failing answer is a problem (RFC 9457), in English or Japanese as Accept-Language asks."""

_PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    status: {
        "description": why,
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemBody"}}},
    }
    for status, why in {
        403: "Not permitted, or refused by policy",
        404: "Not found",
        409: "Something stands in the way",
        413: "The body is too large",
        422: "It cannot be read",
        500: "A fault of Sekimori or its machine",
        502: "The outside refused",
        503: "A part of the daemon is not there",
        504: "Not confirmed in time",
    }.items()
}

_QUIET: Final[dict[str, Any]] = {
    "telemetry": {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
}
"""Newer FastAPI exports traces when the environment says so; an older one ignores this."""


def create_app(gate: Gate, views: Views, access: Access, *, pace: Pace | None = None) -> FastAPI:
    """The application that serves a gate and its views to those that `access` admits.

    `serve` runs it; it takes the peer's credentials from `scope["state"]["peer"]`.
    """
    app = FastAPI(
        title="Sekimori",
        version=version("sekimori"),
        description=_DESCRIPTION,
        docs_url=None,  # the pages would load from a content network
        redoc_url=None,
        redirect_slashes=False,
        responses=_PROBLEMS,
        generate_unique_id_function=lambda route: route.name,
        **_QUIET,
    )
    app.state.desk = Desk(gate, views)
    app.state.pace = pace or Pace()
    app.state.closing = asyncio.Event()
    handle_problems(app)
    app.add_middleware(Entrance, access=access)
    for router in _ROUTERS:
        app.include_router(router)
    app.state.routes = tuple(route for router in _ROUTERS for route in router.routes)
    _describe_problems(app)
    return app


def _describe_problems(app: FastAPI) -> None:
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        known = describe()
        schemas = known.setdefault("components", {}).setdefault("schemas", {})
        if "HTTPValidationError" in schemas or "ProblemBody" not in schemas:
            # FastAPI describes its own validation answers, which `problems` replaces.
            for name in ("HTTPValidationError", "ValidationError"):
                schemas.pop(name, None)
            schemas["ProblemBody"] = ProblemBody.model_json_schema(
                ref_template="#/components/schemas/{model}"
            )
        return known

    app.openapi = openapi  # type: ignore[method-assign] # the documented way to extend a description
