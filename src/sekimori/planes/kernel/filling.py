"""Very many mappings at once, as when 60,000 are restored.

The kernel takes as long to take their elements in as this process to work them out, and each keeps a CPU
of its own busy: so they go in by parts, and while the kernel has one, the next is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Final, TypeVar

__all__ = ["MANY", "in_parts", "one_ahead"]

S = TypeVar("S")
T = TypeVar("T")

MANY: Final = 4000
"""Mappings of one part. A smaller one has the kernel begin sooner, and costs more transactions."""


def in_parts(mapping: Mapping[str, T]) -> Iterator[dict[str, T]]:
    """The same entries, some at a time."""
    left = iter(mapping.items())
    while part := dict(islice(left, MANY)):
        yield part


def one_ahead(steps: Iterable[S], do: Callable[[S], T]) -> Iterator[tuple[S, T]]:
    """Do steps one after the other in another thread, each while the next one is being made.

    Yields:
        Each step that was done, and what `do` returned.

    Raises:
        Exception: what `do` raised; of the steps behind that one, none is done.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="filling") as other:
        running: tuple[S, Future[T]] | None = None
        for step in steps:
            if running is not None:
                yield running[0], running[1].result()
            running = step, other.submit(do, step)
        if running is not None:
            yield running[0], running[1].result()
