"""Policy chains: who shares one, what they bring, and that nftables takes them."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from sekimori.model.limits import Limits, Rate
from sekimori.model.source import LAN_PREFIXES
from sekimori.planes.kernel.policies import LAN_POLICY, chain_of, policy_of, sources_policy
from sekimori.testing.netlab import Lab, why_not

from .tracked import wanted

SERVER = "192.168.1.10"


def chain(**words: Any) -> str | None:
    return chain_of(wanted("m1", "tcp/80", SERVER, **words))


def test_who_shares_a_chain_and_who_needs_none() -> None:
    assert chain() is None
    assert policy_of(wanted("m1", "tcp/80", SERVER)) is None
    assert chain(sources="lan") == LAN_POLICY
    one = chain(sources="192.0.2.0/24,198.51.100.0/24")
    assert one is not None
    assert one.startswith("src_")
    assert one == chain(sources="198.51.100.0/24,192.0.2.0/24")
    assert one != chain(sources="198.51.100.0/24")
    for limits in (Limits(per_source=Rate(1, 1)), Limits(total=Rate(1, 1)), Limits(connections=1)):
        assert chain(limits=limits) == chain(limits=limits, sources="lan") == "pol_m1"
    assert chain(log=True) == "pol_m1"


def test_a_policy_of_its_own_asks_the_shared_one_first() -> None:
    policy = policy_of(wanted("m1", "tcp/80", SERVER, sources="192.0.2.0/24", limits=Limits(connections=1)))
    assert policy is not None
    shared = chain(sources="192.0.2.0/24")
    assert policy.chains == ("pol_m1", shared)
    rules = [
        line.removeprefix("add rule inet sekimori ")
        for line in policy.text.splitlines()
        if "add rule" in line
    ]
    own = [line for line in rules if line.startswith("pol_m1")]
    assert own[0] == f"pol_m1 jump {shared}"


def test_another_limit_has_another_set_and_the_same_limit_the_same() -> None:
    def sets(**limits: Any) -> set[str]:
        policy = policy_of(wanted("m1", "tcp/80", SERVER, limits=Limits(**limits)))
        assert policy is not None
        return set(policy.sets)

    assert sets(per_source=Rate(3, 60)) == sets(per_source=Rate(3, 60))
    for one, other in (
        ({"per_source": Rate(3, 60)}, {"per_source": Rate(4, 60)}),
        ({"per_source": Rate(3, 60)}, {"per_source": Rate(3, 1)}),
        ({"total": Rate(3, 60)}, {"total": Rate(5, 60)}),
        ({"connections": 3}, {"connections": 5}),
    ):
        assert not sets(**one) & sets(**other)


def test_prefixes_within_each_other_are_one_element() -> None:
    sources = wanted("m1", "tcp/80", SERVER, sources="10.0.0.0/8,10.1.0.0/16,10.1.2.3").sources
    assert sources is not None
    assert "{ 10.0.0.0/8 }" in sources_policy(sources).text


def test_nobody_at_all_is_a_chain_that_drops() -> None:
    policy = sources_policy(())
    assert policy.sets == ()
    assert [line for line in policy.text.splitlines() if "add rule" in line] == [
        f"add rule inet sekimori {policy.chain} counter drop"
    ]


@pytest.mark.netns
@pytest.mark.parametrize(
    "words",
    [
        {"sources": "lan"},
        {"sources": "192.0.2.0/24,2001:db8::/32,10.0.0.0/8,10.1.0.0/16"},
        {"limits": Limits(Rate(5, 1), Rate(999_999_999, 86_400), 4_000_000_000)},
        {"limits": Limits(Rate(999_999_999, 3600), None, 1), "log": True, "sources": "lan"},
    ],
    ids=str,
)
def test_nftables_takes_every_policy_again_and_again(words: dict[str, Any]) -> None:
    why = why_not() or (None if shutil.which("nft") else "needs nft")
    if why is not None:
        pytest.skip(why)
    policy = policy_of(wanted("m" + "x" * 60, "tcp/80", SERVER, **words))
    assert policy is not None
    with Lab() as lab:
        host = lab.host("box")
        for _ in range(2):
            host.run(["nft", "-f", "-"], text=f"add table inet sekimori\n{policy.text}")
        listed = host.run(["nft", "list", "table", "inet", "sekimori"]).stdout
        assert all(f"chain {name} " in listed for name in policy.chains)
        assert all(f"set {name} " in listed for name in policy.sets)


def test_the_lan_s_chain_is_the_one_of_its_prefixes() -> None:
    assert sources_policy(LAN_PREFIXES).chain == LAN_POLICY
