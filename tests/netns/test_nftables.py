"""libnftables in this process: text in, its own words out, contexts in namespaces and threads."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from sekimori.host.nfmonitor import Monitor
from sekimori.host.nftables import Nftables, NftError
from sekimori.testing.netlab import Host, Lab
from sekimori.wire.nftevents import Generation

from .nfbox import KINDS, STRUCTURE, skip_without_nft

pytestmark = pytest.mark.netns

OWNED = """
table inet keeper { flags owner; chain nat { type nat hook prerouting priority -101; }; }
"""


@pytest.fixture
def host() -> Iterator[Host]:
    skip_without_nft()
    with Lab() as lab:
        yield lab.host("box")


@pytest.fixture
def nft(host: Host) -> Iterator[Nftables]:
    with host.call(Nftables) as context:
        yield context


def listed(host: Host) -> str:
    return host.run(["nft", "list", "ruleset"]).stdout


def test_text_in_and_out(host: Host, nft: Nftables) -> None:
    assert nft.run(STRUCTURE) == ""
    assert (
        nft.run("list table inet sekimori") == host.run(["nft", "list", "table", "inet", "sekimori"]).stdout
    )
    assert "map fwd4" in listed(host)


def test_a_refusal_is_in_nfts_words_and_nothing_is_done(host: Host, nft: Nftables) -> None:
    with pytest.raises(NftError) as refused:
        nft.run("add table inet a\nadd rule inet a nowhere accept\n")
    assert "No such file or directory" in refused.value.text
    assert "^^^" in refused.value.text
    with pytest.raises(NftError, match="syntax error"):
        nft.run("hello")
    assert listed(host) == ""
    nft.run("add table inet a")  # what was said before is not said again
    assert nft.run("list tables") == "table inet a\n"


def test_checking_does_nothing(host: Host, nft: Nftables) -> None:
    nft.check("add table inet a")
    with pytest.raises(NftError):
        nft.check("add rule inet a b accept")
    assert listed(host) == ""
    nft.run("add table inet a")
    assert "table inet a" in listed(host)


def test_the_ruleset_as_json_without_elements(nft: Nftables) -> None:
    nft.run(STRUCTURE)
    nft.run("add element inet sekimori in { tcp . 80, tcp . 81 }")
    ruleset = nft.list_ruleset()
    tables = [each["table"] for each in ruleset["nftables"] if "table" in each]
    assert [(each["family"], each["name"]) for each in tables] == [("inet", "sekimori")]
    assert all(each["handle"] for each in tables)
    (found,) = [each["set"] for each in ruleset["nftables"] if each.get("set", {}).get("name") == "in"]
    assert "elem" not in found
    whole = nft.list_json("list set inet sekimori in", elements=True)["nftables"][-1]["set"]
    assert len(whole["elem"]) == 2
    assert nft.run("list tables") == "table inet sekimori\n"  # text again


def test_tables_with_flags_as_json(host: Host, nft: Nftables) -> None:
    """libnftables 1.0.6 would write out of freed memory here: now and then what it writes is no JSON."""
    nft.run(OWNED)
    nft.run("table ip asleep { flags dormant; set s { type inet_service; elements = { 1 }; }; }")
    nft.run("add chain ip asleep c\nadd rule ip asleep c tcp dport @s accept\nadd table ip6 plain")
    for _ in range(50):
        found = nft.list_ruleset()["nftables"]
        tables = {each["table"]["name"]: each["table"].get("flags") for each in found if "table" in each}
        assert tables == {"keeper": "owner", "asleep": "dormant", "plain": None}
        assert [each["chain"]["name"] for each in found if "chain" in each] == ["nat", "c"]
        (rule,) = [each["rule"] for each in found if "rule" in each]
        assert (rule["table"], rule["chain"], len(rule["expr"])) == ("asleep", "c", 2)
        (held,) = [each["set"] for each in found if "set" in each]
        assert (held["name"], held["table"], "elem" in held) == ("s", "asleep", False)


def test_one_table_as_json(host: Host, nft: Nftables) -> None:
    nft.run(STRUCTURE + "\nadd table ip sekimori\nadd table inet other\nadd chain inet other c")
    found = nft.list_table("inet", "sekimori")["nftables"]
    assert [next(iter(each)) for each in found].count("table") == 1
    names = [each[kind]["name"] for each in found for kind in ("chain", "set", "map") if kind in each]
    assert sorted(names) == sorted([*(kind.name for kind in KINDS), "src_1"])
    assert nft.list_table("inet", "nowhere") == {"nftables": []}


def test_a_listing_is_of_one_moment(host: Host, nft: Nftables) -> None:
    """Tables come and go while they are listed; a listing has a table with its chain, or neither."""
    done = threading.Event()

    def churn() -> None:
        with Nftables() as other:
            while not done.wait(0.005):
                other.run("table inet a { flags dormant; chain c {}; }\ntable inet b { chain c {}; }")
                other.run("delete table inet a\ndelete table inet b")

    changing = threading.Thread(target=host.call, args=(churn,))
    changing.start()
    try:
        shapes = {tuple(next(iter(each)) for each in nft.list_ruleset()["nftables"]) for _ in range(200)}
    finally:
        done.set()
        changing.join()
    assert shapes <= {(), ("table", "chain") * 2}


def test_a_table_with_an_owner_outlives_a_flush_and_ends_with_its_context(host: Host) -> None:
    keeper = host.call(Nftables)
    keeper.run(OWNED)
    host.run(["nft", "add", "table", "inet", "other"])
    host.run(["nft", "flush", "ruleset"])
    assert "table inet keeper" in listed(host)
    assert "inet other" not in listed(host)
    with pytest.raises(subprocess.CalledProcessError):
        host.run(["nft", "delete", "table", "inet", "keeper"])
    for _ in range(20):
        keeper.run("list ruleset")  # reading does not cost it its socket
    assert "chain nat" in listed(host)
    keeper.close()
    keeper.close()
    assert listed(host) == ""


def test_a_child_does_not_keep_an_owned_table(host: Host) -> None:
    keeper = host.call(Nftables)
    keeper.run(OWNED)
    with host.running([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False):
        keeper.close()
        assert listed(host) == ""


def test_its_port_is_the_one_that_events_tell(host: Host, nft: Nftables) -> None:
    with host.call(Monitor) as monitor, host.call(Nftables) as other:
        nft.run("add table inet a")
        other.run("add table inet b")
        host.run(["nft", "add", "table", "inet", "c"])
        ports = [event.port for event in monitor.read() if isinstance(event, Generation)]
        assert ports[:2] == [nft.port, other.port]
        assert len({*ports, 0}) == 4
    other.close()
    assert other.port == 0


def test_a_context_is_where_it_was_made(host: Host, nft: Nftables) -> None:
    nft.run("add table inet a")
    with Lab() as lab:
        elsewhere = lab.host("elsewhere")
        assert elsewhere.call(lambda: nft.run("list tables")) == "table inet a\n"
        assert listed(elsewhere) == ""


def test_contexts_in_threads(host: Host) -> None:
    def work(name: str) -> None:
        with Nftables() as context:
            for number in range(20):
                context.run(f"add table inet {name}{number}\nadd chain inet {name}{number} c")
                shared.run(f"add rule inet {name}{number} c counter accept")

    with host.call(Nftables) as shared:
        threads = [
            threading.Thread(target=host.call, args=(lambda n=name: work(n),)) for name in ("a", "b", "c")
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert shared.run("list ruleset").count("counter packets 0 bytes 0 accept") == 60


def test_a_closed_context_says_so(host: Host) -> None:
    context = host.call(Nftables)
    context.close()
    with pytest.raises(ValueError, match="closed"):
        context.run("list tables")


def test_no_descriptor_is_left(host: Host) -> None:
    def count() -> int:
        return len(os.listdir("/proc/self/fd"))

    host.call(Nftables).close()
    before = count()
    for _ in range(5):
        with host.call(Nftables) as context:
            context.run("list tables")
    assert count() == before


def test_without_the_library(host: Host) -> None:
    """In a process of its own: a library that is loaded stays loaded."""
    script = (
        "import sekimori.host.nftables as n\n"
        "n._LIBRARY = 'libnftables-of-nowhere.so.1'\n"
        "try: n.Nftables()\n"
        "except n.NftUnavailable as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30
    )
    assert "libnftables-of-nowhere.so.1: cannot open shared object file" in done.stdout
