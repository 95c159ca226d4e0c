"""Counts of deliveries and messages by minute and by hour.

Each writing process counts in memory and writes its changed totals every few seconds, in rows of its own. So no delivery waits
for counting, and no two processes wait for one row. It writes totals, not differences: if the result of a commit is unknown, it
writes the same totals again and nothing counts twice. A killed process loses the counts since its last write, but no delivery.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from secrets import token_hex
from typing import Any, NamedTuple, cast

from sqlalchemy import Connection, delete

from receiver.domain.records import DOWNLOAD
from receiver.domain.rows import DeliveryRow
from receiver.domain.verdicts import OUTCOMES
from receiver.storage.tables.metadata import table_of
from receiver.storage.tables.operations import HourlyCountTable

MINUTE_SECONDS = 60
HOUR_SECONDS = 3600
KEPT_SECONDS = {MINUTE_SECONDS: 3 * 86_400, HOUR_SECONDS: 400 * 86_400}
"""The time for which the counts of each span are kept."""

COUNTED_BY_MINUTE_SECONDS = KEPT_SECONDS[MINUTE_SECONDS] - HOUR_SECONDS
"""The time of which the minutes are certainly still stored."""

DOWNLOADED = "customer_list"
"""The code of accepted downloads of the customer list, so that nobody takes them for webhooks."""

NUMBERS = ("calls", "unrecorded", "received", *OUTCOMES)
"""The columns of counts: deliveries, those of them without a row, their messages, and messages by outcome."""

_SECOND = 1_000_000
_MINUTE = MINUTE_SECONDS * _SECOND
_RECEIVED = DeliveryRow._fields.index("received")
_COUNTS = slice(_RECEIVED, _RECEIVED + 1 + len(OUTCOMES))  # of a row: its messages, and after them the numbers by outcome
_MAX_TOTALS = 2000  # in memory; beyond that, the counts continue in rows of another name


def find_counted_span(since: int, now: int) -> int:
    """Return the shortest span, in seconds, that has counts of all the time since `since`. Times are microseconds."""
    return MINUTE_SECONDS if now - since <= COUNTED_BY_MINUTE_SECONDS * _SECOND else HOUR_SECONDS


class CountKey(NamedTuple):
    """The key of a count: span, counting process, source, outcome and code of the deliveries (empty: no error)."""

    span_seconds: int
    begins_at: int
    writer: str
    source: str
    outcome: str
    code: str


Counts = dict[CountKey, tuple[int, ...]]
"""Totals, each in the order of NUMBERS."""


class HourlyCounts:
    """The counts of one process."""

    def __init__(self, max_totals: int = _MAX_TOTALS) -> None:
        self._max_totals = max_totals
        self._writer = token_hex(4)
        self._totals: Counts = {}
        self._changed: set[CountKey] = set()

    def add(self, rows: Iterable[DeliveryRow]) -> Counter[tuple[str, str]]:
        """Count stored deliveries; return the number of messages by source and outcome. Those of tests are not counted.

        Nearly all deliveries of a batch have the same key, so they are summed up before they are counted.
        """
        alike: dict[tuple[int, str, str, str | None], list[Any]] = {}
        for row in map(_as_counted, rows):
            if row.test_run is not None:
                continue
            alike.setdefault((row.received_at // _MINUTE, row.source, row.outcome, row.code), []).append(row[_COUNTS])
        verdicts: Counter[tuple[str, str]] = Counter()
        for (minute, source, outcome, code), numbers in alike.items():
            received, *by_outcome = map(sum, zip(*numbers, strict=True))
            self._count(minute * _MINUTE, source, outcome, code, (len(numbers), 0, received, *by_outcome))
            for verdict, number in zip(OUTCOMES, by_outcome, strict=True):
                verdicts[source, verdict] += number
        return verdicts

    def add_unrecorded(self, deliveries: Mapping[tuple[str, str, str], int], at: int) -> None:
        """Count deliveries without rows, given by source, outcome and code, as received at `at` (microseconds)."""
        rest = (0,) * (len(NUMBERS) - 2)
        for (source, outcome, code), number in deliveries.items():
            self._count(at, source, outcome, code, (number, number, *rest))

    def correct(self, before: DeliveryRow, after: DeliveryRow) -> None:
        """Correct the counts for a delivery whose row has changed."""
        if before.test_run is not None:
            return
        before = _as_counted(before)
        self._count(before.received_at, before.source, before.outcome, before.code, [-number for number in _numbers(before)])
        self.add([after])

    def take(self) -> Counts:
        """Return the totals that changed since the last call."""
        taken = {key: self._totals[key] for key in self._changed}
        self._changed = set()
        if len(self._totals) > self._max_totals:
            self._totals = {}
            self._writer = token_hex(4)
        return taken

    def give_back(self, counts: Counts) -> None:
        """Return counts from `take` that were not written, or may not have been. The next `take` includes them."""
        self._totals = counts | self._totals
        self._changed |= counts.keys()

    def _count(self, at: int, source: str, outcome: str, code: str | None, numbers: Iterable[int]) -> None:
        for seconds in KEPT_SECONDS:
            key = CountKey(seconds, at - at % (seconds * _SECOND), self._writer, source, outcome, code or "")
            total = self._totals.get(key)
            self._totals[key] = tuple(numbers if total is None else map(sum, zip(total, numbers, strict=True)))
            self._changed.add(key)


def _as_counted(row: DeliveryRow) -> DeliveryRow:
    """Return a row as it counts. The customers of a download are no messages."""
    return row._replace(received=0, code=row.code or DOWNLOADED) if row.kind == DOWNLOAD else row


def _numbers(row: DeliveryRow) -> tuple[int, ...]:
    return (1, 0, *cast("tuple[int, ...]", row[_COUNTS]))


def write_counts(connection: Connection, insert: Callable[..., Any], counts: Counts) -> None:
    """Write totals. `insert` makes the database's own INSERT."""
    table = table_of(HourlyCountTable)
    for key, numbers in sorted(counts.items()):
        totals = dict(zip(NUMBERS, numbers, strict=True))
        statement = insert(table).values(**key._asdict(), **totals)
        keys = list(table.primary_key.columns)
        connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=totals))


def trim_counts(connection: Connection, now: int) -> None:
    """Remove counts older than KEPT_SECONDS. `now` is in microseconds."""
    table = table_of(HourlyCountTable)
    for seconds, kept_seconds in KEPT_SECONDS.items():
        old = table.c.begins_at < now - kept_seconds * _SECOND
        connection.execute(delete(table).where(table.c.span_seconds == seconds, old))
