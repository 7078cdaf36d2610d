"""Read the presets that ship with the program, strictly, into frozen values."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, Final, TypeVar

from sekimori.model.address import PortPair, PortSpec, format_ports, parse_ports
from sekimori.model.errors import Problem
from sekimori.model.lifetime import parse_duration
from sekimori.model.limits import Rate
from sekimori.model.mapping import check_name
from sekimori.model.preset import Preset, RiskClass

__all__ = ["DANGERS", "LANGUAGES", "Presets", "load_presets"]

_T = TypeVar("_T")

LANGUAGES: Final = ("en", "ja")
"""The languages every title and note is written in."""

DANGERS: Final = frozenset(
    {
        "exposed-admin",  # whoever gets in controls a machine or reads its data
        "cleartext-login",  # passwords travel readable
        "open-resolver",  # a DNS resolver for the world (RFC 5358)
        "amplifier",  # small forged questions, large answers to a victim
        "open-proxy",  # strangers act under this address
        "toll-fraud",  # strangers telephone at the owner's cost
        "broken-crypto",  # encryption that whoever listens can undo
        "dmz",  # a whole machine, whatever listens there (`policy.dangers`)
    }
)
"""The risks that have a name, as `--accept-risk` takes them."""

_FILES: Final = ("admin.toml", "web.toml", "game.toml", "p2p.toml", "infra.toml")
_DEFAULTS: Final = frozenset({"risk", "sources", "lifetime", "limit", "danger"})
_KEYS: Final = _DEFAULTS | {"title", "ports", "aliases", "note"}
_NAME: Final = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")


class Presets:
    """All presets, found by name or alias, by resemblance, or by a dangerous port.

    Raises:
        ValueError: two presets share a name or an alias.
    """

    def __init__(self, presets: Iterable[Preset]) -> None:
        self._all = tuple(presets)
        self._by_word: dict[str, Preset] = {}
        self._dangers: dict[tuple[str, int], Preset] = {}
        for preset in self._all:
            for word in (preset.name, *preset.aliases):
                other = self._by_word.setdefault(word, preset)
                if other is not preset:
                    raise ValueError(f"presets: '{word}' names both '{other.name}' and '{preset.name}'")
        # Administration comes first: its risk is the gravest where two presets share a port.
        for preset in sorted(self._all, key=lambda each: each.risk is not RiskClass.ADMIN):
            if preset.danger is not None:
                for key in _ports_of(preset):
                    self._dangers.setdefault(key, preset)

    def all(self) -> tuple[Preset, ...]:
        """Every preset, in the order of the files."""
        return self._all

    def get(self, name: str) -> Preset | None:
        """The preset of a name or an alias, whatever its case."""
        return self._by_word.get(name.strip().lower())

    def suggest(self, name: str) -> tuple[str, ...]:
        """Up to three names of presets that `name` may have been meant for, those it begins first."""
        text = name.strip().lower()
        if not text:
            return ()
        begins = [word for word in self._by_word if word.startswith(text)]
        near = get_close_matches(text, self._by_word, n=6, cutoff=0.7)
        within = [word for word in self._by_word if len(text) > 2 and text in word]
        words = dict.fromkeys([*begins, *near, *within])
        return tuple(dict.fromkeys(self._by_word[word].name for word in words))[:3]

    def danger_for(self, protocol: str, port: int) -> Preset | None:
        """The preset whose named danger an open port would bring; administration before the rest."""
        return self._dangers.get((protocol, port))


def load_presets(directory: Traversable | None = None) -> Presets:
    """Read every preset of the package, or of another directory with the same files.

    Takes 13 ms (179 presets, one 2026 server core); the caller keeps the result.

    Raises:
        ValueError: a file breaks the format; the text names the file, the preset and the key.
        FileNotFoundError: a file of a risk class is missing.
    """
    source = files("sekimori.presets") if directory is None else directory
    found: list[Preset] = []
    for name in _FILES:
        found += _read_file(name, (source / name).read_text(encoding="utf-8"))
    return Presets(found)


def _read_file(file: str, text: str) -> Iterator[Preset]:
    try:
        tables: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{file}: {error}") from None
    defaults = _Table(file, "defaults", tables.pop("defaults", {}), _DEFAULTS)
    for name, fields in tables.items():
        yield _read_preset(name, _Table(file, name, fields, _KEYS, defaults.fields))


class _Table:
    """One TOML table whose keys are known, with the defaults of its file below it."""

    def __init__(
        self,
        file: str,
        name: str,
        fields: object,
        known: frozenset[str],
        defaults: Mapping[str, Any] | None = None,
    ) -> None:
        self._where = f"{file}: [{name}]"
        if not isinstance(fields, dict):
            raise ValueError(f"{self._where} is not a table")
        for key in fields:
            if key not in known:
                raise ValueError(f"{self._where} {key}: unknown key")
        self.fields: dict[str, Any] = {**(defaults or {}), **fields}

    def refuse(self, key: str, why: str) -> ValueError:
        return ValueError(f"{self._where} {key}: {why}")

    def text(self, key: str) -> str:
        value = self.fields.get(key)
        if not isinstance(value, str) or not value.strip():
            raise self.refuse(key, "missing" if value is None else "not a text")
        return value

    def read(self, key: str, parse: Callable[[str], _T]) -> _T:
        text = self.text(key)
        try:
            return parse(text)
        except (ValueError, Problem) as error:
            raise self.refuse(key, str(error)) from None

    def texts(self, key: str) -> tuple[str, ...]:
        value = self.fields.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.refuse(key, "not a list of texts")
        return tuple(value)

    def translated(self, key: str) -> dict[str, str]:
        value = self.fields.get(key)
        if not isinstance(value, dict) or set(value) != set(LANGUAGES):
            raise self.refuse(key, f"needs exactly the languages {', '.join(LANGUAGES)}")
        for language, text in value.items():
            if not isinstance(text, str) or not text.strip():
                raise self.refuse(f"{key}.{language}", "not a text")
        return value


def _read_preset(name: str, table: _Table) -> Preset:
    fields = table.fields
    preset = Preset(
        name=_read_word(name, "name", table),
        title=table.translated("title"),
        ports=_read_ports(table),
        risk=table.read("risk", RiskClass),
        sources=table.text("sources"),
        lifetime=table.read("lifetime", parse_duration),
        aliases=tuple(_read_word(alias, "aliases", table) for alias in table.texts("aliases")),
        limit=str(table.read("limit", Rate.parse)) if "limit" in fields else None,
        danger=table.text("danger") if "danger" in fields else None,
        note=table.translated("note") if "note" in fields else {},
    )
    _check_safety(preset, table)
    return preset


def _read_word(word: str, key: str, table: _Table) -> str:
    if not _NAME.fullmatch(word):
        raise table.refuse(key, f"'{word}' is not in kebab case")
    try:
        # A mapping takes the name of its preset unless it is given one.
        return check_name(word)
    except Problem as error:
        raise table.refuse(key, str(error)) from None


def _read_ports(table: _Table) -> tuple[str, ...]:
    texts = table.texts("ports")
    if not texts:
        raise table.refuse("ports", "missing")
    seen: list[tuple[str, PortSpec]] = []
    for text in texts:
        spec = _read_spec(text, table)
        for other_text, other in seen:
            if set(spec.protocols) & set(other.protocols) and spec.outside.overlaps(other.outside):
                raise table.refuse("ports", f"'{text}' overlaps '{other_text}'")
        seen.append((text, spec))
    return texts


def _read_spec(text: str, table: _Table) -> PortSpec:
    try:
        specs = parse_ports(text)
    except Problem as error:
        raise table.refuse("ports", str(error)) from None
    spec = specs[0]
    pairs = [PortPair(protocol, spec.outside, spec.outside) for protocol in spec.protocols]
    if len(specs) > 1 or text != format_ports(pairs):
        raise table.refuse("ports", f"'{text}' is not one PROTOCOL/PORT or PROTOCOL/FIRST-LAST")
    return spec


def _check_safety(preset: Preset, table: _Table) -> None:
    if preset.sources not in ("lan", "anyone"):
        raise table.refuse("sources", f"'{preset.sources}' is neither lan nor anyone")
    if preset.danger is None:
        if preset.risk is RiskClass.ADMIN:
            raise table.refuse("danger", "an admin preset needs one")
        return
    if preset.danger not in DANGERS:
        raise table.refuse("danger", f"'{preset.danger}' is none of {', '.join(sorted(DANGERS))}")
    if preset.sources != "lan":
        raise table.refuse("sources", "a preset with a danger starts with lan")
    if not preset.note:
        raise table.refuse("note", "a preset with a danger says why, and the safer way")


def _ports_of(preset: Preset) -> Iterator[tuple[str, int]]:
    for text in preset.ports:
        for spec in parse_ports(text):
            # A protocol without ports is no danger by itself: what is carried in it is.
            for protocol in (each for each in spec.protocols if each.has_ports):
                for port in spec.outside:
                    yield protocol, port
