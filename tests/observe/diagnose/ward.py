"""A doctor with mappings and remedies that tests own: harmless files and programs of a directory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from sekimori.model.actual import State, Status
from sekimori.model.finding import Confidence, Examination, Finding, Found, Severity
from sekimori.model.mapping import Mapping as Opening
from sekimori.model.remedy import Command, Edit, Remedy
from sekimori.model.snapshot import Snapshot
from sekimori.observe.diagnose.clinic import Clinic
from sekimori.observe.diagnose.examiner import Examiner
from sekimori.observe.diagnose.hands import LocalHands
from sekimori.observe.diagnose.machine import Machine
from sekimori.observe.diagnose.owners import Owner
from sekimori.observe.diagnose.records import Records
from sekimori.observe.diagnose.ruleset import Ruleset
from sekimori.observe.diagnose.standing import Standing

from .test_doctor import NETWORK

NOW = 1_700_000_000.0
TEXT = {"en": "x", "ja": "x"}


def quiet(_interfaces: Iterable[str]) -> Machine:
    return Machine(Ruleset())


class Ward:
    """A doctor with mappings in a snapshot that the test owns."""

    def __init__(self, home: Path, *mappings: Opening, examiner: type[Examiner] = Examiner) -> None:
        self.home = home
        self.snapshot = Snapshot(mappings)
        self.statuses: dict[str, Status] = {}
        self.read: Callable[[Iterable[str]], Machine] = quiet
        self.asked: list[list[str]] = []
        self.records = Records(home / "remedies.json")
        self.examiner = examiner(
            snapshot=lambda: self.snapshot,
            status=lambda key: self.statuses.get(key, Status(State.OPEN, NOW, NOW)),
            targets=lambda mapping: [mapping.target.host],
            standing=lambda: Standing(NETWORK),
            listeners=tuple,
            read=self._read,
        )
        self.clinic = Clinic(self.examiner, self.records, LocalHands(), lambda: NOW)

    def _read(self, interfaces: Iterable[str]) -> Machine:
        self.asked.append(list(interfaces))
        return self.read(interfaces)


def remedy(path: Path) -> Remedy:
    """Makes a directory, and a line in a file beside it."""
    step = Command(("mkdir", str(path)), ("rmdir", str(path)), ("test", "-d", str(path)))
    return Remedy(Owner.UFW, (step,), TEXT, (Edit(f"{path}.rules", "a line", "wan lan"),))


class SickExaminer(Examiner):
    """Finds, beside what there is, mappings that do not work until their remedy's directory is there."""

    remedies: Mapping[str, Remedy] = {}

    async def examine(self, ref: str | None) -> Examination:
        found = await super().examine(None)
        sick = [
            Found(name, Finding("fw-drops", Severity.ERROR, Confidence.CERTAIN, name, TEXT, TEXT, None, each))
            for name, each in self.remedies.items()
            if not is_there(each.steps[0].undo[-1]) and ref in (None, name)
        ]
        return replace(found, found=(*sick, *found.found))


def is_there(path: str) -> bool:
    return Path(path).exists()


def names(directory: Path) -> list[str]:
    return sorted(each.name for each in directory.iterdir())


class SickWard(Ward):
    """Mappings that do not work until remedies are carried out."""

    def __init__(self, home: Path, **remedies: Remedy) -> None:
        super().__init__(home, examiner=SickExaminer)
        assert isinstance(self.examiner, SickExaminer)
        self.examiner.remedies = remedies
