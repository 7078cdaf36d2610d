"""`[line]`: what is known of the line, and where what is written wrongly stands."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network

import pytest

from sekimori.config.schema import Config
from sekimori.model.linesettings import Firewall6, LineSettings, StunServer
from sekimori.model.mapset import MapRule, PortSet
from tests.config.conftest import Read, Refusal

RULE = "ipv6 = '2001:db8::/40', ipv4 = '192.0.2.0/24', ea = 16"
TEXT = f"""
[line]
stun = ["stun.example.net", "192.0.2.1:3479"]
every = "1h"
map_e = [{{ {RULE}, offset = 4 }}]
ports = {{ offset = 6, psid_length = 8, psid = 0x34 }}
ds_lite = true
inbound6 = "filtered"
"""


def test_everything_that_can_be_said(read: Read) -> None:
    assert read(TEXT).line == LineSettings(
        stun=(StunServer("stun.example.net"), StunServer("192.0.2.1", 3479)),
        every=3600,
        map_rules=(MapRule(IPv6Network("2001:db8::/40"), IPv4Network("192.0.2.0/24"), 16, 4),),
        ports=PortSet(6, 8, 0x34),
        ds_lite=True,
        inbound6=Firewall6.FILTERED,
    )


def test_nothing_is_asked_of_anybody_unless_it_is_said(read: Read) -> None:
    assert read("").line == read("[line]").line == Config(read("").path).line == LineSettings()
    assert read("").line.stun == ()


def test_rules_may_be_tables_of_their_own(read: Read) -> None:
    tables = "[[line.map_e]]\n" + RULE.replace(", ", "\n")
    assert read(f"{tables}\noffset = 4\n").line.map_rules == read(TEXT).line.map_rules


@pytest.mark.parametrize(
    ("text", "line", "key", "says"),
    [
        ("line = true", 1, "line", "[line]"),
        ("[line]\nstun = 'stun.example.net'", 2, "line.stun", "list of servers"),
        ("[line]\nstun = ['a b']", 2, "line.stun", "'a b'"),
        ("[line]\nevery = '59s'", 2, "line.every", "60 s"),
        ("[line]\nevery = 60", 2, "line.every", "quotes"),
        ("[line]\nevery = 'soon'", 2, "line.every", "'soon'"),
        ("[line]\nmap_e = {}", 2, "line.map_e", "list of rules"),
        (f"[line]\nmap_e = [\n{{ {RULE} }},\n{{ {RULE}, oddset = 4 }}]", 4, "line.map_e[1]", "'oddset'"),
        (
            f"[[line.map_e]]\n{RULE.replace(', ', chr(10))}\n[[line.map_e]]\nea = 3",
            5,
            "line.map_e[1]",
            "rule 2",
        ),
        ("[line]\nports = { psid = 3 }", 2, "line.ports", "'psid_length'"),
        ("[line]\nds_lite = 'yes'", 2, "line.ds_lite", "true nor false"),
        ("[line]\ninbound6 = 'closed'", 2, "line.inbound6", "open, filtered"),
    ],
)
def test_what_cannot_be_used_is_told_with_its_place(
    refusal: Refusal, text: str, line: int, key: str, says: str
) -> None:
    code, found, where, title = refusal(text)
    assert (code, found, where) == ("bad-config", line, key)
    assert says in title


def test_an_unknown_key_is_told_with_what_was_meant(refusal: Refusal) -> None:
    code, line, key, _ = refusal("[line]\nmap-e = []")
    assert (code, line, key) == ("unknown-key", 2, "line.map-e")
