"""Every cause speaks both languages, and no Japanese sentence has an English one inside."""

from __future__ import annotations

import ast
import errno
import re
import string
from collections.abc import Callable
from pathlib import Path

import pytest

import sekimori
from sekimori.config.load import load_config, parse_config
from sekimori.model.address import parse_address, parse_ports
from sekimori.model.causes import CAUSES, Unreadable, cause, in_language, near, os_cause
from sekimori.model.destination import Destinations
from sekimori.model.door import ListenAt
from sekimori.model.errors import Problem
from sekimori.model.grantwords import parse_grant
from sekimori.model.lifetime import Lifetime, parse_duration, parse_instant
from sekimori.model.limits import Rate
from sekimori.model.link import SshPlace, check_link_name
from sekimori.model.mapping import OwnerKind, check_name
from sekimori.model.permission import Permission
from sekimori.model.schedule import Schedule, load_zone
from sekimori.model.socks import make_verifier
from sekimori.model.source import Sources
from sekimori.model.target import pair_ports, parse_target
from sekimori.model.user import check_user_name
from sekimori.model.words import Reading, parse_wish
from sekimori.presets.load import load_presets
from sekimori.wire.authorizedkeys import parse_line

SOURCE = Path(sekimori.__file__).parent
PRESETS = load_presets()
READING = Reading(1_750_000_000.0, "Asia/Tokyo", PRESETS.get, PRESETS.suggest)
JAPANESE = re.compile(r"[ぁ-んァ-ヶ一-龠]")
SENTENCE = re.compile(r"[A-Za-z]+'? [a-z]+ [a-z]+")
"""Three English words on end: no option, path, name or value has them."""
COMMAND = re.compile(r"sekimori [a-z ]+")
"""A command to type, the same in every language."""
NOT_TRANSLATED = {"owner-person", "quoted", "with-near", "both", "plane-says"}
"""What is only made of facts."""


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("key", CAUSES)
def test_every_cause_is_told_in_both_languages(key: str) -> None:
    english, japanese = CAUSES[key]
    assert placeholders(english) == placeholders(japanese)
    told = cause(key, **{name: f"<{name}>" for name in placeholders(english)})
    assert set(told) == {"en", "ja"}
    assert all(f"<{name}>" in text for text in told.values() for name in placeholders(english))
    assert key in NOT_TRANSLATED or JAPANESE.search(told["ja"])
    assert not JAPANESE.search(told["en"])
    assert not SENTENCE.search(COMMAND.sub("", told["ja"]))


def test_every_cause_is_used_and_every_key_in_the_source_is_one() -> None:
    paths = [path for path in SOURCE.rglob("*.py") if not path.name.startswith("causes")]
    texts = [path.read_text(encoding="utf-8") for path in paths]
    source = "".join(texts) + "".join(f'"owner-{kind}"' for kind in OwnerKind)
    own = (SOURCE / "model/causes.py").read_text(encoding="utf-8")
    by_errno = set(re.findall(r'errno\.\w+: "([a-z-]+)"', own)) | {"near"}
    stems = tuple(re.findall(r'f"((?:[a-z]+-)+)\{', source))  # of keys that are put together
    assert {key for key in CAUSES if f'"{key}"' not in source and not key.startswith(stems)} <= by_errno
    said = re.findall(r'(?:\bcause|Unreadable)\(\s*"([a-z0-9-]+)"', source + own)
    assert set(said) <= set(CAUSES)


def test_facts_may_be_texts_by_language_themselves() -> None:
    told = cause("quoted", text="x", why=cause("empty"))
    assert told == {"en": "'x': it is empty", "ja": "「x」: 空です"}
    assert in_language({"en": "only"}, "ja") == "only"
    assert in_language(7, "ja") == 7
    assert near([]) == ""
    assert in_language(near(["web", "www"]), "ja") == "近いもの: web, www。"
    error = Unreadable("not-a-day", text="xyz")
    assert str(error) == error.why["en"] != error.why["ja"]


def test_what_the_system_says_is_told_by_language_where_people_meet_it() -> None:
    assert os_cause(OSError(errno.EACCES, "Permission denied")) == cause("may-not")
    assert os_cause(OSError(errno.EXDEV, "odd")) == {"en": "odd", "ja": "odd"}
    assert os_cause(OSError("no number")) == {"en": "no number", "ja": "no number"}


def instant(text: str) -> object:
    return parse_instant(text, READING.now, load_zone(READING.zone))


def joined(ports: str, target: str) -> object:
    host, inside = parse_target(target)
    return pair_ports(parse_ports(ports), inside, str(host))


def wish(**words: object) -> object:
    return parse_wish(words, READING)


REFUSED: list[tuple[str, Callable[[], object]]] = [
    *(
        ("bad-ports", lambda t=text: parse_ports(t))
        for text in ("abc", "", "0", "70000", "9-5", "1-", "icmp/5", "gre/5", "ah")
    ),
    ("bad-ports", lambda: joined("80,70-90", "192.0.2.1")),
    ("bad-destination", lambda: Destinations.parse("10.0.0.5/8")),
    ("bad-destination", lambda: Destinations.parse("db.example:0")),
    *(
        ("bad-listen", lambda text=text: ListenAt.parse(text))
        for text in ("2222", "gateway:22", "fd00::1:22", "192.0.2.1:0", "192.0.2.1:1-2")
    ),
    *(
        ("bad-link", lambda text=text: SshPlace.parse(text))
        for text in ("http://vps", "ssh://a:b@vps", "ssh://a b@vps", "ssh://vps:x", "ssh://vps/path")
    ),
    ("bad-name", lambda: check_link_name("relay")),
    ("bad-name", lambda: check_user_name("")),
    *(
        ("bad-key", lambda text=text: parse_line(text))
        for text in (
            "x",
            "ssh-ed25519 AAAA",
            "no-such-option ssh-ed25519 AAAA",
            "-----BEGIN OPENSSH PRIVATE KEY-----",
        )
    ),
    ("bad-value", lambda: parse_grant({"quota": "much"})),
    ("bad-value", lambda: parse_grant({"port": "80"})),
    ("bad-value", lambda: parse_grant({"most": 0})),
    ("bad-value", lambda: make_verifier("user:short", b"salt")),
    ("bad-value", lambda: make_verifier("user:" + "x" * 256, b"salt")),
    ("bad-value", lambda: make_verifier("user:scrypt$", b"salt")),
    ("bad-value", lambda: make_verifier("us er:long enough", b"salt")),
    ("range-mismatch", lambda: parse_ports("8000-8002:9000")),
    ("bad-address", lambda: parse_address("x")),
    *(
        ("bad-target", lambda t=text: parse_target(t))
        for text in ("", "192.168.1", "a b", "[::1", "a:x", "::", "::/-64")
    ),
    ("bad-target", lambda: joined("80:81", "192.0.2.1:82")),
    ("bad-target", lambda: joined("80,90", "192.0.2.1:82")),
    ("bad-target", lambda: joined("gre", "192.0.2.1:82")),
    ("bad-ports", lambda: wish(trigger="80:81")),
    ("bad-value", lambda: wish(log="maybe")),
    *(
        ("bad-source", lambda t=text: Sources.parse(t))
        for text in ("", "1.2.3.4.5", "192.0.2.1/24", "anyone,lan")
    ),
    *(("bad-duration", lambda t=text: parse_duration(t)) for text in ("x", "0s", "99999d")),
    *(("bad-time", lambda t=text: instant(t)) for text in ("x", "2001-01-01", "2199-01-01")),
    *(
        ("bad-hours", lambda t=text: Schedule.parse(t, "UTC"))
        for text in ("mon", "", "mon/x", "mon/09:00-09:00", "mon/25:00-26:00", "xyz/09:00-10:00")
    ),
    ("bad-value", lambda: load_zone("Mars/Olympus")),
    ("bad-value", lambda: Lifetime.permanent(" ")),
    ("bad-value", lambda: wish(max_connections="0")),
    ("bad-value", lambda: wish(proxy_protocol="3")),
    ("bad-value", lambda: wish(to=True)),
    *(("bad-rate", lambda t=text: Rate.parse(t)) for text in ("x", "0/s")),
    *(("bad-name", lambda t=text: check_name(t)) for text in ("", "1x", "lan")),
    *(
        ("bad-permission", lambda t=text: Permission.parse(t))
        for text in ("", "permit all", "allow all outside", "allow all gre", 'allow all matching "a')
    ),
    ("bad-permission", lambda: Permission.parse("allow ff:ff:ff:ff:ff:ff")),
    ("no-such-preset", lambda: wish(ports="minecrft")),
    ("no-config", lambda: load_config(Path("/nowhere/at-all.toml"), READING)),
]

WEB = "[mappings.web]\nports = '80'\nto = '192.0.2.1'\n"
CONFIGS = [
    "[daemon]\nsocket = 'x'\n",
    f"[daemon]\nsocket = '/{'x' * 200}'\n",
    "[daemon]\nzone = 'Mars/Olympus'\n",
    "[daemon]\nstate_dir = 5\n",
    "[daemon]\nstate_dir = ''\n",
    "daemon = 5\n",
    "[api]\nadmins = 'x'\n",
    "[api]\nadmins = ['a b']\n",
    "[relay]\nuser = 'a b'\n",
    "[relay]\nworkers = 0\n",
    "[policy]\nlongest = '2h'\n",
    "[policy]\nlifetime = 'x'\n",
    "[lists]\nx = 'y'\n",
    "[lists]\nlan = []\n",
    "[lists]\n'X y' = []\n",
    "[lists]\nx = ['192.0.2.1/24']\n",
    f"x = {'[' * 500}{']' * 500}\n",
    f"x = {'9' * 5000}\n",
    "[line]\nstun = 'x'\n",
    "[line]\nstun = ['a b']\n",
    "[line]\nevery = '5s'\n",
    "[line]\nmap_e = [{ipv6 = 'x'}]\n",
    "[line]\nports = {psid = 3}\n",
    "[line]\ninbound6 = 'maybe'\n",
    "[doors.igd]\ninterfaces = []\n",
    "[doors.igd]\ninterfaces = ['192.0.2.1']\n",
    "[doors.igd]\ninterfaces = ['lan0']\nversion = 3\n",
    "[doors.portmap]\ninterfaces = ['lan0']\nnonce = 'odd'\n",
    "[doors]\npermissions = 'deny all'\n",
    "[doors]\npermissions = ['permit all']\n",
    "[doors.ssh]\n",
    "[doors.ssh]\nlisten = '2222'\n",
    "[doors.ssh]\nlisten = '*:22'\nauthorized_keys = 'keys'\n",
    "[doors.ssh]\nlisten = '*:22'\n[doors.ssh.grant]\nport = '8'\n",
    "[links]\nvps = 5\n",
    "[links.vps]\nto = 'http://vps'\n",
    "[links.vps]\nto = 'vps'\nhost_keys = ['abc']\n",
    "[links.vps]\nto = 'vps'\nhost_keys = ['other ssh-ed25519 AAAA']\n",
    "[links.vps]\nto = 'vps'\njump = 5\n",
    "[links.vps]\nto = 'vps'\nconnections = 99\n",
    "[users]\nbob = 5\n",
    "[users.bob]\nkeys = 'x'\n",
    "[users.bob]\nkeys = ['x']\n",
    "[users.bob]\nquota = 'much'\n",
    "mappings.web = 5\n",
    WEB + WEB.replace("web", "WEB"),
    WEB + "until = '18:00'\n",
    WEB + "until = '2026-99-99'\n",
    WEB + "until = '2199-01-01'\n",
    WEB + "for = '1h'\npermanent = 'x'\n",
    WEB + "paused = 5\n",
    WEB + "zone = 5\n",
    WEB + "nmae = 5\n",
    WEB + "name = 'x'\n",
    "[mappings.a.b]\nports = '80'\n",
    "[mappings.web]\nto = '192.0.2.1'\n",
    "[mappings.web]\nports = 'minecrft'\nto = '192.0.2.1'\n",
    "[mappings.web]\nports = '80-82:90'\nto = '192.0.2.1'\n",
]


@pytest.mark.parametrize(("code", "read"), REFUSED)
def test_no_japanese_title_has_an_english_sentence(code: str, read: Callable[[], object]) -> None:
    with pytest.raises(Problem) as caught:
        read()
    assert caught.value.code == code
    _is_japanese(caught.value)


def test_every_code_of_bad_words_is_tried() -> None:
    from sekimori.model.messages import MESSAGES

    # Below, in tests/doors/api/test_problems.py, and in tests/policy.
    elsewhere = {"bad-config", "bad-request", "bad-ban", "bad-host-key"}
    assert {code for code in MESSAGES if code.startswith("bad-")} == elsewhere | {
        code for code, _ in REFUSED if code.startswith("bad-")
    }


@pytest.mark.parametrize("text", CONFIGS)
def test_nor_has_one_of_the_config_file(text: str) -> None:
    with pytest.raises(Problem) as caught:
        parse_config(text, Path("/etc/s.toml"), READING)
    assert caught.value.code in ("bad-config", "unknown-key")
    _is_japanese(caught.value)


def _is_japanese(problem: Problem) -> None:
    for text in (problem.title("ja"), problem.fix("ja")):
        assert JAPANESE.search(text)
        assert not SENTENCE.search(text.replace(str(problem.fact("text")), "")), text
        assert "{'en'" not in text
    assert not JAPANESE.search(problem.title() + problem.fix())


def test_no_refusal_of_words_is_given_an_english_cause() -> None:
    """Whoever raises one of these gives its cause by language."""
    others = ("no-config", "unreachable", "unknown-key")
    wrong = []
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Name(id="Problem"), args=[ast.Constant(value=str(code)), *_]):
                    if not code.startswith("bad-") and code not in others:
                        continue
                    texts = [each for each in node.keywords if each.arg in ("why", "hint", "what")]
                    if any(isinstance(each.value, ast.Constant | ast.JoinedStr) for each in texts):
                        wrong.append(f"{path.relative_to(SOURCE)}:{node.lineno}")
    assert wrong == []
