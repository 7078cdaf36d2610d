"""Every refusal has its sentences, and every sentence its refusal."""

from __future__ import annotations

import ast
import json
import re
import string
from collections.abc import Iterator
from pathlib import Path

import pytest

import sekimori
from sekimori.model.errors import EXIT_CODES, HTTP_STATUS, Kind, Problem
from sekimori.model.messages import MESSAGES, Message

SOURCE = Path(sekimori.__file__).parent


def placeholders(*texts: str) -> set[str]:
    return {name for text in texts for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def facts_of(message: Message) -> dict[str, object]:
    return {name: f"<{name}>" for name in placeholders(*message.en, *message.ja)}


@pytest.mark.parametrize("code", sorted(MESSAGES))
def test_both_languages_tell_the_same_facts(code: str) -> None:
    message = MESSAGES[code]
    for english, japanese in zip(message.en, message.ja, strict=True):
        # A fix may leave out in one language what the other needs to name again.
        assert placeholders(japanese) <= placeholders(*message.en)
        assert placeholders(english) <= placeholders(*message.ja)
    assert placeholders(message.en[0]) == placeholders(message.ja[0])


@pytest.mark.parametrize("code", sorted(MESSAGES))
def test_a_message_says_what_cannot_be_done_and_what_to_do(code: str) -> None:
    problem = Problem(code, **facts_of(MESSAGES[code]))
    assert problem.title().startswith("cannot ")
    assert not problem.title().endswith(".")
    assert problem.fix()
    assert re.search(r"[ぁ-んァ-ヶ一-龠]", problem.title("ja"))
    assert problem.kind in Kind
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", code)


def test_every_kind_has_an_exit_code_of_its_own_and_a_status() -> None:
    assert set(EXIT_CODES) == set(HTTP_STATUS) == set(Kind)
    assert len(set(EXIT_CODES.values())) == len(Kind)
    assert 0 not in EXIT_CODES.values()
    assert all(400 <= status < 600 for status in HTTP_STATUS.values())


@pytest.mark.parametrize("code", sorted(MESSAGES))
def test_a_problem_crosses_the_api_whole(code: str) -> None:
    problem = Problem(code, **facts_of(MESSAGES[code]))
    again = Problem.from_body(json.loads(json.dumps(problem.body())))
    assert (again.code, again.facts) == (problem.code, problem.facts)
    assert again.body("ja") == problem.body("ja")
    assert problem.body()["status"] == HTTP_STATUS[problem.kind]


def test_facts_by_language_cross_it_too() -> None:
    title = {"en": "SSH remote login", "ja": "SSH リモートログイン"}
    note = {"en": "Use keys.", "ja": "鍵を使います。"}
    problem = Problem("risk-not-accepted", what=title, sources="anyone", note=note, risk="exposed-admin")
    assert problem.title() == "cannot open SSH remote login to anyone: Use keys."
    assert "SSH リモートログイン" in problem.title("ja")
    again = Problem.from_body(json.loads(json.dumps(problem.body())))
    assert again.title("ja") == problem.title("ja")


@pytest.mark.parametrize(
    "body", [{}, {"code": "from-the-future", "facts": {}, "title": "T"}, {"code": "missing"}]
)
def test_what_this_version_does_not_know_is_still_a_problem(body: dict[str, object]) -> None:
    problem = Problem.from_body(body)
    assert (problem.code, problem.exit_code) == ("unexpected", 1)
    assert str(body.get("title", "")) in problem.title()


def _calls() -> Iterator[tuple[str, str, set[str] | None]]:
    """Each `Problem("code", fact=...)` in the package: where, the code, its facts (None: unpacked)."""
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            if node.func.id != "Problem" or not node.args or not isinstance(node.args[0], ast.Constant):
                continue
            names = {keyword.arg for keyword in node.keywords}
            facts = None if None in names else {str(name) for name in names}
            yield f"{path.relative_to(SOURCE)}:{node.lineno}", str(node.args[0].value), facts


def test_every_problem_in_the_source_has_its_message_and_all_its_facts() -> None:
    wrong = []
    for where, code, facts in _calls():
        if code not in MESSAGES:
            wrong.append(f"{where}: no message '{code}'")
        elif facts is not None:
            needed = placeholders(*MESSAGES[code].en, *MESSAGES[code].ja)
            if facts != needed:
                wrong.append(f"{where}: '{code}' takes {sorted(needed)}, is given {sorted(facts)}")
    assert wrong == []


def test_every_message_is_used_somewhere() -> None:
    texts = [path.read_text(encoding="utf-8") for path in SOURCE.rglob("*.py") if path.name != "messages.py"]
    unused = [code for code in MESSAGES if not any(f'"{code}"' in text for text in texts)]
    assert unused == []


def test_what_is_exposed_stands_in_japanese_without_a_stray_blank() -> None:
    what = {"en": "a SOCKS port", "ja": "SOCKS ポート"}
    problem = Problem("risk-not-accepted", what=what, sources="anyone", note="x", risk="open-proxy")
    assert problem.title("ja").startswith("「SOCKS ポート」を開けられません")
