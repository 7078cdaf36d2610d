"""The verb that looks for what keeps packets from the mappings: doctor."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from sekimori.cli.grammar import Writing
from sekimori.cli.misuse import Misuse
from sekimori.cli.session import Session
from sekimori.cli.text import aligned, clean
from sekimori.model.errors import EXIT_CODES, Kind, Problem

__all__ = ["doctor"]

View = Mapping[str, Any]

_SEVERITIES: Final = {
    "error": ("×", "doctor.error"),
    "warning": ("!", "doctor.warning"),
    "notice": ("-", "doctor.notice"),
}
_CONFIDENCES: Final = {
    "certain": "doctor.certain",
    "likely": "doctor.likely",
    "possible": "doctor.possible",
}
_LISTED: Final = 5
"""Other mappings that the same rule keeps packets from, before they are only counted."""


def doctor(
    name: str | None = None,
    /,
    *,
    fix: bool = False,
    undo: bool = False,
    writing: Writing = Writing(),  # noqa: B008 - frozen
    session: Session,
) -> int:
    """Tell what keeps packets from a mapping, or from any; with `fix`, put it right."""
    if fix and undo:
        raise Misuse("together", verb="doctor", text="--fix", value="--undo")
    if undo:
        return _undo(session, name, writing)
    if fix:
        return _fix(session, name, writing)
    found = session.client.doctor(name)
    return session.answer(found, lambda: _page(session, found), code=_code(found))


def _fix(session: Session, name: str | None, writing: Writing) -> int:
    """Show the remedies, ask, carry out exactly those, and tell what is found after."""
    answer = session.client.fix(name, plan=True, why=writing.why)
    if not writing.plan:
        _confirm(session, answer["treated"], "doctor.would-do", "commands")
        answer = session.client.fix(name, _ids(answer), why=writing.why)
    problems = _problems(answer)

    def human() -> str:
        if not answer["treated"]:
            head = [session.word("doctor.no-remedy")] if _code(answer) else []
            return "\n\n".join([*head, _page(session, answer)])
        told = "doctor.would-do" if answer["planned"] else "doctor.done"
        return "\n".join(
            [*_treated(session, answer["treated"], told, "commands"), "", _page(session, answer)]
        )

    return session.answer(answer, human, problems=problems, code=_code(answer))


def _undo(session: Session, name: str | None, writing: Writing) -> int:
    """Show what would be taken back, ask, and take back exactly that."""
    answer = session.client.fix(name, plan=True, why=writing.why, undo=True)
    if not writing.plan:
        _confirm(session, answer["treated"], "doctor.would-undo", "undo")
        answer = session.client.fix(name, _ids(answer), why=writing.why, undo=True)
    problems = _problems(answer)

    def human() -> str:
        if not answer["treated"]:
            return session.word("doctor.none-stands")
        told = "doctor.would-undo" if answer["planned"] else "doctor.undone"
        return "\n".join(_treated(session, answer["treated"], told, "undo"))

    return session.answer(answer, human, problems=problems)


def _confirm(session: Session, remedies: Sequence[View], head: str, steps: str) -> None:
    """Show what would be done and ask, where somebody is there to ask.

    Raises:
        Problem: `interrupted`, when the answer is no.
    """
    if not remedies or not session.asks:
        return
    question = "\n".join(_treated(session, remedies, head, steps))
    if not session.agrees(f"{question}\n"):
        raise Problem("interrupted")


def _ids(answer: View) -> list[str]:
    return [str(each["id"]) for each in answer["treated"]]


def _problems(answer: View) -> list[Problem]:
    return [Problem.from_body(each["problem"]) for each in answer["treated"] if each.get("problem")]


def _code(found: View) -> int:
    """3 where something keeps packets from a mapping."""
    blocked = any(each["severity"] == "error" for each in found["findings"])
    return EXIT_CODES[Kind.ANSWER_NO] if blocked else 0


def _treated(session: Session, remedies: Iterable[View], head: str, steps: str) -> Iterator[str]:
    for each in remedies:
        if not each.get("problem"):
            yield session.word(head, owner=each["owner"])
            yield from (f"  {line}" for line in _steps(each, steps))


def _steps(remedy: View, steps: str) -> Iterator[str]:
    sign = "-" if steps == "undo" else "+"
    for file in remedy["files"]:
        for line in str(file["text"]).splitlines():
            yield clean(f"{sign} {file['path']}: {line}")
    for command in remedy[steps]:
        yield clean(f"$ {shlex.join(command)}")


def _page(session: Session, found: View) -> str:
    groups = _grouped(found["findings"])
    blocks = ["\n".join(_block(session, group)) for group in groups]
    blocks.append("\n".join(_ending(session, found)))
    return "\n\n".join(blocks)


def _grouped(findings: Iterable[View]) -> list[list[View]]:
    """Findings of one rule together: it says the same of every mapping that it stops."""
    groups: dict[object, list[View]] = {}
    for number, each in enumerate(findings):
        evidence, remedy = each["evidence"], each["remedy"]
        rule = tuple(sorted(evidence.items())) if evidence else number
        groups.setdefault((each["code"], rule, remedy and remedy["id"]), []).append(each)
    return list(groups.values())


def _block(session: Session, group: Sequence[View]) -> Iterator[str]:
    first, *others = group
    language = session.options.language
    shape, severity = _SEVERITIES[first["severity"]]
    sure = session.word(_CONFIDENCES[first["confidence"]])
    whose = first["mapping"] or session.word("doctor.machine")
    yield clean(f"{shape} {session.word(severity)}: {whose}  [{first['code']}, {sure}]")
    yield clean(f"  {_translated(first['title'], language)}")
    lines = aligned((session.word(key), clean(text)) for key, text in _rows(session, first, others) if text)
    yield from (f"    {line}" for line in lines.splitlines())
    if first["remedy"]:
        yield from (f"      {line}" for line in _steps(first["remedy"], "commands"))


def _rows(session: Session, first: View, others: Sequence[View]) -> Iterator[tuple[str, str]]:
    language = session.options.language
    named = [f"{each['mapping'] or ''} ({each['subject']})" for each in others]
    more = f" +{len(named) - _LISTED}" if len(named) > _LISTED else ""
    yield "doctor.also", ", ".join(dict.fromkeys(named[:_LISTED])) + more
    if evidence := first["evidence"]:
        where = session.word("doctor.where", **evidence)
        handle = session.word("doctor.handle", **evidence) if evidence["handle"] else ""
        yield "doctor.rule", ", ".join(filter(None, [where, handle]))
    yield "doctor.to-do", _translated(first["fix"], language)
    if remedy := first["remedy"]:
        yield "doctor.remedy", _translated(remedy["explains"], language)


def _ending(session: Session, found: View) -> Iterator[str]:
    counts = {"examined": found["examined"], "total": found["mappings"]}
    severities = [each["severity"] for each in found["findings"]]
    errors, warnings = severities.count("error"), severities.count("warning")
    if errors or warnings:
        yield session.word("doctor.sum", errors=errors, warnings=warnings, **counts)
    else:
        yield session.word("doctor.clean", **counts)
    if any(each["remedy"] for each in found["findings"]):
        yield session.word("doctor.to-fix")
    for each in found["remedies"]:
        names = clean(", ".join(each["mappings"])) or session.word("doctor.machine")
        when = session.clock.when(each["at"])
        yield session.word("doctor.stands", owner=each["owner"], when=when, mappings=names)


def _translated(texts: Mapping[str, str], language: str) -> str:
    return texts.get(language) or texts.get("en", "")
