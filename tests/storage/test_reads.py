"""Readers are closed when the last read is over, so that the writer leaves a SQLite file last and removes its log."""

from pathlib import Path
from threading import Event, Thread

import pytest
from sqlalchemy import text

from receiver.errors import StorageUnavailable
from receiver.storage.database import Database
from tests.harness.service import DEADLINE_SECONDS
from tests.harness.ship24 import single
from tests.harness.storage import make_tables
from tests.harness.store import opened


def test_a_read_under_way_ends_before_the_readers_are_closed_and_no_log_remains(sqlite_url: str) -> None:
    make_tables(sqlite_url)
    order: list[str] = []
    reading, may_end = Event(), Event()
    database = Database(sqlite_url)

    def read() -> None:
        with database.read() as connection:
            connection.execute(text("SELECT count(*) FROM messages")).scalar()
            reading.set()
            may_end.wait(DEADLINE_SECONDS)
            order.append("read")

    def end() -> None:
        database.end_reads(60)
        order.append("ended")

    with opened(sqlite_url) as store:
        store.keep(single())
        threads = [Thread(target=read), Thread(target=end)]
        threads[0].start()
        assert reading.wait(DEADLINE_SECONDS)
        threads[1].start()
        with pytest.raises(StorageUnavailable):  # noqa: PT012  until it is refused
            while True:
                with database.read():
                    pass
        may_end.set()
        for thread in threads:
            thread.join(DEADLINE_SECONDS)
    assert order == ["read", "ended"]
    path = sqlite_url.removeprefix("sqlite:///")
    assert not [end for end in ("-wal", "-shm") if Path(path + end).exists()]
    database.close()


def test_a_read_that_does_not_end_is_not_waited_for_for_ever(sqlite_url: str) -> None:
    make_tables(sqlite_url)
    database = Database(sqlite_url)
    with database.read():
        database.end_reads(0.01)
    with pytest.raises(StorageUnavailable), database.read():
        pass
    database.close()
