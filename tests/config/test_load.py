"""The config file read: every value, and every refusal with its line and key."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekimori.config.load import load_config, parse_config
from sekimori.config.schema import ApiSettings, DaemonSettings, PolicySettings, RelaySettings
from sekimori.model.errors import Problem
from sekimori.model.lifetime import Lifetime
from sekimori.model.mapping import Owner, OwnerKind
from sekimori.model.words import Reading, parse_wish

WHOLE = """
[daemon]
state_dir = "/var/lib/sekimori"
socket = "/run/sekimori/sekimori.sock"
zone = "Europe/Berlin"
[api]
admins = ["alice", "@netadmin", "alice"]
viewers = ["@staff", 'CORP\\bob', "carol@example.org"]
[relay]
workers = 2
grace = "45s"
user = "nobody"
[policy]
lifetime = "12h"
longest = "90d"
confirm = "1m"
[lists]
office = ["198.51.100.0/24", "2001:db8:1::/48", "198.51.100.0/24"]
nobody-yet = []
[mappings.web]
ports = "8080:80"
to = "192.168.1.5"
from = ["office", "lan"]
for = "24h"
paused = false
[mappings."game.one"]
ports = "minecraft"
to = "kids-pc"
"""


def test_everything_a_file_can_say(read, reading):
    config = read(WHOLE)
    assert config.daemon == DaemonSettings(
        Path("/var/lib/sekimori"), Path("/run/sekimori/sekimori.sock"), "Europe/Berlin"
    )
    assert config.api == ApiSettings(("alice", "@netadmin"), ("@staff", "CORP\\bob", "carol@example.org"))
    assert config.relay == RelaySettings(2, 45, "nobody")
    assert config.policy == PolicySettings(12 * 3600, 90 * 86400, 60)
    assert {name: [str(each) for each in value] for name, value in config.lists.items()} == {
        "office": ["198.51.100.0/24", "2001:db8:1::/48"],
        "nobody-yet": [],
    }
    web, game = config.mappings
    assert (web.name, web.line, web.paused) == ("web", 20, False)
    said = {"name": "web", "ports": "8080:80", "to": "192.168.1.5", "from": "lan,office", "for": "24h"}
    assert web.wish == parse_wish(said, reading)
    assert (game.name, game.line, game.paused) == ("game.one", 26, None)
    assert config.text == WHOLE
    assert config.owner == Owner(OwnerKind.FILE, "/etc/sekimori/sekimori.toml")


@pytest.mark.parametrize("text", ["", "\ufeff", "# nothing\n", "[daemon]\n[mappings]\n[lists]\n"])
def test_an_empty_file_is_all_defaults(read, text):
    config = read(text)
    assert config.daemon == DaemonSettings(None, None, None)
    assert config.relay == RelaySettings(workers=None, grace=30, user=None)
    assert config.policy == PolicySettings(lifetime=86400, longest=None, confirm=30)
    assert (config.api, dict(config.lists), config.mappings) == (ApiSettings((), ()), {}, ())


MAPPING = '[mappings.web]\nports = "8080"\nto = "192.168.1.5"\n'


@pytest.mark.parametrize(
    ("text", "line", "key", "hint"),
    [
        ("\n\n[daemom]\n", 3, "daemom", "Did you mean 'daemon'?"),
        ("deamon.zone = 'UTC'", 1, "deamon", "Did you mean 'daemon'?"),
        ("[daemon]\n\nstatedir = '/x'", 3, "daemon.statedir", "Did you mean 'state_dir'?"),
        ("[daemon]\nstate-dir = '/x'", 2, "daemon.state-dir", "Did you mean 'state_dir'?"),
        ("daemon = { zone = 'UTC', sock = '/x' }", 1, "daemon.sock", "Did you mean 'socket'?"),
        ("[api]\nadmin = []", 2, "api.admin", "Did you mean 'admins'?"),
        ("relay.xyz = 1", 1, "relay.xyz", "Keys here: workers, grace, user."),
        ("[policy]\nlifetime = '1h'\n  'long est' = 1", 3, 'policy."long est"', "Did you mean 'longest'?"),
        (MAPPING + "form = 'lan'", 4, "mappings.web.form", "Did you mean 'from'?"),
        (MAPPING + "max-connections = 3", 4, "mappings.web.max-connections",
         "Did you mean 'max_connections'?"),
        (MAPPING + "name = 'x'", 4, "mappings.web.name",
         "The name is the key of the table: [mappings.NAME]."),
        ('[mappings.a.b]\nports = "1"', 1, "mappings.a.b",
         'For a name with a dot, write [mappings."a.b"].'),
        ("[mappings]\nx = { ports = '1', to = 'self',\tport = 2 }", 2, "mappings.x.port",
         "Did you mean 'ports'?"),
        ("mappings.x.ports = '1'\nmappings.x.to = 'h'\nmappings.x.untill = 1", 3, "mappings.x.untill",
         "Did you mean 'until'?"),
    ],
)  # fmt: skip
def test_unknown_keys(refusal, text, line, key, hint):
    assert refusal(text) == ("unknown-key", line, key, hint)


@pytest.mark.parametrize(
    ("text", "line", "key", "why"),
    [
        ("daemon = 1", 1, "daemon", "not a table; write [daemon]"),
        ("\n[[daemon]]\nzone='UTC'", 2, "daemon", "not a table"),
        ("[daemon]\nstate_dir = 'var/lib'", 2, "daemon.state_dir", "not an absolute path"),
        ("[daemon]\nstate_dir = ''", 2, "daemon.state_dir", "it is empty"),
        ('[daemon]\nstate_dir = "/a\\u0000b"', 2, "daemon.state_dir", "not an absolute path"),
        ("[daemon]\nsocket = 7", 2, "daemon.socket", "not text in quotes"),
        (f"[daemon]\n\nsocket = '/{'x' * 107}'", 3, "daemon.socket", "107 bytes at most"),
        (f"[daemon]\n\nsocket = '/{'関' * 40}'", 3, "daemon.socket", "107 bytes at most"),
        ("[daemon]\nzone = 'Asia/Tokio'", 2, "daemon.zone", "not an IANA time zone"),
        ("[daemon]\nzone = '../../etc/passwd'", 2, "daemon.zone", "not an IANA time zone"),
        ("[api]\nadmins = 'alice'", 2, "api.admins", "not a list of users and @groups"),
        ("[api]\nadmins = [\n'alice',\n'al ice']", 2, "api.admins", "'al ice' is not the name"),
        ("[api]\nviewers = [1]", 2, "api.viewers", "not text in quotes"),
        ("[api]\nviewers = ['@']", 2, "api.viewers", "'@' is not the name"),
        ("[relay]\nworkers = 0", 2, "relay.workers", "not a number from 1 to 256"),
        ("[relay]\nworkers = 257", 2, "relay.workers", "not a number from 1 to 256"),
        ("[relay]\nworkers = true", 2, "relay.workers", "not a number"),
        ("[relay]\nworkers = '2'", 2, "relay.workers", "not a number"),
        ("[relay]\nworkers = 2.0", 2, "relay.workers", "not a number"),
        ("[relay]\ngrace = '30'", 2, "relay.grace", "cannot read the duration '30'"),
        ("[relay]\ngrace = 30", 2, "relay.grace", "not text in quotes"),
        ("[relay]\nuser = '@staff'", 2, "relay.user", "'@staff' is not the name of a user"),
        ("[relay]\nuser = 'root:root'", 2, "relay.user", "not the name of a user"),
        ("[policy]\nlifetime = 'ever'", 2, "policy.lifetime", "cannot read the duration 'ever'"),
        ("[policy]\nlifetime = '0s'", 2, "policy.lifetime", "no time at all"),
        ("[policy]\nlongest = '20y'", 2, "policy.longest", "cannot read the duration"),
        ("[policy]\nlongest = '2h'\nlifetime = '3h'", 3, "policy.lifetime",
         "lifetime (3h) is more than longest (2h)"),
        ("[policy]\nlongest = '2h'", 2, "policy.longest", "lifetime (24h) is more than longest (2h)"),
        ("[policy]\nconfirm = '4s'", 2, "policy.confirm", "log in again in less than 5 s"),
        ("[policy]\nconfirm = 30", 2, "policy.confirm", "not text in quotes"),
        ("lists = []", 1, "lists", "not a table; write [lists]"),
        ("[lists]\nlan = []", 2, "lists.lan", "a meaning of its own"),
        ("[lists]\nanyone = []", 2, "lists.anyone", "a meaning of its own"),
        ("[lists]\nOffice = []", 2, "lists.Office", "a list's name has a-z"),
        ("[lists]\n'a,b' = []", 2, 'lists."a,b"', "a list's name has a-z"),
        ("[lists]\n'10.0.0.1' = []", 2, 'lists."10.0.0.1"', "a list's name has a-z"),
        ("[lists]\n'' = []", 2, 'lists.""', "a list's name has a-z"),
        ("[lists]\na = '10.0.0.0/8'", 2, "lists.a", "not a list of prefixes in brackets"),
        ("[lists]\na = { b = [] }", 2, "lists.a", "not a list of prefixes in brackets"),
        ("[lists]\na = [\n '10.0.0.0/8',\n # x\n '10.0.0.1/8',\n]", 5, "lists.a[1]",
         "'10.0.0.1/8': it has bits beyond its prefix"),
        ("[lists]\na = ['other']", 2, "lists.a[0]", "'other': it is neither a prefix"),
        ("[lists]\na = [10]", 2, "lists.a[0]", "not text in quotes"),
        ("[[mappings]]\nports = '1'", 1, "mappings", "not a table; write [mappings]"),
        ("[mappings]\n\nweb = '8080:80'", 3, "mappings.web", "not a table; write [mappings.web]"),
        ("[mappings]\nweb = []", 2, "mappings.web", "not a table"),
        ('\n[mappings."9lives"]\n', 2, 'mappings."9lives"'.replace('"', ""), "cannot use the name '9lives'"),
        ('[mappings.""]\n', 1, 'mappings.""', "it is empty"),
        ("[mappings.self]\n", 1, "mappings.self", "a meaning of its own"),
        ("\n\n[mappings.web]\nto = 'self'", 3, "mappings.web", "'ports' is missing"),
        ("[mappings.web]\nports = '80'", 1, "mappings.web", "'to' is missing"),
        (MAPPING + "\n[mappings.WEB]\nports='1'\nto='h'", 5, "mappings.WEB", "'web' on line 1 is the same"),
        (MAPPING + "for = '1h'\nuntil = 2027-12-01", 5, "mappings.web.until", "'for' is given too"),
        (MAPPING + "permanent = 'x'\nfor = '1h'", 4, "mappings.web.permanent", "'for' is given too"),
        (MAPPING + "paused = 'no'", 4, "mappings.web.paused", "neither true nor false"),
        (MAPPING + "paused = 1", 4, "mappings.web.paused", "neither true nor false"),
        (MAPPING + "zone = 'Mars'", 4, "mappings.web.zone", "not an IANA time zone"),
        (MAPPING + "zone = 9", 4, "mappings.web.zone", "not text"),
    ],
)  # fmt: skip
def test_bad_values(refusal, text, line, key, why):
    code, *where, cause = refusal(text)
    assert (code, where) == ("bad-config", [line, key])
    assert why in cause


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("\na = ", 2, "up to the end"),
        ("\n\na b = 1", 3, "column 3"),
        ("[daemon]\nzone = 'x\n\n[api]\nadmins = []\n", 2, "up to the end"),
        ("[daemon]\n[daemon]\n", 2, "column 8"),
        ("[lists]\na = []\na = []\n", 3, "column 7"),
        ("[daemon]\nzone = 'x\n\n[api]\nadmins = ['a']\n", 2, "column 10"),
        ("[lists]\na = [\n1,\n", 2, "up to the end"),
        ('\n\nx = """\nabc\n[y]\nz = 1\n', 3, "up to the end"),
        ("a = 1\n[mappings", 2, "up to the end"),
        ("a = 1\n'b", 2, "up to the end"),
        ("\n\nx = " + "1" * 5000, 3, "number"),
        ("\n\nx = " + "[" * 20000, 3, "brackets"),
        ("# \u2028 \x85 no ends of lines here\nx = 1 1", 2, "column 7"),
    ],
)
def test_syntax_errors_have_their_line(refusal, text, line, key):
    code, *where, cause = refusal(text)
    assert (code, where) == ("bad-config", [line, key])
    assert cause
    assert "at line" not in cause


def test_a_file_is_read_under_its_absolute_name(tmp_path, reading, monkeypatch):
    (tmp_path / "s.toml").write_bytes(b"\xef\xbb\xbf[relay]\r\nworkers = 3\r\n")
    monkeypatch.chdir(tmp_path)
    config = load_config(Path("x/../s.toml"), reading)
    assert config.relay.workers == 3
    assert config.path == tmp_path / "s.toml"
    assert config.owner.id == os.fspath(tmp_path / "s.toml")


def test_a_text_given_for_a_file_has_the_files_own_name(read):
    assert read("", path=Path("/etc/x/../sekimori.toml")).owner.id == "/etc/sekimori.toml"


def test_a_symlink_keeps_its_own_name(tmp_path, reading):
    (tmp_path / "v1.toml").write_text("")
    (tmp_path / "current").symlink_to("v1.toml")
    assert load_config(tmp_path / "current", reading).path == tmp_path / "current"


@pytest.mark.parametrize("name", ["missing.toml", "."])
def test_what_is_no_readable_file_is_told(tmp_path, reading, name):
    with pytest.raises(Problem) as caught:
        load_config(tmp_path / name, reading)
    assert caught.value.code == "no-config"
    assert str(tmp_path) in caught.value.title()


def test_bytes_that_are_no_text_have_their_line(tmp_path, reading):
    file = tmp_path / "s.toml"
    file.write_bytes(b"# one\n[daemon]\nzone = '\xff'\n")
    with pytest.raises(Problem) as caught:
        load_config(file, reading)
    assert {name: caught.value.fact(name) for name in caught.value.facts} == {
        "file": str(file), "line": 3, "key": "byte 0xff", "why": "it is not UTF-8"
    }  # fmt: skip


def test_times_are_read_in_the_files_own_zone(read):
    def ends(text: str) -> int:
        lifetime = read(text).mappings[0].wish.lifetime
        assert isinstance(lifetime, Lifetime)
        assert lifetime.expires_at is not None
        return lifetime.expires_at

    entry = MAPPING + "until = 2027-12-01T00:00:00\n"
    utc = "[daemon]\nzone = 'UTC'\n" + entry
    assert ends(utc) - ends(entry) == 9 * 3600
    assert ends(utc + "zone = 'America/New_York'") - ends(utc) == 5 * 3600


SNIPPETS = st.sampled_from(
    ["[mappings.w]", "[lists]", "[[x]]", "ports", "to", "for", "until", "daemon", "=", ".", ",", "\n", " ",
     "'8080'", '"self"', "2027-01-01", "[", "]", "{", "}", '"""', "'''", "#", "\\", "1", "true", "nan"]
)  # fmt: skip


@given(st.lists(SNIPPETS, max_size=25).map("".join) | st.text(max_size=40))
def test_any_text_is_a_config_or_a_problem_with_a_line_that_exists(reading, text):
    problem = problem_of(text, reading)
    if problem is not None:
        assert problem.code in ("bad-config", "unknown-key")
        assert int(str(problem.facts["line"])) in range(1, text.count("\n") + 2)
        assert problem.facts["key"]


def problem_of(text: str, reading: Reading) -> Problem | None:
    try:
        parse_config(text, Path("/f"), reading)
    except Problem as problem:
        return problem
    return None
