"""XML as UPnP uses it: elements and text, and nothing else.

Document types, and with them every entity but the five that XML predefines, are refused before the parser
sees a byte: an entity is how a few hundred bytes become gigabytes ("billion laughs"). So are processing
instructions. Prefixes are not required to be declared, for many routers do not declare them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final
from xml.parsers import expat

from sekimori.wire.errors import BadPacket

__all__ = [
    "LONGEST",
    "Element",
    "element",
    "escape",
    "one_line",
    "read_router_xml_untrusted",
    "read_xml_untrusted",
]

LONGEST: Final = 64 * 1024
_DEEPEST: Final = 32
_LEAST_ELEMENT: Final = 16
"""Bytes of a document that each of its elements has, on average, at least."""
_NOT_XML: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")  # XML 1.0 §2.2
_BARE_AMPERSAND: Final = re.compile(rb"&(?!(?:amp|lt|gt|quot|apos|#[0-9]{1,7}|#x[0-9A-Fa-f]{1,6});)")
_LEFT_OUT: Final = frozenset({"Cc", "Cf", "Cs"})
"""Unicode's control characters, its format characters (some reverse what follows), and surrogates."""
_ESCAPES: Final = str.maketrans(
    # A carriage return written as it is would be read back as a line feed (XML 1.0 §2.11).
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\r": "&#13;"}
)


@dataclass(frozen=True, slots=True)
class Element:
    """One element. Attributes are not kept."""

    name: str
    """Without its prefix."""
    namespace: str
    """What the prefix stands for; empty where it is not declared."""
    text: str
    """The characters directly in it, as they stand."""
    children: tuple[Element, ...]

    def child(self, name: str) -> Element | None:
        """The first child of that name."""
        return next((each for each in self.children if each.name == name), None)

    def said(self, name: str) -> str:
        """The text of the first child of that name, without the spaces around it; empty if there is none."""
        found = self.child(name)
        return found.text.strip() if found else ""

    def walk(self) -> Iterator[Element]:
        """This element and all below it, in the order of the document."""
        yield self
        for each in self.children:
            yield from each.walk()


def read_xml_untrusted(data: bytes, longest: int = LONGEST) -> Element:
    """Read a document in UTF-8, whatever encoding it declares.

    Raises:
        BadPacket: it is too long, too deep, too wide, not UTF-8, not well-formed, or has what is refused.
    """
    _check_length(data, longest)
    # Some devices count the zero that ends a text of C as part of what they send.
    return _parse(data.strip(b"\0 \t\r\n"), longest=longest, instructions=False)


def read_router_xml_untrusted(data: bytes, longest: int = LONGEST) -> Element:
    """Read a document as routers write it.

    Put right first: spaces before and rubbish after it, Latin-1, ampersands that are not escaped. Processing
    instructions are passed over.

    Raises:
        BadPacket: as `read_xml_untrusted`.
    """
    _check_length(data, longest)
    try:
        data.decode()
    except UnicodeDecodeError:
        data = data.decode("latin-1").encode()
    trimmed = data[: data.rfind(b">") + 1].removeprefix(b"\xef\xbb\xbf").lstrip()
    return _parse(_BARE_AMPERSAND.sub(b"&amp;", trimmed), longest=longest, instructions=True)


def escape(text: str) -> str:
    """Text as it may stand between tags and in double quotes; what XML cannot hold is left out."""
    return _NOT_XML.sub("", text).translate(_ESCAPES)


def element(name: str, *children: str) -> str:
    """An element around children that are XML already."""
    return f"<{name}>{''.join(children)}</{name.partition(' ')[0]}>"


def one_line(text: str, longest: int) -> str:
    """A stranger's text as it may be shown: at most `longest` characters, none of which control anything."""
    spaced = "".join(
        " " if each.isspace() else each
        for each in text[: 4 * longest]
        if each.isspace() or unicodedata.category(each) not in _LEFT_OUT
    )
    return " ".join(spaced.split())[:longest].rstrip()


@dataclass(slots=True)
class _Open:
    name: str
    namespaces: dict[str, str]
    text: list[str] = field(default_factory=list)
    children: list[Element] = field(default_factory=list)


@dataclass(slots=True)
class _Reader:
    """Builds the tree. After a handler has raised, expat calls none of the others."""

    most: int
    root: Element | None = None
    count: int = 0
    opened: list[_Open] = field(default_factory=list)

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self.count += 1
        if len(self.opened) >= _DEEPEST or self.count > self.most:
            raise BadPacket("a document with too many elements, or too deep")
        outer = self.opened[-1].namespaces if self.opened else {}
        declared = {
            key[5:].removeprefix(":"): value
            for key, value in attributes.items()
            if key == "xmlns" or key.startswith("xmlns:")
        }
        self.opened.append(_Open(name, {**outer, **declared} if declared else outer))

    def characters(self, text: str) -> None:
        self.opened[-1].text.append(text)

    def end(self, _name: str) -> None:
        done = self.opened.pop()
        prefix, _colon, local = done.name.rpartition(":")
        made = Element(local, done.namespaces.get(prefix, ""), "".join(done.text), tuple(done.children))
        if self.opened:
            self.opened[-1].children.append(made)
        else:
            self.root = made

    def instruction(self, _target: str, _data: str) -> None:
        raise BadPacket("a processing instruction")

    def doctype(self, *_declared: object) -> None:
        raise BadPacket("a document type")


def _check_length(data: bytes, longest: int) -> None:
    if len(data) > longest:
        raise BadPacket(f"a document of more than {longest} bytes")


def _parse(data: bytes, *, longest: int, instructions: bool) -> Element:
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise BadPacket("a document type or an entity")
    reader = _Reader(longest // _LEAST_ELEMENT)
    parser = expat.ParserCreate("utf-8")
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.characters
    parser.StartDoctypeDeclHandler = reader.doctype
    if not instructions:
        parser.ProcessingInstructionHandler = reader.instruction
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise BadPacket(f"not XML: {error}") from None
    assert reader.root is not None  # a document without an element is an error of the parser
    return reader.root
