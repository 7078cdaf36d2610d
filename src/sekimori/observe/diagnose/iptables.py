"""Rules as `iptables-save` prints them, in the vocabulary of nft's JSON.

Needed twice: nft names the matches that iptables-nft brings along but does not tell what they say, and the
tables of iptables-legacy are not in nft's listing at all. An option that is not known makes its rule one
that cannot be read (`xt`), never one that is read wrongly.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

from sekimori.observe.diagnose.ruleset import Base, Chain, Rule, Ruleset, Statement, Table

__all__ = ["explain_compat", "read_save"]

_PLACES: Final = {
    ("raw", "PREROUTING"): ("filter", "prerouting", -300),
    ("mangle", "PREROUTING"): ("filter", "prerouting", -150),
    ("nat", "PREROUTING"): ("nat", "prerouting", -100),
    ("mangle", "INPUT"): ("filter", "input", -150),
    ("filter", "INPUT"): ("filter", "input", 0),
    ("security", "INPUT"): ("filter", "input", 50),
    ("nat", "INPUT"): ("nat", "input", 100),
    ("mangle", "FORWARD"): ("filter", "forward", -150),
    ("filter", "FORWARD"): ("filter", "forward", 0),
    ("security", "FORWARD"): ("filter", "forward", 50),
    ("raw", "OUTPUT"): ("filter", "output", -300),
    ("mangle", "OUTPUT"): ("route", "output", -150),
    ("nat", "OUTPUT"): ("nat", "output", -100),
    ("filter", "OUTPUT"): ("filter", "output", 0),
    ("security", "OUTPUT"): ("filter", "output", 50),
    ("mangle", "POSTROUTING"): ("filter", "postrouting", -150),
    ("nat", "POSTROUTING"): ("nat", "postrouting", 100),
}
"""Where the built-in chains of x_tables stand (linux/netfilter_ipv4.h, enum nf_ip_hook_priorities)."""

_IGNORED: Final = {  # options that ask nothing of the packet here, and how many words follow
    "-m": 1,
    "--match": 1,
    "--comment": 1,
    "--limit": 1,  # a limit not reached, as everywhere
    "--limit-burst": 1,
    "--ctproto": 1,
    "--reject-with": 1,
    "--log-prefix": 1,
    "--log-level": 1,
    "--nflog-prefix": 1,
    "--nflog-group": 1,
    "--nflog-threshold": 1,
    "--random": 0,
    "--persistent": 0,
}
_FLAGS_SHORT: Final = {"SYN": "syn", "ACK": "ack", "FIN": "fin", "RST": "rst", "URG": "urg", "PSH": "psh"}
_Match = dict[str, Any]


def read_save(text: str, family: str) -> tuple[Table, ...]:
    """The tables in the output of `iptables-save` (family `ip`) or `ip6tables-save` (`ip6`).

    A built-in chain is a base chain with the hook and priority it has in x_tables.
    """
    tables: list[Table] = []
    chains: dict[str, Chain] = {}
    rules: dict[str, list[Rule]] = {}
    for line in text.splitlines():
        if line.startswith("*"):
            chains, rules = {}, {}
            tables.append(Table(family, line[1:].strip(), chains))
        elif line.startswith(":") and tables:
            name, policy, *_ = line[1:].split()
            chains[name] = Chain(name, base=_base(tables[-1].name, name, policy))
        elif line.startswith("-A ") and tables:
            name = shlex.split(line)[1]
            rules.setdefault(name, []).append(_Reader(family, line).rule())
        elif line.strip() == "COMMIT":
            for name, found in rules.items():
                chains[name] = replace(chains.get(name, Chain(name)), rules=tuple(found))
    return tuple(tables)


def explain_compat(ruleset: Ruleset, saved: Iterable[Table]) -> Ruleset:
    """Give the rules of iptables-nft their meaning and their own wording.

    Both listings hold the same rules in the same order; a chain where their numbers differ, because it
    changed between the two or holds rules of nft, stays as it is.
    """
    by_name = {(each.family, each.name): each for each in saved}
    explained = []
    for table in ruleset.tables:
        other = by_name.get((table.family, table.name))
        if other is not None:
            chains = {name: _explain(chain, other.chains.get(name)) for name, chain in table.chains.items()}
            explained.append(replace(table, chains=chains))
    return ruleset.with_tables(explained)


def _explain(chain: Chain, saved: Chain | None) -> Chain:
    if saved is None or len(saved.rules) != len(chain.rules):
        return chain
    rules = (
        replace(rule, text=other.text, statements=other.statements if rule.is_opaque else rule.statements)
        for rule, other in zip(chain.rules, saved.rules, strict=True)
    )
    return replace(chain, rules=tuple(rules))


def _base(table: str, chain: str, policy: str) -> Base | None:
    place = _PLACES.get((table, chain))
    return None if place is None else Base(*place, policy.lower())


def _compare(left: Any, right: Any, *, op: str = "==") -> _Match:
    return {"op": op, "left": left, "right": right}


def _payload(protocol: str, name: str) -> _Match:
    return {"payload": {"protocol": protocol, "field": name}}


def _ports(text: str) -> Any:
    """`80`, `80:90`, `1,2,5:7`."""
    items: list[Any] = []
    for each in text.split(","):
        first, colon, last = each.partition(":")
        items.append({"range": [int(first or 0), int(last or 65535)]} if colon else int(first))
    return items[0] if len(items) == 1 else {"set": items}


@dataclass
class _Reader:
    """One line of `-A CHAIN ...`."""

    family: str
    line: str
    statements: list[Statement] = field(default_factory=list)

    def rule(self) -> Rule:
        words = iter(shlex.split(self.line)[2:])
        for word in words:
            negated = word == "!"
            option = next(words, "") if negated else word
            try:
                self._option(option, words, negated)
            except (KeyError, StopIteration, ValueError):  # a value in a form that we do not know
                self._unread(option.lstrip("-"), words)
        # What a rule asks comes before what it does, wherever its words stand.
        self.statements.sort(key=lambda each: each.kind not in ("match", "any-of", "none-of", "xt"))
        return Rule(0, tuple(self.statements), self.line)

    def _option(self, option: str, words: Iterator[str], negated: bool) -> None:
        if option in _IGNORED:
            for _ in range(_IGNORED[option]):
                next(words)
        elif option in ("-j", "--jump", "-g", "--goto"):
            self._target(next(words), words, goto=option in ("-g", "--goto"))
        elif option in _OPTIONS:
            self._add([[match] for match in _OPTIONS[option](self.family, next(words))], negated)
        elif option == "--tcp-flags":
            self._add([[_tcp_flags(next(words), next(words))]], negated)
        elif option == "--syn":
            self._add([[_tcp_flags("FIN,SYN,RST,ACK", "SYN")]], negated)
        elif option == "--notrack":
            self.statements.append(Statement("notrack"))
        else:
            self._unread(option.lstrip("-"), words)

    def _add(self, alternatives: list[list[_Match]], negated: bool) -> None:
        if len(alternatives) == 1 and not negated:
            self.statements += (Statement("match", each) for each in alternatives[0])
        else:
            self.statements.append(Statement("none-of" if negated else "any-of", alternatives))

    def _unread(self, name: str, words: Iterator[str]) -> None:
        """The rest of the line may belong to what we do not know; only where it leads is still read."""
        self.statements.append(Statement("xt", {"type": "match", "name": name}))
        for word in words:
            if word in ("-j", "-g"):
                self._target(next(words, ""), words, goto=word == "-g")

    def _target(self, name: str, words: Iterator[str], *, goto: bool) -> None:
        simple = {
            "ACCEPT": "accept",
            "DROP": "drop",
            "RETURN": "return",
            "REJECT": "reject",
            "QUEUE": "queue",
        }
        if goto:
            self.statements.append(Statement("goto", {"target": name}))
        elif name in simple:
            self.statements.append(Statement(simple[name]))
        elif name in ("DNAT", "REDIRECT"):
            self._nat(name, words)
        elif name == "TPROXY" or name == "NFQUEUE":
            self._rest(Statement("tproxy" if name == "TPROXY" else "queue"), words)
        elif name in ("MARK", "CONNMARK"):
            key = {"meta" if name == "MARK" else "ct": {"key": "mark"}}
            self._rest(Statement("mangle", {"key": key, "value": None}), words)
        elif name in ("CT", "NOTRACK"):
            rest = list(words)
            if name == "NOTRACK" or "--notrack" in rest:
                self.statements.append(Statement("notrack"))
        elif name == name.upper() and name in _TARGETS:
            self._rest(Statement("xt", {"type": "target", "name": name}), words)
        else:
            self.statements.append(Statement("jump", {"target": name}))

    def _rest(self, statement: Statement, words: Iterator[str]) -> None:
        """A target whose options do not matter here; they are the last of the line."""
        self.statements.append(statement)
        for _ in words:
            pass

    def _nat(self, name: str, words: Iterator[str]) -> None:
        body: dict[str, Any] = {}
        for word in words:
            if word == "--to-destination":
                body |= _destination(next(words))
            elif word == "--to-ports":
                first = next(words).partition("-")[0]
                body["port"] = int(first)
        self.statements.append(Statement(name.lower(), body or None))


def _destination(text: str) -> dict[str, Any]:
    """`10.0.0.2`, `10.0.0.2:80`, `[2001:db8::2]:80`, and ranges of them, which leave the value unknown."""
    if text.startswith("["):
        address, _, port = text[1:].partition("]")
        port = port.lstrip(":")
    elif text.count(":") == 1:
        address, _, port = text.partition(":")
    else:
        address, port = text, ""
    return {"addr": address} | ({"port": int(port)} if port.isdecimal() else {})


def _tcp_flags(mask: str, wanted: str) -> _Match:
    def names(text: str) -> list[str]:
        if text == "ALL":
            return list(_FLAGS_SHORT.values())
        return [] if text == "NONE" else [_FLAGS_SHORT[each] for each in text.split(",")]

    return _compare({"&": [_payload("tcp", "flags"), names(mask)]}, names(wanted))


def _ct_states(_family: str, text: str) -> list[_Match]:
    """States, and the two words that are bits of the status (xt_conntrack.h, XT_CONNTRACK_STATE_DNAT)."""
    words = [each.lower() for each in text.split(",")]
    status = [each for each in words if each in ("dnat", "snat")]
    states = [each for each in words if each not in status]
    found = [_compare({"ct": {"key": "state"}}, states, op="in")] if states else []
    return found + ([_compare({"ct": {"key": "status"}}, status, op="in")] if status else [])


def _ct_status(_family: str, text: str) -> list[_Match]:
    names = {
        "EXPECTED": "expected",
        "SEEN_REPLY": "seen-reply",
        "ASSURED": "assured",
        "CONFIRMED": "confirmed",
    }
    return [_compare({"ct": {"key": "status"}}, [names[each] for each in text.split(",")], op="in")]


def _type_of(which: str) -> Callable[[str, str], list[_Match]]:
    def read(_family: str, text: str) -> list[_Match]:
        left = {"fib": {"result": "type", "flags": [which]}}
        return [_compare(left, each.lower()) for each in text.split(",")]

    return read


def _address(name: str) -> Callable[[str, str], list[_Match]]:
    def read(family: str, text: str) -> list[_Match]:
        address, slash, length = text.partition("/")
        if slash and not length.isdecimal():
            raise ValueError(text)
        right = {"prefix": {"addr": address, "len": int(length)}} if slash else address
        return [_compare(_payload(family, name), right)]

    return read


def _span(name: str) -> Callable[[str, str], list[_Match]]:
    return lambda family, text: [_compare(_payload(family, name), {"range": text.split("-")})]


def _device(key: str) -> Callable[[str, str], list[_Match]]:
    def read(_family: str, text: str) -> list[_Match]:
        return [_compare({"meta": {"key": key}}, text[:-1] + "*" if text.endswith("+") else text)]

    return read


def _protocol(_family: str, text: str) -> list[_Match]:
    name = {"icmpv6": "ipv6-icmp", "ipencap": "ipip"}.get(text, text)
    return [_compare({"meta": {"key": "l4proto"}}, int(name) if name.isdecimal() else name)]


def _port(*names: str) -> Callable[[str, str], list[_Match]]:
    return lambda _family, text: [_compare(_payload("th", name), _ports(text)) for name in names]


def _mark(_family: str, text: str) -> list[_Match]:
    value, slash, mask = text.partition("/")
    left: Any = {"meta": {"key": "mark"}}
    return [_compare({"&": [left, int(mask, 0)]} if slash else left, int(value, 0))]


def _routing(_family: str, text: str) -> list[_Match]:
    return [_compare({"exthdr": {"name": "rt", "field": "type"}}, _ports(text))]


def _ct_tuple(key: str) -> Callable[[str, str], list[_Match]]:
    def read(family: str, text: str) -> list[_Match]:
        name = f"{family} {key}" if key.endswith("addr") else key
        left = {"ct": {"key": name, "dir": "original"}}
        if not key.endswith("addr"):
            return [_compare(left, _ports(text))]
        return [_compare(left, _address(key)(family, text)[0]["right"])]

    return read


_OPTIONS: Final[dict[str, Callable[[str, str], list[_Match]]]] = {
    "-s": _address("saddr"),
    "-d": _address("daddr"),
    "-i": _device("iifname"),
    "-o": _device("oifname"),
    "-p": _protocol,
    "--dport": _port("dport"),
    "--sport": _port("sport"),
    "--dports": _port("dport"),
    "--sports": _port("sport"),
    "--ports": _port("sport", "dport"),
    "--state": _ct_states,
    "--ctstate": _ct_states,
    "--ctstatus": _ct_status,
    "--ctdir": lambda _family, text: [_compare({"ct": {"key": "direction"}}, text.lower())],
    "--ctorigdst": _ct_tuple("daddr"),
    "--ctorigdstport": _ct_tuple("proto-dst"),
    "--rt-type": _routing,
    "--dst-type": _type_of("daddr"),
    "--src-type": _type_of("saddr"),
    "--mark": _mark,
    "--src-range": _span("saddr"),
    "--dst-range": _span("daddr"),
}
"""What an option asks: any one of the matches returned."""

_TARGETS: Final = frozenset(
    {
        "LOG",
        "NFLOG",
        "TCPMSS",
        "CHECKSUM",
        "CLASSIFY",
        "DSCP",
        "TOS",
        "TTL",
        "HL",
        "SET",
        "SNAT",
        "MASQUERADE",
    }
    | {
        "CONNSECMARK",
        "SECMARK",
        "AUDIT",
        "TRACE",
        "TEE",
        "TCPOPTSTRIP",
        "IDLETIMER",
        "RATEEST",
        "LED",
        "NETMAP",
    }
    | {"SYNPROXY", "CLUSTERIP", "NPT", "SNPT", "DNPT", "ULOG", "HMARK", "ECN"}
)
"""Targets that are no chains; any other word after -j names a chain."""
