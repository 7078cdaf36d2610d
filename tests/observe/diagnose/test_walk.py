"""Ways through chains that the kernel tests do not make: what stays uncertain, and why."""

from __future__ import annotations

from dataclasses import replace

from sekimori.observe.diagnose.passage import Doubt, Kind, Verdict
from sekimori.observe.diagnose.ruleset import read_ruleset
from sekimori.observe.diagnose.walk import walk

from .listing import ACCEPT, DROP, FORWARD, PERMIT, ct, forward, listing, match, meta, on, payload

UNREAD = {"xt": {"type": "match", "name": "string"}}
COUNTRY = match(payload("ip", "saddr"), {"range": ["1.0.0.0", "60.0.0.0"]})


def test_an_unread_rule_that_drops_is_a_doubt() -> None:
    found = walk(forward([UNREAD, DROP]), FORWARD)
    assert found.verdict is Verdict.MAY_DROP
    assert found.decided is not None
    assert (found.decided.own, found.decided.place.handle) == (Doubt.UNREAD, 2)


def test_an_unread_rule_that_accepts_leaves_the_policy_likely() -> None:
    found = walk(forward([UNREAD, ACCEPT], policy="drop"), FORWARD)
    assert found.verdict is Verdict.MAY_DROP
    assert found.decided is not None
    assert found.decided.policy
    assert (found.decided.own, found.decided.before) == (Doubt.NONE, Doubt.UNREAD)


def test_however_it_ends_it_is_dropped() -> None:
    found = walk(forward([UNREAD, {"reject": None}], [COUNTRY, DROP], policy="drop"), FORWARD)
    assert found.verdict is Verdict.DROPPED
    assert found.decided is not None
    assert found.decided.policy


def test_a_part_of_the_internet_is_a_doubt_about_the_packet() -> None:
    found = walk(forward([COUNTRY, DROP]), FORWARD)
    assert found.decided is not None
    assert found.decided.doubt is Doubt.PARTIAL


def test_a_perhaps_that_jumps_to_a_certain_drop() -> None:
    document = listing(
        ("deep", None, [[DROP]]), ("c", on("forward"), [[COUNTRY, {"jump": {"target": "deep"}}]])
    )
    assert walk(read_ruleset(document), FORWARD).verdict is Verdict.MAY_DROP


def test_a_perhaps_that_returns_before_a_drop() -> None:
    document = listing(
        ("deep", None, [[COUNTRY, {"return": None}], [DROP]]),
        ("c", on("forward"), [[{"jump": {"target": "deep"}}], [ACCEPT]]),
    )
    found = walk(read_ruleset(document), FORWARD)
    assert found.verdict is Verdict.MAY_DROP
    assert [each.kind for each in found.steps] == [Kind.DROP, Kind.ACCEPT]


def test_a_perhaps_within_a_perhaps_does_not_end_it() -> None:
    document = listing(
        ("deep", None, [[COUNTRY, DROP], [ACCEPT]]),
        ("c", on("forward", policy="drop"), [[COUNTRY, {"jump": {"target": "deep"}}], [DROP]]),
    )
    found = walk(read_ruleset(document), FORWARD)
    assert found.verdict is Verdict.MAY_DROP
    assert [each.kind for each in found.steps] == [Kind.DROP, Kind.ACCEPT, Kind.DROP]


def test_chains_that_call_each_other_end() -> None:
    document = listing(
        ("a", None, [[{"jump": {"target": "b"}}]]),
        ("b", None, [[{"jump": {"target": "a"}}]]),
        ("c", on("forward"), [[{"jump": {"target": "a"}}]]),
    )
    assert walk(read_ruleset(document), FORWARD).verdict is Verdict.PASSES


def test_an_accept_in_one_chain_does_not_save_it_from_the_next() -> None:
    document = listing(("one", on("forward", -10), [[ACCEPT]]), ("two", on("forward", 10), [[DROP]]))
    assert walk(read_ruleset(document), FORWARD).verdict is Verdict.DROPPED


def test_marks_that_rules_set_are_kept() -> None:
    setting = {"mangle": {"key": meta("mark"), "value": 5}}
    document = listing(
        ("one", on("prerouting", -150), [[setting]]), ("two", on("forward"), [[match(meta("mark"), 5), DROP]])
    )
    assert walk(read_ruleset(document), FORWARD).verdict is Verdict.DROPPED
    unknown = {"mangle": {"key": meta("mark"), "value": ct("mark")}}
    document["nftables"][-2]["rule"]["expr"] = [unknown]
    assert walk(read_ruleset(document), FORWARD).verdict is Verdict.MAY_DROP


def test_a_mark_that_may_not_be_set_is_unknown() -> None:
    setting = {"mangle": {"key": meta("mark"), "value": 5}}
    document = listing(
        ("deep", None, [[setting]]),
        ("one", on("prerouting", -150), [[COUNTRY, {"jump": {"target": "deep"}}]]),
        ("two", on("forward"), [[match(meta("mark"), 5), DROP]]),
    )
    assert walk(read_ruleset(document), FORWARD).verdict is Verdict.MAY_DROP


def test_our_own_table_is_left_out() -> None:
    document = listing(("c", on("forward"), [[DROP]]), table="sekimori")
    assert walk(read_ruleset(document), FORWARD).verdict is Verdict.PASSES


def test_tables_of_the_other_family_are_left_out() -> None:
    document = listing(("c", on("forward"), [[DROP]]), family="ip6")
    assert walk(read_ruleset(document), FORWARD).verdict is Verdict.PASSES


def test_nat_by_a_map_that_has_nothing_for_it() -> None:
    data = {"map": {"key": payload("tcp", "dport"), "data": {"set": [[81, "10.0.0.1"]]}}}
    document = listing(("c", on("prerouting", -110, kind="nat"), [[{"dnat": {"addr": data}}]]))
    assert walk(read_ruleset(document), FORWARD).verdict is Verdict.PASSES
    data["map"]["data"] = {"set": [[8080, {"concat": ["10.0.0.1", 9]}]]}
    found = walk(read_ruleset(document), FORWARD)
    assert found.verdict is Verdict.STOLEN
    assert found.decided is not None
    assert (str(found.decided.address), found.decided.port) == ("10.0.0.1", 9)


def test_nat_by_a_map_whose_elements_were_not_listed() -> None:
    data = {"map": {"key": payload("tcp", "dport"), "data": "@m"}}
    known = {"map": {"family": "inet", "table": "other", "name": "m", "type": "x", "map": "y"}}
    document = listing(("c", on("prerouting", -110, kind="nat"), [[{"dnat": {"addr": data}}]]), more=[known])
    assert walk(read_ruleset(document, terse=True), FORWARD).verdict is Verdict.MAY_DROP
    assert walk(read_ruleset(document), FORWARD).verdict is Verdict.PASSES  # it is empty


def test_a_service_of_this_machine_and_its_answers() -> None:
    document = listing(("c", on("output"), [[match(payload("tcp", "sport"), 22), DROP]]))
    assert walk(read_ruleset(document), PERMIT).verdict is Verdict.PASSES
    assert walk(read_ruleset(document), replace(PERMIT, reply=True)).verdict is Verdict.DROPPED


def test_a_chain_on_ingress_whose_device_nft_does_not_tell() -> None:
    base = on("ingress")
    document = listing(("c", base, [[DROP]]), family="netdev")
    assert walk(read_ruleset(document), FORWARD).verdict is Verdict.MAY_DROP
    base["dev"] = "other0"
    document = listing(("c", base, [[DROP]]), family="netdev")
    assert walk(read_ruleset(document), FORWARD).verdict is Verdict.PASSES
    base["dev"] = ["wan", "other0"]
    document = listing(("c", base, [[DROP]]), family="netdev")
    assert walk(read_ruleset(document), FORWARD).verdict is Verdict.DROPPED
