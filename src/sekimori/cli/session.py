"""One run of the CLI: its language, its client, and its two ways to answer.

stdout is data, stderr is talk. Under `--json` the data is one envelope
(`ENVELOPE`), also when it is empty and when the command failed.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from sekimori.cli.misuse import Fault
from sekimori.cli.options import Options
from sekimori.cli.text import Clock, clean
from sekimori.cli.words import word
from sekimori.model.errors import Problem

if TYPE_CHECKING:
    from sekimori.client import Client

__all__ = ["ENVELOPE", "Session"]

ENVELOPE: Final = "sekimori/1"
"""The schema of what `--json` prints; keys are only ever added to it."""


_UNSEEN: Final = re.compile("[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""What JSON may hold as it is, but a terminal would obey: C1 controls (ECMA-48 §5.3), and marks that turn the
direction of text (Unicode TR 9)."""


class Session:
    """What every command is given: options, words, the client, and where its answer goes."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.clock = Clock(options.language)

    @cached_property
    def socket(self) -> str:
        """The socket the daemon is expected at."""
        if self.options.socket is not None:
            return os.path.abspath(self.options.socket)
        from sekimori.client import default_socket

        return str(default_socket(self.options.environ))

    @cached_property
    def client(self) -> Client:
        """The one client, not yet connected."""
        from sekimori.cli.whence import find_caller
        from sekimori.client import Client

        return Client(self.socket, language=self.options.language, caller=find_caller(self.options.environ))

    def word(self, key: str, **facts: object) -> str:
        """A sentence in this run's language."""
        return word(key, self.options.language, **facts)

    def answer(
        self,
        data: object,
        human: Callable[[], str],
        *,
        notices: Iterable[Mapping[str, Any]] = (),
        problems: Sequence[Problem] = (),
        code: int = 0,
    ) -> int:
        """Print the answer of a command: the envelope, or what `human` makes of it.

        Returns:
            The exit code: that of the first problem, otherwise `code`.
        """
        notices = list(notices)
        code = problems[0].exit_code if problems else code
        if self.options.json:
            self._envelope(data, code == 0, notices, problems)
            return code
        text = "" if self.options.quiet else human()
        if text:
            self.print(text)
        if not self.options.quiet:
            for notice in notices:
                self.talk(self.word("say.notice", text=notice["text"]))
        for problem in problems:
            self._complain(problem)
        return code

    def fail(self, problem: Problem) -> int:
        """Tell a problem that ended the command; its exit code."""
        if self.options.json and problem.code != "fault-no-output":
            self._envelope(None, False, [], [problem])
        else:
            self._complain(problem)
        return problem.exit_code

    def print(self, text: str) -> None:
        """Data for the person, on stdout."""
        try:
            print(text, file=sys.stdout, flush=True)
        except BrokenPipeError:
            _abandon_stdout()
            raise
        except OSError as error:
            _abandon_stdout()
            raise Fault("no-output", why=error.strerror or str(error)) from None

    def talk(self, text: str) -> None:
        """A word beside the data, on stderr."""
        print(clean(text), file=sys.stderr, flush=True)

    @property
    def talks(self) -> bool:
        """Whether a person wants a word beside the data."""
        return not self.options.quiet and not self.options.json

    @property
    def asks(self) -> bool:
        """Whether questions are asked: on a terminal only, and not with `--yes` or `--json`."""
        options = self.options
        return not options.yes and not options.json and sys.stdin.isatty() and sys.stderr.isatty()

    def agrees(self, question: str, ending: str = "ask.go-on") -> bool:
        """Whether to go on; yes where nobody is asked. `ending` is the word after the question."""
        if not self.asks:
            return True
        apart = "\n" if "\n" in question else " "  # below what has several lines, so that it is seen
        print(clean(question), self.word(ending), sep=apart, file=sys.stderr, end="", flush=True)
        return sys.stdin.readline().strip().lower() in {"y", "yes", "はい"}

    def _complain(self, problem: Problem) -> None:
        language = self.options.language
        self.talk(f"sekimori: {problem.title(language)}")
        if fix := problem.fix(language):
            self.talk(f"  {fix}")

    def _envelope(
        self, data: object, ok: bool, notices: Sequence[Mapping[str, Any]], problems: Sequence[Problem]
    ) -> None:
        envelope = {
            "schema": ENVELOPE,
            "ok": ok,
            "data": data,
            "warnings": [dict(notice) for notice in notices],
            "problems": [problem.body(self.options.language) for problem in problems],
        }
        plain = (sys.stdout.encoding or "ascii").lower().replace("-", "") != "utf8"
        self.print(_UNSEEN.sub(_escape, json.dumps(envelope, ensure_ascii=plain)))


def _escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def _abandon_stdout() -> None:
    """Point stdout elsewhere: what is left in its buffer must not fail again at exit."""
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
