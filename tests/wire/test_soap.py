"""SOAP: calls as real clients write them, answers as real routers do, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekimori.wire.errors import BadPacket
from sekimori.wire.igdfaults import BadCall, Fault
from sekimori.wire.soap import (
    LONGEST,
    Call,
    RouterFault,
    decode_answer_untrusted,
    decode_call_untrusted,
    encode_answer,
    encode_call,
    encode_fault,
    soap_action,
)

WANIP1 = "urn:schemas-upnp-org:service:WANIPConnection:1"
WANIP2 = "urn:schemas-upnp-org:service:WANIPConnection:2"


def mapping(client: str, description: str, *, lease: str, protocol: str) -> dict[str, str]:
    return {
        "NewRemoteHost": "",
        "NewExternalPort": "41641",
        "NewProtocol": protocol,
        "NewInternalPort": "41641",
        "NewInternalClient": client,
        "NewEnabled": "1",
        "NewPortMappingDescription": description,
        "NewLeaseDuration": lease,
    }


def written(arguments: dict[str, str]) -> str:
    return "".join(f"<{name}>{text}</{name}>" for name, text in arguments.items())


OF_MINIUPNPC = mapping("192.168.1.7", "libminiupnpc", lease="0", protocol="TCP")
OF_TAILSCALE = mapping("192.168.1.8", "tailscale-portmap", lease="7200", protocol="UDP")
OF_LIBTORRENT = mapping("192.168.1.9", "qBittorrent/4.6 at 192.168.1.9:6881", lease="3600", protocol="TCP")
OF_WINDOWS = mapping("192.168.1.10", "Teredo", lease="0", protocol="UDP")

CALLS = {
    "miniupnpc": (
        f'"{WANIP1}#AddPortMapping"',
        '<?xml version="1.0"?>\r\n<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" '
        's:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body><u:AddPortMapping '
        f'xmlns:u="{WANIP1}">{written(OF_MINIUPNPC)}</u:AddPortMapping></s:Body></s:Envelope>\r\n',
        Call(WANIP1, "AddPortMapping", OF_MINIUPNPC),
    ),
    "Tailscale": (
        f'"{WANIP2}#AddAnyPortMapping"',
        '<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" '
        's:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body><u:AddAnyPortMapping '
        f'xmlns:u="{WANIP2}">{written(OF_TAILSCALE)}</u:AddAnyPortMapping></s:Body></s:Envelope>',
        Call(WANIP2, "AddAnyPortMapping", OF_TAILSCALE),
    ),
    "libtorrent": (
        f'"{WANIP1}#AddPortMapping"',
        '<?xml version="1.0"?>\n<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" '
        's:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body><u:AddPortMapping '
        f'xmlns:u="{WANIP1}">{written(OF_LIBTORRENT)}</u:AddPortMapping></s:Body></s:Envelope>',
        Call(WANIP1, "AddPortMapping", OF_LIBTORRENT),
    ),
    "Windows": (
        f'"{WANIP1}#AddPortMapping"',
        '<?xml version="1.0"?>\r\n'
        '<SOAP-ENV:Envelope xmlns:SOAP-ENV="http://schemas.xmlsoap.org/soap/envelope/" '
        'SOAP-ENV:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><SOAP-ENV:Body>'
        f'<m:AddPortMapping xmlns:m="{WANIP1}">'
        + "".join(
            f'<{name} xmlns:dt="urn:schemas-microsoft-com:datatypes" dt:dt="string">{text}</{name}>'
            for name, text in OF_WINDOWS.items()
        )
        + "</m:AddPortMapping></SOAP-ENV:Body></SOAP-ENV:Envelope>",
        Call(WANIP1, "AddPortMapping", OF_WINDOWS),
    ),
    "no arguments, no quotes, a default namespace": (
        f"{WANIP1}#GetExternalIPAddress",
        '<Envelope xmlns="http://schemas.xmlsoap.org/soap/envelope/"><Body>'
        f'<GetExternalIPAddress xmlns="{WANIP1}"/></Body></Envelope>',
        Call(WANIP1, "GetExternalIPAddress", {}),
    ),
    "a prefix that is not declared": (
        f'"{WANIP1}#GetExternalIPAddress"',
        "<s:Envelope><s:Body><u:GetExternalIPAddress></u:GetExternalIPAddress></s:Body></s:Envelope>",
        Call(WANIP1, "GetExternalIPAddress", {}),
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_calls_of_real_clients_are_read(name: str) -> None:
    field, body, call = CALLS[name]
    assert decode_call_untrusted(body.encode(), field) == call
    assert list(decode_call_untrusted(body.encode(), field).arguments) == list(call.arguments)


def body(inner: str) -> bytes:
    return f'<s:Envelope xmlns:s="x"><s:Body>{inner}</s:Body></s:Envelope>'.encode()


GET = body(f'<u:Get xmlns:u="{WANIP1}"/>')
FIELD = f'"{WANIP1}#Get"'


@pytest.mark.parametrize(
    ("data", "field"),
    [
        (GET, None),
        (GET, ""),
        (GET, '""'),
        (GET, WANIP1),
        (GET, f"{WANIP1}#"),
        (GET, f"{WANIP1}#Get me"),
        (GET, "#Get"),
        (GET, "urn:" + "x" * 300 + "#Get"),
        # CVE-2013-0230: a long action name overran the stack of miniupnpd.
        (GET, f'"{WANIP1}#{"A" * 3000}"'),
        (b"", FIELD),
        (b"\x00", FIELD),
        (b"<x/>", FIELD),
        (b"<s:Envelope/>", FIELD),
        (body(""), FIELD),
        (body("<Get/><Get/>"), FIELD),
        (body("<Get>" + "<a>" * 40 + "</a>" * 40 + "</Get>"), FIELD),
        (b'<!DOCTYPE x [<!ENTITY a "b">]>' + GET, FIELD),
        (b"<?php evil?>" + GET, FIELD),
        (GET.replace(b"</s:Body>", b"\xff</s:Body>"), FIELD),
        (GET + b" " * LONGEST, FIELD),
    ],
)
def test_what_is_no_call_is_refused(data: bytes, field: str | None) -> None:
    with pytest.raises(BadPacket) as refused:
        decode_call_untrusted(data, field)
    assert not isinstance(refused.value, BadCall)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (body(f'<u:Other xmlns:u="{WANIP1}"/>'), Fault.INVALID_ACTION),
        (body(f'<u:Get xmlns:u="{WANIP2}"/>'), Fault.INVALID_ACTION),
        (body("<Get><A>1</A><A>2</A></Get>"), Fault.INVALID_ARGS),
        (body("<Get><A><B/></A></Get>"), Fault.INVALID_ARGS),
        (body("<Get>" + "".join(f"<A{each}/>" for each in range(33)) + "</Get>"), Fault.INVALID_ARGS),
    ],
)
def test_a_call_that_contradicts_itself_is_a_fault(data: bytes, fault: Fault) -> None:
    with pytest.raises(BadCall) as refused:
        decode_call_untrusted(data, FIELD)
    assert refused.value.fault is fault


_names = st.from_regex(r"New[A-Za-z]{1,12}", fullmatch=True)
_texts = st.text(
    st.characters(min_codepoint=32, exclude_categories=["Cs"], exclude_characters="\ufffe\uffff"), max_size=60
)


@given(st.dictionaries(_names, _texts, max_size=10))
def test_a_call_survives_its_bytes(arguments: dict[str, str]) -> None:
    call = decode_call_untrusted(encode_call(WANIP1, "Do", arguments), soap_action(WANIP1, "Do"))
    assert call == Call(WANIP1, "Do", arguments)


@given(st.dictionaries(_names, _texts, max_size=10), st.booleans())
def test_an_answer_survives_its_bytes(values: dict[str, str], as_documents: bool) -> None:
    documents = frozenset(values) if as_documents else frozenset[str]()
    data = encode_answer(WANIP1, "Do", values, documents)
    if not as_documents or not any("&" in each for each in values.values()):
        assert decode_answer_untrusted(data, "Do") == values


@given(st.sampled_from(Fault))
def test_a_fault_survives_its_bytes(fault: Fault) -> None:
    assert decode_answer_untrusted(encode_fault(fault), "Do") == RouterFault(fault.code, fault.text)


def test_the_bytes_of_a_fault() -> None:
    assert encode_fault(Fault.CONFLICT) == (
        b'<?xml version="1.0"?>\r\n<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"'
        b' s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body><s:Fault>'
        b"<faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring><detail>"
        b'<UPnPError xmlns="urn:schemas-upnp-org:control-1-0"><errorCode>718</errorCode>'
        b"<errorDescription>ConflictInMappingEntry</errorDescription></UPnPError></detail></s:Fault>"
        b"</s:Body></s:Envelope>\r\n"
    )


@given(st.binary(max_size=300), st.text(max_size=40))
def test_any_bytes_are_a_call_or_refused(data: bytes, field: str) -> None:
    for inner in (data, b"<s:Envelope><s:Body>" + data + b"</s:Body></s:Envelope>"):
        for soapaction in (field, FIELD):
            try:
                call = decode_call_untrusted(inner, soapaction)
            except BadPacket:
                continue
            assert call.action


ANSWERS = {
    "without prefixes": "<Envelope><Body><GetExternalIPAddressResponse>{}"
    "</GetExternalIPAddressResponse></Body></Envelope>",
    "prefixes not declared": "<SOAP-ENV:Envelope><SOAP-ENV:Body><m:GetExternalIPAddressResponse>{}"
    "</m:GetExternalIPAddressResponse></SOAP-ENV:Body></SOAP-ENV:Envelope>",
    "spaces before, zeros after": '\n <?xml version="1.0" encoding="ISO-8859-1"?><e:Envelope><e:Body>'
    "<u:GetExternalIPAddressResponse>{}</u:GetExternalIPAddressResponse></e:Body></e:Envelope>\x00\x00",
    "another namespace": '<s:Envelope xmlns:s="y"><s:Header/><s:Body>'
    f'<u:GetExternalIPAddressResponse xmlns:u="{WANIP2}">'
    "{}</u:GetExternalIPAddressResponse></s:Body></s:Envelope>",
}


@pytest.mark.parametrize("name", ANSWERS)
def test_answers_of_real_routers_are_read(name: str) -> None:
    inner = "<NewExternalIPAddress>203.0.113.9</NewExternalIPAddress>"
    data = ANSWERS[name].format(inner).encode()
    assert decode_answer_untrusted(data, "GetExternalIPAddress") == {"NewExternalIPAddress": "203.0.113.9"}


@pytest.mark.parametrize(
    ("inner", "fault"),
    [
        (
            "<s:Fault><detail><u:UPnPError><u:errorCode> 725 </u:errorCode><u:errorDescription>Only\x85 R&D"
            "</u:errorDescription></u:UPnPError></detail></s:Fault>",
            RouterFault(725, "Only R&D"),
        ),
        ("<UPnPError><errorCode>-1</errorCode></UPnPError>", RouterFault(None, "")),
        (
            "<s:Fault><faultstring>Internal\nError</faultstring></s:Fault>",
            RouterFault(None, "Internal Error"),
        ),
    ],
)
def test_faults_of_real_routers_are_read(inner: str, fault: RouterFault) -> None:
    data = f"<s:Envelope><s:Body>{inner}</s:Body></s:Envelope>".encode()
    assert decode_answer_untrusted(data, "AddPortMapping") == fault


@pytest.mark.parametrize(
    "data", [b"", b"<html>404</html>", b"<s:Envelope/>", ANSWERS["without prefixes"].encode()]
)
def test_what_is_no_answer_is_refused(data: bytes) -> None:
    with pytest.raises(BadPacket):
        decode_answer_untrusted(data, "AddPortMapping")


@given(st.binary(max_size=300))
def test_any_bytes_are_an_answer_or_refused(data: bytes) -> None:
    for each in (
        data,
        b"<e><DoResponse>" + data + b"</DoResponse></e>",
        b"<UPnPError>" + data + b"</UPnPError>",
    ):
        try:
            decoded = decode_answer_untrusted(each, "Do")
        except BadPacket:
            continue
        assert isinstance(decoded, dict | RouterFault)
