"""Lines of authorized_keys: what is read, what is refused, and what the options leave."""

from __future__ import annotations

import ipaddress
import subprocess
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekimori.model.errors import Problem
from sekimori.wire.authorizedkeys import parse_line, parse_lines, permits_listen
from sekimori.wire.sshpatterns import AddressPatterns, Place, matches_pattern

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ3CK7yVoFQlNzSFqWGyLLLXV9k1ufVZ7gUaGDxMIkEl"
NOW = datetime(2026, 1, 1, tzinfo=ZoneInfo("UTC")).timestamp()


def options(text: str):
    return parse_line(f"{text} {KEY} a b").options


def refusal(line: str) -> str:
    with pytest.raises(Problem) as caught:
        parse_line(line)
    assert caught.value.code == "bad-key"
    assert caught.value.title("ja") != caught.value.title()
    return str(caught.value)


def test_a_key_alone() -> None:
    found = parse_line(f"  {KEY}  alice@laptop here \r\n")
    assert (found.algorithm, found.comment) == ("ssh-ed25519", "alice@laptop here")
    assert len(found.blob) == 4 + 11 + 4 + 32
    every = found.options
    assert every.allows_listen("anything", 1)
    assert every.allows_open("anything", 1)
    assert every.allows_from(ipaddress.ip_address("192.0.2.1"))
    assert not every.has_expired(NOW)
    assert every.permitted is None


@pytest.mark.parametrize(
    "kind", [["ed25519"], ["ecdsa", "-b", "384"], ["ecdsa", "-b", "521"], ["rsa", "-b", "2048"]]
)
def test_keys_as_ssh_keygen_makes_and_names_them(kind: list[str], tmp_path: Path) -> None:
    path = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-N", "", "-C", "me", "-f", path, "-t", *kind], check=True)
    found = parse_line((tmp_path / "key.pub").read_text())
    told = subprocess.run(["ssh-keygen", "-lf", f"{path}.pub"], check=True, capture_output=True, text=True)
    assert told.stdout.split()[1] == found.fingerprint
    assert found.comment == "me"
    assert "private key" in refusal(path.read_text())


def test_an_rsa_key_that_can_be_broken(tmp_path: Path) -> None:
    path = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-N", "", "-t", "rsa", "-b", "1024", "-f", path], check=True)
    assert "1024 bits" in refusal((tmp_path / "key.pub").read_text())


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("", "no public key"),
        ("ssh-ed25519", "is not such a key"),
        ("ssh-ed25519 AAAA", "is not such a key"),
        ("ssh-ed25519 " + KEY.split()[1][:-4], "is not such a key"),
        ("ssh-ed25519 " + KEY.split()[1] + "AAAA", "is not such a key"),
        ("ssh-rsa " + KEY.split()[1], "is not such a key"),
        ("ssh-dss AAAA", "not used any more"),
        ("restrict", "no public key"),
        ("restrict ssh-ed25519-cert-v01@openssh.com AAAA", "no public key"),
        (f"unheard-of {KEY}", "'unheard-of' is no option"),
        (f"restrictpty {KEY}", "no option"),
        (f"no-restrict {KEY}", "no option"),
        (f"no-cert-authority {KEY}", "no option"),
        (f'tunnel="0" {KEY}', "no option"),
        (f'restrict="yes" {KEY}', "no option"),
        (f"from {KEY}", "no option"),
        (f"from=10.0.0.1 {KEY}", "between double quotes"),
        (f'from="10.0.0.1 {KEY}', "between double quotes"),
        (f'from="10.0.0.1"x {KEY}', "no option"),
        (f'from="10.0.0.1/8" {KEY}', "the value of from"),
        (f'from="10.0.0.0/255.0.0.0" {KEY}', "the value of from"),
        (f'from="" {KEY}', "the value of from"),
        (f'from="a,,b" {KEY}', "the value of from"),
        (f'from="10.0.0.1",from="10.0.0.2" {KEY}', "twice"),
        (f'command="a",command="b" {KEY}', "twice"),
        (f'permitlisten="x:" {KEY}', "the value of permitlisten"),
        (f'permitlisten="0" {KEY}', "the value of permitlisten"),
        (f'permitlisten="65536" {KEY}', "the value of permitlisten"),
        (f'permitlisten="::1:80" {KEY}', "the value of permitlisten"),
        (f'permitopen="80" {KEY}', "the value of permitopen"),
        (f'permitopen="[::1:80" {KEY}', "the value of permitopen"),
        (f'expiry-time="2020" {KEY}', "the value of expiry-time"),
        (f'expiry-time="20201301" {KEY}', "the value of expiry-time"),
        (f'expiry-time="19700101Z" {KEY}', "the value of expiry-time"),
        (f'environment="A" {KEY}', "the value of environment"),
        (f'principals="a" {KEY}', "only beside cert-authority"),
        (f"verify-required {KEY}", "only beside"),
    ],
)
def test_what_refuses_a_key(line: str, told: str) -> None:
    assert told in refusal(line)


def test_what_is_read_and_has_no_effect() -> None:
    words = (
        'no-pty,pty,no-agent-forwarding,X11-Forwarding,no-user-rc,environment="A=b c",command="a \\"b\\" c"'
    )
    found = options(words)
    assert found.forwards
    assert found.command == 'a "b" c'


def test_the_last_word_about_forwarding_counts() -> None:
    assert not options("restrict").forwards
    assert options("restrict,port-forwarding").forwards
    assert not options("port-forwarding,RESTRICT").forwards
    assert not options("no-port-forwarding").forwards
    assert options("no-port-forwarding,,port-forwarding,").forwards


def test_permitlisten() -> None:
    found = options(
        'permitlisten="8080",permitlisten="localhost:9*",permitlisten="[::1]:22",permitlisten="*.Lan:*"'.replace(
            ":9*", ":9"
        )
    )
    assert found.allows_listen("", 8080)
    assert found.allows_listen("203.0.113.1", 8080)
    assert found.allows_listen("LOCALHOST", 9)
    assert not found.allows_listen("127.0.0.1", 9)
    assert found.allows_listen("::1", 22)
    assert not found.allows_listen("", 22)
    assert not found.allows_listen("a.lan", 80)  # OpenSSH lowers what is asked for, and not the pattern
    assert not found.allows_listen("localhost", 0)
    assert options('permitlisten="localhost:*"').allows_listen("localhost", 0)
    assert not options('restrict,permitlisten="8080"').allows_listen("localhost", 8080)
    assert found.permitted == ("*:8080", "localhost:9", "[::1]:22", "*.Lan:*")
    assert permits_listen(found.permitted, "::1", 22)
    assert not permits_listen(found.permitted, "::1", 23)
    assert not permits_listen((), "::1", 23)
    assert permits_listen(None, "::1", 23)


def test_permitopen() -> None:
    found = options('permitopen="db:5432",permitopen="*:443",permitopen="[::1]:*"')
    assert found.allows_open("db", 5432)
    assert not found.allows_open("DB", 5432)
    assert not found.allows_open("d", 5432)
    assert found.allows_open("anything", 443)
    assert found.allows_open("::1", 1)
    assert (found.names("db", 5432), found.names("anything", 443), found.names("::1", 1)) == (
        True,
        False,
        True,
    )
    assert not options('restrict,permitopen="db:5432"').names("db", 5432)
    assert not options('permitopen="d*:80"').allows_open("db", 80)  # no patterns here


def test_from() -> None:
    found = options('from="192.0.2.*,2001:DB8::/32,!192.0.2.7,host.example"')
    assert found.allows_from(ipaddress.ip_address("192.0.2.1"))
    assert found.allows_from(ipaddress.ip_address("::ffff:192.0.2.1"))
    assert not found.allows_from(ipaddress.ip_address("192.0.2.7"))
    assert found.allows_from(ipaddress.ip_address("2001:db8::7"))
    assert not found.allows_from(ipaddress.ip_address("198.51.100.1"))
    assert not options('from="!192.0.2.7"').allows_from(ipaddress.ip_address("192.0.2.1"))


def test_expiry() -> None:
    assert options('expiry-time="20200101"').has_expired(NOW)
    assert not options('expiry-time="20260101Z"').has_expired(NOW)
    assert options('expiry-time="20260101Z"').has_expired(NOW + 1)
    assert options('expiry-time="20300101",expiry-time="202001010000"').has_expired(NOW)
    tokyo = parse_line(f'expiry-time="20260101090000" {KEY}', ZoneInfo("Asia/Tokyo")).options
    assert tokyo.expires_at == NOW


def test_certificates() -> None:
    found = options('cert-authority,principals="a,b"')
    assert (found.certifies, found.principals) == (True, ("a", "b"))


def test_a_file() -> None:
    keys, problems = parse_lines(f"# mine\n\n{KEY} a\nnonsense {KEY}\n  # b\n restrict {KEY} c\n")
    assert [key.comment for key in keys] == ["a", "c"]
    assert [number for number, _ in problems] == [4]


def test_what_is_shown_of_a_line_moves_no_cursor() -> None:
    assert "\x1b" not in refusal("\x1b[2Jx " + KEY)


@given(st.text(max_size=200))
def test_any_text_is_a_key_or_a_problem(text: str) -> None:
    for line in (text, f"{text} {KEY}", f'from="{text}" {KEY}', f'permitopen="{text}" {KEY}'):
        keys, problems = parse_lines(line.replace("\n", ""))
        assert all(problem.code == "bad-key" for _, problem in problems)
        assert all(key.blob for key in keys)


@given(st.text("ab*?", max_size=12), st.text("ab", max_size=12))
def test_patterns_match_as_openssh_matches(pattern: str, text: str) -> None:
    assert matches_pattern(text, pattern) == _match_pattern(text, pattern)


def _match_pattern(text: str, pattern: str) -> bool:
    """match_pattern() of OpenSSH's match.c, by its words: the oracle."""
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(_match_pattern(text[at:], pattern.lstrip("*")) for at in range(len(text) + 1))
    return bool(text) and pattern[0] in ("?", text[0]) and _match_pattern(text[1:], pattern[1:])


@pytest.mark.parametrize("text", ["*:80", "[::1]:*", "host:65535", ":80"])
def test_places_are_written_as_they_are_read(text: str) -> None:
    assert str(Place.parse(text)) == text


def test_an_address_list_is_written_as_it_is_read() -> None:
    assert str(AddressPatterns.parse("10.0.0.0/8,!10.0.0.1")) == "10.0.0.0/8,!10.0.0.1"


@pytest.mark.parametrize("blank", [" ", "\t", " \t  "])
def test_tabs_are_blanks_too(blank: str) -> None:
    algorithm, text, *_ = KEY.split()
    found = parse_line(blank.join(('from="192.0.2.1",restrict', algorithm, text, "me and you")))
    assert (found.algorithm, found.comment) == (algorithm, "me and you")
    assert not found.options.forwards
    assert parse_line(f"{algorithm}{blank}{text}").blob == found.blob


@pytest.mark.parametrize("options", ["", "restrict", 'command="ssh-ed25519 AAAA \\" x",pty'])
def test_the_options_as_they_were_written(options: str) -> None:
    algorithm, text, *_ = KEY.split()
    # A comment may hold anything, and base64 has more than one way to write the last bits of some keys.
    assert parse_line(f"{options} {algorithm} {text} {algorithm} {text}").written == options
