"""Commands: frozen records that travel between processes; their bodies are read before their transaction begins."""

import inspect
import pickle
from collections.abc import Callable
from contextlib import closing
from dataclasses import FrozenInstanceError, fields
from typing import Any, TypeVar

import pytest
from sqlalchemy import Connection

from receiver.domain.customer_changes import CustomerUpload
from receiver.domain.rows import AuditRow
from receiver.storage.database import Database
from receiver.storage.transactions import Transactions
from receiver.writer.commands import alarms, backups, changes, deliveries, imports, operators, recovery, removal
from receiver.writer.commands.operators import ImportCustomers
from receiver.writer.executor import CommandExecutor, WriterCommand
from tests.harness.rows import table_rows
from tests.harness.storage import make_tables

MODULES = (alarms, backups, changes, deliveries, imports, operators, recovery, removal)
COMMANDS = [
    kind for module in MODULES for kind in vars(module).values() if inspect.isclass(kind) and kind.__module__ == module.__name__
]
ENTRY = AuditRow("1", 1, "anna", None, "customers import", "customers", None)

_T = TypeVar("_T")


@pytest.mark.parametrize("kind", COMMANDS)
def test_a_command_is_a_frozen_record_that_can_be_pickled(kind: type[WriterCommand[Any]]) -> None:
    assert issubclass(kind, WriterCommand)
    command = kind(*range(len(fields(kind))))  # type: ignore[arg-type]
    assert pickle.loads(pickle.dumps(command)) == command
    with pytest.raises((FrozenInstanceError, TypeError)):
        command.anything = 1  # type: ignore[attr-defined]


class RecordedTransactions(Transactions):
    """Transactions that note when they begin."""

    def __init__(self, database: Database, steps: list[str]) -> None:
        super().__init__(database)
        self._steps = steps

    def run(self, work: Callable[[Connection], _T]) -> _T:
        self._steps.append("transaction")
        return super().run(work)


def test_the_body_of_a_command_is_read_before_its_transaction(sqlite_url: str) -> None:
    make_tables(sqlite_url)
    steps: list[str] = []

    def read_upload() -> CustomerUpload:
        steps.append("read")
        return CustomerUpload([("A", "{}")])

    database = Database(sqlite_url)
    with closing(RecordedTransactions(database, steps)) as transactions:
        executor = CommandExecutor(database, transactions)
        assert executor.do(ImportCustomers(ENTRY, "list", 1, read_upload)).added == 1
    database.close()
    assert steps == ["read", "transaction"]
    assert [row["action"] for row in table_rows(sqlite_url, "audit", "action")] == ["customers import"]
