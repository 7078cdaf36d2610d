"""SOAP 1.1 as UPnP uses it (UPnP Device Architecture 1.1 §3): calls, answers and faults.

HTTP is left to others: a call is a body and the value of its SOAPAction field. Which actions and arguments
there are is known to `igdservices` and `igdcall`, not here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from sekimori.wire.errors import BadPacket
from sekimori.wire.igdfaults import BadCall, Fault
from sekimori.wire.igdxml import (
    LONGEST,
    Element,
    element,
    escape,
    one_line,
    read_router_xml_untrusted,
    read_xml_untrusted,
)

__all__ = [
    "CONTENT_TYPE",
    "LONGEST",
    "LONGEST_ANSWER",
    "Call",
    "RouterFault",
    "decode_answer_untrusted",
    "decode_call_untrusted",
    "encode_answer",
    "encode_call",
    "encode_fault",
    "soap_action",
]

CONTENT_TYPE: Final = 'text/xml; charset="utf-8"'
LONGEST_ANSWER: Final = 1024 * 1024
"""Bytes of a router's longest answer that is read: a list of a few thousand mappings."""
_MOST_ARGUMENTS: Final = 32
_ACTION_FIELD: Final = re.compile(
    r'[ \t]*"?(?P<type>[!$-~]{1,200})#(?P<action>[A-Za-z_][\w.-]{0,99})"?[ \t]*', re.ASCII
)
_ENVELOPE: Final = (
    'xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"'
    ' s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"'
)
_DECLARATION: Final = '<?xml version="1.0"?>\r\n'


@dataclass(frozen=True, slots=True)
class Call:
    """What a client asks: not yet known to exist, arguments as they were written."""

    service_type: str
    action: str
    arguments: dict[str, str]


@dataclass(frozen=True, slots=True)
class RouterFault:
    """A router's refusal. The code is None where it gave none, the description its own words, or empty."""

    code: int | None
    description: str


def decode_call_untrusted(body: bytes, soapaction: str | None) -> Call:
    """Read a call.

    The field is required: a web page of another site cannot set it without being asked first (CORS).

    Args:
        body: at most `LONGEST` bytes.
        soapaction: the field's value, with or without its quotes.

    Raises:
        BadPacket: it is no call; HTTP 400 is the answer.
        BadCall: body and field disagree, or an argument is there twice.
    """
    named = _ACTION_FIELD.fullmatch(soapaction or "")
    if named is None:
        raise BadPacket("no SOAPAction of the form SERVICE#ACTION")
    asked = _body_of(read_xml_untrusted(body))
    if asked.name != named["action"] or asked.namespace not in ("", named["type"]):
        raise BadCall(Fault.INVALID_ACTION, "the body asks for something else than its SOAPAction")
    return Call(named["type"], named["action"], _arguments(asked))


def encode_call(service_type: str, action: str, arguments: Mapping[str, str]) -> bytes:
    """The body of a call; `soap_action` is the field to send with it."""
    return _envelope(_with_arguments("u:" + action, service_type, arguments.items()))


def soap_action(service_type: str, action: str) -> str:
    """The value of the SOAPAction field, in the quotes that some routers insist on."""
    return f'"{service_type}#{action}"'


def encode_answer(
    service_type: str, action: str, values: Mapping[str, str], documents: frozenset[str] = frozenset()
) -> bytes:
    """The body of an answer, to be sent with status 200.

    Args:
        service_type: as it stood in the call.
        action: likewise.
        values: texts in the order of the service's table.
        documents: names of values that are XML, written as CDATA.
    """
    return _envelope(_with_arguments(f"u:{action}Response", service_type, values.items(), documents))


def encode_fault(fault: Fault) -> bytes:
    """The body of a refusal, to be sent with status 500."""
    detail = element(
        'UPnPError xmlns="urn:schemas-upnp-org:control-1-0"',
        element("errorCode", str(fault.code)),
        element("errorDescription", escape(fault.text)),
    )
    return _envelope(
        element(
            "s:Fault",
            element("faultcode", "s:Client"),
            element("faultstring", "UPnPError"),
            element("detail", detail),
        )
    )


def decode_answer_untrusted(body: bytes, action: str) -> dict[str, str] | RouterFault:
    """Read what a router answers, by the names of elements alone: routers differ in how they wrap them.

    Args:
        body: at most `LONGEST_ANSWER` bytes.
        action: what was asked.

    Returns:
        The values by their names, as written; or the fault.

    Raises:
        BadPacket: neither an answer to that action nor a fault.
    """
    root = read_router_xml_untrusted(body, LONGEST_ANSWER)
    for each in root.walk():
        if each.name == f"{action}Response":
            return {child.name: child.text for child in each.children[:_MOST_ARGUMENTS]}
        if each.name == "UPnPError":
            return _fault(each.said("errorCode"), each.said("errorDescription"))
    fault = next((each for each in root.walk() if each.name == "Fault"), None)
    if fault is None:
        raise BadPacket("neither an answer nor a fault")
    return _fault("", fault.said("faultstring"))


def _body_of(root: Element) -> Element:
    body = root.child("Body") if root.name == "Envelope" else None
    if body is None or len(body.children) != 1:
        raise BadPacket("no SOAP envelope with one action in its body")
    return body.children[0]


def _arguments(action: Element) -> dict[str, str]:
    if len(action.children) > _MOST_ARGUMENTS:
        raise BadCall(Fault.INVALID_ARGS, "too many arguments")
    if any(each.children for each in action.children):
        raise BadCall(Fault.INVALID_ARGS, "an argument that is not text")
    arguments = {each.name: each.text for each in action.children}
    if len(arguments) != len(action.children):
        raise BadCall(Fault.INVALID_ARGS, "an argument is there twice")
    return arguments


def _fault(code: str, description: str) -> RouterFault:
    known = int(code) if re.fullmatch(r"[0-9]{1,5}", code) else None
    return RouterFault(known, one_line(description, 200))


def _with_arguments(
    name: str,
    service_type: str,
    arguments: Iterable[tuple[str, str]],
    documents: frozenset[str] = frozenset(),
) -> str:
    inner = (element(each, _cdata(text) if each in documents else escape(text)) for each, text in arguments)
    return element(f'{name} xmlns:u="{escape(service_type)}"', *inner)


def _cdata(document: str) -> str:
    return "<![CDATA[" + document.replace("]]>", "]]]]><![CDATA[>") + "]]>"


def _envelope(inner: str) -> bytes:
    return (_DECLARATION + element(f"s:Envelope {_ENVELOPE}", element("s:Body", inner)) + "\r\n").encode()
