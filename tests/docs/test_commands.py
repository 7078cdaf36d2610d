"""What a reader is told to type can be typed, and what the pages show as answers are things it says."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Iterable, Iterator

import pytest

from sekimori.cli.grammar import Terms, build
from sekimori.cli.main import load
from sekimori.cli.options import scan
from sekimori.cli.verbs import VERBS, take_verb
from sekimori.cli.words import WORDS
from sekimori.model.errors import Problem
from sekimori.model.messages import MESSAGES
from sekimori.model.words import Reading, parse_wish
from sekimori.presets.load import load_presets
from tests.docs.documents import LANGUAGES, ROOT, Typed, all_pages, language_of, named, pages, prose, typed

PRESETS = load_presets()
READING = Reading(time.time(), "UTC", PRESETS.get, PRESETS.suggest, salt=lambda: bytes(16))
PLACES = {
    "NAME": "web",
    "REVISION": "9",
    "FILE": "ports.toml",
    "WORD": "game",
    "@socks.pw": "alice:correct horse battery",  # what the command reads from that file
}
SHOWN = [one for language in LANGUAGES for page in pages(language) for one in typed(page)]
SEKIMORI = [one for one in SHOWN if re.match(r"(\S+/)?sekimori ", one.line)]


def _words(line: str) -> list[str]:
    """The words after `sekimori`, up to a redirection or a pipe."""
    words = shlex.split(line)[1:]
    end = next((index for index, word in enumerate(words) if word in ("|", ">", "&&", ";")), len(words))
    return [PLACES.get(word, word) for word in words[:end]]


def _read(words: list[str]) -> None:
    """Read them as the program does, down to the values."""
    _, rest = scan(words, {})
    verb = take_verb(rest)
    assert verb in VERBS
    _, bound, _ = build(load(verb)).parse_args(rest, exit_on_error=False, print_error=False)
    terms = bound.kwargs.get("terms")
    if isinstance(terms, Terms):
        ports = bound.args[0] if verb == "open" else bound.kwargs.get("ports")
        parse_wish({"ports": ports, **terms.said()}, READING)


def _ids(one: Typed) -> str:
    return f"{one.page.name}: {one.line}"


@pytest.mark.parametrize("one", SEKIMORI, ids=_ids)
def test_a_command_line_can_be_typed(one):
    try:
        _read(_words(one.line))
    except Problem as problem:
        refusal = problem
    else:
        return
    # What cannot be read may be shown where the page shows just that answer.
    language = language_of(one.page)
    assert one.answer[:2] == (f"sekimori: {refusal.title(language)}", f"  {refusal.fix(language)}")


def test_there_are_command_lines():
    assert len(SEKIMORI) > 100


def _inline() -> Iterator[tuple[str, str]]:
    for page in all_pages():
        for code in re.findall(r"`(sekimori [^`]+)`", prose(page)):
            yield page.name, " ".join(code.split())


@pytest.mark.parametrize(("page", "code"), sorted(set(_inline())))
def test_a_command_in_a_sentence_has_a_verb_and_flags_that_exist(page, code):
    words = [word for word in _words(code) if word not in ("…", "--help")]
    if words[0] in ("COMMAND", "コマンド", "名前", "open") and len(words) < 3:
        return  # names a command, not a line to type
    _read([PLACES.get(word, "198.51.100.7" if word == "…" else word) for word in _fill(words)])


def _fill(words: Iterable[str]) -> list[str]:
    """A value where an ellipsis stood after a flag."""
    filled = list(words)
    if filled[-1] in ("--from", "--on"):
        filled.append("192.0.2.1")
    return filled


@pytest.mark.parametrize("readme", ["README.md", "README.ja.md", "CONTRIBUTING.md"])
def test_make_targets_exist(readme):
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named_there = set(
        re.findall(r"(?:`|^\$ )make ([a-z]+)\b", (ROOT / readme).read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert {"run", "test"} <= named_there <= targets


# -- answers ---------------------------------------------------------------------------------------


def _pattern(template: str) -> str:
    return "".join(
        ".+" if part.startswith("{") else re.escape(part) for part in re.split(r"({\w+})", template)
    )


def _patterns(language: str, keys: Iterable[str]) -> list[re.Pattern[str]]:
    index = LANGUAGES.index(language)
    return [re.compile(_pattern(WORDS[key][index])) for key in keys]


def _says_one_of(line: str, patterns: Iterable[re.Pattern[str]]) -> bool:
    return any(pattern.fullmatch(line) for pattern in patterns)


REFUSALS = [(one, *pair) for one in SHOWN for pair in zip(one.answer, one.answer[1:], strict=False)]
REFUSALS = [entry for entry in REFUSALS if entry[1].startswith("sekimori: ")]


@pytest.mark.parametrize(
    ("one", "title", "fix"), REFUSALS, ids=lambda v: _ids(v) if isinstance(v, Typed) else ""
)
def test_a_refusal_shown_is_one_that_is_said(one, title, fix):
    language = language_of(one.page)
    said = [
        (re.fullmatch("sekimori: " + _pattern(message.title(language)), title), message)
        for message in MESSAGES.values()
    ]
    fixes = [message.fix(language) for found, message in said if found]
    assert fixes, f"nothing says: {title}"
    assert any(re.fullmatch("  " + _pattern(text), fix) for text in fixes), f"nothing says: {fix}"


def test_refusals_are_shown():
    assert len(REFUSALS) >= 6


DOING = ("open", "close", "extend", "pause", "resume", "edit", "undo", "apply")
DONE = [key for key in WORDS if key.startswith(("done.", "open.opens", "open.done", "say.notice"))]
ANSWERED = [
    one for one in SEKIMORI if one.answer and _words(one.line)[0] in DOING and "--plan" not in one.line
]
ANSWERED = [one for one in ANSWERED if not one.answer[0].startswith("sekimori: ")]


@pytest.mark.parametrize("one", ANSWERED, ids=_ids)
def test_what_a_change_answers_is_what_is_said(one):
    patterns = _patterns(language_of(one.page), DONE)
    for line in filter(None, one.answer):
        assert _says_one_of(line, patterns), f"nothing says: {line}"


HEADS = {
    "ls": ("name", "leads", "sources", "until", "state", "now", "bytes"),
    "history": ("revision", "when", "who", "door", "what", "why"),
    "presets": ("name", "title", "ports", "risk", "sources", "lifetime"),
}
TABLES = [one for one in SEKIMORI if _words(one.line)[0] in HEADS and one.answer]
TABLES = [one for one in TABLES if one.line != "sekimori presets minecraft"]  # one preset is a page, no table


@pytest.mark.parametrize("one", TABLES, ids=_ids)
def test_a_table_shown_has_the_columns_it_has(one):
    index = LANGUAGES.index(language_of(one.page))
    if one.answer[0] == WORDS["ls.empty"][index]:
        return
    heads = [WORDS[f"head.{name}"][index] for name in HEADS[_words(one.line)[0]]]
    # A column that is there only where it has something to say.
    managed = WORDS["head.managed"][index]
    shown = [head for head in re.split(r" {2,}", one.answer[0].strip()) if head != managed]
    assert shown == [head for head in heads if head != managed]


@pytest.mark.parametrize("page", [page for page in all_pages() if page.name != "CHANGELOG.md"], ids=named)
def test_examples_use_addresses_for_documentation(page):
    """RFC 5737, RFC 3849, private and local ones: no address of somebody else."""
    text = page.read_text(encoding="utf-8")
    for address in re.findall(r"(?<![\w./-])(?:\d{1,3}\.){3}\d{1,3}", text):
        assert re.match(r"192\.0\.2\.|198\.51\.100\.|203\.0\.113\.|192\.168\.|10\.|127\.|0\.0\.0\.0", address)
