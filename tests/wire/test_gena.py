"""Subscriptions and events: only to the subscriber, only what the service tells."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekimori.wire.gena import (
    BadSubscription,
    Renew,
    Subscribe,
    decode_subscribe_untrusted,
    decode_unsubscribe_untrusted,
    encode_propertyset,
    next_seq,
    notify_fields,
    subscribed_fields,
)
from sekimori.wire.httpmessage import HttpUrl
from sekimori.wire.igdservices import FIREWALL6, WANIP1, WANIP2
from sekimori.wire.igdxml import read_xml_untrusted

CLIENT = ip_address("192.168.1.20")
SID = "uuid:7d3b2a5e-1c53-4b5e-9f40-0d1f6f3a9c11"


def fields(**said: str) -> list[tuple[bytes, bytes]]:
    return [(b"host", b"192.168.1.1:5000"), *((name.encode(), text.encode()) for name, text in said.items())]


def subscribe(**said: str) -> Subscribe | Renew:
    return decode_subscribe_untrusted(fields(**said), CLIENT)


def test_a_subscription_as_windows_sends_it() -> None:
    asked = subscribe(
        Callback="<http://192.168.1.20:2869/upnp/eventing/abc>", NT="upnp:event", Timeout="Second-1800"
    )
    assert asked == Subscribe((HttpUrl(CLIENT, 2869, "/upnp/eventing/abc"),), 1800)


def test_several_callbacks_keep_their_order() -> None:
    asked = subscribe(CALLBACK="<http://192.168.1.20:1/a><http://192.168.1.20:2/b> ", NT="upnp:event")
    assert isinstance(asked, Subscribe)
    assert [each.port for each in asked.callbacks] == [1, 2]


@pytest.mark.parametrize(
    ("timeout", "seconds"),
    [
        ("Second-300", 300),
        ("second-1", 60),
        ("Second-999999999", 1800),
        ("Second-infinite", 1800),
        ("soon", 1800),
    ],
)
def test_a_timeout_is_brought_within_bounds(timeout: str, seconds: int) -> None:
    assert subscribe(SID=SID, TIMEOUT=timeout) == Renew(SID, seconds)
    assert subscribe(SID=SID) == Renew(SID, 1800)


@pytest.mark.parametrize(
    "callback",
    [
        "",
        "http://192.168.1.20/",
        "<>",
        "<http://192.168.1.20/",
        "<http://192.168.1.20/>x",
        "<http://client.lan/>",
        "<https://192.168.1.20/>",
        # CVE-2020-12695: events sent to a third party.
        "<http://203.0.113.9/>",
        "<http://192.168.1.21/>",
        "<http://192.168.1.20/><http://203.0.113.9/>",
        "<http://192.168.1.20@203.0.113.9/>",
        "<http://127.0.0.1/>",
        "<http://192.168.1.20/>" * 5,
        "<http://192.168.1.20/" + "a" * 1100 + ">",
        "<" * 5000,
    ],
)
def test_callbacks_elsewhere_are_refused(callback: str) -> None:
    with pytest.raises(BadSubscription) as refused:
        subscribe(CALLBACK=callback, NT="upnp:event")
    assert refused.value.status == 412


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ({"SID": SID, "NT": "upnp:event"}, 400),
        ({"SID": SID, "CALLBACK": "<http://192.168.1.20/>"}, 400),
        ({"CALLBACK": "<http://192.168.1.20/>"}, 412),
        ({"CALLBACK": "<http://192.168.1.20/>", "NT": "upnp:other"}, 412),
        ({"SID": "x"}, 412),
        ({"SID": "uuid:" + "a" * 65}, 412),
        ({"SID": ""}, 412),
        ({}, 412),
        ({"SID": SID, "sid": SID}, 400),
    ],
)
def test_subscriptions_that_are_refused(said: dict[str, str], status: int) -> None:
    with pytest.raises(BadSubscription) as refused:
        subscribe(**said)
    assert refused.value.status == status


def test_an_end_is_read() -> None:
    assert decode_unsubscribe_untrusted(fields(SID=SID)) == SID
    for said, status in (({"SID": SID, "NT": "upnp:event"}, 400), ({}, 412)):
        with pytest.raises(BadSubscription) as refused:
            decode_unsubscribe_untrusted(fields(**said))
        assert refused.value.status == status


@given(st.dictionaries(st.sampled_from(["SID", "NT", "CALLBACK", "TIMEOUT"]), st.binary(max_size=60)))
def test_any_fields_are_a_subscription_or_refused(said: dict[str, bytes]) -> None:
    written = [(name.encode(), value) for name, value in said.items()]
    try:
        asked = decode_subscribe_untrusted(written, CLIENT)
    except BadSubscription:
        return
    assert 60 <= asked.seconds <= 1800
    assert isinstance(asked, Renew) or all(each.address == CLIENT for each in asked.callbacks)


@given(
    st.lists(
        st.tuples(st.integers(1, 65535), st.from_regex(r"/[a-z0-9/?=]{0,20}", fullmatch=True)),
        min_size=1,
        max_size=4,
    )
)
def test_callbacks_survive_their_text(ends: list[tuple[int, str]]) -> None:
    urls = tuple(HttpUrl(CLIENT, port, path) for port, path in ends)
    asked = subscribe(CALLBACK="".join(f"<{each}>" for each in urls), NT="upnp:event", TIMEOUT="Second-60")
    assert asked == Subscribe(urls, 60)


def test_an_event_has_the_variables_as_they_are_typed() -> None:
    body = encode_propertyset(
        WANIP2,
        {"ExternalIPAddress": "203.0.113.9", "PortMappingNumberOfEntries": 3, "SystemUpdateID": 2**32 + 1},
    )
    assert body == (
        b'<?xml version="1.0"?>\r\n<e:propertyset xmlns:e="urn:schemas-upnp-org:event-1-0">'
        b"<e:property><ExternalIPAddress>203.0.113.9</ExternalIPAddress></e:property>"
        b"<e:property><PortMappingNumberOfEntries>3</PortMappingNumberOfEntries></e:property>"
        b"<e:property><SystemUpdateID>1</SystemUpdateID></e:property></e:propertyset>\r\n"
    )
    firewall = read_xml_untrusted(encode_propertyset(FIREWALL6, {"FirewallEnabled": True}))
    assert firewall.children[0].said("FirewallEnabled") == "1"


def test_only_what_the_service_tells_can_be_an_event() -> None:
    for service, values in (
        (WANIP1, {"SystemUpdateID": 1}),
        (WANIP2, {"RemoteHost": "x"}),
        (WANIP1, {"ConnectionStatus": "Fine"}),
        (WANIP1, {"PortMappingNumberOfEntries": 65536}),
    ):
        with pytest.raises(ValueError, match=next(iter(values))):
            encode_propertyset(service, values)


def test_the_head_of_an_event_and_of_an_answer() -> None:
    head = dict(notify_fields(HttpUrl(CLIENT, 2869, "/e"), SID, 0, b"body"))
    assert head["HOST"] == "192.168.1.20:2869"
    assert (head["NT"], head["NTS"], head["SID"], head["SEQ"]) == ("upnp:event", "upnp:propchange", SID, "0")
    assert head["CONTENT-LENGTH"] == "4"
    assert subscribed_fields(SID, 300) == (("SID", SID), ("TIMEOUT", "Second-300"))


def test_the_numbers_of_events_never_come_back_to_the_first() -> None:
    assert [next_seq(0), next_seq(5), next_seq(2**32 - 1)] == [1, 6, 1]
