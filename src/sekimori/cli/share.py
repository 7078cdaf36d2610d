"""`share`: show somebody a service of this machine, for as long as this command runs."""

from __future__ import annotations

import ipaddress
import re
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from sekimori.cli.farend import tell_of_far_end
from sekimori.cli.hosting import Hosted, answers, ending_as_interrupt, introduce, unheed_ends
from sekimori.cli.misuse import Misuse
from sekimori.cli.session import Session
from sekimori.cli.staying import Stay
from sekimori.cli.text import clean, who_may
from sekimori.model.errors import Kind, Problem
from sekimori.model.lifetime import parse_duration

__all__ = ["share"]

View = Mapping[str, Any]

_EXAMPLE: Final = "sekimori share 3000"
_TARGET: Final = re.compile(r"(?:(?P<host>\[[0-9A-Fa-f:.%]+\]|[^:/\s\[\]]+):)?(?P<port>[0-9]{1,5})")
_FIRST, _COUNT = 20_000, 10_000
"""Ports that are tried when those that say more are taken: below what Linux gives out by itself."""
_TRIES: Final = 5
_OTHERWISE: Final = frozenset({"port-taken", "port-busy", "not-applied", "link-port-taken", "link-no-listen"})
"""Refusals that another port may not meet with."""


def share(
    what: str | None = None,
    /,
    *,
    via: str | None = None,
    for_: str | None = None,
    from_: list[str] | None = None,
    on: str | None = None,
    port: str | None = None,
    accept_risk: list[str] | None = None,
    why: str = "",
    session: Session,
) -> int:
    """Share a port, an address with its port, or a unix socket; Ctrl-C ends it."""
    if not what:
        raise Problem("missing", key="PORT", example=_EXAMPLE)
    target = _read_target(what)
    seconds = None if for_ is None else parse_duration(for_)
    wanted: dict[str, Any] = {"to": target, "from": None if from_ is None else ",".join(from_), "on": on}
    wanted["accept_risk"] = accept_risk
    fixed = None if port is None else _read_port(port)
    with ending_as_interrupt():
        if answers(session):
            return _run(session, None, wanted, via, fixed, seconds, why)
        with Hosted(session) as hosted:
            return _run(hosted.session, hosted, wanted, via, fixed, seconds, why)


def _run(
    session: Session,
    hosted: Hosted | None,
    wanted: Mapping[str, Any],
    via: str | None,
    port: int | None,
    seconds: float | None,
    why: str,
) -> int:
    link = _choose_link(session, via)
    fields = {key: value for key, value in wanted.items() if value is not None}
    if link is not None:
        # Where it listens is chosen so that others come in: they are who it is shared with.
        fields = {"from": "anyone", **fields, "at": link["name"]}
    ports = [port] if port is not None else list(candidates(str(wanted["to"]), here=link is None))
    stay = Stay(session, hosted, seconds)
    closed: list[str] = []
    try:
        view = _open(stay, fields, ports, why)
        _tell(session, view, link, seconds)
        introduce(session, hosted)
        stay.run()
        unheed_ends()
    except KeyboardInterrupt:
        pass  # the usual end of this command
    finally:
        closed = stay.close()
    for name in closed:
        if not session.options.quiet:
            session.talk(session.word("host.closed", name=name))
    return 0


def candidates(target: str, *, here: bool) -> Iterator[int]:
    """Outside ports for a target, the same each time, the one that says most first.

    On this machine its own port is its own: it is moved up. Far away it is free, unless it is a small one.
    """
    found = re.search(r":(\d+)$", target)
    inside = int(found[1]) if found else 0
    moved = inside + 10_000 if here else inside if inside >= 1024 else inside + 8000
    if inside and 1024 <= moved <= 65_535:
        yield moved
    seed = zlib.crc32(target.encode())
    if not here:
        yield 8000 + seed % 1000  # what gateways grant to keys, if their people followed the examples
    yield from (_FIRST + (seed + 7919 * turn) % _COUNT for turn in range(_TRIES))


def _open(stay: Stay, fields: Mapping[str, Any], ports: list[int], why: str) -> View:
    """Open the first of the ports that is free.

    Raises:
        Problem: the last of them is refused, or one for a reason that another would meet with too.
    """
    for port, others in zip(ports, range(len(ports) - 1, -1, -1), strict=True):
        try:
            outcome = stay.open({**fields, "ports": f"tcp/{port}"}, why)
        except Problem as problem:
            if not others or problem.code not in _OTHERWISE:
                raise
            continue
        view = stay.settle(outcome["mappings"][0]["id"])
        problem_body = view["status"].get("problem") or {}
        if problem_body.get("code") not in _OTHERWISE:
            return view
        stay.drop(view["id"])
        if not others:
            raise Problem.from_body(problem_body)
    raise AssertionError("there is always a port to try")


def _choose_link(session: Session, via: str | None) -> View | None:
    """The link at whose far end it is shared; None is this machine itself.

    Raises:
        Problem: `no-such-link`.
    """
    if via is not None:
        return session.client.link(via)
    try:
        links = session.client.links()
    except Problem as problem:
        if problem.kind is not Kind.NOT_FOUND:
            raise
        return None  # an older daemon has no links
    return links[0] if len(links) == 1 else None


def _tell(session: Session, view: View, link: View | None, seconds: float | None) -> None:
    """The addresses first, to be copied; then what is known of it."""
    port = view["ports"].partition("/")[2].partition(":")[0]
    hosts = [_far_host(link)] if link is not None else list(_own_hosts(session, view))
    addresses = [f"{host}:{port}" for host in hosts]
    if session.options.json:
        session.answer({"addresses": addresses, "mapping": view}, str)
        return
    if session.options.quiet:
        session.print("\n".join(f"http://{address}/" for address in addresses))
        return
    lines = [
        session.word("share.address", address=address, url=f"http://{address}/") for address in addresses
    ]
    until = session.word("share.until-ctrl-c")
    if seconds is not None:
        until = session.word("share.until-or", when=session.clock.left(_after(session, seconds)))
    facts = {"target": view["to"], "sources": who_may(view, session.options.language)}
    lines.append(session.word("share.done", **facts, until=until))
    if problem := view["status"].get("problem"):
        lines.append(session.word("open.failed", title=str(problem.get("title", ""))))
    session.print(clean("\n".join(lines)))
    tell_of_far_end(session, view, link)


def _after(session: Session, seconds: float) -> str:
    from datetime import timedelta

    return (session.clock.now + timedelta(seconds=seconds)).isoformat()


def _far_host(link: View) -> str:
    host = urlsplit(str(link["to"])).hostname or ""
    return f"[{host}]" if ":" in host else host


def _own_hosts(session: Session, view: View) -> Iterator[str]:
    """Addresses of this machine at which who is let in would come; loopback where there is no other."""
    if view.get("on"):
        yield _bracketed(str(view["on"]))
        return
    gateway = session.client.gateway()
    listed = [text for place in (*gateway["lans"], *gateway["wans"]) for text in place["addresses"]]
    addresses = [ipaddress.ip_interface(text).ip for text in listed]
    everyone = "anyone" in str(view["from"])
    near = [each for each in addresses if not each.is_link_local and (each.is_private or everyone)]
    chosen = sorted(dict.fromkeys(near), key=lambda each: each.version)
    yield from (_bracketed(str(each)) for each in chosen or [ipaddress.ip_address("127.0.0.1")])


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _read_target(text: str) -> str:
    """`3000` is this machine's own; `HOST:PORT` and `unix:/path` as they are.

    Raises:
        Misuse: it is none of them.
    """
    if text.startswith("unix:/"):
        return text
    found = _TARGET.fullmatch(text)
    if found is None or not 0 < int(found["port"]) <= 65_535:
        raise Misuse("share-what", verb="share", text=text)
    host = found["host"] or "127.0.0.1"
    return f"{'127.0.0.1' if host == 'localhost' else host}:{found['port']}"


def _read_port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text[:6]) <= 65_535):
        raise Misuse("bad-value", verb="share", text="--port", value=text)
    return int(text)
