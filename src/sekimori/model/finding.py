"""What observers say: findings with stable codes, evidence and the way out; and what was done about them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sekimori.model.causes import Text
from sekimori.model.errors import Problem
from sekimori.model.remedy import Remedy

__all__ = [
    "Applied",
    "Confidence",
    "Evidence",
    "Examination",
    "Finding",
    "Found",
    "Severity",
    "Treated",
    "Treatment",
]


class Severity(StrEnum):
    """How bad it is for the mapping."""

    ERROR = "error"
    """It keeps packets from the target."""
    WARNING = "warning"
    """It does under some conditions, or harms something else."""
    NOTICE = "notice"


class Confidence(StrEnum):
    """How sure it is."""

    CERTAIN = "certain"
    LIKELY = "likely"
    POSSIBLE = "possible"


@dataclass(frozen=True, slots=True)
class Evidence:
    """Where it stands: the rule, or the policy of a base chain (`handle` 0 there and in x_tables)."""

    family: str
    table: str
    chain: str
    handle: int
    text: str
    hook: str
    owner: str
    """The program whose rule it is, as people write it."""

    def __str__(self) -> str:
        handle = f" # handle {self.handle}" if self.handle else ""
        return f"{self.family} {self.table} {self.chain}: {self.text}{handle}"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found.

    Attributes:
        code: stable, kebab-case.
        subject: what it is about: the mapping's ports (`tcp/8080`), or an interface.
        title: what is wrong, by language; `fix` what to do.
        remedy: what would be done for the asking, where there is a supported way.
    """

    code: str
    severity: Severity
    confidence: Confidence
    subject: str
    title: Text
    fix: Text
    evidence: Evidence | None = None
    remedy: Remedy | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A finding, and the name of the mapping it is about; None where it is about the machine."""

    mapping: str | None
    finding: Finding


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found, the worst first.

    Attributes:
        examined: how many mappings were looked at.
        total: how many there are to look at; paused ones are not.
    """

    found: tuple[Found, ...]
    examined: int
    total: int


@dataclass(frozen=True, slots=True)
class Applied:
    """A remedy that was carried out and stands.

    Attributes:
        codes: of the findings it was for.
        mappings: the names of the mappings it was for.
        at: Unix seconds.
        by: who asked for it.
    """

    remedy: Remedy
    codes: tuple[str, ...]
    mappings: tuple[str, ...]
    at: float
    by: str


@dataclass(frozen=True, slots=True)
class Treated:
    """One remedy that was carried out or taken back; `problem` where that failed."""

    remedy: Remedy
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class Treatment:
    """What was done, or under `planned` would be; and what is found after."""

    planned: bool
    treated: tuple[Treated, ...]
    after: Examination
