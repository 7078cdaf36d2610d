"""The doctor of this daemon: what it looks at, and what it works with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sekimori.host.listeners import read_listeners
from sekimori.ledger.store import Ledger
from sekimori.observe.diagnose.clinic import Clinic
from sekimori.observe.diagnose.examiner import Examiner
from sekimori.observe.diagnose.hands import LocalHands
from sekimori.observe.diagnose.records import Records
from sekimori.observe.diagnose.standing import Standing
from sekimori.policy.machine import Machine
from sekimori.reconcile.desired import Desired
from sekimori.reconcile.engine import GROUND, Engine

__all__ = ["open_clinic"]

_RECORDS = "remedies.json"


def open_clinic(
    ledger: Ledger,
    engine: Engine,
    desired: Desired,
    machine: Machine,
    state_dir: Path,
    now: Callable[[], float],
) -> Clinic:
    """A doctor that works on this machine with the rights of this process."""

    def standing() -> Standing:
        return Standing(
            machine.network(),
            is_gateway=ledger.snapshot.gateway is not None,
            obstacle=machine.obstacle(),
            problem=engine.problem(GROUND),
        )

    examiner = Examiner(
        snapshot=lambda: ledger.snapshot,
        status=engine.status,
        targets=desired.targets,
        standing=standing,
        listeners=read_listeners,
    )
    return Clinic(examiner, Records(state_dir / _RECORDS), LocalHands(), now)
