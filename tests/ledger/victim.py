"""What `test_survival` runs as a process of its own: `victim.py WHAT DIRECTORY [NUMBER]`."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from sqlalchemy import event

from sekimori.ledger.store import Ledger
from sekimori.model.address import IpProtocol, PortPair, PortRange
from sekimori.model.decision import Made, Verb
from sekimori.model.errors import Problem
from sekimori.model.lifetime import Lifetime
from sekimori.model.mapping import Mapping, Owner, OwnerKind
from sekimori.model.request import Context
from sekimori.model.source import Sources
from sekimori.model.target import Target

ALICE = Owner(OwnerKind.PERSON, "alice")
CONTEXT = Context(ALICE, "api")


def mapping(number: int) -> Mapping:
    return Mapping(
        id=f"m{number}",
        name=f"web{number}",
        owner=ALICE,
        ports=(PortPair(IpProtocol.TCP, PortRange(2000 + number, 2000 + number), PortRange(80, 80)),),
        target=Target.parse_host("self"),
        sources=Sources(anyone=True),
        lifetime=Lifetime.lasting(86400, 1_800_000_000),
    )


def start(ledger: Ledger) -> None:
    ledger.commit([Made(Verb.OPEN, None, mapping(number)) for number in range(4)], CONTEXT, 1.0)


def batch(ledger: Ledger, number: int) -> list[Made]:
    """Swap the ports of two mappings, open one, and close the one opened last."""
    one, two, last = (ledger.snapshot.get(key) for key in ("m0", "m1", f"m{number - 1}"))
    assert one is not None
    assert two is not None
    assert last is not None
    return [
        Made(Verb.CHANGE, one, replace(one, ports=two.ports)),
        Made(Verb.CHANGE, two, replace(two, ports=one.ports)),
        Made(Verb.OPEN, None, mapping(number)),
        Made(Verb.CLOSE, last, None),
    ]


def commit_on(ledger: Ledger) -> None:
    """Commit for ever, and say each revision once it is told to be durable."""
    for number in count(4):
        print(ledger.commit(batch(ledger, number), CONTEXT, 2.0).revision, flush=True)


def die_at(ledger: Ledger, point: int) -> None:
    """Die before the statement of that number, the last of which is COMMIT, or right after it."""
    seen = [0]

    def step(*_any: Any) -> None:
        if seen[0] == point:
            os.kill(os.getpid(), signal.SIGKILL)
        seen[0] += 1

    event.listen(ledger._database.engine, "before_cursor_execute", step)
    event.listen(ledger._database.engine, "commit", step)
    ledger.commit(batch(ledger, 4), CONTEXT, 2.0)
    print(seen[0], flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


def fill(ledger: Ledger, directory: Path) -> None:
    """Commit until the disk is full, look that nothing was half done, make room, and go on."""
    ballast = directory / "ballast"
    ballast.write_bytes(bytes(128 << 10))
    problem = next(failures(ledger))
    assert problem.code == "disk-full", problem.title()
    before = (list(ledger.snapshot), ledger.revision)
    documents = {each.id: each for each in ledger.snapshot}
    again = Ledger.open(directory)  # reading needs no room
    assert ({each.id: each for each in again.snapshot}, again.revision) == (documents, ledger.revision)
    again.close()
    ballast.unlink()
    number = max(int(each.id[1:]) for each in ledger.snapshot) + 1
    ledger.commit(batch(ledger, number), CONTEXT, 3.0)
    assert ledger.revision == before[1] + 1
    print("survived", flush=True)


def failures(ledger: Ledger) -> Iterator[Problem]:
    for number in count(4):
        try:
            ledger.commit(batch(ledger, number), CONTEXT, 2.0)
        except Problem as problem:
            yield problem


def main() -> None:
    what, directory = sys.argv[1], Path(sys.argv[2])
    ledger = Ledger.open(directory)
    start(ledger)
    if what == "commit-on":
        commit_on(ledger)
    elif what == "die-at":
        die_at(ledger, int(sys.argv[3]))
    else:
        fill(ledger, directory)


if __name__ == "__main__":
    main()
