"""Any file after any other: one step of asks reaches what the last one says."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

LINES = [
    'ports = "8080"',
    'to = "self"',
    'from = "anyone"',
    'from = ["lan", "192.0.2.0/24"]',
    'for = "2h"',
    'until = "2027-02-01"',
    'permanent = "why"',
    'hours = "mon-fri/09:00-18:00"',
    'on = "192.0.2.1"',
    'via = "relay"',
    'limit = "20/min"',
    'limit_total = "20/min"',
    "max_connections = 5",
    "proxy_protocol = 2",
    'idle = "10m"',
    'trigger = "tcp/6667"',
    'trigger = ["udp/3000", "6697"]',
    'hold = "5m"',
    'on = "eth1"',
    "log = true",
    "log = false",
    'accept_risk = "exposed-admin"',
    "paused = true",
    "paused = false",
]
LIFETIMES = ("for", "until", "permanent")


@st.composite
def entries(draw: st.DrawFn, name: str, port: int) -> str:
    """An entry with some of the words, each at most once."""
    words = {"ports": f'ports = "{port}:80"', "to": 'to = "192.168.1.5"'}
    for line in draw(st.lists(st.sampled_from(LINES), max_size=6)):
        key = line.split()[0]
        if key in LIFETIMES:
            words = {each: said for each, said in words.items() if each not in LIFETIMES}
        words[key] = f'ports = "{port}-{port + 1}:90-91"' if key == "ports" else line
    if "trigger" in words:  # it opens ports as they are, to whoever sets it off
        words |= {"ports": f'ports = "{port}"'}
        del words["to"]
    else:
        words.pop("hold", None)
    return "\n".join([f"[mappings.{name}]", *words.values(), ""])


def files() -> st.SearchStrategy[str]:
    several = [st.just("") | entries(name, 1000 + 10 * index) for index, name in enumerate("abc")]
    return st.tuples(*several).map("".join)


@settings(max_examples=50)
@given(st.lists(files(), min_size=1, max_size=3), st.integers(0, 3000))
def test_any_file_after_any_other_is_reached_in_one_step(new_ledger, texts, pause):
    ledger = new_ledger()
    for text in texts:
        ledger.apply(text)
        ledger.now += pause
    alone = new_ledger()
    alone.apply(texts[-1])
    assert set(standing(ledger, texts[-1])) == set(standing(alone, texts[-1]))


def standing(ledger: Any, text: str) -> list[tuple[object, ...]]:
    """The terms, without what hangs on when and in which order: ids, ends, unsaid pauses."""
    paused: dict[str, bool | None] = {entry.name: entry.paused for entry in ledger.read(text).mappings}
    return [
        (
            mapping.name, frozenset(mapping.ports), mapping.target, mapping.sources, mapping.lifetime.asked,
            mapping.lifetime.value, mapping.schedule, mapping.on, mapping.via, mapping.limits,
            mapping.proxy_protocol, mapping.idle, mapping.trigger, mapping.excepted, mapping.log,
            mapping.accepted_risks, mapping.preset,
            mapping.paused and paused[mapping.name] is not None,
        )
        for mapping in ledger.snapshot
    ]  # fmt: skip
