"""apply and diff."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest

from sekimori.model.decision import Made, NamedList, Verb
from sekimori.model.mapping import Owner
from sekimori.model.source import parse_prefix

OFFICE = NamedList("office", Owner.parse("file:/x"), (parse_prefix("198.51.100.0/24"),))


@pytest.fixture
def differs(fake):
    made = (
        Made(Verb.OPEN, None, fake.mapping()),
        Made(Verb.CLOSE, fake.mapping("old"), None),
        Made(Verb.DEFINE, None, OFFICE),
        Made(Verb.DEFINE, OFFICE, None),
    )
    skipped = [{"code": "name-taken", "text": "left out"}]
    fake.answers["POST /v1/apply"] = lambda body: {
        **fake.outcome(*made, planned=body["plan"]),
        "skipped": skipped,
    }
    return made


def same(fake: Any) -> None:
    fake.answers["POST /v1/apply"] = lambda body: {**fake.outcome(planned=body["plan"]), "skipped": []}


def test_diff_is_3_when_there_is_a_difference(fake, run, differs):
    ran = run("diff")
    assert ran.code == 3
    lines = ran.out.splitlines()
    assert lines[0] == "'sekimori apply' would make these changes:"
    assert [line for line in lines if line[0] in "+-~"] == [
        *("+ open web", "- close old  tcp/8080 → 192.168.1.5", "+ set list office", "- set list office")
    ]
    assert "    prefixes  198.51.100.0/24" in lines
    assert ran.err == "note: left out\n"
    assert fake.bodies("POST") == [{"file": None, "text": None, "plan": True, "why": ""}]
    told = run("diff", "--json")
    assert told.code == 3
    assert not told.envelope["ok"]
    assert told.envelope["problems"] == []


def test_diff_is_0_when_there_is_none(fake, run):
    same(fake)
    ran = run("diff")
    assert (ran.code, ran.out) == (0, "The ledger agrees with the file.\n")


def test_apply_says_what_was_done(fake, run, differs):
    lines = run("apply").out.splitlines()
    assert lines[0].startswith("Opened web: tcp/8080 leads to")
    assert lines[1:] == [
        "Closed old. To take that back: sekimori undo 7",
        "Set the list office: 198.51.100.0/24.",
        "Removed the list office.",
    ]
    same(fake)
    assert run("apply").out.startswith("Nothing to apply")


def test_a_file_is_read_here_and_named_absolutely(fake, run, tmp_path, monkeypatch):
    same(fake)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ports.toml").write_text("# 関守\n", encoding="utf-8")
    run("apply", "ports.toml", "--plan", "--why", "new")
    assert fake.bodies("POST")[-1] == {
        "file": str(tmp_path / "ports.toml"),
        "text": "# 関守\n",
        "plan": True,
        "why": "new",
    }


def test_stdin_is_a_file(fake, run, monkeypatch):
    same(fake)
    monkeypatch.setattr(sys, "stdin", io.StringIO("x = 1\n"))
    run("diff", "-")
    assert fake.bodies("POST")[-1]["text"] == "x = 1\n"


def test_a_file_that_cannot_be_read(fake, run, tmp_path):
    (tmp_path / "latin").write_bytes(b"\xe9")
    for file, why in (("none", "No such file"), (".", "Is a directory"), ("latin", "it is not UTF-8 text")):
        ran = run("apply", str(tmp_path / file))
        assert ran.code == 4
        assert ran.err.startswith(f"sekimori: cannot read the config file {tmp_path / file}: {why}")
    assert fake.asked == []
