"""The queries of operators: every list, search, timeline, explanation and statistic, with different parameters each time."""

from collections.abc import Callable, Iterator
from functools import partial
from random import Random
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, Row, bindparam, text
from sqlalchemy.sql.selectable import TextualSelect

from receiver import clock
from receiver.clock import to_micros
from receiver.monitoring import explain
from receiver.monitoring.search import search_everything
from receiver.sources import NAMES, make_sources
from receiver.storage import queries
from receiver.storage.database import Database
from receiver.storage.queries import ChangeFilter, DeliveryFilter, MessageFilter, QuarantineFilter, TrackerFilter
from receiver.storage.queries.copies import list_copies
from receiver.storage.queries.pages import write_cursor
from receiver.storage.queries.silent_trackers import list_silent
from receiver.storage.tables.ids import IdText

_SAMPLES = 500
_RARE = 50  # of the samples, a tracker of the rare source
_DAY = 86_400_000_000
_SOURCES = make_sources({}, {})
_MILESTONES = ("delivered", "in_transit", "out_for_delivery", "info_received", "exception", "available_for_pickup")


def _sql(query: str, *ids: str) -> TextualSelect:
    """Return a query with the types of these columns and of its parameter `id`, which all are ids."""
    typed = text(query)
    if ":id" in query:
        typed = typed.bindparams(bindparam("id", type_=IdText))
    return typed.columns(**dict.fromkeys(ids, IdText()))


# Each takes what follows a drawn place in an index: to sort a whole table by chance would take minutes.
_TRACKER = _sql(
    "SELECT source, tracker_id, tracking_number, moved_at, status_milestone FROM trackers "
    "WHERE source = :source AND tracker_id >= :id ORDER BY tracker_id LIMIT 1",
    "tracker_id",
)
_DISPATCH = _sql(
    "SELECT source, tracker_id, move, made_at FROM dispatches "
    "WHERE target = 'shop' AND source = 'ship24' AND tracker_id >= :id ORDER BY tracker_id LIMIT 1",
    "tracker_id",
)
_CALL = _sql("SELECT id, source, received_at FROM deliveries WHERE id >= :id ORDER BY id LIMIT 1", "id")
_MESSAGE = _sql(
    "SELECT message_id, delivery_id FROM messages WHERE delivery_id >= :id ORDER BY delivery_id LIMIT 1",
    "message_id",
    "delivery_id",
)
_ALL = _sql("SELECT min(id) AS first, max(id) AS last FROM deliveries", "first", "last")
_WITH_BODIES = _sql("SELECT min(delivery_id) AS first, max(delivery_id) AS last FROM bodies", "first", "last")
_NOW = "SELECT received_at FROM deliveries ORDER BY id DESC LIMIT 1"
_STORM = _sql("SELECT message_id FROM sightings GROUP BY message_id ORDER BY count(*) DESC LIMIT 1", "message_id")
_OFTEN = _sql("SELECT source, tracker_id FROM messages WHERE source IN ('ship24', 'shiipp') AND message_id = :id", "tracker_id")


class ReadEndpoint(NamedTuple):
    """Something to ask, with parameters that are drawn each time."""

    name: str
    ask: Callable[[Random], object]


class Asker:
    """Makes queries from the rows of a database that `filling.sql` has filled."""

    def __init__(self, database: Database) -> None:
        self._database = database
        with database.read() as connection:
            self._trackers = list(_draw_trackers(connection))
            self._calls = list(_draw(connection, _ALL, _CALL))
            self._messages = list(_draw(connection, _WITH_BODIES, _MESSAGE))
            self._dispatches = list(_draw_dispatches(connection))
            self._storm: str = connection.execute(_STORM).scalar_one()
            self._often = connection.execute(_OFTEN, {"id": self._storm}).one()
            self._now: int = connection.execute(text(_NOW)).scalar_one()

    def questions(self) -> list[ReadEndpoint]:
        """Return all questions, in the order of the table."""
        return [
            *self._lists_of_trackers(),
            *self._searches(),
            *self._lists_of_calls(),
            *self._single(),
            *self._changes(),
            *self._others(),
        ]

    def _lists_of_trackers(self) -> Iterator[ReadEndpoint]:
        ask = self._list_trackers
        yield ReadEndpoint("trackers", lambda _: ask(TrackerFilter()))
        yield ReadEndpoint("  deep page", lambda draw: ask(TrackerFilter(), self._moved(draw)))
        yield ReadEndpoint("  200 a page, deep", lambda draw: ask(TrackerFilter(), self._moved(draw), 200))
        yield ReadEndpoint(
            "  at a milestone, deep", lambda d: ask(TrackerFilter(milestone=d.choice(_MILESTONES)), self._moved(d))
        )
        yield ReadEndpoint("  at a rare milestone", lambda _: ask(TrackerFilter(milestone="customs_hold")))
        yield ReadEndpoint("  of a rare source", lambda _: ask(TrackerFilter(source="shiipp")))
        yield ReadEndpoint("  moved in some days", lambda draw: ask(self._moved_between(draw)))
        yield ReadEndpoint("  stuck", lambda draw: ask(TrackerFilter(stuck_since=self._some_days_ago(draw))))
        yield ReadEndpoint("  sender's view differs", lambda _: ask(TrackerFilter(milestone_differs=True)))
        yield ReadEndpoint("  differs, deep", lambda d: ask(TrackerFilter(milestone_differs=True), self._moved(d)))
        yield ReadEndpoint("  does not differ, deep", lambda d: ask(TrackerFilter(milestone_differs=False), self._moved(d)))
        yield ReadEndpoint("  stuck, deep", lambda d: ask(TrackerFilter(stuck_since=self._some_days_ago(d)), self._moved(d)))
        yield ReadEndpoint(
            "  stuck, of packages", lambda d: ask(TrackerFilter(source="shiipp", stuck_since=self._some_days_ago(d)))
        )
        yield ReadEndpoint("  of a manifest", lambda draw: ask(TrackerFilter(manifest=f"manifest:MAN-{draw.randrange(50)}")))
        yield ReadEndpoint("  of a customer", lambda draw: ask(TrackerFilter(customer=f"CODE{draw.randrange(50):03}")))
        yield ReadEndpoint("  oldest first, deep", lambda d: ask(TrackerFilter(sort="oldest"), self._moved(d)))
        yield ReadEndpoint(
            "  stuck, oldest first", lambda d: ask(TrackerFilter(stuck_since=self._some_days_ago(d), sort="oldest"))
        )

    def _searches(self) -> Iterator[ReadEndpoint]:
        ask = self._list_trackers
        yield ReadEndpoint("search by 1 letter", lambda draw: ask(TrackerFilter(draw.choice("0123456789abcdefs"))))
        yield ReadEndpoint("  by 6 letters", lambda draw: ask(TrackerFilter(draw.choice(self._trackers).tracker_id[:6])))
        yield ReadEndpoint(
            "  by 10 letters of a number", lambda d: ask(TrackerFilter(d.choice(self._trackers).tracking_number[:10]))
        )
        yield ReadEndpoint("  by a whole number", lambda draw: ask(TrackerFilter(draw.choice(self._trackers).tracking_number)))
        yield ReadEndpoint(
            "  by a whole id, exact", lambda d: ask(TrackerFilter(d.choice(self._trackers).tracker_id, exact=True))
        )
        yield ReadEndpoint("  by a shared reference", lambda draw: ask(TrackerFilter(f"user-{draw.randrange(50)}")))
        yield ReadEndpoint("  deep page", lambda draw: ask(TrackerFilter("s24demo"), self._named(draw)))
        yield ReadEndpoint("  at a rare milestone", lambda d: ask(TrackerFilter(d.choice("0123abcs"), milestone="customs_hold")))
        yield ReadEndpoint("  of a rare source", lambda draw: ask(TrackerFilter("s24demo", "shiipp"), self._named(draw)))
        yield ReadEndpoint("  sender's view differs", lambda d: ask(TrackerFilter(d.choice("0123abcs"), milestone_differs=True)))
        yield ReadEndpoint("  stuck", lambda d: ask(TrackerFilter(d.choice("0123abcs"), stuck_since=self._some_days_ago(d))))

        base, whole = self._database, self._trackers
        yield ReadEndpoint(
            "  by the end of a number", lambda d: queries.list_by_ending(base, d.choice(whole).tracking_number[-8:], 10)
        )
        yield ReadEndpoint("search for everything", lambda d: search_everything(base, d.choice(whole).tracking_number, 10))
        yield ReadEndpoint("  by the end", lambda d: search_everything(base, d.choice(whole).tracking_number[-7:], 10))
        yield ReadEndpoint("  a delivery's beginning", lambda d: search_everything(base, d.choice(self._calls).id[:8], 10))
        yield ReadEndpoint("  nothing", lambda _: search_everything(base, "no-such-number", 10))

    def _lists_of_calls(self) -> Iterator[ReadEndpoint]:
        ask, seen = self._list_calls, self._seen
        yield ReadEndpoint("deliveries", lambda _: ask(DeliveryFilter()))
        yield ReadEndpoint("  deep page", lambda draw: ask(DeliveryFilter(), seen(draw)))
        yield ReadEndpoint("  200 a page, deep", lambda draw: ask(DeliveryFilter(), seen(draw), 200))
        yield ReadEndpoint("  in a time", lambda draw: ask(self._called_between(draw)))
        yield ReadEndpoint("  of a rare source, deep", lambda draw: ask(DeliveryFilter("shiipp"), seen(draw)))
        yield ReadEndpoint(
            "  with a status, deep", lambda d: ask(DeliveryFilter(status=d.choice([200, 400, 401, 403, 503])), seen(d))
        )
        yield ReadEndpoint("  with a rare status", lambda _: ask(DeliveryFilter(status=413)))
        yield ReadEndpoint("  with a status never seen", lambda draw: ask(DeliveryFilter(status=204), seen(draw)))
        yield ReadEndpoint("  refused, deep", lambda draw: ask(DeliveryFilter(outcome="refused"), seen(draw)))
        yield ReadEndpoint("  unreadable", lambda _: ask(DeliveryFilter(outcome="unreadable")))
        yield ReadEndpoint("  from a client, deep", lambda d: ask(DeliveryFilter(client=f"203.0.113.{d.randrange(16)}"), seen(d)))
        yield ReadEndpoint("  from a rare client, deep", lambda draw: ask(DeliveryFilter(client="198.51.100.7"), seen(draw)))
        yield ReadEndpoint("  oldest first, deep", lambda draw: ask(DeliveryFilter(sort="oldest"), seen(draw)))
        yield ReadEndpoint("  refused, oldest first", lambda d: ask(DeliveryFilter(outcome="refused", sort="oldest"), seen(d)))
        yield ReadEndpoint("  of a client, oldest first", lambda d: ask(DeliveryFilter(client="::1", sort="oldest"), seen(d)))
        yield ReadEndpoint("  with a message", lambda d: ask(DeliveryFilter(message_id=d.choice(self._messages).message_id)))
        yield ReadEndpoint("  with a message sent often", lambda draw: ask(DeliveryFilter(message_id=self._storm), seen(draw)))
        yield ReadEndpoint(
            "  of a parcel", lambda d: ask(DeliveryFilter(tracking_number=d.choice(self._trackers).tracking_number))
        )
        yield ReadEndpoint(
            "  of a shared reference", lambda d: ask(DeliveryFilter(tracking_number=f"USER-{d.randrange(50)}"), seen(d))
        )

    def _single(self) -> Iterator[ReadEndpoint]:
        base, show, told = self._database, queries.show_tracker, explain.explain
        yield ReadEndpoint("timeline", lambda draw: show(base, *self._key(draw)))
        yield ReadEndpoint("  its copies", lambda draw: list_copies(base, *self._key(draw)))
        yield ReadEndpoint("  the copies of one sent often", lambda _: list_copies(base, *self._often))
        yield ReadEndpoint(
            "delivery", lambda draw: queries.show_delivery(base, draw.choice(self._messages).delivery_id).as_json()
        )
        yield ReadEndpoint("explain a message", lambda draw: told(base, _SOURCES, draw.choice(self._messages).message_id))
        yield ReadEndpoint("explain one sent often", lambda _: told(base, _SOURCES, self._storm))
        yield ReadEndpoint("explain a delivery", lambda draw: told(base, _SOURCES, draw.choice(self._calls).id))

    def _changes(self) -> Iterator[ReadEndpoint]:
        ask, trackers = self._list_changes, self._list_trackers
        yield ReadEndpoint("changes", lambda _: ask(ChangeFilter()))
        for state in queries.STATES:
            yield ReadEndpoint(f"  {state}, deep", partial(self._list_in_state, state))
        yield ReadEndpoint("  delivered in some hours", lambda draw: ask(self._delivered_between(draw)))
        yield ReadEndpoint("  of a rare source", lambda _: ask(ChangeFilter("shop", "waiting", "shiipp")))
        yield ReadEndpoint("  of a source never seen", lambda d: ask(ChangeFilter(source="none"), self._changed(d, "delivered")))
        yield ReadEndpoint("  of a tracker", lambda draw: ask(ChangeFilter(None, None, *self._shipped(draw))))
        yield ReadEndpoint("trackers without a change", lambda _: trackers(TrackerFilter(not_delivered_to="shop")))
        yield ReadEndpoint(
            "  deep page",
            lambda d: trackers(TrackerFilter(not_delivered_to="warehouse"), write_cursor(*self._shipped(d))),
        )
        yield ReadEndpoint(
            "  at a rare milestone", lambda _: trackers(TrackerFilter(not_delivered_to="shop", milestone="customs_hold"))
        )
        yield ReadEndpoint("  of nobody", lambda _: trackers(TrackerFilter(not_delivered_to="nobody")))
        yield ReadEndpoint("targets", lambda _: queries.show_targets(self._database))

    def _others(self) -> Iterator[ReadEndpoint]:
        base, quarantine, seen = self._database, queries.list_quarantine, self._seen
        yield ReadEndpoint("messages", lambda _: self._list_messages(MessageFilter()))
        yield ReadEndpoint("  deep page", lambda draw: self._list_messages(MessageFilter(), self._placed(draw)))
        yield ReadEndpoint("  oldest first", lambda d: self._list_messages(MessageFilter(sort="oldest"), self._placed(d)))
        yield ReadEndpoint("  not applied", lambda d: self._list_messages(MessageFilter(outcome="not_applied"), self._placed(d)))
        yield ReadEndpoint("  never seen", lambda d: self._list_messages(MessageFilter("shiipp", reason="tie"), self._placed(d)))
        yield ReadEndpoint(
            "  of a parcel",
            lambda d: self._list_messages(MessageFilter(tracking_number=d.choice(self._trackers).tracking_number)),
        )
        yield ReadEndpoint(
            "  of a shared reference",
            lambda d: self._list_messages(MessageFilter(tracking_number=f"USER-{d.randrange(50)}"), self._placed(d)),
        )
        yield ReadEndpoint("quarantine", lambda _: quarantine(base))
        yield ReadEndpoint("  deep page", lambda draw: quarantine(base, cursor=seen(draw)))
        yield ReadEndpoint(
            "  for a rare reason, deep",
            lambda draw: quarantine(base, QuarantineFilter(None, "implausible_future"), cursor=seen(draw)),
        )
        for state in queries.QUARANTINE_STATES[1:]:
            yield ReadEndpoint(f"  {state}, deep", partial(self._list_closed, state))
        yield ReadEndpoint(
            "  of a delivery",
            lambda d: quarantine(base, QuarantineFilter(state="all", delivery_id=d.choice(self._messages).delivery_id)),
        )
        yield ReadEndpoint(
            "  search",
            lambda d: quarantine(base, QuarantineFilter(search=d.choice(self._trackers).tracking_number), cursor=seen(d)),
        )
        for name, micros in (("1 hour", _DAY // 24), ("24 hours", _DAY), ("30 days", 30 * _DAY)):
            yield ReadEndpoint(f"statistics of {name}", partial(self._show_statistics, micros))
        yield ReadEndpoint("last call", self._read_last_delivery)
        yield ReadEndpoint("silent trackers", lambda draw: list_silent(base, self._some_days_ago(draw), 100))
        yield ReadEndpoint("alarms", lambda _: queries.list_alarms(base))
        yield ReadEndpoint("audit", lambda _: queries.list_audit(base))

    def _list_trackers(self, wanted: TrackerFilter, cursor: str | None = None, limit: int = 50) -> object:
        return queries.list_trackers(self._database, wanted, limit, cursor)

    def _list_calls(self, wanted: DeliveryFilter, cursor: str | None = None, limit: int = 50) -> object:
        return queries.list_deliveries(self._database, wanted, NAMES, limit, cursor)

    def _list_messages(self, wanted: MessageFilter, cursor: str | None = None) -> object:
        return queries.list_messages(self._database, wanted, 50, cursor)

    def _list_changes(self, wanted: ChangeFilter, cursor: str | None = None) -> object:
        return queries.list_changes(self._database, wanted, 50, cursor)

    def _list_in_state(self, state: str, draw: Random) -> object:
        return self._list_changes(ChangeFilter(state=state), self._changed(draw, state))

    def _shipped(self, draw: Random) -> tuple[str, str]:
        row = draw.choice(self._dispatches)
        return row.source, row.tracker_id

    def _changed(self, draw: Random, state: str) -> str:
        row = draw.choice(self._dispatches)
        target = "shop" if state in ("waiting", "delivered") else "warehouse"
        at = row.made_at if state in ("failing", "delivered") else 0
        return write_cursor(state, target, at, row.source, row.tracker_id, row.move)

    def _delivered_between(self, draw: Random) -> ChangeFilter:
        since = draw.choice(self._dispatches).made_at
        return ChangeFilter("shop", "delivered", since=since, until=since + _DAY // 8)

    def _list_closed(self, state: str, draw: Random) -> object:
        return queries.list_quarantine(self._database, QuarantineFilter(state=state), cursor=self._seen(draw))

    def _placed(self, draw: Random) -> str:
        return write_cursor(draw.choice(self._calls).id, draw.randrange(3))

    def _show_statistics(self, micros: int, _: Random) -> object:
        now = to_micros(clock.now())  # they are always asked for a span that ends now
        return queries.show_statistics(self._database, "some time", now - micros, now, NAMES, now=now)

    def _read_last_delivery(self, draw: Random) -> object:
        with self._database.read() as connection:
            return queries.read_last_delivery(connection, draw.choice(NAMES))

    def _key(self, draw: Random) -> tuple[str, str]:
        row = draw.choice(self._trackers)
        return row.source, row.tracker_id

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


def _draw(connection: Connection, ends: TextualSelect, query: TextualSelect) -> Iterator[Row[Any]]:
    """Give rows by ids of calls, drawn between the two that `ends` gives: they grow with time."""
    first, last = (UUID(end).int for end in connection.execute(ends).one())
    draw = Random(str(query))
    for _ in range(_SAMPLES):
        yield from connection.execute(query, {"id": str(UUID(int=draw.randint(first, last)))})


def _draw_trackers(connection: Connection) -> Iterator[Row[Any]]:
    draw = Random(str(_TRACKER))
    for number in range(_SAMPLES):
        place = {"source": "shiipp" if number < _RARE else "ship24", "id": str(UUID(int=draw.getrandbits(128)))}
        yield from connection.execute(_TRACKER, place)


def _draw_dispatches(connection: Connection) -> Iterator[Row[Any]]:
    draw = Random(str(_DISPATCH))
    for _ in range(_SAMPLES):
        yield from connection.execute(_DISPATCH, {"id": str(UUID(int=draw.getrandbits(128)))})
