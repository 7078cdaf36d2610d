"""The documents hold together: two languages alike, links that lead somewhere, an index of all."""

from __future__ import annotations

import re

import pytest

from tests.docs.documents import (
    FRONT,
    LANGUAGES,
    ROOT,
    all_pages,
    anchor,
    blocks,
    headings,
    is_written_by_hand,
    named,
    pages,
    prose,
)

_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


def _below(language: str) -> set[str]:
    return {str(page.relative_to(ROOT / "docs" / language)) for page in pages(language)[1:]}


def test_both_languages_have_the_same_pages():
    assert _below("en") == _below("ja")
    assert len(_below("en")) >= 20


@pytest.mark.parametrize("name", ["", *sorted(_below("en"))])
def test_a_page_is_built_alike_in_both_languages(name):
    both = [ROOT / "docs" / language / name if name else FRONT[language] for language in LANGUAGES]
    english, japanese = ([level for level, _ in headings(page)] for page in both)
    assert english == japanese
    kinds = [[block.kind for block in blocks(page)] for page in both]
    assert kinds[0] == kinds[1]
    rows = [len(re.findall(r"^\|", prose(page), re.MULTILINE)) for page in both]
    assert rows[0] == rows[1]


@pytest.mark.parametrize("page", [page for page in pages("ja") if is_written_by_hand(page)], ids=named)
def test_a_japanese_page_is_in_japanese(page):
    paragraphs = [part for part in re.split(r"\n\s*\n", prose(page)) if len(part) > 60]
    foreign = [part for part in paragraphs if not re.search(r"[ぁ-んァ-ヶ]", part)]
    assert not foreign


@pytest.mark.parametrize("page", all_pages(), ids=named)
def test_links_lead_somewhere(page):
    for target in _LINK.findall(prose(page)):
        if target.startswith(("https://", "http://")):
            continue
        path, _, fragment = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{target} is not there"
        if fragment:
            assert fragment in {anchor(text) for _, text in headings(file)}, f"{target} has no such heading"


def test_every_page_is_in_its_index(language):
    index = ROOT / "docs" / language / "README.md"
    linked = {(index.parent / target.partition("#")[0]).resolve() for target in _LINK.findall(prose(index))}
    assert {page.resolve() for page in pages(language)[1:]} - {index} <= linked


@pytest.mark.parametrize("page", [page for page in all_pages() if is_written_by_hand(page)], ids=named)
def test_no_line_of_prose_is_badly_long(page):
    long = [line for line in prose(page).splitlines() if len(line) > 125 and not line.startswith("|")]
    assert not long
