"""Reading the machine: iptables-legacy, whose rules nft does not list."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sekimori.observe.diagnose.facts import read_machine
from sekimori.observe.diagnose.findings import judge
from sekimori.observe.diagnose.owners import Owner
from sekimori.observe.diagnose.walk import walk

from .listing import FORWARD, listing

SAVED = "*filter\n:FORWARD DROP [0:0]\n:DOCKER-USER - [0:0]\n-A FORWARD -j DOCKER-USER\nCOMMIT\n"


def legacy(tmp_path: Path) -> Path:
    (tmp_path / "ip_tables_names").write_text("filter\n")
    (tmp_path / "ip6_tables_names").write_text("")
    return tmp_path


def test_rules_of_iptables_legacy_are_read_with_its_own_tool(tmp_path: Path) -> None:
    ran: list[Sequence[str]] = []

    def run(command: Sequence[str]) -> str | None:
        ran.append(command)
        return {"iptables-legacy-save": SAVED, "ip": '[{"ifname":"lan"}]'}.get(command[0])

    machine = read_machine(listing, [], run=run, proc_net=legacy(tmp_path))
    assert not machine.hidden
    assert machine.bridges == {"lan"}
    assert [each[0] for each in ran] == ["iptables-legacy-save", "ip"]
    (found,) = judge(walk(machine.ruleset, FORWARD), machine.ruleset, "tcp/8080")
    assert found.code == "policy-drop"
    assert found.evidence is not None
    assert (found.evidence.table, found.evidence.owner) == ("filter (legacy)", Owner.DOCKER)
    assert found.remedy is not None
    assert {command[0] for command in found.remedy.commands} == {"iptables-legacy"}


def test_without_the_tool_they_are_said_to_be_hidden(tmp_path: Path) -> None:
    assert read_machine(listing, [], run=lambda _command: None, proc_net=legacy(tmp_path)).hidden
    assert not read_machine(listing, [], run=lambda _command: None, proc_net=tmp_path / "none").hidden
