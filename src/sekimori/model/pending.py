"""A change that may have locked its asker out, and stands only until it is known that it has not."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping as MappingABC
from dataclasses import dataclass
from typing import Any

from sekimori.model.mapping import Owner
from sekimori.model.request import Caller

__all__ = ["Pending"]


@dataclass(frozen=True, slots=True)
class Pending:
    """A revision that is taken back at its deadline, unless its actor confirms it by another connection.

    Attributes:
        revision: the one that is to be confirmed.
        caller: the way its actor came by, which it may have cut.
        deadline: Unix seconds.
        within: seconds from the revision to the deadline.
    """

    revision: int
    actor: Owner
    caller: Caller
    deadline: float
    within: int

    def to_document(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "revision": self.revision,
            "actor": str(self.actor),
            "source": str(self.caller.source),
            "sport": self.caller.sport,
            "destination": str(self.caller.destination),
            "dport": self.caller.dport,
            "deadline": self.deadline,
            "within": self.within,
        }

    @classmethod
    def from_document(cls, document: MappingABC[str, Any]) -> Pending:
        """Read `to_document` back.

        Raises:
            KeyError, ValueError: the document is not of a pending revision.
        """
        return cls(
            revision=document["revision"],
            actor=Owner.parse(document["actor"]),
            caller=Caller(
                ipaddress.ip_address(document["source"]),
                document["sport"],
                ipaddress.ip_address(document["destination"]),
                document["dport"],
            ),
            deadline=document["deadline"],
            within=document["within"],
        )
