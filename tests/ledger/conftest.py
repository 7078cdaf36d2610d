"""Mappings and ledgers that the tests of the ledger share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sekimori.ledger.store import Ledger
from sekimori.model.address import IpProtocol, PortPair, PortRange
from sekimori.model.lifetime import Lifetime
from sekimori.model.mapping import Mapping, Owner, OwnerKind
from sekimori.model.request import Context
from sekimori.model.source import Sources
from sekimori.model.target import Target

Make = Callable[..., Mapping]
AT = 1_800_000_000.25


@pytest.fixture
def make() -> Make:
    """Build the nth mapping: TCP port 2000+n to 192.168.1.10:80, with fields put over it."""

    def build(number: int, *, port: int | None = None, **fields: Any) -> Mapping:
        outside = PortRange(port or 2000 + number, port or 2000 + number)
        mapping = Mapping(
            id=f"m{number}",
            name=f"web{number}",
            owner=Owner(OwnerKind.PERSON, "alice"),
            ports=(PortPair(IpProtocol.TCP, outside, PortRange(80, 80)),),
            target=Target.parse_host("192.168.1.10"),
            sources=Sources.parse("lan"),
            lifetime=Lifetime.lasting(86400, AT),
        )
        return replace(mapping, **fields)

    return build


@pytest.fixture
def context() -> Context:
    return Context(Owner(OwnerKind.PERSON, "alice"), "api", "a reason")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger.open(tmp_path)
    yield opened
    opened.close()
