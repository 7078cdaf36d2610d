"""The verbs, in the order the help shows them, and where each is carried out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["GROUPS", "NOUNS", "VERBS", "Verb", "take_verb", "verbs_of"]


@dataclass(frozen=True, slots=True)
class Verb:
    """One command of the CLI.

    Attributes:
        group: the heading of the help it stands under, a key `help.<group>` of the words.
        module: the module below `sekimori.cli` that has it; imported only when it is called.
        function: its name there.
        arguments: what is called what in the usage line.
    """

    group: str
    module: str
    function: str
    arguments: str = ""


GROUPS: Final = ("everyday", "look", "far", "guard", "file", "run")

VERBS: Final[dict[str, Verb]] = {
    "open": Verb("everyday", "writing", "open_", "PORTS --to TARGET"),
    "close": Verb("everyday", "writing", "close", "NAME..."),
    "extend": Verb("everyday", "writing", "extend", "NAME [DURATION]"),
    "pause": Verb("everyday", "writing", "pause", "NAME..."),
    "resume": Verb("everyday", "writing", "resume", "NAME..."),
    "edit": Verb("everyday", "writing", "edit", "NAME"),
    "undo": Verb("everyday", "writing", "undo", "[REVISION]"),
    "share": Verb("everyday", "share", "share", "PORT"),
    "tunnel": Verb("everyday", "tunnel", "tunnel", "HOST"),
    "ls": Verb("look", "reading", "ls"),
    "show": Verb("look", "reading", "show", "NAME"),
    "who": Verb("look", "reading", "who", "NAME"),
    "watch": Verb("look", "watching", "watch"),
    "history": Verb("look", "reading", "history", "[NAME]"),
    "status": Verb("look", "reading", "status"),
    "presets": Verb("look", "reading", "presets", "[WORD]"),
    "gateway status": Verb("guard", "guarding", "status"),
    "gateway enable": Verb("guard", "gateway", "enable"),
    "gateway disable": Verb("guard", "gateway", "disable"),
    "door ls": Verb("guard", "doors", "ls"),
    "door enable": Verb("guard", "doors", "enable", "DOOR..."),
    "door disable": Verb("guard", "doors", "disable", "DOOR..."),
    "door rules": Verb("guard", "doors", "rules"),
    "door allow": Verb("guard", "doors", "allow", "WHO [PROTOCOLS]"),
    "door deny": Verb("guard", "doors", "deny", "WHO [PROTOCOLS]"),
    "door forget": Verb("guard", "doors", "forget", "NUMBER"),
    "router ls": Verb("guard", "doors", "leases"),
    "router status": Verb("guard", "line", "router_status"),
    "router adopt": Verb("guard", "doors", "adopt", "NAME"),
    "link ls": Verb("far", "linking", "ls"),
    "link add": Verb("far", "linking", "add", "NAME [ssh://USER@HOST:PORT]"),
    "link show": Verb("far", "linking", "show", "NAME"),
    "link test": Verb("far", "linking", "try_", "NAME"),
    "link rm": Verb("far", "linking", "remove", "NAME"),
    "user ls": Verb("far", "users", "ls"),
    "user add": Verb("far", "users", "add", "NAME KEY..."),
    "user edit": Verb("far", "users", "edit", "NAME"),
    "user show": Verb("far", "users", "show", "NAME"),
    "user rm": Verb("far", "users", "remove", "NAME"),
    "key ls": Verb("far", "users", "keys", "[USER]"),
    "key add": Verb("far", "users", "add_key", "USER KEY"),
    "key rm": Verb("far", "users", "remove_key", "USER FINGERPRINT"),
    "confirm": Verb("guard", "confirming", "confirm"),
    "ban": Verb("guard", "banning", "ban", "ADDRESS"),
    "unban": Verb("guard", "banning", "unban", "ADDRESS"),
    "bans": Verb("guard", "guarding", "bans"),
    "kill": Verb("guard", "banning", "kill", "NAME|SOURCE"),
    "doctor": Verb("guard", "doctor", "doctor", "[NAME]"),
    "apply": Verb("file", "filing", "apply", "[FILE]"),
    "diff": Verb("file", "filing", "diff", "[FILE]"),
    "export": Verb("file", "reading", "export"),
    "import": Verb("file", "importing", "import_", "FILE"),
    "up": Verb("run", "running", "up"),
    "version": Verb("run", "running", "version"),
    "help": Verb("run", "running", "help_", "[COMMAND...]"),
}
"""By what is typed: one word, or a noun and what is done with it."""

NOUNS: Final = {name.partition(" ")[0]: verb.group for name, verb in VERBS.items() if " " in name}
"""The nouns, and the group that each stands in."""


def verbs_of(noun: str) -> tuple[str, ...]:
    """What can be done with a noun, in the order of the help."""
    return tuple(name.partition(" ")[2] for name in VERBS if name.startswith(f"{noun} "))


def take_verb(words: list[str]) -> str:
    """Take out of `words` what names the command: the first that is no option, and of a noun the next.

    It need not be a verb there is: `''` where nothing was named, a noun alone where it stands alone.
    """
    verb = _take_first(words)
    return f"{verb} {_take_first(words)}".strip() if verb in NOUNS else verb


def _take_first(words: list[str]) -> str:
    first = next((text for text in words if not text.startswith("-")), "")
    if first:
        words.remove(first)
    return first
