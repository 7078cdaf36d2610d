"""Bytes of users' channels are counted over the ends of their sessions."""

from __future__ import annotations

from sekimori.daemon.channels import ChannelBytes
from sekimori.model.linkfacts import SshSession


def session(user: str, port: int, into: int = 0, out: int = 0, since: float = 1.0) -> SshSession:
    return SshSession(
        user=user,
        fingerprint="SHA256:x",
        address="192.0.2.1",
        port=port,
        since=since,
        bytes_in=into,
        bytes_out=out,
    )


def test_what_ended_sessions_sent_stays_counted() -> None:
    sessions: list[SshSession] = []
    channels = ChannelBytes(lambda: sessions)
    assert channels.read() == {}
    sessions[:] = [session("bob", 1, 100, 50), session("bob", 2, 7), session("eve", 3, 1)]
    assert channels.read() == {"bob": 157, "eve": 1}
    sessions[:] = [session("bob", 2, 10)]
    assert channels.read() == {"bob": 160, "eve": 1}
    sessions[:] = [session("bob", 2, since=2.0)]  # the same port at another time is another session
    assert channels.read() == {"bob": 160, "eve": 1}


def test_to_look_twice_counts_nothing_twice() -> None:
    sessions = [session("bob", 1, 100)]
    channels = ChannelBytes(lambda: sessions)
    assert channels.read() == channels.read() == {"bob": 100}
    sessions.clear()
    assert channels.read() == channels.read() == {"bob": 100}
