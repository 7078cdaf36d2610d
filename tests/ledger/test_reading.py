from __future__ import annotations

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from sekimori.ledger import schema
from sekimori.ledger.database import Database
from sekimori.ledger.reading import Standing, UndecodableError, read_standing
from sekimori.ledger.writing import write
from sekimori.model.decision import Made, NamedList, Setting, Subject, Verb, key_of
from sekimori.model.events import Committed
from sekimori.model.mapping import Mapping
from sekimori.model.request import Context
from sekimori.testing.strategies import bans, contexts, gateways, mapping_sets, named_lists
from sekimori.testing.strategies_settings import doors, links, users

some_lists = st.lists(named_lists(), unique_by=lambda named: named.name, max_size=3).map(tuple)

some_bans = st.lists(bans(), unique_by=lambda ban: ban.prefix, max_size=3)
some_settings = st.builds(
    lambda *several: tuple(each for some in several for each in some),
    st.lists(gateways(), max_size=1),
    some_bans,
    st.lists(doors(), unique_by=lambda door: door.door, max_size=2),
    st.lists(links(), unique_by=lambda link: link.name, max_size=2),
    st.lists(users(), unique_by=lambda user: user.name, max_size=2),
)


@settings(max_examples=40)
@given(mapping_sets(), some_lists, some_settings, contexts())
def test_what_was_written_is_read_back(
    mappings: tuple[Mapping, ...],
    lists: tuple[NamedList, ...],
    chosen: tuple[Setting, ...],
    context: Context,
) -> None:
    database = Database(None)
    subjects: tuple[Subject, ...] = (*mappings, *lists, *chosen)
    changes = tuple(Made(Verb.OPEN, None, each) for each in subjects)
    with database.writing() as connection:
        schema.create(connection)
        assert read_standing(connection) == Standing(0, (), ())
        write(connection, Committed(5, 1.0, context, changes))
        found = read_standing(connection)
    assert found.revision == 5
    assert {each.id: each for each in found.mappings} == {each.id: each for each in mappings}
    assert {each.name: each for each in found.lists} == {each.name: each for each in lists}
    assert {key_of(each): each for each in found.settings} == {key_of(each): each for each in chosen}
    database.close()


@pytest.mark.parametrize("document", ["", "null", "3", '{"to":"self"}', '{"to":5}'])
def test_a_document_of_another_shape_is_undecodable(document: str) -> None:
    database = Database(None)
    row = {"id": "m1", "name": "n", "owner": "o", "revision": 1, "document": document}
    with database.writing() as connection:
        schema.create(connection)
        connection.execute(schema.mappings.insert(), row)
    with database.reading() as connection, pytest.raises(UndecodableError, match="mapping m1"):
        read_standing(connection)
    database.close()


@pytest.mark.parametrize(
    ("kind", "key", "document", "why"),
    [
        ("gateway", "gateway/self", "{}", "no 'owner'"),
        ("gateway", "gateway/self", "null", "gateway gateway/self"),
        ("ban", "198.51.100.0/24", '{"prefix":"198.51.100.0/33"}', "ban 198.51.100.0/24"),
        ("fence", "x", "{}", "no 'fence'"),
        ("link", "link/vps", '{"name":"vps"}', "no 'owner'"),
        ("link", "link/vps", '{"name":"vps","owner":"person:a","place":"http://x"}', "link link/vps"),
        ("user", "user/bob", '{"name":"bob","owner":"person:a","keys":[]}', "no 'grant'"),
        (
            "ban",
            "198.51.100.0/24",
            '{"prefix":"203.0.113.0/24","owner":"person:a","expires_at":null,"reason":"","created_at":0}',
            "is about 203.0.113.0/24",
        ),
    ],
)
def test_a_setting_of_another_shape_is_undecodable(kind: str, key: str, document: str, why: str) -> None:
    database = Database(None)
    row = {"kind": kind, "key": key, "owner": "person:a", "document": document}
    with database.writing() as connection:
        schema.create(connection)
        connection.execute(schema.settings.insert(), row)
    with database.reading() as connection, pytest.raises(UndecodableError, match=why):
        read_standing(connection)
    database.close()


def test_mappings_come_in_the_order_of_their_last_change(ledger, make, context) -> None:
    for number in (3, 1, 2):
        ledger.commit([Made(Verb.OPEN, None, make(number))], context, 1.0)
    held = ledger.snapshot.get("m3")
    ledger.commit([Made(Verb.PAUSE, held, make(3, paused=True))], context, 2.0)
    with ledger._database.reading() as connection:
        assert [each.id for each in read_standing(connection).mappings] == ["m1", "m2", "m3"]
        assert connection.execute(sa.select(schema.mappings.c.revision)).scalars().all() == [2, 3, 4]
