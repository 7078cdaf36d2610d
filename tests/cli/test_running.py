"""up and version."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version

import pytest


@pytest.mark.parametrize("words", [("version",), ("--version",), ("-V",)])
def test_version(run, words):
    assert run(*words).out == f"sekimori {version('sekimori')}\n"
    assert run(*words, "--json").envelope["data"] == {"version": version("sekimori")}


def test_up_becomes_the_daemon(run, monkeypatch, tmp_path):
    became = []

    class BecameError(BaseException):
        pass

    def execve(path, arguments, environ):
        became.append((path, arguments, environ["SEKIMORI_LANG"]))
        raise BecameError

    monkeypatch.setattr(os, "execve", execve)
    monkeypatch.chdir(tmp_path)
    python = [sys.executable, "-P", "-m", "sekimori.daemon"]
    with pytest.raises(BecameError):
        run("up")
    assert became[-1] == (sys.executable, python, "en")
    with pytest.raises(BecameError):
        run("up", "--config", "a.toml", "--state-dir", "/var/x", "--socket", "s", "--lang", "ja")
    flags = ["--config", f"{tmp_path}/a.toml", "--state-dir", "/var/x", "--socket", f"{tmp_path}/s"]
    assert became[-1] == (sys.executable, python + flags, "ja")
