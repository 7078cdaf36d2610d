"""Who may come in, as the daemon tells it to the door's process: in frames, none of which is too long."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from zoneinfo import ZoneInfo

from sekimori.doors.ssh.admission import Roster, Row
from sekimori.model.errors import Problem
from sekimori.model.user import Grant

__all__ = ["MOST", "RosterReader", "roster_frames"]

_PART: Final = 1 << 20
"""Bytes of a frame, about: a fraction of a second's work to read, so that other words come between."""
MOST: Final = 8 << 20
"""Bytes of a row and its grant beyond which it cannot be told: half of the longest frame (`host.frames`)."""

_dumps: Final = json.JSONEncoder(separators=(",", ":")).encode

Json = dict[str, Any]


def roster_frames(
    rows: Iterable[Json], own: Sequence[str], zone: str
) -> tuple[Sequence[Json], Sequence[Json]]:
    """The frames that tell all rows, and the rows that are too long to be told: those let nobody in.

    Each frame is {"op":"roster","part":0,"last":false,"grants":[…],"rows":[{…,"grant":0}],"own","zone"}, with
    the place of a row's grant among the frame's own in place of the grant: many rows have the same.
    """
    parts, too_long = [_Part()], []
    texts: dict[int, str] = {}  # by identity: a grant of many rows is one object, and `rows` outlives this
    held = [*rows]
    for row in held:
        grant = row["grant"]
        if id(grant) not in texts:
            texts[id(grant)] = _dumps(grant)
        size = len(_dumps({**row, "grant": 0})) + 1
        if size + len(texts[id(grant)]) > MOST:
            too_long.append(row)
            continue
        if parts[-1].size_with(size, texts[id(grant)]) > _PART and parts[-1].rows:
            parts.append(_Part())
        parts[-1].add(row, size, texts[id(grant)])
    frames = [
        {
            "op": "roster",
            "part": number,
            "last": number == len(parts) - 1,
            "grants": part.grants,
            "rows": part.rows,
            "own": [*own],
            "zone": zone,
        }
        for number, part in enumerate(parts)
    ]
    return frames, too_long


@dataclass(slots=True)
class _Part:
    rows: list[Json] = field(default_factory=list)
    grants: list[Json] = field(default_factory=list)
    places: dict[str, int] = field(default_factory=dict)
    size: int = 0

    def size_with(self, size: int, grant: str) -> int:
        return self.size + size + (0 if grant in self.places else len(grant) + 1)

    def add(self, row: Json, size: int, grant: str) -> None:
        self.size = self.size_with(size, grant)
        if grant not in self.places:
            self.places[grant] = len(self.grants)
            self.grants.append(row["grant"])
        self.rows.append({**row, "grant": self.places[grant]})


class RosterReader:
    """Puts a roster together again; a new one that begins takes the place of one that was not whole.

    Attributes:
        problems: what of the newest could not be read.
    """

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._rows: list[Row] = []

    def take(self, frame: Mapping[str, Any]) -> Roster | None:
        """Read a frame; the roster, once it was the last of it.

        Raises:
            KeyError, ValueError: it is no such frame.
        """
        if frame["part"] == 0:
            self.problems, self._rows = [], []
        zone = ZoneInfo(frame["zone"])
        grants = [_read_grant(each) for each in frame["grants"]]
        for document in frame["rows"]:
            grant = grants[document["grant"]]
            try:
                if isinstance(grant, Problem):
                    raise grant
                self._rows.append(Row.read(document, grant, zone))
            except Problem as problem:
                self.problems.append(problem)
        if not frame["last"]:
            return None
        rows, self._rows = self._rows, []
        return Roster.of(rows)


def _read_grant(document: Json) -> Grant | Problem:
    """A grant; or why it is none, and those who would have it are not let in."""
    try:
        return Grant.from_document(document)
    except Problem as problem:
        return problem
