"""Remedies that were carried out, kept so that they can be taken back when their cause is no longer seen."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from sekimori.host.writing import write_whole
from sekimori.model.causes import os_cause
from sekimori.model.errors import Problem
from sekimori.model.finding import Applied
from sekimori.model.remedy import Command, Edit, Remedy
from sekimori.observe.diagnose.owners import Owner

__all__ = ["Records"]

_SCHEMA: Final = 1


class Records:
    """A file with every remedy that stands. One process at a time writes it: the daemon, from one thread."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def all(self) -> tuple[Applied, ...]:
        """Those that stand, the oldest first.

        Raises:
            Problem: `remedies-unreadable`.
        """
        try:
            document = json.loads(self._path.read_text(encoding="utf-8"))
            if document["schema"] != _SCHEMA:
                raise ValueError(f"schema {document['schema']}")
            return tuple(_read(each) for each in document["remedies"])
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise Problem("remedies-unreadable", file=str(self._path), why=os_cause(error)) from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Problem("remedies-unreadable", file=str(self._path), why=repr(error)) from None

    def put(self, applied: Applied) -> None:
        """Keep one, in place of an earlier one with the same steps.

        Raises:
            Problem: `remedies-unreadable`, also where the file cannot be written.
        """
        others = [each for each in self.all() if each.remedy.id != applied.remedy.id]
        self._write([*others, applied])

    def drop(self, remedy_id: str) -> None:
        """Forget one.

        Raises:
            Problem: `remedies-unreadable`, also where the file cannot be written.
        """
        self._write(each for each in self.all() if each.remedy.id != remedy_id)

    def _write(self, kept: Iterable[Applied]) -> None:
        document = {"schema": _SCHEMA, "remedies": [_render(each) for each in kept]}
        try:
            write_whole(self._path, json.dumps(document, ensure_ascii=False, indent=1).encode())
        except OSError as error:
            raise Problem("remedies-unreadable", file=str(self._path), why=os_cause(error)) from None


def _render(applied: Applied) -> dict[str, Any]:
    remedy = applied.remedy
    return {
        "id": remedy.id,
        "owner": str(remedy.owner),
        "explains": dict(remedy.explains),
        "steps": [
            {"do": step.do, "undo": step.undo, "done": step.done, "spare": step.spare}
            for step in remedy.steps
        ],
        "edits": [
            {"path": edit.path, "text": edit.text, "tag": edit.tag, "section": edit.section}
            for edit in remedy.edits
        ],
        "codes": applied.codes,
        "mappings": applied.mappings,
        "at": applied.at,
        "by": applied.by,
    }


def _read(document: dict[str, Any]) -> Applied:
    remedy = Remedy(
        Owner(document["owner"]),
        tuple(
            Command(**{name: tuple(map(str, words)) for name, words in step.items()})
            for step in document["steps"]
        ),
        {language: str(text) for language, text in document["explains"].items()},
        tuple(Edit(**edit) for edit in document["edits"]),
    )
    codes, mappings = (tuple(map(str, document[name])) for name in ("codes", "mappings"))
    return Applied(remedy, codes, mappings, float(document["at"]), str(document["by"]))
