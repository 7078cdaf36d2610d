"""The verbs of the doors at which others ask, and of the rules for devices: door, router adopt, router ls."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sekimori.cli.grammar import Lasting, Writing
from sekimori.cli.granting import Granting
from sekimori.cli.misuse import Misuse
from sekimori.cli.session import Session
from sekimori.cli.text import clean, one_line
from sekimori.cli.writing import tell

__all__ = ["adopt", "allow", "deny", "disable", "enable", "forget", "leases", "ls", "rules"]

_DOORS: Final = ("igd", "portmap", "ssh")
_VERSIONS: Final = ("1", "2")
_NONCES: Final = ("same-source", "strict")
_HIGHEST: Final = (1 << 31) - 1


def ls(*, session: Session) -> int:
    """The doors at which others may ask, where they answer or why not, and whom they refused lately."""
    view = session.client.doors()

    def human() -> str:
        from sekimori.cli.tables_doors import draw_doors, draw_refusals

        parts = [draw_doors(session, view["doors"])]
        for door in view["doors"]:
            parts += _problems(session, door)
            parts += _about_ssh(session, door) if door["name"] == "ssh" and door["enabled"] else []
        if not any(door["enabled"] for door in view["doors"]):
            parts += ["", session.word("door.all-shut")]
        if refusals := view.get("refusals"):  # an older daemon has none to tell
            parts += ["", session.word("door.refused"), draw_refusals(session, refusals)]
        return "\n".join(parts)

    return session.answer(view, human)


def enable(
    *doors: str,
    on: list[str] | None = None,
    igd_version: str | None = None,
    nonce: str | None = None,
    authorized_keys: str | None = None,
    ports_on: list[str] | None = None,
    granting: Granting = Granting(),  # noqa: B008 - frozen
    writing: Writing = Writing(),  # noqa: B008 - frozen
    session: Session,
) -> int:
    """Let devices ask at doors, or SSH clients; or change how those answer."""
    names = _read_doors(doors, "door enable")
    _check("door enable", "--igd-version", igd_version, _VERSIONS)
    _check("door enable", "--nonce", nonce, _NONCES)
    if "ssh" in names and len(names) > 1 and on is not None:
        # Devices ask on interfaces, SSH clients at an address and port.
        other = next(name for name in names if name != "ssh")
        raise Misuse("together", verb="door enable", text="ssh", value=f"{other} --on")
    own: dict[str, dict[str, object]] = {
        "igd": {} if igd_version is None else {"version": int(igd_version)},
        "portmap": {} if nonce is None else {"nonce": nonce},
        "ssh": _ssh_terms(authorized_keys, granting.said(ports_on)),
    }
    flags = {"igd": "--igd-version", "portmap": "--nonce", "ssh": _ssh_flag(own["ssh"])}
    for name, flag in flags.items():
        if own[name] and name not in names:
            raise Misuse("of-door", verb="door enable", text=flag, value=name)
    wanted = {name: {**_where(name, on), **own[name]} for name in names}
    return tell(session, session.client.change_doors(wanted, plan=writing.plan, why=writing.why))


def disable(*doors: str, writing: Writing = Writing(), session: Session) -> int:  # noqa: B008 - frozen
    """Let nobody ask at doors any more; what was leased there stands until its end."""
    shut = dict.fromkeys(_read_doors(doors, "door disable"))
    return tell(session, session.client.change_doors(shut, plan=writing.plan, why=writing.why))


def rules(*, session: Session) -> int:
    """Which devices may open which ports by themselves; the first rule that fits decides."""
    view = session.client.permissions()

    def human() -> str:
        from sekimori.cli.tables_doors import draw_rules

        head = [] if view["written"] else [session.word("rules.usual"), ""]
        listed = [draw_rules(session, view["rules"]), ""] if view["rules"] else []
        rest = [session.word("rules.rest" if view["rules"] else "rules.none")]
        if any(rule["allow"] for rule in view["rules"]):
            rest.append(session.word("rules.unsaid", **_usual()))
        return "\n".join([*head, *listed, *rest])

    return session.answer(view, human)


def allow(
    who: str | None = None,
    protocols: str | None = None,
    /,
    *,
    outside: str | None = None,
    inside: str | None = None,
    most: str | None = None,
    for_: str | None = None,
    others: bool = False,
    matching: str | None = None,
    at: str | None = None,
    writing: Writing = Writing(),  # noqa: B008 - frozen
    session: Session,
) -> int:
    """Let devices open ports by themselves."""
    said = {"outside": outside, "inside": inside, "most": most, "for": for_}
    rule = _rule("allow", who, protocols, said, others=others, matching=matching)
    return _add(session, "door allow", rule, at, writing)


def deny(
    who: str | None = None,
    protocols: str | None = None,
    /,
    *,
    outside: str | None = None,
    inside: str | None = None,
    matching: str | None = None,
    at: str | None = None,
    writing: Writing = Writing(),  # noqa: B008 - frozen
    session: Session,
) -> int:
    """Keep devices from opening ports by themselves."""
    said = {"outside": outside, "inside": inside}
    rule = _rule("deny", who, protocols, said, others=False, matching=matching)
    return _add(session, "door deny", rule, at, writing)


def forget(number: str | None = None, /, *, writing: Writing = Writing(), session: Session) -> int:  # noqa: B008 - frozen
    """Take a rule away; those after it move up."""
    if not number:
        raise Misuse("needs-argument", verb="door forget", text="NUMBER")
    which = _number(number, "door forget", "NUMBER")
    outcome = session.client.forget_permission(which, plan=writing.plan, why=writing.why)
    return tell(session, outcome)


def leases(*, session: Session) -> int:
    """What devices opened by themselves: who, what for, for how long still, and when it was last used."""
    views = [view for view in session.client.mappings() if view.get("lease")]

    def human() -> str:
        if not views:
            return session.word("leases.empty")
        from sekimori.cli.tables_doors import draw_leases

        return draw_leases(session, views)

    return session.answer({"leases": views}, human)


def adopt(
    name: str | None = None,
    /,
    *,
    lasting: Lasting = Lasting(),  # noqa: B008 - frozen
    writing: Writing = Writing(),  # noqa: B008 - frozen
    session: Session,
) -> int:
    """Make a lease your own mapping: its device can no longer change or end it."""
    if not name:
        raise Misuse("needs-argument", verb="router adopt", text="NAME")
    outcome = session.client.adopt(name, lasting.said(), plan=writing.plan, why=writing.why)
    return tell(session, outcome)


def _where(name: str, on: list[str] | None) -> dict[str, object]:
    if on is None:
        return {}
    return {"listen" if name == "ssh" else "interfaces": _split(on)}


def _ssh_terms(authorized_keys: str | None, grant: dict[str, Any]) -> dict[str, object]:
    terms: dict[str, object] = {"grant": grant} if grant else {}
    if authorized_keys is not None:
        file = os.path.abspath(os.path.expanduser(authorized_keys))
        terms["authorized_keys"] = "" if authorized_keys in ("", "none") else file
    return terms


def _ssh_flag(terms: Mapping[str, Any]) -> str:
    """The flag that was said of those that only ssh has."""
    words = [*terms.get("grant", ()), "authorized-keys"]
    return f"--{str(words[0]).replace('_', '-')}" if words[0] != "on" else "--ports-on"


def _about_ssh(session: Session, door: Mapping[str, Any]) -> list[str]:
    """The door's own keys, for who connects to compare; what keys of its file may do; who is connected."""
    lines = [session.word("door.host-key", text=one_line(key)) for key in door["host_keys"]]
    if door["authorized_keys"]:
        ports = door["grant"]["ports"] if door["grant"] else ""
        file = {
            "file": clean(door["authorized_keys"]),
            "ports": clean(ports) or session.word("grant.no-ports"),
        }
        lines.append(session.word("door.key-file", **file))
    for refused in door.get("keys_refused", ()):
        lines.append(f"{one_line(refused['place'])}: {one_line(refused['problem']['title'])}")
        lines.append(f"  {one_line(refused['problem']['detail'])}")
    if door["sessions"]:
        from sekimori.cli.tables_links import draw_sessions

        lines += ["", draw_sessions(session, door["sessions"])]
    return ["", *lines] if lines else []


def _problems(session: Session, door: Mapping[str, Any]) -> list[str]:
    return [
        one_line(f"{door['name']} ({place['interface']}): {place['problem']['title']}")
        + f"\n  {one_line(str(place['problem']['detail']))}"
        for place in door["interfaces"]
        if place["problem"]
    ]


def _usual() -> dict[str, str]:
    """What a rule to allow means where it does not say otherwise."""
    from sekimori.model.lifetime import format_duration
    from sekimori.model.permission import UNPRIVILEGED, USUAL

    longest = format_duration(USUAL.longest)
    return {"ports": str(UNPRIVILEGED), "most": str(USUAL.most), "longest": longest}


def _read_doors(doors: Sequence[str], verb: str) -> tuple[str, ...]:
    if not doors:
        raise Misuse("needs-argument", verb=verb, text="DOOR")
    for name in doors:
        _check(verb, "DOOR", name, _DOORS)
    return tuple(dict.fromkeys(doors))


def _check(verb: str, what: str, value: str | None, known: Sequence[str]) -> None:
    if value is not None and value not in known:
        raise Misuse("one-of", verb=verb, text=what, value=value, known=", ".join(known))


def _split(texts: Sequence[str]) -> list[str]:
    return [each.strip() for text in texts for each in text.split(",") if each.strip()]


def _rule(
    verdict: str,
    who: str | None,
    protocols: str | None,
    said: Mapping[str, str | None],
    *,
    others: bool,
    matching: str | None,
) -> str:
    """The rule in the words the daemon reads; a value that would be read as more than one is refused."""
    verb = f"door {verdict}"
    if not who:
        raise Misuse("needs-argument", verb=verb, text="WHO")
    words = [verdict, _one(verb, "WHO", who)]
    if protocols is not None:
        words.append(_one(verb, "PROTOCOLS", protocols))
    for key, value in said.items():
        if value is not None:
            words += [key, _one(verb, f"--{key}", value)]
    words += ["others"] if others else []
    return " ".join(words) + ("" if matching is None else f' matching "{matching}"')


def _one(verb: str, what: str, value: str) -> str:
    if not value or any(sign.isspace() or sign == '"' for sign in value):
        raise Misuse("bad-value", verb=verb, text=what, value=value)
    return value


def _add(session: Session, verb: str, rule: str, at: str | None, writing: Writing) -> int:
    place = None if at is None else _number(at, verb, "--at")
    outcome = session.client.add_permission(rule, place, plan=writing.plan, why=writing.why)
    return tell(session, outcome)


def _number(text: str, verb: str, what: str) -> int:
    if not (text.isascii() and text.isdecimal()) or not 0 < int(text[:11]) <= _HIGHEST:
        raise Misuse("bad-value", verb=verb, text=what, value=text)
    return int(text)
