"""What the process of a link says of itself, as values. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sekimori.model.causes import cause
from sekimori.model.errors import Problem
from sekimori.model.link import Link, LinkPhase
from sekimori.model.linkfacts import LinkFacts
from sekimori.model.messages import MESSAGES

__all__ = ["read_problem", "read_state", "start_frame", "why_down"]


def start_frame(link: Link) -> dict[str, Any]:
    """What the process of a link is told of it."""
    document = link.to_document()
    return {"op": "start", **{key: document[key] for key in _STARTED}}


_STARTED = ("name", "place", "jump", "identity", "config", "host_keys", "connections")


def read_state(frame: Mapping[str, Any], before: LinkFacts) -> LinkFacts:
    """A `state` frame. What it does not tell is as it was before.

    Raises:
        KeyError, TypeError, ValueError: it is none.
    """
    phase = LinkPhase(frame["phase"])
    rtt, sekimori, server = frame.get("rtt"), frame.get("sekimori"), frame.get("server")
    return replace(
        before,
        phase=phase,
        since=float(frame["since"]),
        why=read_problem(frame) if frame.get("code") and phase is not LinkPhase.UP else None,
        next_try=frame.get("next"),
        rtt=before.rtt if rtt is None else float(rtt),
        server=server or before.server,
        algorithms=dict(frame.get("algorithms") or before.algorithms),
        sekimori=before.sekimori if sekimori is None else bool(sekimori),
    )


def read_problem(frame: Mapping[str, Any]) -> Problem:
    """The problem that a frame tells by `code` and `facts`."""
    code, facts = frame["code"], frame.get("facts") or {}
    if code not in MESSAGES:
        return Problem("unexpected", what=f"{code}: {facts}")
    return Problem(code, **facts)


def why_down(facts: LinkFacts) -> Problem | None:
    """Why nothing goes through a link now; None where it is up.

    What another try does not mend is told as it is; anything else as `link-down`, which passes.
    """
    if facts.phase is LinkPhase.UP:
        return None
    if facts.phase is LinkPhase.REFUSED and facts.why is not None:
        return facts.why
    why = cause("link-connecting") if facts.why is None else facts.why.titles
    return Problem("link-down", link=facts.name, why=why)
