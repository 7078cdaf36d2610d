"""One base chain and all it jumps to, walked with one packet."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any, Final

from sekimori.model.address import IPAddress
from sekimori.observe.diagnose.match import look_up, matches
from sekimori.observe.diagnose.passage import Doubt, Kind, Place, Step
from sekimori.observe.diagnose.probe import Packet
from sekimori.observe.diagnose.ruleset import Chain, Rule, Statement, Table
from sekimori.observe.diagnose.truth import Truth

__all__ = ["walk_base"]

_DEEPEST: Final = 16  # NFT_JUMP_STACK_SIZE, include/net/netfilter/nf_tables.h
_TERMINAL: Final = {
    "accept": Kind.ACCEPT,
    "drop": Kind.DROP,
    "reject": Kind.REJECT,
    "redirect": Kind.REDIRECT,
    "tproxy": Kind.TAKE,
    "fwd": Kind.TAKE,
    "queue": Kind.UNREAD,
}
_XT_TARGETS: Final = {
    "ACCEPT": Kind.ACCEPT,
    "DROP": Kind.DROP,
    "REJECT": Kind.REJECT,
    "DNAT": Kind.DNAT,
    "REDIRECT": Kind.REDIRECT,
    "TPROXY": Kind.TAKE,
}
_XT_GO_ON: Final = frozenset(
    {"LOG", "NFLOG", "TCPMSS", "MARK", "CONNMARK", "CHECKSUM", "CLASSIFY", "DSCP", "TOS", "TTL", "HL", "SET"}
    | {"SNAT", "MASQUERADE", "CONNSECMARK", "SECMARK", "AUDIT", "TRACE", "TEE", "TCPOPTSTRIP", "IDLETIMER"}
    | {"RATEEST", "CT", "LED"}
)
"""Targets of iptables after which the next rule is looked at, or that translate sources only."""
_BROAD: Final = frozenset(
    {"iifname", "oifname", "iif", "oif", "nfproto", "l4proto", "protocol", "state", "mark"}
)
_PAST_MATCHES: Final = frozenset({"match", "any-of", "none-of"})


def walk_base(table: Table, chain: Chain, packet: Packet, doubt: Doubt = Doubt.NONE) -> tuple[Step, ...]:
    """Everything that this base chain does or may do with the packet, in order.

    The last step is the only one that may be certain. Marks that the rules set are kept in the packet.
    `doubt` is why it is not certain that the packet enters the chain.
    """
    return _Walk(table, chain, packet, doubt).steps()


class _Walk:
    def __init__(self, table: Table, chain: Chain, packet: Packet, doubt: Doubt) -> None:
        self._entered = doubt
        self._table = table
        self._chain = chain
        self._packet = packet
        self._steps: list[Step] = []
        self._before = Doubt.NONE

    def steps(self) -> tuple[Step, ...]:
        assert self._chain.base is not None
        if not self._enter(self._chain, self._entered, narrow=False, depth=0):
            kind = Kind.DROP if self._chain.base.policy == "drop" else Kind.ACCEPT
            text = f"policy {self._chain.base.policy}"
            place = self._place(self._chain, Rule(0, (), text))
            self._steps.append(Step(kind, place, self._entered, self._before, policy=True))
        return tuple(self._steps)

    def _enter(self, chain: Chain, own: Doubt, *, narrow: bool, depth: int) -> bool:
        """Walk a chain; whether the packet, once in it, certainly does not come out at its end."""
        left = Doubt.NONE  # why it may have left this chain before
        for rule in chain.rules if depth < _DEEPEST else ():
            truth, why = self._applies(rule, max(own, left, self._before))
            if truth is Truth.NO:
                continue
            for statement, certain in self._actions(rule):
                here = max(left, why, Doubt.NONE if certain else Doubt.PARTIAL)
                asked = narrow or _asks_more(rule)
                ends = statement.kind != "return" and self._act(
                    statement, rule, chain, max(own, here), narrow=asked, depth=depth
                )
                if here is Doubt.NONE and (ends or statement.kind in ("return", "goto")):
                    return ends
                if statement.kind in ("return", "goto"):
                    left = here
        return False

    def _applies(self, rule: Rule, here: Doubt) -> tuple[Truth, Doubt]:
        """Whether a rule's matches hold, and why that is not known; marks it sets are set.

        `here` is why the packet may not come to the rule at all.
        """
        why = Doubt.NONE
        for statement in rule.statements:
            truth = matches(statement, self._packet, self._table.sets)
            if truth is Truth.NO or (statement.kind == "dnat" and not self._destinations(statement.body)):
                return Truth.NO, Doubt.NONE
            if truth is Truth.MAYBE and not _is_target(statement):
                known = statement.kind in _PAST_MATCHES
                why = max(why, Doubt.PARTIAL if known else Doubt.UNREAD)
            if statement.kind == "mangle":
                self._mark(statement.body, sure=max(why, here) is Doubt.NONE)
        return (Truth.MAYBE if why else Truth.YES), why

    def _mark(self, body: Any, *, sure: bool) -> None:
        key = body["key"]
        kind = next(iter(key))
        if kind in ("meta", "ct") and key[kind].get("key") == "mark":
            value = body["value"]
            self._packet.marks[kind] = value if sure and isinstance(value, int) else None

    def _actions(self, rule: Rule) -> Iterator[tuple[Statement, bool]]:
        """What the rule does once it applies, and whether that is certain; verdict maps looked up."""
        for statement in rule.statements:
            if statement.kind != "vmap":
                yield statement, True
                continue
            for truth, verdict in look_up(
                statement.body["key"], statement.body["data"], self._packet, self._table.sets
            ):
                if verdict is None:
                    yield Statement("unread"), False
                    continue
                ((kind, body),) = verdict.items()
                yield Statement(kind, body), truth is Truth.YES

    def _act(
        self, statement: Statement, rule: Rule, chain: Chain, doubt: Doubt, *, narrow: bool, depth: int
    ) -> bool:
        """Do what a statement says; whether the packet certainly goes no further in this base chain."""
        kind, body = statement.kind, statement.body
        if kind in ("jump", "goto"):
            target = self._table.chains.get(body["target"])
            return target is not None and self._enter(target, doubt, narrow=narrow, depth=depth + 1)
        if kind == "dnat":
            destinations = self._destinations(body)
            for truth, address, port in destinations:
                certain = doubt if truth is Truth.YES else max(doubt, Doubt.PARTIAL)
                self._note(Kind.DNAT, rule, chain, certain, narrow=narrow, address=address, port=port)
            return any(truth is Truth.YES for truth, *_ in destinations)
        if kind == "notrack":
            self._note(Kind.UNTRACK, rule, chain, doubt, narrow=narrow, ends=False)
            return False
        found = Kind.UNREAD if kind == "unread" else _TERMINAL.get(kind) or _xt(statement)
        if found is None:
            return False
        self._note(found, rule, chain, doubt, narrow=narrow)
        return True

    def _note(
        self,
        kind: Kind,
        rule: Rule,
        chain: Chain,
        own: Doubt,
        *,
        narrow: bool,
        ends: bool = True,
        address: IPAddress | None = None,
        port: int | None = None,
    ) -> None:
        place = self._place(chain, rule)
        self._steps.append(Step(kind, place, own, self._before, narrow, False, address, port))
        if ends:
            self._before = max(self._before, own)

    def _destinations(self, body: Any) -> list[tuple[Truth, IPAddress | None, int | None]]:
        """Where a `dnat` may send the packet; none when its map has nothing for it."""
        port = body.get("port") if body else None
        fixed = port if isinstance(port, int) else None
        address = body.get("addr") if body else None
        if isinstance(address, dict) and "map" in address:
            found = look_up(address["map"]["key"], address["map"]["data"], self._packet, self._table.sets)
            return [(truth, *_endpoint(value, fixed)) for truth, value in found]
        return [(Truth.YES, *_endpoint(address, fixed))]

    def _place(self, chain: Chain, rule: Rule) -> Place:
        base = self._chain.base
        assert base is not None
        where = (self._table.family, self._table.name, chain.name)
        return Place(*where, rule.handle, rule.text, self._chain.name, base.hook, base.priority)


def _asks_more(rule: Rule) -> bool:
    """Whether a rule asks for more than interfaces, protocols and the state of the flow."""
    for statement in rule.statements:
        if statement.kind in ("any-of", "none-of", "vmap", "xt"):
            return True
        if statement.kind == "match":
            left = statement.body["left"]
            key = next(iter(left.values()), None) if isinstance(left, dict) else None
            if not isinstance(key, dict) or key.get("key") not in _BROAD:
                return True
    return False


def _is_target(statement: Statement) -> bool:
    body = statement.body
    return statement.kind == "xt" and isinstance(body, dict) and body.get("type") == "target"


def _xt(statement: Statement) -> Kind | None:
    """What a target of iptables does, by its name alone; None where the next rule is looked at."""
    if not _is_target(statement):
        return None
    name = statement.body.get("name")
    return None if name in _XT_GO_ON else _XT_TARGETS.get(name, Kind.UNREAD)


def _endpoint(value: Any, port: int | None) -> tuple[IPAddress | None, int | None]:
    if isinstance(value, dict) and "concat" in value:
        address, *rest = value["concat"]
        return _endpoint(address, rest[0] if rest and isinstance(rest[0], int) else port)
    if isinstance(value, str):
        try:
            return ipaddress.ip_address(value), port
        except ValueError:
            return None, port
    return None, port
