"""The pages on links, SOCKS and the SSH door tell the bounds and the key options that the program has."""

from __future__ import annotations

import re

import pytest

from sekimori.doors.ssh import connection, penalties, waiting
from sekimori.model.errors import Problem
from sekimori.model.grantwords import GRANT_FIELDS
from sekimori.planes.link import joining
from sekimori.planes.relay import dynamic, dynamicudp
from sekimori.testing.publickeys import public_key
from sekimori.wire.authorizedkeys import parse_line
from tests.docs.documents import ROOT

_VALUES = {
    "permitlisten": '="8080"',
    "permitopen": '="db.example:5432"',
    "from": '="192.0.2.0/24"',
    "expiry-time": '="20991231"',
    "principals": '="bob"',
    "command": '="true"',
    "environment": '="A=b"',
}


def _page(language: str, name: str) -> str:
    return (ROOT / "docs" / language / f"{name}.md").read_text(encoding="utf-8")


def _rows(text: str) -> list[list[str]]:
    return [
        [cell.strip() for cell in row.strip("|").split("|")] for row in text.splitlines() if row[:1] == "|"
    ]


def _numbers(text: str) -> set[int]:
    return {int(found.replace(",", "")) for found in re.findall(r"\d[\d,]*", text)}


def test_the_bounds_of_the_door_are_those_of_the_program(language):
    heading = {"en": "Under attack", "ja": "攻撃されたとき"}[language]
    section = _page(language, "explanation/links").split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    bounds = [_numbers(row[1]) for row in _rows(section)[2:]]
    assert {waiting.MOST, waiting.MOST_OF_A_SOURCE} <= bounds[0]
    assert bounds[1] == {int(connection.DEADLINE)}
    assert bounds[2] == {penalties.FREE}
    assert int(penalties.LONGEST / 60) in _numbers(_rows(section)[4][2])
    told = _numbers(section)
    assert {int(dynamic.ASK_WITHIN), dynamicudp.PLACES} <= told


def test_the_patience_of_a_link_is_that_of_the_program(language):
    assert int(joining.SILENCE) in _numbers(_page(language, "how-to/through-another-machine"))


def _options(language: str) -> list[str]:
    heading = {"en": "A file of keys", "ja": "鍵のファイル"}[language]
    section = _page(language, "how-to/ssh-door").split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    cells = " ".join(row[0] for row in _rows(section)[2:])
    return [found.partition("=")[0] for found in re.findall(r"`([^`]+)`", cells)]


def test_every_option_that_is_told_is_taken(language):
    line = public_key("docs")
    options = _options(language)
    assert {"restrict", "permitlisten", "permitopen", "from", "expiry-time", "principals"} <= set(options)
    for option in options:
        if option == "no-":
            continue
        before = "cert-authority," if option in ("principals", "verify-required") else ""
        parse_line(f"{before}{option}{_VALUES.get(option, '')} {line}")


@pytest.mark.parametrize("option", ["frobnicate", 'tunnel="0"', 'expiry-time="soon"'])
def test_others_are_refused_as_is_told(option):
    with pytest.raises(Problem, match="key"):
        parse_line(f"{option} {public_key('docs')}")


def test_every_word_of_a_grant_is_told(language):
    section = _page(language, "how-to/ssh-door")
    told = {word for row in _rows(section) if len(row) == 3 for word in re.findall(r"`(\w+)`", row[1])}
    assert set(GRANT_FIELDS) <= told
