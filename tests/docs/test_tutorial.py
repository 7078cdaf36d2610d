"""The front page and the tutorial, typed in order at a real daemon, answer what they show."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sekimori.testing.daemon import DaemonProcess
from sekimori.testing.netlab import Lab, why_not
from tests.docs.documents import FRONT, LANGUAGES, ROOT, Typed, language_of, named, typed

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(why_not() is not None, reason=f"network namespaces: {why_not()}"),
]

_TIMES = re.compile(r"(today|tomorrow|今日|明日|\d{4}-\d{2}-\d{2}) \d{2}:\d{2}")
_REVISION = re.compile(r"(sekimori undo) \d+")
PAGES = [
    *FRONT.values(),
    *(ROOT / "docs" / language / "tutorial" / "first-port.md" for language in LANGUAGES),
]
HANGS_ON_TRAFFIC = ("who", "history")


@pytest.fixture(scope="module")
def daemon() -> Iterator[DaemonProcess]:
    """A daemon in a network of its own, where the tutorial's ports are free."""
    with Lab() as lab, DaemonProcess(netns=lab.host("tutorial").netns) as running:
        yield running


def _lines(page: Path) -> list[Typed]:
    return [one for one in typed(page) if one.line.startswith("sekimori ") and "--foreground" not in one.line]


def _plain(text: str) -> list[str]:
    """The lines, without what differs from one day to another."""
    return [_REVISION.sub(r"\1 N", _TIMES.sub("WHEN", line)) for line in text.splitlines() if line.strip()]


def _type(line: str, daemon: DaemonProcess, language: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", *shlex.split(line)],
        env={
            **os.environ,
            "SEKIMORI_SOCKET": str(daemon.socket),
            "SEKIMORI_LANG": language,
            "COLUMNS": "100",
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == (8 if "--from anyone" in line else 0), done.stdout
    return _plain(done.stdout)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_what_is_typed_answers_what_is_shown(daemon, page):
    language = language_of(page)
    lines = _lines(page)
    assert len(lines) >= 5
    for one in lines:
        answer = _type(one.line, daemon, language)
        if one.line == "sekimori ls" and daemon.client.mappings():
            # The figures hang on who came; the rest of each row does not.
            columns = [line.split()[:4] for line in _plain("\n".join(one.answer))]
            assert [line.split()[:4] for line in answer] == columns
        elif one.line.split()[1] not in HANGS_ON_TRAFFIC:
            assert answer == _plain("\n".join(one.answer)), one.line
    for view in daemon.client.mappings():
        daemon.client.close(view["id"], now=True)
