"""Memory that is free here and not yet given back."""

from __future__ import annotations

import ctypes

__all__ = ["give_back"]


def give_back() -> None:
    """Have the C library give free memory back to the system (malloc_trim(3)), where it can.

    Reading a large ledger and writing it to the kernel leaves tens of megabytes behind.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:  # a C library other than glibc has its own ways
        trim(0)
