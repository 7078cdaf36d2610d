"""The pool of pipes, with real pipes."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator

import pytest

from sekimori.planes.relay.pipes import PipePool


@pytest.fixture
def pool() -> Iterator[PipePool]:
    one = PipePool(most=3, spare=2)
    yield one
    one.close()
    assert one.made == 0


def test_a_pipe_given_back_is_taken_again(pool: PipePool) -> None:
    pipe = pool.take(0.0)
    assert pipe is not None
    assert not os.get_blocking(pipe[0])
    pool.give(pipe)
    assert pool.take(0.0) == pipe
    pool.give(pipe)


def test_no_more_than_allowed_are_made_and_no_more_than_spare_kept(pool: PipePool) -> None:
    pipes = [pipe for _ in range(5) if (pipe := pool.take(0.0)) is not None]
    assert len(pipes) == 3
    for pipe in pipes:
        pool.give(pipe)
    assert pool.made == 2


def test_a_discarded_pipe_is_closed(pool: PipePool) -> None:
    pipe = pool.take(0.0)
    assert pipe is not None
    pool.discard(pipe)
    with pytest.raises(OSError):
        os.fstat(pipe[0])


def test_without_descriptors_there_is_none_and_the_kernel_is_not_asked_at_once_again(pool: PipePool) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, limits[1]))
    try:
        assert pool.take(10.0) is None
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert pool.take(10.5) is None
    pipe = pool.take(11.0)
    assert pipe is not None
    pool.give(pipe)
