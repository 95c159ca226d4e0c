"""Each row record mirrors its table: its fields are the columns, in their order, and may be None where the column may be NULL."""

import inspect
from types import NoneType
from typing import Any, get_args, get_type_hints

import pytest
from sqlalchemy import Table

from receiver.domain import rows
from receiver.domain.records import Delivery, Snapshot
from receiver.domain.rows import DeliveryRow, EventRow, TrackerRow, derive
from receiver.domain.verdicts import OUTCOMES
from receiver.storage.tables import metadata
from receiver.storage.tables.metadata import table_of
from receiver.storage.tables.revisions import SUPERSEDED

MODELS = {model.__name__: model for model in metadata.Table.__subclasses__()}
RECORDS = {name: record for name, record in inspect.getmembers(rows, inspect.isclass) if name.endswith("Row")}
DERIVED = {"manifest_completed"}
"""Columns that storage derives from other rows; no decision reads or writes them."""
PAIRS = [(record, table_of(MODELS[f"{name.removesuffix('Row')}Table"])) for name, record in RECORDS.items()]


@pytest.mark.parametrize(("record", "table"), [*PAIRS, (EventRow, SUPERSEDED)], ids=lambda value: getattr(value, "name", None))
def test_the_fields_of_a_record_are_the_columns_of_its_table(record: Any, table: Table) -> None:
    columns = [column for column in table.columns if column.name not in DERIVED]
    assert record._fields == tuple(column.name for column in columns)
    hints = get_type_hints(record)
    assert {name: NoneType in get_args(hints[name]) for name in record._fields} == {c.name: c.nullable for c in columns}


def test_a_delivery_ends_with_its_number_of_messages_and_those_by_outcome() -> None:
    assert DeliveryRow._fields[-11:] == ("received", *OUTCOMES, "test_run", "cause", "origin", "sent_at", "body_number")


def test_every_detail_of_a_snapshot_is_a_field_of_its_tracker() -> None:
    assert set(Snapshot._fields) <= set(TrackerRow._fields)


def test_a_record_takes_the_fields_that_it_shares_with_another() -> None:
    row = DeliveryRow("id", "ship24", "k", "POST", "/p", 1, 2, "peer", "client", "token", "note", 200, "accepted", None, None, 2)
    made = derive(Delivery, row, headers=(), body=b"{}", note=None)
    assert made == Delivery("id", "ship24", "k", "POST", "/p", 1, "peer", "client", "token", None, (), b"{}")
    with pytest.raises(TypeError):
        derive(Delivery, row, headers=())
