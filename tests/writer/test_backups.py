"""The backup that the writing process takes between its batches."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from time import sleep

import pytest

from receiver.domain.backups import BackupProgress
from receiver.domain.rows import AuditRow
from receiver.errors import AlreadyRunning, NotFound, StorageUnavailable, UnexpectedShape
from receiver.storage.database import Database
from receiver.storage.transactions import Transactions
from receiver.writer.backups import Backups
from receiver.writer.commands.backups import BeginBackup, CancelBackup, ReadBackupProgress
from receiver.writer.executor import CommandExecutor
from tests.harness.rows import count_rows, table_rows
from tests.harness.storage import make_tables

PROOF = "the-proof-of-these-tests"
ENTRY = AuditRow("1", 1, "anna", None, "backup", "copy.db", None)


@pytest.fixture
def executor(sqlite_url: str) -> Iterator[CommandExecutor]:
    make_tables(sqlite_url)
    database = Database(sqlite_url)
    database.take()
    transactions = Transactions(database)
    with closing(database), closing(transactions):
        yield CommandExecutor(database, transactions)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file that a backup may be written to."""
    made = tmp_path / "copy.db"
    made.write_text(PROOF)
    return made


def finish(executor: CommandExecutor, run: str) -> BackupProgress:
    progress = executor.do(ReadBackupProgress(run))
    while progress.rows is None:
        executor.backups.advance()
        sleep(executor.backups.wait_seconds(0.01))
        progress = executor.do(ReadBackupProgress(run))
    return progress


def test_a_backup_has_the_rows_that_it_reports(executor: CommandExecutor, file: Path) -> None:
    begun = executor.do(BeginBackup(ENTRY, str(file), PROOF))
    done = finish(executor, begun.run)
    assert done.rows is not None
    assert done.rows["audit"] == 1, "the copy knows when it was made"
    assert {name: count_rows(f"sqlite:///{file}", name) for name in done.rows} == done.rows
    assert table_rows(f"sqlite:///{file}", "audit", "actor", "action") == [{"actor": "anna", "action": "backup"}]


def test_only_one_backup_runs(executor: CommandExecutor, file: Path, tmp_path: Path) -> None:
    first = executor.do(BeginBackup(ENTRY, str(file), PROOF))
    other = tmp_path / "other.db"
    other.write_text(PROOF)
    with pytest.raises(AlreadyRunning, match=r"copy\.db runs already"):
        executor.do(BeginBackup(ENTRY._replace(id="2"), str(other), PROOF))
    assert other.read_text() == PROOF
    finish(executor, first.run)
    finish(executor, executor.do(BeginBackup(ENTRY._replace(id="2"), str(other), PROOF)).run)


def test_a_cancelled_backup_ends(executor: CommandExecutor, file: Path) -> None:
    begun = executor.do(BeginBackup(ENTRY, str(file), PROOF))
    executor.do(CancelBackup(begun.run))
    assert executor.backups.wait_seconds(7) == 7
    with pytest.raises(StorageUnavailable, match="cancelled"):
        executor.do(ReadBackupProgress(begun.run))


def test_a_backup_that_nobody_asks_for_ends(executor: CommandExecutor, file: Path) -> None:
    backups = Backups(executor.database, executor.transactions, abandoned_seconds=0)
    begun = backups.begin(str(file), PROOF)
    backups.advance()
    with pytest.raises(StorageUnavailable, match="Nobody asked"):
        backups.read_progress(begun.run)


def test_a_lost_connection_ends_the_backup_and_the_next_one_works(executor: CommandExecutor, file: Path) -> None:
    begun = executor.do(BeginBackup(ENTRY, str(file), PROOF))
    executor.transactions.close()  # as after a fault of the database
    executor.backups.advance()
    with pytest.raises(StorageUnavailable, match="connection to the database was lost"):
        executor.do(ReadBackupProgress(begun.run))
    file.write_text(PROOF)
    finish(executor, executor.do(BeginBackup(ENTRY._replace(id="2"), str(file), PROOF)).run)


def test_an_unknown_backup_is_not_found(executor: CommandExecutor, file: Path) -> None:
    for command in (ReadBackupProgress, CancelBackup):
        with pytest.raises(NotFound, match="not known"):
            executor.do(command(""))
    begun = executor.do(BeginBackup(ENTRY, str(file), PROOF))
    with pytest.raises(NotFound, match="not known"):
        executor.do(ReadBackupProgress(f"{begun.run}0"))


def test_only_a_file_with_the_proof_is_written(executor: CommandExecutor, file: Path, tmp_path: Path) -> None:
    link, folder, longer = tmp_path / "link.db", tmp_path / "folder", tmp_path / "longer.db"
    link.symlink_to(file)
    folder.mkdir()
    longer.write_text(PROOF + "\n")
    for named in (link, folder, longer, tmp_path / "missing.db", Path(f"../{tmp_path.name}/copy.db"), Path("/dev/null")):
        with pytest.raises(UnexpectedShape, match="expected"):
            executor.do(BeginBackup(ENTRY, str(named), PROOF))
    with pytest.raises(UnexpectedShape, match="expected"):
        executor.do(BeginBackup(ENTRY, str(file), "another"))
    assert file.read_text() == PROOF
    assert longer.read_text() == PROOF + "\n"


def test_a_server_is_backed_up_with_its_own_programs() -> None:
    database = Database("postgresql://nobody@localhost/nothing")
    with pytest.raises(UnexpectedShape, match="pg_dump"):
        Backups(database, Transactions(database)).begin("/copy.db", PROOF)
