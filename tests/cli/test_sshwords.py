"""ssh's own spellings of forwarding: every form of ssh(1), and what is refused."""

from __future__ import annotations

import pytest

from sekimori.cli.misuse import Misuse
from sekimori.cli.sshwords import Forwarding, Place, read_destination, read_dynamic, read_local, read_remote

HERE = "127.0.0.1"


@pytest.mark.parametrize(
    ("text", "ports", "to", "on", "wide"),
    [
        ("8080:db:80", "tcp/8080", "db:80", HERE, False),
        ("localhost:8080:db:80", "tcp/8080", "db:80", HERE, False),
        ("127.0.0.1:8080:db:80", "tcp/8080", "db:80", HERE, False),
        ("[::1]:8080:db:80", "tcp/8080", "db:80", "::1", False),
        (":8080:db:80", "tcp/8080", "db:80", "", True),
        ("*:8080:db:80", "tcp/8080", "db:80", "", True),
        ("192.168.1.1:8080:db:80", "tcp/8080", "db:80", "192.168.1.1", True),
        ("8080:[2001:db8::5]:80", "tcp/8080", "[2001:db8::5]:80", HERE, False),
        ("[fd00::1]:8080:[fd00::5]:80", "tcp/8080", "[fd00::5]:80", "fd00::1", True),
        ("8080:/run/app.sock", "tcp/8080", "unix:/run/app.sock", HERE, False),
        ("*:8080:/run/app.sock", "tcp/8080", "unix:/run/app.sock", "", True),
        ("/tmp/a.sock:db:5432", "unix:/tmp/a.sock", "db:5432", "", False),
        ("/tmp/a.sock:/run/app.sock", "unix:/tmp/a.sock", "unix:/run/app.sock", "", False),
        ("/tmp/a.sock:[::1]:80", "unix:/tmp/a.sock", "[::1]:80", "", False),
    ],
)
def test_local(text, ports, to, on, wide):
    assert read_local(text) == Forwarding(text, ports, to, on, False, wide)


@pytest.mark.parametrize(
    ("text", "ports", "to", "on", "wide"),
    [
        ("8080:localhost:3000", "tcp/8080", "localhost:3000", "", False),
        ("localhost:8080:localhost:3000", "tcp/8080", "localhost:3000", HERE, False),
        ("*:8080:localhost:3000", "tcp/8080", "localhost:3000", "", True),
        (":8080:localhost:3000", "tcp/8080", "localhost:3000", "", True),
        ("203.0.113.2:8080:localhost:3000", "tcp/8080", "localhost:3000", "203.0.113.2", True),
        ("0:localhost:3000", "tcp/0", "localhost:3000", "", False),
        ("8080:/run/app.sock", "tcp/8080", "unix:/run/app.sock", "", False),
        ("/run/far.sock:localhost:80", "unix:/run/far.sock", "localhost:80", "", False),
    ],
)
def test_remote(text, ports, to, on, wide):
    assert read_remote(text) == Forwarding(text, ports, to, on, True, wide)


@pytest.mark.parametrize(
    ("text", "ports", "on", "wide"),
    [
        ("1080", "tcp/1080", HERE, False),
        ("localhost:1080", "tcp/1080", HERE, False),
        ("*:1080", "tcp/1080", "", True),
        ("[::1]:1080", "tcp/1080", "::1", False),
        ("192.168.1.1:1080", "tcp/1080", "192.168.1.1", True),
    ],
)
def test_dynamic(text, ports, on, wide):
    assert read_dynamic(text) == Forwarding(text, ports, "", on, False, wide)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8080",
        "8080:80",
        "8080:db",
        "8080:db:",
        "8080::80",
        ":db:80",
        "x:db:80",
        "0:db:80",
        "65536:db:80",
        "8080:db:0",
        "8080:db:http",
        "1:2:3:4:5",
        "8080:fd00::5:80",
        "/tmp/a.sock",
        "/tmp/a.sock:db",
        "/tmp/a.sock:x:/b",
        "８０８０:db:80",
        "[::1:8080:db:80",
    ],
)
def test_what_is_no_local_forwarding_is_refused(text):
    with pytest.raises(Misuse) as caught:
        read_local(text)
    assert caught.value.exit_code == 2
    assert f"'{text}'" in caught.value.title()


@pytest.mark.parametrize("text", ["1080", "localhost:1080", "*:1080", "[::1]:1080"])
def test_socks_at_the_far_end_is_refused_with_what_to_do_instead(text):
    with pytest.raises(Misuse) as caught:
        read_remote(text)
    assert caught.value.code == "misuse-remote-dynamic"
    assert "tunnel -D PORT" in caught.value.fix()


@pytest.mark.parametrize("text", ["", "x", "1080:db:80", "0", "/tmp/a.sock", "1:2:3"])
def test_what_is_no_dynamic_forwarding_is_refused(text):
    with pytest.raises(Misuse):
        read_dynamic(text)


@pytest.mark.parametrize(
    ("words", "place"),
    [
        (("vps",), Place("ssh://vps", "vps")),
        (("alice@vps",), Place("ssh://alice@vps", "")),
        (("vps", "alice"), Place("ssh://alice@vps", "")),
        (("vps", "", "2222"), Place("ssh://vps:2222", "")),
        (("bob@vps", "alice", "2222"), Place("ssh://bob@vps:2222", "")),
        (("a@b@vps",), Place("ssh://a@b@vps", "")),
        (("2001:db8::1",), Place("ssh://[2001:db8::1]", "2001:db8::1")),
        (("bob@2001:db8::1", "", "22"), Place("ssh://bob@[2001:db8::1]:22", "")),
        (("ssh://vps:2200",), Place("ssh://vps:2200", "")),
        (("ssh://vps:2200", "alice", "2222"), Place("ssh://alice@vps:2200", "")),
        (("ssh://bob@[2001:db8::1]", "", "2222"), Place("ssh://bob@[2001:db8::1]:2222", "")),
    ],
)
def test_destinations(words, place):
    assert read_destination(*words) == place


@pytest.mark.parametrize("port", ["0", "x", "70000"])
def test_a_port_that_is_none_is_refused(port):
    with pytest.raises(Misuse):
        read_destination("vps", "", port)
