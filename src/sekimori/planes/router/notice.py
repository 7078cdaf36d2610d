"""SSDP announcements of the router, that it is here or goes (UPnP Device Architecture 1.1 §1.2). Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from sekimori.wire.errors import BadPacket
from sekimori.wire.httpmessage import read_head_untrusted
from sekimori.wire.ssdp import LONGEST

__all__ = ["Notice", "read_notice_untrusted"]

_NUMBER: Final = re.compile(r"[0-9]{1,10}")
_GATEWAY: Final = re.compile(
    r"(?:upnp:rootdevice|.*(?:InternetGatewayDevice|WAN(?:IP|PPP)Connection):[0-9]+)"
)


@dataclass(frozen=True, slots=True)
class Notice:
    """An announcement about a gateway.

    Attributes:
        leaves: it goes away; otherwise it is here.
        boot_id: changes when it restarts; None where it does not say.
    """

    leaves: bool
    boot_id: int | None


def read_notice_untrusted(data: bytes) -> Notice | None:
    """Read a datagram that came to the group; None where it is about something else than a gateway.

    Raises:
        BadPacket: it is no announcement.
    """
    start, fields = read_head_untrusted(data, LONGEST)
    kind = fields.get("nts", "")
    if not start.startswith("NOTIFY ") or kind not in ("ssdp:alive", "ssdp:byebye", "ssdp:update"):
        raise BadPacket("not an announcement")
    if not _GATEWAY.fullmatch(fields.get("nt", "")):
        return None
    boot = fields.get("bootid.upnp.org", "")
    return Notice(kind == "ssdp:byebye", int(boot) if _NUMBER.fullmatch(boot) else None)
