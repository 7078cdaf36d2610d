"""Exit codes, and how a command typed wrong is told."""

from __future__ import annotations

import json
import os
import signal
import string
import subprocess
import sys
import time

import pytest

from sekimori.model.errors import EXIT_CODES, Kind, Problem
from sekimori.model.messages import MESSAGES


def placeholders(code: str) -> set[str]:
    sentences = (*MESSAGES[code].en, *MESSAGES[code].ja)
    return {name for text in sentences for _, name, _, _ in string.Formatter().parse(text) if name}


def one_of(kind: Kind) -> Problem:
    code = next(code for code, message in MESSAGES.items() if message.kind == kind)
    return Problem(code, **dict.fromkeys(placeholders(code), "x"))


@pytest.mark.parametrize("kind", sorted({Kind(message.kind) for message in MESSAGES.values()}))
@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_every_kind_of_problem_has_its_exit_code(fake, run, kind, flags):
    problem = one_of(kind)
    fake.answers["GET /v1/mappings"] = problem
    ran = run("ls", *flags)
    assert ran.code == EXIT_CODES[kind]
    if flags:
        assert ran.err == ""
        envelope = ran.envelope
        assert not envelope["ok"]
        assert envelope["data"] is None
        assert envelope["problems"] == [problem.body()]
    else:
        assert ran.out == ""
        assert ran.err.splitlines()[0] == f"sekimori: {problem.title()}"
        assert problem.fix() in ran.err


def test_ctrl_c_is_130(fake, spawn):
    fake.answers["GET /v1/mappings"] = lambda _: fake.over.wait(20)
    process = spawn("ls")
    deadline = time.monotonic() + 20
    while not fake.asked:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (130, "")
    assert err == "sekimori: cannot finish: interrupted\n  Nothing more was done.\n"


def test_no_daemon_is_7_and_says_how_to_start_one(run, tmp_path):
    ran = run("ls", "--socket", str(tmp_path / "none"))
    assert ran.code == 7
    assert "sekimori up" in ran.err
    assert "--foreground" in ran.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "no command was given"),
        (("lss",), "there is no command 'lss'\n  Did you mean 'ls'?"),
        (("zzzz",), "there is no command 'zzzz'\n  'sekimori --help'"),
        (("help", "opne"), "there is no command 'opne'\n  Did you mean 'open'?"),
        (("open", "80", "--nmae", "x"), "it has no option --nmae\n  Did you mean --name?"),
        (("open", "80", "--qqqqq"), "it has no option --qqqqq\n  'sekimori open --help'"),
        (("open", "80", "--session", "x"), "it has no option --session"),
        (("open", "80", "--no-plan", "--to", "x"), "it has no option --no-plan"),
        (("open", "80", "--to"), "--to needs a value"),
        (("open", "80", "90", "--to", "x"), "'90' is one word too many"),
        (("open", "80", "--to", "x", "--to", "y"), "--to was given twice"),
        (("open", "80", "--to", "x", "--plan=maybe"), "'maybe' is not a value for --plan"),
        (("open", "80", "--to", "x", "--plan", "--foreground"), "--foreground and --plan exclude"),
        (("open",), "PORTS is missing"),
        (("open", "80"), "--to is missing"),
        (("close",), "NAME is missing"),
        (("pause",), "NAME is missing"),
        (("show",), "NAME is missing"),
        (("who",), "NAME is missing"),
        (("extend",), "NAME is missing"),
        (("extend", "web", "2h", "--for", "3h"), "DURATION and --for exclude"),
        (("edit", "web"), "nothing to change was named"),
        (("undo", "abc"), "'abc' is not a value for REVISION"),
        (("history", "--limit", "0"), "'0' is not a value for --limit"),
        (("history", "--limit", "1001"), "'1001' is not a value for --limit"),
        (("history", "--before", "-1"), "'-1' is not a value for --before"),
        (("diff", "--jsno"), "it has no option --jsno"),
        (("ls", "web"), "'web' is one word too many"),
        (("ls", "--lang", "fr"), "cannot speak 'fr'"),
        (("ls", "--socket"), "--socket needs a value"),
        (("ls", "--socket="), "--socket needs a value"),
        (("--frobnicate",), "it has no option --frobnicate"),
    ],
)
def test_a_command_typed_wrong_is_2_and_changes_nothing(fake, run, words, says):
    ran = run(*words)
    assert ran.code == 2
    assert ran.out == ""
    assert says in ran.err
    assert ran.err.startswith("sekimori: cannot ")
    assert "Traceback" not in ran.err
    assert fake.asked == []
    told = run(*words, "--json")
    assert told.code == 2
    assert told.err == ""
    assert told.envelope["problems"][0]["kind"] == "usage"


def test_a_misuse_is_told_in_the_language_of_the_run(run):
    assert "というコマンドはありません" in run("lss", "--lang", "ja").err
    assert "というコマンドはありません" in run("lss", SEKIMORI_LANG="ja").err


def test_options_of_every_command_may_stand_anywhere(fake, run):
    fake.answers["GET /v1/mappings"] = {"mappings": []}
    for words in (
        ("--json", "ls"),
        ("ls", "--json"),
        ("--lang", "ja", "ls", "--json"),
        ("--lang=ja", "ls", "--json"),
    ):
        assert run(*words).envelope["data"] == {"mappings": []}
    assert fake.languages == ["en", "en", "ja", "ja"]


def test_what_follows_two_dashes_is_no_option(fake, run):
    fake.answers["GET /v1/mappings/--json"] = Problem("no-such-mapping", ref="--json", near="")
    ran = run("show", "--", "--json")
    assert ran.code == 4
    assert "'--json'" in ran.err


def test_an_unexpected_answer_is_no_traceback(fake, run):
    fake.answers["GET /v1/mappings"] = {"mappings": [{"name": "web"}]}
    ran = run("ls")
    assert ran.code == 1
    assert "cannot go on: KeyError" in ran.err
    assert "Traceback" not in ran.err
    assert "Traceback" in run("ls", SEKIMORI_DEBUG="1").err


def test_a_reader_that_goes_away_is_no_error(fake, spawn):
    fake.answers["GET /v1/mappings"] = {"mappings": [fake.view(fake.mapping(f"m{n}")) for n in range(3000)]}
    process = spawn("ls", "--json")
    process.stdout.read(10)
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(timeout=30)
    assert err == ""
    assert process.returncode == 0


def test_a_full_output_is_told(fake, run):
    fake.answers["GET /v1/mappings"] = {"mappings": []}
    for words in (["ls"], ["ls", "--json"]):
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [sys.executable, "-m", "sekimori", *words],
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                env={"SEKIMORI_SOCKET": str(fake.socket), "PATH": os.environ["PATH"]},
                timeout=30,
            )
        assert done.returncode == 1
        assert done.stderr.startswith("sekimori: cannot write the output: No space left on device\n")
        assert "Traceback" not in done.stderr


_LOADED = """
import json, sys
from sekimori.cli.main import main
code = main(sys.argv[1:])
print(json.dumps([code, sorted(sys.modules)]), file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("words", "never"),
    [
        (["--version"], {"rich", "cyclopts", "http.client", "asyncio"}),
        (["ls", "--json"], {"rich", "cyclopts", "asyncio", "http.client"}),
        (["ls"], {"cyclopts", "asyncio"}),
        (["open", "80", "--to", "x", "--json"], {"rich", "asyncio"}),
    ],
)
def test_nothing_is_imported_that_is_not_needed(fake, words, never):
    fake.answers["GET /v1/mappings"] = {"mappings": [fake.view(fake.mapping())]}
    fake.answers["POST /v1/mappings"] = fake.opening()
    done = subprocess.run(
        [sys.executable, "-c", _LOADED, *words],
        capture_output=True,
        text=True,
        env={"SEKIMORI_SOCKET": str(fake.socket), "PATH": os.environ["PATH"]},
        timeout=30,
        check=True,
    )
    code, loaded = json.loads(done.stderr)
    assert code == 0
    heavy = never | {
        "pydantic",
        "fastapi",
        "sqlalchemy",
        "uvicorn",
        "structlog",
        "sekimori.gate",
        "sekimori.daemon",
    }
    assert heavy & set(loaded) == set()
