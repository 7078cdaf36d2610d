"""The real firewalld on a bus of its own: what it lets through by itself, and the way by a policy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sekimori.observe.diagnose.owners import Owner
from sekimori.observe.diagnose.remedy import apply, revert
from sekimori.testing.netlab import HomeNetwork
from sekimori.testing.peers import eventually

from .doctoring import INSIDE, LAN, WAN, NamespaceHands, Scene, built, etc_of, need, only, scene

__all__ = ["built", "scene"]

pytestmark = [pytest.mark.netns, pytest.mark.timeout(180)]  # each command of theirs takes its time

BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path={path}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_type="method_call"/>
<allow send_destination="*"/><allow receive_sender="*"/></policy></busconfig>
"""


@pytest.fixture
def hands(scene: Scene, tmp_path: Path) -> Iterator[NamespaceHands]:
    """The gateway with firewalld running, its interfaces in zones; `firewall-cmd` works with these hands."""
    need("firewalld", "firewall-cmd", "dbus-daemon")
    gateway = scene.net.gateway
    etc_of(gateway, "firewalld")
    socket, config = tmp_path / "bus", tmp_path / "bus.conf"
    config.write_text(BUS.format(path=socket))
    hands = NamespaceHands(gateway, [f"DBUS_SYSTEM_BUS_ADDRESS=unix:path={socket}"])
    log = (tmp_path / "log").open("wb")
    bus = ["dbus-daemon", f"--config-file={config}", "--nofork", "--nopidfile"]
    firewalld = ["env", *hands.env, "firewalld", "--nofork", "--nopid", "--log-target", "console"]
    with log, gateway.running(bus, stdout=log, stderr=log):
        eventually(socket.exists)
        with gateway.running(firewalld, stdout=log, stderr=log):
            eventually(lambda: hands.run(["firewall-cmd", "--state"]).code == 0, deadline=20)
            for zone, device in (("public", WAN), ("internal", LAN)):
                for place in ([], ["--permanent"]):
                    done = hands.run(["firewall-cmd", *place, f"--zone={zone}", f"--add-interface={device}"])
                    assert done.code == 0, done.output
            yield hands


def test_what_is_forwarded_passes_firewalld_by_itself(scene: Scene, hands: NamespaceHands) -> None:
    assert scene.reaches()
    assert scene.doctor() == []


def test_a_pinhole_by_a_policy_of_firewalld(scene: Scene, hands: NamespaceHands) -> None:
    server = HomeNetwork.SERVER[1]
    assert not scene.reaches(server, INSIDE)
    found = only(scene.doctor(f"[{server}]:{INSIDE}", f"tcp/{INSIDE}"))
    assert found.code == "fw-rejects"
    assert found.evidence is not None
    assert (found.evidence.owner, found.evidence.chain) == (Owner.FIREWALLD, "filter_FWD_public")

    assert found.remedy is not None
    apply(found.remedy, hands)
    assert scene.reaches(server, INSIDE)
    assert scene.doctor(f"[{server}]:{INSIDE}", f"tcp/{INSIDE}") == []
    reloads = hands.ran.count(("firewall-cmd", "--reload"))
    apply(found.remedy, hands)
    assert hands.ran.count(("firewall-cmd", "--reload")) == reloads == 1
    assert hands.run(["firewall-cmd", "--reload"]).code == 0
    assert scene.reaches(server, INSIDE)  # it lasts

    revert(found.remedy, hands)
    assert not scene.reaches(server, INSIDE)
    assert "sekimori" not in hands.run(["firewall-cmd", "--permanent", "--get-policies"]).output


def test_a_policy_serves_several_and_goes_with_the_last(scene: Scene, hands: NamespaceHands) -> None:
    server = HomeNetwork.SERVER[1]
    remedies = [only(scene.doctor(f"[{server}]:{port}", f"tcp/{port}")).remedy for port in (INSIDE, 81)]
    first, second = remedies
    assert first is not None
    assert second is not None
    apply(first, hands)
    apply(second, hands)
    revert(second, hands)
    assert scene.reaches(server, INSIDE)
    revert(first, hands)
    assert not scene.reaches(server, INSIDE)


def test_a_port_of_this_machine_by_a_policy_of_firewalld(scene: Scene, hands: NamespaceHands) -> None:
    findings = scene.doctor("self:9090", "tcp/9090", plane="relay")
    four = [each for each in findings if each.remedy and f'"{HomeNetwork.GATEWAY[0]}"' in str(each.remedy)]
    found = only(four)
    assert (found.code, found.evidence and found.evidence.hook) == ("fw-rejects", "input")
    assert found.remedy is not None
    apply(found.remedy, hands)
    left = scene.doctor("self:9090", "tcp/9090", plane="relay")
    assert all(f'"{HomeNetwork.GATEWAY[0]}"' not in str(each.remedy) for each in left)
