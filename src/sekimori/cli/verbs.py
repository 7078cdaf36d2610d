"""The verbs, in the order the help shows them, and where each is carried out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["GROUPS", "VERBS", "Verb"]


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


GROUPS: Final = ("everyday", "look", "file", "run")

VERBS: Final = {
    "open": Verb("everyday", "writing", "open_", "PORTS --to TARGET"),
    "close": Verb("everyday", "writing", "close", "NAME..."),
    "extend": Verb("everyday", "writing", "extend", "NAME [DURATION]"),
    "pause": Verb("everyday", "writing", "pause", "NAME..."),
    "resume": Verb("everyday", "writing", "resume", "NAME..."),
    "edit": Verb("everyday", "writing", "edit", "NAME"),
    "undo": Verb("everyday", "writing", "undo", "[REVISION]"),
    "ls": Verb("look", "reading", "ls"),
    "show": Verb("look", "reading", "show", "NAME"),
    "who": Verb("look", "reading", "who", "NAME"),
    "watch": Verb("look", "watching", "watch"),
    "history": Verb("look", "reading", "history", "[NAME]"),
    "status": Verb("look", "reading", "status"),
    "presets": Verb("look", "reading", "presets", "[WORD]"),
    "apply": Verb("file", "filing", "apply", "[FILE]"),
    "diff": Verb("file", "filing", "diff", "[FILE]"),
    "export": Verb("file", "reading", "export"),
    "up": Verb("run", "running", "up"),
    "version": Verb("run", "running", "version"),
    "help": Verb("run", "running", "help_", "[COMMAND]"),
}
