"""A backup in steps, on the connection that also commits."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from receiver.errors import StorageUnavailable
from receiver.storage.stepwise_backup import StepwiseBackup
from tests.conftest import lacking
from tests.harness.disk import NoDisk, small_disk

PAGE = 4096
ROWS = 1000  # of a page each: eight steps


@pytest.fixture
def source(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A file of ROWS pages, in WAL mode."""
    with closing(sqlite3.connect(tmp_path / "source.db", isolation_level=None, check_same_thread=False)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE pages (id INTEGER PRIMARY KEY, content BLOB)")
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO pages VALUES (?, ?)", ((number, os.urandom(PAGE)) for number in range(ROWS)))
        connection.execute("COMMIT")
        yield connection


def read_all(file: Path) -> list[tuple[int, bytes]]:
    with closing(sqlite3.connect(f"file:{file}?immutable=1", uri=True)) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return copy.execute("SELECT * FROM pages ORDER BY id").fetchall()


def take(backup: StepwiseBackup) -> bool:
    while not backup.is_ready():
        os.sched_yield()
    return backup.step()


def test_commits_between_the_steps_are_in_the_copy_and_never_start_it_over(source: sqlite3.Connection, tmp_path: Path) -> None:
    backup = StepwiseBackup(source, tmp_path / "copy.db")
    steps = 0
    while not take(backup):
        steps += 1
        assert steps < 3 * ROWS / 128, "it started over"
        source.execute("UPDATE pages SET content = ? WHERE id = ?", (os.urandom(PAGE), steps))  # copied already
        source.execute("UPDATE pages SET content = ? WHERE id = ?", (os.urandom(PAGE), ROWS - steps))  # not yet
        source.execute("INSERT INTO pages VALUES (?, ?)", (ROWS + steps, os.urandom(PAGE)))
        source.execute("DELETE FROM pages WHERE id = ?", (ROWS // 2 + steps,))
        if steps % 3 == 0:
            source.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert steps > ROWS / 128
    assert read_all(tmp_path / "copy.db") == source.execute("SELECT * FROM pages ORDER BY id").fetchall()
    assert backup.copied_pages == backup.pages > ROWS


def count_steps(folder: Path, page_bytes: int, content: bytes) -> int:
    file = folder / f"{page_bytes}.db"
    with closing(sqlite3.connect(file, isolation_level=None, check_same_thread=False)) as source:
        source.execute(f"PRAGMA page_size={page_bytes}")
        source.execute("CREATE TABLE contents (content BLOB)")
        source.execute("INSERT INTO contents VALUES (?)", (content,))
        backup = StepwiseBackup(source, folder / f"copy-of-{page_bytes}.db")
        steps = 1
        while not take(backup):
            steps += 1
    return steps


def test_a_step_copies_as_many_bytes_whatever_the_size_of_a_page(tmp_path: Path) -> None:
    content = os.urandom(3_500_000)  # so many that the first and the last pages make no step more
    assert {count_steps(tmp_path, page_bytes, content) for page_bytes in (1024, 2048, 4096, 8192)} == {7}


def test_the_end_of_a_backup_releases_the_connection(source: sqlite3.Connection, tmp_path: Path) -> None:
    backup = StepwiseBackup(source, tmp_path / "copy.db")
    assert not take(backup)
    backup.close()
    with pytest.raises(StorageUnavailable, match="connection to the database was lost"):
        take(backup)
    source.execute("VACUUM")  # SQLite refuses this while a backup reads
    other = StepwiseBackup(source, tmp_path / "other.db")
    while not take(other):
        pass
    assert len(read_all(tmp_path / "other.db")) == ROWS


def commit_between_steps(source: sqlite3.Connection, backup: StepwiseBackup) -> None:
    for number in range(ROWS):
        assert not take(backup)
        source.execute("UPDATE pages SET content = ? WHERE id = ?", (os.urandom(PAGE), number))


def test_a_full_disk_ends_the_backup_and_no_commit(source: sqlite3.Connection, tmp_path: Path) -> None:
    try:
        with small_disk(tmp_path / "disk", 2) as disk:
            backup = StepwiseBackup(source, disk / "copy.db")
            with pytest.raises(StorageUnavailable, match="full"):
                commit_between_steps(source, backup)
            source.execute("UPDATE pages SET content = x'01' WHERE id = 1")
            assert source.execute("SELECT content FROM pages WHERE id = 1").fetchone() == (b"\x01",)
    except NoDisk as error:
        lacking(str(error))


def test_a_file_that_cannot_be_written_is_an_error(source: sqlite3.Connection, tmp_path: Path) -> None:
    backup = StepwiseBackup(source, tmp_path / "missing" / "copy.db")
    with pytest.raises(StorageUnavailable, match="unable to open"):
        take(backup)
