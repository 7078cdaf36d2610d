"""Hypothesis strategies for links, users, grants and doors, each in the one form that is read back."""

from __future__ import annotations

import ipaddress
from typing import Final

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from sekimori.model.destination import Destination, Destinations
from sekimori.model.door import Door, DoorName, ListenAt
from sekimori.model.lease import NonceRule
from sekimori.model.link import RESERVED, Link, SshPlace
from sekimori.model.user import Grant, User
from sekimori.testing.publickeys import public_key
from sekimori.testing.strategies import (
    addresses,
    instants,
    limits,
    list_names,
    owners,
    port_ranges,
    sources,
)

__all__ = ["destinations", "doors", "grants", "links", "listen_places", "ssh_places", "users"]

_YEAR: Final = 365 * 86400
_PATHS: Final = st.from_regex(r"/[a-zA-Z0-9 ._é関-]{1,12}", fullmatch=True)
_KEYS: Final = st.sampled_from("abcdefgh")
_OPTIONS: Final = st.sampled_from(("", "restrict,port-forwarding", 'permitlisten="localhost:*"'))


def ssh_places() -> SearchStrategy[SshPlace]:
    """Where SSH servers are."""
    host = st.from_regex(r"[a-z][a-z0-9-]{0,8}[a-z0-9]", fullmatch=True).filter(
        lambda name: name not in ("self", "trigger", "socks", "client", "link-local")
    )
    user = st.just("") | st.from_regex(r"[A-Za-z0-9_.+][A-Za-z0-9_.+-]{0,7}", fullmatch=True)
    return st.builds(SshPlace, host | addresses().map(str), user, st.just(0) | st.integers(1, 65535))


def links() -> SearchStrategy[Link]:
    """Links with keys of their own places."""
    return st.builds(
        Link,
        name=st.from_regex(r"[a-z][a-z0-9._-]{0,12}", fullmatch=True).filter(
            lambda name: name not in RESERVED
        ),
        owner=owners(),
        place=ssh_places(),
        jump=st.lists(ssh_places(), max_size=2).map(tuple),
        identity=st.lists(_PATHS.map(str.rstrip), max_size=2).map(tuple),
        config=st.sampled_from(("", "none", "/etc/ssh/config")),
        connections=st.integers(1, 16),
        created_at=instants(),
    ).flatmap(_with_host_keys)


def grants() -> SearchStrategy[Grant]:
    """Grants of every sort."""
    return st.builds(
        Grant,
        ports=st.sets(port_ranges(), max_size=3).map(lambda drawn: tuple(sorted(drawn))),
        on=st.none() | st.lists(addresses(), min_size=1, max_size=2, unique=True).map(tuple),
        most=st.integers(1, 1000),
        sources=st.none() | sources().filter(lambda each: bool(str(each))),
        lifetime=st.integers(1, _YEAR),
        hold=st.integers(0, _YEAR),
        limits=limits(),
        quota=st.none() | st.integers(1, 1 << 50),
        quota_every=st.integers(1, _YEAR),
        destinations=destinations(),
        sessions=st.integers(1, 1000),
        accepted_risks=st.sets(list_names().filter(lambda name: name != "none"), max_size=2).map(
            lambda risks: tuple(sorted(risks))
        ),
    )


def destinations() -> SearchStrategy[Destinations]:
    """Places that a client may reach."""
    host = st.sampled_from(("*", "db.example", "*.example", "10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32"))
    return st.sets(st.builds(Destination, host, port_ranges()), max_size=3).map(
        lambda drawn: Destinations(tuple(sorted(drawn)))
    )


def users() -> SearchStrategy[User]:
    """Users with keys and grants; the keys are few, so that two users often have the same one."""
    keys = st.lists(_KEYS, max_size=3, unique=True)
    return st.builds(
        User,
        name=st.from_regex(r"[a-z_][a-z0-9._-]{0,12}", fullmatch=True),
        owner=owners(),
        keys=st.tuples(keys, _OPTIONS).map(
            lambda drawn: tuple(public_key(each, drawn[1]) for each in drawn[0])
        ),
        grant=grants(),
        expires_at=st.none() | instants(),
        created_at=instants(),
    )


def listen_places() -> SearchStrategy[ListenAt]:
    """Where the SSH door may answer."""
    wild = st.sampled_from((None, ipaddress.ip_address("0.0.0.0"), ipaddress.ip_address("::")))
    return st.builds(ListenAt, wild | addresses(), st.integers(1, 65535))


def doors() -> SearchStrategy[Door]:
    """Doors of every sort, as they may be enabled."""
    usual = {"owner": owners(), "created_at": instants()}
    interfaces = st.lists(st.sampled_from(("lan0", "lan1")), min_size=1, max_size=2, unique=True).map(tuple)
    listen = st.lists(listen_places().map(str), min_size=1, max_size=2, unique=True).map(tuple)
    return st.one_of(
        st.builds(
            Door,
            door=st.just(DoorName.IGD),
            interfaces=interfaces,
            version=st.sampled_from((1, 2)),
            **usual,
        ),
        st.builds(
            Door,
            door=st.just(DoorName.PORTMAP),
            interfaces=interfaces,
            nonce=st.sampled_from(list(NonceRule)),
            **usual,
        ),
        st.builds(
            Door,
            door=st.just(DoorName.SSH),
            interfaces=st.just(()),
            listen=listen,
            authorized_keys=st.just("") | _PATHS.map(str.rstrip),
            grant=st.none() | grants(),
            **usual,
        ),
    )


def _with_host_keys(link: Link) -> SearchStrategy[Link]:
    place = st.sampled_from((link.place, *link.jump)).map(str)
    mark = st.sampled_from(("", "cert-authority "))
    key = _KEYS.map(lambda seed: public_key(seed).rpartition(" ")[0])
    line = st.builds("{} {}{}".format, place, mark, key)
    return st.lists(line, max_size=3, unique=True).map(
        lambda lines: Link(
            name=link.name,
            owner=link.owner,
            place=link.place,
            jump=link.jump,
            identity=link.identity,
            config=link.config,
            host_keys=tuple(lines),
            connections=link.connections,
            created_at=link.created_at,
        )
    )
