"""Whether a rule's matches hold for a packet: yes, no, or it cannot be told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sekimori.model.address import IPAddress
from sekimori.observe.diagnose.fields import ABSENT, EPHEMERAL, PROTOCOLS, UNKNOWN, read_field
from sekimori.observe.diagnose.probe import Packet
from sekimori.observe.diagnose.ruleset import NamedSet, Statement
from sekimori.observe.diagnose.strangers import Stranger, address_span, holds
from sekimori.observe.diagnose.truth import Truth, all_of, any_of

__all__ = ["Sets", "contains", "look_up", "matches"]

Sets = Mapping[str, NamedSet]
"""The named sets of the table a rule stands in."""

_PASSES: Final = frozenset(
    {"counter", "log", "comment", "set", "map", "flow", "mangle", "dup", "last", "ct helper", "ct timeout"}
    | {"ct expectation", "secmark", "notrack", "quota", "dnat", "snat", "redirect", "masquerade", "tproxy"}
    | {"accept", "drop", "continue", "return", "jump", "goto", "reject", "vmap", "queue", "fwd", "synproxy"}
)
"""Statements that do not decide whether the rule applies to the first packet of an ordinary flow."""

_RATES: Final = frozenset({"limit", "ct count", "quota"})


def matches(statement: Statement, packet: Packet, sets: Sets) -> Truth:
    """Whether a statement lets the rule go on to the next one for this packet.

    Limits are taken as not reached: the packet is one, and it is asked whether it can pass at all.
    """
    kind, body = statement.kind, statement.body
    if kind == "match":
        return _compare(body, packet, sets)
    if kind in ("any-of", "none-of"):
        found = any_of(all_of(_compare(each, packet, sets) for each in group) for group in body)
        return found if kind == "any-of" else found.negated()
    if kind in _RATES:
        return Truth.of(not (body or {}).get("inv", False))
    if kind in ("set", "map") and body and body.get("stmt"):
        return all_of(
            Truth.of(not (inner or {}).get("inv", False)) for each in body["stmt"] for inner in each.values()
        )
    if kind in _PASSES:
        return Truth.YES
    if kind == "xt" and isinstance(body, dict) and body.get("name") == "comment":
        return Truth.YES
    return Truth.MAYBE


def _compare(body: Mapping[str, Any], packet: Packet, sets: Sets) -> Truth:
    value = read_field(body["left"], packet)
    if value is ABSENT:  # a load that fails ends the rule, whatever the operator (nft_payload.c, nft_ct.c)
        return Truth.NO
    if value is UNKNOWN:
        return Truth.MAYBE
    operator, right = body["op"], body["right"]
    if operator in ("<", ">", "<=", ">="):
        return _order(operator, value, right)
    if operator == "in" and isinstance(value, frozenset):
        return Truth.of(bool(value & _flags(right)))
    found = contains(value, right, sets)
    return found.negated() if operator == "!=" else found


def _order(operator: str, value: Any, right: Any) -> Truth:
    if value is EPHEMERAL and isinstance(right, int) and right <= 1024:
        return Truth.of(operator in (">", ">="))
    if not isinstance(value, int) or not isinstance(right, int):
        return Truth.MAYBE
    outcome = {"<": value < right, ">": value > right, "<=": value <= right, ">=": value >= right}
    return Truth.of(outcome[operator])


def contains(value: Any, item: Any, sets: Sets) -> Truth:
    """Whether a field's value is what stands on the right of a comparison, or among it."""
    if value is UNKNOWN:
        return Truth.MAYBE
    if isinstance(item, str) and item.startswith("@"):
        known = sets.get(item[1:])
        if known is None or known.elements is None:
            return Truth.MAYBE
        return _among(value, known.elements, sets)
    if isinstance(item, dict) and "set" in item:
        return _among(value, item["set"], sets)
    if isinstance(item, dict) and "elem" in item:
        return contains(value, item["elem"]["val"], sets)
    if isinstance(value, tuple):
        parts = item.get("concat") if isinstance(item, dict) else None
        if parts is None or len(parts) != len(value):
            return Truth.MAYBE
        return all_of(contains(one, part, sets) for one, part in zip(value, parts, strict=True))
    return _equals(value, item)


def _among(value: Any, elements: Any, sets: Sets) -> Truth:
    if isinstance(value, Stranger):  # many small prefixes add up
        spans = [address_span(_bare(each)) for each in elements]
        return holds([each for each in spans if each is not None], value)
    return any_of(contains(value, each, sets) for each in elements)


def _bare(element: Any) -> Any:
    return element["elem"]["val"] if isinstance(element, dict) and "elem" in element else element


def _equals(value: Any, item: Any) -> Truth:
    if value is EPHEMERAL:
        return _ephemeral(item)
    if isinstance(value, bool) or isinstance(item, bool):
        return Truth.of(bool(value) is bool(item))
    if isinstance(value, frozenset):
        return Truth.of(value == _flags(item))
    if isinstance(value, IPAddress | Stranger):
        span = address_span(item)
        return Truth.MAYBE if span is None else holds([span], value)
    if isinstance(value, int):
        return _number(value, item)
    if isinstance(item, int):  # a protocol that nft has no name for
        return Truth.of(PROTOCOLS.get(item) == value)
    if isinstance(item, str):
        return Truth.of(value.startswith(item[:-1]) if item.endswith("*") else value == item)
    return Truth.MAYBE


def _number(value: int, item: Any) -> Truth:
    if isinstance(item, dict) and "range" in item:
        first, last = item["range"]
        if isinstance(first, int) and isinstance(last, int):
            return Truth.of(first <= value <= last)
        return Truth.MAYBE
    return Truth.of(value == item) if isinstance(item, int) else Truth.MAYBE


def _ephemeral(item: Any) -> Truth:
    """A client's port is in a range that holds all of them, and is not a single one that a rule names."""
    first, last = item["range"] if isinstance(item, dict) and "range" in item else (item, item)
    if not isinstance(first, int) or not isinstance(last, int):
        return Truth.MAYBE
    if first <= 1024 and last == 65535:
        return Truth.YES
    return Truth.NO if last < 1024 or first == last else Truth.MAYBE


def _flags(item: Any) -> frozenset[str]:
    if isinstance(item, dict) and "|" in item:
        item = item["|"]
    return frozenset(map(str, item)) if isinstance(item, list) else frozenset({str(item)})


def look_up(key: Any, data: Any, packet: Packet, sets: Sets) -> list[tuple[Truth, Any]]:
    """What a map gives for a key: each value it may be, the certain one last; nothing when it misses."""
    value = read_field(key, packet)
    if value is ABSENT:
        return []
    if isinstance(data, str):
        known = sets.get(data[1:])
        if known is None or known.elements is None:
            return [(Truth.MAYBE, None)]
        elements: Any = known.elements
    else:
        elements = data["set"]
    found: list[tuple[Truth, Any]] = []
    for each in elements:
        truth = contains(value, each[0], sets) if each[0] != "*" else Truth.YES
        if truth is not Truth.NO:
            found.append((truth, each[1]))
        if truth is Truth.YES:
            break
    return found
