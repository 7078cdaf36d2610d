"""The control channel's frames over a real socket pair."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from sekimori.host.frames import LONGEST, MOST_FDS, BadFrameError, FrameReader, Outbox


@pytest.fixture
def ends() -> Iterator[tuple[Outbox, FrameReader, socket.socket]]:
    one, other = socket.socketpair()
    one.setblocking(False)
    other.setblocking(False)
    outbox, reader = Outbox(one), FrameReader(other)
    yield outbox, reader, one
    outbox.close()
    reader.close()
    one.close()
    other.close()


def exchange(outbox: Outbox, reader: FrameReader) -> list[tuple[dict[str, Any], list[int]]]:
    """Send all and read all."""
    frames = []
    done = False
    while not done:
        done = outbox.send()
        with suppress(BlockingIOError):
            while reader.read():
                while (frame := reader.next()) is not None:
                    frames.append(frame)
    return frames


def test_frames_of_all_sizes_arrive_in_order(ends: tuple[Outbox, FrameReader, socket.socket]) -> None:
    outbox, reader, _ = ends
    sizes = [0, 1, 300_000, 5, 2_000_000]
    for number, size in enumerate(sizes):
        outbox.put({"n": number, "text": "x" * size})
    frames = exchange(outbox, reader)
    assert [(frame["n"], len(frame["text"])) for frame, _ in frames] == list(enumerate(sizes))


@pytest.mark.parametrize("count", [1, MOST_FDS, MOST_FDS + 1, 3 * MOST_FDS])
def test_descriptors_belong_to_their_frame_and_are_closed_here(
    ends: tuple[Outbox, FrameReader, socket.socket], count: int
) -> None:
    outbox, reader, _ = ends
    kinds = [os.pipe() for _ in range(2)]
    passed = [os.dup(kinds[0][0]) for _ in range(count)]
    outbox.put({"n": 1}, passed)
    outbox.put({"n": 2})
    outbox.put({"n": 3}, [os.dup(kinds[1][0])])
    frames = exchange(outbox, reader)
    assert [(frame["n"], len(fds)) for frame, fds in frames] == [(1, count), (2, 0), (3, 1)]
    wanted = [os.fstat(kinds[0][0]).st_ino] * count + [os.fstat(kinds[1][0]).st_ino]
    received = [fd for _, fds in frames for fd in fds]
    assert [os.fstat(fd).st_ino for fd in received] == wanted
    for fd in (*received, *kinds[0], *kinds[1]):
        os.close(fd)


def test_what_was_not_sent_is_closed(ends: tuple[Outbox, FrameReader, socket.socket]) -> None:
    outbox, _, _ = ends
    read, write = os.pipe()
    outbox.put({}, [read])
    outbox.close()
    assert not outbox
    with pytest.raises(BrokenPipeError):  # the only reading end is gone
        os.write(write, b"x")
    os.close(write)


@pytest.mark.parametrize(
    "data",
    [
        (LONGEST + 1).to_bytes(4, "big"),
        b"\0\0\0\x02[]",
        b"\0\0\0\x02{]",
        b'\0\0\0\x09{"fds":1}',
        b'\0\0\0\x0a{"fds":-1}',
        b'\0\0\0\x0b{"fds":"x"}',
    ],
)
def test_bad_frames(ends: tuple[Outbox, FrameReader, socket.socket], data: bytes) -> None:
    _, reader, sock = ends
    sock.sendall(data)
    assert reader.read()
    with pytest.raises(BadFrameError):
        reader.next()
