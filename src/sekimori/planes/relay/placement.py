"""Which worker serves what: pure arithmetic on an entry and the number of workers."""

from __future__ import annotations

from dataclasses import replace
from zlib import crc32

from sekimori.planes.relay.entry import Entry

__all__ = ["home_of", "shares"]


def home_of(name: str, workers: int) -> int:
    """The worker that serves alone what only one can, of the entry with this id."""
    return crc32(name.encode()) % workers


def shares(entry: Entry, workers: int) -> dict[int, Entry]:
    """What each worker is to serve of `entry`: worker index to the entry with its listens there.

    A datagram socket cannot be shared (the kernel would hash a peer's packets to whichever
    worker), and limits and rates are exact only where one worker counts them; so those go
    to one worker, chosen by the id. So does a unix socket, which has one file, and what a
    carrier brings newcomers for, as it is told one worker. All other TCP listens go to every
    worker. Where limits keep a worker from accepting, its share is `shut`: flows that it has
    from before go on.
    """
    home = home_of(entry.id, workers)
    limited = entry.max_connections is not None or entry.rate_total is not None
    limited = limited or entry.rate_per_source is not None
    tcp = tuple(listen for listen in entry.listens if listen.protocol == "tcp")
    if not tcp or entry.arrivals is not None:
        return {home: entry}
    plain = not limited and len(tcp) == len(entry.listens)
    everywhere = entry if plain else replace(entry, listens=tcp, shut=limited)
    return {worker: entry if worker == home else everywhere for worker in range(workers)}
