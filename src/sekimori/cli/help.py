"""The help, written from the words and from what cyclopts will really read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from sekimori.cli.options import GLOBAL_FLAGS
from sekimori.cli.text import wide, wrapped
from sekimori.cli.verbs import GROUPS, NOUNS, VERBS, verbs_of
from sekimori.cli.words import EXAMPLES, has_word, word

__all__ = ["flags_of", "write_help", "write_overview"]

_METAVARS: Final = {
    "name": "NAME",
    "ports": "PORTS",
    "to": "TARGET",
    "from": "WHO",
    "for": "DURATION",
    "until": "TIME",
    "permanent": "REASON",
    "hours": "DAYS/TIMES",
    "on": "WHERE",
    "via": "PLANE|LINK",
    "open/at": "LINK",
    "edit/at": "LINK",
    "socks_user": "NAME|@FILE",
    "reach": "WHERE",
    "limit": "RATE",
    "limit_total": "RATE",
    "max_connections": "N",
    "proxy_protocol": "1|2",
    "idle": "DURATION",
    "trigger": "PORTS",
    "hold": "DURATION",
    "except": "PORTS",
    "accept_risk": "NAME",
    "why": "TEXT",
    "history/limit": "N",
    "before": "REVISION",
    "config": "FILE",
    "state_dir": "DIR",
    "door enable/on": "WHERE",
    "ports_on": "ADDRESS",
    "authorized_keys": "FILE",
    "user add/on": "ADDRESS",
    "user edit/on": "ADDRESS",
    "quota": "SIZE",
    "quota_every": "DURATION",
    "sessions": "N",
    "user add/most": "N",
    "user edit/most": "N",
    "identity": "FILE",
    "jump": "PLACE",
    "ssh_config": "FILE|none",
    "host_key": "KEY",
    "connections": "N",
    "options": "OPTIONS",
    "local": "[BIND:]PORT:HOST:PORT",
    "remote": "[BIND:]PORT:HOST:PORT",
    "dynamic": "[BIND:]PORT",
    "port": "PORT",
    "login": "USER",
    "share/via": "LINK",
    "igd_version": "1|2",
    "nonce": "same-source|strict",
    "outside": "PORTS",
    "inside": "PORTS",
    "most": "N|any",
    "matching": "REGEX",
    "at": "N",
}
"""What a flag's value is called, the same in every language."""

_WIDTH: Final = 80
_Row = tuple[str, str]


def write_overview(language: str) -> str:
    """The help of the whole program."""
    usage = ["sekimori", word("help.command", language), word("help.options-short", language)]
    blocks = [word("help.head", language), f"{word('help.usage', language)}: {' '.join(usage)}"]
    for group in GROUPS:
        rows = [(name, word(f"help.verb.{name}", language)) for name in VERBS if _stands_in(name, group)]
        rows += [(noun, _about(noun, language)) for noun, its_group in NOUNS.items() if its_group == group]
        blocks.append(_block(word(f"help.{group}", language), rows, 10))
    blocks += [_everywhere(language, 10), _examples("", language), word("help.more", language)]
    return "\n\n".join(blocks)


def write_help(verb: str, language: str) -> str:
    """The help of one verb, or of a noun."""
    if verb in NOUNS:
        return _write_noun(verb, language)
    entry = VERBS[verb]
    usage = " ".join(filter(None, ["sekimori", verb, entry.arguments, word("help.options-short", language)]))
    summary = word(f"help.verb.{verb}", language)
    blocks = [f"{word('help.usage', language)}: {usage}", f"  {summary[0].upper()}{summary[1:]}"]
    arguments, flags = flags_of(verb)
    rows = [(_called(verb, name), _meaning("argument", verb, name, language)) for name in arguments]
    rows += [(_flag(verb, name, takes), _meaning("flag", verb, name, language)) for name, takes in flags]
    if rows:
        blocks.append(_block(word("help.options", language), rows))
    blocks.append(_everywhere(language, 24))
    if verb in EXAMPLES:
        blocks.append(_examples(verb, language))
    return "\n\n".join(blocks)


def _write_noun(noun: str, language: str) -> str:
    usage = " ".join(["sekimori", noun, word("help.command", language), word("help.options-short", language)])
    rows = [(verb, word(f"help.verb.{noun} {verb}", language)) for verb in verbs_of(noun)]
    blocks = [
        f"{word('help.usage', language)}: {usage}",
        _block(word("help.noun", language), rows, 10),
        _everywhere(language, 10),
        word("help.more", language),
    ]
    return "\n\n".join(blocks)


def _stands_in(name: str, group: str) -> bool:
    """Whether a verb has a line of its own under a heading; those of a noun share the noun's."""
    return " " not in name and VERBS[name].group == group


def _about(noun: str, language: str) -> str:
    return word(f"help.noun.{noun}", language, verbs=", ".join(verbs_of(noun)))


def flags_of(verb: str) -> tuple[list[str], list[tuple[str, bool]]]:
    """The names of a verb's arguments; and of its flags, with whether each takes a value."""
    from sekimori.cli.grammar import build
    from sekimori.cli.main import load

    arguments: list[str] = []
    flags: list[tuple[str, bool]] = []
    for one in build(load(verb)).assemble_argument_collection():
        if not one.parse or one.name == "*":
            continue
        if one.name.startswith("--"):
            switch = one.hint in (bool, bool | None)
            flags.append((one.name.removeprefix("--").replace("-", "_"), not switch))
        else:
            arguments.append(one.name.lower())
    return arguments, flags


def _called(verb: str, argument: str) -> str:
    """An argument as the usage line writes it."""
    shown = [part.strip("[].") for part in VERBS[verb].arguments.split()]
    return shown[flags_of(verb)[0].index(argument)]


def _flag(verb: str, name: str, takes_value: bool) -> str:
    text = _spelled(verb, f"--{name.replace('_', '-')}")
    return f"{text} {_METAVARS.get(f'{verb}/{name}', _METAVARS.get(name, 'VALUE'))}" if takes_value else text


def _spelled(verb: str, name: str) -> str:
    """A flag, with its one letter before it where it has one."""
    from sekimori.cli.grammar import build
    from sekimori.cli.main import load

    names = next(one.names for one in build(load(verb)).assemble_argument_collection() if name in one.names)
    return ", ".join([*(each for each in names if not each.startswith("--")), name])


def _meaning(kind: str, verb: str, name: str, language: str) -> str:
    own = f"help.{kind}.{verb}.{name}"
    return word(own if has_word(own) else f"help.{kind}.{name}", language)


def _everywhere(language: str, column: int) -> str:
    rows = [
        (f"--{name} {value}" if value else f"--{name}", word(f"help.flag.{name}", language))
        for name, value in GLOBAL_FLAGS.items()
    ]
    return _block(word("help.everywhere", language), rows, max(column, 14))


def _examples(verb: str, language: str) -> str:
    return "\n".join([f"{word('help.examples', language)}:", *(f"  {line}" for line in EXAMPLES[verb])])


def _block(title: str, rows: Iterable[_Row], column: int = 24) -> str:
    return "\n".join([f"{title}:", *(line for row in rows for line in _lines(row, column))])


def _lines(row: _Row, column: int) -> Iterator[str]:
    """One row, its meaning wrapped beside its name."""
    name, meaning = row
    indent = " " * (column + 4)
    head = f"  {name}"
    if wide(name) > column:
        yield head
        head = indent
    else:
        head += " " * (column + 4 - wide(head))
    for line in wrapped(meaning, _WIDTH - column - 4):
        yield head + line
        head = indent
