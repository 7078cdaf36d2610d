"""The faults of UPnP actions: code, standard text, and where they belong.

Sources: UPnP Device Architecture 1.1 §3 (401 to 606), and the tables of error codes in WANIPConnection:1,
WANIPConnection:2 and WANIPv6FirewallControl:1. The codes 703 to 709 have two meanings: they say one thing of
a connection and another of a pinhole.
"""

from __future__ import annotations

from enum import Enum

from sekimori.wire.errors import BadPacket

__all__ = ["BadCall", "Fault"]


class Fault(Enum):
    """Why an action is refused."""

    INVALID_ACTION = 401, "Invalid Action"
    INVALID_ARGS = 402, "Invalid Args"
    ACTION_FAILED = 501, "Action Failed"
    ARGUMENT_VALUE_INVALID = 600, "Argument Value Invalid"
    ARGUMENT_OUT_OF_RANGE = 601, "Argument Value Out of Range"
    OPTIONAL_ACTION_NOT_IMPLEMENTED = 602, "Optional Action Not Implemented"
    OUT_OF_MEMORY = 603, "Out of Memory"
    HUMAN_INTERVENTION_REQUIRED = 604, "Human Intervention Required"
    STRING_TOO_LONG = 605, "String Argument Too Long"
    NOT_AUTHORIZED = 606, "Action not authorized"
    PINHOLE_SPACE_EXHAUSTED = 701, "PinholeSpaceExhausted"
    FIREWALL_DISABLED = 702, "FirewallDisabled"
    INBOUND_PINHOLE_NOT_ALLOWED = 703, "InboundPinholeNotAllowed"
    NO_SUCH_PINHOLE = 704, "NoSuchEntry"
    PINHOLE_PROTOCOL_NOT_SUPPORTED = 705, "ProtocolNotSupported"
    PINHOLE_INTERNAL_PORT_WILDCARD = 706, "InternalPortWildcardingNotAllowed"
    PINHOLE_PROTOCOL_WILDCARD = 707, "ProtocolWildcardingNotAllowed"
    PINHOLE_SOURCE_WILDCARD = 708, "WildCardNotPermittedInSrcIP"
    NO_PACKET_SENT = 709, "NoPacketSent"
    INACTIVE_CONNECTION_REQUIRED = 703, "InactiveConnectionStateRequired"
    CONNECTION_SETUP_FAILED = 704, "ConnectionSetupFailed"
    CONNECTION_SETUP_IN_PROGRESS = 705, "ConnectionSetupInProgress"
    CONNECTION_NOT_CONFIGURED = 706, "ConnectionNotConfigured"
    DISCONNECT_IN_PROGRESS = 707, "DisconnectInProgress"
    INVALID_LAYER2_ADDRESS = 708, "InvalidLayer2Address"
    INTERNET_ACCESS_DISABLED = 709, "InternetAccessDisabled"
    ARRAY_INDEX_INVALID = 713, "SpecifiedArrayIndexInvalid"
    NO_SUCH_ENTRY = 714, "NoSuchEntryInArray"
    SOURCE_WILDCARD = 715, "WildCardNotPermittedInSrcIP"
    EXTERNAL_PORT_WILDCARD = 716, "WildCardNotPermittedInExtPort"
    CONFLICT = 718, "ConflictInMappingEntry"
    SAME_PORTS_REQUIRED = 724, "SamePortValuesRequired"
    ONLY_PERMANENT_LEASES = 725, "OnlyPermanentLeasesSupported"
    REMOTE_HOST_ONLY_WILDCARD = 726, "RemoteHostOnlySupportsWildcard"
    EXTERNAL_PORT_ONLY_WILDCARD = 727, "ExternalPortOnlySupportsWildcard"
    NO_PORT_MAPS_AVAILABLE = 728, "NoPortMapsAvailable"
    CONFLICT_WITH_OTHER_MECHANISMS = 729, "ConflictWithOtherMechanisms"
    PORT_MAPPING_NOT_FOUND = 730, "PortMappingNotFound"
    READ_ONLY = 731, "ReadOnly"
    INTERNAL_PORT_WILDCARD = 732, "WildCardNotPermittedInIntPort"
    INCONSISTENT_PARAMETERS = 733, "InconsistentParameters"

    @property
    def code(self) -> int:
        """As it stands in `errorCode`."""
        return self.value[0]

    @property
    def text(self) -> str:
        """As it stands in `errorDescription`."""
        return self.value[1]

    @classmethod
    def of(cls, code: int, service_type: str) -> Fault | None:
        """What a code means from that service; None for a code of the vendor's own.

        Args:
            code: from `errorCode`.
            service_type: `urn:…:service:WANIPv6FirewallControl:1` and so on, with or without its version.
        """
        meanings = [each for each in cls if each.code == code]
        if len(meanings) < 2:
            return meanings[0] if meanings else None
        pinhole, connection = meanings
        return pinhole if ":WANIPv6FirewallControl" in service_type else connection


class BadCall(BadPacket):
    """A well-formed call that the service refuses, and with which fault."""

    def __init__(self, fault: Fault, why: str) -> None:
        super().__init__(why)
        self.fault = fault
