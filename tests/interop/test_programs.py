"""HTTP, iperf3, DNS and PROXY-protocol servers behind mappings, used by their own clients."""

from __future__ import annotations

import hashlib
import json
import random
import sys
from pathlib import Path
from typing import Any

import pytest

from sekimori.testing.netlab import HomeNetwork
from sekimori.testing.peers import eventually
from sekimori.testing.ports import free_ports
from tests.netns.home import Home

from .programs import Start, need, wait_for_listener

pytestmark = [pytest.mark.interop, pytest.mark.netns]

GATEWAY, SERVER, DESKTOP, VISITOR = (
    HomeNetwork.GATEWAY,
    HomeNetwork.SERVER,
    HomeNetwork.DESKTOP,
    HomeNetwork.VISITOR,
)
URLS = [f"http://{GATEWAY[0]}", f"http://[{GATEWAY[1]}]"]


def test_curl_from_http_server(home: Home, start: Start, tmp_path: Path) -> None:
    curl = need("curl", "curl")
    (tmp_path / "file").write_bytes(random.Random(2).randbytes(20 << 20))
    words = ("-m", "http.server", "8000", "--bind", SERVER[0], "--directory", str(tmp_path))
    start(home.net.server, sys.executable, *words)
    wait_for_listener(home.server, SERVER[0], 8000)
    view = home.open({"ports": "python-http", "to": SERVER[0], "from": "anyone"})
    for url in URLS:
        got = tmp_path / "got"
        home.net.visitor.run([curl, "-gsSf", "--max-time", "20", "-o", str(got), f"{url}:8000/file"])
        assert _digest(got) == _digest(tmp_path / "file")
        missing = home.net.visitor.run([curl, "-gsSf", f"{url}:8000/none"], check=False)
        assert missing.returncode == 22
    figures = eventually(lambda: _when_idle(home, view))
    assert figures["flows_total"] == 4
    assert figures["bytes_out"] > 2 * (20 << 20)


def test_iperf3_tcp_and_udp_through_one_preset(home: Home, start: Start) -> None:
    iperf3 = need("iperf3", "iperf3")
    start(home.net.server, iperf3, "-s", "-B", SERVER[0])
    wait_for_listener(home.server, SERVER[0], 5201)
    view = home.open({"ports": "iperf3", "to": SERVER[0], "from": "anyone"})
    assert (view["preset"], view["ports"]) == ("iperf3", "tcp+udp/5201")

    def run(*words: str) -> dict[str, Any]:
        command = [iperf3, "-c", GATEWAY[0], "-J", "-t", "1", *words]
        end: dict[str, Any] = json.loads(home.net.visitor.run(command).stdout)["end"]
        return end

    for words in ((), ("-R",), ("-P", "4")):
        end = run(*words)
        assert 0 < end["sum_received"]["bytes"] <= end["sum_sent"]["bytes"]
    for words in ((), ("-R",)):
        end = run("-u", "-b", "20M", "-l", "1200", *words)
        assert end["sum"]["packets"] > 1000
        assert end["sum"]["lost_percent"] < 5
    figures = home.counters(view)
    assert figures["packets_in"] > 1000
    assert figures["packets_out"] > 1000
    assert figures["failed"] == {}


def test_dns_over_udp_and_tcp_on_one_mapping(home: Home, start: Start) -> None:
    dig = need("dig", "bind9-dnsutils")
    dnsmasq = need("dnsmasq", "dnsmasq-base")
    long = "".join(random.Random(3).choices("abcdefgh", k=220))
    words = [
        "--keep-in-foreground",
        "--no-resolv",
        "--no-hosts",
        "--bind-interfaces",
        "--user=root",
        "--pid-file=",
    ]
    words += [
        "--conf-file=/dev/null",
        f"--listen-address={SERVER[0]}",
        f"--address=/pc.home.test/{DESKTOP[0]}",
    ]
    words += [f"--txt-record=big.home.test,{long},{long},{long},{long}"]
    start(home.net.server, dnsmasq, *words)
    wait_for_listener(home.server, SERVER[0], 53)
    view = home.open({"ports": "tcp+udp/53", "to": SERVER[0], "from": ",".join(VISITOR)})

    def ask(address: str, *words: str) -> str:
        return home.net.visitor.run([dig, f"@{address}", "+time=5", "+tries=2", "+short", *words]).stdout

    for address in GATEWAY:
        assert ask(address, "pc.home.test", "A") == f"{DESKTOP[0]}\n"
        assert ask(address, "+tcp", "pc.home.test", "A") == f"{DESKTOP[0]}\n"
    before = home.counters(view)
    # Too long for a datagram without EDNS: dig asks again over TCP, as resolvers do.
    assert ask(GATEWAY[0], "+noedns", "big.home.test", "TXT").count(long) == 4
    after = home.counters(view)
    assert after["flows_total"] - before["flows_total"] == 2
    assert {flow["protocol"] for flow in home.daemon.client.who(view["id"])["flows"]} == {"udp"}


HAPROXY = """
global
    log stderr local0
defaults
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 5s
frontend web
    bind {address}:{port} accept-proxy
    http-request return status 200 content-type text/plain lf-string "%[src] %[src_port]"
"""
NGINX = """
daemon off;
error_log stderr;
pid {directory}/nginx.pid;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {directory}/a;
    proxy_temp_path {directory}/b;
    fastcgi_temp_path {directory}/c;
    uwsgi_temp_path {directory}/d;
    scgi_temp_path {directory}/e;
    server {{
        listen {address}:{port} proxy_protocol;
        location / {{ return 200 "$proxy_protocol_addr $proxy_protocol_port"; }}
    }}
}}
"""


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("program", ["haproxy", "nginx"])
def test_proxy_protocol_is_understood(
    home: Home, start: Start, tmp_path: Path, program: str, version: int
) -> None:
    curl = need("curl", "curl")
    found = need(program, {"haproxy": "haproxy", "nginx": "nginx-light"}[program])
    inside, port = free_ports(), free_ports()
    config = tmp_path / "config"
    text = {"haproxy": HAPROXY, "nginx": NGINX}[program]
    config.write_text(text.format(address=SERVER[0], port=inside, directory=tmp_path))
    words = {"haproxy": ["-db", "-f", str(config)], "nginx": ["-p", str(tmp_path), "-c", str(config)]}[
        program
    ]
    start(home.net.server, found, *words)
    wait_for_listener(home.server, SERVER[0], inside)
    home.open({"ports": f"{port}:{inside}", "to": SERVER[0], "from": "anyone", "proxy_protocol": version})
    local = range(40000, 40100)
    for family, url in enumerate(URLS):
        ports = f"{local[0]}-{local[-1]}"
        done = home.net.visitor.run(
            [curl, "-gsSf", "--max-time", "10", "--local-port", ports, f"{url}:{port}/"]
        )
        source, source_port = done.stdout.split()
        assert source == VISITOR[family]
        assert int(source_port) in local


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _when_idle(home: Home, view: dict[str, Any]) -> dict[str, Any] | None:
    figures = home.counters(view)
    return figures if figures["flows_active"] == 0 else None
