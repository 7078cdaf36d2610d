"""Targets with names: a name server in the test, its TTL, and where new flows go."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from sekimori.model.errors import Problem
from sekimori.testing.netlab import HomeNetwork
from sekimori.testing.peers import DEADLINE, eventually
from sekimori.testing.ports import free_ports

from .home import RESOLVER, Home

pytestmark = pytest.mark.netns

GATEWAY, SERVER, DESKTOP = HomeNetwork.GATEWAY, HomeNetwork.SERVER, HomeNetwork.DESKTOP


class NameServer:
    """Answers A and AAAA over UDP from `hosts` (absolute names, lower case), with a TTL."""

    def __init__(self, address: str, ttl: int) -> None:
        self.hosts: dict[str, list[str]] = {}
        self.unknown: list[str] = []
        self._ttl = ttl
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind((address, 53))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        with suppress(OSError):  # not connected: shutdown is to wake `recvfrom`, and does
            self._sock.shutdown(socket.SHUT_RDWR)
        self._thread.join(DEADLINE)
        self._sock.close()

    def _serve(self) -> None:
        while True:
            data, address = self._sock.recvfrom(4096)
            if not data:
                return
            self._sock.sendto(self._answer(dns.message.from_wire(data)), address)

    def _answer(self, query: dns.message.Message) -> bytes:
        question = query.question[0]
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        name = question.name.to_text().lower()
        if name not in self.hosts:
            self.unknown.append(name)
            answer.set_rcode(dns.rcode.NXDOMAIN)
            return answer.to_wire()
        six = question.rdtype == dns.rdatatype.AAAA
        fitting = [each for each in self.hosts[name] if (":" in each) == six]
        if fitting and question.rdtype in (dns.rdatatype.A, dns.rdatatype.AAAA):
            kind = dns.rdatatype.to_text(question.rdtype)
            answer.answer.append(dns.rrset.from_text(question.name, self._ttl, "IN", kind, *fitting))
        return answer.to_wire()


@pytest.fixture
def names(home: Home) -> Iterator[NameServer]:
    server = home.net.server.call(lambda: NameServer(RESOLVER, ttl=1))
    yield server
    server.close()


def test_new_flows_follow_the_name_and_old_ones_get_the_grace(home: Home, names: NameServer) -> None:
    port, service = free_ports(), free_ports()
    home.server.tcp_echo(SERVER[0], service, tag=b"server-")
    home.desktop.tcp_echo(DESKTOP[0], service, tag=b"desktop")
    names.hosts["pc.home.test."] = [SERVER[0]]
    view = home.open({"ports": f"{port}:{service}", "to": "pc.home.test", "from": "anyone"})
    assert view["status"]["targets"] == [SERVER[0]]
    early = home.visitor.dial(port, GATEWAY[0])
    assert early.exactly(7) == b"server-"

    names.hosts["pc.home.test."] = [DESKTOP[0]]
    get = home.daemon.client.get
    eventually(lambda: get(view["id"])["status"]["targets"] == [DESKTOP[0]], deadline=20)
    assert home.visitor.dial(port, GATEWAY[0]).exactly(7) == b"desktop"
    early.ended()
    assert get(view["id"])["status"]["state"] == "open"


def test_the_last_known_address_serves_while_the_name_is_gone(home: Home, names: NameServer) -> None:
    port, service = free_ports(), free_ports()
    home.server.tcp_echo(SERVER[0], service, tag=b"server-")
    names.hosts["fickle.home.test."] = [SERVER[0]]
    view = home.open({"ports": f"{port}:{service}", "to": "fickle.home.test", "from": "anyone"})
    del names.hosts["fickle.home.test."]
    eventually(lambda: "fickle.home.test." in names.unknown, deadline=20)
    assert home.daemon.client.get(view["id"])["status"]["state"] == "open"
    assert home.visitor.dial(port, GATEWAY[0]).exactly(7) == b"server-"


def test_a_dead_first_address_is_raced_by_the_next(home: Home, names: NameServer) -> None:
    port, service = free_ports(), free_ports()
    home.server.tcp_echo(SERVER[0], service, tag=b"IPv4")
    names.hosts["both.home.test."] = ["2001:db8:3::99", SERVER[0]]
    home.open({"ports": f"{port}:{service}", "to": "both.home.test", "from": "anyone"})
    assert home.visitor.dial(port, GATEWAY[0]).exactly(4) == b"IPv4"


def test_an_unknown_name_is_told_and_changes_nothing(home: Home, names: NameServer) -> None:
    port = free_ports()
    revision = home.daemon.client.status()["revision"]
    with pytest.raises(Problem) as told:
        home.open({"ports": f"{port}:80", "to": "nobody.home.test", "from": "anyone"})
    assert (told.value.code, told.value.exit_code) == ("no-such-host", 4)
    assert "nobody.home.test" in told.value.title()
    assert home.daemon.client.status()["revision"] == revision
    assert "nobody.home.test." in names.unknown
