"""A change that may have locked its asker out, and stands only until it is known that it has not.

And the text of a config file that came to nothing so: it is not applied again by itself.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping as MappingABC
from dataclasses import dataclass
from typing import Any

from sekimori.model.mapping import Owner
from sekimori.model.request import Caller

__all__ = ["Pending", "Unconfirmed"]


@dataclass(frozen=True, slots=True)
class Pending:
    """A revision that is taken back at its deadline, unless its actor confirms it by another connection.

    Attributes:
        revision: the one that is to be confirmed.
        caller: the way its actor came by, which it may have cut.
        deadline: Unix seconds.
        within: seconds from the revision to the deadline.
        text: where a config file asked for it, the digest of its text; else ''.
    """

    revision: int
    actor: Owner
    caller: Caller
    deadline: float
    within: int
    text: str = ""

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
            "text": self.text,
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
            text=document.get("text", ""),
        )


@dataclass(frozen=True, slots=True)
class Unconfirmed:
    """The text of a config file that was applied, not confirmed, and taken back.

    Attributes:
        owner: the file.
        text: the digest of its text; '' where there is none any more.
        at: Unix seconds when it was taken back.
    """

    owner: Owner
    text: str
    at: float

    def to_document(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"owner": str(self.owner), "text": self.text, "at": self.at}

    @classmethod
    def from_document(cls, document: MappingABC[str, Any]) -> Unconfirmed:
        """Read `to_document` back.

        Raises:
            KeyError, ValueError: the document is not of such a text.
        """
        return cls(Owner.parse(document["owner"]), document["text"], document["at"])
