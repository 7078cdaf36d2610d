"""The words a mapping is written in, read into a wish."""

from __future__ import annotations

import ipaddress
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from sekimori.model.address import Interface, UnixPath, parse_ports, parse_spans
from sekimori.model.destination import NOWHERE, Destinations
from sekimori.model.errors import Problem
from sekimori.model.lifetime import Asked, Lifetime
from sekimori.model.limits import Rate
from sekimori.model.request import UNSAID, Wish
from sekimori.model.schedule import Schedule
from sekimori.model.socks import make_verifier, verify
from sekimori.model.source import Sources
from sekimori.model.target import Target
from sekimori.model.words import FIELDS, Reading, parse_wish
from sekimori.presets.load import load_presets

PRESETS = load_presets()
NOW = 1_750_000_000.0
SALT = bytes(16)
READING = Reading(NOW, "Europe/Berlin", PRESETS.get, PRESETS.suggest, lambda: SALT)


def read(**words: Any) -> Wish:
    """`from_` and `for_` stand for the words that Python keeps for itself."""
    return parse_wish({key.rstrip("_"): value for key, value in words.items()}, READING)


def refused(**words: Any) -> Problem:
    with pytest.raises(Problem) as caught:
        read(**words)
    return caught.value


def test_nothing_said_is_nothing_wished() -> None:
    assert read() == Wish()
    assert parse_wish(dict.fromkeys(FIELDS), READING) == Wish()


def test_every_word_is_read() -> None:
    wish = read(
        name="web",
        ports="8080",
        to="192.168.1.5:80",
        from_="198.51.100.0/24",
        for_="2h",
        hours="daily/09:00-18:00",
        on="192.0.2.1",
        via="RELAY",
        limit="20/min",
        limit_total="100/s",
        max_connections=50,
        proxy_protocol="v2",
        idle="10m",
        trigger=["tcp/6667", "udp/3000"],
        hold="20m",
        except_="443,gre",
        log="yes",
        accept_risk="b, A,a",
    )
    assert wish == Wish(
        name="web",
        specs=parse_ports("8080"),
        preset=None,
        target=Target.parse_host("192.168.1.5"),
        inside=parse_ports("80")[0].outside,
        sources=Sources.parse("198.51.100.0/24"),
        lifetime=Lifetime.lasting(7200, NOW),
        schedule=Schedule.parse("daily/09:00-18:00", "Europe/Berlin"),
        on=ipaddress.ip_address("192.0.2.1"),
        via="relay",
        per_source=Rate(20, 60),
        total=Rate(100, 1),
        connections=50,
        proxy_protocol=2,
        idle=600,
        trigger=parse_spans("tcp/6667,udp/3000"),
        hold=1200,
        excepted=parse_spans("gre,tcp/443"),
        log=True,
        accepted_risks=("a", "b"),
    )


@pytest.mark.parametrize(
    "word",
    ["hours", "on", "limit", "limit_total", "max_connections", "idle", "trigger", "hold", "except"],
)
@pytest.mark.parametrize("none", ["none", "off", "any", "unlimited", ""])
def test_none_is_said_too(word: str, none: str) -> None:
    field = {
        "hours": "schedule",
        "limit": "per_source",
        "limit_total": "total",
        "max_connections": "connections",
        "except": "excepted",
    }.get(word, word)
    assert getattr(read(**{word: none}), field) is None
    assert getattr(read(), field) is UNSAID


def test_an_interface_may_stand_for_an_address() -> None:
    assert read(on="eth1").on == Interface("eth1")


@pytest.mark.parametrize("said", [True, "on", "YES", " true "])
def test_a_switch_is_on(said: object) -> None:
    assert read(log=said).log is True


@pytest.mark.parametrize("said", [False, "off", "No", "false", "none"])
def test_a_switch_is_off(said: object) -> None:
    assert read(log=said).log is False
    assert read().log is UNSAID


@pytest.mark.parametrize(("said", "version"), [(0, 0), ("0", 0), ("none", 0), (1, 1), ("V1", 1), ("2", 2)])
def test_proxy_protocol_versions(said: object, version: int) -> None:
    assert read(proxy_protocol=said).proxy_protocol == version


def test_lists_may_be_written_as_lists() -> None:
    assert read(from_=["192.0.2.1", "lan"]).sources == Sources.parse("192.0.2.1,lan")
    assert read(ports=["80", "udp/53"]).specs == parse_ports("80,udp/53")
    assert read(ports=8080).specs == parse_ports("8080")


def test_a_preset_brings_its_ports() -> None:
    wish = read(ports="Minecraft")
    preset = PRESETS.get("minecraft")
    assert preset is not None
    assert (wish.preset, wish.specs) == (preset, parse_ports(",".join(preset.ports)))


def test_an_unknown_preset_is_refused_with_what_is_near() -> None:
    problem = refused(ports="minecarft")
    assert (problem.code, problem.exit_code) == ("no-such-preset", 4)
    assert "Near: minecraft" in problem.fix()
    assert refused(ports="qqqqqq").fix().count("Near") == 0


def test_lifetimes() -> None:
    assert read(until="tomorrow").lifetime == Lifetime.until(int(NOW) - int(NOW) % 86400 + 2 * 86400 - 7200)
    permanent = read(permanent="the family server").lifetime
    assert isinstance(permanent, Lifetime)
    assert permanent.asked is Asked.PERMANENT
    assert ZoneInfo(READING.zone)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ({"for_": "2h", "until": "tomorrow"}, "exclusive"),
        ({"until": "tomorrow", "permanent": "x"}, "exclusive"),
        ({"for_": "soon"}, "bad-duration"),
        ({"until": "yesterday"}, "bad-time"),
        ({"permanent": " "}, "bad-value"),
        ({"name": "1"}, "bad-name"),
        ({"name": ""}, "bad-name"),
        ({"ports": ""}, "bad-ports"),
        ({"ports": []}, "bad-ports"),
        ({"ports": "80-"}, "bad-ports"),
        ({"ports": "80-81:90"}, "range-mismatch"),
        ({"to": ""}, "bad-target"),
        ({"from_": ""}, "bad-source"),
        ({"hours": "always"}, "bad-hours"),
        ({"on": "eth 0"}, "bad-address"),
        ({"on": "eth0:1"}, "bad-address"),
        ({"ports": "ah"}, "bad-ports"),
        ({"trigger": "80:81"}, "bad-ports"),
        ({"trigger": "minecraft"}, "bad-ports"),
        ({"except": "x"}, "bad-ports"),
        ({"except": [1.5]}, "bad-value"),
        ({"hold": "soon"}, "bad-duration"),
        ({"log": "maybe"}, "bad-value"),
        ({"log": 1}, "bad-value"),
        ({"limit": "lots"}, "bad-rate"),
        ({"max_connections": 0}, "bad-value"),
        ({"max_connections": "-1"}, "bad-value"),
        ({"max_connections": 1_000_001}, "bad-value"),
        ({"proxy_protocol": 3}, "bad-value"),
        ({"idle": "0s"}, "bad-duration"),
        ({"to": True}, "bad-value"),
        ({"to": 1.5}, "bad-value"),
        ({"from_": [1.5]}, "bad-value"),
        ({"via": {}}, "bad-value"),
        ({"proxy_protocol": []}, "bad-value"),
    ],
)
def test_what_cannot_be_read_is_refused_by_its_own_code(words: dict[str, object], code: str) -> None:
    assert refused(**words).code == code


def test_the_client_names_the_target_where_that_is_said() -> None:
    for said in (True, "yes", "on"):
        assert read(socks=said).target == Target.parse_host("socks")
    assert read(to="socks") == read(socks=True)
    for unsaid in (False, "no", None):
        assert read(socks=unsaid) == Wish()
    assert refused(socks=True, to="db").code == "exclusive"
    assert refused(socks="perhaps").code == "bad-value"


def test_passwords_are_kept_as_what_they_are_held_against() -> None:
    users = read(socks_user=["bob:correct, horse", "alice:battery staple"]).socks_users
    assert isinstance(users, tuple)
    assert [user.name for user in users] == ["alice", "bob"]
    assert verify(users[1].text, b"correct, horse")
    assert "horse" not in repr(users) + str(users[1])
    # One text is one user, whatever is in the password; what was exported stands as it is.
    assert read(socks_user="bob:correct, horse").socks_users == (users[1],)
    assert read(socks_user=str(users[1])).socks_users == (users[1],)
    for nobody in ("none", "None", [], "", ["none"]):
        assert read(socks_user=nobody).socks_users is None


@pytest.mark.parametrize(
    "said",
    ["alice", "alice:short", ":long enough", "a b:long enough", "alice:scrypt$1$00$00", ["a:12345678"] * 2],
)
def test_what_is_no_user_is_refused_without_the_password(said: Any) -> None:
    problem = refused(socks_user=said)
    assert (problem.code, problem.facts["key"]) == ("bad-value", "socks_user")
    for language in ("en", "ja"):
        told = problem.title(language) + problem.fix(language)
        assert not any(secret in told for secret in ("short", "long enough", "12345678"))


def test_every_password_has_a_salt_of_its_own() -> None:
    salts = iter((bytes(16), bytes([1]) * 16))
    reading = Reading(NOW, "UTC", PRESETS.get, salt=lambda: next(salts))
    users = parse_wish({"socks_user": ["a:same words", "b:same words"]}, reading).socks_users
    assert isinstance(users, tuple)
    assert users[0].text != users[1].text
    assert users[0] == make_verifier("a:same words", bytes(16))
    with pytest.raises(RuntimeError, match="no salts"):
        parse_wish({"socks_user": "a:same words"}, Reading(NOW, "UTC", PRESETS.get))


def test_where_socks_clients_may_go_is_read() -> None:
    assert read(reach=["db:5432", "10.0.0.0/8"]).reach == Destinations.parse("db:5432,10.0.0.0/8")
    assert read(reach="none").reach == NOWHERE
    assert read(reach="anywhere").reach == Destinations.parse("*")
    assert refused(reach="10.0.0.5/8").code == "bad-destination"


def test_a_link_to_listen_beyond_is_read() -> None:
    assert read(at="VPS").at == "vps"
    assert read(at="none").at is None
    assert refused(at="self").code == "bad-name"
    assert refused(at="a b").code == "bad-name"


def test_a_path_takes_the_place_of_ports_and_address() -> None:
    wish = read(ports="unix:/run/App.sock")
    assert (wish.specs, wish.on, wish.preset) == (parse_ports("unix"), UnixPath("/run/App.sock"), None)
    assert read(ports="unix:/a", on="none").on == UnixPath("/a")
    assert read(ports="unix", on="unix:/a") == read(ports="unix:/a")
    assert refused(ports="unix:/a", on="192.0.2.1").code == "exclusive"
    for text in ("unix:/a,80", ["unix:/a", "unix:/b"], "unix:/a/", "80,unix:/a", "unix:a"):
        assert refused(ports=text).code == "bad-ports"
