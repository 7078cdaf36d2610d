"""One connection of a link, kept."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import asyncssh
import pytest

from sekimori.model.errors import Problem
from sekimori.model.link import LinkPhase
from sekimori.planes.link.joining import join
from sekimori.planes.link.resolving import Plan
from sekimori.planes.link.strand import Condition, Strand

pytestmark = pytest.mark.loopback


class HangsUp(asyncssh.SSHServer):
    """Lets everybody in, and ends the connection at the first thing that is asked."""

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        cast(Any, conn)._process_keepalive_at_openssh_dot_com_global_request = lambda _packet: conn.abort()

    def begin_auth(self, username: str) -> bool:
        return False


async def test_a_server_that_hangs_up_after_the_login_never_was_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    key = asyncssh.generate_private_key("ssh-ed25519")
    told: list[Condition] = []
    waiting = asyncio.Event()

    def changed(strand: Strand) -> None:
        told.append(strand.condition)
        if strand.condition.phase is LinkPhase.WAITING:
            waiting.set()

    async with await asyncssh.create_server(HangsUp, "127.0.0.1", 0, server_host_keys=[key]) as server:
        place = f"ssh://x@127.0.0.1:{server.get_port()}"
        pin = f"{place} {key.export_public_key().decode().strip()}"
        link = {"name": "vps", "place": place, "config": "none", "host_keys": [pin]}
        async with asyncio.TaskGroup() as tasks, asyncio.timeout(10):
            running = tasks.create_task(Strand(link, changed).run())
            await waiting.wait()
            running.cancel()
    assert LinkPhase.UP not in [each.phase for each in told]
    assert told[-1].why is not None
    assert told[-1].why.code == "link-cut"


async def test_every_hop_exchanges_keys_so_that_nothing_can_be_cut_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    key = asyncssh.generate_private_key("ssh-ed25519")

    class Old(asyncssh.SSHServer):
        """As before 2023: without strict key exchange, and without GCM."""

        def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
            never = property(lambda _conn: False, lambda _conn, _value: None)
            members = {"_strict_kex": never, "_get_extra_kex_algs": lambda _conn: []}
            cast(Any, conn).__class__ = type("OldConnection", (type(conn),), members)

        def begin_auth(self, username: str) -> bool:
            return False

        def connection_requested(self, host: str, port: int, orig_host: str, orig_port: int) -> bool:
            return True

    ciphers = ["aes256-ctr"]
    async with await asyncssh.create_server(
        Old, "127.0.0.1", 0, server_host_keys=[key], encryption_algs=ciphers
    ) as server:
        old = f"ssh://x@127.0.0.1:{server.get_port()}"
        place = f"ssh://x@localhost:{server.get_port()}"
        public = key.export_public_key().decode().strip()
        pins = [f"{old} {public}", f"{place} {public}"]
        link = {"name": "vps", "place": place, "jump": [old], "config": "none", "host_keys": pins}
        with pytest.raises(Problem) as refused:
            await join(Plan.read(link))
    assert (refused.value.code, refused.value.facts["place"]) == ("link-no-strict", old)
