"""What iptables-save prints, read into the vocabulary of nft."""

from __future__ import annotations

import pytest

from sekimori.observe.diagnose.iptables import explain_compat, read_save
from sekimori.observe.diagnose.passage import Verdict
from sekimori.observe.diagnose.probe import Probe
from sekimori.observe.diagnose.ruleset import Ruleset, read_ruleset
from sekimori.observe.diagnose.walk import walk

from .listing import ACCEPT, FORWARD, PINHOLE, listing, on

PASSES, DROPPED, MAY, REJECTED = Verdict.PASSES, Verdict.DROPPED, Verdict.MAY_DROP, Verdict.REJECTED
FILTER = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD {policy} [0:0]\n:extra - [0:0]\n{rules}\nCOMMIT\n"


def saved(*rules: str, policy: str = "ACCEPT", family: str = "ip") -> Ruleset:
    return Ruleset(read_save(FILTER.format(policy=policy, rules="\n".join(rules)), family))


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("-i wan -j DROP", DROPPED),
        ("-i w+ -o lan -j DROP", DROPPED),
        ("! -i wan -j DROP", PASSES),
        ("-s 10.0.0.0/8 -j DROP", PASSES),
        ("-s 10.0.0.0/255.0.0.0 -j DROP", MAY),
        ("! -s 10.0.0.0/8 -j DROP", DROPPED),
        ("-d 192.168.1.10/32 -p tcp -m tcp --dport 80 -j DROP", DROPPED),
        ("-d 192.168.1.10/32 -p udp -m udp --dport 80 -j DROP", PASSES),
        ("-p tcp -m tcp ! --dport 80 -j DROP", PASSES),
        ("-p tcp -m multiport --dports 22,70:90 -j DROP", DROPPED),
        ("-p tcp -m tcp --dport 70:79 -j REJECT --reject-with tcp-reset", PASSES),
        ("-p tcp -j REJECT --reject-with icmp-port-unreachable", REJECTED),
        ("-m conntrack --ctstate NEW -j DROP", DROPPED),
        ("-m conntrack --ctstate RELATED,ESTABLISHED -j DROP", PASSES),
        ("-m conntrack --ctstate ESTABLISHED,DNAT -j DROP", DROPPED),
        ("-m conntrack ! --ctstate DNAT -j DROP", PASSES),
        ("-m state --state NEW -j DROP", DROPPED),
        ("-m conntrack --ctstatus ASSURED -j DROP", PASSES),
        ("-m conntrack --ctorigdst 203.0.113.2/32 --ctorigdstport 8080 -j DROP", DROPPED),
        ("-m conntrack --ctdir REPLY -j DROP", PASSES),
        ("-m addrtype --dst-type LOCAL,BROADCAST -j DROP", PASSES),
        ("-m addrtype ! --dst-type LOCAL -j DROP", DROPPED),
        ("-m mark --mark 0x1/0xff -j DROP", PASSES),
        ("-m iprange --dst-range 192.168.1.1-192.168.1.20 -j DROP", DROPPED),
        ("-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j DROP", DROPPED),
        ("-p tcp -m tcp --tcp-flags ALL NONE -j DROP", PASSES),
        ('-m comment --comment "two words" -j DROP', DROPPED),
        ("-m limit --limit 3/min -j DROP", DROPPED),
        ("-m set --match-set banned src -j DROP", MAY),
        ("-m set ! --match-set banned src -p udp -j DROP", MAY),
        ("-p tcp -m tcp --dport http -j DROP", MAY),
        ("-p tcp -m tcp --tcp-flags WHAT SYN -j DROP", MAY),
        ("-j LOG --log-prefix x", PASSES),
        ("-j NFQUEUE --queue-num 3", MAY),
        ("-j extra", PASSES),
        ("-g extra", PASSES),
    ],
)
def test_a_rule_that_drops(rule: str, expected: Verdict) -> None:
    assert walk(saved(f"-A FORWARD {rule}"), FORWARD).verdict is expected


@pytest.mark.parametrize(
    ("rule", "expected"),
    [("-d 2001:db8:3::10/128 -j DROP", DROPPED), ("-m rt --rt-type 0 -j DROP", PASSES)],
)
def test_a_rule_of_ipv6(rule: str, expected: Verdict) -> None:
    assert walk(saved(f"-A FORWARD {rule}", family="ip6"), PINHOLE).verdict is expected


def test_chains_and_policies() -> None:
    rules = ("-A FORWARD -j extra", "-A extra -p udp -j ACCEPT", "-A extra -m mark --mark 0x1 -j RETURN")
    found = walk(saved(*rules, policy="DROP"), FORWARD)
    assert found.verdict is DROPPED
    assert found.decided is not None
    assert found.decided.policy
    assert walk(saved(*rules, "-A extra -j ACCEPT", policy="DROP"), FORWARD).verdict is PASSES


@pytest.mark.parametrize(
    ("target", "verdict"),
    [
        ("DNAT --to-destination 10.0.0.2:99", Verdict.STOLEN),
        ("DNAT --to-destination 10.0.0.2", Verdict.STOLEN),
        ("REDIRECT --to-ports 99", Verdict.REDIRECTED),
        ("DNAT --to-destination 203.0.113.2:8080", PASSES),  # where it goes anyway
    ],
)
def test_nat(target: str, verdict: Verdict) -> None:
    text = f"*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p tcp --dport 8080 -j {target}\nCOMMIT\n"
    service = Probe("tcp", FORWARD.destination, 8080, "wan", own=FORWARD.own)
    assert walk(Ruleset(read_save(text, "ip")), service).verdict is verdict


def test_the_raw_table_keeps_from_conntrack() -> None:
    text = "*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p tcp -j CT --notrack\nCOMMIT\n"
    assert walk(Ruleset(read_save(text, "ip")), FORWARD).verdict is Verdict.UNTRACKED


OPAQUE = [{"xt": {"type": "match", "name": "conntrack"}}, ACCEPT]


def test_rules_of_iptables_nft_get_their_meaning_and_wording() -> None:
    document = listing(("FORWARD", on("forward", policy="drop"), [OPAQUE]), family="ip", table="filter")
    known = read_ruleset(document)
    assert walk(known, FORWARD).verdict is MAY
    rule = "-A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT"
    explained = explain_compat(known, saved(rule, policy="DROP").tables)
    assert walk(explained, FORWARD).verdict is DROPPED
    table = explained.table("ip", "filter")
    assert table is not None
    assert [(each.handle, each.text) for each in table.chains["FORWARD"].rules] == [(2, rule)]


def test_a_chain_that_has_changed_meanwhile_stays_unread() -> None:
    document = listing(("FORWARD", on("forward", policy="drop"), [OPAQUE]), family="ip", table="filter")
    explained = explain_compat(read_ruleset(document), saved(policy="DROP").tables)
    assert walk(explained, FORWARD).verdict is MAY
