"""Kernel settings, in a network namespace of the test's own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sekimori.host.sysctl import read_sysctl, set_sysctl
from sekimori.model.errors import Problem
from sekimori.testing.netlab import Host, Lab, why_not

pytestmark = pytest.mark.netns

FORWARD = "net.ipv4.ip_forward"


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    why = why_not()
    if why is not None:
        pytest.skip(why)
    with Lab() as lab:
        host = lab.host("machine")
        lab.cable(host, lab.host("eth0.7"))
        yield host


def test_a_setting_is_set_and_its_old_value_told(host: Host) -> None:
    host.sysctl(ipv4__ip_forward=0)
    assert host.call(lambda: set_sysctl(FORWARD, 1)) == "0"
    assert host.call(lambda: set_sysctl(FORWARD, "1")) == "1"
    assert host.run(["cat", "/proc/sys/net/ipv4/ip_forward"]).stdout == "1\n"
    assert host.call(lambda: read_sysctl(FORWARD)) == "1"
    assert host.call(lambda: set_sysctl(FORWARD, "0")) == "1"
    assert host.call(lambda: read_sysctl(FORWARD)) == "0"


def test_what_was_told_undoes_it_where_a_setting_has_several_words(host: Host) -> None:
    name = "net.ipv4.ip_local_port_range"
    old = host.call(lambda: set_sysctl(name, "40000 50000"))
    assert host.call(lambda: set_sysctl(name, old)) == "40000 50000"
    assert host.call(lambda: read_sysctl(name)) == old


@pytest.mark.parametrize("name", ["net.ipv4.conf.eth0/7.rp_filter", "net/ipv4/conf/eth0.7/rp_filter"])
def test_an_interface_may_have_a_dot(host: Host, name: str) -> None:
    old = host.call(lambda: set_sysctl(name, 2))
    assert host.run(["cat", "/proc/sys/net/ipv4/conf/eth0.7/rp_filter"]).stdout == "2\n"
    host.call(lambda: set_sysctl(name, old))


def test_a_setting_that_is_not_there() -> None:
    assert read_sysctl("net.ipv4.no_such_thing") is None
    with pytest.raises(Problem) as caught:
        set_sysctl("net.ipv4.no_such_thing", 1)
    assert caught.value.code == "sysctl-not-set"
    assert "net.ipv4.no_such_thing to 1" in caught.value.title()


def test_a_value_that_the_kernel_refuses_leaves_the_old_one(host: Host) -> None:
    old = host.call(lambda: read_sysctl("net.ipv4.conf.all.forwarding"))
    with pytest.raises(Problem, match="Invalid argument") as caught:
        host.call(lambda: set_sysctl("net.ipv4.conf.all.forwarding", "maybe"))
    assert caught.value.code == "sysctl-not-set"
    assert host.call(lambda: read_sysctl("net.ipv4.conf.all.forwarding")) == old


def test_a_directory_is_no_setting(host: Host) -> None:
    with pytest.raises(Problem) as caught:
        host.call(lambda: read_sysctl("net.ipv4.conf"))
    assert caught.value.code == "sysctl-not-read"


@pytest.mark.parametrize(
    "name", ["", "net", "kernel.hostname", "net..ipv4", "net/../kernel/hostname", "/net/ipv4", "net/ipv4/"]
)
def test_only_settings_of_the_network(name: str) -> None:
    with pytest.raises(ValueError, match="not a network setting"):
        read_sysctl(name)
    with pytest.raises(ValueError, match="not a network setting"):
        set_sysctl(name, 1)
