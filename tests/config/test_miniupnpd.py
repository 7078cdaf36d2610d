"""miniupnpd.conf: the rules, the doors, and what is said of all the rest."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekimori.config.miniupnpd import Imported, read_miniupnpd
from sekimori.model.address import IpProtocol, PortRange
from sekimori.model.door import DoorName
from sekimori.model.errors import Problem
from sekimori.model.lease import Asker
from sekimori.model.mapping import Owner, OwnerKind
from sekimori.model.network import Lan
from sekimori.model.permission import Permission, first_fit

LANS: Final = (
    Lan("lan0", (ipaddress.ip_network("192.168.1.0/24"),), (ipaddress.ip_address("192.168.1.1"),)),
    Lan("lan1", (ipaddress.ip_network("10.5.0.0/16"),), (ipaddress.ip_address("10.5.0.1"),)),
)
END: Final = "deny 0-65535 0.0.0.0/0 0-65535\n"
KNOWN: Final = """
ext_ifname ext_ifname6 ext_ip ext_perform_stun ext_stun_host ext_stun_port ipv6_listening_ip port http_port
https_port bitrate_up bitrate_down presentation_url friendly_name manufacturer_name manufacturer_url
model_name model_description model_url notify_interval system_uptime packet_log uuid serial model_number
clean_ruleset_threshold clean_ruleset_interval upnp_table_name upnp_nat_table_name upnp_forward_chain
upnp_nat_chain upnp_nat_postrouting_chain min_lifetime pcp_allow_thirdparty anchor queue tag quickrules
lease_file lease_file6 minissdpdsocket
"""
"""The options of miniupnpd's options.c that are not taken over."""
DEVICE: Final = Owner(OwnerKind.DEVICE, "02:00:00:00:00:05")


def read(text: str) -> Imported:
    return read_miniupnpd(text, "miniupnpd.conf", LANS)


def written(text: str) -> list[str]:
    return [str(rule) for rule in read(text).rules]


def codes(text: str) -> list[str]:
    return [notice.code for notice in read(text).notices]


def allows(text: str, outside: int, address: str, inside: int, description: str = "") -> bool:
    """What the rules say of one request, as miniupnpd would be asked it."""
    rule = first_fit(
        read(text).rules,
        IpProtocol.UDP,
        PortRange(outside, outside),
        PortRange(inside, inside),
        DEVICE,
        Asker(ipaddress.ip_address(address), "lan0"),
        description,
    )
    return rule is not None and rule.allow


class TestRules:
    def test_those_of_the_sample_file(self) -> None:
        text = """
            allow 1024-65535 192.168.0.0/24 1024-65535
            allow 1024-65535 192.168.1.0/24 1024-65535
            allow 1024-65535 192.168.0.0/23 22
            allow 12345 192.168.7.113/32 54321
            deny 0-65535 0.0.0.0/0 0-65535
        """
        assert written(text) == [
            "allow 192.168.0.0/24",
            "allow 192.168.1.0/24",
            "allow 192.168.0.0/23 inside 22",
            "allow 192.168.7.113/32 outside 12345 inside 54321",
            "deny 0.0.0.0/0",
        ]
        assert allows(text, 5000, "192.168.1.9", 5000)
        assert allows(text, 5000, "192.168.1.9", 22)
        assert not allows(text, 80, "192.168.1.9", 22)
        assert not allows(text, 5000, "192.168.2.9", 5000)

    def test_what_no_rule_fits_is_allowed_as_miniupnpd_allows_it_and_that_is_said(self) -> None:
        text = "deny 1-1023 0.0.0.0/0 0-65535\n"
        last = "allow all outside 1-65535 inside 1-65535"
        assert written(text) == ["deny 0.0.0.0/0 outside 1-1023", last]
        assert "open-end" in codes(text)
        assert "no-pinholes" not in codes(text)
        assert written("") == [last]
        assert not allows(text, 80, "192.168.1.9", 80)
        assert allows(text, 8080, "192.168.1.9", 80)

    @pytest.mark.parametrize(
        "end", [END, "allow 0-65535 0.0.0.0/0 0-65535\n", "deny 1-65535 1.2.3.4/0 1-65535 # end\n"]
    )
    def test_an_end_that_is_written_gets_no_other(self, end: str) -> None:
        found = written(f"allow 5000 192.168.1.5 5000\n{end}")
        assert len(found) == 2
        assert "open-end" not in codes(end)
        assert "no-pinholes" in codes(end)
        assert "no-pinholes" not in codes(f"ipv6_disable=yes\n{end}")

    def test_a_pattern_is_no_end(self) -> None:
        assert len(written('deny 0-65535 0.0.0.0/0 0-65535 "evil"')) == 2

    def test_bits_beyond_the_mask_do_not_count(self) -> None:
        for text in ("192.168.1.77/24", "192.168.1.77/255.255.255.0"):
            assert (
                written(f"allow 5000 {text} 5000\n{END}")[0]
                == "allow 192.168.1.0/24 outside 5000 inside 5000"
            )

    @pytest.mark.parametrize(
        ("description", "denied"),
        [("My Evil App ver 7", True), ("evil", False), ("an EVIL APP VER 12 indeed", True), ("", False)],
    )
    def test_a_pattern_is_found_anywhere_whatever_the_case(self, description: str, denied: bool) -> None:
        text = 'deny 1024-65535 192.168.1.0/24 1024-65535 "evil app ver [[:digit:]]*"\n'
        assert allows(text, 5000, "192.168.1.5", 5000, description) is not denied
        assert "patterns" in codes(text)

    @pytest.mark.parametrize(
        ("written_as", "says"),
        [(r'"say \"hi\""', 'say "hi"'), ("plain", "plain"), (r'"a\.b"', "a.b"), ("bare # comment", "bare")],
    )
    def test_how_a_pattern_may_be_quoted(self, written_as: str, says: str) -> None:
        text = f"deny 1-65535 0.0.0.0/0 1-65535 {written_as}\n"
        assert not allows(text, 5000, "192.168.1.5", 5000, says)
        assert allows(text, 5000, "192.168.1.5", 5000, "other")
        for rule in read(text).rules:
            assert Permission.parse(str(rule)) == rule

    def test_port_0_is_nothing(self) -> None:
        assert written(f"allow 0 192.168.1.5 5000\n{END}") == ["deny 0.0.0.0/0"]
        assert "port-zero" in codes("allow 0 192.168.1.5 5000")

    def test_what_is_granted(self) -> None:
        text = "secure_mode=no\nmax_lifetime=3600\nallow 5000 192.168.1.5 5000\n"
        assert written(text) == [
            "allow 192.168.1.5/32 outside 5000 inside 5000 for 1h others",
            "allow all outside 1-65535 inside 1-65535 for 1h others",
        ]
        assert {"others", "longest", "quota"} <= set(codes(text))
        assert written(f"max_lifetime=999999\nallow 5000 192.168.1.5 5000\n{END}")[0].endswith("for 24h")
        assert "own-only" in codes("")
        assert not {"own-only", "others"} & set(codes("secure_mode=yes"))

    @pytest.mark.parametrize(
        ("line", "key"),
        [
            ("allow", "at-line"),
            ("allowed", "at-line"),
            ("allow 5000", "at-line"),
            ("allow 5000 192.168.1.5", "at-line"),
            ("allow 70000 192.168.1.5 5000", "at-line"),
            ("allow 6000-5000 192.168.1.5 5000", "at-line"),
            ("allow 5000 192.168.1.256 5000", "at-line"),
            ("allow 5000 192.168.1.5/33 5000", "at-line"),
            ("allow 5000 192.168.1.5/255.0.255.0 5000", "at-line"),
            ("allow 5000 192.168.1.5/0.0.0.255 5000", "at-line"),
            ("allow 5000 2001:db8::5 5000", "at-line"),
            ('allow 5000 192.168.1.5 5000 "a', "at-line"),
            ('allow 5000 192.168.1.5 5000 "("', "at-line"),
            ("nonsense", "at-line"),
            ("max_lifetime=long", "max_lifetime"),
            ("max_lifetime=0", "max_lifetime"),
            ("listening_ip=", "listening_ip"),
            ("listening_ip=a/b", "listening_ip"),
        ],
    )  # fmt: skip
    def test_what_cannot_be_read_is_refused_with_its_line(self, line: str, key: str) -> None:
        with pytest.raises(Problem) as refused:
            read(f"# a comment\n\n{line}\n{END}")
        problem = refused.value
        assert (problem.code, problem.facts["line"], problem.facts["file"]) == (
            "bad-config",
            3,
            "miniupnpd.conf",
        )
        assert problem.facts["key"] == key or key == "at-line"
        assert "{" not in problem.title("ja")


class TestDoors:
    @pytest.mark.parametrize(
        ("text", "doors"),
        [
            ("", ["igd"]),
            ("enable_upnp=no", []),
            ("enable_upnp=no\nenable_natpmp=yes", ["portmap"]),
            ("enable_pcp_pmp=yes", ["igd", "portmap"]),
            ("enable_natpmp=1", ["igd", "portmap"]),
            ("enable_natpmp=no\nenable_pcp_pmp=0", ["igd"]),
        ],
    )
    def test_those_that_are_on(self, text: str, doors: list[str]) -> None:
        assert read(f"listening_ip=lan0\n{text}").doors == tuple(map(DoorName, doors))

    @pytest.mark.parametrize(
        ("values", "interfaces"),
        [
            (["lan0"], ["lan0"]),
            (["br-lan.2"], ["br-lan.2"]),
            (["192.168.1.1/24"], ["lan0"]),
            (["192.168.1.1", "10.5.0.0/16"], ["lan0", "lan1"]),
            (["lan0", "192.168.1.1"], ["lan0"]),
            (["lan0 eth1 eth2"], ["lan0"]),
            (["192.168.1.1/24 203.0.113.5"], ["lan0"]),
        ],
    )
    def test_where_they_answer(self, values: list[str], interfaces: list[str]) -> None:
        text = "".join(f"listening_ip={value}\n" for value in values)
        assert read(text).interfaces == tuple(interfaces)
        assert ("left-out" in codes(text)) is any(" " in value for value in values)

    def test_without_a_place_none_is_opened_and_that_is_said(self) -> None:
        found = read("enable_natpmp=yes\n")
        assert (found.doors, found.interfaces) == ((), ())
        notice = next(each for each in found.notices if each.code == "no-listening-ip")
        assert "sekimori door enable igd portmap --on lan0" in notice.en
        assert codes("listening_ip=172.16.0.1\n")[:1] == ["no-such-lan"]
        assert "no-listening-ip" in codes("listening_ip=172.16.0.1\n")

    @pytest.mark.parametrize(
        ("said", "version"), [("", 1), ("force_igd_desc_v1=yes", 1), ("force_igd_desc_v1=no", 2)]
    )
    def test_the_version(self, said: str, version: int) -> None:
        text = f"listening_ip=lan0\n{said}\n"
        assert read(text).version == version
        assert ("igd-version" in codes(text)) is (version == 2)


class TestLeftOut:
    def test_every_option_there_is_was_thought_of(self) -> None:
        known = KNOWN.split()
        found = read("".join(f"{name}=x\n" for name in known))
        told = [each for each in found.notices if each.code == "left-out"]
        listed = [name for each in told for name in each.en.partition(":")[0].split(", ")]
        assert sorted(listed) == sorted(known)
        assert all("no option" not in each.en for each in told)

    def test_what_nobody_knows_is_named(self) -> None:
        told = [each for each in read("frobnicate=yes").notices if each.code == "left-out"]
        assert [each.en for each in told] == ["frobnicate: left out, for it is no option that is known here."]
        assert told[0].ja.startswith("frobnicate: 省きました。")


@pytest.mark.skipif(not Path("/etc/miniupnpd/miniupnpd.conf").exists(), reason="miniupnpd is not installed")
def test_the_file_that_debian_ships() -> None:
    text = Path("/etc/miniupnpd/miniupnpd.conf").read_text(encoding="utf-8")
    found = read(text)
    assert not [each for each in found.notices if "no option" in each.en]


@given(st.text(alphabet='allowdeny 0123456789-./=\n"#[]*_x', max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = read(text)
    except Problem as problem:
        code = problem.code
    else:
        code = ""
        assert all(Permission.parse(str(rule)) == rule for rule in found.rules)
    assert code in ("", "bad-config")
