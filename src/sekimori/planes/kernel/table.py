"""The table in the kernel: structure as text, elements straight over netlink. Everything here blocks."""

from __future__ import annotations

import errno
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from sekimori.host.kernel import kernel_at_least
from sekimori.host.nfmonitor import Monitor, batch_unheard
from sekimori.host.nfsocket import NetfilterError, NfSocket, read_elements
from sekimori.host.nftables import Nftables, NftError
from sekimori.planes.kernel.elements import Item
from sekimori.planes.kernel.frame import TABLE
from sekimori.planes.kernel.structure import keeper_text
from sekimori.wire.nftelements import (
    Element,
    Fields,
    Seen,
    add_elements,
    delete_elements,
    get_element,
    parse_elements_untrusted,
)
from sekimori.wire.nftnames import (
    dump_chains,
    dump_rules,
    dump_sets,
    parse_chains_untrusted,
    parse_rules_untrusted,
    parse_sets_untrusted,
)

__all__ = ["KEEPER", "Found", "Table"]

KEEPER: Final = f"{TABLE}_keeper"
"""The table that keeps NAT hooked while ours is away (`structure.keeper_text`)."""

_MUCH: Final = 4
"""Messages (of up to a thousand elements each, for each set) above which the monitor is not to hear them."""

_FEW: Final = 1000
"""Elements up to which each is asked for by itself, at 13 µs."""

_DESTROYS: Final = kernel_at_least(6, 3)
"""Whether elements can be deleted that may be gone (NFT_MSG_DESTROYSETELEM): a timeout may come first."""

Found = dict[str, dict[bytes, Seen]]
"""Elements as the kernel has them, by set and key."""


class Table:
    """One process's hold on the table. Made in the network namespace it shall work in.

    Args:
        monitor: what tells this process of others' changes. It does not listen while much is written.

    Raises:
        NftUnavailable: no libnftables.
        OSError: no netfilter socket.
    """

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._nft = Nftables()
        self._keeper: Nftables | None = None
        self._socket = NfSocket()

    def close(self) -> None:
        """Let go; the table stays."""
        self._socket.close()
        self._nft.close()
        self.release_keeper()

    def is_ours(self, port: int) -> bool:
        """Whether a transaction of that netlink port was one of ours."""
        ports = {self._socket.port, self._nft.port}
        return port in ports or (self._keeper is not None and port == self._keeper.port)

    def check(self, text: str) -> None:
        """Have nft and the kernel read commands without doing them.

        Raises:
            NftError: they refuse.
        """
        self._nft.check(text)

    def structure(self, text: str) -> None:
        """Do commands as one transaction.

        Raises:
            NftError: nft's or the kernel's own words; nothing was done.
        """
        self._nft.run(text)

    def keep_nat(self) -> None:
        """Keep NAT hooked for as long as this process lives."""
        if self._keeper is None:
            # Known before it acts: the monitor tells of it, in another thread, while it still does.
            keeper = self._keeper = Nftables()
            try:
                keeper.run(keeper_text(KEEPER))
            except NftError:
                self.release_keeper()
                raise

    def release_keeper(self) -> None:
        """Let the kernel unhook NAT when nobody needs it."""
        if self._keeper is not None:
            self._keeper.close()
            self._keeper = None

    def names(self) -> tuple[Mapping[str, int], frozenset[str]]:
        """The chains that are there, each with how many rules it has; and the sets."""
        ask = self._socket.ask
        try:
            sets = [name for data in ask(dump_sets(TABLE)) for name in parse_sets_untrusted(data, TABLE)]
        except NetfilterError as error:
            if error.errno != errno.ENOENT:
                raise
            return {}, frozenset()
        rules = Counter(
            name for data in ask(dump_rules(TABLE)) for name in parse_rules_untrusted(data, TABLE)
        )
        chains = [name for data in ask(dump_chains()) for name in parse_chains_untrusted(data, TABLE)]
        # A rule's own sets (`{ tcp, udp }`) come and go with it.
        named = frozenset(name for name in sets if not name.startswith("__"))
        return {chain: rules[chain] for chain in chains}, named

    def delete(self) -> None:
        """Take the whole table away, if it is there."""
        self._nft.run(f"add table inet {TABLE}\ndelete table inet {TABLE}\n")

    def write(self, drop: Iterable[Item], put: Iterable[Item], now: float) -> bool:
        """Drop elements and put others, as one transaction. What has ended by `now` is not put.

        Returns:
            Whether nobody else can have changed the ruleset meanwhile without the monitor having told it.

        Raises:
            NetfilterError: the kernel refused; nothing was done.
        """
        return self.send(self.encode(drop, put, now))

    def encode(self, drop: Iterable[Item], put: Iterable[Item], now: float) -> list[bytes]:
        """What `send` takes. What has ended by `now` is not put."""
        messages: list[bytes] = []
        for name, items in _by_set(drop if _DESTROYS else self._present(drop)).items():
            gone = (Element(item.key, item.end) for item in items)
            messages += delete_elements(TABLE, name, gone, missing_ok=_DESTROYS)
        begun = time.monotonic()
        for name, items in _by_set(put).items():
            # A timeout counts from when the kernel reads it, and a second goes into writing 100,000 of them.
            at = now + time.monotonic() - begun
            messages += add_elements(TABLE, name, _elements(items, at))
        return messages

    def send(self, messages: Sequence[bytes]) -> bool:
        """Do what was encoded, as `write` does."""
        if len(messages) > _MUCH:
            return batch_unheard(self._socket, self._monitor, messages)
        if messages:
            self._socket.batch(messages)
        return True

    def read(self, sets: Iterable[str]) -> Found:
        """The elements of these sets; a set that is not there has none."""
        found: Found = {}
        for name in sets:
            try:
                found[name] = {seen.key: seen for seen in read_elements(self._socket, TABLE, name)}
            except NetfilterError as error:
                if error.errno != errno.ENOENT:
                    raise
                found[name] = {}
        return found

    def _present(self, items: Iterable[Item]) -> Iterable[Item]:
        """Those that are there still: what had a timeout may have ended by itself."""
        items = list(items)
        mortal = [item for item in items if item.until is not None]
        if len(mortal) > _FEW:
            found = self.read({item.set for item in mortal})
            return [item for item in items if item.until is None or item.key in found[item.set]]
        there = self.look_up(mortal)
        return [item for item in items if item.until is None or item in there]

    def look_up(self, items: Iterable[Item]) -> Mapping[Item, Seen]:
        """Single elements as they are now; those that are gone are left out."""
        found: dict[Item, Seen] = {}
        for item in items:
            try:
                for data in self._socket.ask(get_element(TABLE, item.set, item.key, item.end)):
                    found.update((item, seen) for seen in parse_elements_untrusted(data))
            except NetfilterError as error:
                if error.errno != errno.ENOENT:
                    raise
        return found


def _by_set(items: Iterable[Item]) -> dict[str, list[Item]]:
    grouped: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        grouped[item.set].append(item)
    return grouped


def _elements(items: Iterable[Item], now: float) -> Iterator[Fields]:
    """What is to be written of those that have not ended by `now`."""
    for _, key, end, data, chain, until in items:
        if until is None:
            yield key, end, data, chain, None
        elif until > now:
            yield key, end, data, chain, max(1, round((until - now) * 1000))
