"""Every key and environment variable is documented, and every config shown can be used."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from sekimori.config import doors, gateway, line, links, load, users
from sekimori.config.load import parse_config
from sekimori.config.schema import MAPPING_KEYS
from sekimori.model.grantwords import GRANT_FIELDS
from sekimori.model.words import Reading
from sekimori.presets.load import load_presets
from tests.docs.documents import LANGUAGES, ROOT, blocks, pages

SECTIONS = {
    "daemon": load._DAEMON,
    "api": load._API,
    "relay": load._RELAY,
    "policy": load._POLICY,
    "network": load._NETWORK,
    "line": line.LINE,
    "gateway": gateway.GATEWAY,
    "doors": doors.DOORS,
}
EXAMPLES = [block for language in LANGUAGES for page in pages(language) for block in blocks(page)]


def _keys(language: str, heading: str) -> list[str]:
    text = (ROOT / "docs" / language / "reference" / "config.md").read_text(encoding="utf-8")
    section = text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return re.findall(r"^\| `([a-z0-9_]+)` \|", section, re.MULTILINE)


@pytest.mark.parametrize("section", SECTIONS)
def test_the_keys_of_a_table_are_documented(language, section):
    assert sorted(_keys(language, f"[{section}]")) == sorted(SECTIONS[section])


def test_the_keys_of_a_mapping_are_documented(language):
    assert sorted(_keys(language, "[mappings.NAME]")) == sorted(MAPPING_KEYS)


def test_the_keys_of_a_door_are_documented(language):
    text = (ROOT / "docs" / language / "reference" / "config.md").read_text(encoding="utf-8")
    section = text.split("\n## [doors]\n", 1)[1].split("\n## ", 1)[0]
    for keys in doors.DOOR_KEYS.values():
        assert all(re.search(rf"^\|.*`{key}`.* \|", section, re.MULTILINE) for key in keys)


def test_the_keys_of_a_link_are_documented(language):
    assert sorted(_keys(language, "[links.NAME]")) == sorted(links.LINK_KEYS)


def test_the_keys_of_a_user_and_the_words_of_a_grant_are_documented(language):
    text = (ROOT / "docs" / language / "reference" / "config.md").read_text(encoding="utf-8")
    section = text.split("\n## [users.NAME]\n", 1)[1].split("\n## ", 1)[0]
    first = [row.split("|")[1] for row in section.splitlines() if row.startswith("| `")]
    assert re.findall(r"`([a-z_]+)`", " ".join(first)) == [*users.USER_KEYS, *GRANT_FIELDS]


def test_every_table_has_its_heading(language):
    text = (ROOT / "docs" / language / "reference" / "config.md").read_text(encoding="utf-8")
    for name in load._SECTIONS:
        assert f"\n## [{name}" in text


def test_every_environment_variable_is_documented(language):
    used = {
        found
        for file in (ROOT / "src").rglob("*.py")
        for found in re.findall(r"SEKIMORI_[A-Z_]*[A-Z]\b", file.read_text(encoding="utf-8"))
    }
    text = (ROOT / "docs" / language / "reference" / "config.md").read_text(encoding="utf-8")
    assert used == set(re.findall(r"^\| `(SEKIMORI_[A-Z_]+)`", text, re.MULTILINE))


@pytest.mark.parametrize(
    "block", [block for block in EXAMPLES if block.kind == "toml"], ids=lambda b: b.where
)
def test_every_config_shown_can_be_read(block):
    presets = load_presets()
    reading = Reading(time.time(), "UTC", presets.get, presets.suggest)
    assert parse_config(block.text, Path("/docs.toml"), reading).text == block.text
