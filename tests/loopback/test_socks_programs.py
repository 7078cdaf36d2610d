"""curl and proxychains through a real worker and a real dialler."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sekimori.model.socks import make_verifier
from tests.loopback.relay_rig import DEADLINE, Relay, ended, eventually, port_of
from tests.loopback.socks_rig import HERE, serve, socks_relay

pytestmark = [pytest.mark.loopback, pytest.mark.interop]

USER = make_verifier("user:correct horse", b"salt")
USERS = ((USER.name, USER.text),)


@pytest.fixture
async def relay(tmp_path: Path) -> AsyncIterator[Relay]:
    async with socks_relay(tmp_path / "worker.sock") as (relay, _dialler):
        yield relay


@asynccontextmanager
async def web(body: bytes = b"a page") -> AsyncIterator[int]:
    """A web server on loopback; its port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        data = body if request.startswith(b"GET ") else b""
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(data)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + data)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, family=socket.AF_INET)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def run(program: str, *arguments: str) -> tuple[int, bytes]:
    """Run a program; its exit code and what it wrote."""
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"needs {program} (Debian package {program})")
    process = await asyncio.create_subprocess_exec(
        path, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    async with asyncio.timeout(DEADLINE):
        out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out


async def curl(*arguments: str) -> tuple[int, bytes]:
    """curl, as a user without a configuration runs it."""
    return await run("curl", "-q", "--silent", "--show-error", "--noproxy", "", *arguments)


WAYS = [
    ("--socks4", "127.0.0.1"),
    ("--socks4a", "localhost"),
    ("--socks5", "127.0.0.1"),
    ("--socks5-hostname", "localhost"),
    ("--proxytunnel", "localhost"),
]


def through(way: str, port: int) -> list[str]:
    return (
        [way, "--proxy", f"http://127.0.0.1:{port}"] if way == "--proxytunnel" else [way, f"127.0.0.1:{port}"]
    )


@pytest.mark.parametrize(("way", "host"), WAYS)
async def test_curl_gets_its_page(relay: Relay, way: str, host: str) -> None:
    entry = await serve(relay)
    body = b"page " * 200_000
    async with web(body) as port:
        code, out = await curl(*through(way, port_of(entry)), f"http://{host}:{port}/")
    assert (code, out == body) == (0, True)
    stats = await eventually(lambda: ended(relay, entry))
    assert (stats["flows_total"], stats["failed"]["other"]) == (1, 0)
    assert stats["bytes_out"] > len(body)


@pytest.mark.parametrize(("way", "host"), WAYS)
async def test_curl_is_told_that_a_place_is_guarded(relay: Relay, way: str, host: str) -> None:
    entry = await serve(relay, rules=("*",))
    async with web() as port:
        code, out = await curl(*through(way, port_of(entry)), f"http://{host}:{port}/")
    # 97: CURLE_PROXY, a refusal by SOCKS; 56: by an HTTP proxy's 403.
    assert (code, out) == (56 if way == "--proxytunnel" else 97, b"")


@pytest.mark.parametrize(
    ("way", "user", "code"),
    [
        ("--socks5-hostname", "user:correct horse", 0),
        ("--socks5-hostname", "user:wrong", 97),
        ("--socks5-hostname", "", 97),
        ("--socks4a", "user:correct horse", 97),
        ("--proxytunnel", "user:correct horse", 0),
        ("--proxytunnel", "user:wrong", 56),
        ("--proxytunnel", "", 56),
    ],
)
async def test_curl_with_a_password(relay: Relay, way: str, user: str, code: int) -> None:
    entry = await serve(relay, users=USERS)
    said = ["--proxy-user", user] if user else []
    async with web() as port:
        got = await curl(*through(way, port_of(entry)), *said, f"http://localhost:{port}/")
    assert got == (code, b"" if code else b"a page")


async def test_curl_asks_an_http_proxy_what_it_wants(relay: Relay) -> None:
    entry = await serve(relay, users=USERS)
    said = ["--proxy-anyauth", "--proxy-user", "user:correct horse"]
    async with web() as port:
        got = await curl(*through("--proxytunnel", port_of(entry)), *said, f"http://localhost:{port}/")
    assert got == (0, b"a page")


async def test_curl_that_wants_a_page_read_for_it_is_told_no(relay: Relay) -> None:
    entry = await serve(relay)
    async with web() as port:
        proxy = f"http://127.0.0.1:{port_of(entry)}"
        code, out = await curl("--proxy", proxy, "--write-out", "%{http_code}", f"http://localhost:{port}/")
    assert (code, out) == (0, b"405")


@pytest.mark.parametrize("kind", ["socks4", "socks5", "http"])
async def test_proxychains(relay: Relay, tmp_path: Path, kind: str) -> None:
    entry = await serve(relay, rules=HERE)
    config = tmp_path / "proxychains.conf"
    config.write_text(f"strict_chain\nquiet_mode\n[ProxyList]\n{kind} 127.0.0.1 {port_of(entry)}\n")
    async with web() as port:
        command = ["curl", "-q", "--silent", f"http://127.0.0.1:{port}/"]
        code, out = await run("proxychains4", "-f", str(config), *command)
    assert (code, out) == (0, b"a page")
    assert (await eventually(lambda: ended(relay, entry)))["flows_total"] == 1
