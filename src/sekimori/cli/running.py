"""The verbs that need no daemon: up, version, help."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version as installed_version

from sekimori.cli.misuse import Misuse, nearest
from sekimori.cli.session import Session
from sekimori.cli.verbs import NOUNS, VERBS

__all__ = ["help_", "up", "version"]


def up(
    *,
    config: str | None = None,
    state_dir: str | None = None,
    leave_flows: bool = False,
    session: Session,
) -> int:
    """Become the daemon: this process is replaced, so signals and the exit code are the daemon's own."""
    options = session.options
    # -P: the directory it is started in must not be a place to import from.
    command = [sys.executable, "-P", "-m", "sekimori.daemon"]
    for flag, value in (("--config", config), ("--state-dir", state_dir), ("--socket", options.socket)):
        if value is not None:
            command += [flag, os.path.abspath(value)]
    if leave_flows:
        command.append("--leave-flows")
    sys.stdout.flush()
    environ = {**options.environ, "SEKIMORI_LANG": options.language}
    os.execve(command[0], command, environ)  # noqa: S606 - no shell is wanted


def version(*, session: Session) -> int:
    """The version of this program."""
    number = installed_version("sekimori")
    return session.answer({"version": number}, lambda: f"sekimori {number}")


def help_(*verb: str, session: Session) -> int:
    """Explain a command, or the whole program."""
    from sekimori.cli.help import write_help, write_overview

    language = session.options.language
    name = " ".join(verb)
    if not name:
        session.print(write_overview(language))
        return 0
    if name not in VERBS and name not in NOUNS:
        near = nearest(name, [*VERBS, *NOUNS])
        raise Misuse("unknown-verb", fix="hint.did-you-mean" if near else "hint.verbs", text=name, near=near)
    session.print(write_help(name, language))
    return 0
