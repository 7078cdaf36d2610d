"""Who the gateway is to devices over restarts: its UUID, and the port of its web server on each interface."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

import structlog

from sekimori.host.writing import write_whole
from sekimori.wire.igddescription import Gateway

__all__ = ["Identity", "describe", "read_identity", "write_identity"]

_NAME: Final = "igd.json"
_log = structlog.get_logger("igd")


@dataclass(frozen=True, slots=True)
class Identity:
    """What stays the same for as long as this is the same gateway.

    Attributes:
        ports: the TCP port by interface. Devices keep the URLs that they found.
    """

    uuid: UUID
    ports: Mapping[str, int] = field(default_factory=dict)

    def to_document(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"uuid": str(self.uuid), "ports": dict(self.ports)}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Identity:
        """Read `to_document` back.

        Raises:
            AttributeError, KeyError, TypeError, ValueError: the document is no identity.
        """
        ports = {str(name): int(port) for name, port in document["ports"].items()}
        if not all(0 < port < 65536 for port in ports.values()):
            raise ValueError("no such port")
        return cls(UUID(document["uuid"]), ports)


def describe(identity: Identity, number: str) -> Gateway:
    """What the gateway says of itself; `number` is the version of the program."""
    return Gateway(
        uuid=identity.uuid,
        friendly_name="Sekimori",
        manufacturer="Sekimori",
        model_name="Sekimori",
        model_description="Internet gateway",
        model_number=number,
    )


def read_identity(directory: Path) -> Identity:
    """The identity as it was written down; a new one where there is none that can be read."""
    try:
        return Identity.from_document(json.loads((directory / _NAME).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return Identity(uuid4())
    except (OSError, AttributeError, KeyError, TypeError, ValueError) as error:
        _log.warning("identity_not_read", file=str(directory / _NAME), why=str(error))
        return Identity(uuid4())


def write_identity(directory: Path, identity: Identity) -> None:
    """Write it down: the whole of it, or the old one stays.

    One that cannot be written is a line in the log: after the next start devices find another gateway.
    """
    try:
        write_whole(directory / _NAME, json.dumps(identity.to_document()).encode())
    except OSError as error:
        _log.warning("identity_not_written", file=str(directory / _NAME), why=str(error))
