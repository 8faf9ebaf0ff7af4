"""Rows that go to SQLite in one statement come back as they were, whatever they hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Column, Double, Engine, Integer, LargeBinary, MetaData, Table, Text, select

from storage.bulk import insert_rows, known_keys
from storage.database import sqlite_engine

THINGS = Table(
    "thing",
    MetaData(),
    Column("id", Text, primary_key=True),
    Column("words", Text),
    Column("number", Integer),
    Column("moment", Double),
    Column("body", LargeBinary),
    Column("other", LargeBinary),
)
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=30)
ROW = st.fixed_dictionaries(
    {
        "words": st.none() | TEXT,
        "number": st.none() | st.integers(-(2**63), 2**63 - 1),
        "moment": st.none() | st.floats(0, 4e9).map(lambda seconds: round(seconds, 6)),
        "body": st.none() | st.binary(max_size=40),
        "other": st.none() | st.binary(max_size=40),
    }
)


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    made = sqlite_engine(f"sqlite:///{tmp_path}/things.db", begin="BEGIN IMMEDIATE")
    with made.begin() as connection:
        THINGS.create(connection)
    return made


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(st.lists(ROW, min_size=1, max_size=12))
def test_what_goes_in_comes_out(engine: Engine, made: list[dict[str, Any]]) -> None:
    rows = [{"id": f"id-{number}", **row} for number, row in enumerate(made)]
    with engine.begin() as connection:
        connection.execute(THINGS.delete())
        insert_rows(connection, THINGS, rows)
        found = connection.execute(select(THINGS).order_by(THINGS.c.id)).mappings().all()
    for row, kept in zip(sorted(rows, key=lambda row: str(row["id"])), found, strict=True):
        for name in row:
            if name == "moment" and row[name] is not None:
                assert kept[name] == pytest.approx(row[name], abs=1e-6)
            else:
                assert (name, kept[name], type(kept[name])) == (name, row[name], type(row[name]))


def test_which_keys_are_known(engine: Engine) -> None:
    names = ["plain", "with 'quotes\"", "ünïcödé", "[1]", "null"]
    with engine.begin() as connection:
        insert_rows(connection, THINGS, [{"id": name} for name in names])
        assert known_keys(connection, THINGS, "id", [*names, "unknown"]) == set(names)
        assert known_keys(connection, THINGS, "id", []) == set()
