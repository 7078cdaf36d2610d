"""The table of words: complete in both languages, and used."""

from __future__ import annotations

import importlib
import pkgutil
import re
import string
from pathlib import Path

import pytest

import sekimori.cli
from sekimori.cli.words import WORDS, choose_language, has_word, word
from sekimori.cli.words_gateway import GATEWAY
from sekimori.cli.words_help import HELP
from sekimori.cli.words_talk import TALK
from sekimori.model.actual import State
from sekimori.model.decision import Verb
from sekimori.model.mapping import MappingKind
from sekimori.model.preset import RiskClass


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("key", WORDS)
def test_both_languages_say_the_same_facts(key):
    english, japanese = WORDS[key]
    assert placeholders(english) == placeholders(japanese)
    assert english.strip()
    assert japanese.strip()


def test_japanese_is_japanese():
    same = {key for key, (english, japanese) in WORDS.items() if english == japanese}
    assert same <= {"sources.lan", "field.proxy_protocol"}


def test_the_two_parts_do_not_overlap():
    assert not set(TALK) & set(HELP)
    assert not (set(TALK) | set(HELP)) & set(GATEWAY)


def test_every_word_of_the_model_has_one():
    missing = [
        key
        for key in [
            *(f"state.{state}" for state in State),
            *(f"verb.{verb}" for verb in Verb),
            *(f"risk.{risk}" for risk in RiskClass),
            *(f"kind.{kind}" for kind in MappingKind if kind is not MappingKind.FORWARD),
        ]
        if not has_word(key)
    ]
    assert missing == []


def test_every_key_in_the_source_is_in_the_table_and_the_other_way_round():
    paths = Path(sekimori.cli.__file__).parent.glob("*.py")
    source = "".join(path.read_text() for path in paths if "words_" not in path.name)
    whole = set(re.findall(r'"([a-z]+(?:\.[a-z_-]+)+)"', source))
    stems = (
        *("verb.", "state.", "risk.", "field.", "head.", "help.", "misuse.", "fault.", "done."),
        *("kind.", "status.", "sources.", "show.", "say.", "flow.", "cause.", "unit.", "gateway."),
        *("line.", "router.", "phase.", "visit.", "path."),
    )
    unused = {key for key in WORDS if key not in whole and not key.startswith(stems)}
    assert unused == set()
    wanted = {key for key in whole if key.split(".")[0] in {one.split(".")[0] for one in WORDS}}
    assert {key for key in wanted if key not in WORDS} == set()


@pytest.mark.parametrize(
    ("environ", "language"),
    [
        ({}, "en"),
        ({"LANG": "ja_JP.UTF-8"}, "ja"),
        ({"LANG": "ja_JP.UTF-8", "LC_MESSAGES": "C"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_ALL": "ja_JP.eucJP"}, "ja"),
        ({"LC_ALL": "ja_JP", "SEKIMORI_LANG": "en"}, "en"),
        ({"SEKIMORI_LANG": "ja"}, "ja"),
        ({"SEKIMORI_LANG": "", "LANG": "ja.UTF-8"}, "ja"),
        ({"LANG": "jam_JM.UTF-8"}, "en"),
    ],
)
def test_language_comes_from_the_first_that_is_set(environ, language):
    assert choose_language(environ) == language


def test_facts_are_filled_in():
    assert word("until.at", "en", when="today 18:00") == "until today 18:00"


def test_no_table_takes_a_word_of_another():
    names = [each.name for each in pkgutil.iter_modules(sekimori.cli.__path__)]
    tables = [_table(name) for name in names if name.startswith("words_")]
    assert sum(map(len, tables)) == len(WORDS)


def _table(name: str) -> dict[str, tuple[str, str]]:
    found = vars(importlib.import_module(f"sekimori.cli.{name}"))
    return next(found[name] for name in found["__all__"] if name != "EXAMPLES")
