"""Rulesets for tests, as nft 1.0.6 lists them."""

from __future__ import annotations

import ipaddress
from typing import Any

from sekimori.observe.diagnose.probe import Nat, Probe, Way
from sekimori.observe.diagnose.ruleset import Ruleset, read_ruleset

OUTSIDE = ipaddress.ip_address("203.0.113.2")
SERVER = ipaddress.ip_address("192.168.1.10")
SERVER6 = ipaddress.ip_address("2001:db8:3::10")

FORWARD = Probe("tcp", OUTSIDE, 8080, "wan", oif="lan", nat=Nat(SERVER, 80), own=frozenset({OUTSIDE}))
PINHOLE = Probe("tcp", SERVER6, 80, "wan", oif="lan")
PERMIT = Probe("tcp", OUTSIDE, 22, "wan", way=Way.INPUT, own=frozenset({OUTSIDE}))

DROP: dict[str, Any] = {"drop": None}
ACCEPT: dict[str, Any] = {"accept": None}


def listing(
    *chains: tuple[str, dict[str, Any] | None, list[list[dict[str, Any]]]],
    family: str = "inet",
    table: str = "other",
    more: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """A document of one table: chains with their hook (None: no base chain) and their rules' expressions."""
    where = {"family": family, "table": table}
    objects: list[dict[str, Any]] = [
        {"metainfo": {}},
        {"table": {"family": family, "name": table, "handle": 1}},
    ]
    objects += more or []
    for name, hook, _ in chains:
        objects.append({"chain": {**where, "name": name, "handle": 1, **(hook or {})}})
    handle = 1
    for name, _, rules in chains:
        for expressions in rules:
            handle += 1
            objects.append({"rule": {**where, "chain": name, "handle": handle, "expr": expressions}})
    return {"nftables": objects}


def on(hook: str, priority: int = 0, policy: str = "accept", kind: str = "filter") -> dict[str, Any]:
    return {"type": kind, "hook": hook, "prio": priority, "policy": policy}


def forward(*rules: list[dict[str, Any]], policy: str = "accept", more: Any = None) -> Ruleset:
    """A ruleset with one chain on the forward hook."""
    return read_ruleset(listing(("c", on("forward", policy=policy), list(rules)), more=more))


def match(left: Any, right: Any, op: str = "==") -> dict[str, Any]:
    return {"match": {"op": op, "left": left, "right": right}}


def payload(protocol: str, field: str) -> dict[str, Any]:
    return {"payload": {"protocol": protocol, "field": field}}


def meta(key: str) -> dict[str, Any]:
    return {"meta": {"key": key}}


def ct(key: str, **more: Any) -> dict[str, Any]:
    return {"ct": {"key": key, **more}}
