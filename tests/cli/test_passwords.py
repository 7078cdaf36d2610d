"""Passwords of SOCKS users: typed, or from a file, and nowhere else."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time

import pytest

MADE = "scrypt$1024$" + "00" * 16 + "$" + "00" * 32


@pytest.fixture
def opening(fake):
    """A daemon that opens what it is asked for."""
    fake.answers["POST /v1/mappings"] = fake.opening()
    return fake


def sent(fake) -> list[object]:
    return [body.get("socks_user") for body in fake.bodies("POST")]


def test_users_are_read_from_a_file(opening, run, tmp_path):
    file = tmp_path / "users"
    file.write_text(f"# who may\nalice:correct, horse\n\n bob:{MADE} \n", encoding="utf-8")
    assert run("open", "1080", "--socks", "--socks-user", f"@{file}").code == 0
    assert sent(opening) == [["alice:correct, horse", f"bob:{MADE}"]]


def test_what_was_exported_is_no_secret_and_none_is_nobody(opening, run):
    assert run("open", "1080", "--socks", "--socks-user", f"alice:{MADE}").code == 0
    assert run("open", "1080", "--socks", "--socks-user", "none").code == 0
    assert sent(opening) == [[f"alice:{MADE}"], ["none"]]


@pytest.mark.parametrize(
    ("said", "word"),
    [("alice:correct horse", "command line"), ("alice", "terminal"), ("@/nonexistent", "No such file")],
)
def test_no_password_is_taken_from_elsewhere(opening, run, said, word):
    for verb in ("open", "edit"):
        ran = run(verb, "1080", "--socks", "--socks-user", said)
        assert ran.code == 2
        assert word in ran.err
        assert "horse" not in ran.err
        assert "--socks-user @FILE" in ran.err
    assert not opening.asked


def test_a_file_that_is_no_text_is_refused(opening, run, tmp_path):
    file = tmp_path / "users"
    file.write_bytes(b"\xff\xfe")
    assert run("open", "1080", "--socks", "--socks-user", f"@{file}").code == 2
    assert not opening.asked


_TAKES_THE_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "os.execv(sys.executable, [sys.executable, '-m', 'sekimori', *sys.argv[1:]])"
)


def shown_until(leader: int, end: str, shown: str = "") -> str:
    """What the terminal shows, up to a text that it is waited for."""
    deadline = time.monotonic() + 20
    while end not in shown:
        assert select.select([leader], [], [], max(0.0, deadline - time.monotonic()))[0], shown
        shown += os.read(leader, 65536).decode()
    return shown


@pytest.mark.parametrize(
    ("typed", "code"), [(["correct horse", "correct horse"], 0), (["correct horse", "corect horse"], 2)]
)
def test_a_name_is_asked_for_its_password_twice_and_nothing_of_it_is_shown(opening, typed, code):
    leader, follower = pty.openpty()
    words = ("open", "1080", "--socks", "--socks-user", "alice")
    environ = {"SEKIMORI_SOCKET": str(opening.socket), "SEKIMORI_LANG": "en", "PATH": os.environ["PATH"]}
    with subprocess.Popen(
        [sys.executable, "-c", _TAKES_THE_TERMINAL, *words],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env=environ,
        start_new_session=True,
    ) as process:
        shown = shown_until(leader, "Password for alice: ")
        os.write(leader, f"{typed[0]}\n".encode())
        shown += shown_until(leader, "Once more: ")
        os.write(leader, f"{typed[1]}\n".encode())
        shown += shown_until(leader, "leads to" if code == 0 else "differ")
        assert process.wait(20) == code
    os.close(follower)
    os.close(leader)
    assert "horse" not in shown
    assert sent(opening) == ([["alice:correct horse"]] if code == 0 else [])
