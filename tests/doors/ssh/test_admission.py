"""Who comes in by which key: rows, certificates, and the names that keys of a file make."""

from __future__ import annotations

import ipaddress
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from sekimori.doors.ssh.admission import Admitted, Certificate, Roster
from sekimori.doors.ssh.hostkey import load_host_key
from sekimori.doors.ssh.keysource import FileKeys, KeyFile, file_user, rows_of
from sekimori.doors.ssh.rosterframes import RosterReader, roster_frames
from sekimori.doors.ssh.words import _LINES, line, opened_line, place_text
from sekimori.model.errors import Problem
from sekimori.model.grantwords import parse_grant
from sekimori.model.mapping import Owner, OwnerKind
from sekimori.model.user import Grant, User
from sekimori.wire.authorizedkeys import parse_line

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ3CK7yVoFQlNzSFqWGyLLLXV9k1ufVZ7gUaGDxMIkEl"
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBtM0a1Ew7V9YbVHzRzYJmQh8Kx0bqQyv0i0m8lTt1Yp"
BLOB = parse_line(KEY).blob
HERE = ipaddress.ip_address("192.0.2.1")
NOW = 1_800_000_000.0


def user(*lines: str, name: str = "alice", expires_at: int | None = None) -> User:
    owner = Owner(OwnerKind.PERSON, "root")
    grant = parse_grant({"ports": "8000-8010"})
    return User(name=name, owner=owner, keys=lines, grant=grant, expires_at=expires_at)


def roster(*users: User, file: FileKeys = FileKeys(), grant: Grant | None = None) -> Roster:  # noqa: B008
    found, problems = told(rows_of(users, file, grant))
    assert problems == []
    return found


def told(rows: list[dict[str, Any]]) -> tuple[Roster, list[Problem]]:
    """What the door's process makes of rows, and what it cannot read."""
    frames, too_long = roster_frames(rows, [], "UTC")
    assert not too_long
    reader = RosterReader()
    *before, found = map(reader.take, frames)
    assert before == [None] * len(before)
    assert found is not None
    return found, reader.problems


def admitted(found: Admitted | None) -> Admitted:
    assert found is not None
    return found


def test_a_user_comes_in_by_the_key_and_nobody_by_another() -> None:
    there = roster(user(KEY))
    found = admitted(there.admit(BLOB, HERE, NOW))
    assert (found.user, found.expires_at, str(found.grant.ports[0])) == ("alice", None, "8000-8010")
    assert there.admit(parse_line(OTHER).blob, HERE, NOW) is None
    assert there.knows(BLOB)
    assert not there.knows(b"")


def test_a_user_whose_time_is_over() -> None:
    there = roster(user(KEY, expires_at=int(NOW) + 1))
    assert admitted(there.admit(BLOB, HERE, NOW)).expires_at == NOW + 1
    assert there.admit(BLOB, HERE, NOW + 1) is None


def test_the_first_line_that_fits_counts() -> None:
    there = roster(user(f'from="198.51.100.1" {KEY}', f'permitlisten="1" {KEY}', KEY))
    options = admitted(there.admit(BLOB, HERE, NOW)).options
    assert options.permitted == ("*:1",)
    options = admitted(there.admit(BLOB, ipaddress.ip_address("198.51.100.1"), NOW)).options
    assert options.permitted is None


def test_a_line_that_cannot_be_read_lets_nobody_in() -> None:
    found, problems = told(rows_of([user(f"unheard-of {KEY}")], FileKeys(), None))
    assert found.admit(BLOB, HERE, NOW) is None
    assert [problem.code for problem in problems] == ["bad-key"]


CERTIFICATE = Certificate(
    authority=BLOB, principals=("door",), valid_from=int(NOW) - 1, valid_until=int(NOW) + 10, forwards=True
)


@pytest.mark.parametrize(
    ("options", "changes", "comes_in"),
    [
        ("cert-authority", {}, True),
        ("", {}, False),
        ("cert-authority", {"principals": ()}, False),
        ("cert-authority", {"principals": ("other",)}, False),
        ('cert-authority,principals="x,other"', {"principals": ("other",)}, True),
        ('cert-authority,principals="other"', {}, False),
        ("cert-authority", {"valid_from": int(NOW) + 1}, False),
        ("cert-authority", {"valid_until": int(NOW)}, False),
        ("cert-authority", {"sources": (ipaddress.ip_network("192.0.2.0/24"),)}, True),
        ("cert-authority", {"sources": (ipaddress.ip_network("198.51.100.0/24"),)}, False),
        ("cert-authority", {"sources": ()}, False),
        ('cert-authority,command="a"', {"command": "b"}, False),
        ('cert-authority,command="a"', {"command": "a"}, True),
        ("cert-authority", {"authority": parse_line(OTHER).blob}, False),
    ],
)
def test_certificates(options: str, changes: dict[str, object], comes_in: bool) -> None:
    there = roster(file=FileKeys((("ca-12345678", f"{options} {KEY}".strip()),)))
    certificate = replace(CERTIFICATE, **changes)  # type: ignore[arg-type]
    found = there.admit_certified(parse_line(OTHER).blob, certificate, "door", HERE, NOW)
    assert (found is not None) is comes_in
    assert there.admit_certified(BLOB, certificate, "root", HERE, NOW) is None or "principals" in options
    if found is not None:
        assert found.fingerprint == parse_line(OTHER).fingerprint
        assert found.expires_at == NOW + 10


def test_a_users_authority_lets_in_who_is_certified_as_the_user() -> None:
    there = roster(user(f"cert-authority {KEY}"))
    other = parse_line(OTHER).blob
    for login in ("alice", "eve", "root"):
        found = there.admit_certified(other, replace(CERTIFICATE, principals=("alice",)), login, HERE, NOW)
        assert admitted(found).user == "alice"
        for principals in (("eve",), ("root",), (login + "x",)):
            certificate = replace(CERTIFICATE, principals=principals)
            assert there.admit_certified(other, certificate, login, HERE, NOW) is None


def test_what_certificate_and_line_leave() -> None:
    there = roster(user(f"cert-authority,no-touch-required {KEY}", name="door"))
    found = admitted(there.admit_certified(b"x", replace(CERTIFICATE, forwards=False), "door", HERE, NOW))
    assert not found.options.forwards
    assert not found.options.no_touch
    found = admitted(there.admit_certified(b"x", replace(CERTIFICATE, no_touch=True), "door", HERE, NOW))
    assert found.options.no_touch


def test_names_that_keys_of_a_file_make() -> None:
    name = file_user(parse_line(f"{KEY} Alice Cooper@Laptop!"))
    assert name.startswith("alice-cooper-laptop-")
    assert name == file_user(parse_line(f"restrict {KEY} Alice Cooper@Laptop!"))
    assert file_user(parse_line(KEY)).startswith("key-")
    assert file_user(parse_line(f"{KEY} 日本")) == file_user(parse_line(KEY))
    assert file_user(parse_line(f"{OTHER} alice")) != file_user(parse_line(f"{KEY} alice"))
    assert len(file_user(parse_line(f"{KEY} {'long' * 20}"))) <= 32


def test_an_opened_port_is_told_in_words_and_local_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        facts = {"place": "192.0.2.1:8080", "sources": "anyone,lan,198.51.100.0/24", "until": NOW}
        told = opened_line("opened", facts)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert told["en"] == ("192.0.2.1:8080 is open to anyone, LAN, 198.51.100.0/24 until 2027-01-15 17:00 JST")
    assert told["ja"] == (
        "192.0.2.1:8080 を開きました。接続元: だれでも, LAN, 198.51.100.0/24、期限: 2027-01-15 17:00 JST"
    )


@pytest.fixture
def guarded() -> Iterator[Path]:
    """A directory below which nobody else can write, as /tmp is not."""
    with TemporaryDirectory(dir=Path.home()) as path:
        yield Path(path)


def test_the_sticky_bit_above_a_file_of_keys_is_no_guard(guarded: Path) -> None:
    above = guarded / "shared"
    above.mkdir(0o700)
    path = above / "keys"
    path.write_text(f"{KEY} a\n")
    path.chmod(0o600)
    assert len(KeyFile(path, UTC).read().lines) == 1
    above.chmod(0o1777)  # as sshd's StrictModes sees /tmp
    found = KeyFile(path, UTC).read()
    assert found.lines == ()
    assert str(above) in found.problems[0][1].title()


def test_a_file_of_keys(guarded: Path) -> None:
    path = guarded / "keys"
    file = KeyFile(path, UTC)
    assert "No such file" in file.read().problems[0][1].title()
    path.write_text(f"{KEY} a\n\nbad\n")
    path.chmod(0o600)
    found = file.read()
    assert [text for _, text in found.lines] == [f"{KEY} a"]
    assert [number for number, _ in found.problems] == [3]
    assert file.read() is found
    path.write_text(f"{OTHER} b\n")
    (row,) = rows_of([], file.read(), Grant())
    assert row["user"].startswith("b-")
    path.chmod(0o620)
    assert file.read().lines == ()
    path.chmod(0o600)
    assert len(file.read().lines) == 1
    guarded.chmod(0o777)
    assert "may change" in file.read().problems[0][1].title()
    guarded.chmod(0o700)
    if os.geteuid() == 0:
        os.chown(path, 12345, 12345)
        assert "may change" in file.read().problems[0][1].title()


def test_a_file_with_more_lines_than_it_may_have_lets_nobody_in(guarded: Path) -> None:
    path = guarded / "keys"
    path.write_text(f"{KEY} a\n" * 100_000)
    path.chmod(0o600)
    found = KeyFile(path, UTC).read()
    assert found.lines == ()
    assert "more than the 1M bytes" in found.problems[0][1].title()


def test_of_very_many_lines_that_are_none_the_first_are_named(guarded: Path) -> None:
    path = guarded / "keys"
    path.write_text(f"{KEY} a\n" + "x\n" * 100_000)
    path.chmod(0o600)
    found = KeyFile(path, UTC).read()
    assert len(found.lines) == 1
    assert [number for number, _ in found.problems] == [*range(2, 103)]
    assert "99899 more lines" in found.problems[-1][1].title()


def test_a_file_of_keys_behind_a_link(guarded: Path) -> None:
    path, link = guarded / "keys", guarded / "link"
    path.write_text(f"{KEY} a\n")
    path.chmod(0o600)
    link.symlink_to(path)
    assert len(KeyFile(link, UTC).read().lines) == 1
    path.chmod(0o602)
    assert "may change" in KeyFile(link, UTC).read().problems[0][1].title()
    link.unlink()
    link.symlink_to(link)
    assert "symbolic links" in KeyFile(link, UTC).read().problems[0][1].title()


def test_a_link_that_is_turned_elsewhere_once_it_was_looked_at(
    guarded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, evil, link = guarded / "keys", tmp_path / "keys", tmp_path / "link"
    good.write_text(f"{KEY} a\n")
    good.chmod(0o600)
    evil.write_text(f"{OTHER} eve\n")
    link.symlink_to(good)
    geteuid = os.geteuid

    def turn() -> int:
        link.unlink(missing_ok=True)
        link.symlink_to(evil)
        return geteuid()

    monkeypatch.setattr("sekimori.doors.ssh.keysource.os.geteuid", turn)
    assert [line for _, line in KeyFile(link, UTC).read().lines] == [f"{KEY} a"]


def test_a_host_key_is_made_once(tmp_path: Path) -> None:
    key = load_host_key(tmp_path)
    assert load_host_key(tmp_path) == key
    (path,) = tmp_path.iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert parse_line(key.public).fingerprint in key.told
    path.write_text("nonsense")
    with pytest.raises(ValueError):
        load_host_key(tmp_path)
    assert path.read_text() == "nonsense"


def test_every_line_says_the_same_in_both_languages() -> None:
    import string

    for key, (english, japanese) in _LINES.items():
        facts = [
            {name for _, name, _, _ in string.Formatter().parse(text) if name} for text in (english, japanese)
        ]
        assert facts[0] == facts[1], key
        assert english != japanese


def test_what_a_client_says_moves_no_cursor() -> None:
    assert place_text("\x1b[2J", 80) == "?[2J:80"
    assert place_text("::1", 80) == "[::1]:80"
    assert line("hello", user="x")["ja"].startswith("x さん")
