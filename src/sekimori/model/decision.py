"""What policy answers: a closed sum of allow and deny."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Literal

from sekimori.model.address import IPNetwork
from sekimori.model.door import Door
from sekimori.model.errors import Problem
from sekimori.model.gateway import Ban, Gateway
from sekimori.model.link import Link
from sekimori.model.mapping import Mapping, Owner
from sekimori.model.permission import Permissions
from sekimori.model.user import User

__all__ = [
    "GATEWAY_KEY",
    "Allow",
    "Decision",
    "Deny",
    "Made",
    "NamedList",
    "Notice",
    "Setting",
    "Subject",
    "SubjectKind",
    "Verb",
    "key_of",
    "kind_of",
]


class Verb(StrEnum):
    """What happened to a subject, in the journal's words."""

    OPEN = "open"
    CHANGE = "change"
    EXTEND = "extend"
    PAUSE = "pause"
    RESUME = "resume"
    CLOSE = "close"
    EXPIRE = "expire"
    DEFINE = "define"
    GATEWAY = "gateway"
    BAN = "ban"
    UNBAN = "unban"
    DOOR = "door"
    PERMIT = "permit"
    ADOPT = "adopt"
    LINK = "link"
    USER = "user"
    UNDO = "undo"


@dataclass(frozen=True, slots=True)
class NamedList:
    """A named list of sources and who keeps it."""

    name: str
    owner: Owner
    prefixes: tuple[IPNetwork, ...]

    def to_document(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "name": self.name,
            "owner": str(self.owner),
            "prefixes": [str(prefix) for prefix in self.prefixes],
        }


Setting = Gateway | Ban | Door | Permissions | Link | User
"""What holds for the whole machine, beside its mappings and lists."""

Subject = Mapping | NamedList | Setting
"""What a change is about."""

SubjectKind = Literal["mapping", "list", "gateway", "ban", "door", "permissions", "link", "user"]


def kind_of(subject: Subject) -> SubjectKind:
    """The journal's word for what sort of subject it is."""
    match subject:
        case Mapping():
            return "mapping"
        case NamedList():
            return "list"
        case Gateway():
            return "gateway"
        case Ban():
            return "ban"
        case Door():
            return "door"
        case Permissions():
            return "permissions"
        case Link():
            return "link"
        case User():
            return "user"


GATEWAY_KEY: Final = "gateway/self"
"""The gateway's `key_of`."""

_PERMISSIONS_KEY: Final = "permissions/self"


def key_of(subject: Subject) -> str:
    """What tells a subject from every other, of any kind: a mapping's id, a list's name, a ban's prefix.

    Those of other settings have a slash, as prefixes have and the names of lists cannot.
    """
    match subject:
        case Mapping():
            return subject.id
        case NamedList():
            return subject.name
        case Gateway():
            return GATEWAY_KEY
        case Ban():
            return str(subject.prefix)
        case Door():
            return f"door/{subject.door}"
        case Permissions():
            return _PERMISSIONS_KEY
        case Link():
            return f"link/{subject.name}"
        case User():
            return f"user/{subject.name}"


@dataclass(frozen=True, slots=True)
class Made:
    """One change of one subject. None before is new, None after is gone.

    `cut` asks the planes to end its flows at once instead of after their grace.
    """

    verb: Verb
    before: Subject | None
    after: Subject | None
    cut: bool = False

    @property
    def subject(self) -> Subject:
        """What it is about, as it stands after, or as it stood last."""
        subject = self.after if self.after is not None else self.before
        assert subject is not None
        return subject


@dataclass(frozen=True, slots=True)
class Notice:
    """Something the asker should know though it was allowed; `texts` by language."""

    code: str
    en: str
    ja: str

    def text(self, language: str = "en") -> str:
        """The sentence in a language."""
        return self.ja if language == "ja" else self.en


@dataclass(frozen=True, slots=True)
class Allow:
    """The changes that were granted, in order, and what to know about them."""

    changes: tuple[Made, ...]
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True, slots=True)
class Deny:
    """Why not, and what would be allowed."""

    problem: Problem


Decision = Allow | Deny
