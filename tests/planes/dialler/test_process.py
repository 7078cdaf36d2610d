"""The dialler's process has imported all that it needs before it gives its privileges up."""

from __future__ import annotations

import asyncio
import socket
import sys

from tests.host.test_resolver import NameServer

SCRIPT = """
import asyncio, sys
from pathlib import Path
import sekimori.planes.dialler.__main__
from sekimori.host.carrier import Dial, DialFailed
from sekimori.host.ownnetworks import own_networks
from sekimori.host.resolver import SystemResolver
from sekimori.planes.dialler.reaching import Reacher

names, places = sys.argv[1:]
reacher = Reacher(SystemResolver(Path("/no-hosts"), ("127.0.0.1",), int(names)).resolve, print, own_networks)

async def reach(host):
    asked = {"rules": ["127.0.0.1", "::1"], "own": []}
    try:
        dialled = await reacher.serve(Dial(1, 0, "m", "dial", "tcp", host, int(places), None, None, asked))
    except DialFailed as failure:
        return failure.cause
    with dialled.sock:
        return dialled.peer[0]

async def main():
    await asyncio.get_running_loop().getaddrinfo("127.0.0.1", None)  # in a thread
    return [await reach(host) for host in ("web.example", "none.example", "rebound.example")]

sys.meta_path.clear()  # as it is for nobody, where the program lies in a home directory
print(asyncio.run(main()))
"""


async def test_names_are_looked_up_when_nothing_can_be_imported_any_more() -> None:
    records = {
        ("web.example", "A"): (60, ["127.0.0.1"]),
        ("web.example", "AAAA"): (60, ["::1"]),
        ("rebound.example", "A"): (60, ["127.0.0.2"]),
    }
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: NameServer(records), local_addr=("127.0.0.1", 0)
    )
    with socket.create_server(("127.0.0.1", 0)) as target:
        ports = [str(each) for each in (transport.get_extra_info("sockname")[1], target.getsockname()[1])]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            SCRIPT,
            *ports,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
    transport.close()
    assert err == b""
    assert out.decode().strip() == "['127.0.0.1', 'unreachable', 'prohibited']"
