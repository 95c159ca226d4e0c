"""Counting what came, by minute and by hour, beside the transactions that keep it.

A writing process counts in memory and adds what it has to the tables every few seconds, so that no call pays for it and no two
processes wait for a row. What a killed process had counted since then is missing from the statistics, and from nothing else.
"""

from collections.abc import Iterable, Mapping
from secrets import token_hex
from typing import NamedTuple

from sqlalchemy import Connection, delete

from receiver.records import OUTCOMES
from receiver.rows import DeliveryRow
from receiver.storage.database import Database
from receiver.storage.operations import TallyTable
from receiver.storage.tables import table_of

MINUTE_SECONDS = 60
HOUR_SECONDS = 3600
KEPT_SECONDS = {MINUTE_SECONDS: 3 * 86_400, HOUR_SECONDS: 400 * 86_400}
"""For how long the tallies of each span are kept."""

NUMBERS = ("calls", "unrecorded", "received", *OUTCOMES)
"""What is counted: calls, those of them that left no row, their messages, and those by verdict."""

_SECOND = 1_000_000


class Tally(NamedTuple):
    """What is counted together: the calls of a minute with one source, outcome and code (empty: no error)."""

    minute_at: int
    source: str
    outcome: str
    code: str


Counts = dict[Tally, list[int]]


class Tallies:
    """The counts of one process, in the order of NUMBERS."""

    def __init__(self) -> None:
        self._counts: Counts = {}

    def add(self, rows: Iterable[DeliveryRow]) -> None:
        """Count calls that are on record."""
        for row in rows:
            minute_at = row.received_at - row.received_at % (MINUTE_SECONDS * _SECOND)
            numbers = (1, 0, row.received, row.applied, row.stale, row.duplicate, row.recorded, row.quarantined)
            self._count(Tally(minute_at, row.source, row.outcome, row.code or ""), numbers)

    def take(self) -> Counts:
        """Return what was counted since the last time."""
        counts, self._counts = self._counts, {}
        return counts

    def give_back(self, counts: Counts) -> None:
        """Count again what could not be written."""
        for tally, numbers in counts.items():
            self._count(tally, tuple(numbers))

    def _count(self, tally: Tally, numbers: tuple[int, ...]) -> None:
        counted = self._counts.get(tally)
        self._counts[tally] = list(numbers) if counted is None else [a + b for a, b in zip(counted, numbers, strict=True)]


class TallyBook:
    """Writes counts into the table, in rows that no other process writes."""

    def __init__(self, database: Database) -> None:
        self._insert = database.insert
        self._name = token_hex(4)

    def write(self, connection: Connection, counts: Mapping[Tally, list[int]]) -> None:
        """Add counts to their minutes and hours."""
        table = table_of(TallyTable)
        for seconds in (MINUTE_SECONDS, HOUR_SECONDS):
            for tally, numbers in sorted(counts.items()):
                begins_at = tally.minute_at - tally.minute_at % (seconds * _SECOND)
                named = dict(zip(NUMBERS, numbers, strict=True))
                statement = self._insert(table).values(
                    span_seconds=seconds,
                    begins_at=begins_at,
                    writer=self._name,
                    source=tally.source,
                    outcome=tally.outcome,
                    code=tally.code,
                    **named,
                )
                statement = statement.on_conflict_do_update(
                    index_elements=list(table.primary_key.columns),
                    set_={name: table.c[name] + number for name, number in named.items()},
                )
                connection.execute(statement)

    def trim(self, connection: Connection, now: int) -> None:
        """Remove the tallies of spans that are over for longer than they are kept. `now` is in microseconds."""
        table = table_of(TallyTable)
        for seconds, kept in KEPT_SECONDS.items():
            old = table.c.begins_at < now - kept * _SECOND
            connection.execute(delete(table).where(table.c.span_seconds == seconds, old))
