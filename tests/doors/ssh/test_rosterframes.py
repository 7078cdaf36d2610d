"""However many keys there are, no frame is too long, and the roster is the same on the other side."""

from __future__ import annotations

import base64
import ipaddress
import json
from typing import Any

from sekimori.doors.ssh.keysource import FileKeys, rows_of
from sekimori.doors.ssh.rosterframes import MOST, RosterReader, roster_frames
from sekimori.host.frames import LONGEST
from sekimori.model.grantwords import parse_grant
from sekimori.model.mapping import Owner, OwnerKind
from sekimori.model.user import User
from sekimori.wire.authorizedkeys import parse_line

HERE = ipaddress.ip_address("192.0.2.1")
WIDE = parse_grant({"to": [f"host-{number}.example.org:443" for number in range(200)]})


def line(number: int) -> str:
    # Any 32 bytes pass for a public key of Ed25519, as with OpenSSH.
    blob = b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20" + number.to_bytes(32, "big")
    return f"ssh-ed25519 {base64.b64encode(blob).decode()}"


def lengths(frames: Any) -> list[int]:
    return [len(json.dumps(frame)) for frame in frames]


def test_the_keys_of_a_file_have_their_one_grant_once() -> None:
    lines = tuple((f"key-{number:08}", line(number)) for number in range(10_000))
    rows = rows_of([], FileKeys(lines), WIDE)
    assert sum(lengths(rows)) > LONGEST  # as each would be with a grant of its own
    frames, too_long = roster_frames(rows, ["192.0.2.0/24"], "UTC")
    assert not too_long
    assert sum(lengths(frames)) < 3 << 20
    reader = RosterReader()
    *before, roster = [reader.take(json.loads(json.dumps(frame))) for frame in frames]
    assert before == [None] * len(before) != []
    assert roster is not None
    assert not reader.problems
    assert len(roster.rows) == 10_000
    for number in (0, 5000, 9999):
        found = roster.admit(parse_line(line(number)).blob, HERE, 0.0)
        assert found is not None
        assert (found.user, found.grant) == (f"key-{number:08}", WIDE)


def test_a_hundred_thousand_users_with_a_grant_each_come_in_parts() -> None:
    rows = [
        {
            "user": f"u{number}",
            "line": line(number),
            "grant": {"ports": str(number), "padding": "x" * 300},
            "expires_at": None,
            "principal": None,
        }
        for number in range(100_000)
    ]
    frames, too_long = roster_frames(rows, [], "UTC")
    assert not too_long
    assert max(lengths(frames)) < LONGEST / 8
    told = [(row["user"], frame["grants"][row["grant"]]) for frame in frames for row in frame["rows"]]
    assert told == [(row["user"], row["grant"]) for row in rows]
    assert [frame["part"] for frame in frames] == [*range(len(frames))]
    assert [frame["last"] for frame in frames] == [False] * (len(frames) - 1) + [True]


def test_a_row_that_fits_no_frame_lets_nobody_in_and_is_told() -> None:
    def user(name: str, number: int, comment: str = "") -> User:
        return User(
            name=name, owner=Owner(OwnerKind.PERSON, "root"), keys=(f"{line(number)} {comment}",), grant=WIDE
        )

    rows = rows_of([user("a", 1), user("b", 2, "x" * MOST), user("c", 3)], FileKeys(), None)
    frames, too_long = roster_frames(rows, [], "UTC")
    assert [row["user"] for row in too_long] == ["b"]
    assert [row["user"] for frame in frames for row in frame["rows"]] == ["a", "c"]
    assert max(lengths(frames)) < LONGEST


def test_nobody_is_a_roster_too() -> None:
    (frame,), _ = roster_frames([], [], "UTC")
    roster = RosterReader().take(frame)
    assert roster is not None
    assert not roster.rows


def test_a_roster_that_was_not_whole_gives_way_to_the_next() -> None:
    lines = tuple((f"key-{number:08}", line(number)) for number in range(20_000))
    frames, _ = roster_frames(rows_of([], FileKeys(lines), WIDE), [], "UTC")
    (only,), _ = roster_frames(rows_of([], FileKeys(lines[:1]), WIDE), [], "UTC")
    reader = RosterReader()
    assert reader.take(frames[0]) is None
    roster = reader.take(only)
    assert roster is not None
    assert len(roster.rows) == 1


def test_a_grant_that_cannot_be_read_shuts_out_its_users_and_nobody_else() -> None:
    (good,) = rows_of([], FileKeys((("a", line(1)),)), WIDE)
    (bad,) = rows_of([], FileKeys((("b", line(2)),)), WIDE)
    (frame,), _ = roster_frames([good, bad | {"grant": bad["grant"] | {"ports": "x"}}], [], "UTC")
    reader = RosterReader()
    roster = reader.take(frame)
    assert roster is not None
    assert [problem.code for problem in reader.problems] == ["bad-ports"]
    assert roster.admit(parse_line(line(1)).blob, HERE, 0.0) is not None
    assert roster.admit(parse_line(line(2)).blob, HERE, 0.0) is None
