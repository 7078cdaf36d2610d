"""XML of strangers: what is read, and what is refused before it can do harm."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekimori.wire.errors import BadPacket
from sekimori.wire.igdxml import (
    LONGEST,
    element,
    escape,
    one_line,
    read_router_xml_untrusted,
    read_xml_untrusted,
)

BILLION_LAUGHS = (
    b'<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY lol "lol">'
    + b"".join(
        b'<!ENTITY lol%d "%s">' % (each, (b"&lol%d;" % (each - 1) if each > 1 else b"&lol;") * 10)
        for each in range(1, 10)
    )
    + b"]><lolz>&lol9;</lolz>"
)
EXTERNAL = b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x>&e;</x>'


def test_names_namespaces_and_texts_are_read() -> None:
    root = read_xml_untrusted(
        b'<s:A xmlns:s="urn:a" xmlns="urn:d"><s:B>&lt;1&#65;<![CDATA[<&>]]></s:B>'
        b'<C xmlns=""> x </C><t:D/></s:A>'
    )
    assert [(each.name, each.namespace, each.text) for each in root.walk()] == [
        ("A", "urn:a", ""),
        ("B", "urn:a", "<1A<&>"),
        ("C", "", " x "),
        ("D", "", ""),
    ]
    assert root.said("C") == "x"
    assert root.said("nothing") == ""


@pytest.mark.parametrize(
    "data",
    [
        BILLION_LAUGHS,
        EXTERNAL,
        b'<!DOCTYPE x SYSTEM "http://192.0.2.1/x.dtd"><x/>',
        b"<!DOCTYPE x><x/>",
        b"<x>&undeclared;</x>",
        b"<x",
        b"<x></y>",
        b"<x/><y/>",
        b"",
        b"\x00",
        b"<x>\x01</x>",
        b"<x>&#0;</x>",
        b"<x>&#xD800;</x>",
        "<x>é</x>".encode("utf-16"),
        b"<a>" * 33 + b"</a>" * 33,
        b"<a>" + b"<b/>" * 4096 + b"</a>",
        b"<a>" + b"x" * LONGEST + b"</a>",
    ],
)
@pytest.mark.parametrize("read", [read_xml_untrusted, read_router_xml_untrusted])
def test_what_could_do_harm_is_refused(read, data: bytes) -> None:
    if read is read_router_xml_untrusted and data == b"<x>&undeclared;</x>":
        assert read(data).text == "&undeclared;"  # an ampersand that a router has not escaped
        return
    with pytest.raises(BadPacket):
        read(data)


def test_clients_may_not_send_what_is_passed_over_in_routers() -> None:
    for data, text in (
        (b'<?xml-stylesheet href="x"?><x>1</x>', "1"),
        (b"<x>1</x>\x00\x00rubbish", "1"),
        (b"<x>caf\xe9</x>", "café"),
        (b"<x>a & b &amp; c</x>", "a & b & c"),
    ):
        assert read_router_xml_untrusted(data).text == text
        with pytest.raises(BadPacket):
            read_xml_untrusted(data)


def test_a_zero_at_the_end_and_spaces_around_are_passed_over() -> None:
    assert read_xml_untrusted(b'\r\n<?xml version="1.0"?><x>1</x>\r\n\x00').text == "1"


@given(st.text(max_size=100))
def test_a_text_survives_its_escapes(text: str) -> None:
    kept = "".join(each for each in text if each in "\t\n\r" or each >= " ")
    kept = "".join(each for each in kept if each not in "\ufffe\uffff")
    assert read_xml_untrusted(element("x", escape(text)).encode()).text == kept
    assert read_router_xml_untrusted(element("x", escape(text)).encode()).text == kept


@given(st.binary(max_size=200))
def test_any_bytes_are_a_document_or_refused(data: bytes) -> None:
    for read in (read_xml_untrusted, read_router_xml_untrusted):
        for each in (data, b"<x>" + data + b"</x>", b"<x " + data + b"/>"):
            try:
                root = read(each)
            except BadPacket:
                continue
            assert root.name is not None


def test_one_line_has_nothing_that_controls() -> None:
    assert one_line("a\r\nb\tc\x1b[31m\x9b\u202ed\u2028e\x00", 50) == "a b c[31md e"
    assert one_line("x" * 60, 50) == "x" * 50
