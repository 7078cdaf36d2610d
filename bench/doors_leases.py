"""Devices that ask for thousands of ports: `python -m bench.doors_leases [--count N] [--most N] [--full]`.

One device opens 3,000 UDP mappings, each once the one before it is answered, by NAT-PMP, by PCP and by UPnP;
at Debian's miniupnpd (nftables), and at ours, where it goes on to 10,000. Both have a gateway of their own in
namespaces, and the same code asks both. At the end it renews some by chance.

Both daemons are told to let every device have as many as it likes. miniupnpd has nothing on the disk, as
Debian sets it up; ours has every lease in its ledger. That takes some six minutes. 10,000 at miniupnpd take
some twenty minutes for each protocol: only with `--full`.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from bench.doors_lab import Device, Gateway, NatPmp, Pcp, Upnp, miniupnpd, sekimori
from bench.kernel_lab import build, cannot, median, quantile, verdict
from sekimori.testing.netlab import Host, Lab

COUNT: Final = 3000
MOST: Final = 10_000
FIRST_PORT: Final = 20_000
BLOCK: Final = 100
RENEWALS: Final = 300
FASTER: Final = 20.0
FLAT: Final = 1.25
LATEST: Final = 20.0
"""Goals: times as fast for all of them; the last hundred to the first; milliseconds of an answer."""

Ask = Callable[[Sequence[int]], list[float]]
"""Asks for these ports, one after the other; the seconds of each."""


@dataclass(frozen=True, slots=True)
class Found:
    """What was measured at a daemon.

    Attributes:
        took: seconds of each new mapping, in order.
        renewed: seconds of each renewal, by chance.
        processor: seconds of processor time of the daemon for a new mapping, mean.
        memory: megabytes at the end.
    """

    took: list[float]
    renewed: list[float]
    processor: float
    memory: float


def first(found: Found, count: int) -> float:
    """The median of the first hundred of so many, in milliseconds."""
    return median(found.took[: min(BLOCK, count)]) * 1e3


def last(found: Found, count: int) -> float:
    """The median of the last hundred of so many, in milliseconds."""
    return median(found.took[max(0, count - BLOCK) : count]) * 1e3


TOGETHER: Final = "all of them, s"
ROWS: Final[Mapping[str, Callable[[Found, int], float]]] = {
    "the first hundred, median, ms": first,
    "the last hundred, median, ms": last,
    "all of them, median, ms": lambda found, count: median(found.took[:count]) * 1e3,
    "all of them, p99, ms": lambda found, count: quantile(found.took[:count], 0.99) * 1e3,
    TOGETHER: lambda found, count: sum(found.took[:count]),
}
"""What is told of the first so many mappings of a daemon."""

PROTOCOLS: Final[Mapping[str, tuple[str, Callable[..., Device]]]] = {
    "NAT-PMP": ("portmap", NatPmp),
    "PCP": ("portmap", Pcp),
    "UPnP": ("igd", Upnp),
}


def measure(gateway: Gateway, ask: Ask, count: int) -> Found:
    """Open so many, see that they are there, and renew some."""
    ports = range(FIRST_PORT, FIRST_PORT + count)
    before = gateway.processor()
    took = ask(ports)
    used = gateway.processor() - before
    held = gateway.held()
    if held != count:
        raise SystemExit(f"of {count} mappings that were answered, {held} are in the kernel")
    renewed = ask(random.Random(1).choices(ports, k=RENEWALS))
    return Found(took, renewed, used / count, gateway.memory())


@contextmanager
def asked(
    gateway: AbstractContextManager[Gateway], device: Callable[[], Device], host: Host
) -> Iterator[tuple[Gateway, Ask]]:
    """A daemon and the device that asks it, which is in the host's network for as long as it asks."""
    with gateway as daemon, closing(host.call(device)) as asker:

        def ask(ports: Sequence[int]) -> list[float]:
            return host.call(lambda: [asker.map(port) for port in ports])

        yield daemon, ask


def compare(name: str, count: int, most: int, full: bool) -> None:
    """One protocol at both."""
    door, device = PROTOCOLS[name]
    with Lab() as lab, tempfile.TemporaryDirectory(prefix="skm-") as folder:
        roads = build(lab, ("miniupnpd", "sekimori"))
        theirs, ours = roads.roads
        with asked(miniupnpd(theirs, Path(folder)), partial(device, theirs), roads.server) as (daemon, ask):
            peer = measure(daemon, ask, most if full else count)
        with asked(sekimori(ours, door), partial(device, ours), roads.server) as (daemon, ask):
            mine = measure(daemon, ask, max(most, count))
    show(name, peer, mine, count)


def show(name: str, peer: Found, mine: Found, count: int) -> None:
    """The table of a protocol, and how the goals were met."""
    sizes = [("miniupnpd", peer, count), ("ours", mine, count), ("ours", mine, len(mine.took))]
    if len(peer.took) > count:
        sizes.append(("miniupnpd", peer, len(peer.took)))
    print(f"{name:32}" + "".join(f"{f'{who} {size:,}':>18}" for who, _, size in sizes))
    for what, value in ROWS.items():
        cells = [value(found, size) for _, found, size in sizes]
        ratio = cells[0] / cells[1]
        goal = verdict(ratio, FASTER, at_most=False) if what == TOGETHER else ""
        print(
            f"  {what:30}" + "".join(f"{cell:18.2f}" for cell in cells) + f"  x {ratio:6.1f}  {goal}",
            flush=True,
        )
    print(f"{f'with {len(peer.took):,} and {len(mine.took):,} held':32}{'miniupnpd':>18}{'ours':>18}")
    for what, other, own in (
        ("a renewal, median, ms", median(peer.renewed) * 1e3, median(mine.renewed) * 1e3),
        ("a renewal, p99, ms", quantile(peer.renewed, 0.99) * 1e3, quantile(mine.renewed, 0.99) * 1e3),
        ("processor, ms a mapping, mean", peer.processor * 1e3, mine.processor * 1e3),
        ("memory, MB (PSS)", peer.memory, mine.memory),
    ):
        print(f"  {what:30}{other:18.2f}{own:18.2f}")
    flat = last(mine, len(mine.took)) / first(mine, len(mine.took))
    late = quantile([*mine.took[-1000:], *mine.renewed], 0.99) * 1e3
    print(f"  ours, last hundred to the first {flat:34.2f}  {verdict(flat, FLAT, at_most=True)}")
    print(
        f"  ours, p99 of an answer at the end, ms {late:28.2f}  {verdict(late, LATEST, at_most=True)}",
        flush=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=COUNT, help="of mappings at both")
    parser.add_argument("--most", type=int, default=MOST, help="of mappings at ours")
    parser.add_argument("--full", action="store_true", help="as many at miniupnpd as at ours")
    parser.add_argument("--only", choices=PROTOCOLS, help="one protocol")
    options = parser.parse_args()
    why = cannot("nft", "miniupnpd")
    if why is not None:
        print(f"cannot measure: {why}")
        return 1
    for name in [options.only] if options.only else PROTOCOLS:
        compare(name, options.count, options.most, options.full)
    return 0


if __name__ == "__main__":
    sys.exit(main())
