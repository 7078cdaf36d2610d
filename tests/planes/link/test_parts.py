"""Parts of a link's process that decide: when to try again, whom to trust, which way to go."""

from __future__ import annotations

import base64
import errno
import socket
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from asyncssh import ChannelOpenError, SSHKey

from sekimori.model.errors import Problem
from sekimori.model.link import SshPlace
from sekimori.model.linkfacts import KeyStanding
from sekimori.model.messages import MESSAGES
from sekimori.planes.link.algorithms import CIPHERS, HOST_KEYS, KEX, MACS
from sekimori.planes.link.hostkeys import Pins, Watcher, judge, read_pins
from sekimori.planes.link.joining import REFUSALS, deadline_of, problem_of
from sekimori.planes.link.opening import cause_of
from sekimori.planes.link.resolving import Plan
from sekimori.planes.link.strand import wait_before


def line_of(key: SSHKey) -> str:
    return f"{key.get_algorithm()} {base64.b64encode(key.public_data).decode()}"


def new_key() -> SSHKey:
    return asyncssh.generate_private_key("ssh-ed25519").convert_to_public()


def plan(**changes: Any) -> Plan:
    return Plan.read({"name": "vps", "place": "ssh://alice@vps.example:2222", "config": "none", **changes})


def test_it_is_tried_at_once_then_ever_more_slowly_and_never_all_at_the_same_time() -> None:
    longest = [wait_before(attempt, lambda _low, high: high) for attempt in range(12)]
    assert longest == [0.0, 0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0, 10.0, 10.0]
    assert {wait_before(attempt, lambda low, _high: low) for attempt in range(12)} == {0.0}


@pytest.mark.parametrize(
    ("code", "reason", "cause"),
    [
        (1, "open failed", "prohibited"),
        (2, "Connection refused", "refused"),
        (2, "Connection timed out", "timed_out"),
        (2, "No route to host", "unreachable"),
        (2, "Network is unreachable", "unreachable"),
        (2, "Name or service not known", "unreachable"),
        (2, "Temporary failure in name resolution", "unreachable"),
        (2, "SSH connection closed", "down"),
        (2, "something else", "refused"),
        (3, "unknown channel type", "other"),
        (4, "resource shortage", "other"),
    ],
)
def test_why_a_channel_is_not_opened(code: int, reason: str, cause: str) -> None:
    assert cause_of(ChannelOpenError(code, reason)) == cause


def test_nothing_weak_is_offered_and_the_fast_comes_first() -> None:
    assert CIPHERS[0] == "aes128-gcm@openssh.com"
    assert KEX[0].startswith("mlkem")
    assert not [each for each in (*KEX, *HOST_KEYS, *MACS) if "sha1" in each or each == "ssh-rsa"]
    assert not [each for each in CIPHERS if "cbc" in each or "3des" in each]
    assert all("etm" in each for each in MACS)


def test_every_refusal_has_its_words() -> None:
    assert set(MESSAGES) >= REFUSALS


# -- host keys --------------------------------------------------------------------------------


def test_pins_are_read_for_each_place() -> None:
    one, other, authority = new_key(), new_key(), new_key()
    pins = read_pins(
        [
            f"ssh://a {line_of(one)}",
            f"ssh://a {line_of(other)}",
            f"ssh://b cert-authority {line_of(authority)}",
        ]
    )
    assert pins["ssh://a"].keys == (one, other)
    assert pins["ssh://b"].authorities == (authority,)
    assert plan(host_keys=[f"ssh://a {line_of(one)}"]).pins_of(SshPlace.parse("ssh://c")) == Pins()


@pytest.mark.parametrize(
    "line", ["", "ssh://a", "ssh://a ssh-ed25519", "ssh://a ssh-ed25519 AAAA", "a b c d"]
)
def test_what_is_no_pin(line: str) -> None:
    with pytest.raises(Problem) as refused:
        read_pins([line])
    assert refused.value.code == "link-bad-pin"


def test_only_what_is_pinned_is_let_in_and_what_was_shown_is_told() -> None:
    pinned, other = new_key(), new_key()
    watcher = Watcher(Pins((pinned,)))
    assert watcher.validate_host_public_key("h", "a", 22, pinned)
    assert not watcher.validate_host_public_key("h", "a", 22, other)
    assert not watcher.validate_host_ca_key("h", "a", 22, pinned)  # a key is no authority
    assert not watcher.validate_host_public_key("h", "a", 22, other)
    told = watcher.refusal("vps", "ssh://h")
    assert told.code == "host-key-changed"
    assert told.facts["fingerprint"] == other.get_fingerprint()
    assert told.facts["expected"] == pinned.get_fingerprint()
    nobody = Watcher(Pins())
    assert not nobody.validate_host_public_key("h", "a", 22, other)
    assert nobody.refusal("vps", "ssh://h").code == "host-key-unknown"
    assert Watcher(Pins((), (pinned,))).refusal("vps", "ssh://h").code == "link-host-certificate"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    return tmp_path


def test_known_hosts_says_what_is_thought_of_a_key_that_is_not_pinned(home: Path) -> None:
    key, other = new_key(), new_key()
    file = home / ".ssh" / "known_hosts"

    def standing(pins: Pins = Pins(), port: int = 2222) -> KeyStanding:  # noqa: B008 - it is frozen
        return judge("ssh://h", "h", port, key, pins).standing

    assert standing() is KeyStanding.UNKNOWN
    file.write_text(f"[h]:2222 {line_of(key)}\n")
    assert standing() is KeyStanding.KNOWN
    assert standing(port=22) is KeyStanding.UNKNOWN
    file.write_text(f"[h]:2222 {line_of(other)}\n")
    assert standing() is KeyStanding.CHANGED
    file.write_text(f"@revoked * {line_of(key)}\n")
    assert standing() is KeyStanding.CHANGED
    # What is pinned is above all of that.
    assert standing(Pins((key,))) is KeyStanding.PINNED
    assert standing(Pins((other,))) is KeyStanding.CHANGED


# -- ssh_config -------------------------------------------------------------------------------


def test_jump_hosts_of_ssh_config_are_hops_of_their_own(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("Host far\n  HostName 10.0.0.9\n  Port 2022\n  ProxyJump bob@one,two:2200\n")
    made = plan(place="ssh://far", config=str(config))
    assert [str(each) for each in made.hops] == ["ssh://bob@one", "ssh://two:2200", "ssh://far"]
    assert made.resolve(made.hops[-1]).host == "10.0.0.9"
    assert made.resolve(made.hops[-1]).port == 2022
    assert deadline_of(made) == 20.0
    # What the link says goes before.
    assert [str(each) for each in plan(place="ssh://far", jump=["ssh://x"], config=str(config)).hops] == [
        "ssh://x",
        "ssh://far",
    ]


def test_a_first_jump_may_have_jumps_of_its_own(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("Host far\n  ProxyJump two\nHost two\n  ProxyJump one\n")
    assert [each.host for each in plan(place="ssh://far", config=str(config)).hops] == ["one", "two", "far"]
    with_jump = plan(place="ssh://far", jump=["ssh://two", "ssh://three"], config=str(config))
    assert [each.host for each in with_jump.hops] == ["one", "two", "three", "far"]
    config.write_text("Host *\n  ProxyJump one\n")  # the jump has itself for a jump
    assert [each.host for each in plan(place="ssh://far", config=str(config)).hops] == ["one", "far"]
    config.write_text("".join(f"Host h{number}\n  ProxyJump h{number + 1}\n" for number in range(12)))
    with pytest.raises(Problem) as refused:
        plan(place="ssh://h0", config=str(config))
    assert refused.value.code == "link-config"
    assert "8" in refused.value.title()
    assert refused.value.title("ja") != refused.value.title()


def test_no_config_is_read_where_none_is_wanted(home: Path) -> None:
    (home / ".ssh" / "config").write_text("Host *\n  HostName 10.0.0.9\n")
    assert plan(config="").resolve(SshPlace.parse("vps.example")).host == "10.0.0.9"
    assert plan(config="none").resolve(SshPlace.parse("vps.example")).host == "vps.example"


@pytest.mark.parametrize("content", ["Port many\n", "ProxyJump\n"])
def test_a_config_that_cannot_be_read(tmp_path: Path, content: str) -> None:
    config = tmp_path / "config"
    config.write_text(content)
    with pytest.raises(Problem) as refused:
        plan(config=str(config))
    assert refused.value.code == "link-config"


def test_key_files_that_cannot_be_used(tmp_path: Path) -> None:
    place = SshPlace.parse("ssh://h")
    with pytest.raises(Problem) as missing:
        plan(identity=[str(tmp_path / "none")]).options(place, Pins())
    assert missing.value.code == "link-no-key"
    (tmp_path / "bad").write_text("no key\n")
    with pytest.raises(Problem) as bad:
        plan(identity=[str(tmp_path / "bad")]).options(place, Pins())
    assert bad.value.code == "link-bad-key"


def test_passwords_and_compression_are_never_used_and_pinned_kinds_come_first() -> None:
    key = asyncssh.generate_private_key("ecdsa-sha2-nistp256").convert_to_public()
    options = plan().options(SshPlace.parse("ssh://h"), Pins((key,)))
    assert options["server_host_key_algs"][0] == "ecdsa-sha2-nistp256"
    assert set(options["server_host_key_algs"]) == set(HOST_KEYS)
    assert options["preferred_auth"] == ["publickey"]
    assert options["compression_algs"] == ["none"]
    assert not options["password_auth"]
    assert not options["kbdint_auth"]


@pytest.mark.parametrize(
    ("error", "code", "english", "japanese"),
    [
        (
            socket.gaierror(socket.EAI_NONAME, "x"),
            "link-no-such-host",
            "no such name",
            "その名前はありません",
        ),
        (OSError(errno.ECONNREFUSED, "Connect call failed"), "link-refused", "Connection refused", "拒否"),
        (
            asyncssh.ConnectionLost("[Errno 104] Connection reset by peer"),
            "link-cut",
            "reset by peer",
            "切り",
        ),
        (
            OSError("Multiple exceptions: [Errno 111] a, [Errno 111] b, [Errno 113] c"),
            "link-refused",
            "Connection refused, No route to host",
            "拒否されました、",
        ),
    ],
)
def test_why_a_place_is_not_reached_is_told_without_numbers(
    error: Exception, code: str, english: str, japanese: str
) -> None:
    problem = problem_of(plan(), SshPlace.parse("ssh://alice@vps.example"), "alice", error)
    assert problem.code == code
    assert english in problem.title()
    assert japanese in problem.title("ja")
    assert "Errno" not in problem.title() + problem.title("ja")
