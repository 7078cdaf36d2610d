"""A link is tried in a process of its own, against OpenSSH's server."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sekimori.model.errors import Problem
from sekimori.model.link import Link, SshPlace
from sekimori.model.linkfacts import KeyStanding
from sekimori.model.mapping import Owner, OwnerKind
from sekimori.planes.link import probe
from sekimori.testing.ports import free_ports
from sekimori.testing.sshd import Sshd, make_key, why_no_sshd

pytestmark = [
    pytest.mark.loopback,
    pytest.mark.skipif(why_no_sshd() is not None, reason=str(why_no_sshd())),
]


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    with Sshd(tmp_path / "far") as made:
        yield made


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without keys and known hosts of whoever runs the tests."""
    (tmp_path / ".ssh").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return tmp_path


def link_to(sshd: Sshd, **given: object) -> Link:
    link = Link(
        name="far",
        owner=Owner(OwnerKind.PERSON, "alice"),
        place=SshPlace.parse(sshd.url),
        identity=(str(sshd.key),),
        config="none",
        host_keys=(sshd.host_key_line,),
    )
    return replace(link, **given)  # type: ignore[arg-type]


async def test_a_key_that_nobody_knows_yet_is_shown(sshd: Sshd) -> None:
    (key,) = await probe.scan(link_to(sshd, host_keys=()))
    assert key.standing is KeyStanding.UNKNOWN
    assert key.line == sshd.host_key_line
    assert key.fingerprint.startswith("SHA256:")


async def test_a_key_that_is_in_known_hosts_or_pinned_or_another(sshd: Sshd, home: Path) -> None:
    (pinned,) = await probe.scan(link_to(sshd))
    assert pinned.standing is KeyStanding.PINNED
    known = home / ".ssh" / "known_hosts"
    known.write_text(f"[127.0.0.1]:{sshd.port} {pinned.algorithm} {pinned.key}\n", encoding="ascii")
    (found,) = await probe.scan(link_to(sshd, host_keys=()))
    assert found.standing is KeyStanding.KNOWN
    sshd.kill()
    sshd.new_host_key()
    sshd.start()
    (changed,) = await probe.scan(link_to(sshd, host_keys=()))
    assert changed.standing is KeyStanding.CHANGED
    assert changed.expected == (pinned.fingerprint,)


async def test_a_server_behind_a_jump_is_asked_once_the_jump_is_trusted(sshd: Sshd, tmp_path: Path) -> None:
    with Sshd(tmp_path / "jump") as jump:
        shutil.copy(f"{sshd.key}.pub", jump.authorized)
        through = link_to(sshd, host_keys=(), jump=(SshPlace.parse(jump.url),))
        (first,) = await probe.scan(through)
        assert (first.place, first.standing) == (jump.url, KeyStanding.UNKNOWN)
        both = await probe.scan(replace(through, host_keys=(jump.host_key_line,)))
        assert [key.place for key in both] == [jump.url, sshd.url]
        assert [key.standing for key in both] == [KeyStanding.PINNED, KeyStanding.UNKNOWN]


async def test_nobody_is_there(sshd: Sshd) -> None:
    place = SshPlace.parse(f"ssh://127.0.0.1:{free_ports()}")
    with pytest.raises(Problem) as refused:
        await probe.scan(link_to(sshd, place=place))
    assert refused.value.code == "link-refused"
    tried = await probe.test(link_to(sshd, place=place))
    assert tried.problem is not None
    assert tried.problem.code == "link-refused"


async def test_what_may_be_done_there(sshd: Sshd) -> None:
    tried = await probe.test(link_to(sshd))
    assert tried.problem is None
    assert (tried.local, tried.remote, tried.sekimori) == (True, True, False)
    assert tried.server.startswith("SSH-2.0-OpenSSH")
    assert tried.rtt is not None
    assert set(tried.algorithms) >= {"kex", "cipher", "host_key"}
    assert "gcm" in tried.algorithms["cipher"]


async def test_a_server_that_lets_nothing_through_says_so(tmp_path: Path) -> None:
    with Sshd(tmp_path / "closed", {"AllowTcpForwarding": "no"}) as closed:
        tried = await probe.test(link_to(closed))
    assert tried.problem is None
    assert (tried.local, tried.remote) == (False, False)
    assert tried.local_why


async def test_who_is_not_let_in(sshd: Sshd, tmp_path: Path) -> None:
    stranger = make_key(tmp_path / "stranger")
    tried = await probe.test(link_to(sshd, identity=(str(stranger),)))
    assert tried.problem is not None
    assert tried.problem.code == "link-auth"


async def test_another_key_than_the_pinned_one_is_not_talked_to(sshd: Sshd) -> None:
    sshd.kill()
    sshd.new_host_key()
    pinned = link_to(sshd)
    sshd.new_host_key()
    sshd.start()
    tried = await probe.test(pinned)
    assert tried.problem is not None
    assert tried.problem.code == "host-key-changed"


async def test_who_does_not_speak_is_given_up(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_LONGEST", 0.5)
    before = len(os.listdir("/proc/self/fd"))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = SshPlace.parse(f"ssh://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(Problem) as refused:
            await probe.scan(link_to(sshd, place=place))
    assert refused.value.code == "link-timeout"
    assert len(os.listdir("/proc/self/fd")) <= before + 1
