"""How a verb's words are read: cyclopts over one function, and the flags verbs share."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Annotated, Any, Final

from cyclopts import App, Parameter

__all__ = ["FileName", "Lasting", "Terms", "Writing", "build"]

_FROM_THE_USER: Final = re.compile(r"^(?!session\b)")
"""Every parameter but the run the command belongs to, which `main` gives."""

FileName = Annotated[str | None, Parameter(allow_leading_hyphen=True)]
"""A file that may be `-` for stdin; what else begins with a hyphen is for the verb to refuse."""


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Lasting:
    """Until when; the daemon refuses more than one of them."""

    for_: str | None = None
    until: str | None = None
    permanent: str | None = None

    def said(self) -> dict[str, object]:
        """The API's fields that were given."""
        return _said(self)


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Terms:
    """The words of a mapping besides its ports, unread: the daemon reads them."""

    to: str | None = None
    socks: bool | None = None
    name: str | None = None
    from_: list[str] | None = None
    for_: str | None = None
    until: str | None = None
    permanent: str | None = None
    hours: str | None = None
    on: str | None = None
    via: str | None = None
    at: str | None = None
    limit: str | None = None
    limit_total: str | None = None
    max_connections: str | None = None
    proxy_protocol: str | None = None
    idle: str | None = None
    trigger: list[str] | None = None
    hold: str | None = None
    except_: list[str] | None = None
    socks_user: list[str] | None = None
    reach: list[str] | None = None
    log: Annotated[bool | None, Parameter(negative="--no-log")] = None
    accept_risk: list[str] | None = None

    def said(self) -> dict[str, object]:
        """The API's fields that were given; `--accept-risk none` takes the acceptances back."""
        said: dict[str, Any] = _said(self)
        for name in ("from", "trigger", "except", "reach"):
            if name in said:
                said[name] = ",".join(said[name])
        if self.accept_risk is not None:
            said["accept_risk"] = [] if self.accept_risk == ["none"] else list(self.accept_risk)
        return said


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Writing:
    """What every verb that changes something takes."""

    plan: bool = False
    why: str = ""


def build(function: Callable[..., Any]) -> App:
    """The reader of one verb. Help, version and errors are this program's own, not cyclopts'."""
    app = App(
        name="sekimori",
        help_flags=(),
        version_flags=(),
        default_parameter=Parameter(negative=(), parse=_FROM_THE_USER),
        result_action="return_value",
    )
    app.default(function)
    return app


def _said(terms: Lasting | Terms) -> dict[str, object]:
    pairs = ((one.name.rstrip("_"), getattr(terms, one.name)) for one in fields(terms))
    return {name: value for name, value in pairs if value is not None}
