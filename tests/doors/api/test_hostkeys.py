"""Which host keys a link is to trust: what was said, what was pinned, what is known, and nothing else."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from sekimori.doors.api.hostkeys import Pin, fingerprint_of, trust
from sekimori.model.errors import Problem
from sekimori.model.link import Link, SshPlace
from sekimori.model.linkfacts import HostKey, KeyStanding, LinkFacts, LinkTest
from sekimori.model.mapping import Owner

VPS = "ssh://alice@vps.example"
JUMP = "ssh://jump.example"
LINK = Link(name="vps", owner=Owner.parse("person:alice"), place=SshPlace.parse(VPS))


def blob(number: int) -> str:
    return base64.b64encode(b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20" + bytes([number]) * 32).decode()


def key(
    number: int = 1, place: str = VPS, standing: KeyStanding = KeyStanding.UNKNOWN, *expected: str
) -> HostKey:
    text = blob(number)
    return HostKey(place, "ssh-ed25519", text, fingerprint_of(text), standing, expected)


class Servers:
    """Answers scans; what is pinned by the link is told as pinned."""

    def __init__(self, answer: Callable[[Link], Sequence[HostKey]]) -> None:
        self._answer = answer
        self.scans = 0

    def told(self) -> dict[str, LinkFacts]:
        return {}

    async def scan(self, link: Link) -> Sequence[HostKey]:
        self.scans += 1
        assert self.scans < 10, "it goes on asking"
        return [
            replace(each, standing=KeyStanding.PINNED) if each.line in link.host_keys else each
            for each in self._answer(link)
        ]

    async def test(self, link: Link) -> LinkTest:
        raise AssertionError("nobody tries it here")


def showing(*keys: HostKey) -> Servers:
    return Servers(lambda _link: keys)


def silent(_link: Link) -> Sequence[HostKey]:
    raise Problem("no-such-host", host="vps.example", why="nobody knows it")


def test_a_fingerprint_is_the_one_ssh_keygen_tells(tmp_path):
    file = tmp_path / "k"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(file)], check=True)
    told = subprocess.run(
        ["ssh-keygen", "-lf", f"{file}.pub"], check=True, capture_output=True, text=True
    ).stdout
    line = (tmp_path / "k.pub").read_text()
    assert fingerprint_of(line.split()[1]) == told.split()[1]
    assert Pin.parse(line).key == " ".join(line.split()[:2])


@pytest.mark.parametrize(
    ("text", "pin"),
    [
        (key().fingerprint, Pin(key().fingerprint)),
        (f" {key().fingerprint}= ", Pin(key().fingerprint)),
        (f"ssh-ed25519 {blob(1)} root@vps", Pin(key().fingerprint, "", f"ssh-ed25519 {blob(1)}")),
        (f"ssh://vps ssh-ed25519 {blob(1)}", Pin(key().fingerprint, "ssh://vps", f"ssh-ed25519 {blob(1)}")),
        (
            f"ssh://a@vps:22 cert-authority ssh-ed25519 {blob(1)}",
            Pin(key().fingerprint, "ssh://a@vps:22", f"cert-authority ssh-ed25519 {blob(1)}"),
        ),
    ],
)
def test_every_way_to_say_a_key(text, pin):
    assert Pin.parse(text) == pin


@pytest.mark.parametrize("text", ["", "MD5:aa:bb", "ssh-ed25519", "ssh-ed25519 !!!", "ssh://vps SHA256:x y"])
def test_what_is_no_key_is_refused(text):
    with pytest.raises(Problem) as caught:
        Pin.parse(text)
    assert caught.value.code == "bad-value"


async def test_an_unknown_key_is_refused_with_all_that_was_shown():
    with pytest.raises(Problem) as caught:
        await trust(showing(key(1), key(2)), LINK, [])
    problem = caught.value
    assert (problem.code, problem.exit_code) == ("host-key-unknown", 8)
    assert problem.facts["keys"] == [
        {"place": VPS, "algorithm": "ssh-ed25519", "fingerprint": key(n).fingerprint} for n in (1, 2)
    ]
    for language in ("en", "ja"):
        assert key(1).fingerprint in problem.title(language)
        assert f"--host-key {key(1).fingerprint}" in problem.fix(language)


@pytest.mark.parametrize(
    "said", [key(2).fingerprint, f"ssh-ed25519 {blob(2)}", f"{VPS} ssh-ed25519 {blob(2)}"]
)
async def test_the_key_that_was_said_is_trusted_and_no_other(said):
    trusted = await trust(showing(key(1), key(2)), LINK, [Pin.parse(said)])
    assert trusted.link.host_keys == (key(2).line,)


async def test_one_that_is_known_is_taken_and_the_unknown_beside_it_left():
    known = key(2, VPS, KeyStanding.KNOWN)
    trusted = await trust(showing(key(1), known), LINK, [])
    assert trusted.link.host_keys == (known.line,)
    assert known.fingerprint in {each.fingerprint for each in trusted.found}


async def test_one_that_another_link_names_for_the_same_server_is_taken():
    other = replace(LINK, name="other", place=SshPlace.parse("ssh://bob@vps.example:22"))
    other = replace(other, host_keys=(f"{other.place} ssh-ed25519 {blob(1)}",))
    trusted = await trust(showing(key(1)), LINK, [], [other])
    assert trusted.link.host_keys == (key(1).line,)
    assert [each.standing for each in trusted.found] == [KeyStanding.CONFIRMED]
    elsewhere = replace(other, host_keys=(f"ssh://vps.example:2222 ssh-ed25519 {blob(1)}",))
    for links, shown in (([elsewhere], key(1)), ([other], key(2))):
        with pytest.raises(Problem) as refused:
            await trust(showing(shown), LINK, [], links)
        assert refused.value.code == "host-key-unknown"
    with pytest.raises(Problem) as refused:  # what known_hosts contradicts is not mended by it
        await trust(showing(key(1, VPS, KeyStanding.CHANGED, "SHA256:x")), LINK, [], [other])
    assert refused.value.code == "host-key-changed"


async def test_one_that_contradicts_is_refused_though_another_is_known():
    changed = key(1, VPS, KeyStanding.CHANGED, "SHA256:old")
    with pytest.raises(Problem) as caught:
        await trust(showing(changed, key(2, VPS, KeyStanding.KNOWN)), LINK, [])
    assert caught.value.code == "host-key-changed"
    assert "SHA256:old" in caught.value.title()


@pytest.mark.parametrize("standing", [KeyStanding.KNOWN, KeyStanding.PINNED])
async def test_a_fingerprint_that_was_said_and_is_not_shown_is_refused_though_another_is_known(standing):
    shown = key(1, VPS, standing)
    link = replace(LINK, host_keys=(shown.line,) if standing is KeyStanding.PINNED else ())
    with pytest.raises(Problem) as refused:
        await trust(showing(shown), link, [Pin.parse(key(2).fingerprint)])
    assert refused.value.code == "host-key-changed"
    assert refused.value.fact("expected") == key(2).fingerprint
    both = [Pin.parse(each.fingerprint) for each in (key(2), shown)]
    assert (await trust(showing(shown), LINK, both)).link.host_keys == (shown.line,)


async def test_said_by_name_a_changed_key_takes_the_place_of_the_old():
    old = replace(LINK, host_keys=(key(9).line,))
    servers = showing(key(1, VPS, KeyStanding.CHANGED, key(9).fingerprint))
    with pytest.raises(Problem, match="was expected"):
        await trust(servers, old, [])
    trusted = await trust(servers, old, [Pin.parse(key(1).fingerprint)])
    assert trusted.link.host_keys == (key(1).line,)


async def test_a_pinned_key_needs_no_word():
    pinned = replace(LINK, host_keys=(key(1).line,))
    servers = showing(key(1))
    assert (await trust(servers, pinned, [])).link == pinned
    assert servers.scans == 1


async def test_a_key_said_for_one_place_is_not_trusted_at_another():
    with pytest.raises(Problem) as caught:
        await trust(showing(key(1)), LINK, [Pin.parse(f"ssh://other ssh-ed25519 {blob(1)}")])
    assert caught.value.code == "host-key-unknown"


async def test_a_server_behind_a_jump_is_asked_once_the_jump_is_trusted():
    through = replace(LINK, jump=(SshPlace.parse(JUMP),))
    jump, vps = key(1, JUMP, KeyStanding.KNOWN), key(2)

    def answer(link: Link) -> list[HostKey]:
        return [jump, vps] if jump.line in link.host_keys else [jump]

    with pytest.raises(Problem) as caught:
        await trust(Servers(answer), through, [])
    assert caught.value.facts["place"] == VPS
    trusted = await trust(Servers(answer), through, [Pin.parse(vps.fingerprint)])
    assert set(trusted.link.host_keys) == {jump.line, vps.line}


async def test_a_jump_that_does_not_lead_on_is_told():
    through = replace(LINK, jump=(SshPlace.parse(JUMP),))
    with pytest.raises(Problem) as caught:
        await trust(showing(key(1, JUMP, KeyStanding.KNOWN)), through, [])
    assert (caught.value.code, caught.value.facts["place"]) == ("host-key-unasked", VPS)


async def test_where_nobody_answers_the_whole_key_is_needed():
    with pytest.raises(Problem) as caught:
        await trust(Servers(silent), LINK, [Pin.parse(key(1).fingerprint)])
    assert caught.value.code == "no-such-host"
    trusted = await trust(Servers(silent), LINK, [Pin.parse(f"ssh-ed25519 {blob(1)} root@vps")])
    assert trusted.link.host_keys == (key(1).line,)
