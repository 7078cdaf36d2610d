"""libnftables in this process: rules as text or JSON in, nft's own words out.

Calls block for as long as nft and the kernel work, and let other threads run meanwhile.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import socket
import threading
from collections.abc import Callable
from functools import cache
from types import TracebackType
from typing import Any, Final

from sekimori.host.nfsocket import NETLINK_NETFILTER, OPENING, NetfilterError, NfSocket
from sekimori.wire.nftevents import Table, dump_tables, parse_tables_untrusted

__all__ = ["NftError", "NftUnavailable", "Nftables"]

_LIBRARY: Final = "libnftables.so.1"
# nftables/libnftables.h
_DEFAULT: Final = 0
_HANDLE: Final = 1 << 3
_JSON: Final = 1 << 4
_TERSE: Final = 1 << 11

_FAMILIES: Final = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}
"""NFPROTO_* to nft's word."""
_FLAGS: Final = {1: "dormant", 2: "owner", 4: "persist"}
_LISTING_ATTEMPTS: Final = 8


class NftError(Exception):
    """nft refused; nothing of the input was done.

    Attributes:
        text: nft's own words, with the line and the column marked under it.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        super().__init__(text)


class NftUnavailable(Exception):  # noqa: N818 - a state of the machine, not a fault of a call
    """There is no libnftables.so.1 here, or no netfilter socket for this process; the text says which."""


class Nftables:
    """A context of libnftables: one netlink socket, in the network namespace of the thread that makes it.

    A table with `flags owner` that it made belongs to that socket: nobody else can change or
    flush it, and it is gone when the context is closed or the process ends.

    Raises:
        NftUnavailable: see there.
    """

    def __init__(self) -> None:
        library = _load()
        try:
            # Before the library: it ends the whole process when it gets no socket.
            self._kernel = NfSocket()
        except OSError as error:
            raise NftUnavailable(f"no netfilter socket: {error.strerror}") from error
        # The lock is also for the library: its first context fills tables that all of them share.
        with OPENING:
            before = _sockets()
            self._context: int | None = library.nft_ctx_new(_DEFAULT)
            self._socket = next((new for new in _sockets() - before if _is_netfilter(new)), None)
        if not self._context:
            self._kernel.close()
            raise NftUnavailable(f"{_LIBRARY} made no context")
        library.nft_ctx_buffer_output(self._context)
        library.nft_ctx_buffer_error(self._context)
        self._library = library
        if self._socket is not None:
            # A child process that held it too would keep the tables that it owns.
            os.set_inheritable(self._socket[0], False)
        self._lock = threading.Lock()

    def __enter__(self) -> Nftables:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the context, and with it the tables that it owns. It may be closed already."""
        with self._lock:
            if self._context is not None:
                self._library.nft_ctx_free(self._context)
                self._context = None
        self._kernel.close()

    @property
    def port(self) -> int:
        """The netlink port of its socket, as `Generation.port` tells it; 0 before its first command."""
        with self._lock:
            if self._context is None or self._socket is None:
                return 0
            with _same_socket(self._socket[0]) as sock:
                port: int = sock.getsockname()[0]
                return port

    def run(self, text: str) -> str:
        """Run commands, all in one transaction; what they print.

        Raises:
            NftError: nft or the kernel refused.
        """
        return self._run(text)

    def check(self, text: str) -> None:
        """Have nft and the kernel look at commands without doing them.

        Raises:
            NftError: they would refuse.
        """
        self._run(text, dry=True)

    def list_ruleset(self) -> dict[str, Any]:
        """The whole ruleset at one moment, as nft's JSON tells it (libnftables-json(5)).

        With handles, without set elements.

        Raises:
            NftError: nft refused.
            NetfilterError: the kernel refused, or the ruleset kept changing (EINTR).
        """
        return self._list(lambda table: True)

    def list_table(self, family: str, name: str) -> dict[str, Any]:
        """One table likewise (`inet`, `filter`); an empty list when it is not there.

        Raises:
            NftError: nft refused.
            NetfilterError: the kernel refused, or the ruleset kept changing (EINTR).
        """
        return self._list(lambda table: (_FAMILIES.get(table.family), table.name) == (family, name))

    def list_json(self, text: str, *, elements: bool = False) -> dict[str, Any]:
        """What a listing command tells, in nft's JSON, with handles; set elements only where wanted.

        Not for tables that others made, nor for those with a flag: with exactly one flag on a
        table, libnftables before 1.1 writes its JSON out of freed memory, and with luck only
        that is wrong. `list_table` and `list_ruleset` go round it.

        Raises:
            NftError: nft or the kernel refused.
        """
        output = self._run(text, flags=_JSON | _HANDLE | (0 if elements else _TERSE))
        found: dict[str, Any] = json.loads(output)
        return found

    def _list(self, wanted: Callable[[Table], bool]) -> dict[str, Any]:
        for _ in range(_LISTING_ATTEMPTS):
            before = self._kernel.generation()
            try:
                tables = [table for table in self._tables() if wanted(table)]
                found = [each for table in tables for each in self._contents(table)]
            except NftError:
                # What was listed first may be gone when its contents are asked for.
                if self._kernel.generation() == before:
                    raise
                continue
            if self._kernel.generation() == before:
                return {"nftables": found}
        raise NetfilterError(errno.EINTR, "the ruleset changed during every listing of it")

    def _tables(self) -> list[Table]:
        answer = self._kernel.ask(dump_tables())
        return [table for data in answer for table in parse_tables_untrusted(data)]

    def _contents(self, table: Table) -> list[dict[str, Any]]:
        """A table and what is in it, without having the library write a table with one flag."""
        family = _FAMILIES.get(table.family)
        if family is None:  # of a kernel younger than this list: no path of a mapping goes through it
            return []
        name = f"{family} {table.name}"
        if table.flags.bit_count() != 1:
            return self._objects(f"list table {name}")
        flag = _FLAGS.get(table.flags, str(table.flags))
        about = {"family": family, "name": table.name, "handle": table.handle, "flags": flag}
        found: list[dict[str, Any]] = [{"table": about}]
        for kind in ("sets", "maps"):
            found += [each for each in self._objects(f"list {kind}") if _is_of(each, family, table.name)]
        for each in self._objects("list chains"):
            if _is_of(each, family, table.name):
                found += self._objects(f"list chain {name} {each['chain']['name']}")
        return found

    def _objects(self, command: str) -> list[dict[str, Any]]:
        # Several listing commands in one run make nft 1.0.6 refuse all but the last.
        return [each for each in self.list_json(command)["nftables"] if "metainfo" not in each]

    def _run(self, text: str, *, flags: int = 0, dry: bool = False) -> str:
        with self._lock:
            if self._context is None:
                raise ValueError("this context of libnftables is closed")
            self._library.nft_ctx_output_set_flags(self._context, flags)
            self._library.nft_ctx_set_dry_run(self._context, dry)
            code = self._library.nft_run_cmd_from_buffer(self._context, text.encode())
            # Reading a buffer also empties it, so both are read whatever happened.
            output: bytes = self._library.nft_ctx_get_output_buffer(self._context) or b""
            error: bytes = self._library.nft_ctx_get_error_buffer(self._context) or b""
        if code:
            raise NftError(error.decode(errors="replace").strip() or "nft gave no reason")
        return output.decode(errors="replace")


def _is_of(each: dict[str, Any], family: str, table: str) -> bool:
    (about,) = each.values()
    return (about["family"], about["table"]) == (family, table)


@cache
def _load() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError as error:
        raise NftUnavailable(str(error)) from error
    context = ctypes.c_void_p
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "nft_ctx_new": (context, [ctypes.c_uint32]),
        "nft_ctx_free": (None, [context]),
        "nft_ctx_buffer_output": (ctypes.c_int, [context]),
        "nft_ctx_buffer_error": (ctypes.c_int, [context]),
        "nft_ctx_get_output_buffer": (ctypes.c_char_p, [context]),
        "nft_ctx_get_error_buffer": (ctypes.c_char_p, [context]),
        "nft_ctx_output_set_flags": (None, [context, ctypes.c_uint]),
        "nft_ctx_set_dry_run": (None, [context, ctypes.c_bool]),
        "nft_run_cmd_from_buffer": (ctypes.c_int, [context, ctypes.c_char_p]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def _sockets() -> set[tuple[int, str]]:
    """Every socket of this process: descriptor, and what it leads to (`socket:[inode]`)."""
    found: set[tuple[int, str]] = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            leads_to = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:  # the descriptor of this very listing, or closed meanwhile
            continue
        if leads_to.startswith("socket:"):
            found.add((int(name), leads_to))
    return found


def _is_netfilter(found: tuple[int, str]) -> bool:
    descriptor, _leads_to = found
    try:
        with _same_socket(descriptor) as sock:
            return (sock.family, sock.proto) == (socket.AF_NETLINK, NETLINK_NETFILTER)
    except OSError:  # one of another thread, closed since it was listed
        return False


def _same_socket(descriptor: int) -> socket.socket:
    """The socket behind a descriptor that is not ours to close."""
    return socket.socket(fileno=os.dup(descriptor))
