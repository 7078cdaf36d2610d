from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sekimori.ledger import schema
from sekimori.ledger.database import Database
from sekimori.ledger.totals import Usage
from sekimori.ledger.usage import delete_usage, load_usage, save_usage

counts = st.integers(0, 2**63 - 1)
totals = st.builds(
    Usage, counts, counts, counts, counts, counts, counts, st.none() | st.floats(0, 4e9, allow_nan=False)
)
tables = st.dictionaries(st.text("abc", min_size=1, max_size=3), totals, max_size=4)


@given(tables, tables)
def test_saving_replaces_what_it_names_and_keeps_the_rest(first, second) -> None:
    database = Database(None)
    with database.writing() as connection:
        schema.create(connection)
        save_usage(connection, first)
        save_usage(connection, second)
        assert load_usage(connection) == first | second
        delete_usage(connection, second)
        assert load_usage(connection) == {key: first[key] for key in first.keys() - second.keys()}
    database.close()
