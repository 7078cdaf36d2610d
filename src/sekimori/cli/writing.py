"""The verbs that change mappings: open, close, extend, pause, resume, edit, undo."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sekimori.cli.changes import describe_done, describe_plan, merge
from sekimori.cli.confirming import conclude
from sekimori.cli.farend import tell_of_far_end
from sekimori.cli.grammar import Lasting, Terms, Writing
from sekimori.cli.misuse import Misuse
from sekimori.cli.passwords import with_passwords
from sekimori.cli.session import Session
from sekimori.cli.text import clean, led_to, opened, who_may
from sekimori.model.errors import Problem

__all__ = ["close", "edit", "extend", "open_", "pause", "resume", "tell", "tell_opened", "undo"]

Outcome = Mapping[str, Any]

_EXAMPLE = "sekimori open 8080 --to 192.168.1.5:80 --for 2h"


def open_(
    ports: str | None = None,
    /,
    *,
    terms: Terms = Terms(),  # noqa: B008 - frozen
    writing: Writing = Writing(),  # noqa: B008 - frozen
    foreground: bool = False,
    session: Session,
) -> int:
    """Open a port and lead it to a target."""
    if not ports:
        raise Problem("missing", key="PORTS", example=_EXAMPLE)
    if not terms.to and not terms.trigger and not terms.socks:
        raise Problem("missing", key="--to", example=f"sekimori open {ports} --to 192.168.1.5")
    if foreground and writing.plan:
        raise Misuse("together", verb="open", text="--foreground", value="--plan")
    asked = with_passwords(session, {"ports": ports, **terms.said()}, "open")
    if foreground:
        from sekimori.cli.foreground import host

        return host(session, asked, writing.why)
    outcome = session.client.open(asked, plan=writing.plan, why=writing.why)
    code = tell(session, outcome, lambda: tell_opened(session, outcome))
    for view in () if outcome["planned"] else outcome["mappings"]:
        tell_of_far_end(session, view)
    return code


def close(
    *names: str,
    now: bool = False,
    writing: Writing = Writing(),  # noqa: B008 - frozen
    session: Session,
) -> int:
    """Close mappings; the live connections get their grace, or with `now` none."""
    if now and not writing.plan:
        _confirm_cut(session, names)
    return _each(
        session,
        "close",
        names,
        lambda ref: session.client.close(ref, now=now, plan=writing.plan, why=writing.why),
    )


def extend(
    name: str | None = None,
    duration: str | None = None,
    /,
    *,
    lasting: Lasting = Lasting(),  # noqa: B008 - frozen
    writing: Writing = Writing(),  # noqa: B008 - frozen
    session: Session,
) -> int:
    """Give a mapping more time: a duration on top, a new lifetime, or its length again."""
    ref = _needed(name, "extend")
    said = lasting.said()
    if duration is not None and said:
        raise Misuse("together", verb="extend", text="DURATION", value=f"--{next(iter(said))}")
    fields = {"add": duration} if duration is not None else said
    return tell(session, session.client.extend(ref, fields, plan=writing.plan, why=writing.why))


def pause(*names: str, writing: Writing = Writing(), session: Session) -> int:  # noqa: B008 - frozen
    """Stop admitting, keep the mapping."""
    return _set_paused(session, "pause", names, True, writing)


def resume(*names: str, writing: Writing = Writing(), session: Session) -> int:  # noqa: B008 - frozen
    """Admit again."""
    return _set_paused(session, "resume", names, False, writing)


def edit(
    name: str | None = None,
    /,
    *,
    ports: str | None = None,
    terms: Terms = Terms(),  # noqa: B008 - frozen
    writing: Writing = Writing(),  # noqa: B008 - frozen
    session: Session,
) -> int:
    """Change the words of a mapping that were given; leave the others."""
    ref = _needed(name, "edit")
    fields = {**terms.said(), **({} if ports is None else {"ports": ports})}
    if not fields:
        raise Misuse("nothing-to-change", verb="edit", text=ref)
    asked = with_passwords(session, fields, "edit")
    return tell(session, session.client.edit(ref, asked, plan=writing.plan, why=writing.why))


def undo(
    revision: str | None = None,
    /,
    *,
    for_: str | None = None,
    writing: Writing = Writing(),  # noqa: B008 - frozen
    session: Session,
) -> int:
    """Take a revision back."""
    number = None if revision is None else _number(revision, "undo", "REVISION")
    outcome = session.client.undo(number, for_, plan=writing.plan, why=writing.why)
    # To take an extension back is a change of the end, not an extension.
    return tell(session, outcome, lambda: describe_done(session, outcome, "undo"))


def tell(session: Session, outcome: Outcome, done: Callable[[], str] | None = None) -> int:
    """Answer with an outcome: the plan where it was one, otherwise what was done."""

    def human() -> str:
        if outcome["planned"]:
            return describe_plan(session, outcome["changes"])
        return done() if done is not None else describe_done(session, outcome)

    return conclude(session, outcome, human, outcomes=[outcome], notices=outcome.get("notices") or ())


def tell_opened(session: Session, outcome: Outcome, ending: str = "open.to-close") -> str:
    """One sentence: what is open, where it leads, for whom, until when, and how to close it.

    `ending` is the word for the last.
    """
    return "\n".join(line for view in outcome["mappings"] for line in _opened(session, view, ending))


def _opened(session: Session, view: Mapping[str, Any], ending: str) -> Iterable[str]:
    yield session.word(
        "open.done",
        name=view["name"],
        ports=opened({**view, "at": None}, session.options.language),
        where=_where(session, view),
        target=clean(led_to(view, session.options.language)),
        sources=who_may(view, session.options.language),
        until=clean(session.clock.until_phrase(view)),
        ending=session.word(ending, name=view["name"]),
    )
    status = view["status"]
    if status["state"] == "outside-hours" and view.get("opens_at"):
        yield session.word("open.opens-at", when=session.clock.when(view["opens_at"]))
    elif status["state"] == "failed" and status.get("problem"):
        yield session.word("open.failed", title=clean(str(status["problem"].get("title", ""))))
    elif status["state"] == "starting":
        yield session.word("open.starting")


def _where(session: Session, view: Mapping[str, Any]) -> str:
    """At which addresses of which machine it is open."""
    on, link = view.get("on"), view.get("at")
    if link:
        key = "open.far-end-at" if on else "open.far-end"
        return session.word(key, link=clean(str(link)), on=on)
    if str(view["ports"]).startswith("unix:/"):
        return session.word("open.here")
    return session.word("open.on-address", on=on) if on else session.word("open.everywhere")


def _set_paused(session: Session, verb: str, names: tuple[str, ...], paused: bool, writing: Writing) -> int:
    return _each(
        session,
        verb,
        names,
        lambda ref: session.client.edit(ref, paused=paused, plan=writing.plan, why=writing.why),
    )


def _each(session: Session, verb: str, names: tuple[str, ...], act: Callable[[str], Outcome]) -> int:
    """Do it to every name; one that fails does not keep the next from being tried."""
    if not names:
        raise Misuse("needs-argument", verb=verb, text="NAME")
    outcomes: list[Outcome] = []
    problems: list[Problem] = []
    for name in names:
        try:
            outcomes.append(act(name))
        except Problem as problem:
            problems.append(problem)
    whole = merge(outcomes)

    def human() -> str:
        if whole["planned"]:
            return describe_plan(session, whole["changes"])
        return "\n".join(describe_done(session, one) for one in outcomes)

    data = whole if outcomes else None
    return conclude(session, data, human, outcomes=outcomes, notices=whole["notices"], problems=problems)


def _confirm_cut(session: Session, names: tuple[str, ...]) -> None:
    """Ask before live connections are cut, where somebody is there to ask.

    Raises:
        Problem: `interrupted`, when the answer is no.
    """
    if not session.asks:
        return
    for name in names:
        view = session.client.get(name)
        count = view["counters"]["flows_active"]
        if count and not session.agrees(session.word("ask.cut", count=count, name=view["name"])):
            raise Problem("interrupted")


def _needed(name: str | None, verb: str) -> str:
    if not name:
        raise Misuse("needs-argument", verb=verb, text="NAME")
    return name


def _number(text: str, verb: str, what: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise Misuse("bad-value", verb=verb, text=what, value=text)
    return int(text)
