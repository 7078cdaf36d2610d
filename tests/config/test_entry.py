"""One mapping of the file: the words of a request, each refused on its own line."""

from __future__ import annotations

import tomllib
from dataclasses import replace

import pytest

from sekimori.model.address import parse_spans
from sekimori.model.lifetime import Lifetime
from sekimori.model.request import UNSAID
from sekimori.model.schedule import Schedule
from sekimori.model.words import FIELDS, parse_wish
from sekimori.testing.strategies import NOW

BASE = '[mappings.web]\nports = "8080:80"\nto = "192.168.1.5"\n'

WORDS = {
    "ports": '"tcp+udp/8000-8001:9000-9001"',
    "to": '"nas.lan"',
    "socks": "true",
    "from": '["198.51.100.0/24", "lan"]',
    "for": '"2h"',
    "until": '"2027-12-01T18:00+09:00"',
    "permanent": '"the mail server"',
    "hours": '"mon-fri/09:00-18:00"',
    "on": '"2001:db8::1"',
    "via": '"relay"',
    "at": '"vps"',
    "limit": '"20/min"',
    "limit_total": '"5/s"',
    "max_connections": "100",
    "proxy_protocol": "2",
    "idle": '"10m"',
    "trigger": '"tcp/6667"',
    "hold": '"20m"',
    "except": '["tcp/443", "gre"]',
    "socks_user": f'["alice:scrypt$1024${"00" * 16}${"00" * 32}"]',
    "reach": '["db:5432", "10.0.0.0/8"]',
    "log": "true",
    "accept_risk": '["exposed-admin"]',
}


def test_every_word_but_the_name_can_stand_in_a_file():
    assert set(WORDS) == set(FIELDS) - {"name"}


@pytest.mark.parametrize("word", [word for word in WORDS if word != "until"])
def test_each_word_means_what_it_means_elsewhere(read, reading, word):
    more = ("trigger",) if word == "hold" else ()
    where = "socks" if word == "socks" else "to"
    lines = {key: WORDS[key] for key in ("ports", where, *more, word)}
    text = "[mappings.web]\n" + "".join(f"{key} = {value}\n" for key, value in lines.items())
    words = {key: tomllib.loads(f"value = {value}")["value"] for key, value in lines.items()}
    assert read(text).mappings[0].wish == parse_wish({"name": "web", **words}, reading)


@pytest.mark.parametrize(
    ("written", "instant"),
    [
        ('"2027-12-01"', 1_827_586_800 + 86400),
        ("2027-12-01", 1_827_586_800 + 86400),
        ('"2027-12-01 00:00"', 1_827_586_800),
        ("2027-12-01 00:00:00", 1_827_586_800),
        ("2027-12-01T00:00:00.9", 1_827_586_800),
        ("2027-12-01T00:00:00+09:00", 1_827_586_800),
        ("2027-12-01T00:00:00Z", 1_827_586_800 + 9 * 3600),
        ('"2027-12-01t00:00z"', 1_827_586_800 + 9 * 3600),
        ("2001-01-01T00:00:00Z", 978_307_200),
        (f'"{"1970-01-01"}"', 86400 - 9 * 3600),
    ],
)
def test_until_is_an_instant_though_it_may_have_passed(read, written, instant):
    entry = read(f"{BASE}until = {written}").mappings[0]
    assert entry.wish.lifetime == Lifetime.until(instant)
    assert entry.wish_at(NOW + 60) == entry.wish
    assert not entry.has_passed(instant - 1)
    assert entry.has_passed(instant)


def test_a_duration_runs_from_whenever_it_is_wished(read):
    entry = read(f'{BASE}for = "2h"').mappings[0]
    assert entry.wish_at(NOW).lifetime == Lifetime.lasting(7200, NOW)
    assert entry.wish_at(NOW + 60).lifetime == Lifetime.lasting(7200, NOW + 60)
    assert not entry.has_passed(NOW + 7200)


def test_nothing_said_about_time_stays_unsaid(read):
    entry = read(BASE).mappings[0]
    assert entry.wish_at(NOW + 60) == entry.wish == replace(entry.wish, lifetime=UNSAID)


def test_a_trigger_takes_the_place_of_the_target(read, refusal):
    entry = read('[mappings.irc]\nports = "113"\ntrigger = ["6667", "6697"]\n').mappings[0]
    assert (entry.wish.target, entry.wish.trigger) == (UNSAID, parse_spans("6667,6697"))
    code, _, key, why = refusal('[mappings.irc]\nports = "113,100-120"\ntrigger = "6667"\n')
    assert (code, key) == ("bad-config", "mappings.irc.ports")
    assert "the same outside port stands in both" in why


def test_hours_are_in_the_entrys_zone_or_the_readings(read):
    hours = f'{BASE}hours = "daily/09:00-18:00"\n'
    for zone, text in (("Asia/Tokyo", hours), ("UTC", hours + 'zone = "UTC"')):
        assert read(text).mappings[0].wish.schedule == Schedule.parse("daily/09:00-18:00", zone)


@pytest.mark.parametrize(
    ("line", "key", "why"),
    [
        ('from = "10.0.0.1/8"', "from", "cannot read the source '10.0.0.1/8'"),
        ('from = ["lan", 7.5]', "from", "cannot use from = 7.5: it is not text"),
        ("from = []", "from", "it names nobody"),
        ('for = "1 hour"', "for", "cannot read the duration '1 hour'"),
        ("for = 3600", "for", "cannot read the duration '3600'"),
        ('until = "18:00"', "until", "a file needs the whole date"),
        ('until = "tonight"', "until", "a file needs the whole date"),
        ("until = 18:00:00", "until", "a file needs the whole date"),
        ("until = 1800000000", "until", "a file needs the whole date"),
        ('until = "2027-02-30"', "until", "'2027-02-30' is not a time"),
        ('until = "0001-01-01"', "until", "'0001-01-01' is not a time"),
        ('until = "2027-01-01 25:00"', "until", "is not a time"),
        ("until = 2127-01-01", "until", "more than ten years away"),
        ('permanent = " "', "permanent", "needs a written reason"),
        ("permanent = true", "permanent", "it is not text"),
        ('hours = "mon-fri"', "hours", "cannot read the hours"),
        ('on = "eth 0"', "on", "cannot read the address 'eth 0'"),
        ('hold = "10m"', "hold", "'trigger' is missing"),
        ('trigger = "80:81"', "trigger", "these ports lead nowhere"),
        ('except = ["x"]', "except", "'x' is not a port"),
        ('log = "maybe"', "log", "neither on nor off"),
        ("log = 1", "log", "neither on nor off"),
        ("via = 1.5", "via", "it is not text"),
        ('limit = "20"', "limit", "cannot read the rate '20'"),
        ('limit_total = "0/s"', "limit_total", "nothing could ever come in"),
        ("max_connections = 0", "max_connections", "not a number from 1 to 1000000"),
        ("max_connections = 1.5", "max_connections", "it is not text"),
        ("proxy_protocol = 3", "proxy_protocol", "the versions are 1 and 2"),
        ('idle = "-1s"', "idle", "cannot read the duration '-1s'"),
        ("accept_risk = { a = 1 }", "accept_risk", "it is not text"),
    ],
)
def test_a_word_that_cannot_be_read_is_told_with_its_line(refusal, line, key, why):
    code, *where, cause = refusal(f"{BASE}# a comment\n{line}\n")
    assert (code, where) == ("bad-config", [5, f"mappings.web.{key}"])
    assert why in cause


@pytest.mark.parametrize(
    ("ports", "to", "guilty", "why"),
    [
        ('"80-79"', '"h"', "ports", "runs backwards"),
        ('"mincraft"', '"h"', "ports", "cannot find a preset 'mincraft' (Near: minecraft"),
        ("[]", '"h"', "ports", "a port is missing"),
        ('"1-3:1-2"', '"h"', "ports", "3 outside ports, 2 inside"),
        ('["80", "tcp/80:81"]', '"h"', "ports", "the same outside port stands in both"),
        ('"80"', '"h:x"', "to", "cannot read the target 'h:x'"),
        ('"80"', '"1.2.3"', "to", "it is not a whole IPv4 address"),
        ('"80:81"', '"h:82"', "to", "the inside port is given twice"),
        ('"80,81"', '"h:82"', "to", "one inside port cannot serve several"),
        ('"80-85"', '"h:82-83"', "to", "6 outside ports, 2 inside"),
        ('"gre"', '"h:80"', "to", "gre has no ports, so the target takes none"),
    ],
)
def test_ports_and_target_that_do_not_go_together(refusal, ports, to, guilty, why):
    code, line, key, cause = refusal(f"[mappings.web]\nports = {ports}\nto = {to}\n")
    assert (code, key) == ("bad-config", f"mappings.web.{guilty}")
    assert line == {"ports": 2, "to": 3}[guilty]
    assert why in cause
