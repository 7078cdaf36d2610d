"""Carrying out a remedy on this machine."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sekimori.observe.diagnose.remedy import Result

__all__ = ["LocalHands"]

_TIMEOUT: Final = 60.0


class LocalHands:
    """Hands on this machine. They block: for worker threads."""

    def run(self, command: Sequence[str]) -> Result:
        """Run it; a program that is not there, or does not end, is a failure like others."""
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            return Result(127, str(error))
        return Result(done.returncode, done.stdout + done.stderr)

    def read(self, path: str) -> str | None:
        """The text of a file of this machine."""
        file = Path(path)
        return file.read_text() if file.exists() else None

    def write(self, path: str, text: str | None) -> None:
        """Write beside the file and rename: a firewall never loads half of it."""
        file = Path(path)
        if text is None:
            file.unlink(missing_ok=True)
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        beside = file.with_name(f".{file.name}.sekimori")
        beside.write_text(text)
        beside.chmod(file.stat().st_mode if file.exists() else 0o644)
        beside.replace(file)
