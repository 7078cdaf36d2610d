"""Where an SSH server is, as people write it."""

from __future__ import annotations

import pytest

from sekimori.model.errors import Problem
from sekimori.model.link import SshPlace


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("ssh://alice@vps.example:2222", SshPlace("vps.example", "alice", 2222)),
        ("alice@vps.example", SshPlace("vps.example", "alice")),
        (" VPS.example ", SshPlace("vps.example")),
        ("ssh://alice@[::1]:2222", SshPlace("::1", "alice", 2222)),
        ("ssh://[fe80::1%25eth0]", SshPlace("fe80::1%eth0")),
        ("ssh://[fe80::1%eth0]", SshPlace("fe80::1%eth0")),
        ("ssh://CORP\\alice@h", SshPlace("h", "CORP\\alice")),
        ("ssh://alice+backup@h", SshPlace("h", "alice+backup")),
        ("ssh://alice%40corp.example@h", SshPlace("h", "alice@corp.example")),
        ("alice@corp.example@h", SshPlace("h", "alice@corp.example")),
    ],
)
def test_a_place_is_read_and_written_back(text: str, place: SshPlace) -> None:
    assert SshPlace.parse(text) == place
    assert SshPlace.parse(str(place)) == place


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ssh://",
        "http://h",
        "h/path",
        "ssh://h:0",
        "ssh://h:65536",
        "ssh://h:many",
        "ssh://ho\tst",
        "ssh://ho\nst",
        "user@::1",
        "-oProxyCommand@h",
        "$(id)@h",
        "a%20b@h",
        "alice\\@h",
    ],
)
def test_what_is_no_place(text: str) -> None:
    with pytest.raises(Problem) as refused:
        SshPlace.parse(text)
    assert refused.value.code == "bad-link"


@pytest.mark.parametrize("text", ["ssh://u:secret@h", "ssh://u:secret@h:99999", "ssh://u:secret@h/path"])
def test_a_password_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(Problem) as refused:
        SshPlace.parse(text)
    assert "never with passwords" in refused.value.title()
    assert "secret" not in refused.value.title()
