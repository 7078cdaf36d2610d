"""Rules of nft: NAT that comes first, chains that drop, orders of hooks that only the kernel knows."""

from __future__ import annotations

import pytest

from sekimori.observe.diagnose.findings import Confidence, Severity
from sekimori.observe.diagnose.owners import Owner
from sekimori.testing.netlab import HomeNetwork

from .doctoring import Scene, built, codes, only, scene

__all__ = ["built", "scene"]

pytestmark = pytest.mark.netns


def base(kind: str, hook: str, priority: int, *rules: str, policy: str = "accept") -> str:
    text = "\n".join(rules)
    head = f"type {kind} hook {hook} priority {priority}; policy {policy}"
    return f"table inet other {{ chain c {{ {head}\n{text}\n}}\n}}\n"


def test_nat_that_comes_before_ours_is_named(scene: Scene) -> None:
    scene.nft(base("nat", "prerouting", -110, f"tcp dport 8080 dnat ip to {HomeNetwork.DESKTOP[0]}:80"))
    assert not scene.reaches()
    found = only(scene.doctor())
    assert (found.code, found.severity, found.confidence) == (
        "nat-shadowed",
        Severity.ERROR,
        Confidence.CERTAIN,
    )
    assert found.evidence is not None
    assert (found.evidence.table, found.evidence.chain, found.evidence.owner) == ("other", "c", Owner.NFT)
    assert f"dnat ip to {HomeNetwork.DESKTOP[0]}:80" in found.evidence.text
    scene.net.gateway.run(
        ["nft", "delete", "rule", "inet", "other", "c", "handle", str(found.evidence.handle)]
    )
    assert scene.reaches()
    assert scene.doctor() == []


def test_nat_to_the_same_target_is_no_theft(scene: Scene) -> None:
    scene.nft(base("nat", "prerouting", -110, f"tcp dport 8080 dnat ip to {HomeNetwork.SERVER[0]}:80"))
    assert scene.reaches()
    assert scene.doctor() == []


def test_nat_that_comes_after_ours_is_told_to_lose(scene: Scene) -> None:
    scene.nft(base("nat", "prerouting", -100, "tcp dport 8080 redirect to :22"))
    assert scene.reaches()
    assert codes(scene.doctor()) == ["nat-takes-over"]


def test_a_redirect_to_this_machine_before_ours(scene: Scene) -> None:
    scene.nft(base("nat", "prerouting", -150, "tcp dport 8000-9000 redirect to :22"))
    assert not scene.reaches()
    assert codes(scene.doctor()) == ["nat-shadowed"]


@pytest.mark.parametrize(
    ("rules", "reached", "expected"),
    [
        (base("filter", "prerouting", -150, "tcp dport 8080 drop"), False, ["fw-drops"]),
        (base("filter", "prerouting", -90, "tcp dport 8080 drop"), True, []),  # the port is 80 by now
        (base("filter", "prerouting", -90, "tcp dport 80 drop"), False, ["fw-drops"]),
        # Chains of type nat run where NAT stands, -100, and not where their priority says.
        (
            base("filter", "prerouting", -105, "tcp dport 80 drop")
            + base("nat", "prerouting", -150, "tcp dport 8080 dnat ip to 192.168.1.10:80").replace(
                " c ", " n "
            ),
            True,
            [],
        ),
        (base("filter", "forward", 0, "ct status dnat accept", policy="drop"), True, []),
        (base("filter", "forward", 0, "ct state established accept", policy="drop"), False, ["policy-drop"]),
        (base("filter", "forward", 0, "iifname isp reject"), False, ["fw-rejects"]),
        (
            base("filter", "forward", 0, f"ct original ip daddr {HomeNetwork.GATEWAY[0]} reject"),
            False,
            ["fw-rejects"],
        ),
        (base("filter", "forward", 0, "ct direction reply drop"), False, ["fw-drops"]),
        (base("filter", "forward", 0, "iifname isp ip saddr { 10.0.0.0/8, 192.168.0.0/16 } drop"), True, []),
        (base("filter", "forward", 0, "ip saddr { 10.0.0.0/8, 192.168.0.0/16 } drop"), False, ["fw-drops"]),
        (base("filter", "forward", 0, "ip saddr != 10.0.0.0/8 drop"), False, ["fw-drops"]),
        (base("filter", "forward", 0, "tcp dport vmap { 79 : accept, 80 : drop }"), False, ["fw-drops"]),
        (
            base("filter", "forward", 0, "meta mark and 0xff == 1 accept", policy="drop"),
            False,
            ["policy-drop"],
        ),
        (base("filter", "forward", 0, "limit rate over 500/second drop"), True, []),
        (base("filter", "postrouting", 0, "oifname home tcp dport 80 drop"), False, ["fw-drops"]),
        (base("filter", "input", 0, policy="drop"), True, []),
        (base("filter", "prerouting", -300, "tcp dport 8080 notrack"), False, ["fw-notrack"]),
        (
            "table netdev early { chain c { type filter hook ingress device isp priority 0; policy accept\n"
            "tcp dport 8080 drop\n}\n}\n",
            False,
            ["fw-drops"],
        ),
        (
            "table inet other { chain deep { tcp dport 80 drop\n}\nchain middle { goto deep\n}\n"
            "chain c { type filter hook forward priority 5; jump middle\n accept\n}\n}\n",
            False,
            ["fw-drops"],
        ),
        (
            "table inet other { chain deep { tcp dport 81 drop\n return\n}\n"
            "chain middle { goto deep\n drop\n}\n"
            "chain c { type filter hook forward priority 5; jump middle\n ct state new drop\n}\n}\n",
            False,
            ["fw-drops"],
        ),
        (
            "table inet other { set ok { type ipv4_addr . inet_service; flags interval\n"
            "elements = { 192.168.1.0/24 . 79-81 } }\n"
            "chain c { type filter hook forward priority 0; policy drop\n"
            "ct state established accept\nip daddr . tcp dport @ok accept\n}\n}\n",
            True,
            [],
        ),
    ],
)
def test_the_doctor_says_what_the_kernel_does(
    scene: Scene, rules: str, reached: bool, expected: list[str]
) -> None:
    scene.nft(rules)
    found = scene.doctor()
    assert scene.reaches() is reached
    assert codes(found) == expected


def test_a_rule_that_accepts_everything_is_told(scene: Scene) -> None:
    scene.nft(base("filter", "forward", -20, "iifname isp accept"))
    found = only(scene.doctor())
    assert (found.code, found.severity) == ("fw-accepts-all", Severity.NOTICE)


FW4 = """
table inet fw4 {
  chain forward { type filter hook forward priority filter; policy drop
    %s
    ct state vmap { established : accept, related : accept } comment "!fw4: Handle forwarded flows"
    iifname "home" jump forward_lan
    iifname "isp" jump forward_wan
    jump handle_reject
  }
  chain handle_reject { meta l4proto tcp reject with tcp reset
    reject with icmpx type port-unreachable
  }
  chain forward_lan { jump accept_to_wan
  }
  chain forward_wan { jump reject_to_wan
  }
  chain accept_to_wan { oifname "isp" counter accept
  }
  chain reject_to_wan { oifname "isp" counter jump handle_reject
  }
}
"""
"""What OpenWrt's fw4 makes for one LAN and one WAN, with the place of `chain-pre/forward`."""


def test_openwrt_rejects_and_its_include_is_the_way(scene: Scene) -> None:
    scene.nft(FW4 % "")
    assert not scene.reaches()
    found = only(scene.doctor())
    assert found.code == "fw-rejects"
    assert found.evidence is not None
    assert (found.evidence.owner, found.evidence.chain) == (Owner.FW4, "handle_reject")
    assert found.remedy is not None
    ((path, text),) = found.remedy.files
    assert path.startswith("/usr/share/nftables.d/chain-pre/forward/")
    assert path.endswith(".nft")
    assert found.remedy.commands == (("fw4", "reload"),)
    scene.nft("delete table inet fw4")
    (edit,) = found.remedy.edits
    assert text in edit.into("")
    scene.nft(FW4 % edit.into(""))  # as fw4 includes it
    assert scene.reaches()
    assert scene.doctor() == []


def test_a_pinhole_through_openwrt(scene: Scene) -> None:
    server = HomeNetwork.SERVER[1]
    scene.nft(FW4 % "")
    assert not scene.reaches(server, 80)
    found = only(scene.doctor(f"[{server}]:80", "tcp/80"))
    assert found.remedy is not None
    scene.nft("delete table inet fw4")
    scene.nft(FW4 % found.remedy.edits[0].into(""))
    assert scene.reaches(server, 80)
    assert scene.doctor(f"[{server}]:80", "tcp/80") == []
