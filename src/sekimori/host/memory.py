"""When memory is looked through for what nobody holds any more, and when it is given back."""

from __future__ import annotations

import ctypes
import gc
from typing import Final

__all__ = ["collect_seldom", "give_back"]

_SELDOM: Final = 20_000
"""Objects made and not freed between two looks for cycles; Python's 700 are those of some 50 flows."""


def collect_seldom() -> None:
    """Look for cycles among what is made from now on only, and seldom.

    To be called once all modules are loaded, in a process whose flows leave no cycles behind: looking for
    them is 7 % of what a short connection costs there.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_SELDOM)


def give_back() -> None:
    """Have the C library give free memory back to the system (malloc_trim(3)), where it can.

    Reading a large ledger and writing it to the kernel leaves tens of megabytes behind.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:  # a C library other than glibc has its own ways
        trim(0)
