"""Rules as nft writes them, from their JSON: the evidence that a person looks for in `nft list ruleset`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, Final

__all__ = ["expression_text", "rule_text"]

_BARE: Final = frozenset(
    {"accept", "drop", "continue", "return", "notrack", "masquerade", "redirect", "log", "counter", "last"}
)


def rule_text(statements: Iterable[tuple[str, Any]]) -> str:
    """A rule in nft's own words; what is not known is given as the JSON it came as."""
    return " ".join(word for kind, body in statements if (word := _statement(kind, body)))


def _statement(kind: str, body: Any) -> str:
    if kind == "counter":
        return "counter"
    if kind == "match":
        return _match(body)
    if kind in ("jump", "goto"):
        return f"{kind} {body['target']}"
    if kind == "vmap":
        return f"{expression_text(body['key'])} vmap {expression_text(body['data'])}"
    if kind in ("dnat", "snat", "redirect", "masquerade", "tproxy"):
        return _nat(kind, body)
    if kind == "reject":
        return _reject(body)
    if kind == "limit":
        over = "over " if body.get("inv") else ""
        return f"limit rate {over}{body['rate']}/{body.get('per', 'second')}"
    if kind == "mangle":
        return f"{expression_text(body['key'])} set {expression_text(body['value'])}"
    if kind == "xt":
        return "xt" if not body else f'xt {body.get("type", "")} "{body.get("name", "")}"'
    if kind == "log":
        return f'log prefix "{body["prefix"]}"' if body and "prefix" in body else "log"
    if body is None or kind in _BARE:
        return kind
    return f"{kind} {json.dumps(body)}"


def _match(body: Any) -> str:
    operator = "" if body["op"] in ("==", "in") else f"{body['op']} "
    if body["op"] == "==" and isinstance(body["left"], dict) and "&" in body["left"]:
        operator = "== "
    right = body["right"]
    if isinstance(right, bool):
        return f"{expression_text(body['left'])} {'exists' if right else 'missing'}"
    return f"{expression_text(body['left'])} {operator}{_quoted(body['left'], right)}"


def _quoted(left: Any, right: Any) -> str:
    """Names of interfaces stand in quotes, as nft puts them."""
    key = left.get("meta", {}).get("key", "") if isinstance(left, dict) else ""
    if key in ("iifname", "oifname", "iif", "oif") and isinstance(right, str) and not right.startswith("@"):
        return f'"{right}"'
    if key in ("iifname", "oifname") and isinstance(right, dict) and "set" in right:
        return "{ " + ", ".join(f'"{each}"' for each in right["set"]) + " }"
    return expression_text(right)


def _nat(kind: str, body: Any) -> str:
    if not body or ("addr" not in body and "port" not in body):
        return kind
    family = f" {body['family']}" if "family" in body else ""
    address = expression_text(body["addr"]) if "addr" in body else ""
    port = f":{expression_text(body['port'])}" if "port" in body else ""
    return f"{kind}{family} to {f'[{address}]' if ':' in address and port else address}{port}"


def _reject(body: Any) -> str:
    if not body or "type" not in body:
        return "reject"
    if body["type"] == "tcp reset":
        return "reject with tcp reset"
    return f"reject with {body['type']} {expression_text(body.get('expr', ''))}".rstrip()


def expression_text(expression: Any) -> str:
    """An expression in nft's own words."""
    if isinstance(expression, bool):
        return "exists" if expression else "missing"
    if isinstance(expression, str | int):
        return str(expression)
    if isinstance(expression, list):
        return ",".join(map(expression_text, expression))
    if isinstance(expression, dict) and len(expression) == 1:
        ((kind, body),) = expression.items()
        write = _WRITERS.get(kind)
        if write is not None:
            return write(body)
        if kind in _BARE or kind in ("jump", "goto"):
            return _statement(kind, body)
    return json.dumps(expression)


def _payload(body: Any) -> str:
    if "protocol" not in body:
        return f"@{body.get('base')},{body.get('offset')},{body.get('len')}"
    return f"{body['protocol']} {body['field']}"


def _set(body: Any) -> str:
    words = (
        f"{expression_text(each[0])} : {expression_text(each[1])}"
        if isinstance(each, list) and len(each) == 2
        else expression_text(each)
        for each in body
    )
    return "{ " + ", ".join(words) + " }"


def _fib(body: Any) -> str:
    return f"fib {' . '.join(body.get('flags', ()))} {body['result']}"


def _ct(body: Any) -> str:
    return " ".join(["ct", *([body["dir"]] if "dir" in body else []), body["key"]])


_WRITERS: Final[dict[str, Callable[[Any], str]]] = {
    "meta": lambda body: (
        body["key"] if body["key"] in ("iifname", "oifname", "iif", "oif") else f"meta {body['key']}"
    ),
    "payload": _payload,
    "ct": _ct,
    "fib": _fib,
    "prefix": lambda body: f"{body['addr']}/{body['len']}",
    "range": lambda body: f"{expression_text(body[0])}-{expression_text(body[1])}",
    "set": _set,
    "concat": lambda body: " . ".join(map(expression_text, body)),
    "elem": lambda body: expression_text(body["val"]),
    "map": lambda body: f"{expression_text(body['key'])} map {expression_text(body['data'])}",
    "&": lambda body: " & ".join(map(expression_text, body)),
    "|": lambda body: " | ".join(map(expression_text, body)),
}
