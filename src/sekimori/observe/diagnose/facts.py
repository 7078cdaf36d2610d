"""Reading what the doctor judges: the rulesets of every kind, and the settings of the kernel that matter.

Everything here blocks, and tells of the network namespace of the thread that calls it.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from sekimori.observe.diagnose.iptables import explain_compat, read_save
from sekimori.observe.diagnose.machine import Machine
from sekimori.observe.diagnose.ruleset import LEGACY, OWN, Ruleset, Table, read_ruleset

__all__ = ["list_set_with_nft", "list_with_nft", "read_machine", "read_sysctls"]

Run = Callable[[Sequence[str]], str | None]
"""Runs a program and gives its output; None when it is not there or failed."""

ListSet = Callable[[str, str, str, str], Mapping[str, Any] | None]

_SAVES: Final = {"ip": "iptables", "ip6": "ip6tables"}
_LEGACY_NAMES: Final = {"ip": "ip_tables_names", "ip6": "ip6_tables_names"}
_TIMEOUT: Final = 30.0
_SYS: Final = Path("/proc/sys")
_PROC_NET: Final = Path("/proc/thread-self/net")  # /proc/net is of the main thread's namespace


def read_machine(
    list_ruleset: Callable[[], Mapping[str, Any]],
    interfaces: Iterable[str],
    *,
    terse: bool = False,
    list_set: ListSet | None = None,
    run: Run | None = None,
    proc_net: Path = _PROC_NET,
) -> Machine:
    """Read everything that `diagnose` wants to know.

    Args:
        list_ruleset: gives the JSON document of `nft -j list ruleset`.
        interfaces: whose settings are read: the WANs and LANs.
        terse: `list_ruleset` leaves out the elements of sets.
        list_set: gives the document of one set by `set` or `map`, family, table and name, or None where
            it is gone; for when `terse`. Without it the elements stay unknown.
        run: runs `iptables-save` and the like; this machine's unless given.
        proc_net: where x_tables tells which tables of iptables-legacy there are.

    Raises:
        RulesetUnreadable: what `list_ruleset` gave is no listing.
    """
    run = _run if run is None else run
    ruleset = read_ruleset(list_ruleset(), terse=terse)
    if list_set is not None:
        ruleset = _with_elements(ruleset, list_set)
    saved = [
        table
        for family, name in _SAVES.items()
        if any(each.family == family and _is_opaque(each) for each in ruleset.tables)
        for table in read_save(run([f"{name}-nft-save"]) or run([f"{name}-save"]) or "", family)
    ]
    ruleset = explain_compat(ruleset, saved)
    legacy, hidden = _legacy(run, proc_net)
    links = json.loads(run(["ip", "-json", "link", "show", "type", "bridge"]) or "[]")
    bridges = frozenset(each["ifname"] for each in links if "ifname" in each)
    return Machine(ruleset.with_tables(legacy), read_sysctls(interfaces), bridges, hidden)


def _is_opaque(table: Table) -> bool:
    return any(rule.is_opaque for chain in table.chains.values() for rule in chain.rules)


def _with_elements(ruleset: Ruleset, list_set: ListSet) -> Ruleset:
    unknown = [
        (each.kind, table.family, table.name, each.name)
        for table in ruleset.without({OWN}).tables
        for each in table.sets.values()
        if each.elements is None
    ]
    for kind, family, table, name in unknown:
        document = list_set(kind, family, table, name)
        listed = read_ruleset(document or {"nftables": []})
        known = next((each.sets[name] for each in listed.tables if name in each.sets), None)
        if known is not None and known.elements is not None:
            ruleset = ruleset.with_elements(family, table, name, known.elements)
    return ruleset


def _legacy(run: Run, proc_net: Path) -> tuple[list[Table], bool]:
    """The tables of iptables-legacy, their names told apart from those in nft; whether some are hidden."""
    tables: list[Table] = []
    hidden = False
    for family, listing in _LEGACY_NAMES.items():
        names = proc_net / listing
        if not names.exists() or not names.read_text().split():
            continue
        text = run([f"{_SAVES[family]}-legacy-save"])
        hidden = hidden or text is None
        tables += [replace(each, name=each.name + LEGACY) for each in read_save(text or "", family)]
    return tables, hidden


def read_sysctls(interfaces: Iterable[str]) -> dict[str, str]:
    """The settings that keep packets back, by name; those that this kernel does not have are left out."""
    names = [
        "net.ipv4.ip_forward",
        "net.ipv6.conf.all.forwarding",
        "net.ipv4.conf.all.rp_filter",
        "net.bridge.bridge-nf-call-iptables",
        "net.bridge.bridge-nf-call-ip6tables",
    ]
    paths = {name: _SYS.joinpath(*name.split(".")) for name in names}
    for interface in interfaces:  # a name may hold dots (eth0.100)
        paths[f"net.ipv4.conf.{interface}.rp_filter"] = _SYS / "net/ipv4/conf" / interface / "rp_filter"
    return {name: path.read_text().strip() for name, path in paths.items() if path.exists()}


def list_with_nft() -> dict[str, Any]:
    """The whole ruleset, read with the program `nft`.

    Raises:
        OSError, subprocess.SubprocessError: it is not there, or failed.
    """
    done = subprocess.run(
        ["nft", "-j", "list", "ruleset"], capture_output=True, text=True, timeout=_TIMEOUT, check=True
    )
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def list_set_with_nft(kind: str, family: str, table: str, name: str) -> dict[str, Any] | None:
    """One set or map with its elements, read with the program `nft`; None when it is not there (any more)."""
    text = _run(["nft", "-j", "list", kind, family, table, name])
    document: dict[str, Any] | None = json.loads(text) if text else None
    return document


def _run(command: Sequence[str]) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None  # the caller says what that leaves unknown
    return done.stdout if done.returncode == 0 else None
