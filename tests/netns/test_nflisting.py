"""The ruleset listed by another process: the same as in this one, also where nft's own JSON is spoilt."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sekimori.host.nflisting import list_ruleset_apart
from sekimori.host.nftables import Nftables, NftError, NftUnavailable
from sekimori.testing.netlab import Host, Lab, why_not

pytestmark = pytest.mark.netns

# One flag on a table makes `nft -j` before 1.1 write out of freed memory.
RULES = """
table ip other { flags dormant; chain c { type filter hook forward priority 0; policy drop; accept; }; }
table inet plain { set s { type ipv4_addr; elements = { 192.0.2.1 }; }; }
"""


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    why = why_not()
    if why is not None:
        pytest.skip(why)
    with Lab() as lab:
        yield lab.host("machine")


def test_it_tells_what_this_process_would_see(host: Host) -> None:
    host.run(["nft", "-f", "-"], text=RULES)

    def here() -> object:
        with Nftables() as nftables:
            return nftables.list_ruleset()

    told = host.call(list_ruleset_apart)
    assert told == host.call(here)
    assert [name for each in told["nftables"] for name in each] == ["table", "chain", "rule", "table", "set"]


def stand_in(path: Path, script: str) -> str:
    """A program that is started in place of the interpreter."""
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_what_it_may_not_do_is_an_error_with_its_reason(
    host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = f'exec setpriv --bounding-set=-net_admin --inh-caps=-net_admin {sys.executable} "$@"'
    monkeypatch.setattr(sys, "executable", stand_in(tmp_path / "python", script))
    with pytest.raises((NftError, NftUnavailable), match="not permitted"):
        host.call(list_ruleset_apart)


def test_a_process_that_aborts_takes_nobody_with_it(
    host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "executable", stand_in(tmp_path / "python", "kill -ABRT $$"))
    with pytest.raises(NftError, match="ended with -6"):
        host.call(list_ruleset_apart)
