"""The verb that takes over another program's configuration: import."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sekimori.cli.changes import describe_done, describe_plan
from sekimori.cli.confirming import conclude
from sekimori.cli.filing import read_named
from sekimori.cli.grammar import FileName, Writing
from sekimori.cli.misuse import Misuse
from sekimori.cli.session import Session
from sekimori.model.errors import Problem

__all__ = ["import_"]


def import_(
    file: FileName = None,
    /,
    *,
    writing: Writing = Writing(),  # noqa: B008 - frozen
    session: Session,
) -> int:
    """Open the doors that a miniupnpd.conf opens, by its rules; what was left out is told."""
    if not file:
        raise Misuse("needs-argument", verb="import", text="FILE")
    name, text = read_named("import", file)
    if not writing.plan:
        _confirm(session, name, text or "")
    outcome = session.client.import_miniupnpd(name, text or "", plan=writing.plan, why=writing.why)

    def human() -> str:
        if outcome["planned"]:
            return describe_plan(session, outcome["changes"])
        return describe_done(session, outcome)

    return conclude(session, outcome, human, outcomes=[outcome], notices=_notices(outcome))


def _confirm(session: Session, name: str | None, text: str) -> None:
    """Show what would change and ask, where somebody is there to ask.

    Raises:
        Problem: `interrupted`, when the answer is no.
    """
    if not session.asks:
        return
    planned = session.client.import_miniupnpd(name, text, plan=True)
    if not planned["changes"]:
        return
    said = [session.word("say.notice", text=each["text"]) for each in _notices(planned)]
    if not session.agrees("\n".join([describe_plan(session, planned["changes"]), *said, ""])):
        raise Problem("interrupted")


def _notices(outcome: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [*(outcome.get("notices") or ()), *(outcome.get("skipped") or ())]
