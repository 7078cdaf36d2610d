from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sekimori.ledger.journal import row_of, storable, subject_id
from sekimori.model.decision import Made, NamedList, Verb
from sekimori.model.gateway import Ban, Gateway
from sekimori.model.mapping import Mapping
from sekimori.testing.strategies import bans, gateways, mappings, named_lists


@given(mappings())
def test_row_of_a_closed_mapping_keeps_what_it_was(mapping: Mapping) -> None:
    row = row_of(Made(Verb.CLOSE, mapping, None), 7, 2)
    assert (row.revision, row.seq, row.verb, row.subject) == (7, 2, Verb.CLOSE, "mapping")
    assert (row.subject_id, row.name, row.owner) == (mapping.id, mapping.name, mapping.owner)
    assert row.after is None
    assert row.before is not None
    assert Mapping.from_document(row.before) == mapping


@given(named_lists())
def test_row_of_a_new_list_is_about_its_name(named: NamedList) -> None:
    change = Made(Verb.DEFINE, None, named)
    row = row_of(change, 1, 1)
    assert (row.subject, row.subject_id, row.name, row.before) == ("list", named.name, named.name, None)
    assert row.after == named.to_document()
    assert subject_id(change) == named.name


@given(gateways())
def test_row_of_a_gateway_has_an_id_that_no_list_can_have(gateway: Gateway) -> None:
    row = row_of(Made(Verb.GATEWAY, gateway, None), 1, 1)
    assert (row.subject, row.subject_id, row.name, row.owner) == (
        "gateway",
        "gateway/self",
        "gateway",
        gateway.owner,
    )
    assert row.before is not None
    assert Gateway.from_document(row.before) == gateway


@given(bans())
def test_row_of_a_ban_is_about_its_prefix(ban: Ban) -> None:
    row = row_of(Made(Verb.BAN, None, ban), 1, 1)
    assert (row.subject, row.subject_id, row.name) == ("ban", str(ban.prefix), ban.name)
    assert row.after is not None
    assert Ban.from_document(row.after) == ban


def test_row_of_a_renamed_mapping_bears_the_new_name(make) -> None:
    row = row_of(Made(Verb.CHANGE, make(1), make(1, name="new")), 1, 1)
    assert row.name == "new"
    assert row.before is not None
    assert row.before["name"] == "web1"


@given(st.text(st.characters(codec=None)))
def test_any_text_is_storable_and_proper_text_is_kept(text: str) -> None:
    stored = storable(text)
    stored.encode("utf-8")
    assert "\0" not in stored
    if "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text):
        assert stored == text
