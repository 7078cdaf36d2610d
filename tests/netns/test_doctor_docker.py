"""Docker's rules in iptables, a packet that they really drop, and the way through DOCKER-USER."""

from __future__ import annotations

import pytest

from sekimori.observe.diagnose.findings import Confidence, Severity
from sekimori.observe.diagnose.owners import Owner
from sekimori.observe.diagnose.remedy import apply, revert
from sekimori.testing.netlab import HomeNetwork

from .doctoring import INSIDE, NamespaceHands, Scene, built, codes, only, scene

__all__ = ["built", "scene"]

pytestmark = pytest.mark.netns

DOCKER = (  # as Docker 28 lays them, for one bridge and one published port
    "-P FORWARD DROP",
    "-N DOCKER-USER",
    "-N DOCKER-FORWARD",
    "-N DOCKER-CT",
    "-N DOCKER",
    "-A FORWARD -j DOCKER-USER",
    "-A FORWARD -j DOCKER-FORWARD",
    "-A DOCKER-FORWARD -j DOCKER-CT",
    "-A DOCKER-FORWARD -o docker0 -j DOCKER",
    "-A DOCKER-FORWARD -i docker0 -j ACCEPT",
    "-A DOCKER-CT -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    "-A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT",
    "-A DOCKER ! -i docker0 -o docker0 -j DROP",
)
DOCKER_NAT = (
    "-t nat -N DOCKER",
    "-t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER",
    "-t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE",
    "-t nat -A DOCKER ! -i docker0 -p tcp -m tcp --dport 9090 -j DNAT --to-destination 172.17.0.2:80",
)


def test_nothing_of_others_nothing_to_say(scene: Scene) -> None:
    assert scene.reaches()
    assert scene.doctor() == []


def test_the_policy_is_dockers_and_its_remedy_opens_the_way_and_closes_it(scene: Scene) -> None:
    scene.iptables(*DOCKER, *DOCKER_NAT)
    assert not scene.reaches()

    found = only(scene.doctor())
    assert (found.code, found.severity, found.confidence) == (
        "policy-drop",
        Severity.ERROR,
        Confidence.CERTAIN,
    )
    assert found.evidence is not None
    assert (found.evidence.owner, found.evidence.chain) == (Owner.DOCKER, "FORWARD")
    assert "FORWARD" in found.title["en"]
    assert "Docker" in found.title["ja"]

    assert found.remedy is not None
    hands = NamespaceHands(scene.net.gateway)
    before = scene.net.gateway.run(["iptables", "-S"]).stdout
    apply(found.remedy, hands)
    assert scene.reaches()
    assert scene.doctor() == []

    after = scene.net.gateway.run(["iptables", "-S"]).stdout
    apply(found.remedy, hands)  # once is enough
    assert scene.net.gateway.run(["iptables", "-S"]).stdout == after

    revert(found.remedy, hands)
    assert not scene.reaches()
    assert scene.net.gateway.run(["iptables", "-S"]).stdout == before
    revert(found.remedy, hands)  # nothing is left to take back


def test_the_remedy_lets_in_nothing_that_was_not_forwarded(scene: Scene) -> None:
    scene.iptables(*DOCKER)
    remedy = only(scene.doctor()).remedy
    assert remedy is not None
    apply(remedy, NamespaceHands(scene.net.gateway))
    scene.net.visitor.ip("route replace 192.168.1.0/24 via 198.51.100.1")
    scene.net.isp.ip(f"route replace 192.168.1.0/24 via {HomeNetwork.GATEWAY[0]}")
    try:
        assert not scene.reaches(HomeNetwork.SERVER[0], INSIDE)
    finally:
        scene.net.visitor.ip("route del 192.168.1.0/24")
        scene.net.isp.ip("route del 192.168.1.0/24")


def test_the_administrators_own_drop_stays_before_the_remedy(scene: Scene) -> None:
    scene.iptables(*DOCKER, f"-A DOCKER-USER -s {HomeNetwork.VISITOR[0]} -j DROP", "-A DOCKER-USER -j RETURN")
    remedy = only(scene.doctor()).remedy  # one visitor among all is no finding
    assert remedy is not None
    apply(remedy, NamespaceHands(scene.net.gateway))
    rules = scene.net.gateway.run(["iptables", "-S", "DOCKER-USER"]).stdout.splitlines()
    assert rules[1].endswith("-j DROP")
    assert rules[-1].endswith("-j RETURN")
    assert not scene.reaches()


def test_a_pinhole_is_opened_by_address_in_the_ipv6_rules(scene: Scene) -> None:
    scene.iptables(*DOCKER[:9], tool="ip6tables")
    server = HomeNetwork.SERVER[1]
    assert not scene.reaches(server, INSIDE)
    found = only(scene.doctor(f"[{server}]:{INSIDE}", f"tcp/{INSIDE}"))
    assert found.code == "policy-drop"
    assert found.remedy is not None
    hands = NamespaceHands(scene.net.gateway)
    apply(found.remedy, hands)
    assert scene.reaches(server, INSIDE)
    revert(found.remedy, hands)
    assert not scene.reaches(server, INSIDE)


def test_a_port_that_docker_publishes_is_named_when_we_take_it_over(scene: Scene) -> None:
    scene.iptables(*DOCKER_NAT[:-1])
    scene.iptables(
        "-t nat -A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80"
    )
    assert scene.reaches()  # ours comes first
    found = only(scene.doctor())
    assert (found.code, found.severity) == ("nat-takes-over", Severity.WARNING)
    assert "172.17.0.2:80" in found.title["en"]
    assert found.evidence is not None
    assert found.evidence.owner is Owner.DOCKER


def test_a_relays_port_that_docker_publishes_is_stolen(scene: Scene) -> None:
    scene.iptables(*DOCKER_NAT)
    found = only(scene.doctor("self:9090", "tcp/9090", plane="relay"))
    assert found.code == "nat-shadowed"
    assert "Docker" in found.title["en"]


def test_only_the_way_back_is_dropped(scene: Scene) -> None:
    scene.iptables("-P FORWARD DROP", "-A FORWARD -m conntrack --ctstate NEW,DNAT -i isp -j ACCEPT")
    assert not scene.reaches()
    found = only([each for each in scene.doctor() if each.code != "fw-accepts-all"])
    assert found.code == "policy-drop"
    assert "answer" in found.title["en"]
    assert found.remedy is not None
    apply(found.remedy, NamespaceHands(scene.net.gateway))
    assert scene.reaches()


def test_a_rule_that_cannot_be_read_is_only_suspected(scene: Scene) -> None:
    scene.iptables("-A FORWARD -p tcp -m string --string GET --algo bm -j DROP")
    found = only(scene.doctor())
    assert (found.code, found.confidence) == ("fw-unknown", Confidence.POSSIBLE)
    assert found.remedy is None
    assert codes(scene.doctor()) == ["fw-unknown"]
