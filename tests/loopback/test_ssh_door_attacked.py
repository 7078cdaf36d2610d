"""The SSH door under attack: silence, noise, and those who try keys."""

from __future__ import annotations

import asyncio
import os
import random
import resource
import socket
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import asyncssh
import psutil
import pytest

from sekimori.testing.peers import Peers

from .ssh_rig import Rig, rigged, until, until_dials, why_not

pytestmark = [pytest.mark.loopback, pytest.mark.skipif(why_not() is not None, reason=str(why_not()))]


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rigged(tmp_path) as made:
        yield made


async def logs_in(rig: Rig) -> float:
    """Seconds that a login took."""
    begun = time.monotonic()
    ssh = rig.ssh("-tt")
    await ssh.says("Hello alice.")
    took = time.monotonic() - begun
    ssh.close()
    return took


async def test_a_thousand_that_say_nothing_do_not_hold_up_one_that_does(rig: Rig) -> None:
    alone = await logs_in(rig)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    with ExitStack() as stack:
        for number in range(1000):
            sock = stack.enter_context(socket.socket())
            sock.bind((f"127.0.{number % 200}.1", 0))
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", rig.port))
        took = await logs_in(rig)
        assert took < alone + 1, f"{alone=} {took=}"
    assert await logs_in(rig) < alone + 1


async def test_half_spoken_handshakes_do_not_either(rig: Rig) -> None:
    alone = await logs_in(rig)
    with ExitStack() as stack:
        for number in range(300):
            sock = stack.enter_context(socket.socket())
            sock.bind((f"127.0.{number % 200}.1", 0))
            sock.settimeout(5)
            sock.connect(("127.0.0.1", rig.port))
            sock.send(b"SSH-2.0-half\r\n" if number % 2 else b"S")
        assert await logs_in(rig) < alone + 1.5


@pytest.mark.parametrize("banner", [b"", b"SSH-2.0-OpenSSH_9.9\r\n", b"SSH-2.0-x\r\n", b"SSH-1.5-x\r\n"])
async def test_noise_ends_its_connection_and_nothing_else(rig: Rig, banner: bytes) -> None:
    chance = random.Random(banner)
    ssh = rig.ssh("-tt")
    await ssh.says("Hello alice.")
    process = rig.door._process
    for _ in range(40):
        await make_noise(rig.port, banner, chance)
    assert rig.door._process is process
    assert rig.sessions() == 1
    assert await logs_in(rig) < 5
    assert process is not None
    await until(lambda: len(psutil.Process(process.pid).net_connections("tcp")) < 6)


async def make_noise(port: int, banner: bytes, chance: random.Random) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    length = chance.choice([1, 5, 40, 300, 3000])
    packet = chance.randbytes(length)
    if chance.random() < 0.5:  # a packet that is well formed outside
        body = bytes([4, chance.choice([1, 2, 20, 21, 30, 50, 80, 90, 94])]) + packet + b"\0" * 4
        packet = len(body).to_bytes(4, "big") + body
    try:
        writer.write(banner + packet)
        await writer.drain()
        if chance.random() < 0.5:
            writer.write_eof()
        async with asyncio.timeout(0.2):
            await reader.read()
    except (OSError, TimeoutError):
        return  # the door may end it, or wait for more
    finally:
        writer.close()


async def test_many_keys_in_vain(rig: Rig) -> None:
    keys = [word for number in range(14) for word in ("-i", str(rig.key(f"wrong-{number}")))]
    refused = rig.run("ssh", *keys, *rig.options("wrong"), "x@127.0.0.1")
    assert await refused.ends() == 255
    assert "too many keys were tried" in refused.said


async def test_what_is_offered(rig: Rig) -> None:
    """Post-quantum and modern algorithms, and no word about what it is beyond its name."""
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
    assert await reader.readline() == b"SSH-2.0-Sekimori\r\n"
    writer.close()
    refusals = {
        "KexAlgorithms": "diffie-hellman-group14-sha256",
        "Ciphers": "aes256-ctr",
        "HostKeyAlgorithms": "rsa-sha2-512",
    }
    for option, value in refusals.items():
        refused = rig.ssh("-N", "-o", f"{option}={value}")
        assert await refused.ends() == 255
        assert "Unable to negotiate" in refused.said or "no matching" in refused.said


async def test_the_fast_cipher_for_who_has_it(rig: Rig) -> None:
    said = await rig.ssh("-tt", "-v").says("Hello alice.")
    assert "cipher: aes128-gcm@openssh.com" in said
    said = await rig.ssh("-tt", "-v", "-c", "chacha20-poly1305@openssh.com").says("Hello alice.")
    assert "cipher: chacha20-poly1305@openssh.com" in said


async def test_chacha_only_with_strict_key_exchange(rig: Rig) -> None:
    """CVE-2023-48795: without it, somebody on the way may cut the beginning off."""

    class Lax(asyncssh.SSHClient):
        def connection_made(self, conn: Any) -> None:
            conn._get_extra_kex_algs = list

    async def log_in(kind: type[asyncssh.SSHClient], cipher: str) -> None:
        async with asyncssh.connect(
            "127.0.0.1",
            rig.port,
            client_factory=kind,
            known_hosts=None,
            client_keys=[str(rig.key("alice"))],
            encryption_algs=[cipher],
            config=None,
        ):
            await until(lambda: rig.sessions() == 1)
        await until(lambda: rig.sessions() == 0)

    await log_in(asyncssh.SSHClient, "chacha20-poly1305@openssh.com")
    await log_in(Lax, "aes256-gcm@openssh.com")
    # What the client says next may meet the closed connection before it has read the reason.
    with pytest.raises((asyncssh.DisconnectError, ConnectionError)) as refused:
        await log_in(Lax, "chacha20-poly1305@openssh.com")
    assert isinstance(refused.value, ConnectionError) or "strict key exchange" in str(refused.value)


async def test_a_source_that_fails_again_and_again_waits(tmp_path: Path) -> None:
    async with rigged(tmp_path, exempt=()) as rig:
        for _ in range(6):
            assert await rig.ssh("-N", key="wrong").ends() == 255
        refused = rig.ssh("-N")
        assert await refused.ends() == 255
        assert "Permission denied" not in refused.said  # it was not listened to
        other = rig.ssh("-tt", "-b", "127.0.9.9")
        await other.says("Hello alice.")
        await asyncio.sleep(4.5)
        await rig.ssh("-tt").says("Hello alice.")


async def test_sessions_are_as_many_as_granted(rig: Rig) -> None:
    await rig.put_user("bob", sessions=1)
    first = rig.ssh("-tt", key="bob")
    await first.says("Hello bob.")
    second = rig.ssh("-tt", key="bob")
    assert await second.ends() == 255
    assert "as many sessions as you may have (1)" in second.said
    first.freeze()
    await asyncio.sleep(3.5)
    third = rig.ssh("-tt", key="bob")
    await third.says("Hello bob.")


async def test_nothing_is_left_behind(rig: Rig) -> None:
    """Descriptors of the door's process and of the workers, after clients that ended in every way."""
    with Peers() as peers:
        echo = peers.tcp_echo()
        await rig.put_user("bob", to=f"127.0.0.1:{echo.port}")
        words = (
            "-N",
            "-R",
            f"{rig.first}:127.0.0.1:{echo.port}",
            "-L",
            f"{rig.first + 1}:127.0.0.1:{echo.port}",
        )
        pids = [rig.door._process.pid, *rig.world.relay.worker_pids] if rig.door._process else []

        async def one_round(number: int) -> None:
            ssh = rig.ssh(*words, key="bob")
            await until_dials(rig.first)
            await until_dials(rig.first + 1)
            talkers = [await asyncio.to_thread(peers.dial, port) for port in (rig.first, rig.first + 1)]
            for talker in talkers:
                assert await asyncio.to_thread(talker.says_back, b"x" * 100_000)
            if number % 2:
                ssh.process.terminate()
            else:
                ssh.process.kill()
            assert (
                await asyncio.to_thread(talkers[0].ended) == "reset"
            )  # what was lost has not ended in order
            await until(lambda: rig.sessions() == 0)
            for talker in talkers:
                talker.close()

        await one_round(0)
        await one_round(1)
        before = [sockets_of(pid) for pid in pids]
        for number in range(4):
            await one_round(number)
        await until(lambda: [sockets_of(pid) for pid in pids] == before)
        assert before


def sockets_of(pid: int) -> int:
    """How many sockets a process has open. Workers keep pipes for the flows to come."""
    names = [os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()]
    return sum(name.startswith("socket:") for name in names)


async def test_racing_for_one_port(rig: Rig) -> None:
    await rig.put_user("bob")
    words = ("-N", "-v", "-R", f"{rig.first}:127.0.0.1:1")
    racers = [rig.ssh(*words, key=key) for key in ("alice", "bob") * 3]
    outcomes = ("remote forward success", "remote port forwarding failed")
    await until(lambda: all(any(word in racer.read() for word in outcomes) for racer in racers))
    won = ["remote forward success" in racer.said for racer in racers]
    assert any(won)
    assert {won[0::2].count(True), won[1::2].count(True)} == {0, 3}
    (mapping,) = rig.world.ledger.snapshot
    assert mapping.lease is not None
    assert mapping.lease.generation == 3
    holders = [each for each in rig.door.facts().sessions if each.mappings]
    assert [each.mappings for each in holders] == [(mapping.id,)]
    assert str(mapping.owner) == f"key:{holders[0].user}"
