"""Lines of host keys: about a place of the link, whole keys, and one form."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekimori.model.causes import Unreadable
from sekimori.model.link import Link, SshPlace
from sekimori.testing.publickeys import public_key
from sekimori.testing.strategies_settings import links
from sekimori.wire.hostkeyline import HostKeyLine

KEY = public_key("server").rpartition(" ")[0]
SERVER, JUMP = SshPlace.parse("alice@vps.example:2222"), SshPlace.parse("jump.example")


@given(links())
def test_the_lines_of_any_link_are_read_back(link: Link) -> None:
    for line in link.host_keys:
        assert str(HostKeyLine.parse(line, (link.place, *link.jump))) == line


@pytest.mark.parametrize(
    ("line", "read"),
    [
        (KEY, f"{SERVER} {KEY}"),
        (f"cert-authority {KEY}", f"{SERVER} cert-authority {KEY}"),
        (f"jump.example  {KEY}", f"{JUMP} {KEY}"),
        (f"alice@vps.example:2222 cert-authority {KEY}", f"{SERVER} cert-authority {KEY}"),
    ],
)
def test_without_a_place_it_is_the_servers(line: str, read: str) -> None:
    assert str(HostKeyLine.parse(line, (SERVER, JUMP), SERVER)) == read


@pytest.mark.parametrize(
    "line",
    [
        "",
        KEY,  # nothing is usual here
        f"{KEY} comment",
        f"{SERVER} {KEY} comment",
        f"ssh://other.example {KEY}",
        f"ftp://vps.example {KEY}",
        f"{SERVER} cert-authority cert-authority {KEY}",
        f"{SERVER} ssh-ed25519 AAAA",
        f"{SERVER} ssh-dss {KEY.split()[1]}",
        f"{SERVER} ssh-rsa {KEY.split()[1]}",
    ],
)
def test_what_is_no_such_line(line: str) -> None:
    with pytest.raises(Unreadable):
        HostKeyLine.parse(line, (SERVER, JUMP))


@given(st.text(max_size=80))
def test_any_text_is_read_or_refused(line: str) -> None:
    try:
        found = HostKeyLine.parse(line, (SERVER, JUMP), SERVER)
    except Unreadable:
        return
    assert HostKeyLine.parse(str(found), (SERVER, JUMP)) == found
