"""A device opens ports to itself, and to nothing else."""

from __future__ import annotations

import ipaddress

import pytest

from sekimori.model.mapping import Owner, OwnerKind
from sekimori.model.request import Close, Context, Renew
from sekimori.testing.table import Table
from sekimori.testing.world import ALICE

MAC, OTHER = "aa:bb:cc:00:00:01", "aa:bb:cc:00:00:02"
DEVICE = Context(Owner(OwnerKind.DEVICE, MAC), "igd")
OWNED = {MAC: frozenset(map(ipaddress.ip_address, ("192.168.1.50", "2001:db8:3::50")))}


@pytest.fixture
def table() -> Table:
    return Table(owned=lambda owner: OWNED.get(owner.id, frozenset()))


@pytest.mark.parametrize("to", ["192.168.1.50", "[2001:db8:3::50]", MAC, f"device:nas@{MAC}"])
def test_a_device_may_open_to_itself(table: Table, to: str) -> None:
    mapping = table.open("80", to=to, name="web", by=DEVICE)
    assert mapping.owner == DEVICE.actor
    table.grant(table.change("web", idle="1h"), by=DEVICE)
    table.grant(Renew("web", add=60), by=DEVICE)


@pytest.mark.parametrize(
    "to",
    [
        "192.168.1.51",
        "[2001:db8:3::51]",
        OTHER,
        f"device:nas@{OTHER}",
        "device:nas",
        "pc.example",
        "self",
        "127.0.0.1",
    ],
)
def test_a_device_may_open_to_nothing_else(table: Table, to: str) -> None:
    problem = table.refuse(table.submit("80:8080", to=to), by=DEVICE)
    assert (problem.code, problem.fact("who")) == ("not-permitted", f"the device {MAC}")
    assert str(problem.fact("what")).startswith("open a port to ")
    table.open("80:8080", to=to, name="web")
    assert table.snapshot.named("web") is not None  # a person may


def test_a_device_cannot_turn_its_mapping_to_another(table: Table) -> None:
    table.open("80", to="192.168.1.50", name="web", by=DEVICE)
    assert table.refuse(table.change("web", to="192.168.1.51"), by=DEVICE).code == "not-permitted"


def test_an_address_it_has_lost_is_not_renewed_but_may_be_closed(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    table.open("80", to="192.168.1.50", name="web", by=DEVICE)
    monkeypatch.setitem(OWNED, MAC, frozenset())
    assert table.refuse(Renew("web", add=60), by=DEVICE).code == "not-permitted"
    table.grant(table.change("web", idle="1h"), by=ALICE)
    table.grant(Close("web"), by=DEVICE)
