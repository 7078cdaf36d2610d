"""Bytes of users' channels are added up, and kept whatever becomes of sessions."""

from __future__ import annotations

from sekimori.daemon.channels import ChannelBytes


def test_what_a_user_carries_is_added_up() -> None:
    channels = ChannelBytes()
    assert channels.read() == {}
    channels.add("bob", 150)
    channels.add("eve", 1)
    before = channels.read()
    channels.add("bob", 7)
    assert before == {"bob": 150, "eve": 1}
    assert channels.read() == {"bob": 157, "eve": 1}
