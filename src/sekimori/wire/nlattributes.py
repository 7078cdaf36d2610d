"""Netlink attributes: type, length, value, padded to four bytes (linux/netlink.h, struct nlattr).

The header of an attribute is in host order; netfilter's numbers inside are in network order.
Dumps repeat a few layouts many times, so `Reader` remembers every layout that it met and
reads the next attribute list of that layout with one `struct.unpack_from`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from operator import itemgetter
from typing import Any, Final

from sekimori.wire.errors import BadPacket

__all__ = ["Path", "Reader", "attribute", "be16", "be32", "be64", "nested", "text", "u8", "walk_untrusted"]

Path = tuple[int | bytes, ...]
"""Where a value stands: the types of the attributes around it, then its own."""

_HEADER: Final = struct.Struct("=HH")
_NESTED: Final = 0x8000
_TYPE: Final = 0x3FFF  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER
_PADDING: Final = (b"", b"\0\0\0", b"\0\0", b"\0")
_LAYOUTS_OF_ONE_LENGTH: Final = 8
_LENGTHS: Final = 256


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded.

    Raises:
        struct.error: the value is longer than 65,531 bytes, the most a header can say.
    """
    return _HEADER.pack(4 + len(value), kind) + value + _PADDING[len(value) & 3]


def nested(kind: int, *attributes: bytes) -> bytes:
    """An attribute that holds attributes."""
    return attribute(kind | _NESTED, b"".join(attributes))


def u8(kind: int, value: int) -> bytes:
    """A number of 8 bits."""
    return attribute(kind, value.to_bytes(1, "big"))


def be16(kind: int, value: int) -> bytes:
    """A number of 16 bits in network order."""
    return attribute(kind, value.to_bytes(2, "big"))


def be32(kind: int, value: int) -> bytes:
    """A number of 32 bits in network order."""
    return attribute(kind, value.to_bytes(4, "big"))


def be64(kind: int, value: int) -> bytes:
    """A number of 64 bits in network order."""
    return attribute(kind, value.to_bytes(8, "big"))


def text(kind: int, value: str) -> bytes:
    """A string and the NUL that ends it."""
    return attribute(kind, value.encode() + b"\0")


def walk_untrusted(data: bytes, start: int = 0, end: int | None = None) -> Iterator[tuple[int, int, int]]:
    """The attributes in `data[start:end]`: type without flags, where the value begins and ends.

    Raises:
        BadPacket: an attribute is cut off.
    """
    stop = len(data) if end is None else end
    while start < stop:
        if stop - start < 4:
            raise BadPacket("netlink attribute without a whole header")
        length, kind = _HEADER.unpack_from(data, start)
        if length < 4 or start + length > stop:
            raise BadPacket("netlink attribute longer than what holds it, or shorter than its header")
        yield kind & _TYPE, start + 4, start + length
        start += length + 3 & ~3


class Reader:
    """Reads the same values out of attribute lists, any number of times.

    Args:
        fields: path of each value wanted (two at least), and its format as in `struct`
            (network order), or "" for bytes of any length.
        choices: paths of nests whose attribute 1 names what attribute 2 holds (as expressions
            of nf_tables do). In paths, that name (with its NUL) stands in the place of the 2.
    """

    def __init__(self, fields: Mapping[Path, str], choices: Iterable[Path] = ()) -> None:
        self._fields = dict(fields)
        self._choices = frozenset(choices)
        self._nests = {path[:depth] for path in fields for depth in range(1, len(path))} | self._choices
        self._layouts: dict[int, list[_Layout]] = {}

    def read_untrusted(self, data: bytes, start: int, end: int) -> tuple[Any, ...]:
        """The values in `data[start:end]` in the order of `fields`; None for one that is not there.

        The first of several attributes at one path counts.

        Raises:
            BadPacket: an attribute is cut off, or a value has not the size of its format.
        """
        for layout in self._layouts.get(end - start, ()):
            row = layout.unpack_from(data, start)
            if layout.fixed(row) == layout.expected:
                return layout.values(row)
        layout = _Layout(self._fields, self._nests, self._choices, data, start, end)
        self._remember(end - start, layout)
        return layout.values(layout.unpack_from(data, start))

    def _remember(self, length: int, layout: _Layout) -> None:
        if len(self._layouts) >= _LENGTHS:
            self._layouts.clear()
        alike = self._layouts.setdefault(length, [])
        alike.insert(0, layout)
        del alike[_LAYOUTS_OF_ONE_LENGTH:]


class _Layout:
    """Where everything stands in attribute lists like one that was met.

    `fixed` picks from an unpacked row the headers and names that make the layout, `expected`
    is what they were.
    """

    def __init__(
        self,
        fields: Mapping[Path, str],
        nests: set[Path],
        choices: frozenset[Path],
        data: bytes,
        start: int,
        end: int,
    ) -> None:
        self._fields, self._nests, self._choices = fields, nests, choices
        self._format = [">"]
        self._columns = 0
        self._fixed: list[int] = []
        self._found: dict[Path, int] = {}
        self._learn(data, start, end, ())
        whole = struct.Struct("".join(self._format))
        self.unpack_from = whole.unpack_from
        # The first column twice, as itemgetter gives a tuple only for two and more.
        self.fixed = itemgetter(*self._fixed[:1], *self._fixed) if self._fixed else tuple
        self.expected = self.fixed(whole.unpack_from(data, start))
        self._pick = itemgetter(*(self._found.get(path, -1) for path in fields))

    def values(self, row: tuple[Any, ...]) -> tuple[Any, ...]:
        found: tuple[Any, ...] = self._pick((*row, None))
        return found

    def _learn(self, data: bytes, start: int, end: int, outer: Path) -> None:
        at = start
        chosen: bytes | None = None
        for kind, begin, stop in walk_untrusted(data, start, end):
            path: Path = (*outer, kind)
            self._fixed.append(self._column("4s"))
            if outer in self._choices and kind == 1:
                chosen = data[begin:stop]
                self._fixed.append(self._column(f"{stop - begin}s"))
            elif outer in self._choices and kind == 2 and chosen is not None:
                self._inside(data, begin, stop, (*outer, chosen))
            else:
                self._inside(data, begin, stop, path)
            at = min(begin + (stop - begin + 3 & ~3), end)
            self._format.append(f"{at - stop}x")

    def _inside(self, data: bytes, begin: int, stop: int, path: Path) -> None:
        if path in self._nests:
            self._learn(data, begin, stop, path)
        elif path in self._fields and path not in self._found:
            kind = self._fields[path] or f"{stop - begin}s"
            if struct.calcsize(">" + kind) != stop - begin:
                raise BadPacket("netlink attribute of another size than its kind has")
            self._found[path] = self._column(kind)
        else:
            self._format.append(f"{stop - begin}x")

    def _column(self, kind: str) -> int:
        self._format.append(kind)
        self._columns += 1
        return self._columns - 1
