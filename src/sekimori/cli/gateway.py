"""The verbs that change the gateway: enable, disable."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any

from cyclopts import Parameter

from sekimori.cli.changes import describe_done
from sekimori.cli.confirming import conclude
from sekimori.cli.grammar import Writing
from sekimori.cli.session import Session
from sekimori.cli.text import clean
from sekimori.model.errors import Problem

__all__ = ["disable", "enable"]

Outcome = Mapping[str, Any]


def enable(
    *,
    masquerade: Annotated[bool | None, Parameter(negative="--no-masquerade")] = None,
    firewall: Annotated[bool | None, Parameter(negative="--no-firewall")] = None,
    writing: Writing = Writing(),  # noqa: B008 - frozen
    session: Session,
) -> int:
    """Make this machine a gateway, or change how it is one; each step is shown before it is done."""

    def ask(plan: bool) -> Outcome:
        return session.client.enable_gateway(masquerade, firewall, plan=plan, why=writing.why)

    return _carry_out(session, ask, plan=writing.plan)


def disable(*, writing: Writing = Writing(), session: Session) -> int:  # noqa: B008 - frozen
    """Take back everything that enabling did."""
    return _carry_out(
        session, lambda plan: session.client.disable_gateway(plan=plan, why=writing.why), plan=writing.plan
    )


def _carry_out(session: Session, ask: Callable[[bool], Outcome], *, plan: bool) -> int:
    if not plan:
        _confirm(session, ask)
    outcome = ask(plan)

    def human() -> str:
        if not outcome["changes"]:
            return session.word("plan.nothing" if outcome["planned"] else "done.nothing")
        head = session.word("plan.head") if outcome["planned"] else describe_done(session, outcome)
        return "\n".join([head, *_steps(outcome)])

    return conclude(session, outcome, human, outcomes=[outcome], notices=outcome.get("notices") or ())


def _confirm(session: Session, ask: Callable[[bool], Outcome]) -> None:
    """Show each step and ask, where somebody is there to ask.

    Raises:
        Problem: `interrupted`, when the answer is no.
    """
    if not session.asks:
        return
    planned = ask(True)
    if not planned["changes"]:
        return
    question = "\n".join([session.word("ask.gateway"), *_steps(planned)])
    if not session.agrees(f"{question}\n"):
        raise Problem("interrupted")


def _steps(outcome: Outcome) -> Iterator[str]:
    return (f"  - {clean(str(step['text']))}" for step in outcome.get("steps") or ())
