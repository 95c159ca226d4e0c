"""What operators ask of a large database: every list, search, timeline and story, with parameters that differ each time."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from random import Random
from statistics import median, quantiles
from time import perf_counter
from typing import NamedTuple

from rich import box
from rich.table import Table
from sqlalchemy import text

from receiver import story
from receiver.sources import NAMES, make_sources
from receiver.storage import queries
from receiver.storage.database import Database
from receiver.storage.queries import DeliveryFilter, TrackerFilter
from receiver.storage.queries.copies import list_copies
from receiver.storage.queries.pages import write_cursor
from tests.bench import service
from tests.bench.filling import copy, fill
from tests.harness.postgresql import Cluster

WANTED_MS = 50.0
_SAMPLES = 500
_DAY = 86_400_000_000
_SOURCES = make_sources({}, {})
_MILESTONES = ("delivered", "in_transit", "out_for_delivery", "info_received", "exception", "available_for_pickup")

_TRACKERS = (
    f"SELECT source, tracker_id, tracking_number, moved_at, status_milestone FROM trackers ORDER BY random() LIMIT {_SAMPLES}"
)
_CALLS = f"SELECT id, source, received_at FROM deliveries ORDER BY random() LIMIT {_SAMPLES}"
_MESSAGES = (
    "SELECT message_id, delivery_id FROM messages WHERE delivery_id IN (SELECT delivery_id FROM bodies WHERE length(body) > 0) "
    f"ORDER BY random() LIMIT {_SAMPLES}"
)
_STORM = "SELECT message_id FROM sightings GROUP BY message_id ORDER BY count(*) DESC LIMIT 1"
_OFTEN = "SELECT source, tracker_id FROM messages WHERE source IN ('ship24', 'shiipp') AND message_id = :message_id"


class Question(NamedTuple):
    """Something to ask, with parameters that are drawn each time."""

    name: str
    ask: Callable[[Random], object]


class Times(NamedTuple):
    """How long the answers to one question took."""

    p50_ms: float
    p99_ms: float


class Asker:
    """Makes questions from what stands in a database that `filling.sql` has filled."""

    def __init__(self, database: Database) -> None:
        self._database = database
        with database.read() as connection:
            self._trackers = connection.execute(text(_TRACKERS)).all()
            self._calls = connection.execute(text(_CALLS)).all()
            self._messages = connection.execute(text(_MESSAGES)).all()
            self._storm: str = connection.execute(text(_STORM)).scalar_one()
            self._often = connection.execute(text(_OFTEN), {"message_id": self._storm}).one()
            self._now: int = connection.execute(text("SELECT max(received_at) FROM deliveries")).scalar_one()

    def questions(self) -> list[Question]:
        """Return all questions, in the order of the table."""
        return [*self._lists_of_trackers(), *self._searches(), *self._lists_of_calls(), *self._single(), *self._others()]

    def _lists_of_trackers(self) -> Iterator[Question]:
        ask = self._list_trackers
        yield Question("trackers", lambda _: ask(TrackerFilter()))
        yield Question("  deep page", lambda draw: ask(TrackerFilter(), self._moved(draw)))
        yield Question("  200 a page, deep", lambda draw: ask(TrackerFilter(), self._moved(draw), 200))
        yield Question("  at a milestone, deep", lambda d: ask(TrackerFilter(milestone=d.choice(_MILESTONES)), self._moved(d)))
        yield Question("  at a rare milestone", lambda _: ask(TrackerFilter(milestone="customs_hold")))
        yield Question("  of a rare source", lambda _: ask(TrackerFilter(source="shiipp")))
        yield Question("  moved in some days", lambda draw: ask(self._moved_between(draw)))
        yield Question("  stuck", lambda draw: ask(TrackerFilter(stuck_since=self._some_days_ago(draw))))
        yield Question("  stuck, deep", lambda d: ask(TrackerFilter(stuck_since=self._some_days_ago(d)), self._moved(d)))

    def _searches(self) -> Iterator[Question]:
        ask = self._list_trackers
        yield Question("search by 1 letter", lambda draw: ask(TrackerFilter(draw.choice("0123456789abcdefs"))))
        yield Question("  by 6 letters", lambda draw: ask(TrackerFilter(draw.choice(self._trackers).tracker_id[:6])))
        yield Question("  by 10 letters of a number", lambda d: ask(TrackerFilter(d.choice(self._trackers).tracking_number[:10])))
        yield Question("  by a whole number", lambda draw: ask(TrackerFilter(draw.choice(self._trackers).tracking_number)))
        yield Question("  by a whole id, exact", lambda d: ask(TrackerFilter(d.choice(self._trackers).tracker_id, exact=True)))
        yield Question("  by a shared reference", lambda draw: ask(TrackerFilter(f"user-{draw.randrange(50)}")))
        yield Question("  deep page", lambda draw: ask(TrackerFilter("s24demo"), self._named(draw)))
        yield Question("  at a rare milestone", lambda d: ask(TrackerFilter(d.choice("0123abcs"), milestone="customs_hold")))
        yield Question("  of a rare source", lambda draw: ask(TrackerFilter("s24demo", "shiipp"), self._named(draw)))
        yield Question("  stuck", lambda d: ask(TrackerFilter(d.choice("0123abcs"), stuck_since=self._some_days_ago(d))))

    def _lists_of_calls(self) -> Iterator[Question]:
        ask, seen = self._list_calls, self._seen
        yield Question("deliveries", lambda _: ask(DeliveryFilter()))
        yield Question("  deep page", lambda draw: ask(DeliveryFilter(), seen(draw)))
        yield Question("  200 a page, deep", lambda draw: ask(DeliveryFilter(), seen(draw), 200))
        yield Question("  in a time", lambda draw: ask(self._called_between(draw)))
        yield Question("  of a rare source, deep", lambda draw: ask(DeliveryFilter("shiipp"), seen(draw)))
        yield Question(
            "  with a status, deep", lambda d: ask(DeliveryFilter(status=d.choice([200, 400, 401, 403, 503])), seen(d))
        )
        yield Question("  with a rare status", lambda _: ask(DeliveryFilter(status=413)))
        yield Question("  with a status never seen", lambda draw: ask(DeliveryFilter(status=204), seen(draw)))
        yield Question("  refused, deep", lambda draw: ask(DeliveryFilter(outcome="refused"), seen(draw)))
        yield Question("  unreadable", lambda _: ask(DeliveryFilter(outcome="unreadable")))
        yield Question("  from a client, deep", lambda d: ask(DeliveryFilter(client=f"203.0.113.{d.randrange(16)}"), seen(d)))
        yield Question("  from a rare client, deep", lambda draw: ask(DeliveryFilter(client="198.51.100.7"), seen(draw)))
        yield Question("  with a message", lambda d: ask(DeliveryFilter(message_id=d.choice(self._messages).message_id)))
        yield Question("  with a message sent often", lambda draw: ask(DeliveryFilter(message_id=self._storm), seen(draw)))
        yield Question("  of a parcel", lambda d: ask(DeliveryFilter(tracking_number=d.choice(self._trackers).tracking_number)))
        yield Question(
            "  of a shared reference", lambda d: ask(DeliveryFilter(tracking_number=f"USER-{d.randrange(50)}"), seen(d))
        )

    def _single(self) -> Iterator[Question]:
        base, show, explain = self._database, queries.show_tracker, story.explain
        yield Question("timeline", lambda draw: show(base, *draw.choice(self._trackers)[:2]))
        yield Question("  its copies", lambda draw: list_copies(base, *draw.choice(self._trackers)[:2]))
        yield Question("  the copies of one sent often", lambda _: list_copies(base, *self._often))
        yield Question("delivery", lambda draw: queries.show_delivery(base, draw.choice(self._messages).delivery_id).as_json())
        yield Question("explain a message", lambda draw: explain(base, _SOURCES, draw.choice(self._messages).message_id))
        yield Question("explain one sent often", lambda _: explain(base, _SOURCES, self._storm))
        yield Question("explain a delivery", lambda draw: explain(base, _SOURCES, draw.choice(self._calls).id))

    def _others(self) -> Iterator[Question]:
        base, quarantine, seen = self._database, queries.list_quarantine, self._seen
        yield Question("quarantine", lambda _: quarantine(base))
        yield Question("  deep page", lambda draw: quarantine(base, cursor=seen(draw)))
        yield Question("  for a rare reason, deep", lambda draw: quarantine(base, None, "implausible_future", cursor=seen(draw)))
        for name, micros in (("1 hour", _DAY // 24), ("24 hours", _DAY), ("30 days", 30 * _DAY)):
            yield Question(f"statistics of {name}", partial(self._show_statistics, micros))
        yield Question("alarms", lambda _: queries.list_alarms(base))
        yield Question("audit", lambda _: queries.list_audit(base))

    def _list_trackers(self, wanted: TrackerFilter, cursor: str | None = None, limit: int = 50) -> object:
        return queries.list_trackers(self._database, wanted, limit, cursor)

    def _list_calls(self, wanted: DeliveryFilter, cursor: str | None = None, limit: int = 50) -> object:
        return queries.list_deliveries(self._database, wanted, NAMES, limit, cursor)

    def _show_statistics(self, micros: int, draw: Random) -> object:
        until = self._now - draw.randrange(_DAY // 24)
        return queries.show_statistics(self._database, "some time", until - micros, until, NAMES)

    def _moved(self, draw: Random) -> str:
        row = draw.choice(self._trackers)
        return write_cursor(
            row.moved_at, row.source, "" if row.status_milestone is None else f"={row.status_milestone}", row.tracker_id
        )

    def _named(self, draw: Random) -> str:
        row = draw.choice(self._trackers)
        return write_cursor(row.tracking_number.casefold(), row.source, row.tracker_id)

    def _seen(self, draw: Random) -> str:
        return write_cursor(draw.choice(self._calls).id)

    def _some_days_ago(self, draw: Random) -> int:
        return self._now - draw.randrange(1, 50) * _DAY

    def _moved_between(self, draw: Random) -> TrackerFilter:
        since = self._some_days_ago(draw)
        return TrackerFilter(moved_after=since, moved_before=since + draw.randrange(_DAY))

    def _called_between(self, draw: Random) -> DeliveryFilter:
        since = self._some_days_ago(draw)
        return DeliveryFilter(since=since, until=since + draw.randrange(_DAY))


def measure(database: Database, times: int) -> dict[str, Times]:
    """Ask each question so many times and return how long the answers took."""
    asker = Asker(database)
    group, results = "", {}
    for question in asker.questions():
        group = group if question.name.startswith(" ") else question.name
        name = question.name if question.name == group else f"{group}:{question.name}"
        results[name] = _measure(question, times)
    return results


def _measure(question: Question, times: int) -> Times:
    draw = Random(question.name)
    for _ in range(10):  # statements are compiled, and prepared after some executions
        question.ask(draw)
    took = []
    for _ in range(times):
        began = perf_counter()
        question.ask(draw)
        took.append((perf_counter() - began) * 1000)
    return Times(median(took), quantiles(took, n=100, method="inclusive")[98])


def times_table(results: Mapping[str, Mapping[str, Times]]) -> Table:
    """Return the answers' times by question and database, and whether they are as wanted."""
    columns = [f"{database}\n{share} ms" for database in results for share in ("p50", "p99")]
    table = Table("", box=box.SIMPLE_HEAD, padding=(0, 1), collapse_padding=True, pad_edge=False, header_style="bold")
    for column in (*columns, ""):
        table.add_column(column, justify="right", no_wrap=True)
    first, *_ = results.values()
    for name in first:
        times: Sequence[Times] = [found[name] for found in results.values()]
        reached = all(time.p99_ms < WANTED_MS for time in times)
        cells = [f"{value:.1f}" for time in times for value in time]
        table.add_row(_indented(name), *cells, "" if reached else "[red]slow[/]")
    return table


def _indented(name: str) -> str:
    group, _, rest = name.partition(":  ")
    return f"  {rest}" if rest else group


def make_databases(directory: Path, cluster: Cluster | None, messages: int) -> dict[str, str]:
    """Fill a SQLite database in `directory`, unless that was done, and copy it to PostgreSQL; return their URLs by name."""
    directory.mkdir(exist_ok=True)
    path, known = directory / "bench.db", directory / "known"
    urls = {"SQLite": f"sqlite:///{path}"}
    if not known.exists():
        service.run(["receiver", "migrate"], {"RECEIVER_DATABASE_URL": urls["SQLite"]}, directory)
        fill(path, messages, known)
    if cluster is not None:
        urls["PostgreSQL"] = cluster.create_database("queries")
        service.run(["receiver", "migrate"], {"RECEIVER_DATABASE_URL": urls["PostgreSQL"]}, directory)
        copy(path, urls["PostgreSQL"])
    return urls


def run(databases: Mapping[str, str], times: int) -> Mapping[str, Mapping[str, Times]]:
    """Measure all questions on databases by name and URL."""
    results = {}
    for name, url in databases.items():
        database = Database(url)
        try:
            results[name] = measure(database, times)
        finally:
            database.close()
    return results
