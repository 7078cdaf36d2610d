"""Arguments of UPnP actions: from the texts of a call to values and back, by the table of the service."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv6Address, ip_address
from typing import Final

from sekimori.model.address import IPAddress
from sekimori.wire.errors import BadPacket
from sekimori.wire.igdfaults import BadCall, Fault
from sekimori.wire.igdservices import Action, Argument, DataType, Service, Value, Variable, find_service
from sekimori.wire.igdxml import one_line
from sekimori.wire.soap import LONGEST_ANSWER, encode_answer, encode_call

__all__ = [
    "LONGEST_DESCRIPTION",
    "answer_body",
    "call_body",
    "format_value",
    "read_answer_untrusted",
    "read_arguments_untrusted",
    "read_client_untrusted",
    "read_description_untrusted",
    "read_remote_host_untrusted",
    "service_called_untrusted",
]

LONGEST_DESCRIPTION: Final = 250
"""Characters of a mapping's description that are kept."""
_LONGEST_STRING: Final = 1024
_ANYONE: Final = frozenset({"", "*", "0.0.0.0", "::", "::/0", "0.0.0.0/0"})
_NUMBER: Final = re.compile(r"[0-9]{1,10}")
_BOOLEANS: Final = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


def service_called_untrusted(offered: Service, service_type: str) -> Service:
    """The service that a call to the control URL of another version means: an older one is served too.

    Raises:
        BadCall: 401 it is another service, or newer than the one offered.
    """
    asked = find_service(service_type)
    if asked is None or asked.name != offered.name or asked.version > offered.version:
        raise BadCall(Fault.INVALID_ACTION, "the call is for another service than its URL")
    return asked


def read_arguments_untrusted(
    service: Service, action: str, texts: Mapping[str, str]
) -> tuple[Action, dict[str, Value]]:
    """Check the arguments of a call and give them their types. Arguments of no such name are passed over.

    Returns:
        The action, and its values in the order of the table.

    Raises:
        BadCall: 401 there is no such action; 402 an argument is missing or of another type; 601 it is out
            of range; 605 it is too long; or what its variable says for itself.
    """
    found = service.actions.get(action)
    if found is None:
        raise BadCall(Fault.INVALID_ACTION, f"{service.name} has no such action")
    return found, {each.name: _read(each, texts.get(each.name)) for each in found.inward}


def read_answer_untrusted(action: Action, texts: Mapping[str, str]) -> dict[str, Value]:
    """Give the values of a router's answer their types; what it left out is left out.

    Values beyond what the table allows are kept: they are what the router has.

    Raises:
        BadPacket: a value is not of its type.
    """
    values: dict[str, Value] = {}
    for each in action.outward:
        text = texts.get(each.name)
        if text is None:
            continue
        value = _parse(each.variable, text, LONGEST_ANSWER)
        if value is None:
            raise BadPacket(f"{each.name} is no {each.variable.data_type}")
        values[each.name] = value
    return values


def call_body(service_type: str, action: Action, values: Mapping[str, Value]) -> bytes:
    """The body of a call to a router, its arguments in the order of the table.

    Raises:
        ValueError: an argument is missing, unknown, or not one that the table allows.
    """
    return encode_call(service_type, action.name, _write(action.name, action.inward, values))


def answer_body(service_type: str, action: Action, values: Mapping[str, Value]) -> bytes:
    """The body of an answer, its arguments in the order of the table.

    Args:
        service_type: as it stood in the call.
        action: what was asked.
        values: every argument that the action has outward, and no other.

    Raises:
        ValueError: an argument is missing, unknown, or not one that the table allows.
    """
    documents = frozenset(each.name for each in action.outward if each.variable.document)
    return encode_answer(service_type, action.name, _write(action.name, action.outward, values), documents)


def format_value(variable: Variable, value: Value) -> str:
    """A value as it stands in an answer or an event.

    Raises:
        ValueError: it is not of the variable's type, or too large for it.
    """
    kind = variable.data_type
    if isinstance(value, str) != (kind is DataType.STRING):
        raise ValueError(f"{variable.name} is a {kind}, not {value!r}")
    if isinstance(value, str):
        if variable.allowed and value not in variable.allowed:
            raise ValueError(f"{variable.name} cannot be {value!r}")
        return value
    number = int(value) % (kind.most + 1) if variable.wraps else int(value)
    if not 0 <= number <= kind.most:
        raise ValueError(f"{variable.name} cannot be {value}")
    return str(number)


def read_remote_host_untrusted(text: str) -> IPAddress | None:
    """Who may come in: one address, or None for anyone.

    Devices write anyone as an empty text, `*`, `0.0.0.0`, `::` or `::/0`.

    Raises:
        BadCall: 600 for a host name: no name is looked up on a device's behalf.
    """
    word = text.strip()
    if word in _ANYONE:
        return None
    address = read_client_untrusted(word)
    return None if address.is_unspecified else address


def read_client_untrusted(text: str) -> IPAddress:
    """The address of an inside host; a v4-mapped one becomes IPv4.

    Raises:
        BadCall: 600 for a host name: no name is looked up on a device's behalf.
    """
    word = text.strip()
    try:
        address = ip_address(word if len(word) <= 64 and "%" not in word else "")
    except ValueError:
        raise BadCall(Fault.ARGUMENT_VALUE_INVALID, "not an IP address") from None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def read_description_untrusted(text: str) -> str:
    """A description as it may be kept and shown: one line, without characters that control anything."""
    return one_line(text, LONGEST_DESCRIPTION)


def _read(argument: Argument, text: str | None) -> Value:
    variable = argument.variable
    if text is None or (variable.data_type is not DataType.STRING and not text.strip()):
        if variable.absent is None:
            raise BadCall(Fault.INVALID_ARGS, f"{argument.name} is missing")
        return variable.absent
    if len(text) > _LONGEST_STRING:
        raise BadCall(Fault.STRING_TOO_LONG, f"{argument.name} is too long")
    value = _parse(variable, text, _LONGEST_STRING)
    if value is None:
        raise BadCall(Fault.INVALID_ARGS, f"{argument.name} is no {variable.data_type}")
    if isinstance(value, str):
        return _one_of(argument, value)
    return value if isinstance(value, bool) else _within(argument, value)


def _parse(variable: Variable, text: str, longest: int) -> Value | None:
    """A text as a value of the variable's type, whatever the bounds; None where it is of another type."""
    if variable.data_type is DataType.STRING:
        return text if len(text) <= longest else None
    word = text.strip()
    if variable.data_type is DataType.BOOLEAN:
        return _BOOLEANS.get(word.lower())
    return int(word) if _NUMBER.fullmatch(word) else None


def _one_of(argument: Argument, text: str) -> str:
    allowed = argument.variable.allowed
    if not allowed:
        return text
    word = text.strip().lower()
    value = next((each for each in allowed if each.lower() == word), None)
    if value is None:
        raise BadCall(Fault.ARGUMENT_OUT_OF_RANGE, f"{argument.name} is none of {', '.join(allowed)}")
    return value


def _within(argument: Argument, number: int) -> int:
    variable = argument.variable
    least, most = variable.bounds or (0, variable.data_type.most)
    if least <= number <= most:
        return number
    if number > variable.data_type.most and variable.beyond is not None:
        raise BadCall(Fault.ARGUMENT_OUT_OF_RANGE, f"{argument.name} does not fit its type")
    if variable.beyond is None:
        return min(max(number, least), most)
    raise BadCall(variable.beyond, f"{argument.name} is not within {least} to {most}")


def _write(action: str, arguments: tuple[Argument, ...], values: Mapping[str, Value]) -> dict[str, str]:
    names = [each.name for each in arguments]
    if set(names) != set(values):
        raise ValueError(f"{action} has the arguments {', '.join(names) or 'none'}, not {', '.join(values)}")
    return {each.name: format_value(each.variable, values[each.name]) for each in arguments}
