"""Reading the documents: their pages, headings, links and code."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LANGUAGES = ("en", "ja")
FRONT = {"en": ROOT / "README.md", "ja": ROOT / "README.ja.md"}
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    page: Path
    kind: str
    text: str

    @property
    def where(self) -> str:
        return str(self.page.relative_to(ROOT))


@dataclass(frozen=True)
class Typed:
    """A line that a reader types, and what the page shows as its answer."""

    page: Path
    line: str
    answer: tuple[str, ...]


def pages(language: str) -> list[Path]:
    """Every page of one language, the front page of the repository first."""
    return [FRONT[language], *sorted((ROOT / "docs" / language).rglob("*.md"))]


def all_pages() -> list[Path]:
    others = [ROOT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")]
    return [*pages("en"), *pages("ja"), *sorted((ROOT / "docs" / "adr").glob("*.md")), *others]


def language_of(page: Path) -> str:
    return "ja" if page in pages("ja") else "en"


def is_written_by_hand(page: Path) -> bool:
    return not page.read_text(encoding="utf-8").startswith("<!-- Written by scripts/")


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [Block(page, kind, body) for kind, body in _FENCE.findall(text)]


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def headings(page: Path) -> list[tuple[int, str]]:
    """Level and text, in order."""
    return [(len(marks), text) for marks, text in re.findall(r"^(#+) +(.+)$", prose(page), re.MULTILINE)]


def anchor(heading: str) -> str:
    """The fragment GitHub gives a heading: lower case, no punctuation, spaces as hyphens."""
    kept = (c for c in heading.lower() if c in " -_" or unicodedata.category(c)[0] in "LNM")
    return "".join(kept).strip().replace(" ", "-")


def typed(page: Path) -> Iterator[Typed]:
    """Every line after a prompt in the page's console blocks."""
    for block in blocks(page):
        if block.kind != "console":
            continue
        line: str | None = None
        answer: list[str] = []
        for text in [*block.text.splitlines(), "$ "]:
            if text.startswith(("$ ", "# ")):
                if line is not None:
                    yield Typed(page, line, tuple(answer))
                line, answer = text[2:], []
            else:
                answer.append(text)


def named(page: Path) -> str:
    """A page as pytest shows it."""
    return str(page.relative_to(ROOT))
