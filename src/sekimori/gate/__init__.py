"""The waist: what every door may ask, decided and committed in one place."""

from sekimori.gate.local import LocalGate
from sekimori.gate.ports import Gate, Outcome

__all__ = ["Gate", "LocalGate", "Outcome"]
