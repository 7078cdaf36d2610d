"""Whether the kernel's table is what the ledger says: every element read back, and compared with what each
mapping that is open means."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import closing

import sqlalchemy as sa

from sekimori.host.nfsocket import NfSocket
from sekimori.ledger.reading import Standing, read_standing
from sekimori.model.mapping import Mapping
from sekimori.planes.kernel.elements import Item, render
from sekimori.planes.kernel.frame import TABLE
from sekimori.planes.kernel.guests import Guests
from sekimori.planes.kernel.sets import GLOBAL_SETS, SCOPE_SETS
from sekimori.planes.kernel.symmetric import SYMMETRIC
from sekimori.reconcile.ports import Wanted
from sekimori.testing.daemon import DaemonProcess
from sekimori.testing.netlab import Host
from sekimori.testing.peers import DEADLINE, eventually
from sekimori.wire.nftelements import Seen, dump_elements, parse_elements_untrusted

SLACK = 2.5
"""Seconds between two readings of one timeout."""


def disagreements(daemon: DaemonProcess, gateway: Host) -> list[str]:
    """What the kernel has and should not, or should and has not, or has otherwise."""
    now = time.time()
    standing = read_ledger(daemon)
    items = list(_rendered(standing, now))
    symmetric = {(item.key, item.data) for item in items if item.set == SYMMETRIC}
    wished = {(item.set, item.key): item for item in items if item.set != SYMMETRIC}
    seen = {(name, each.key): each for name, each in _read_kernel(gateway)}
    found = [f"missing {_shown(item)}" for place, item in wished.items() if place not in seen]
    for (name, key), each in seen.items():
        if name == SYMMETRIC:
            if (key, each.data) not in symmetric:
                found.append(f"stray {name} {key.hex()}")
            symmetric = {claim for claim in symmetric if claim[0] != key}
        elif (name, key) not in wished:
            found.append(f"stray {name} {key.hex()}")
        elif not _is(each, wished[name, key], now):
            found.append(f"otherwise {_shown(wished[name, key])}: {each}")
    return found + [f"missing {SYMMETRIC} {key.hex()}" for key, _ in symmetric]


def agree(daemon: DaemonProcess, gateway: Host, within: float = DEADLINE) -> None:
    """Wait until the kernel has what the ledger says.

    Raises:
        AssertionError: it did not come to that; with what differs.
    """
    try:
        eventually(lambda: not disagreements(daemon, gateway), within)
    except AssertionError as error:
        error.add_note("\n".join(disagreements(daemon, gateway)[:20]))
        raise


def table_text(gateway: Host) -> str:
    """The table's sets, chains and rules as nft tells them, without elements and counts; "" without one."""
    done = gateway.run(["nft", "-s", "-t", "list", "table", "inet", TABLE], check=False)
    return done.stdout


def read_ledger(daemon: DaemonProcess) -> Standing:
    """All that stands in a running daemon's ledger."""
    engine = sa.create_engine(f"sqlite:///file:{daemon.state_dir / 'ledger.db'}?mode=ro&uri=true")
    with engine.connect() as connection:
        standing = read_standing(connection)
    engine.dispose()
    return standing


def _rendered(standing: Standing, now: float) -> Iterator[Item]:
    named = {each.name: each.prefixes for each in standing.lists}
    for mapping in standing.mappings:
        if mapping.path[0].plane == "kernel" and mapping.wants_open(now):
            targets = (mapping.target.host,)
            yield from render(
                Wanted(mapping, mapping.next_change(now), targets, mapping.sources.resolve(named), 0.0)
            )
    gateway = next((each for each in standing.settings if hasattr(each, "firewall")), None)
    if gateway is not None and gateway.firewall:
        yield from _guests(each for each in standing.mappings if each.path[0].plane == "relay")


def _guests(mappings: Iterable[Mapping]) -> Iterator[Item]:
    put, _, _ = Guests().compare(mappings, time.time())
    for wanted in put.values():
        yield from render(wanted)


def _read_kernel(gateway: Host) -> Iterator[tuple[str, Seen]]:
    listed = gateway.run(["nft", "-t", "list", "table", "inet", TABLE], check=False).stdout
    words = [line.split() for line in listed.splitlines()]
    names = [each[1] for each in words if each[:1] in (["set"], ["map"])]
    filled = [
        each for each in names if each in GLOBAL_SETS or ("_" in each and each.split("_")[0] in SCOPE_SETS)
    ]
    with closing(gateway.call(NfSocket)) as sock:
        for name in filled:
            for data in sock.ask(dump_elements(TABLE, name)):
                yield from ((name, each) for each in parse_elements_untrusted(data))


def _is(seen: Seen, item: Item, now: float) -> bool:
    if (seen.key_end or item.key) != (item.end or item.key):
        return False
    if (seen.data, seen.chain) != (item.data, item.chain):
        return False
    if item.until is None or seen.expires_ms is None:
        return item.until is None and seen.timeout_ms is None
    return abs(now + seen.expires_ms / 1000 - item.until) < SLACK


def _shown(item: Item) -> str:
    return f"{item.set} {item.key.hex()}-{(item.end or b'').hex()} {item.data!r} {item.chain} {item.until}"
