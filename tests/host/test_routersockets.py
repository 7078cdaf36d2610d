"""Questions that are asked again, and bounded HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from ipaddress import IPv4Address

import pytest

from sekimori.host.routersockets import Place, fetch, open_router_socket, search
from sekimori.wire.errors import BadPacket
from sekimori.wire.httpmessage import HttpUrl

PLACE = Place("lo", IPv4Address("127.0.0.1"), IPv4Address("127.0.0.3"))


@pytest.fixture
def far() -> Iterator[socket.socket]:
    """The router's end."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        sock.bind(("127.0.0.3", 0))
        yield sock


async def test_a_question_is_asked_again_until_it_is_answered(far: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    with closing(open_router_socket(PLACE, far.getsockname()[1])) as near:
        asking = loop.create_task(near.ask(b"?", lambda data: data if data == b"yes" else None, 5.0))
        for _ in range(3):
            data, sender = await asyncio.wait_for(loop.sock_recvfrom(far, 100), 5)
            assert data == b"?"
        far.sendto(b"no", sender)
        far.sendto(b"yes", sender)
        assert await asking == b"yes"


async def test_answers_find_their_questions(far: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    with closing(open_router_socket(PLACE, far.getsockname()[1])) as near:

        def fits(wanted: bytes) -> Callable[[bytes], bytes | None]:
            return lambda data: data if data == wanted else None

        asking = [loop.create_task(near.ask(each, fits(each), 5.0)) for each in (b"1", b"2", b"3")]
        asked = [await asyncio.wait_for(loop.sock_recvfrom(far, 100), 5) for _ in asking]
        for data, sender in reversed(asked):
            far.sendto(data, sender)
        assert await asyncio.gather(*asking) == [b"1", b"2", b"3"]


async def test_silence_ends(far: socket.socket) -> None:
    with closing(open_router_socket(PLACE, far.getsockname()[1])) as near, pytest.raises(TimeoutError):
        await near.ask(b"?", lambda data: data, 0.3)


async def test_a_router_that_says_that_nobody_is_there_is_believed_at_once(far: socket.socket) -> None:
    """And asked again when somebody is there after all."""
    port = far.getsockname()[1]
    far.close()
    with closing(open_router_socket(PLACE, port)) as near:
        for _ in range(2):
            with pytest.raises(ConnectionRefusedError):
                await near.ask(b"?", lambda data: data, 5.0)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as again:
            again.bind(("127.0.0.3", port))
            asking = asyncio.get_running_loop().create_task(near.ask(b"?", lambda data: data, 5.0))
            _, sender = await asyncio.wait_for(asyncio.get_running_loop().sock_recvfrom(again, 100), 5)
            again.sendto(b"!", sender)
            assert await asking == b"!"


async def test_a_search_hears_the_router_from_any_port_and_nobody_else(far: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    heard: list[bytes] = []

    def take(data: bytes) -> bool:
        heard.append(data)
        return data == b"mine"

    port = far.getsockname()[1]
    searching = loop.create_task(search(PLACE, [(b"who?", "127.0.0.3", port)], take, 5.0))
    _, sender = await asyncio.wait_for(loop.sock_recvfrom(far, 100), 5)
    for address, data in (("127.0.0.4", b"another's"), ("127.0.0.3", b"odd"), ("127.0.0.3", b"mine")):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind((address, 0))
            sock.sendto(data, sender)
    await asyncio.wait_for(searching, 5)
    assert heard == [b"odd", b"mine"]


async def _fetch(answer: list[bytes], *, most: int = 1000, within: float = 5.0) -> tuple[int, bytes, bytes]:
    """What comes of an answer in pieces, an empty one of which never comes; and the request."""
    asked = bytearray()
    over = threading.Event()

    def serve() -> None:
        sock, _ = listener.accept()
        with sock, contextlib.suppress(OSError):  # the client has enough
            while not asked.endswith(b"\r\n\r\n"):
                asked.extend(sock.recv(1000))
            for piece in answer:
                if not piece:
                    over.wait(10)
                sock.sendall(piece)

    with socket.create_server(("127.0.0.3", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            url = HttpUrl(IPv4Address("127.0.0.3"), listener.getsockname()[1], "/x?y=1")
            reply = await fetch(PLACE, url, most=most, within=within)
        finally:
            over.set()
            thread.join(10)
    return reply.status, reply.body, bytes(asked)


async def test_a_body_comes_whole() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n"
    status, body, asked = await _fetch([head[:10], head[10:], b"abc", b"def"])
    assert (status, body) == (200, b"abcdef")
    assert asked.startswith(b"GET /x?y=1 HTTP/1.1\r\n")
    assert b"\r\nConnection: close\r\n" in asked
    chunked = b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    assert (await _fetch([chunked]))[:2] == (500, b"abc")
    assert (await _fetch([b"HTTP/1.0 200 OK\r\n\r\nuntil the end"]))[:2] == (200, b"until the end")


async def test_redirects_are_not_followed() -> None:
    answer = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.9/\r\nContent-Length: 0\r\n\r\n"
    assert (await _fetch([answer]))[0] == 302


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 2000,
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 40000,
        b"SSH-2.0-dropbear\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
    ],
    ids=["long body", "long head", "no HTTP", "cut short"],
)
async def test_what_is_not_an_answer(answer: bytes) -> None:
    with pytest.raises((BadPacket, OSError)):
        await _fetch([answer])


async def test_slow_bodies_end() -> None:
    begun = asyncio.get_running_loop().time()
    with pytest.raises(TimeoutError):
        await _fetch([b"HTTP/1.1 200 OK\r\n\r\n", b"x", b""], within=0.3)
    assert asyncio.get_running_loop().time() - begun < 2.0
