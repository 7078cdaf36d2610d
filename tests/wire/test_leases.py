"""Lease files, as their servers write them and as nobody should."""

from __future__ import annotations

import ipaddress
import json
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekimori.model.device import Lease, LeaseServer
from sekimori.wire.errors import BadPacket
from sekimori.wire.leases import (
    read_dnsmasq_untrusted,
    read_isc_untrusted,
    read_kea_untrusted,
    read_leases_untrusted,
    read_networkd_untrusted,
    server_of_untrusted,
)

NAS, TV = "aa:bb:cc:00:00:01", "aa:bb:cc:00:00:02"

DNSMASQ = b"""\
1795077000 aa:bb:cc:00:00:01 192.168.1.50 nas 01:aa:bb:cc:00:00:01
0 aa:bb:cc:00:00:02 192.168.1.51 * *
duid 00:01:00:01:2c:aa:bb:cc:aa:bb:cc:00:00:fe
1795077000 13371337 2001:db8:3::50 nas 00:03:00:01:aa:bb:cc:00:00:01
"""
KEA4 = b"""\
address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,user_context
192.168.1.50,aa:bb:cc:00:00:01,01:aa:bb:cc:00:00:01,3600,1795073400,1,0,0,old-name,0,
192.168.1.51,aa:bb:cc:00:00:02,,4294967295,1795077000,1,0,0,,0,
192.168.1.50,aa:bb:cc:00:00:01,01:aa:bb:cc:00:00:01,3600,1795077000,1,0,0,nas.lan.,0,{ "a": 1&#x2c "b": 2 }
192.168.1.52,aa:bb:cc:00:00:03,,3600,1795077000,1,0,0,gone,0,
192.168.1.52,aa:bb:cc:00:00:03,,0,1795073400,1,0,0,gone,0,
192.168.1.53,,,3600,1795077000,1,0,0,,1,
192.168.1.54,aa:bb:cc:00:00:04,,3600,1795077000,1,0,0,over,2,
192.168.1.55,aa:bb:cc:00:00:05,,3600,1795077000,1,0,0,left,3,
"""
KEA6 = b"""\
address,duid,valid_lifetime,expire,subnet_id,pref_lifetime,lease_type,iaid,prefix_len,fqdn_fwd,fqdn_rev,hostname,hwaddr,state,user_context,hwtype,hwaddr_source,pool_id
2001:db8:3::50,00:03:00:01:aa:bb:cc:00:00:01,4000,1795077000,1,3000,0,7,128,0,0,nas,aa:bb:cc:00:00:01,0,,1,2,0
2001:db8:3::51,00:01:00:01:2c:00:00:00:aa:bb:cc:00:00:02,4000,1795077000,1,3000,0,7,128,0,0,tv,,0,,,,0
2001:db8:9::,00:03:00:01:aa:bb:cc:00:00:01,4000,1795077000,1,3000,2,7,56,0,0,,aa:bb:cc:00:00:01,0,,,,0
"""
ISC = rb"""# The format of this file is documented in the dhcpd.leases(5) manual page.
# This lease file was written by isc-dhcp-4.4.3-P1

# authoring-byte-order entry is generated, DO NOT DELETE
authoring-byte-order little-endian;
server-duid "\000\001\000\001,\252{;\314}\"";

lease 192.168.1.50 {
  starts 4 2026/11/19 08:30:00;
  ends 4 2026/11/19 08:30:01;
  binding state free;
  hardware ethernet aa:bb:cc:00:00:09;
}
lease 192.168.1.50 {
  starts 4 2026/11/19 07:30:00;
  ends 4 2026/11/19 08:30:00;
  tstp 4 2026/11/19 08:30:00;
  cltt 4 2026/11/19 07:30:00;
  binding state active;
  next binding state free;
  rewind binding state free;
  hardware ethernet aa:bb:cc:00:00:01;
  uid "\001\252\273\314\000}\001";
  set vendor-class-identifier = "udhcp {1.35.0}";
  client-hostname "NAS";
}
lease 192.168.1.51 {
  starts epoch 1795073400; # Thu Nov 19 07:30:00 2026
  ends never;
  binding state active;
  hardware ethernet aa:bb:cc:00:00:02;
  on commit {
    set x = "y";
    binding state free;
  }
}
lease 192.168.1.52 {
  starts epoch 1795073400;
  ends epoch 1795077000;
  binding state active;
  hardware token-ring aa:bb:cc:00:00:03;
  client-hostname "no;name";
}
lease 192.168.1.53 {
  ends 4 2026/11/19 08:30:00;
  binding state abandoned;
}
lease 192.168.1.60 {
  ends 4 2026/11/19 08:30:00;
  binding sta"""
NETWORKD = json.dumps(
    {
        "BootID": "b1c2d3e4f5061728394a5b6c7d8e9f00",
        "Address": [192, 168, 1, 1],
        "PrefixLength": 24,
        "Leases": [
            {
                "ClientId": [255, 1, 2, 3, 4],
                "Address": [192, 168, 1, 50],
                "Hostname": "nas",
                "HardwareAddressType": 1,
                "HardwareAddressLength": 6,
                "HardwareAddress": [0xAA, 0xBB, 0xCC, 0, 0, 1, *[0] * 10],
                "ExpirationUSec": 3_600_000_000,
                "ExpirationRealtimeUSec": 1_795_077_000_000_000,
            },
            {
                "ClientId": [1, 0xAA, 0xBB, 0xCC, 0, 0, 2],
                "Address": [192, 168, 1, 51],
                "Hostname": "<b>tv",
                "ExpirationUSec": 3_600_000_000,
                "ExpirationRealtimeUSec": 18446744073709551615,
            },
            {
                "ClientId": [255, 9],
                "Address": [192, 168, 1, 52],
                "ExpirationRealtimeUSec": 1_795_077_000_000_000,
            },
            {"ClientId": [1], "Address": [192, 168, 1, 256], "ExpirationRealtimeUSec": 1},
        ],
    }
).encode()


def lease(
    server: LeaseServer,
    address: str,
    mac: str | None,
    name: str | None = None,
    ends: float | None = 1_795_077_000.0,
) -> Lease:
    return Lease(ipaddress.ip_address(address), mac, name, ends, server)


READ: dict[LeaseServer, tuple[bytes, list[Lease]]] = {
    LeaseServer.DNSMASQ: (
        DNSMASQ,
        [
            lease(LeaseServer.DNSMASQ, "192.168.1.50", NAS, "nas"),
            lease(LeaseServer.DNSMASQ, "192.168.1.51", TV, ends=None),
            lease(LeaseServer.DNSMASQ, "2001:db8:3::50", None, "nas"),
        ],
    ),
    LeaseServer.KEA: (
        KEA4,
        [
            lease(LeaseServer.KEA, "192.168.1.50", NAS, "nas.lan"),
            lease(LeaseServer.KEA, "192.168.1.51", TV, ends=None),
        ],
    ),
    LeaseServer.ISC: (
        ISC,
        [
            lease(LeaseServer.ISC, "192.168.1.50", NAS, "nas"),
            lease(LeaseServer.ISC, "192.168.1.51", TV, ends=None),
            lease(LeaseServer.ISC, "192.168.1.52", None),
        ],
    ),
    LeaseServer.NETWORKD: (
        NETWORKD,
        [
            lease(LeaseServer.NETWORKD, "192.168.1.50", NAS, "nas"),
            lease(LeaseServer.NETWORKD, "192.168.1.51", TV, ends=None),
            lease(LeaseServer.NETWORKD, "192.168.1.52", None),
        ],
    ),
}


@pytest.mark.parametrize("server", LeaseServer)
def test_each_server_is_recognised_and_read(server: LeaseServer) -> None:
    data, leases = READ[server]
    assert server_of_untrusted(data) is server
    assert list(read_leases_untrusted(data)) == leases


def test_keas_ipv6_leases_have_a_mac_address_where_kea_learned_one_and_prefixes_are_none() -> None:
    assert list(read_leases_untrusted(KEA6)) == [
        lease(LeaseServer.KEA, "2001:db8:3::50", NAS, "nas"),
        lease(LeaseServer.KEA, "2001:db8:3::51", None, "tv"),
    ]


def test_keas_earlier_files_come_first_and_what_was_deleted_since_is_gone() -> None:
    header = KEA4.splitlines(keepends=True)[0]
    earlier = header + b"192.168.1.70,aa:bb:cc:00:00:01,,3600,1795077000,1,0,0,a,0,\n"
    earlier += b"192.168.1.71,aa:bb:cc:00:00:02,,3600,1795077000,1,0,0,b,0,\n"
    now = header + b"192.168.1.70,aa:bb:cc:00:00:01,,0,1795077000,1,0,0,a,0,\n"
    assert [str(each.address) for each in read_leases_untrusted(earlier, now)] == ["192.168.1.71"]
    with pytest.raises(BadPacket):
        read_kea_untrusted(earlier, b"no header\n")


@pytest.mark.parametrize("data", [b"", b"\n\n", b"  \n"])
def test_an_empty_file_holds_no_lease(data: bytes) -> None:
    assert read_leases_untrusted(data) == ()


def test_a_new_file_of_isc_dhcpd_holds_no_lease() -> None:
    assert read_leases_untrusted(b"# The format of this file is documented in dhcpd.leases(5)\n") == ()
    assert read_leases_untrusted(b'# comment\nserver-duid "\\000\\001";\n') == ()


@pytest.mark.parametrize(
    "data",
    [
        b"root:x:0:0:root:/root:/bin/bash\n",
        b"{",
        b"{}x",
        b'{"Leases": {}}',
        b"[" * 100_000,
        b"{" + b'"a":[' * 100_000,
        b'{"Leases": [' + b"9" * 5000 + b"]}",
        b"\x00\xff\xfe\n",
        b"<html>\n",
    ],
)
def test_another_file_is_refused(data: bytes) -> None:
    with pytest.raises(BadPacket):
        read_leases_untrusted(data)


@pytest.mark.parametrize(
    "data", [b"lease 192.168.1.50 { } }\n", b'lease 192.168.1.50 {\n client-hostname "nas;\n}\n']
)
def test_isc_blocks_that_do_not_fit_are_refused(data: bytes) -> None:
    with pytest.raises(BadPacket):
        read_isc_untrusted(data)


@pytest.mark.parametrize(
    "line",
    [
        "x aa:bb:cc:00:00:09 192.168.1.90 a *",
        "1795077000 aa:bb:cc:00:00:09 192.168.1.999 a *",
        "1795077000 aa:bb:cc:00:00:09",
        "99999999999999999999 aa:bb:cc:00:00:09 192.168.1.90 a *",
        "1795077000 aa:bb:cc:00:00:09 fe80::1%eth0 a *",
        "\xb2 aa:bb:cc:00:00:09 192.168.1.90 a *",
    ],
)
def test_one_bad_line_costs_no_other(line: str) -> None:
    data = line.encode("latin-1") + b"\n" + DNSMASQ
    assert list(read_dnsmasq_untrusted(data)) == READ[LeaseServer.DNSMASQ][1]
    with pytest.raises(BadPacket):
        read_dnsmasq_untrusted(line.encode("latin-1") + b"\n")


@pytest.mark.parametrize("name", ["a\x1b]52;c;x", "x,y", "-x", "a b", "ü", "x" * 64, "$(reboot)"])
def test_a_hostile_name_is_no_name(name: str) -> None:
    data = f"1795077000 {NAS} 192.168.1.50 {name.replace(' ', '_')} *\n".encode()
    (found,) = read_dnsmasq_untrusted(data)
    assert (found.mac, found.name) == (NAS, None)
    document = {"Leases": [{"Address": [192, 168, 1, 50], "Hostname": name, "ExpirationRealtimeUSec": 1}]}
    (found,) = read_networkd_untrusted(json.dumps(document).encode())
    assert found.name is None


@pytest.mark.parametrize("server", [LeaseServer.DNSMASQ, LeaseServer.KEA, LeaseServer.ISC])
def test_a_file_cut_anywhere_gives_only_whole_leases(server: LeaseServer) -> None:
    data, _ = READ[server]
    readers: dict[LeaseServer, Callable[[bytes], tuple[Lease, ...]]] = {
        LeaseServer.DNSMASQ: read_dnsmasq_untrusted,
        LeaseServer.KEA: read_kea_untrusted,
        LeaseServer.ISC: read_isc_untrusted,
    }
    reader = readers[server]
    known = {(each.address, each.mac, each.name, each.expires_at) for each in reader(data)}
    # What a later line replaces stands in the cut file still.
    known |= {
        (each.address, each.mac, each.name, each.expires_at)
        for line_end in [place + 1 for place, byte in enumerate(data) if byte == ord("\n")]
        for each in _read_or_none(reader, data[:line_end])
    }
    for end in range(len(data)):
        for each in _read_or_none(reader, data[:end]):
            assert (each.address, each.mac, each.name, each.expires_at) in known


def _read_or_none(reader: Callable[[bytes], tuple[Lease, ...]], data: bytes) -> tuple[Lease, ...]:
    try:
        return reader(data)
    except BadPacket:
        return ()


READERS: list[Callable[[bytes], tuple[Lease, ...]]] = [
    read_leases_untrusted,
    read_dnsmasq_untrusted,
    read_kea_untrusted,
    read_isc_untrusted,
    read_networkd_untrusted,
]


@given(st.binary(max_size=300))
def test_any_bytes_are_leases_or_refused(data: bytes) -> None:
    for reader in READERS:
        for each in _read_or_none(reader, data):
            assert isinstance(each, Lease)


@given(st.sampled_from([DNSMASQ, KEA4, KEA6, ISC, NETWORKD]), st.randoms(use_true_random=False))
def test_any_damage_is_read_over_or_refused(data: bytes, chance: random.Random) -> None:
    damaged = bytearray(data)
    for _ in range(chance.randint(1, 20)):
        damaged[chance.randrange(len(damaged))] = chance.choice(b'\n ,;{}"\\\x00\xff09af')
    for reader in READERS:
        for each in _read_or_none(reader, bytes(damaged)):
            assert each.name is None or set(each.name) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-")
