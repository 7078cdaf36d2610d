"""The document that lists mappings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekimori.wire.errors import BadPacket
from sekimori.wire.igdcall import answer_body, read_answer_untrusted
from sekimori.wire.igdlisting import Listed, decode_listing_untrusted, encode_listing
from sekimori.wire.igdservices import WANIP2
from sekimori.wire.soap import decode_answer_untrusted

_word = st.text(
    st.characters(min_codepoint=33, exclude_categories=["Cs", "Zs", "Cc", "Zl", "Zp"]), max_size=20
).filter(lambda text: not {"\ufffe", "\uffff"} & set(text))
_listed = st.builds(
    Listed,
    st.sampled_from(["", "203.0.113.9"]),
    st.integers(0, 65535),
    st.sampled_from(["TCP", "UDP"]),
    st.integers(0, 65535),
    st.ip_addresses(v=4).map(str),
    st.booleans(),
    _word,
    st.integers(0, 2**32 - 1),
)


@given(st.lists(_listed, max_size=5))
def test_a_listing_survives_its_text(entries: list[Listed]) -> None:
    document = encode_listing(entries)
    assert "]]>" not in document
    assert decode_listing_untrusted(document) == tuple(entries)


def test_the_text_of_a_listing() -> None:
    document = encode_listing([Listed("", 80, "TCP", 8080, "192.168.1.5", True, "<web>", 60)])
    assert document.endswith(
        "<p:PortMappingEntry><p:NewRemoteHost></p:NewRemoteHost><p:NewExternalPort>80</p:NewExternalPort>"
        "<p:NewProtocol>TCP</p:NewProtocol><p:NewInternalPort>8080</p:NewInternalPort>"
        "<p:NewInternalClient>192.168.1.5</p:NewInternalClient><p:NewEnabled>1</p:NewEnabled>"
        "<p:NewDescription>&lt;web&gt;</p:NewDescription><p:NewLeaseTime>60</p:NewLeaseTime>"
        "</p:PortMappingEntry></p:PortMappingList>"
    )


@pytest.mark.parametrize(
    "document",
    [
        "",
        "<x/>",
        encode_listing([Listed("", 80, "TCP", 80, "192.168.1.5", True, "", 0)]).replace(">80<", ">65536<"),
        encode_listing([Listed("", 80, "TCP", 80, "192.168.1.5", True, "", 0)]).replace(">80<", ">x<"),
    ],
)
def test_what_is_no_listing_is_refused(document: str) -> None:
    with pytest.raises(BadPacket):
        decode_listing_untrusted(document)


@given(st.text(max_size=100))
def test_any_text_is_a_listing_or_refused(text: str) -> None:
    for document in (text, f"<PortMappingList>{text}</PortMappingList>"):
        try:
            assert isinstance(decode_listing_untrusted(document), tuple)
        except BadPacket:
            continue


def test_a_listing_of_a_thousand_survives_the_answer_that_carries_it() -> None:
    entries = [Listed("", port, "UDP", port, "192.168.1.5", True, "x & <y>", 60) for port in range(1000)]
    action = WANIP2.actions["GetListOfPortMappings"]
    body = answer_body(WANIP2.service_type, action, {"NewPortListing": encode_listing(entries)})
    answer = decode_answer_untrusted(body, action.name)
    assert isinstance(answer, dict)
    values = read_answer_untrusted(action, answer)
    assert decode_listing_untrusted(str(values["NewPortListing"])) == tuple(entries)
