"""The real ufw, with its default for forwarded packets, and the way through its own files and commands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sekimori.observe.diagnose.owners import Owner
from sekimori.observe.diagnose.remedy import apply, revert
from sekimori.testing.netlab import HomeNetwork

from .doctoring import INSIDE, NamespaceHands, Scene, built, etc_of, need, only, scene

__all__ = ["built", "scene"]

pytestmark = [pytest.mark.netns, pytest.mark.timeout(180)]  # each command of theirs takes its time


@pytest.fixture
def guarded(scene: Scene) -> Iterator[Scene]:
    """The gateway with ufw on."""
    need("ufw")
    gateway = scene.net.gateway
    etc_of(gateway, "ufw", "default")
    defaults = Path("/etc/netns", gateway.netns, "default/ufw")
    assert 'DEFAULT_FORWARD_POLICY="DROP"' in defaults.read_text()
    # The gateway's settings are the test's; ufw would write its own from this file.
    defaults.write_text(defaults.read_text().replace("IPT_SYSCTL=", "#IPT_SYSCTL="))
    gateway.run(["ufw", "--force", "enable"])
    yield scene
    gateway.run(["ufw", "--force", "disable"])


def test_a_forward_through_ufw(guarded: Scene) -> None:
    assert not guarded.reaches()
    found = only(guarded.doctor())
    assert found.code == "policy-drop"
    assert found.evidence is not None
    assert (found.evidence.owner, found.evidence.chain) == (Owner.UFW, "FORWARD")

    assert found.remedy is not None
    hands = NamespaceHands(guarded.net.gateway)
    ((path, _),) = found.remedy.files
    before = hands.read(path)
    apply(found.remedy, hands)
    assert guarded.reaches()
    assert guarded.doctor() == []
    after = hands.read(path)
    apply(found.remedy, hands)
    assert hands.read(path) == after
    guarded.net.gateway.run(["ufw", "reload"])
    assert guarded.reaches()  # it lasts

    revert(found.remedy, hands)
    assert hands.read(path) == before
    assert not guarded.reaches()


def test_what_ufw_denies_by_rule_stays_denied(guarded: Scene) -> None:
    remedy = only(guarded.doctor()).remedy
    assert remedy is not None
    apply(remedy, NamespaceHands(guarded.net.gateway))
    assert guarded.reaches()
    guarded.net.gateway.run(["ufw", "route", "deny", "from", HomeNetwork.VISITOR[0]])
    assert not guarded.reaches()


def test_a_pinhole_through_ufw(guarded: Scene) -> None:
    server = HomeNetwork.SERVER[1]
    assert not guarded.reaches(server, INSIDE)
    found = only(guarded.doctor(f"[{server}]:{INSIDE}", f"tcp/{INSIDE}"))
    assert found.remedy is not None
    hands = NamespaceHands(guarded.net.gateway)
    apply(found.remedy, hands)
    assert guarded.reaches(server, INSIDE)
    assert guarded.doctor(f"[{server}]:{INSIDE}", f"tcp/{INSIDE}") == []
    revert(found.remedy, hands)
    assert not guarded.reaches(server, INSIDE)


def test_a_relays_port_through_ufw(guarded: Scene) -> None:
    findings = guarded.doctor("self:9090", "tcp/9090", plane="relay")
    found = next(each for each in findings if ":" not in str(each.remedy and each.remedy.commands))
    assert (found.code, found.evidence and found.evidence.hook) == ("policy-drop", "input")
    assert found.remedy is not None
    apply(found.remedy, NamespaceHands(guarded.net.gateway))
    assert "9090/tcp" in guarded.net.gateway.run(["ufw", "status"]).stdout
