"""A machine with every kind of set of the gateway's table, a netfilter socket of ours in it, and nft."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

import pytest

from sekimori.host.nfsocket import NfSocket
from sekimori.testing.netlab import Host, Lab, why_not
from sekimori.wire.nftelements import (
    Element,
    Seen,
    add_elements,
    address_port_data,
    address_port_key,
    dump_elements,
    flush_elements,
    parse_elements_untrusted,
    port_data,
    port_key,
    proto_key,
)

TABLE = "sekimori"
SERVER, SERVER6 = ip_address("192.168.1.10").packed, ip_address("2001:db8:3::10").packed
STRUCTURE = """
table inet sekimori {
  chain src_1 {}
  map fwd4 { type inet_proto . inet_service : ipv4_addr . inet_service; flags timeout; counter; }
  map fwd6 { type inet_proto . inet_service : ipv6_addr . inet_service; flags timeout; counter; }
  map fwdr4 { type inet_proto . inet_service : ipv4_addr; flags interval, timeout; counter; }
  map fwdr6 { type inet_proto . inet_service : ipv6_addr; flags interval, timeout; counter; }
  map fwdp4 { type inet_proto : ipv4_addr; flags timeout; counter; }
  map fwdp6 { type inet_proto : ipv6_addr; flags timeout; counter; }
  map gate { type inet_proto . inet_service : verdict; flags timeout; counter; }
  map gater { type inet_proto . inet_service : verdict; flags interval, timeout; counter; }
  map gatep { type inet_proto : verdict; flags timeout; counter; }
  set in { type inet_proto . inet_service; counter; }
  set inr { type inet_proto . inet_service; flags interval; counter; }
  set inp { type inet_proto; counter; }
  set own { type inet_proto . inet_service; flags timeout; counter; }
  map sym4 { type inet_proto . ipv4_addr . inet_service : inet_service; }
  set hole6 { type inet_proto . ipv6_addr . inet_service; flags timeout; counter; }
  set hole6r { type inet_proto . ipv6_addr . inet_service; flags interval, timeout; counter; }
  map holegate6 { type inet_proto . ipv6_addr . inet_service : verdict; flags timeout; counter; }
  set bans4 { type ipv4_addr; flags interval, timeout; }
  set bans6 { type ipv6_addr; flags interval, timeout; }
}
"""


@dataclass(frozen=True)
class Kind:
    """A kind of set: an element as we write it and as nft does."""

    name: str
    element: Element
    text: str

    @property
    def one_dimension(self) -> bool:
        return self.name.startswith("bans")


KINDS = [
    Kind(
        "fwd4",
        Element(port_key(6, 8080), None, address_port_data(SERVER, 80)),
        "tcp . 8080 : 192.168.1.10 . 80",
    ),
    Kind(
        "fwd6",
        Element(port_key(17, 53), None, address_port_data(SERVER6, 5353)),
        "udp . 53 : 2001:db8:3::10 . 5353",
    ),
    Kind("fwdr4", Element(port_key(6, 7000), port_key(6, 7010), SERVER), "tcp . 7000-7010 : 192.168.1.10"),
    Kind(
        "fwdr6",
        Element(port_key(132, 256), port_key(132, 65535), SERVER6),
        "sctp . 256-65535 : 2001:db8:3::10",
    ),
    Kind("fwdp4", Element(proto_key(47), None, SERVER), "gre : 192.168.1.10"),
    Kind("fwdp6", Element(proto_key(50), None, SERVER6), "esp : 2001:db8:3::10"),
    Kind("gate", Element(port_key(6, 22), chain="src_1"), "tcp . 22 : goto src_1"),
    Kind("gater", Element(port_key(17, 1), port_key(17, 9), chain="src_1"), "udp . 1-9 : goto src_1"),
    Kind("gatep", Element(proto_key(41), chain="src_1"), "ipv6 : goto src_1"),
    Kind("in", Element(port_key(6, 8080)), "tcp . 8080"),
    Kind("inr", Element(port_key(6, 7000), port_key(6, 7010)), "tcp . 7000-7010"),
    Kind("inp", Element(proto_key(47)), "gre"),
    Kind("own", Element(port_key(17, 51820)), "udp . 51820"),
    Kind(
        "sym4",
        Element(address_port_key(17, SERVER, 3074), None, port_data(13074)),
        "udp . 192.168.1.10 . 3074 : 13074",
    ),
    Kind("hole6", Element(address_port_key(6, SERVER6, 443)), "tcp . 2001:db8:3::10 . 443"),
    Kind(
        "hole6r",
        Element(address_port_key(6, SERVER6, 80), address_port_key(6, SERVER6, 90)),
        "tcp . 2001:db8:3::10 . 80-90",
    ),
    Kind(
        "holegate6",
        Element(address_port_key(6, SERVER6, 443), chain="src_1"),
        "tcp . 2001:db8:3::10 . 443 : goto src_1",
    ),
    Kind("bans4", Element(bytes([10, 0, 0, 0]), bytes([10, 0, 0, 255])), "10.0.0.0/24"),
    Kind("bans6", Element(b"\xff" + bytes(15), b"\xff" * 16), "ff00::/8"),
]
TIMED = [kind for kind in KINDS if not kind.name.startswith(("in", "sym"))]


@dataclass
class Box:
    """A machine with the structure loaded, a socket of ours in it, and nft."""

    host: Host
    sock: NfSocket

    def nft(self, *arguments: str, text: str | None = None) -> str:
        return self.host.run(["nft", *arguments], text=text).stdout

    def listed(self, name: str) -> list[Any]:
        found = json.loads(self.nft("-j", "list", "set" if name not in MAPS else "map", "inet", TABLE, name))
        (one,) = [next(iter(each.values())) for each in found["nftables"] if "metainfo" not in each]
        return list(one.get("elem", []))

    def seen(self, name: str) -> list[Seen]:
        return [
            each
            for data in self.sock.ask(dump_elements(TABLE, name))
            for each in parse_elements_untrusted(data)
        ]

    def add(self, name: str, *elements: Element, **options: bool) -> None:
        self.sock.batch([*add_elements(TABLE, name, elements, **options)])

    def empty(self) -> None:
        self.sock.batch([flush_elements(TABLE, kind.name) for kind in KINDS])


MAPS = {kind.name for kind in KINDS if kind.element.data is not None or kind.element.chain is not None}


def skip_without_nft() -> None:
    why = why_not() or (None if shutil.which("nft") else "needs nft")
    if why is not None:
        pytest.skip(why)


@contextlib.contextmanager
def a_box() -> Iterator[Box]:
    skip_without_nft()
    with Lab() as lab:
        host = lab.host("box")
        host.run(["nft", "-f", "-"], text=STRUCTURE)
        with host.call(NfSocket) as sock:
            yield Box(host, sock)
