"""Patterns of regcomp(3) as Python reads them, held against what grep -E finds."""

from __future__ import annotations

import re
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekimori.config.posixregex import from_posix
from sekimori.model.causes import Unreadable

TEXTS = [
    "My evil app ver 12",
    "evil",
    "a]b",
    "a\\b",
    "aab",
    "x-y",
    "abc",
    "a.c",
    "a{2}",
    "tab\there",
    "[",
    "&&~~",
]


@pytest.mark.parametrize(
    "pattern",
    [
        "evil app ver [[:digit:]]+",
        "^My",
        "12$",
        "[]]",
        "[^]a]",
        r"[\]b",
        r"a\\b",
        r"a\.c",
        "a{2}b",
        "(a|x)[-x]",
        "[a-c]{3}",
        "[[:alpha:]_-]c$",
        "[[:space:]]here",
        "[[]",
        "[&~|]+",
        "a.c|x-y",
        r"\<evil\>",
        r"\bevil",
        "",
    ],
)
def test_it_finds_what_grep_finds(pattern: str) -> None:
    ran = subprocess.run(
        ["grep", "-E", "--", pattern], input="\n".join(TEXTS), capture_output=True, text=True, check=False,
        env={"LC_ALL": "C"},
    )  # fmt: skip
    assert ran.stderr == ""
    found = re.compile(from_posix(pattern), re.DOTALL)
    assert [text for text in TEXTS if found.search(text)] == ran.stdout.splitlines()


@pytest.mark.parametrize(
    "pattern",
    [
        "(",
        ")",
        "a**",
        "a*+",
        "*a",
        "(*a)",
        "(?i)a",
        "[a",
        "[[:moon:]]",
        "[[.a.]]",
        "a{x}",
        r"\1",
        "a\\",
        "[b-a]",
    ],
)
def test_what_has_no_equal_is_refused(pattern: str) -> None:
    with pytest.raises(Unreadable) as refused:
        from_posix(pattern)
    assert refused.value.why["ja"].startswith(f"パターン {pattern} は移せません")


@given(st.text(alphabet="ab]^-[:\\(){}*+?.|$,0123&~", max_size=12))
@settings(max_examples=500)
def test_any_text_is_a_pattern_or_refused(text: str) -> None:
    """Without a warning either: Python foresees a change of what some brackets mean."""
    try:
        found = from_posix(text)
    except Unreadable:
        return
    re.compile(f"(?is).*(?:{found}).*")
