"""The line to the internet, as `status` shows it; and the verb of the router above: router status."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from sekimori.cli.session import Session
from sekimori.cli.text import clean, columns, one_line, wide, wrapped
from sekimori.cli.words import has_word

__all__ = ["beside", "draw_line", "router_status"]

View = Mapping[str, Any]
Row = tuple[str, list[str]]
"""A label, and the paragraphs beside it."""

_WHEN_ASKED_WHY: Final = frozenset({"public6", "nat-mapping", "nat-filtering"})
"""Facts that are shown only together with what all others follow from."""
_FRESH: Final = 15.0
"""Seconds for which evidence is of now: the daemon judges a line once in ten."""
_MOST_RANGES: Final = 64
_NARROW: Final = 32
"""Cells that a text needs beside its label; where there are fewer, it stands below."""
_PROTOCOLS: Final = {"pcp": "PCP", "natpmp": "NAT-PMP", "upnp": "UPnP"}


def draw_line(session: Session, whole: View, *, why: bool) -> str:
    """What is known of the line: a fact in a line each, with how sure it is and how old where that says
    anything; with `why`, what each follows from.
    """
    wans = whole["wans"] if len(whole["wans"]) > 1 else [whole]
    blocks = [_block(session, line, why=why) for line in wans]
    hint = [] if why or whole["interface"] is None else [session.word("line.ask-why")]
    return "\n\n".join([*blocks, *hint])


def router_status(*, session: Session) -> int:
    """Who the router above is, how it is asked, and what it does not open."""
    view = session.client.router()

    def human() -> str:
        blocks = [_router(session, each) for each in view["routers"]] or [session.word("router.none-above")]
        if view["refused"]:
            refused = [line for each in view["refused"] for line in _refused(session, each)]
            blocks.append("\n".join([session.word("router.refused"), *refused]))
        return "\n\n".join(blocks)

    return session.answer(view, human)


def _block(session: Session, line: View, *, why: bool) -> str:
    if line["interface"] is None:
        return session.word("line.none")
    head = session.word("line.head", interface=clean(line["interface"]))
    facts = [fact for fact in line["facts"] if why or fact["name"] not in _WHEN_ASKED_WHY]
    rows = [(_label(session, fact["name"]), _told(session, line, fact, why=why)) for fact in facts]
    return "\n".join([head, *beside(rows)])


def _label(session: Session, name: str) -> str:
    """A newer daemon may know more facts."""
    return session.word(f"line.{name}") if has_word(f"line.{name}") else one_line(name)


def _told(session: Session, line: View, fact: View, *, why: bool) -> list[str]:
    """A fact's value, and what it follows from where that was asked for or says more."""
    name, evidence = fact["name"], one_line(fact["evidence"])
    if name == "wan4":  # its evidence has the address
        return [_marked(session, fact, evidence, always=why)]
    value = _marked(session, fact, _value(session, line, fact, why=why), always=why)
    if why:
        return [value, evidence]
    return [f"{value}: {evidence}"] if name in ("inbound4", "inbound6") else [value]


def _value(session: Session, line: View, fact: View, *, why: bool) -> str:
    name, value = fact["name"], fact["value"]
    if name == "port-set" and line["port_set"] is not None:
        return _ports(session, line["port_set"], why=why)
    key = f"line.gets-{value}" if name in ("inbound4", "inbound6") else f"line.is-{value}"
    return session.word(key) if has_word(key) else one_line(value)


def _ports(session: Session, ports: View, *, why: bool) -> str:
    ranges = ports["ranges"]
    if len(ranges) > (_MOST_RANGES if why else 3):
        ranges = [*ranges[:2], "…", ranges[-1]]
    return session.word("line.ports", count=ports["size"], ranges=", ".join(ranges))


def _marked(session: Session, fact: View, value: str, *, always: bool) -> str:
    """How sure a value is, unless it is open anyhow, and how old; `always`, though it is certain and new."""
    sure = "" if fact["value"] == "unknown" else _sure(session, fact["confidence"], always=always)
    age = (session.clock.now - datetime.fromisoformat(fact["at"])).total_seconds()
    fresh = session.word("line.now") if always else ""
    when = session.clock.ago(fact["at"]) if age >= _FRESH else fresh
    if sure and when:
        return session.word("line.marked-twice", value=value, mark=sure, when=when)
    return session.word("line.marked", value=value, mark=sure or when) if sure or when else value


def _sure(session: Session, confidence: str, *, always: bool) -> str:
    if confidence == "certain" and not always:
        return ""
    return session.word(f"line.{confidence}") if has_word(f"line.{confidence}") else one_line(confidence)


def beside(rows: Iterable[Row]) -> Iterator[str]:
    """Texts beside their labels, wrapped to the terminal; below them where that is narrow."""
    listed = list(rows)
    column = max((wide(label) for label, _ in listed), default=0) + 4
    width = columns()
    fits = width - column >= _NARROW
    for label, texts in listed:
        indent = " " * (column if fits else 4)
        lines = [line for text in texts for line in wrapped(text, width - wide(indent))]
        head = f"  {label}"
        if not fits:
            yield head
        for place, text in enumerate(lines):
            first = fits and place == 0
            yield (head + " " * (column - wide(head)) if first else indent) + text


def _router(session: Session, told: View) -> str:
    gateway, interface = one_line(told["gateway"]), one_line(told["interface"])
    head = session.word("router.head", gateway=gateway, interface=interface)
    rows = [(session.word(f"router.{key}"), [text]) for key, text in _router_rows(session, told) if text]
    return "\n".join([head, *beside(rows)])


def _router_rows(session: Session, told: View) -> Iterator[tuple[str, str]]:
    clock, presence = session.clock, told["presence"]
    yield "state", session.word(f"router.is-{presence}", local=one_line(told["local"]))
    yield "protocol", _protocols(session, told)
    yield "model", one_line(told["model"])
    address = one_line(told["address"] or "")
    doubt = one_line(told["doubt"] or "")
    yield "address", session.word("line.marked", value=address, mark=doubt) if address and doubt else address
    since = told["since"]
    yield "since", f"{clock.when(since)} ({clock.ago(since)})" if since else ""
    yield "heard", clock.ago(told["heard_at"]) if told["heard_at"] else ""
    yield "local", one_line(told["local"])
    yield "entries", session.word("router.lasting") if told["lasting_only"] else ""


def _protocols(session: Session, told: View) -> str:
    def name(protocol: str) -> str:
        return _PROTOCOLS.get(protocol) or one_line(protocol)

    if told["protocol"] is None:
        return ""
    others = [name(each) for each in told["answered"] if each != told["protocol"]]
    asked = name(told["protocol"])
    return session.word("router.also", asked=asked, others=", ".join(others)) if others else asked


def _refused(session: Session, unopened: View) -> Iterator[str]:
    problem = unopened["problem"]
    texts = [one_line(str(problem[key])) for key in ("title", "detail") if problem.get(key)]
    yield f"  {clean(unopened['name'])} ({clean(unopened['ports'])})"
    for text in texts:
        yield from (f"    {line}" for line in wrapped(text, columns() - 4))
