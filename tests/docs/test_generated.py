"""The pages that the program writes are what it would write now, and say all there is."""

from __future__ import annotations

import importlib.util
import re
import sys
from types import ModuleType

import pytest

from sekimori.cli.help import flags_of
from sekimori.cli.verbs import VERBS
from sekimori.model.errors import EXIT_CODES
from sekimori.model.messages import MESSAGES
from sekimori.presets.load import load_presets
from tests.docs.documents import LANGUAGES, ROOT, headings

SCRIPT = ROOT / "scripts" / "generate-reference.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_reference", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("language", LANGUAGES)
def test_generated_pages_are_current(script, language):
    for name, content in script.pages(language).items():
        stands = (ROOT / "docs" / name).read_text(encoding="utf-8")
        assert stands == content, f"docs/{name} is out of date: run {SCRIPT.relative_to(ROOT)}"


def test_check_tells_a_stale_page(script, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(script, "DOCS", tmp_path)
    assert script.main(["--check"]) == 1
    assert "out of date: docs/en/reference/cli.md" in capsys.readouterr().out
    assert not list(tmp_path.rglob("*.md"))
    assert script.main([]) == 0
    assert script.main(["--check"]) == 0


def _read(language: str, name: str) -> str:
    return (ROOT / "docs" / language / "reference" / f"{name}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_and_flag_is_documented(language, verb):
    page = ROOT / "docs" / language / "reference" / "cli.md"
    assert (2, verb) in headings(page)
    section = _read(language, "cli").split(f"\n## {verb}\n", 1)[1].split("\n## ", 1)[0]
    for flag, _ in flags_of(verb)[1]:
        assert f"--{flag.replace('_', '-')}" in section


def test_every_problem_and_exit_code_is_documented(language):
    page = ROOT / "docs" / language / "reference" / "problems.md"
    codes = [text for level, text in headings(page) if level == 3]
    assert codes == list(MESSAGES)
    table = re.findall(r"^\| (\d+) \| ([a-z-]*) \|", _read(language, "problems"), re.MULTILINE)
    assert dict(table) == {"0": "", **{str(code): str(kind) for kind, code in EXIT_CODES.items()}}


def test_every_preset_is_documented(language):
    listed = re.findall(r"^\| `([a-z0-9-]+)`", _read(language, "presets"), re.MULTILINE)
    names = [preset.name for preset in load_presets().all()]
    assert set(names) <= set(listed)


def test_every_route_is_documented(script, language):
    text = _read(language, "api")
    for path, operations in script._openapi()["paths"].items():
        for method in operations:
            assert f"`{method.upper()} {path.replace(':path', '')}`" in text
