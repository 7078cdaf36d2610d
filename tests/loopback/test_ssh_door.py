"""The SSH door with stock ssh as its client: what is opened, told, kept and refused."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import struct
import time
from base64 import b64encode
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from types import SimpleNamespace
from typing import cast

import asyncssh
import pytest

from sekimori.gate.ports import Gate, Outcome
from sekimori.model.actual import Counters
from sekimori.model.request import Ask, Context
from sekimori.model.user import Bind
from sekimori.observe.guard.quotas import Quotas
from sekimori.testing.peers import Peers
from sekimori.testing.ports import free_ports
from sekimori.testing.sshd import Sshd, make_key
from tests.planes.link.linkprocess import try_once

from .ssh_rig import Client, Rig, dials, rigged, until, until_dials, why_not

pytestmark = [pytest.mark.loopback, pytest.mark.skipif(why_not() is not None, reason=str(why_not()))]


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rigged(tmp_path) as made:
        yield made


async def test_a_port_is_opened_told_and_kept(rig: Rig) -> None:
    with Peers() as peers:
        echo = peers.tcp_echo()
        ssh = rig.ssh("-tt", "-R", f"{rig.first}:127.0.0.1:{echo.port}")
        said = await ssh.says(f"203.0.113.5:{rig.first} is open to 127.0.0.0/8 until 20")
        assert "Hello alice." in said
        assert await dials(rig.first) == b"hello"
        await ssh.says(f"203.0.113.5:{rig.first}: 127.0.0.1:", "connected", "left after", "10 bytes")
        mapping = rig.port_of(f"alice-{rig.first}")
        assert str(mapping.owner) == "key:alice"
        assert mapping.lease is not None
        assert mapping.lease.generation == 1
        ssh.type("q")
        assert await ssh.ends() == 0
        assert "Your ports stay yours for 1h" in ssh.said
        await until(lambda: rig.why(mapping.name) == "client-away")
        assert await dials(rig.first) == b""


async def test_who_holds_no_port_is_promised_none(rig: Rig) -> None:
    ssh = rig.ssh("-tt")
    await ssh.says("No port was asked for")
    ssh.type("q")
    assert await ssh.ends() == 0
    assert "Good bye." in ssh.said
    assert "stay yours" not in ssh.said


async def test_a_link_that_is_tried_here_is_told_what_it_may(rig: Rig) -> None:
    place = f"ssh://alice@127.0.0.1:{rig.port}"
    asked = {"url": place, "key": rig.key("alice"), "host_key_line": f"{place} {await _host_key(rig)}"}
    found = await asyncio.to_thread(try_once, "--test", cast(Sshd, SimpleNamespace(**asked)))
    assert (found["problem"], found["sekimori"], found["remote"]) == (None, True, True)
    # Where its users may go is said of each destination, and not of a port that nobody asks for.
    assert (found["local"], found["local_why"], found["outside"]) == (None, "", None)


async def _host_key(rig: Rig) -> str:
    key = await asyncssh.get_server_host_key("127.0.0.1", rig.port, config=None)
    assert key is not None
    return key.export_public_key().decode().strip()


async def test_visits_are_told_to_terminals_only_and_many_in_sum(rig: Rig) -> None:
    with Peers() as peers:
        echo = peers.tcp_echo()
        shown = rig.ssh("-tt", "-R", f"{rig.first}:127.0.0.1:{echo.port}")
        silent = rig.ssh("-v", "-N", "-R", f"{rig.first + 1}:127.0.0.1:{echo.port}")
        await shown.says(f"203.0.113.5:{rig.first} is open")
        await silent.says(f"203.0.113.5:{rig.first + 1} is open")
        for port in (rig.first, rig.first + 1):
            assert await asyncio.gather(*(dials(port) for _ in range(40))) == [b"hello"] * 40
        await until(lambda: told(shown) == 80)
        lines = [line for line in shown.said.splitlines() if " connected" in line or " left after" in line]
        seconds = shown.said.count("more lines")
        assert 1 <= seconds < 10
        assert len(lines) <= 5 * (seconds + 1)
        assert " left after" not in silent.read()


def told(ssh: Client) -> int:
    """How many lines about visits it has shown, or summed up."""
    words = ssh.read().split()
    more = sum(
        int(words[at - 2]) for at, word in enumerate(words) if words[at - 1 : at + 1] == ["more", "lines"]
    )
    return words.count("connected") + words.count("left") + more


async def test_any_port_and_the_same_again(rig: Rig) -> None:
    with Peers() as peers:
        echo = peers.tcp_echo()
        ssh = rig.ssh("-N", "-R", f"0:127.0.0.1:{echo.port}", "-R", f"*:0:127.0.0.1:{echo.port}")
        said = await ssh.says("Allocated port", "for remote forward to")
        await until(lambda: ssh.read().count("Allocated port") == 2)
        ports = [int(line.split()[2]) for line in ssh.said.splitlines() if line.startswith("Allocated")]
        assert sorted(ports) == [rig.first, rig.first + 1], said
        assert [await dials(port) for port in ports] == [b"hello"] * 2
        ssh.close()
        await until(lambda: rig.sessions() == 0)
        again = rig.ssh("-N", "-R", f"0:127.0.0.1:{echo.port}")
        await again.says(f"Allocated port {ports[0]}")
        assert await dials(ports[0]) == b"hello"


async def test_what_is_not_granted_ends_the_client_that_wants_it_so(rig: Rig) -> None:
    ssh = rig.ssh("-N", "-R", "22:127.0.0.1:1")
    assert await ssh.ends() == 255
    assert "remote port forwarding failed for listen port 22" in ssh.said


async def test_a_refusal_is_told_with_what_to_do(rig: Rig) -> None:
    ssh = rig.ssh("-tt", "-o", "ExitOnForwardFailure=no", "-R", "22:127.0.0.1:1")
    said = await ssh.says("localhost:22 is not open: cannot open")
    assert f"{rig.first}-{rig.first + 9}" in said
    ssh.type("\x03")
    assert await ssh.ends() == 0


async def test_japanese(rig: Rig) -> None:
    rig.ssh("-tt", "-o", "SetEnv=LANG=ja_JP.UTF-8", "-R", f"{rig.first}:127.0.0.1:1")
    await rig.clients[0].says("alice さん", "を開きました")
    rig.clients[0].type("\x04")
    assert await rig.clients[0].ends() == 0


@pytest.mark.parametrize(
    ("options", "command", "code"),
    [([], "id", 1), (["-s"], "sftp", 255), (["-tt"], "sh -i", 1), (["-X"], "id", 1), (["-A"], "id", 1)],
)
async def test_nothing_runs(rig: Rig, options: list[str], command: str, code: int) -> None:
    ssh = rig.run("ssh", *rig.options(), *options, "x@127.0.0.1", command)
    assert await ssh.ends() == code
    assert "uid=" not in ssh.said
    if code == 1:
        assert "nothing runs here" in ssh.said


async def test_local_dynamic_and_jump_where_granted(rig: Rig) -> None:
    with Peers() as peers:
        echo, other = peers.tcp_echo(), peers.tcp_echo()
        await rig.put_user("bob", to=f"127.0.0.1:{echo.port}")
        local, socks, third = rig.first, rig.first + 1, rig.first + 2
        ssh = rig.ssh(
            "-N",
            *("-L", f"{local}:127.0.0.1:{echo.port}"),
            *("-L", f"{third}:127.0.0.1:{other.port}"),
            *("-D", f"127.0.0.1:{socks}"),
            key="bob",
        )
        await until(lambda: rig.sessions() == 1)
        await until_dials(local)
        assert await dials(third) == b""
        await ssh.says("administratively prohibited")
        assert other.seen == []
        before = len(echo.seen)
        curl = ("curl", "-s", "-m", "5", "--socks5", f"127.0.0.1:{socks}")
        rig.run(*curl, f"telnet://127.0.0.1:{echo.port}")
        await until(lambda: len(echo.seen) > before)
        assert await rig.run(*curl, f"telnet://127.0.0.1:{other.port}").ends() == 97  # the proxy refused
        assert other.seen == []
        jump = rig.run("ssh", *rig.options("bob"), "-W", f"127.0.0.1:{echo.port}", "x@127.0.0.1")
        jump.type("through")
        await jump.says("through")


async def test_a_port_that_the_client_gives_up_closes(rig: Rig, tmp_path: Path) -> None:
    with Peers() as peers:
        echo = peers.tcp_echo()
        control = ("-o", f"ControlPath={tmp_path}/c")
        forward = ("-R", f"{rig.first}:127.0.0.1:{echo.port}")
        rig.ssh("-N", "-M", *control, *forward)
        await until_dials(rig.first)
        assert await rig.run("ssh", *control, "-O", "cancel", *forward, "x@127.0.0.1").ends() == 0
        await until(lambda: rig.world.named(f"alice-{rig.first}") is None)
        assert await dials(rig.first) == b""
        assert await rig.run("ssh", *control, "-O", "forward", *forward, "x@127.0.0.1").ends() == 0
        await until_dials(rig.first)


async def test_a_new_session_takes_over_from_one_that_is_frozen(rig: Rig) -> None:
    with Peers() as peers:
        old, new = peers.tcp_echo(tag=b"old"), peers.tcp_echo(tag=b"new")
        first = rig.ssh("-N", "-R", f"{rig.first}:127.0.0.1:{old.port}")
        await until(lambda: len(old.seen) > 0 or rig.world.named(f"alice-{rig.first}") is not None)
        await until_answers(rig.first, b"old")
        first.freeze()
        before = time.monotonic()
        second = rig.ssh("-tt", "-R", f"{rig.first}:127.0.0.1:{new.port}")
        await second.says("is open to", "(yours from before)")
        assert await dials(rig.first, b"new") == b"new"
        assert time.monotonic() - before < 3
        await until(lambda: rig.sessions() == 1)  # the frozen one is found out
        assert time.monotonic() - before < 10
        mapping = rig.port_of(f"alice-{rig.first}")
        assert mapping.lease is not None
        assert mapping.lease.generation == 2
        assert await dials(rig.first, b"new") == b"new"
        first.thaw()
        assert await first.ends() == 255
        assert rig.why(mapping.name) == ""


async def test_the_session_that_lost_its_port_is_told(rig: Rig) -> None:
    first = rig.ssh("-tt", "-R", f"{rig.first}:127.0.0.1:1")
    await first.says("is open to")
    second = rig.ssh("-tt", "-R", f"{rig.first}:127.0.0.1:1")
    await second.says("is open to")
    await first.says("is now held by a newer session of yours, from 127.0.0.1")
    first.type("q")
    assert await first.ends() == 0
    await until(lambda: rig.sessions() == 1)
    assert rig.why(f"alice-{rig.first}") == ""


async def test_nobody_else_gets_a_port_that_is_kept(rig: Rig) -> None:
    await rig.put_user("bob")
    first = rig.ssh("-N", "-R", f"{rig.first}:127.0.0.1:1")
    await until(lambda: rig.world.named(f"alice-{rig.first}"))
    refused = rig.ssh("-N", "-R", f"{rig.first}:127.0.0.1:1", key="bob")
    assert await refused.ends() == 255
    first.close()
    await until(lambda: rig.why(f"alice-{rig.first}") == "client-away")
    assert await rig.ssh("-N", "-R", f"{rig.first}:127.0.0.1:1", key="bob").ends() == 255
    kept = rig.port_of(f"alice-{rig.first}").lifetime.expires_at
    assert kept is not None
    assert 3500 < kept - rig.world.clock.now() <= 3600
    rig.ssh("-N", "-R", f"{rig.first}:127.0.0.1:1")
    await until(lambda: rig.why(f"alice-{rig.first}") == "")
    again = rig.port_of(f"alice-{rig.first}").lifetime.expires_at
    assert again is not None
    assert again - rig.world.clock.now() > 80_000


async def test_the_port_comes_back_after_each_end_was_killed(rig: Rig) -> None:
    with Peers() as peers:
        echo = peers.tcp_echo()
        words = ("-N", "-R", f"{rig.first}:127.0.0.1:{echo.port}")
        client = rig.ssh(*words)
        await until_dials(rig.first)
        client.close()
        client = rig.ssh(*words)
        await until_dials(rig.first)
        process = rig.door._process
        assert process is not None
        os.kill(process.pid, signal.SIGKILL)
        assert await client.ends() == 255
        await until(lambda: rig.door._is_ready and rig.door._process is not process)
        rig.ssh(*words)
        await until_dials(rig.first)
    assert len(rig.world.ledger.snapshot) == 1


async def test_a_user_that_is_removed_is_gone_at_once(rig: Rig) -> None:
    ssh = rig.ssh("-tt", "-R", f"{rig.first}:127.0.0.1:1")
    await ssh.says("is open to")
    await rig.remove_user("alice")
    await ssh.says("this key is not let in any more")
    await ssh.ends()
    assert rig.world.named(f"alice-{rig.first}") is None
    refused = rig.ssh("-N")
    assert await refused.ends() == 255
    assert "Permission denied (publickey)" in refused.said


async def test_a_port_that_others_close_pause_or_change_is_told(rig: Rig) -> None:
    ssh = rig.ssh("-tt", "-R", f"{rig.first}:127.0.0.1:1", "-R", f"{rig.first + 1}:127.0.0.1:1")
    await ssh.says(f"5:{rig.first} is open to", f"5:{rig.first + 1} is open to")
    await rig.world.edit(f"alice-{rig.first}", from_="192.0.2.0/24")
    await ssh.says("is open to 192.0.2.0/24 until", "from now on")
    await rig.world.shut(f"alice-{rig.first}")
    await ssh.says(f"5:{rig.first} was closed: somebody closed it")
    await rig.world.pause(f"alice-{rig.first + 1}")
    await ssh.says(f"5:{rig.first + 1} was closed: somebody paused it")


async def test_another_grant_counts_for_connections_that_stand(rig: Rig) -> None:
    with Peers() as peers:
        echo = peers.tcp_echo()
        await rig.put_user("bob", to=f"127.0.0.1:{echo.port}")
        rig.ssh("-N", "-L", f"{rig.first}:127.0.0.1:{echo.port}", key="bob")
        await until_dials(rig.first)
        talker = peers.dial(rig.first)
        assert await asyncio.to_thread(talker.says_back, b"x")
        await rig.put_user("bob", to="none")
        assert await asyncio.to_thread(talker.ended) in ("closed", "reset")
        assert await dials(rig.first) == b""


async def test_a_quota_that_is_used_up_holds_for_channels_until_it_is_renewed(rig: Rig) -> None:
    with Peers() as peers:
        echo = peers.tcp_echo()
        await rig.put_user("bob", to=f"127.0.0.1:{echo.port}", quota="10G")
        ssh = rig.ssh("-N", "-L", f"{rig.first}:127.0.0.1:{echo.port}", key="bob")
        await until_dials(rig.first)
        talker = peers.dial(rig.first)
        assert await asyncio.to_thread(talker.says_back, b"x")
        rig.accounts.names.add("bob")
        assert await asyncio.to_thread(talker.ended) in ("closed", "reset")
        assert await dials(rig.first) == b""
        await ssh.says(f"127.0.0.1:{echo.port} may not be reached: the 10G of every 30d are used up")
        shown = rig.ssh("-tt", key="bob")
        await shown.says("Hello bob.", "Your 10G of every 30d are used up")
        rig.accounts.names.clear()
        await shown.says("You may carry 10G in 30d again.")
        await until_dials(rig.first)  # by the session that was there all the time


async def test_who_had_used_up_the_quota_before_the_door_came_back(rig: Rig) -> None:
    with Peers() as peers:
        echo = peers.tcp_echo()
        await rig.put_user("bob", to=f"127.0.0.1:{echo.port}", quota="10G")
        rig.accounts.names.add("bob")
        shown = rig.ssh("-tt", key="bob")
        await shown.says("are used up")
        assert rig.door._process is not None
        os.kill(rig.door._process.pid, signal.SIGKILL)
        await shown.ends()
        await until(lambda: rig.door._is_ready)
        refused = rig.run("ssh", *rig.options("bob"), "-W", f"127.0.0.1:{echo.port}", "x@127.0.0.1")
        await refused.says("the 10G of every 30d are used up")
        assert echo.seen == []


async def test_many_short_sessions_are_counted_to_the_last_byte(rig: Rig) -> None:
    with Peers() as peers:
        echo = peers.tcp_echo()
        await rig.put_user("bob", to=f"127.0.0.1:{echo.port}")
        for number in range(1, 4):
            jump = rig.run("ssh", *rig.options("bob"), "-W", f"127.0.0.1:{echo.port}", "x@127.0.0.1")
            jump.type("x" * 1000)
            await jump.says("x" * 1000)
            jump.close()
            await until(lambda total=2000 * number: rig.accounts.bytes["bob"] >= total)  # type: ignore[misc]
        assert rig.accounts.bytes == {"bob": 6000}


async def test_a_quota_is_used_up_by_short_sessions_and_begins_anew(rig: Rig) -> None:
    world = rig.world

    async def none_open(_ids: Sequence[str]) -> dict[str, Counters]:
        return {}

    quotas = Quotas(
        world.gate,
        lambda: world.ledger.snapshot,
        none_open,
        lambda: rig.accounts.bytes,
        rig.directory,
        world.clock,
    )

    async def looks() -> set[str]:
        await quotas.look()
        rig.accounts.names = {*quotas.used_up()}
        return rig.accounts.names

    with Peers() as peers:
        echo = peers.tcp_echo()
        await rig.put_user("bob", to=f"127.0.0.1:{echo.port}", quota="3K")
        for number in range(1, 4):
            assert await looks() == set()
            jump = rig.run("ssh", *rig.options("bob"), "-W", f"127.0.0.1:{echo.port}", "x@127.0.0.1")
            jump.type("x" * 600)
            await jump.says("x" * 600)
            jump.close()
            await until(lambda carried=1200 * number: rig.accounts.bytes["bob"] >= carried)  # type: ignore[misc]
        assert await looks() == {"bob"}
        rig.ssh("-N", "-L", f"{rig.first}:127.0.0.1:{echo.port}", key="bob")
        await until(lambda: rig.sessions() == 1)
        await until(lambda: rig.door._used_up == ["bob"])
        assert await dials(rig.first) == b""
        world.clock.advance(30 * 86400)
        assert await looks() == set()
        await until_dials(rig.first)


async def test_the_machines_own_networks_are_guarded_unless_they_are_named(rig: Rig) -> None:
    with Peers() as peers:
        echo = peers.tcp_echo()
        await rig.put_user("bob", to="anywhere")
        for name in ("127.0.0.1", "localhost", "127.1", "::ffff:127.0.0.1", "2130706433", "192.168.1.1"):
            place = f"[{name}]" if ":" in name else name
            said = await rig.run(
                "ssh", *rig.options("bob"), "-W", f"{place}:{echo.port}", "x@127.0.0.1"
            ).ends()
            assert said == 255, name
        assert echo.seen == []


@pytest.fixture
def guarded() -> Iterator[Path]:
    """A directory below which nobody else can write, as /tmp is not."""
    with TemporaryDirectory(dir=Path.home()) as path:
        yield Path(path)


async def test_keys_of_a_file(tmp_path: Path, guarded: Path) -> None:
    keys = guarded / "authorized_keys"
    first = free_ports(2)
    async with rigged(tmp_path, users=(), keys=keys, ports=f"{first}-{first + 1}", most="1") as rig:
        await until(lambda: str(keys) in rig.door.problems())
        assert await rig.ssh("-N").ends() == 255
        keys.write_text(f"# mine\nunheard-of {rig.public('carol')}\n{rig.public('alice')}\n")
        keys.chmod(0o666)
        await until(lambda: "may change" in rig.door.problems()[str(keys)].title())
        keys.chmod(0o600)
        await until(lambda: f"{keys}:2" in rig.door.problems())
        assert await rig.ssh("-N", key="carol").ends() == 255
        ssh = rig.ssh("-tt", "-R", f"{first}:127.0.0.1:1")
        await ssh.says("Hello key-alice-", f":{first} is open to LAN until")
        keys.write_text("")
        await ssh.says("this key is not let in any more")
        await ssh.ends()


async def test_a_file_of_keys_that_is_as_large_as_it_may_be_under_a_grant_of_many_words(
    tmp_path: Path, guarded: Path
) -> None:
    keys = guarded / "authorized_keys"
    others = (b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20" + n.to_bytes(32, "big") for n in range(9000))
    keys.write_text("".join(f"ssh-ed25519 {b64encode(each).decode()}\n" for each in others))
    keys.chmod(0o600)
    wide = [f"host-{number}.example.org:443" for number in range(300)]  # with each key: 70 MB
    async with rigged(tmp_path, users=(), keys=keys, to=wide) as rig:
        assert rig.door._process is not None
        pid = rig.door._process.pid
        with keys.open("a") as file:
            file.write(f"{rig.public('alice')}\n")
        await until(lambda: len(rig.door._keys.lines) == 9001)
        await rig.ssh("-tt").says("Hello key-alice-")
        assert rig.door._process.pid == pid
        assert rig.door.problems() == {}


async def test_who_is_connected(rig: Rig) -> None:
    rig.ssh("-N", "-R", f"{rig.first}:127.0.0.1:1")
    await until(lambda: any(each.mappings for each in rig.door.facts().sessions))
    facts = rig.door.facts()
    (key,) = facts.host_keys
    assert key.startswith("ssh-ed25519 SHA256:")
    (session,) = facts.sessions
    assert (session.user, session.address) == ("alice", "127.0.0.1")
    assert session.client.startswith("SSH-2.0-OpenSSH")
    assert session.mappings == (rig.port_of(f"alice-{rig.first}").id,)
    stored = rig.directory / "ssh-host-ed25519"
    assert stored.stat().st_mode & 0o777 == 0o600


async def until_answers(port: int, tag: bytes) -> None:
    end = time.monotonic() + 10
    while await dials(port, tag) != tag:
        assert time.monotonic() < end
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
async def test_kinds_of_keys(rig: Rig, kind: str) -> None:
    make_key(rig.directory / f"key-{kind}", kind)
    await rig.put_user(kind)
    await rig.ssh("-tt", key=kind).says(f"Hello {kind}.")


async def test_a_signature_with_sha1_is_not_taken(rig: Rig) -> None:
    make_key(rig.directory / "key-old", "rsa")
    await rig.put_user("old")
    refused = rig.ssh("-N", "-o", "PubkeyAcceptedAlgorithms=ssh-rsa", key="old")
    assert await refused.ends() == 255
    key = asyncssh.read_private_key(str(rig.key("old")))
    lax = asyncssh.load_keypairs([key])[0]
    lax.set_sig_algorithm(b"ssh-rsa")
    assert lax.sig_algorithm == b"ssh-rsa"
    with pytest.raises(asyncssh.PermissionDenied):
        await asyncssh.connect(
            "127.0.0.1",
            rig.port,
            known_hosts=None,
            client_keys=[lax],
            signature_algs=["ssh-rsa"],
            config=None,
        )


async def test_bytes_are_the_same_both_ways_while_keys_are_changed(rig: Rig) -> None:
    with Peers() as peers:
        echo = peers.tcp_echo()
        rig.ssh("-N", "-o", "RekeyLimit=1M", "-R", f"{rig.first}:127.0.0.1:{echo.port}")
        await until_dials(rig.first)
        transfer = peers.transfer(peers.dial(rig.first))
        await until(lambda: transfer.blocks * transfer.BLOCK > 12 << 20, 30)
        assert await asyncio.to_thread(transfer.finish) > 12 << 20


async def test_either_direction_ends_by_itself(rig: Rig) -> None:
    with Peers() as peers:
        echo = peers.tcp_echo()
        await rig.put_user("bob", to=f"127.0.0.1:{echo.port}")
        forward = f"127.0.0.1:{echo.port}"
        rig.ssh("-N", "-R", f"{rig.first}:{forward}", "-L", f"{rig.first + 1}:{forward}", key="bob")
        for port in (rig.first, rig.first + 1):
            await until_dials(port)
            talker = await asyncio.to_thread(peers.dial, port)
            talker.send(b"x" * 3_000_000)
            talker.sock.shutdown(socket.SHUT_WR)
            assert len(await asyncio.to_thread(talker.rest)) == 3_000_000


class HeldGate:
    """A gate that keeps to itself what came of `Bind` until its user may know."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self.may_know: dict[str, asyncio.Event] = defaultdict(asyncio.Event)

    async def enact(self, asks: Sequence[Ask], context: Context) -> Outcome:
        outcome = await self._gate.enact(asks, context)
        if isinstance(asks[0], Bind):
            await self.may_know[context.actor.id].wait()
        return outcome


async def test_what_a_process_asked_that_has_ended_is_not_told_to_the_next(rig: Rig) -> None:
    gate = HeldGate(rig.world.gate)
    rig.door._holding._gate = cast(Gate, gate)
    await rig.put_user("bob")
    rig.ssh("-N", "-R", f"{rig.first}:127.0.0.1:1")
    await until(lambda: rig.world.named(f"alice-{rig.first}"))
    process = rig.door._process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    await until(lambda: rig.door._is_ready and rig.door._process is not process)
    other = rig.ssh("-tt", "-R", f"{rig.first + 1}:127.0.0.1:1", key="bob")
    await until(lambda: rig.world.named(f"bob-{rig.first + 1}"))
    gate.may_know["alice"].set()
    await until(lambda: rig.why(f"alice-{rig.first}") == "client-away")
    gate.may_know["bob"].set()
    assert f":{rig.first} is open" not in await other.says(f":{rig.first + 1} is open")
    (session,) = rig.door.facts().sessions
    assert session.mappings == (rig.port_of(f"bob-{rig.first + 1}").id,)


async def test_a_destination_that_resets_at_once_ends_no_connection(rig: Rig) -> None:
    def reset_all(listening: socket.socket) -> None:
        with suppress(OSError):  # the test is over
            while True:
                sock, _ = listening.accept()
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.close()

    with socket.create_server(("127.0.0.1", 0), backlog=512) as listening:
        port = listening.getsockname()[1]
        thread = Thread(target=reset_all, args=(listening,))
        thread.start()
        try:
            await rig.put_user("bob", to=f"127.0.0.1:{port}")
            ssh = rig.ssh("-N", "-q", "-L", f"{rig.first}:127.0.0.1:{port}", key="bob")
            await until(lambda: rig.sessions() == 1)
            for _ in range(10):
                assert not any(await asyncio.gather(*(dials(rig.first) for _ in range(40))))
            assert ssh.process.poll() is None
            assert rig.sessions() == 1
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            await asyncio.to_thread(thread.join)
