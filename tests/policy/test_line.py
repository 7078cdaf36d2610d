"""What is said of ports that the line cannot let in."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sekimori.model.causes import cause
from sekimori.model.finding import Confidence
from sekimori.model.line import Answer, Inbound, Line
from sekimori.model.mapset import PortSet
from sekimori.model.request import Submit
from sekimori.testing.world import World

_OPEN = Inbound(Answer.UNKNOWN, cause("line-untold"), Confidence.LIKELY)
_SHUT = Inbound(Answer.NO, cause("line-in-none", interface="wan0"), Confidence.CERTAIN)


async def told(line: Line | None, **words: object) -> list[str]:
    """The codes of the notices about the line that opening gives."""
    world = World()
    world.gate._rules = replace(world.rules, line=lambda: line)
    try:
        asked = {"ports": "8080", "to": "192.168.1.5", "from_": "anyone", **words}
        outcome = await world.ask(Submit(world.wish(**asked)))
        assert len(world.ledger.snapshot) == 1  # said, and not refused
        return [n.code for n in outcome.notices if n.code in ("no-inbound4", "port-not-ours")]
    finally:
        world.close()


async def test_an_open_line_is_not_talked_about() -> None:
    assert await told(None) == []
    assert await told(Line("wan0", (), _OPEN, _OPEN)) == []


async def test_no_way_in_by_ipv4_is_said_at_once_with_what_is_left() -> None:
    assert await told(Line("wan0", (), _SHUT, _OPEN)) == ["no-inbound4"]
    assert await told(Line("wan0", (), _SHUT, _SHUT)) == ["no-inbound4"]


@pytest.mark.parametrize("words", [{"from_": "lan"}, {"on": "2001:db8::1"}])
async def test_what_is_not_for_the_internet_by_ipv4_needs_no_word(words: dict[str, object]) -> None:
    assert await told(Line("wan0", (), _SHUT, _SHUT), **words) == []


async def test_a_port_that_another_customer_has_is_told_with_the_next_of_ours() -> None:
    ports = PortSet(offset=4, length=8, psid=0x34)
    line = Line("wan0", (), _OPEN, _OPEN, outside_ports=ports)
    assert 8080 not in ports
    assert await told(line) == ["port-not-ours"]
    assert await told(line, ports=str(next(iter(ports)))) == []
