"""Sudden death and a full disk, in processes of their own."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from sekimori.ledger.store import Ledger
from sekimori.model.mapping import Mapping

VICTIM = Path(__file__).with_name("victim.py")
COMMIT_POINT = 7
"""BEGIN, revision, delete, insert mappings, claims, usage, journal; COMMIT is this one, from 0."""


def spawn(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, str(VICTIM), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def check_consistent(directory: Path) -> int:
    """Open what a death left: the journal, replayed, gives what stands. Answers the revision."""
    with closing(Ledger.open(directory)) as ledger:
        history = ledger.history(limit=100_000)
        assert [revision.number for revision in reversed(history)] == list(range(1, ledger.revision + 1))
        replayed: dict[str, Mapping] = {}
        for revision in reversed(history):
            assert len(revision.rows) == 4
            for row in revision.rows:
                replayed.pop(row.subject_id, None)
                if row.after is not None:
                    replayed[row.subject_id] = Mapping.from_document(row.after)
        assert {each.id: each for each in ledger.snapshot} == replayed
        for each in ledger.snapshot:
            assert not list(ledger.snapshot.rivals(each))
    with closing(sqlite3.connect(directory / "ledger.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        claimed = connection.execute("SELECT mapping_id, first FROM claims").fetchall()
    assert set(claimed) == {(each.id, each.ports[0].outside.first) for each in replayed.values()}
    return ledger.revision


def test_death_before_each_statement_of_a_commit(tmp_path: Path) -> None:
    points = range(COMMIT_POINT + 2)
    victims = {point: spawn("die-at", tmp_path / str(point), point) for point in points}
    said = {point: victim.communicate(timeout=50)[0] for point, victim in victims.items()}
    assert {victim.returncode for victim in victims.values()} == {-signal.SIGKILL}
    # The last one lives to see its commit answered, and counts its statements.
    assert said == dict.fromkeys(range(COMMIT_POINT + 1), "") | {COMMIT_POINT + 1: f"{COMMIT_POINT + 1}\n"}
    found = {point: check_consistent(tmp_path / str(point)) for point in points}
    assert found == dict.fromkeys(range(COMMIT_POINT + 1), 1) | {COMMIT_POINT + 1: 2}


@pytest.mark.parametrize("commits", [1, 2, 13, 150])
def test_death_at_any_moment_loses_no_answered_commit(tmp_path: Path, commits: int) -> None:
    with spawn("commit-on", tmp_path) as victim:
        assert victim.stdout is not None
        for _ in range(commits):
            victim.stdout.readline()
        victim.kill()
        rest = victim.stdout.read().split()
    answered = int(rest[-1]) if rest else commits + 1
    assert answered <= check_consistent(tmp_path) <= answered + 1


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk(tmp_path: Path) -> None:
    # In a mount namespace of its own: nobody else sees the small disk, and it ends with the process.
    script = 'mount -t tmpfs -o size=640k none "$1" && exec "$2" "$3" fill "$1"'
    command = ["unshare", "--mount", "sh", "-c", script, "sh", str(tmp_path), sys.executable, str(VICTIM)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert (done.stdout, done.stderr) == ("survived\n", "")
