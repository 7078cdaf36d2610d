"""The verbs of links: link add, ls, show, rm, test."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from sekimori.cli.grammar import Writing
from sekimori.cli.misuse import Misuse
from sekimori.cli.session import Session
from sekimori.cli.text import aligned, clean, laid, one_line, span
from sekimori.cli.words import has_word, word
from sekimori.cli.writing import tell
from sekimori.model.errors import Problem

__all__ = ["add", "ls", "put", "remove", "show", "tell_trusted", "try_"]

View = Mapping[str, Any]

_UNKNOWN: Final = "host-key-unknown"
_TRUSTED: Final = {"known": "link.known", "confirmed": "link.confirmed"}
_OF_KEY: Final = ("place", "fingerprint")


class _Unconfirmed(Problem):
    """A host key that nobody has confirmed, with the command that does."""

    def __init__(self, problem: Problem, command: str) -> None:
        self._command = command
        super().__init__(problem.code, **problem.facts)

    def fix(self, language: str = "en") -> str:
        return word("link.compared", language, command=self._command)


def ls(*, session: Session) -> int:
    """Every link: where it leads, how it is, and what goes through it."""
    links = session.client.links()

    def human() -> str:
        if not links:
            return session.word("link.none")
        from sekimori.cli.tables_links import draw_links

        troubles = [line for link in links if link["problem"] for line in _trouble(session, link)]
        return "\n".join([draw_links(session, links), *troubles])

    return session.answer({"links": links}, human)


def show(name: str | None = None, /, *, session: Session) -> int:
    """Everything about one link."""
    link = session.client.link(_needed(name, "link show", "NAME"))
    rows = [(session.word(f"field.{key}"), clean(text)) for key, text in _rows(session, link) if text]
    return session.answer(link, lambda: laid(rows))


def add(
    name: str | None = None,
    place: str | None = None,
    /,
    *,
    identity: list[str] | None = None,
    jump: list[str] | None = None,
    ssh_config: str | None = None,
    host_key: list[str] | None = None,
    connections: str | None = None,
    writing: Writing = Writing(),  # noqa: B008 - frozen
    session: Session,
) -> int:
    """Add a link, or change it; its host key is shown and asked about, unless it is known or was said."""
    called = _needed(name, "link add", "NAME")
    said = {
        "to": place,
        "jump": None if jump is None else _unless_none(_split(jump)),
        "identity": None if identity is None else [_absolute(file) for file in _unless_none(identity)],
        "config": ssh_config if ssh_config in (None, "", "none") else _absolute(ssh_config),
        "connections": None if connections is None else _number(connections, "link add", "--connections"),
    }
    fields = {key: value for key, value in said.items() if value is not None}
    outcome = put(session, called, fields, host_key or (), writing)
    if outcome["planned"]:
        return tell(session, outcome)
    tested = session.client.test_link(called)
    whole = {**outcome, "test": tested}

    def human() -> str:
        from sekimori.cli.changes import describe_done

        trusted = tell_trusted(session, outcome["shown"])
        return "\n".join([describe_done(session, outcome), *trusted, _told(session, called, tested)])

    # That it cannot be reached now is no reason not to have it: it is tried again by itself.
    return session.answer(whole, human, notices=outcome["notices"])


def remove(name: str | None = None, /, *, writing: Writing = Writing(), session: Session) -> int:  # noqa: B008 - frozen
    """Remove a link that nothing goes through."""
    which = _needed(name, "link rm", "NAME")
    return tell(session, session.client.remove_link(which, plan=writing.plan, why=writing.why))


def try_(name: str | None = None, /, *, session: Session) -> int:
    """Connect once, and see what may be done there; exit code 3 when that is nothing."""
    which = _needed(name, "link test", "NAME")
    tested = session.client.test_link(which)
    useful = tested["ok"] and (tested["local"] is not False or tested["remote"] is not False)
    return session.answer(tested, lambda: _told(session, which, tested), code=0 if useful else 3)


def put(
    session: Session,
    name: str,
    fields: Mapping[str, object],
    keys: Iterable[str],
    writing: Writing,
    command: Callable[[Sequence[str]], str] | None = None,
) -> Mapping[str, Any]:
    """Add a link; ask whoever sits at the terminal about keys that nobody has confirmed.

    `command` writes the command that names host keys, where it is not `link add`.

    Raises:
        Problem: `host-key-unknown` where nobody can be asked, `interrupted` where the answer is no; and what
            the daemon refuses.
    """
    said = list(keys)
    while True:
        try:
            return session.client.put_link(
                name, {**fields, "host_keys": said}, plan=writing.plan, why=writing.why
            )
        except Problem as problem:
            if problem.code != _UNKNOWN:
                raise
            shown = _shown(problem)
            if not session.asks or any(key["fingerprint"] in said for key in shown):
                named = [*said, shown[0]["fingerprint"]]
                again = _command(name, fields, named) if command is None else command(named)
                raise _Unconfirmed(problem, again) from None
            said += _confirm(session, shown)


def _shown(problem: Problem) -> list[Mapping[str, str]]:
    keys = problem.facts.get("keys")
    told: list[Mapping[str, str]] = keys if isinstance(keys, list) else []
    return told or [{key: str(problem.facts.get(key)) for key in ("place", "algorithm", "fingerprint")}]


def _confirm(session: Session, keys: Sequence[Mapping[str, str]]) -> list[str]:
    """Show fingerprints and ask whether they are the server's.

    Raises:
        Problem: `interrupted`, when the answer is no.
    """
    lines = [f"  {one_line(key['algorithm'])} {one_line(key['fingerprint'])}" for key in keys]
    place = one_line(keys[0]["place"])
    question = "\n".join([session.word("link.unknown", place=place), *lines, session.word("link.compare")])
    if not session.agrees(question, "ask.same"):
        raise Problem("interrupted")
    return [key["fingerprint"] for key in keys]


def _command(name: str, fields: Mapping[str, object], keys: Iterable[str]) -> str:
    """The exact command that says the keys, for who has compared them."""
    flags = {
        "jump": "--jump",
        "identity": "--identity",
        "config": "--ssh-config",
        "connections": "--connections",
    }
    words = ["sekimori", "link", "add", name, *([str(fields["to"])] if "to" in fields else [])]
    for key, flag in flags.items():
        value = fields.get(key)
        for one in value if isinstance(value, list) else [] if value is None else [value]:
            words += [flag, str(one)]
    for each in keys:
        words += ["--host-key", each]
    return shlex.join(words)


def tell_trusted(session: Session, shown: Iterable[Mapping[str, str]]) -> list[str]:
    """A line for each host key that was taken because somebody here trusts it already."""
    return [
        session.word(_TRUSTED[key["standing"]], **{name: one_line(str(key[name])) for name in _OF_KEY})
        for key in shown
        if key["standing"] in _TRUSTED
    ]


def _told(session: Session, name: str, tested: View) -> str:
    """What a test came to: a head, and what may be done a line each."""
    if not tested["ok"]:
        problem = tested["problem"]
        return session.word("link.not-now", name=name, why=one_line(problem["title"])) + _fix(problem)
    facts = [one_line(tested["server"]), _milliseconds(tested["rtt"])]
    head = session.word("link.works", name=name, how=", ".join(filter(None, facts)))
    yes = session.word("say.yes")

    def answer(may: bool | None, why: str) -> str:
        if may is None:
            return session.word("link.untried")
        return (
            yes if may else f"{session.word('say.no')} ({one_line(why)})" if why else session.word("say.no")
        )

    local, remote = (answer(tested[key], tested[f"{key}_why"]) for key in ("local", "remote"))
    if tested["sekimori"] and tested["local"] is None:
        local = session.word("link.as-granted")
    if tested["remote"] and tested.get("outside") is False:
        remote = session.word("link.loopback-only")
    rows = [
        ("link.local", local),
        ("link.remote", remote),
        ("link.udp", yes if tested["sekimori"] else session.word("link.no-udp")),
        ("field.algorithms", _algorithms(tested)),
    ]
    return "\n".join([head, aligned((f"  {session.word(key)}", text) for key, text in rows if text)])


def _fix(problem: View) -> str:
    return f"\n  {one_line(problem['detail'])}" if problem.get("detail") else ""


def _rows(session: Session, link: View) -> Iterator[tuple[str, str]]:
    clock = session.clock
    yield "name", link["name"]
    yield "place", link["to"]
    yield "jump", ", ".join(link["jump"])
    yield "state", _state(session, link)
    if problem := link["problem"]:
        yield "problem", one_line(problem["title"])
        yield "fix", one_line(problem["detail"])
    if link["next_try"]:
        yield "next_try", f"{clock.when(link['next_try'])} ({clock.left(link['next_try'])})"
    yield "rtt", _milliseconds(link["rtt"])
    yield "server", one_line(link["server"])
    if link["sekimori"] is not None:
        yield "sekimori", session.word("say.yes") if link["sekimori"] else session.word("link.no-udp")
    yield "algorithms", _algorithms(link)
    yield "flows", str(link["flows"])
    yield "mappings", ", ".join(link["mappings"])
    for key in link["host_keys"]:
        place = f" ({key['place']})" if key["place"] != link["to"] else ""
        yield "host_key", f"{key['algorithm']} {key['fingerprint']}{place}"
    yield "identity", ", ".join(link["identity"])
    yield "ssh_config", link["config"]
    yield "connections", str(link["connections"]) if link["connections"] > 1 else ""
    yield "owner", str(link["owner"]).partition(":")[2]
    yield "managed_by", link["managed_by"] or ""
    yield "created", clock.when(link["created_at"])


def _state(session: Session, link: View) -> str:
    phase = link["phase"]
    state = session.word(f"phase.{phase}") if has_word(f"phase.{phase}") else one_line(phase)
    if not link["since"]:
        return state
    return session.word("show.since", state=state, when=session.clock.when(link["since"]))


def _trouble(session: Session, link: View) -> Iterator[str]:
    yield f"{link['name']}: {one_line(link['problem']['title'])}"
    if detail := link["problem"].get("detail"):
        yield f"  {one_line(detail)}"
    if link["next_try"]:
        yield "  " + session.word("link.again", when=session.clock.left(link["next_try"]))


def _algorithms(view: View) -> str:
    names = view["algorithms"]
    return ", ".join(
        one_line(str(names[key])) for key in ("kex", "cipher", "mac", "host_key") if names.get(key)
    )


def _milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1000:.3g} ms" if seconds < 1 else span(seconds, "en")


def _absolute(file: str) -> str:
    return os.path.abspath(os.path.expanduser(file))


def _unless_none(texts: list[str]) -> list[str]:
    """Nothing where `none` or an empty text says so: what a link had of it is taken away."""
    return [] if texts in (["none"], [""]) else texts


def _split(texts: Iterable[str]) -> list[str]:
    return [each.strip() for text in texts for each in text.split(",") if each.strip()]


def _needed(text: str | None, verb: str, what: str) -> str:
    if not text:
        raise Misuse("needs-argument", verb=verb, text=what)
    return text


def _number(text: str, verb: str, what: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 6):
        raise Misuse("bad-value", verb=verb, text=what, value=text)
    return int(text)
