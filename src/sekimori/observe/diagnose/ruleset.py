"""The rulesets of the whole machine as values, read from what `nft -j list ruleset` prints.

The schema is libnftables-json(5). A statement keeps its body as that page describes it, because its
vocabulary is large and grows; `match` evaluates what it knows of it and calls the rest unknown.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from sekimori.observe.diagnose.text import rule_text
from sekimori.observe.diagnose.truth import Truth

__all__ = [
    "Base",
    "Chain",
    "NamedSet",
    "Rule",
    "Ruleset",
    "RulesetUnreadable",
    "Statement",
    "Table",
    "read_ruleset",
]

OWN: Final = ("inet", "sekimori")
"""The family and name of the table that this program keeps."""

LEGACY: Final = " (legacy)"
"""Ends the name of a table of iptables-legacy, which nft does not see."""


class RulesetUnreadable(ValueError):  # noqa: N818 - the listing is unreadable, we are not in error
    """What should be a listing of nft is not one."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a rule: `match`, `accept`, `jump`, `dnat`, `xt` and so on.

    `any-of` is ours and stands for what iptables writes as one option: its body is a list of lists of
    matches, and it holds when all matches of one list hold; `none-of` is its contrary.
    """

    kind: str
    body: Any = None


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; `text` is how its own tool writes it, `handle` is 0 where there is none (x_tables)."""

    handle: int
    statements: tuple[Statement, ...]
    text: str
    comment: str | None = None

    @property
    def is_opaque(self) -> bool:
        """Whether it holds an expression of iptables that nft does not tell the meaning of."""
        return any(each.kind == "xt" for each in self.statements)


@dataclass(frozen=True, slots=True)
class Base:
    """What makes a chain a base chain: where in the packet's way it stands."""

    type: str
    """`filter`, `nat` or `route`."""
    hook: str
    priority: int
    policy: str
    """`accept` or `drop`."""
    devices: tuple[str, ...] = ()
    """Of a chain on ingress or egress; none where the listing does not tell (nft 1.0.6 does not)."""

    def takes_from(self, device: str) -> Truth:
        """Whether a chain on ingress or egress sees what passes this interface."""
        return Truth.of(device in self.devices) if self.devices else Truth.MAYBE


@dataclass(frozen=True, slots=True)
class Chain:
    """Rules in order, and the hook they hang on, if any."""

    name: str
    rules: tuple[Rule, ...] = ()
    base: Base | None = None


@dataclass(frozen=True, slots=True)
class NamedSet:
    """A named set or map; `elements` is None where the listing left them out."""

    name: str
    elements: tuple[Any, ...] | None
    kind: str = "set"
    """`set` or `map`."""


@dataclass(frozen=True, slots=True)
class Table:
    """One table: its chains and named sets by name."""

    family: str
    name: str
    chains: Mapping[str, Chain]
    sets: Mapping[str, NamedSet] = field(default_factory=dict)

    @property
    def bases(self) -> tuple[Chain, ...]:
        """The chains that packets enter by themselves."""
        return tuple(chain for chain in self.chains.values() if chain.base is not None)


@dataclass(frozen=True, slots=True)
class Ruleset:
    """All tables."""

    tables: tuple[Table, ...] = ()

    def table(self, family: str, name: str) -> Table | None:
        """The table of that family and name."""
        return next((each for each in self.tables if (each.family, each.name) == (family, name)), None)

    def without(self, tables: Container[tuple[str, str]]) -> Ruleset:
        """What is left when tables, given by family and name, are left out."""
        return Ruleset(tuple(each for each in self.tables if (each.family, each.name) not in tables))

    def with_tables(self, tables: Iterable[Table]) -> Ruleset:
        """Tables added, or put in the place of those of the same family and name."""
        added = {(each.family, each.name): each for each in tables}
        kept = [added.pop((each.family, each.name), each) for each in self.tables]
        return Ruleset((*kept, *added.values()))

    def with_elements(self, family: str, table: str, name: str, elements: Iterable[Any]) -> Ruleset:
        """The elements of a set that the listing left out, now known."""
        found = self.table(family, table)
        if found is None or name not in found.sets:
            return self
        sets = {**found.sets, name: replace(found.sets[name], elements=tuple(elements))}
        return self.with_tables([replace(found, sets=sets)])


def read_ruleset(document: Mapping[str, Any], *, terse: bool = False) -> Ruleset:
    """Read the JSON document of `nft -j list ruleset`.

    Args:
        document: the parsed JSON.
        terse: it was listed without the elements of sets (`nft -t`), so a set without elements
            may have any; otherwise it is an empty one.

    Raises:
        RulesetUnreadable: it is not a listing.
    """
    try:
        return _read([(kind, body) for each in document["nftables"] for kind, body in each.items()], terse)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RulesetUnreadable(f"not a listing of nft: {error!r}") from error


def _read(objects: list[tuple[str, Any]], terse: bool) -> Ruleset:
    tables: dict[tuple[str, str], Table] = {}
    chains: dict[tuple[str, str, str], Chain] = {}
    rules: dict[tuple[str, str, str], list[Rule]] = {}
    sets: dict[tuple[str, str], dict[str, NamedSet]] = {}
    for kind, body in objects:
        if kind == "table":
            tables[body["family"], body["name"]] = Table(body["family"], body["name"], {})
        elif kind == "chain":
            chains[body["family"], body["table"], body["name"]] = _chain(body)
        elif kind == "rule":
            rules.setdefault((body["family"], body["table"], body["chain"]), []).append(_rule(body))
        elif kind in ("set", "map"):
            where = (body["family"], body["table"])
            tables.setdefault(where, Table(*where, {}))  # a listing of one set names no table
            elements = body.get("elem", None if terse else ())
            known = NamedSet(body["name"], None if elements is None else tuple(elements), kind)
            sets.setdefault(where, {})[body["name"]] = known
    for place, chain in chains.items():
        chains[place] = replace(chain, rules=tuple(rules.get(place, ())))
    return Ruleset(
        tuple(
            replace(
                table,
                chains={name: chain for (*where, name), chain in chains.items() if tuple(where) == key},
                sets=sets.get(key, {}),
            )
            for key, table in tables.items()
        )
    )


def _chain(body: Mapping[str, Any]) -> Chain:
    if "hook" not in body:
        return Chain(body["name"])
    devices = body.get("dev", ())
    base = Base(
        body["type"],
        body["hook"],
        int(body["prio"]),
        body.get("policy", "accept"),
        (devices,) if isinstance(devices, str) else tuple(devices),
    )
    return Chain(body["name"], base=base)


def _rule(body: Mapping[str, Any]) -> Rule:
    statements = [
        # nft before 1.0.2 prints an expression of iptables as a bare null.
        Statement(kind, inner) if each is not None else Statement("xt", None)
        for each in body.get("expr", ())
        for kind, inner in ({"xt": None} if each is None else each).items()
    ]
    return Rule(
        int(body["handle"]),
        tuple(statements),
        rule_text([(each.kind, each.body) for each in statements]),
        body.get("comment"),
    )
