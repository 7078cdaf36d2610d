"""Who may what: by the list, by the group, and by the kernel's word over a real socket."""

from __future__ import annotations

import asyncio
import grp
import json
import os
import pwd
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sekimori.doors.api.access import Access, Peer, Role, Visitor, read_peer
from sekimori.model.mapping import Owner, OwnerKind

if TYPE_CHECKING:
    from tests.doors.api.conftest import Served, Serving, World

NOBODY = pwd.getpwnam("nobody")
NOGROUP = grp.getgrgid(NOBODY.pw_gid).gr_name
NO_ENTRY = 3_999_999_999

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")


def _peer(uid: int) -> Peer:
    return Peer(1, uid, uid)


@pytest.mark.parametrize(
    ("uid", "access", "role"),
    [
        (0, Access(1000), Role.ADMIN),
        (NOBODY.pw_uid, Access(NOBODY.pw_uid), Role.ADMIN),
        (NOBODY.pw_uid, Access(0), Role.NONE),
        (NOBODY.pw_uid, Access(0, admins=["alice", "nobody"]), Role.ADMIN),
        (NOBODY.pw_uid, Access(0, viewers=["nobody"]), Role.VIEWER),
        (NOBODY.pw_uid, Access(0, admins=["nobody"], viewers=["nobody"]), Role.ADMIN),
        (NOBODY.pw_uid, Access(0, viewers=[f"@{NOGROUP}"]), Role.VIEWER),
        (NOBODY.pw_uid, Access(0, admins=[f"@{NOGROUP}"]), Role.ADMIN),
        (NOBODY.pw_uid, Access(0, admins=[NOGROUP, "@nobody-else", "@", ""]), Role.NONE),
        (NO_ENTRY, Access(0), Role.NONE),
        (NO_ENTRY, Access(0, viewers=["@root", "root"]), Role.NONE),
        (NO_ENTRY, Access(0, viewers=[str(NO_ENTRY)]), Role.VIEWER),
        (NO_ENTRY, Access(NO_ENTRY), Role.ADMIN),
    ],
)
def test_roles(uid: int, access: Access, role: Role) -> None:
    assert access.admit(_peer(uid)).role is role


def test_who_may_everything_is_known_the_second_time_and_nobody_else() -> None:
    access = Access(NO_ENTRY, admins=["nobody"])
    for uid, name in ((0, "root"), (NO_ENTRY, str(NO_ENTRY))):
        assert access.admit_at_once(_peer(uid)) is None
        assert access.admit(_peer(uid)) == access.admit_at_once(_peer(uid)) == Visitor(name, Role.ADMIN)
    assert access.admit(_peer(NOBODY.pw_uid)).role is Role.ADMIN
    assert access.admit_at_once(_peer(NOBODY.pw_uid)) is None  # it may have left the list's group since


def test_a_group_counts_for_its_added_members(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getgrouplist", lambda _name, gid: [gid, 0, 3_999_999])
    assert Access(0, viewers=[f"@{grp.getgrgid(0).gr_name}"]).admit(_peer(NOBODY.pw_uid)).role is Role.VIEWER
    assert Access(0, viewers=["@3999999"]).admit(_peer(NOBODY.pw_uid)).role is Role.VIEWER


def test_a_visitor_owns_by_name() -> None:
    assert Access(0).admit(_peer(NOBODY.pw_uid)).owner == Owner(OwnerKind.PERSON, "nobody")
    assert Access(0).admit(_peer(NO_ENTRY)).owner == Owner(OwnerKind.PERSON, str(NO_ENTRY))


def test_the_socket_is_open_to_others_only_where_others_may() -> None:
    assert Access(0).socket_mode == 0o660
    assert Access(0, viewers=["@staff"]).socket_mode == 0o666
    assert Access(0, admins=["alice"]).socket_mode == 0o666


def test_the_kernel_tells_the_peer() -> None:
    here, there = socket.socketpair(socket.AF_UNIX)
    with here, there:
        assert read_peer(here) == Peer(os.getpid(), os.geteuid(), os.getegid())


_CALL = """
import json, os, sys
from sekimori.client import Client
from sekimori.model.errors import Problem
os.setgroups([]); os.setgid({gid}); os.setuid({uid})
client = Client(sys.argv[1])
def call(method, *args):
    try:
        return ["ok", method(*args)]
    except Problem as problem:
        return [problem.code, problem.facts]
print(json.dumps({{
    "status": call(client.status),
    "ls": call(client.mappings),
    "export": call(client.export),
    "open": call(client.open, {{"ports": "8080", "to": "192.168.1.5", "from": "198.51.100.7"}}),
    "plan": call(client.open, {{"ports": "8081", "to": "192.168.1.5", "from": "198.51.100.7"}}, True),
    "close": call(client.close, "web"),
    "undo": call(client.undo),
    "apply": call(client.apply),
    "events": call(lambda: next(client.events())[0]),
}}))
"""


async def _as_nobody(path: Path) -> dict[str, Any]:
    """What nobody, in a process of its own, gets from every sort of call."""
    for directory in path.parents:
        if directory.stat().st_uid == os.geteuid() and str(directory) not in ("/", "/tmp"):
            directory.chmod(directory.stat().st_mode | 0o011)
    script = _CALL.format(uid=NOBODY.pw_uid, gid=NOBODY.pw_gid)
    # Read as root and run as nobody: the source tree may be closed to others.
    run = [sys.executable, "-c", script, str(path)]
    done = await asyncio.to_thread(
        subprocess.run, run, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    answers: dict[str, Any] = json.loads(done.stdout)
    return answers


WRITERS = ("open", "plan", "close", "undo", "apply")
READERS = ("status", "ls", "export", "events")


@as_root
@pytest.mark.loopback
async def test_a_stranger_may_nothing(serving: Serving, world: World, tmp_path: Path) -> None:
    async with serving(world, tmp_path / "s", mode=0o666):
        answers = await _as_nobody(tmp_path / "s")
    for name in (*READERS, *WRITERS):
        code, facts = answers[name]
        assert (code, facts["who"]) == ("not-permitted", "nobody"), name
    assert world.contexts == []


@as_root
@pytest.mark.loopback
async def test_a_viewer_may_look(serving: Serving, world: World, tmp_path: Path) -> None:
    access = Access(0, viewers=["nobody"])
    async with serving(world, tmp_path / "s", access, mode=access.socket_mode) as served:
        answers = await _as_nobody(served.path)
    assert answers["status"][1]["you"] == {"name": "nobody", "role": "viewer"}
    assert [answers[name][0] for name in READERS] == ["ok"] * len(READERS)
    assert [answers[name][0] for name in WRITERS] == ["not-permitted"] * len(WRITERS)
    assert world.contexts == []


@as_root
@pytest.mark.loopback
async def test_an_admin_owns_what_it_opens(serving: Serving, world: World, tmp_path: Path) -> None:
    access = Access(0, admins=[f"@{NOGROUP}"])
    async with serving(world, tmp_path / "s", access, mode=access.socket_mode) as served:
        answers = await _as_nobody(served.path)
    assert answers["open"][1]["mappings"][0]["owner"] == "person:nobody"
    assert answers["plan"][1]["planned"] is True


@as_root
@pytest.mark.loopback
async def test_a_closed_socket_is_told_as_not_permitted(served: Served) -> None:
    answers = await _as_nobody(served.path)
    for name in (*READERS, *WRITERS):
        code, facts = answers[name]
        assert (code, facts["who"]) == ("not-permitted", "nobody"), name
        assert str(served.path) in facts["what"]["en"]


async def test_strangers_and_viewers_cannot_fill_the_memory(
    serving: Serving, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A body is bounded by who sends it, before it is read."""
    body = b'{"text": "' + b"x" * 100_000 + b'"}'
    for role, status in ((Role.NONE, 403), (Role.VIEWER, 413), (Role.ADMIN, 200)):
        monkeypatch.setattr(Access, "admit", lambda _self, _peer, role=role: Visitor("someone", role))
        path = tmp_path / role.name
        async with serving(world, path) as served:
            assert (await served.send("POST", "/v1/apply", body))[0] == status
