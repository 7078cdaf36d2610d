"""Choices left to us: the name of a mapping, and its path."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from functools import reduce
from itertools import takewhile
from typing import Final

from sekimori.model.address import UnixPath
from sekimori.model.causes import Text, cause, near
from sekimori.model.decision import Notice
from sekimori.model.errors import Problem
from sekimori.model.limits import Limits
from sekimori.model.link import SSH_DOOR
from sekimori.model.mapping import Hop
from sekimori.model.mapping import Mapping as PortMapping
from sekimori.model.snapshot import Snapshot
from sekimori.model.target import TargetKind
from sekimori.policy.kinds import check_link
from sekimori.policy.loops import LOOPS, find_loop, loop_problem
from sekimori.policy.rules import Ability, Rules

__all__ = ["ROUTER", "choose_name", "choose_path", "fallback_notice", "router_notice"]

ROUTER: Final = "router"
"""The plane that asks the router before this machine, and its word after `--via`."""
RELAY: Final = "relay"
"""The plane that ends streams and datagrams itself, and so the one that may hand them on by a link."""
LINK: Final = "link"
"""The plane of the links, and of our own door for SSH clients."""

_ENDED: Final = frozenset({TargetKind.SOCKS, TargetKind.UNIX, TargetKind.CLIENT})
"""Targets that are reached by ending the stream here and beginning another."""


def choose_name(mapping: PortMapping, snapshot: Snapshot) -> str:
    """A free name after the preset, or after the first outside port (`tcp-8080`, `socks-1080`, `gre`)."""
    first = mapping.ports[0]
    base = mapping.preset or f"{first.protocol}-{first.outside}"
    if mapping.target.kind is TargetKind.SOCKS:
        base = f"socks-{first.outside}"
    elif mapping.preset is None and not first.protocol.has_ports:
        base = f"ip-{first.protocol}" if first.protocol[0].isdigit() else str(first.protocol)
    name, count = base, 1
    while snapshot.named(name) is not None:
        count += 1
        name = f"{base}-{count}"
    return name


def choose_path(mapping: PortMapping, snapshot: Snapshot, rules: Rules) -> tuple[Hop, ...]:
    """The hops that make the mapping, in the order in which a newcomer meets them.

    Here: the plane it names, or the first able one, and before it the router above, where there is one that
    packets from outside must pass. By a link: the relay, and the link on the side where it is.

    Raises:
        Problem: `no-plane`, with each plane's reason; `leads-to-itself` where that is the only one;
            `no-such-link`, or what a link does not carry.
    """
    if mapping.link is not None:  # it stands so, and may be asked for without a link now
        mapping = replace(mapping, path=())
    if mapping.at is not None:
        return _choose_far_end(mapping, mapping.at, snapshot, rules)
    if mapping.target.kind is TargetKind.CLIENT:
        return _through(mapping, SSH_DOOR, snapshot, rules)
    if mapping.via in snapshot.links:
        check_link(mapping, cause("by-link", link=mapping.via))
        return _through(mapping, mapping.via, snapshot, rules)
    if mapping.via == ROUTER:
        return _choose_router(mapping, snapshot, rules)
    plane = _choose_plane(mapping, mapping.via, snapshot, rules)
    router = rules.router
    if mapping.via != "auto" or router is None or not router.stands_before():
        return (plane,)
    path = (Hop(ROUTER), plane)
    able = not mapping.sources.is_lan and router.unable(replace(mapping, path=path)) is None
    return path if able else (plane,)


def _choose_far_end(mapping: PortMapping, link: str, snapshot: Snapshot, rules: Rules) -> tuple[Hop, ...]:
    """Listening at the far end of a link, dialling from here."""
    if link not in snapshot.links:
        raise Problem("no-such-link", name=link, near=near(get_close_matches(link, snapshot.links, 3)))
    if mapping.via not in ("auto", RELAY):
        raise Problem("exclusive", first="--at", second=f"--via {mapping.via}")
    check_link(mapping, cause("at-link", link=link))
    path = (Hop(LINK, link), Hop(RELAY))
    _choose_plane(replace(mapping, path=path), RELAY, snapshot, rules)
    return path


def _through(mapping: PortMapping, link: str, snapshot: Snapshot, rules: Rules) -> tuple[Hop, ...]:
    """Listening here, dialling by a link."""
    path = (Hop(RELAY), Hop(LINK, link))
    _choose_plane(replace(mapping, path=path), RELAY, snapshot, rules)
    return path


def _choose_router(mapping: PortMapping, snapshot: Snapshot, rules: Rules) -> tuple[Hop, ...]:
    """By the router above: alone, where it leads to this machine and nothing is asked that no router does."""
    alone = (
        mapping.target.kind is TargetKind.SELF
        and mapping.sources.anyone
        and mapping.limits == Limits()
        and (mapping.proxy_protocol, mapping.idle, mapping.log) == (0, None, False)
    )
    path = (Hop(ROUTER),) if alone else (Hop(ROUTER), _choose_plane(mapping, "auto", snapshot, rules))
    no_such = cause("no-such-plane")
    why = no_such if rules.router is None else rules.router.unable(replace(mapping, path=path))
    if why is not None:
        able = [plane.name for plane in rules.planes if plane.unable(mapping) is None]
        others = ", ".join(able) or cause("none")
        raise Problem("no-plane", name=mapping.name, via=ROUTER, why=why, able=others)
    return path


def _choose_plane(mapping: PortMapping, via: str, snapshot: Snapshot, rules: Rules) -> Hop:
    """The plane on this machine."""
    reasons = _reasons(mapping, rules.planes)
    able = [plane.name for plane in rules.planes if plane.name not in reasons]
    if via == "auto" and able:
        return Hop(able[0])
    if via in able:
        return Hop(via)
    loop = find_loop(mapping)
    weighed = {RELAY: reasons.get(RELAY)} if _is_relays(mapping) else reasons
    if loop is not None and not able and list(weighed.values()) == [LOOPS]:
        raise loop_problem(mapping, loop)
    why: Text = _tell(reasons) if via == "auto" else reasons.get(via) or _unknown(via, snapshot.links)
    ways = able if via in (*reasons, "auto") else [*able, *snapshot.links]
    raise Problem("no-plane", name=mapping.name, via=via, why=why, able=", ".join(ways) or cause("none"))


def _unknown(via: str, links: Iterable[str]) -> Text:
    """That there is no plane and no link of a name, and the links it may have been meant for."""
    close = get_close_matches(via, list(links), n=3)
    why = cause("no-such-way")
    return cause("with-near", title=why, near=cause("close-links", names=", ".join(close))) if close else why


def fallback_notice(mapping: PortMapping, rules: Rules) -> Notice | None:
    """Word that the choice was left to us and fell on a later plane, and why none before it could.

    A machine that could be a gateway and stands between no two networks is told nothing: there the
    later plane is what everybody expects.
    """
    machine = rules.machine
    if mapping.via != "auto" or not mapping.path or _is_relays(mapping):
        return None
    if machine.obstacle() is None and not machine.network().is_gateway:
        return None
    chosen = mapping.plane
    reasons = _reasons(mapping, takewhile(lambda plane: plane.name != chosen, rules.planes))
    if not reasons:
        return None
    why = _tell(reasons)
    return Notice(
        "plane-chosen",
        f"'{mapping.name}' goes by '{chosen}' ({why['en']}).",
        f"「{mapping.name}」の方式は {chosen} です（{why['ja']}）。",
    )


def router_notice(mapping: PortMapping, rules: Rules) -> Notice | None:
    """Word of the router above: that it was asked too, or why it was not though packets must pass it."""
    router = rules.router
    if router is None or not mapping.path or mapping.via not in ("auto", ROUTER) or mapping.sources.is_lan:
        return None
    if mapping.at is not None or isinstance(mapping.on, UnixPath):
        return None
    if mapping.path[0].plane == ROUTER:
        return Notice(
            "router-asked",
            f"The router before this machine opens '{mapping.name}' too.",
            f"手前のルーターにも「{mapping.name}」を開けてもらいます。",
        )
    if not router.stands_before():
        return None
    why = router.unable(replace(mapping, path=(Hop(ROUTER), *mapping.path)))
    if why is None:
        return None
    return Notice(
        "router-not-asked",
        f"The router before this machine was not asked for '{mapping.name}' ({why['en']}): from beyond it "
        "nothing comes in unless it is set up by hand.",
        f"手前のルーターには「{mapping.name}」を頼めません（{why['ja']}）。手で設定しない限り、その外からは届きません。",
    )


def _reasons(mapping: PortMapping, planes: Iterable[Ability]) -> dict[str, Text]:
    """Why planes cannot make the mapping, by their names; those that can are left out."""
    relays = cause("only-relay") if _is_relays(mapping) else None
    found = (
        (plane.name, relays if relays and plane.name != RELAY else plane.unable(mapping)) for plane in planes
    )
    return {name: why for name, why in found if why is not None}


def _is_relays(mapping: PortMapping) -> bool:
    """Whether no plane that rewrites packets can make it: then nobody is surprised by the relay."""
    ends = isinstance(mapping.on, UnixPath) or mapping.target.kind in _ENDED
    return ends or mapping.at is not None or mapping.link is not None


def _tell(reasons: Mapping[str, Text]) -> Text:
    """All reasons in one text by language, in their order."""
    told = [cause("plane-says", name=name, why=why) for name, why in reasons.items()]
    return reduce(lambda first, second: cause("both", first=first, second=second), told)
