"""Devices: what may be read of them, and the lines that reserve an address."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekimori.model.device import Device, LeaseServer, read_mac, read_name, reservation

NAS = Device("aa:bb:cc:00:00:01", ("nas", "nas.lan"), (ipaddress.IPv4Address("192.168.1.50"),))


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("AA:BB:CC:00:00:01", "aa:bb:cc:00:00:01"),
        ("aa-bb-cc-00-00-01", "aa:bb:cc:00:00:01"),
        ("00:00:00:00:00:00", None),
        ("ff:ff:ff:ff:ff:ff", None),
        ("01:00:5e:00:00:fb", None),
        ("06-aa:bb:cc:00:00:01", None),
        ("aa:bb:cc:00:00", None),
        ("aa:bb:cc:00:00:01:02:03", None),
        ("", None),
    ],
)
def test_a_mac_address_is_one_machines(text: str, read: str | None) -> None:
    assert read_mac(text) == read


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("NAS", "nas"),
        ("kids-pc.lan.", "kids-pc.lan"),
        ("3com", "3com"),
        ("a" * 63, "a" * 63),
        ("a" * 64, None),
        ("*", None),
        ("", None),
        ("-nas", None),
        ("nas-", None),
        ("n_as", None),
        ("nas..lan", None),
        ("nas;rm", None),
        ("nas\n[mappings]", None),
        ("関守", None),
        (".".join(["a" * 60] * 5), None),
    ],
)
def test_a_name_is_taken_only_when_dns_could_have_it(text: str, read: str | None) -> None:
    assert read_name(text) == read


@given(st.text())
def test_no_name_brings_anything_but_letters_digits_dots_and_hyphens(text: str) -> None:
    name = read_name(text)
    assert name is None or set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-")


@pytest.mark.parametrize(
    ("server", "line"),
    [
        (LeaseServer.DNSMASQ, "dhcp-host=aa:bb:cc:00:00:01,192.168.1.50,nas"),
        (
            LeaseServer.KEA,
            '{ "hw-address": "aa:bb:cc:00:00:01", "ip-address": "192.168.1.50", "hostname": "nas" }',
        ),
        (LeaseServer.ISC, "host nas { hardware ethernet aa:bb:cc:00:00:01; fixed-address 192.168.1.50; }"),
        (
            LeaseServer.NETWORKD,
            "[DHCPServerStaticLease]\nMACAddress=aa:bb:cc:00:00:01\nAddress=192.168.1.50",
        ),
    ],
)
def test_a_reservation_is_in_the_servers_own_words(server: LeaseServer, line: str) -> None:
    assert reservation(NAS, server) == line


def test_a_reservation_needs_no_name() -> None:
    nameless = Device(NAS.mac, (), NAS.addresses4)
    assert reservation(nameless, LeaseServer.DNSMASQ) == "dhcp-host=aa:bb:cc:00:00:01,192.168.1.50"
    assert reservation(nameless, LeaseServer.KEA) == (
        '{ "hw-address": "aa:bb:cc:00:00:01", "ip-address": "192.168.1.50" }'
    )
    assert reservation(nameless, LeaseServer.ISC).startswith("host device-aabbcc000001 {")


def test_there_is_nothing_to_reserve_without_an_address() -> None:
    with pytest.raises(ValueError, match="no IPv4 address"):
        reservation(Device(NAS.mac), LeaseServer.DNSMASQ)
