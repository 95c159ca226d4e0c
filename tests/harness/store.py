"""Storage without a service: deliveries go through the inbox of the writing process."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar

import orjson
from sqlalchemy import Connection

from receiver.clock import new_id, to_micros
from receiver.domain.changes import Subscription
from receiver.domain.records import Answer, Delivery, Submission
from receiver.sources import intake, make_sources
from receiver.storage.database import Database
from receiver.storage.imports import ImportKeeper
from receiver.storage.replay import ReplayDecider
from receiver.storage.tables.metadata import METADATA
from receiver.storage.transactions import Transactions
from receiver.writer.executor import CommandExecutor
from receiver.writer.inbox import Inbox
from tests.harness.rows import find_filled
from tests.harness.storage import LASTING, make_tables

NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)
SOURCES = make_sources({}, {})
MAX_BYTES = 5 * 2**20
"""The limit of the bodies that `importing` parses."""

_MAX_FUTURE = timedelta(hours=48)
_SHIP24 = next(source for source in SOURCES if source.name == "ship24")


def delivery(body: bytes) -> Delivery:
    """Return an accepted delivery."""
    return Delivery(
        id=new_id(NOW),
        source=_SHIP24.name,
        kind=_SHIP24.kind,
        method="POST",
        path=_SHIP24.path,
        received_at=to_micros(NOW),
        peer="127.0.0.1",
        client="127.0.0.1",
        token="token-1",
        note=None,
        headers=(("host", "here"),),
        body=body,
    )


def submission(body: bytes) -> Submission:
    """Return a submission as intake makes it."""
    return intake.parse_delivery(_SHIP24, delivery(body))


def poisoned(body: bytes) -> Submission:
    """Return a submission with an event that no database can store: its number has more than 64 bits, as no reader lets by."""
    made = submission(body)
    bad = (message._replace(events=tuple(e._replace(order=2**70) for e in message.events)) for message in made.messages)
    return made._replace(messages=tuple(bad))


def outcomes(answer: Answer) -> list[str]:
    """Return what became of the messages, in body order."""
    assert answer.status == 200, answer.body
    return [message["outcome"] for message in orjson.loads(answer.body)["messages"]]


class Store:
    """A database with an inbox of its own; several on one PostgreSQL database are several processes to each other."""

    def __init__(self, url: str, subscriptions: Sequence[Subscription] = ()) -> None:
        self.database = Database(url)
        self.database.take()
        self.transactions = Transactions(self.database)
        replays = ReplayDecider(self.database, _MAX_FUTURE, subscriptions)
        self.executor = CommandExecutor(self.database, self.transactions, replays=replays)
        self.inbox = Inbox(self.executor, _MAX_FUTURE, subscriptions)

    def keep(self, *bodies: bytes) -> list[Answer]:
        """Store deliveries in one batch."""
        return self.keep_submissions(*map(submission, bodies))

    def keep_submissions(self, *submissions: Submission) -> list[Answer]:
        """Store submissions in one batch."""
        answers = self.inbox.keep(submissions, NOW)
        assert None not in answers, "the database was at fault"
        return [answer for answer in answers if answer is not None]

    def clear(self) -> None:
        """Remove all rows, as if nothing had come."""

        def remove(connection: Connection) -> None:
            for name in find_filled(connection.exec_driver_sql, METADATA.tables.keys() - LASTING):
                connection.execute(METADATA.tables[name].delete())

        self.transactions.run(remove)

    def close(self) -> None:
        self.transactions.close()
        self.database.close()


_S = TypeVar("_S", bound=Store)


@contextmanager
def opened(url: str) -> Iterator[Store]:
    """Give a store on a database with tables."""
    store = Store(url)
    try:
        yield store
    finally:
        store.close()


@contextmanager
def opened_twice(make_store: Callable[[str], _S], url: str) -> Iterator[tuple[_S, _S, ThreadPoolExecutor]]:
    """Give two stores on one new database, as two processes have it, and threads in which they may wait for each other."""
    make_tables(url)
    with closing(make_store(url)) as one, closing(make_store(url)) as other, ThreadPoolExecutor(2) as threads:
        yield one, other, threads


@contextmanager
def importing(url: str) -> Iterator[tuple[Database, CommandExecutor]]:
    """Give a database with tables, and an executor that also brings in deliveries of all sources."""
    with closing(Database(url)) as database:
        database.take()
        with closing(Transactions(database)) as transactions:
            parse = partial(intake.parse_unread, SOURCES, MAX_BYTES)
            yield database, CommandExecutor(database, transactions, parse, imports=ImportKeeper(database, _MAX_FUTURE))
