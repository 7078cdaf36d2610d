"""The process of a link against real sshd: flows, ends, losses, and who it trusts."""

from __future__ import annotations

import ctypes
import hashlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sekimori.testing.peers import Peers, Talker, eventually
from sekimori.testing.ports import free_ports
from sekimori.testing.sshd import Sshd, make_key, why_no_sshd
from tests.planes.link.linkprocess import LinkProcess, document, try_once

pytestmark = [
    pytest.mark.loopback,
    pytest.mark.skipif(why_no_sshd() is not None, reason=str(why_no_sshd())),
]

MEGABYTE = 1 << 20


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    with Sshd(tmp_path / "sshd") as server:
        yield server


@pytest.fixture
def link(sshd: Sshd) -> Iterator[LinkProcess]:
    with LinkProcess() as process:
        process.start(sshd)
        process.up()
        yield process


@pytest.fixture
def peers() -> Iterator[Peers]:
    with Peers() as made:
        yield made


class Server:
    """One that does with each connection what a test says."""

    def __init__(self) -> None:
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.sock.settimeout(10)
        self.port = self.sock.getsockname()[1]
        self._accepted: list[socket.socket] = []

    def accept(self) -> socket.socket:
        sock, _address = self.sock.accept()
        sock.settimeout(10)
        self._accepted.append(sock)
        return sock

    def close(self) -> None:
        for sock in (self.sock, *self._accepted):
            sock.close()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


def send_all(sock: socket.socket, data: bytes) -> None:
    sock.sendall(data)
    sock.shutdown(socket.SHUT_WR)


def read_all(sock: socket.socket) -> bytes:
    data = bytearray()
    while more := sock.recv(MEGABYTE):
        data += more
    return bytes(data)


def is_reset(sock: socket.socket) -> bool:
    """Whether the other end of a unix stream is gone with no orderly end seen by us."""
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


def test_it_agrees_on_what_is_fast_and_tells_how_it_is(sshd: Sshd) -> None:
    with LinkProcess() as link:
        link.start(sshd)
        assert link.control.wait(op="state")[0]["phase"] == "connecting"
        state = link.up()
    assert state["algorithms"]["cipher"] == "aes128-gcm@openssh.com"
    assert state["algorithms"]["kex"].startswith(("mlkem", "sntrup", "curve25519"))
    assert state["algorithms"]["host_key"] == "ssh-ed25519"
    assert state["server"].startswith("SSH-2.0-OpenSSH")
    assert state["sekimori"] is False
    assert 0 < state["rtt"] < 1


def test_bytes_are_equal_both_ways_at_once(link: LinkProcess, server: Server) -> None:
    sent = os.urandom(10 * MEGABYTE)
    back = os.urandom(10 * MEGABYTE)
    sock, _ = link.dial("127.0.0.1", server.port)
    far = server.accept()
    got: dict[str, bytes] = {}
    threads = [
        threading.Thread(target=send_all, args=(sock, sent)),
        threading.Thread(target=send_all, args=(far, back)),
        threading.Thread(target=lambda: got.update(far=read_all(far))),
        threading.Thread(target=lambda: got.update(near=read_all(sock))),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert hashlib.sha256(got["far"]).digest() == hashlib.sha256(sent).digest()
    assert hashlib.sha256(got["near"]).digest() == hashlib.sha256(back).digest()
    link.worker.frames.clear()
    number = link.ask("127.0.0.1", server.port)  # nothing was said of an abortion before this answer
    frame, fds = link.worker.wait(op="dialled")
    assert frame["n"] == number
    os.close(fds[0])


@pytest.mark.parametrize("first", ["near", "far"])
def test_either_direction_ends_by_itself(link: LinkProcess, server: Server, first: str) -> None:
    near, _ = link.dial("127.0.0.1", server.port)
    far = server.accept()
    one, other = (near, far) if first == "near" else (far, near)
    one.sendall(b"last words")
    one.shutdown(socket.SHUT_WR)
    assert read_all(other) == b"last words"
    other.sendall(b"still heard")
    other.shutdown(socket.SHUT_WR)
    assert read_all(one) == b"still heard"


def test_what_was_sent_before_an_end_arrives_though_the_reader_is_slow(
    link: LinkProcess, server: Server
) -> None:
    near, _ = link.dial("127.0.0.1", server.port)
    far = server.accept()
    data = os.urandom(3 * MEGABYTE)
    sender = threading.Thread(target=send_all, args=(far, data))
    near.shutdown(socket.SHUT_WR)  # both ends have ended, and so does the channel, before we read
    sender.start()
    time.sleep(0.3)
    assert read_all(near) == data
    sender.join()


def test_a_flow_that_the_worker_breaks_off_is_closed_beyond(link: LinkProcess, server: Server) -> None:
    near, number = link.dial("127.0.0.1", server.port)
    far = server.accept()
    link.worker.tell({"op": "aborted", "n": number})
    assert far.recv(1) == b""
    assert near.recv(1) == b""


def test_a_client_that_leaves_while_its_dial_is_under_way_leaves_nothing(
    link: LinkProcess, peers: Peers
) -> None:
    echo = peers.tcp_echo()
    before = link.descriptors()
    for number in range(40):
        asked = link.ask("127.0.0.1", echo.port)
        if number % 2:  # else it is cancelled before it was begun
            eventually(lambda: link.descriptors() > before, every=0)
        link.worker.tell({"op": "cancel", "n": asked})
        eventually(lambda: link.descriptors() <= before, every=0.001)
    # And it goes on.
    near, _ = link.dial("127.0.0.1", echo.port)
    near.sendall(b"on")
    assert near.recv(2) == b"on"


@pytest.mark.parametrize(
    ("host", "port", "protocol", "cause"),
    [
        ("127.0.0.1", 1, "tcp", "refused"),
        ("no-such-name.invalid", 80, "tcp", "unreachable"),
        ("127.0.0.1", 53, "udp", "prohibited"),
    ],
)
def test_a_place_that_is_not_reached(
    link: LinkProcess, host: str, port: int, protocol: str, cause: str
) -> None:
    number = link.ask(host, port, protocol)
    assert link.worker.wait(op="failed", n=number)[0]["cause"] == cause


def test_a_server_that_forbids_it_says_prohibited(tmp_path: Path) -> None:
    with Sshd(tmp_path / "sshd", {"AllowTcpForwarding": "no"}) as sshd, LinkProcess() as link:
        link.start(sshd)
        link.up()
        number = link.ask("127.0.0.1", 22)
        assert link.worker.wait(op="failed", n=number)[0]["cause"] == "prohibited"
        link.listen(0)
        assert link.control.wait(op="unable")[0]["code"] == "link-no-listen"


def test_unix_sockets_beyond(link: LinkProcess, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        near, _ = link.dial(path, 0, "unix")
        far, _address = listener.accept()
        near.sendall(b"question")
        assert far.recv(100) == b"question"
        far.close()
        assert near.recv(1) == b""


def test_a_reader_that_stalls_costs_bounded_memory(link: LinkProcess, server: Server) -> None:
    near, _ = link.dial("127.0.0.1", server.port)
    far = server.accept()
    far.settimeout(0.5)
    before = memory(link)
    with pytest.raises(TimeoutError):
        far.sendall(bytes(256 * MEGABYTE))
    assert memory(link) - before < 12 * MEGABYTE
    near.close()


def memory(link: LinkProcess) -> int:
    status = Path(f"/proc/{link.process.pid}/statm").read_text().split()
    return int(status[1]) * 4096


def test_many_flows_leave_no_descriptor(link: LinkProcess, peers: Peers) -> None:
    echo = peers.tcp_echo()
    near, _ = link.dial("127.0.0.1", echo.port)
    near.close()
    before = link.descriptors()
    flows = [link.dial("127.0.0.1", echo.port)[0] for _ in range(50)]
    for number, near in enumerate(flows):
        near.sendall(b"%d" % number)
        assert near.recv(100) == b"%d" % number
        near.close()
    eventually(lambda: link.descriptors() <= before)


# -- ports at the far end ---------------------------------------------------------------------


def arrive(link: LinkProcess, port: int) -> tuple[Talker, socket.socket, int]:
    """Connect to a port at the far end: the client, the worker's end, and the arrival's number."""
    client = socket.create_connection(("127.0.0.1", port), timeout=10)
    frame, fds = link.worker.wait(op="arrived", id="m2")
    assert frame["source"] == list(client.getsockname())
    assert frame["listen"] == ["127.0.0.1", port]
    return Talker(client), link.own(fds[0]), frame["k"]


def test_newcomers_at_the_far_end_are_brought(link: LinkProcess) -> None:
    link.listen(0)
    port = link.control.wait(op="listening", id="m2", port_key="tcp/0")[0]["port"]
    client, near, _ = arrive(link, port)
    near.sendall(b"greeting")
    assert client.exactly(8) == b"greeting"
    client.send(b"answer")
    assert near.recv(100) == b"answer"
    near.close()
    assert client.ended() == "closed"
    client.close()


def test_a_newcomer_who_is_turned_away_is_closed(link: LinkProcess) -> None:
    link.listen(0)
    port = link.control.wait(op="listening")[0]["port"]
    client, near, key = arrive(link, port)
    near.close()
    link.worker.tell({"op": "turned_away", "k": key})
    client.ended()
    client.close()


def test_a_port_is_given_up(link: LinkProcess) -> None:
    link.listen(0)
    port = link.control.wait(op="listening")[0]["port"]
    link.control.tell({"op": "unlisten", "id": "m2"})
    eventually(lambda: not answers(port))
    link.listen(port, "m3")  # and is free for another
    assert link.control.wait(op="listening", id="m3")[0]["port"] == port


def test_a_port_that_is_taken_is_knocked_at_once_however_often_it_is_asked_for(
    link: LinkProcess, server: Server
) -> None:
    link.listen(server.port)
    link.control.wait(op="unable", id="m2")
    link.control.tell({"op": "ping"})
    link.control.wait(op="ping")
    link.control.frames.clear()
    link.listen(server.port)  # as whenever the engine tries again
    assert link.control.wait(op="unable", id="m2")[0]["code"] == "link-port-taken"
    server.accept()
    server.sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        server.accept()


def test_a_port_whose_answer_is_not_there_yet_is_given_up_before_the_next_asks(
    link: LinkProcess, sshd: Sshd
) -> None:
    port = free_ports()
    sshd.freeze()
    link.listen(port, "a")
    for _ in range(2):  # what was told before is under way
        link.control.tell({"op": "ping"})
        link.control.wait(op="ping")
    link.control.tell({"op": "unlisten", "id": "a"})
    link.listen(port, "b")
    link.control.tell({"op": "ping"})
    link.control.wait(op="ping")
    sshd.thaw()
    link.control.wait(op="listening", id="b")
    assert [frame for frame, _ in link.control.frames if frame["op"] in ("unable", "listening")] == []


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def test_a_port_that_another_program_has(link: LinkProcess, server: Server) -> None:
    link.listen(server.port)
    assert link.control.wait(op="unable", id="m2")[0]["code"] == "link-port-taken"
    server.sock.close()
    assert link.control.wait(op="listening", id="m2")[0]["port"] == server.port


@pytest.mark.parametrize("unlink", ["yes", "no"])
def test_a_unix_socket_at_the_far_end(tmp_path: Path, unlink: str) -> None:
    with Sshd(tmp_path / "sshd", {"StreamLocalBindUnlink": unlink}) as sshd, LinkProcess() as link:
        link.start(sshd)
        link.up()
        path = str(tmp_path / "far")
        use_unix(link, path)
        link.control.tell({"op": "unlisten", "id": "m2"})
        eventually(lambda: not answers_unix(path))
        if unlink == "yes":
            use_unix(link, path)
        else:  # OpenSSH leaves the socket, and by default takes no place where one is
            link.listen(0, protocol="unix", host=path)
            assert link.control.wait(op="unable", id="m2")[0]["code"] == "link-path-refused"
            Path(path).unlink()
            link.control.wait(op="listening", id="m2", port_key="unix/0")


def answers_unix(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(path) == 0


def use_unix(link: LinkProcess, path: str) -> None:
    link.listen(0, protocol="unix", host=path)
    link.control.wait(op="listening", id="m2", port_key="unix/0")
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(path)
        frame, fds = link.worker.wait(op="arrived", id="m2", protocol="unix")
        assert frame["listen"] == [path, 0]
        near = link.own(fds[0])
        client.sendall(b"question")
        while not (heard := near.recv(100)):  # that was one who only looked whether somebody listens
            near = link.own(link.worker.wait(op="arrived", id="m2")[1][0])
        assert heard == b"question"
        near.close()
        assert client.recv(1) == b""


def test_udp_needs_sekimori(link: LinkProcess) -> None:
    link.listen(5353, protocol="udp")
    assert link.control.wait(op="unable", port_key="udp/5353")[0]["code"] == "link-no-udp"


# -- losses -----------------------------------------------------------------------------------


def test_a_connection_that_is_cut_is_made_again_and_its_flows_are_reset(
    link: LinkProcess, sshd: Sshd, peers: Peers
) -> None:
    echo = peers.tcp_echo()
    near, number = link.dial("127.0.0.1", echo.port)
    link.listen(0)
    port = link.control.wait(op="listening")[0]["port"]
    sshd.cut()
    assert link.worker.wait(op="aborted", n=number)
    assert is_reset(near)
    link.up()
    # What was any port is the same one from now on.
    assert link.control.wait(op="listening")[0]["port"] == port
    near, _ = link.dial("127.0.0.1", echo.port)
    near.sendall(b"again")
    assert near.recv(100) == b"again"


def test_many_losses_leave_nothing_behind(link: LinkProcess, sshd: Sshd, peers: Peers) -> None:
    echo = peers.tcp_echo()
    link.listen(0)
    port = link.control.wait(op="listening")[0]["port"]
    counts = []
    for _ in range(6):
        near, number = link.dial("127.0.0.1", echo.port)
        near.sendall(b"x")
        assert near.recv(1) == b"x"
        sshd.cut()
        link.worker.wait(op="aborted", n=number)
        near.close()
        link.control.wait(op="state", phase="connecting")
        link.up()
        assert link.control.wait(op="listening")[0]["port"] == port
        counts.append(link.descriptors())
    assert counts[-1] <= counts[0]


def test_dials_fail_at_once_while_it_is_down(sshd: Sshd, link: LinkProcess) -> None:
    sshd.kill()
    state = link.control.wait(op="state", phase="waiting")[0]
    assert state["code"] in ("link-cut", "link-refused")
    assert state["next"] >= state["since"]
    number = link.ask("127.0.0.1", 80)
    assert link.worker.wait(1.0, op="failed", n=number)[0]["cause"] == "down"
    sshd.start()
    link.control.tell({"op": "retry"})
    link.up()


def test_a_frozen_server_is_noticed_within_nine_seconds(link: LinkProcess, sshd: Sshd, peers: Peers) -> None:
    near, number = link.dial("127.0.0.1", peers.tcp_echo().port)
    sshd.freeze()
    begun = time.monotonic()
    try:
        link.worker.wait(11.0, op="aborted", n=number)
        assert time.monotonic() - begun <= 9.0
        assert link.control.wait(op="state", phase="waiting")[0]["code"] == "link-silent"
        assert is_reset(near)
    finally:
        sshd.thaw()
    link.up(30)


def test_a_port_comes_back_though_the_old_session_never_learned_of_the_loss(sshd: Sshd) -> None:
    """Our old end vanishes without a word, as in a power cut; the server sends no pings."""
    with LinkProcess() as former:
        former.start(sshd)
        former.up()
        former.listen(0)
        port = former.control.wait(op="listening")[0]["port"]
        held = sshd.sessions()
        vanish(former.process, sshd.port)
        former.process.wait()
        former.expected = -signal.SIGKILL
    assert sshd.sessions() == held
    begun = time.monotonic()
    with LinkProcess() as link:
        link.start(sshd)
        link.up()
        link.listen(port)
        assert link.control.wait(15, op="listening")[0]["port"] == port
    assert time.monotonic() - begun < 15


def vanish(process: subprocess.Popen[bytes], port: int) -> None:
    """Kill a process and have its connections to a port end without a packet (tcp(7), TCP_REPAIR)."""
    libc = ctypes.CDLL(None, use_errno=True)
    pidfd = os.pidfd_open(process.pid)
    taken = []
    for path in Path(f"/proc/{process.pid}/fd").iterdir():
        if not os.readlink(path).startswith("socket:"):
            continue
        fd = libc.syscall(438, pidfd, int(path.name), 0)  # pidfd_getfd(2)
        assert fd >= 0, os.strerror(ctypes.get_errno())
        sock = socket.socket(fileno=fd)
        if sock.family == socket.AF_INET and sock.getpeername()[1] == port:
            taken.append(sock)
        else:
            sock.close()
    assert taken
    for sock in taken:
        sock.setsockopt(socket.IPPROTO_TCP, 19, 1)  # TCP_REPAIR
    process.kill()
    process.wait()
    for sock in taken:
        sock.close()
    os.close(pidfd)


def test_a_worker_that_comes_back_ends_the_flows_of_the_former(link: LinkProcess, server: Server) -> None:
    link.dial("127.0.0.1", server.port)
    far = server.accept()
    former = link.worker
    link.worker = link.new_worker()
    assert far.recv(1) == b""
    near, _ = link.dial("127.0.0.1", server.port)
    server.accept().sendall(b"new")
    assert near.recv(3) == b"new"
    former.close()


def test_several_connections_carry_side_by_side(sshd: Sshd, server: Server) -> None:
    with LinkProcess() as link:
        link.start(sshd, connections=3)
        link.up()
        eventually(lambda: established(sshd.port) == 3)
        for _ in range(6):
            link.dial("127.0.0.1", server.port)
            server.accept().sendall(b"x")


def established(port: int) -> int:
    rows = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return sum(row.split()[1].endswith(f":{port:04X}") and row.split()[3] == "01" for row in rows)


# -- trust ------------------------------------------------------------------------------------


def test_another_host_key_is_refused_with_both_fingerprints(sshd: Sshd) -> None:
    pinned = [sshd.host_key_line]
    sshd.kill()
    sshd.new_host_key()
    sshd.start()
    with LinkProcess() as link:
        link.start(sshd, host_keys=pinned)
        state = link.control.wait(op="state", phase="refused")[0]
    assert state["code"] == "host-key-changed"
    assert state["facts"]["fingerprint"] == fingerprint(f"{sshd.host_key}.pub")
    assert state["facts"]["expected"].startswith("SHA256:")
    assert state["facts"]["expected"] != state["facts"]["fingerprint"]
    assert 55 < state["next"] - state["since"] < 65


def fingerprint(path: str) -> str:
    said = subprocess.run(["ssh-keygen", "-lf", path], capture_output=True, text=True, check=True)
    return said.stdout.split()[1]


def test_a_host_key_that_nobody_confirmed_is_refused_though_known_hosts_has_it(
    sshd: Sshd, tmp_path: Path
) -> None:
    known = tmp_path / "home" / ".ssh" / "known_hosts"
    known.parent.mkdir(parents=True)
    known.write_text(f"[127.0.0.1]:{sshd.port} {' '.join(sshd.host_key_line.split()[1:])}\n")
    with LinkProcess({"HOME": str(tmp_path / "home")}) as link:
        link.start(sshd, host_keys=[])
        assert link.control.wait(op="state", phase="refused")[0]["code"] == "host-key-unknown"


def test_a_key_that_is_not_let_in(sshd: Sshd, tmp_path: Path) -> None:
    with LinkProcess() as link:
        link.start(sshd, identity=[str(make_key(tmp_path / "other"))])
        state = link.control.wait(op="state", phase="refused")[0]
    assert state["code"] == "link-auth"
    assert state["facts"]["user"] == "root"


def test_a_key_with_a_passphrase_needs_an_agent_and_works_by_one(
    sshd: Sshd, tmp_path: Path, agent: dict[str, str]
) -> None:
    key = make_key(tmp_path / "locked", passphrase="secret")
    with sshd.authorized.open("a") as file:
        file.write(Path(f"{key}.pub").read_text())
    with LinkProcess({"SSH_AUTH_SOCK": ""}) as link:
        link.start(sshd, identity=[str(key)])
        assert link.control.wait(op="state", phase="refused")[0]["code"] == "link-key-locked"
    ask = tmp_path / "ask"
    ask.write_text("#!/bin/sh\necho secret\n")
    ask.chmod(0o755)
    subprocess.run(
        ["ssh-add", "-q", str(key)],
        env={**os.environ, **agent, "SSH_ASKPASS": str(ask), "SSH_ASKPASS_REQUIRE": "force"},
        check=True,
    )
    with LinkProcess(agent) as link:
        link.start(sshd, identity=[str(key)])
        link.up()
    with LinkProcess(agent) as link:
        link.start(sshd, identity=[])
        link.up()


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[dict[str, str]]:
    path = tmp_path / "agent"
    with subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL) as process:
        eventually(path.exists)
        yield {"SSH_AUTH_SOCK": str(path)}
        process.terminate()


def test_certificates_of_users_and_hosts(tmp_path: Path) -> None:
    authority = make_key(tmp_path / "ca")
    sshd = Sshd(tmp_path / "sshd", {"TrustedUserCAKeys": f"{authority}.pub"})
    sshd.authorized.write_text("")
    sign = ["ssh-keygen", "-q", "-s", str(authority), "-I", "x", "-V", "+1h"]
    subprocess.run([*sign, "-n", "root", f"{sshd.key}.pub"], check=True)
    subprocess.run([*sign, "-h", "-n", "127.0.0.1", f"{sshd.host_key}.pub"], check=True)
    sshd.settings["HostCertificate"] = f"{sshd.host_key}-cert.pub"
    ca = Path(f"{authority}.pub").read_text().split()
    with sshd, LinkProcess() as link:
        link.start(sshd, host_keys=[f"{sshd.url} cert-authority {ca[0]} {ca[1]}"])
        link.up()


def test_through_a_jump_host_each_with_its_own_key(sshd: Sshd, tmp_path: Path, peers: Peers) -> None:
    with Sshd(tmp_path / "jump") as jump, LinkProcess() as link:
        with jump.authorized.open("a") as file:
            file.write(Path(f"{sshd.key}.pub").read_text())
        link.start(jump, sshd)
        link.up()
        echo = peers.tcp_echo()
        near, number = link.dial("127.0.0.1", echo.port)
        data = os.urandom(3 * MEGABYTE)
        sender = threading.Thread(target=near.sendall, args=(data,))
        sender.start()
        got = read_exactly(near, len(data))
        sender.join()
        assert got == data
        jump.cut()
        link.worker.wait(op="aborted", n=number)
        link.up()
        link.control.tell({"op": "start", **unpinned(jump, sshd)})
        state = link.control.wait(op="state", phase="refused")[0]
        assert (state["code"], state["facts"]["place"]) == ("host-key-unknown", jump.url)


def read_exactly(sock: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        more = sock.recv(count - len(data))
        assert more
        data += more
    return bytes(data)


def unpinned(jump: Sshd, sshd: Sshd) -> dict[str, object]:
    return document(jump, sshd, host_keys=[sshd.host_key_line])


def test_ssh_config_is_read(sshd: Sshd, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(
        f"Host far\n  HostName 127.0.0.1\n  Port {sshd.port}\n  User root\n  IdentityFile {sshd.key}\n"
    )
    line = sshd.host_key_line.split()
    with LinkProcess() as link:
        link.start(
            sshd,
            place="ssh://far",
            identity=[],
            config=str(config),
            host_keys=[f"ssh://far {line[1]} {line[2]}"],
        )
        link.up()


# -- tried once -------------------------------------------------------------------------------


def test_a_scan_shows_the_key_and_what_is_thought_of_it(sshd: Sshd, tmp_path: Path) -> None:
    (pinned,) = try_once("--scan", sshd)["keys"]
    assert pinned["standing"] == "pinned"
    assert f"{pinned['place']} {pinned['algorithm']} {pinned['key']}" == sshd.host_key_line
    assert pinned["fingerprint"] == fingerprint(f"{sshd.host_key}.pub")
    (unknown,) = try_once("--scan", sshd, host_keys=[])["keys"]
    assert unknown["standing"] == "unknown"
    known = tmp_path / "home" / ".ssh" / "known_hosts"
    known.parent.mkdir(parents=True)
    home = {"HOME": str(tmp_path / "home")}
    known.write_text(f"[127.0.0.1]:{sshd.port} {' '.join(sshd.host_key_line.split()[1:])}\n")
    assert try_once("--scan", sshd, env=home, host_keys=[])["keys"][0]["standing"] == "known"
    other = Path(f"{make_key(tmp_path / 'other')}.pub").read_text().split()
    known.write_text(f"[127.0.0.1]:{sshd.port} {other[0]} {other[1]}\n")
    (changed,) = try_once("--scan", sshd, env=home, host_keys=[])["keys"]
    assert changed["standing"] == "changed"
    assert changed["expected"] == [fingerprint(str(tmp_path / "other.pub"))]


def test_a_test_says_what_may_be_done(sshd: Sshd) -> None:
    found = try_once("--test", sshd)
    assert found["problem"] is None
    assert (found["local"], found["remote"], found["sekimori"]) == (True, True, False)
    assert found["outside"] is True
    assert found["server"].startswith("SSH-2.0-OpenSSH")


def test_a_test_sees_that_ports_are_on_loopback_alone(tmp_path: Path) -> None:
    with Sshd(tmp_path / "sshd", {"GatewayPorts": "no"}) as sshd:
        found = try_once("--test", sshd)
    assert (found["remote"], found["outside"]) == (True, False)


def test_where_it_may_not_be_dialled_it_is_not_told_who_comes_in(tmp_path: Path) -> None:
    with Sshd(tmp_path / "sshd", {"PermitOpen": "192.0.2.1:1"}) as sshd:
        found = try_once("--test", sshd)
    assert (found["local"], found["remote"], found["outside"]) == (False, True, None)


def test_a_test_says_what_may_not_be_done(tmp_path: Path) -> None:
    with Sshd(tmp_path / "sshd", {"AllowTcpForwarding": "no"}) as sshd:
        found = try_once("--test", sshd)
    assert (found["local"], found["remote"]) == (False, False)
    assert found["local_why"]
    assert found["remote_why"]


def test_nobody_answers(tmp_path: Path) -> None:
    gone = Sshd(tmp_path / "sshd")
    found = try_once("--test", gone)
    assert found["problem"]["code"] == "link-refused"
    assert try_once("--scan", gone)["problem"]["code"] == "link-refused"
