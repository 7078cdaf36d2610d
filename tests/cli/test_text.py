"""Times, sizes and mappings as people read them."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from sekimori.cli.text import (
    Clock,
    all_sources,
    clean,
    lead,
    outside,
    owner_label,
    short_sources,
    size,
    span,
    state_of,
    tiny_size,
    who_may,
    wide,
)

TOKYO = ZoneInfo("Asia/Tokyo")


@pytest.mark.parametrize(
    ("count", "text", "tiny"),
    [
        (0, "0 B", "0"),
        (1023, "1023 B", "1023"),
        (1024, "1.0 KiB", "1.0K"),
        (99 * 1024, "99.0 KiB", "99.0K"),
        (121 * 1024, "121 KiB", "121K"),
        (1024 * 1024 - 1, "1.0 MiB", "1.0M"),
        (5 * 1024**4, "5.0 TiB", "5.0T"),
        (2000 * 1024**5, "2000 PiB", "2000P"),
    ],
)
def test_size(count, text, tiny):
    assert size(count) == text
    assert tiny_size(count) == tiny


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.4, "0s"), (59.6, "1m"), (75, "1m 15s"), (3600, "1h"), (90000, "1d 1h"), (86400, "1d")],
)
def test_span(seconds, text):
    assert span(seconds, "en") == text


def test_span_in_japanese():
    assert [span(seconds, "ja") for seconds in (0, 13, 75, 90000)] == ["0秒", "13秒", "1分 15秒", "1日 1時間"]


@pytest.mark.parametrize(
    ("owner", "english", "japanese"),
    [
        ("person:root", "root", "root"),
        ("file:/etc/s.toml", "the file /etc/s.toml", "ファイル /etc/s.toml"),
        ("device:aa:bb", "the device aa:bb", "機器 aa:bb"),
        ("martian:x", "martian:x", "martian:x"),
    ],
)
def test_owners_as_people_are_told_of_them(owner, english, japanese):
    assert (owner_label(owner, "en"), owner_label(owner, "ja")) == (english, japanese)


@pytest.mark.parametrize(
    ("instant", "text"),
    [
        ("2026-11-22T09:30:00+00:00", "today 18:30"),
        ("2026-11-22T15:00:00Z", "tomorrow 00:00"),
        ("2026-11-23T15:00:00Z", "2026-11-24 00:00"),
        ("2026-11-21T14:59:59Z", "2026-11-21 23:59"),
    ],
)
def test_instants_are_seen_from_the_local_day(instant, text):
    clock = Clock("en", datetime(2026, 11, 22, 3, 0, tzinfo=UTC).astimezone(TOKYO))
    assert clock.when(instant) == text


def test_an_end_in_a_sentence():
    clock = Clock("ja", datetime(2026, 11, 22, 3, 0, tzinfo=UTC).astimezone(TOKYO))
    assert clock.until_phrase({"expires_at": "2026-11-22T09:30:00+00:00"}) == "今日 18:30まで"
    assert clock.until_phrase({"expires_at": None, "permanent": "本番"}) == "無期限（本番）"
    assert clock.stamp("2026-11-22T09:30:00+00:00") == "2026-11-22T18:30:00+09:00"
    assert clock.left("2026-11-22T09:30:00+00:00") == "あと 6時間 30分"
    assert clock.ago("2026-11-22T02:59:00Z") == "1分前"


@pytest.mark.parametrize(
    ("ports", "to", "text"),
    [
        ("tcp/8080", "192.168.1.5:8080", "tcp/8080"),
        ("tcp/5136:25565", "kids-pc:25565", "tcp/5136"),
        ("tcp+udp/53", "[fd00::1]:53", "tcp+udp/53"),
        ("tcp/8000-8010:9000-9010", "192.168.1.5:9000-9010", "tcp/8000-8010"),
        ("udp/137-138,tcp/139", "192.168.1.5", "udp/137-138, tcp/139"),
        ("tcp/1080:80", "192.168.1.5:180", "tcp/1080:80"),
    ],
)
def test_inside_ports_are_said_once(ports, to, text):
    assert outside({"ports": ports, "to": to}) == text


def test_an_address_of_its_own_is_said():
    view = {"ports": "tcp/80", "to": "a:80", "on": "192.0.2.1"}
    assert lead(view, "en") == lead(view, "ja") == ("tcp/80 @192.0.2.1", "a:80")


@pytest.mark.parametrize(
    ("view", "english", "japanese"),
    [
        (
            {"ports": "tcp/80", "to": "a:80", "kind": "forward", "except": None},
            ("tcp/80", "a:80"),
            ("tcp/80", "a:80"),
        ),
        (
            {"ports": "udp/51820", "to": "self:51820", "kind": "permit", "on": "eth1"},
            ("udp/51820 @eth1", "self:51820 (permit)"),
            ("udp/51820 @eth1", "self:51820 (許可)"),
        ),
        (
            {"ports": "tcp/443", "to": "[::10/-64]:443", "kind": "pinhole"},
            ("tcp/443", "[::10/-64]:443 (pinhole)"),
            ("tcp/443", "[::10/-64]:443 (ピンホール)"),
        ),
        (
            {"ports": "dmz", "to": "192.168.1.50", "kind": "dmz", "except": "tcp/443", "on": "eth1"},
            ("dmz but tcp/443 @eth1", "192.168.1.50"),
            ("dmz（tcp/443 を除く） @eth1", "192.168.1.50"),
        ),
        (
            {"ports": "tcp/113", "to": "trigger", "kind": "trigger", "trigger": "tcp/6667"},
            ("tcp/113", "whoever uses tcp/6667"),
            ("tcp/113", "tcp/6667 を使った機器"),
        ),
        (
            {"ports": "tcp/1723,gre", "to": "192.168.1.5", "kind": "forward"},
            ("tcp/1723, gre", "192.168.1.5"),
            ("tcp/1723, gre", "192.168.1.5"),
        ),
        (
            {
                "ports": "tcp/5432",
                "to": "db:5432",
                "via": "bastion",
                "on": "127.0.0.1",
                "path": ["relay", "link@bastion"],
            },
            ("tcp/5432 @127.0.0.1", "db:5432 via bastion"),
            ("tcp/5432 @127.0.0.1", "db:5432（bastion 経由）"),
        ),
        (
            {"ports": "tcp/1080", "to": "socks", "via": "vps", "path": ["relay", "link@vps"]},
            ("tcp/1080", "where the client says (SOCKS) via vps"),
            ("tcp/1080", "SOCKS クライアントの指定先（vps 経由）"),
        ),
        (
            {"ports": "tcp/8080:3000,udp/53", "to": "127.0.0.1", "at": "vps", "path": ["link@vps", "relay"]},
            ("vps:8080:3000, udp/53", "127.0.0.1"),
            ("vps:8080:3000, udp/53", "127.0.0.1"),
        ),
        (
            {"ports": "tcp/8080:3000", "to": "127.0.0.1:3000", "at": "vps", "path": ["link@vps", "relay"]},
            ("vps:8080", "127.0.0.1:3000"),
            ("vps:8080", "127.0.0.1:3000"),
        ),
        (
            {"ports": "unix:/run/a:80.sock", "to": "db:80", "kind": "forward"},
            ("unix:/run/a:80.sock", "db:80"),
            ("unix:/run/a:80.sock", "db:80"),
        ),
        (
            {"ports": "tcp/8080", "to": "client", "via": "auto", "path": ["relay", "link@@ssh"]},
            ("tcp/8080", "its SSH client"),
            ("tcp/8080", "SSH クライアント"),
        ),
        ({"ports": "tcp/9", "to": "x:9", "kind": "portal"}, ("tcp/9", "x:9"), ("tcp/9", "x:9")),
    ],
)
def test_the_kind_is_said_where_it_is_no_forward(view, english, japanese):
    assert (lead(view, "en"), lead(view, "ja")) == (english, japanese)


def test_sources():
    assert short_sources("anyone", "ja") == "だれでも"
    assert short_sources("10.0.0.0/8,office", "en") == "10.0.0.0/8, office"
    assert short_sources("10.0.0.0/8,lan,office", "en") == "10.0.0.0/8 +2"
    assert all_sources("10.0.0.0/8,lan,more", "en") == "10.0.0.0/8, LAN, more"


def test_stored_words_cannot_drive_the_terminal():
    assert clean("a\x1b[2Jb\x07c\u202ed\te\n") == "a\ufffd[2Jb\ufffdc\ufffdd\te\n"


def test_cells():
    assert wide("abc") == 3
    assert wide("関守") == 4
    assert wide("ｶﾞ") == 2
    assert wide("e\u0301") == 1


def test_who_may_use_a_unix_socket_is_its_files_matter():
    assert who_may({"ports": "tcp/80", "from": "lan,10.0.0.0/8,x"}, "en") == "LAN, 10.0.0.0/8, x"
    assert who_may({"ports": "tcp/80", "from": "lan,10.0.0.0/8,x"}, "en", short=True) == "LAN +2"
    view = {"ports": "unix:/run/a.sock", "from": "lan"}
    assert [who_may(view, each) for each in ("en", "ja")] == [
        "whom the file's mode lets",
        "ファイルの権限による",
    ]


@pytest.mark.parametrize(
    ("view", "english", "japanese"),
    [
        ({"on": "127.0.0.1", "from": "lan"}, "this machine", "このマシン"),
        ({"on": "::1", "from": "anyone"}, "this machine", "このマシン"),
        ({"on": "127.0.0.1", "from": "lan", "at": "vps"}, "vps", "vps"),
        ({"on": "127.0.0.1", "from": "10.0.0.0/8"}, "10.0.0.0/8", "10.0.0.0/8"),
        ({"on": "192.168.1.1", "from": "lan"}, "LAN", "LAN"),
        ({"on": None, "from": "anyone"}, "anyone", "だれでも"),
    ],
)
def test_only_the_machine_itself_comes_in_on_its_loopback(view, english, japanese):
    whole = {"ports": "tcp/80", **view}
    assert (who_may(whole, "en"), who_may(whole, "ja")) == (english, japanese)


@pytest.mark.parametrize(
    ("state", "code", "told"),
    [
        ("failed", "client-away", "waiting"),
        ("failed", "link-down", "waiting"),
        ("failed", "host-key-changed", "failed"),
        ("failed", None, "failed"),
        ("open", None, "open"),
    ],
)
def test_what_only_waits_has_not_failed(state, code, told):
    problem = None if code is None else {"code": code}
    assert state_of({"status": {"state": state, "problem": problem}}) == told
