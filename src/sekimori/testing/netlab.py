"""Network namespaces for tests: hosts, cables, switches, and whole networks ready made.

Needs root and iproute2. Addresses exist in the namespaces only; nothing of this machine's
own network is touched.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TypeVar

__all__ = ["HomeNetwork", "Host", "Lab", "TwoWans", "home_network", "two_wans", "why_not"]

T = TypeVar("T")

_PREFIX: Final = "skm"
_NETNS: Final = Path("/run/netns")
_ETC: Final = Path("/etc/netns")
_CLONE_NEWNET: Final = 0x40000000  # setns(2)
_WITHIN: Final = 15.0
_numbers = itertools.count(1)


def why_not() -> str | None:
    """Why no lab can be built here; None when one can."""
    if os.geteuid() != 0:
        return "needs root"
    if shutil.which("ip") is None:
        return "needs iproute2"
    return None


class Host:
    """One machine of a lab: a network namespace.

    Attributes:
        name: as it was named in the lab.
        netns: the name of its namespace on this machine.
    """

    def __init__(self, name: str, netns: str) -> None:
        self.name = name
        self.netns = netns
        self._children: list[subprocess.Popen[Any]] = []
        self._resolver = _ETC / netns

    def ip(self, *commands: str) -> None:
        """Run commands of iproute2 here, each without its leading `ip`.

        Raises:
            RuntimeError: one failed; the text is its own.
        """
        _ip(["-n", self.netns, "-batch", "-"], "\n".join(commands) + "\n")

    def address(self, device: str, *addresses: str) -> None:
        """Give a device addresses (`192.0.2.1/24`), usable at once."""
        # Duplicate address detection would keep an IPv6 address unusable for a second.
        flags = {each: " nodad" if ":" in each else "" for each in addresses}
        self.ip(*(f"address add {each} dev {device}{flags[each]}" for each in addresses))

    def route(self, via: str, *prefixes: str) -> None:
        """Reach prefixes (`default` unless given) through a gateway."""
        self.ip(*(f"route add {prefix} via {via}" for prefix in prefixes or ("default",)))

    def sysctl(self, **values: int) -> None:
        """Set `net` values; a name's dots are written as double underscores."""
        paths = {Path("/proc/sys/net", *key.split("__")): value for key, value in values.items()}

        def write() -> None:
            for path, value in paths.items():
                path.write_text(f"{value}\n")

        self.call(write)

    def forward(self) -> None:
        """Be a router."""
        self.sysctl(ipv4__ip_forward=1, ipv6__conf__all__forwarding=1)

    def resolve_with(self, *nameservers: str) -> None:
        """Have programs run here (`run`, `popen`) ask these name servers, or none at all.

        A new host has none, so that no name is looked up outside the lab, and no look-up waits.
        """
        self._resolver.mkdir(parents=True, exist_ok=True)
        lines = [f"nameserver {each}\n" for each in nameservers]
        (self._resolver / "resolv.conf").write_text("".join(lines))

    def run(
        self, command: Sequence[str], *, check: bool = True, timeout: float = 30, text: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a program here to its end; `text` is its standard input.

        Raises:
            subprocess.CalledProcessError: it failed, and `check` is set.
            subprocess.TimeoutExpired: it did not end.
        """
        return subprocess.run(
            [*self._prefix(), *command],
            input=text,
            stdin=subprocess.DEVNULL if text is None else None,
            capture_output=True,
            text=True,
            check=check,
            timeout=timeout,
        )

    def popen(self, command: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """Start a program here; it ends with the lab."""
        child = subprocess.Popen([*self._prefix(), *command], **options)
        self._children.append(child)
        return child

    @contextlib.contextmanager
    def running(self, command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[Any]]:
        """A program that runs here for as long as the context."""
        child = self.popen(command, **options)
        try:
            yield child
        finally:
            _end(child)
            self._children.remove(child)

    def call(self, function: Callable[[], T]) -> T:
        """Run a function in a thread that is in this host's network.

        What it makes stays here: a socket belongs to the network it was made in, and threads
        it starts are in that network too. So a server made here serves here.
        """
        result: list[T] = []
        failure: list[BaseException] = []

        def enter() -> None:
            try:
                _enter(self.netns)
                result.append(function())
            except BaseException as error:
                failure.append(error)

        thread = threading.Thread(target=enter, name=f"in-{self.name}")
        thread.start()
        thread.join()
        if failure:
            raise failure[0]
        return result[0]

    def close(self) -> None:
        """End what runs here and take the host away."""
        for child in self._children:
            _end(child)
        if self._resolver.exists():
            shutil.rmtree(self._resolver)
        if (_NETNS / self.netns).exists():
            _ip(["netns", "delete", self.netns])

    def _prefix(self) -> list[str]:
        return ["ip", "netns", "exec", self.netns]


class Lab:
    """Hosts and what joins them; everything is gone when the context ends."""

    def __init__(self) -> None:
        self._hosts: list[Host] = []
        self._stem = f"{_PREFIX}-{os.getpid()}-{next(_numbers)}"

    def __enter__(self) -> Lab:
        _sweep()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.ExitStack() as stack:  # one host that does not go must not keep the others
            for host in self._hosts:
                stack.callback(host.close)

    def host(self, name: str) -> Host:
        """A new machine with nothing but its loopback."""
        host = Host(name, f"{self._stem}-{name}")
        _ip(["netns", "add", host.netns])
        self._hosts.append(host)
        # Link-local addresses too must be usable at once.
        host.sysctl(ipv6__conf__default__accept_dad=0, ipv6__conf__default__accept_ra=0)
        host.ip("link set lo up")
        host.resolve_with()
        return host

    def cable(self, one: Host, other: Host, names: tuple[str, str] | None = None) -> tuple[str, str]:
        """Join two hosts. Unless named, the device in each is named after the other; returned in order."""
        names = names or (other.name[:15], one.name[:15])
        ends = ["name", names[0], "netns", one.netns], ["name", names[1], "netns", other.netns]
        _ip(["link", "add", *ends[0], "type", "veth", "peer", *ends[1]])
        one.ip(f"link set {names[0]} up")
        other.ip(f"link set {names[1]} up")
        return names

    def switch(self, at: Host, name: str, members: Iterable[Host]) -> str:
        """Join hosts to a bridge called `name` in the host `at`; a member's device is called `at.name`."""
        at.ip(f"link add {name} type bridge", f"link set {name} up")
        for member in members:
            here, _ = self.cable(at, member)
            at.ip(f"link set {here} master {name}")
        return name


@dataclass(frozen=True, slots=True)
class HomeNetwork:
    """The internet, a provider, a gateway and a home, in IPv4 and IPv6.

    The gateway has two addresses outside. Hosts outside know no way to the home's IPv4
    addresses, as on the internet; the home's IPv6 prefix is routed. Nothing translates
    addresses: that is for what is tested.
    """

    VISITOR = ("198.51.100.10", "2001:db8:1::10")
    STRANGER = ("198.51.100.20", "2001:db8:1::20")
    GATEWAY = ("203.0.113.2", "2001:db8:2::2")
    GATEWAY_TOO = ("203.0.113.3", "2001:db8:2::3")
    GATEWAY_INSIDE = ("192.168.1.1", "2001:db8:3::1")
    SERVER = ("192.168.1.10", "2001:db8:3::10")
    DESKTOP = ("192.168.1.11", "2001:db8:3::11")

    visitor: Host
    stranger: Host
    isp: Host
    gateway: Host
    server: Host
    desktop: Host


def home_network(lab: Lab) -> HomeNetwork:
    """Build `visitor, stranger - isp - gateway - server, desktop`."""
    names = ("visitor", "stranger", "isp", "gateway", "server", "desktop")
    net = HomeNetwork(*map(lab.host, names))
    net.isp.forward()
    net.gateway.forward()
    net.isp.address(
        lab.switch(net.isp, "internet", [net.visitor, net.stranger]), "198.51.100.1/24", "2001:db8:1::1/64"
    )
    for host, (four, six) in ((net.visitor, net.VISITOR), (net.stranger, net.STRANGER)):
        _attach(host, "isp", f"{four}/24", f"{six}/64", via=("198.51.100.1", "2001:db8:1::1"))
    wan, line = lab.cable(net.gateway, net.isp)
    net.isp.address(line, "203.0.113.1/24", "2001:db8:2::1/64")
    net.isp.route(net.GATEWAY[1], "2001:db8:3::/64")
    net.gateway.address(wan, *(f"{four}/24" for four in (net.GATEWAY[0], net.GATEWAY_TOO[0])))
    net.gateway.address(wan, *(f"{six}/64" for six in (net.GATEWAY[1], net.GATEWAY_TOO[1])))
    net.gateway.route("203.0.113.1")
    net.gateway.route("2001:db8:2::1")
    net.gateway.address(
        lab.switch(net.gateway, "home", [net.server, net.desktop]), "192.168.1.1/24", "2001:db8:3::1/64"
    )
    for host, (four, six) in ((net.server, net.SERVER), (net.desktop, net.DESKTOP)):
        _attach(host, "gateway", f"{four}/24", f"{six}/64", via=net.GATEWAY_INSIDE)
    return net


@dataclass(frozen=True, slots=True)
class TwoWans:
    """The internet, two providers, a gateway with a line to each, and a home, in IPv4 and IPv6.

    The gateway prefers line A (metric 100) to line B (200). Each provider drops what comes up a line from
    addresses that are not that line's (BCP 38), so that a reply by the wrong line is lost. Hosts outside know
    no way to the home's IPv4 addresses; the home's IPv6 prefix is routed by line A. Nothing translates
    addresses, and the gateway's reverse path filter is off.
    """

    VISITOR = ("198.51.100.10", "2001:db8:1::10")
    WAN_A = ("203.0.113.2", "2001:db8:2::2")
    WAN_B = ("192.0.2.2", "2001:db8:4::2")
    PROVIDER_A = ("203.0.113.1", "2001:db8:2::1")
    PROVIDER_B = ("192.0.2.1", "2001:db8:4::1")
    GATEWAY_INSIDE = ("192.168.1.1", "2001:db8:3::1")
    SERVER = ("192.168.1.10", "2001:db8:3::10")
    DESKTOP = ("192.168.1.11", "2001:db8:3::11")
    DEVICES = ("wan_a", "wan_b", "home")
    """The gateway's."""

    visitor: Host
    isp_a: Host
    isp_b: Host
    gateway: Host
    server: Host
    desktop: Host


def two_wans(lab: Lab) -> TwoWans:
    """Build `visitor - isp_a, isp_b - gateway - server, desktop`."""
    net = TwoWans(*map(lab.host, ("visitor", "isp_a", "isp_b", "gateway", "server", "desktop")))
    net.gateway.sysctl(ipv4__conf__all__rp_filter=0, ipv4__conf__default__rp_filter=0)
    net.gateway.forward()
    lab.switch(net.visitor, "internet", [net.isp_a, net.isp_b])
    net.visitor.address("internet", f"{net.VISITOR[0]}/24", f"{net.VISITOR[1]}/64")
    _provider(lab, net, net.isp_a, net.DEVICES[0], net.PROVIDER_A, net.WAN_A, "1", metric=100)
    _provider(lab, net, net.isp_b, net.DEVICES[1], net.PROVIDER_B, net.WAN_B, "2", metric=200)
    lines = ("203.0.113.0/24", "2001:db8:2::/64", "2001:db8:3::/64"), ("192.0.2.0/24", "2001:db8:4::/64")
    for isp, other, own, number in (
        (net.isp_a, net.isp_b, lines[0], "1"),
        (net.isp_b, net.isp_a, lines[1], "2"),
    ):
        _only_from(isp, "customer", own)
        for prefix in own:
            via = f"2001:db8:1::{number}" if ":" in prefix else f"198.51.100.{number}"
            net.visitor.route(via, prefix)
            other.route(via, prefix)
    net.isp_a.route(net.WAN_A[1], "2001:db8:3::/64")
    inside = lab.switch(net.gateway, net.DEVICES[2], [net.server, net.desktop])
    net.gateway.address(inside, f"{net.GATEWAY_INSIDE[0]}/24", f"{net.GATEWAY_INSIDE[1]}/64")
    for host, (four, six) in ((net.server, net.SERVER), (net.desktop, net.DESKTOP)):
        _attach(host, "gateway", f"{four}/24", f"{six}/64", via=net.GATEWAY_INSIDE)
    return net


def _provider(
    lab: Lab,
    net: TwoWans,
    isp: Host,
    device: str,
    own: tuple[str, str],
    customer: tuple[str, str],
    number: str,
    *,
    metric: int,
) -> None:
    """One provider, and its line to the gateway; `number` is its own on the internet."""
    isp.forward()
    isp.address("visitor", f"198.51.100.{number}/24", f"2001:db8:1::{number}/64")
    lab.cable(net.gateway, isp, (device, "customer"))
    isp.address("customer", f"{own[0]}/24", f"{own[1]}/64")
    net.gateway.address(device, f"{customer[0]}/24", f"{customer[1]}/64")
    net.gateway.ip(*(f"route add default via {each} metric {metric}" for each in own))


def _only_from(router: Host, device: str, prefixes: Iterable[str]) -> None:
    """Have a router forward from a device only what comes from these prefixes.

    Routing rules do it for both families alike; there is no reverse path filter for IPv6 without nftables.
    """
    for prefix in prefixes:
        family = "-6" if ":" in prefix else "-4"
        router.run(["ip", family, *f"rule add priority 100 iif {device} from {prefix} lookup main".split()])
    for family in ("-4", "-6"):
        router.run(["ip", family, *f"rule add priority 200 iif {device} blackhole".split()])


def _attach(host: Host, device: str, *addresses: str, via: Iterable[str]) -> None:
    host.address(device, *addresses)
    for gateway in via:
        host.route(gateway)


def _enter(netns: str) -> None:
    """Move this thread into a namespace (setns(2); Python has it from 3.12 on)."""
    libc = ctypes.CDLL(None, use_errno=True)
    with (_NETNS / netns).open("rb") as handle:
        if libc.setns(handle.fileno(), _CLONE_NEWNET) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), netns)


def _ip(arguments: Sequence[str], text: str | None = None) -> None:
    done = subprocess.run(["ip", *arguments], input=text, capture_output=True, text=True, timeout=_WITHIN)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}\n{text or ''}")


def _end(child: subprocess.Popen[Any]) -> None:
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(5)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait(5)
    for stream in (child.stdin, child.stdout, child.stderr):
        if stream is not None:
            stream.close()


def _sweep() -> None:
    """Remove the hosts of labs whose process ended without doing so."""
    for path in _NETNS.glob(f"{_PREFIX}-*") if _NETNS.is_dir() else ():
        maker = path.name.split("-")[1]
        if maker.isdecimal() and not Path(f"/proc/{maker}").exists():
            with contextlib.suppress(RuntimeError):  # another lab sweeps at the same time
                _ip(["netns", "delete", path.name])
            shutil.rmtree(_ETC / path.name, ignore_errors=True)
