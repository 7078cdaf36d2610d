"""What the TCP benchmark runs: targets, our worker, and the peers, each with one worker on loopback."""

from __future__ import annotations

import asyncio
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from sekimori.planes.relay.control import connect
from sekimori.planes.relay.entry import Entry, Listen
from sekimori.planes.relay.sockets import open_listen

BASE = 21_000
"""Ports used: targets at BASE.., HAProxy at BASE + 100.., ours + 200.., nginx + 300.., socat + 400.."""
HTTP, IPERF, IDLE = 0, 1, 2
PORTS = (HTTP, IPERF, IDLE)
ANSWER = "ok\n" * 32
IDLE_CONNECTIONS = 10_000

HAPROXY = """
global
    nbthread 1
    maxconn {most}
    maxpipes 32
    tune.maxaccept 64
defaults
    mode tcp
    option splice-auto
    timeout connect 10s
    timeout client 1h
    timeout server 1h
"""

NGINX = """
worker_processes 1;
daemon off;
pid {run}/nginx.pid;
error_log {run}/error.log;
events {{ worker_connections 16384; }}
http {{
    access_log off;
    client_body_temp_path {run}; proxy_temp_path {run}; fastcgi_temp_path {run};
    uwsgi_temp_path {run}; scgi_temp_path {run};
    server {{ listen 127.0.0.1:{port} backlog=16384 reuseport; location / {{ return 200 "{answer}"; }} }}
}}
"""

NGINX_STREAM = """
worker_processes 1;
daemon off;
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
pid {run}/nginx-stream.pid;
error_log {run}/stream-error.log;
events {{ worker_connections 32768; }}
stream {{
    access_log off;
    proxy_timeout 1h;
    {servers}
}}
"""


@contextmanager
def process(*command: str, **more: Any) -> Iterator[int]:
    """A child for the time of the block."""
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **more)
    try:
        yield child.pid
    finally:
        child.terminate()
        child.wait()


@contextmanager
def targets(run: Path) -> Iterator[None]:
    config = run / "nginx.conf"
    config.write_text(NGINX.format(run=run, port=BASE + HTTP, answer=ANSWER.replace("\n", " ")))
    sink = [sys.executable, "-m", "bench.relay_tcp_sink", str(BASE + IDLE)]
    with (
        process("nginx", "-c", str(config)),
        process("iperf3", "-s", "-p", str(BASE + IPERF)),
        process(*sink),
    ):
        for what in (HTTP, IPERF, IDLE):
            wait_for(BASE + what)
        yield


@contextmanager
def haproxy(run: Path) -> Iterator[int]:
    config = run / "haproxy.cfg"
    lines = [HAPROXY.format(most=most_connections())]
    for what in (HTTP, IPERF, IDLE):
        lines.append(f"listen l{what}\n    bind 127.0.0.1:{BASE + 100 + what} backlog 4096")
        lines.append(f"    server s 127.0.0.1:{BASE + what}\n")
    config.write_text("\n".join(lines))
    with process("haproxy", "-db", "-f", str(config)) as pid:
        wait_for(BASE + 100 + HTTP)
        yield pid


@contextmanager
def sekimori(run: Path) -> Iterator[int]:
    path = run / "worker.sock"
    with process(sys.executable, "-m", "sekimori.planes.relay.worker", "--socket", str(path)) as pid:
        until(path.is_socket)
        asyncio.run(tell(path))
        yield pid


async def tell(path: Path) -> None:
    control = await connect(path)
    entries, sockets = [], {}
    for what in (HTTP, IPERF, IDLE):
        listen = Listen("tcp", "127.0.0.1", BASE + 200 + what, BASE + what)
        entries.append(Entry(f"e{what}", (listen,), ("127.0.0.1",)))
        sockets[f"e{what}", listen] = open_listen(listen)
    await control.set(entries, sockets)
    control.close()


def wait_for(port: int) -> None:
    def reachable() -> bool:
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", port)) == 0

    until(reachable)


def until(condition: Callable[[], bool], deadline: float = 10.0) -> None:
    end = time.monotonic() + deadline
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("a process of the benchmark did not start")
        time.sleep(0.02)


@contextmanager
def nginx(run: Path) -> Iterator[int]:
    config = run / "stream.conf"
    servers = [
        f"server {{ listen 127.0.0.1:{BASE + 300 + what} backlog=4096; proxy_pass 127.0.0.1:{BASE + what}; }}"
        for what in PORTS
    ]
    config.write_text(NGINX_STREAM.format(run=run, servers="\n    ".join(servers)))
    with process("nginx", "-p", str(run), "-c", str(config)) as pid:
        wait_for(BASE + 300 + HTTP)
        # The worker is the master's only child.
        yield int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


@contextmanager
def socat(_run: Path) -> Iterator[int]:
    """A process a connection: only its throughput is compared."""
    with ExitStack() as stack:
        pid = 0
        for what in (HTTP, IPERF):
            listen = f"TCP-LISTEN:{BASE + 400 + what},bind=127.0.0.1,fork,reuseaddr"
            pid = stack.enter_context(process("socat", listen, f"TCP:127.0.0.1:{BASE + what}"))
        wait_for(BASE + 400 + IPERF)
        yield pid


def most_connections() -> int:
    """As many idle connections as are asked for, or what two descriptors each leave room for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * IDLE_CONNECTIONS + 1000
    if soft < wanted:
        with suppress(ValueError):  # root, but without CAP_SYS_RESOURCE: then with what there is
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))
    return min(IDLE_CONNECTIONS, (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 300) // 2)
