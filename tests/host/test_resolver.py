"""Names to addresses, asked of a hosts file and of a name server on loopback."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from sekimori.host.resolver import SystemResolver, explain_failure
from sekimori.model.errors import Problem

Records = dict[tuple[str, str], tuple[int, list[str]]]


class NameServer(asyncio.DatagramProtocol):
    """Answers from `records` by (name, type); an unknown name does not exist."""

    def __init__(self, records: Records) -> None:
        self.records = records
        self.asked: list[tuple[str, str]] = []
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Python 3.11's own datagram transport is no DatagramTransport by its class.
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name, kind = question.name.to_text(omit_final_dot=True), dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        found = self.records.get((name, kind))
        if found is not None:
            answer.answer.append(dns.rrset.from_text(question.name, found[0], "IN", kind, *found[1]))
        elif not any(known == name for known, _ in self.records):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        assert self._transport is not None
        self._transport.sendto(answer.to_wire(), addr)


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Callable[..., object]]:
    transports: list[asyncio.BaseTransport] = []

    async def start(records: Records, hosts: str = "") -> tuple[SystemResolver, NameServer]:
        loop = asyncio.get_running_loop()
        transport, server = await loop.create_datagram_endpoint(
            lambda: NameServer(records), local_addr=("127.0.0.1", 0)
        )
        transports.append(transport)
        (tmp_path / "hosts").write_text(hosts)
        port = transport.get_extra_info("sockname")[1]
        return SystemResolver(tmp_path / "hosts", ("127.0.0.1",), port), server

    yield start
    for transport in transports:
        transport.close()


async def test_both_families_in_turn_for_the_shortest_ttl(serve) -> None:
    resolver, server = await serve(
        {
            ("web.example", "A"): (300, ["192.0.2.1", "192.0.2.2", "192.0.2.3"]),
            ("web.example", "AAAA"): (60, ["2001:db8::1"]),
        }
    )
    found = await resolver.resolve("web.example")
    assert (found.addresses[0], found.ttl) == ("2001:db8::1", 60.0)
    assert set(found.addresses[1:]) == {"192.0.2.1", "192.0.2.2", "192.0.2.3"}
    assert sorted(server.asked) == [("web.example", "A"), ("web.example", "AAAA")]


async def test_one_family_is_enough(serve) -> None:
    resolver, _ = await serve({("web.example", "A"): (300, ["192.0.2.1"])})
    found = await resolver.resolve("web.example")
    assert (found.addresses, found.ttl) == (("192.0.2.1",), 300.0)


async def test_an_unknown_name_is_a_problem(serve) -> None:
    resolver, _ = await serve({})
    with pytest.raises(Problem) as caught:
        await resolver.resolve("nobody.example")
    assert (caught.value.code, caught.value.exit_code) == ("no-such-host", 4)
    assert caught.value.fact("why", "ja") == "ネームサーバーが知らない名前です"


@pytest.mark.parametrize(
    ("code", "english", "japanese"),
    [
        (socket.EAI_NONAME, "there is no such name", "その名前はありません"),
        (socket.EAI_NODATA, "the name has no address", "その名前にアドレスがありません"),
        (socket.EAI_AGAIN, "no name server answered", "ネームサーバーが応答しません"),
        (socket.EAI_FAIL, "as the system says it", "as the system says it"),
    ],
)
def test_what_the_system_says_of_a_name_is_told_in_both_languages(
    code: int, english: str, japanese: str
) -> None:
    why = explain_failure(socket.gaierror(code, "as the system says it"))
    problem = Problem("no-such-host", host="nobody.example", why=why)
    assert problem.title() == f"cannot find the host 'nobody.example': {english}"
    assert problem.title("ja").endswith(f": {japanese}")


async def test_the_hosts_file_comes_first(serve) -> None:
    resolver, server = await serve(
        {("web.example", "A"): (300, ["192.0.2.1"])},
        "# web.example\n192.0.2.7 other Web.Example # a comment\n2001:db8::7\tweb.example\nbad web.example\n",
    )
    found = await resolver.resolve("web.example")
    assert (found.addresses, server.asked) == (("2001:db8::7", "192.0.2.7"), [])
    assert found.ttl > 0


async def test_the_hosts_file_is_read_anew_once_it_changes(serve, tmp_path: Path) -> None:
    resolver, server = await serve({}, "192.0.2.7 web.example\n")
    assert (await resolver.resolve("web.example")).addresses == ("192.0.2.7",)
    (tmp_path / "hosts").write_text("192.0.2.10 web.example\n")
    assert (await resolver.resolve("web.example")).addresses == ("192.0.2.10",)
    assert server.asked == []


async def test_localhost_is_asked_of_nobody(serve) -> None:
    resolver, server = await serve({}, "192.0.2.7 localhost\n")
    assert (await resolver.resolve("localhost")).addresses == ("127.0.0.1", "::1")
    assert server.asked == []


async def test_a_missing_hosts_file_is_an_empty_one(serve, tmp_path: Path) -> None:
    resolver, _ = await serve({("web.example", "A"): (300, ["192.0.2.1"])})
    (tmp_path / "hosts").unlink()
    assert (await resolver.resolve("web.example")).addresses == ("192.0.2.1",)
