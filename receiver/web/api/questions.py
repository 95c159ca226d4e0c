"""The questions that the API answers, as one table: path, parameters, shape of the answer, and the query behind it."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, NamedTuple

from receiver import clock
from receiver.monitoring import explain
from receiver.relay.assembly import ConfiguredTargets, describe_targets
from receiver.sources import NAMES, Source
from receiver.storage import queries
from receiver.storage.database import Database
from receiver.web.api import shapes
from receiver.web.api.parameters import (
    AlarmsQuery,
    DeadQuery,
    DeliveriesQuery,
    EmptyQuery,
    Paged,
    Parameters,
    QuarantineQuery,
    StatisticsQuery,
    TrackersQuery,
    window_seconds,
)

PathValues = Mapping[str, str]


class ReadEndpoint(NamedTuple):
    """One thing that can be asked with GET. `answer` reads from the database: call it in a thread."""

    path: str
    summary: str
    asked: type[Parameters]
    shape: type[shapes.Schema]
    answer: Callable[[Any, PathValues], dict[str, Any]]


class ReadEndpoints:
    """Answers from one database. `sources` read stored bodies again; `targets` are those of the settings."""

    def __init__(self, database: Database, sources: tuple[Source, ...], targets: tuple[ConfiguredTargets, ...] = ()) -> None:
        self._database = database
        self._sources = sources
        self._targets = targets

    def table(self) -> tuple[ReadEndpoint, ...]:
        """Return all questions; a path with more in it stands before one that would swallow it."""
        return (
            ReadEndpoint("/trackers", "Trackers, last moved first", TrackersQuery, shapes.TrackerList, self._trackers),
            ReadEndpoint(
                "/trackers/{source}/{tracker_id:path}",
                "A tracker and its timeline, newest occurrence first",
                EmptyQuery,
                shapes.TrackerAnswer,
                self._tracker,
            ),
            ReadEndpoint(
                "/messages/{message_id:path}",
                "What happened to a message, and why",
                EmptyQuery,
                shapes.MessageAnswer,
                self._message,
            ),
            ReadEndpoint("/deliveries", "Calls, newest first", DeliveriesQuery, shapes.DeliveryList, self._deliveries),
            ReadEndpoint("/deliveries/{id}", "A call as it came, our answer", EmptyQuery, shapes.DeliveryAnswer, self._delivery),
            ReadEndpoint("/quarantine", "What waits for a decision", QuarantineQuery, shapes.QuarantineList, self._quarantine),
            ReadEndpoint("/stats", "Counts, rate, lag, sizes", StatisticsQuery, shapes.StatisticsAnswer, self._statistics),
            ReadEndpoint("/alarms", "What is, or was, wrong", AlarmsQuery, shapes.Alarms, self._alarms),
            ReadEndpoint("/targets", "Who is told of changes, and what waits", EmptyQuery, shapes.Targets, self._told),
            ReadEndpoint("/targets/dead", "Changes that were given up", DeadQuery, shapes.Dead, self._dead),
            ReadEndpoint("/audit", "What operators changed, newest first", Paged, shapes.Audit, self._audit),
        )

    def _trackers(self, asked: TrackersQuery, _path: PathValues) -> dict[str, Any]:
        stuck_since = None
        if asked.stuck_days is not None:
            stuck_since = max(0, clock.to_micros(clock.now()) - timedelta(days=asked.stuck_days) // timedelta(microseconds=1))
        wanted = queries.TrackerFilter(
            asked.q,
            asked.source,
            asked.milestone,
            asked.updated_before,
            asked.updated_after,
            stuck_since,
            milestone_differs=asked.milestone_differs,
        )
        return queries.list_trackers(self._database, wanted, asked.limit, asked.cursor).as_json()

    def _tracker(self, _asked: EmptyQuery, path: PathValues) -> dict[str, Any]:
        return queries.show_tracker(self._database, path["source"], path["tracker_id"])

    def _message(self, _asked: EmptyQuery, path: PathValues) -> dict[str, Any]:
        return explain.explain_message(self._database, self._sources, path["message_id"])

    def _deliveries(self, asked: DeliveriesQuery, _path: PathValues) -> dict[str, Any]:
        names = ("source", "status", "outcome", "client", "since", "until", "message_id", "tracking_number")
        wanted = queries.DeliveryFilter(**{name: getattr(asked, name) for name in names})
        return queries.list_deliveries(self._database, wanted, NAMES, asked.limit, asked.cursor).as_json()

    def _delivery(self, _asked: EmptyQuery, path: PathValues) -> dict[str, Any]:
        return explain.explain_delivery(queries.show_delivery(self._database, path["id"]))

    def _quarantine(self, asked: QuarantineQuery, _path: PathValues) -> dict[str, Any]:
        return queries.list_quarantine(self._database, asked.source, asked.reason, asked.limit, asked.cursor).as_json()

    def _statistics(self, asked: StatisticsQuery, _path: PathValues) -> dict[str, Any]:
        until = clock.to_micros(clock.now())
        since = until - window_seconds(asked.window) * 1_000_000
        return queries.show_statistics(self._database, asked.window, since, until, NAMES)

    def _alarms(self, asked: AlarmsQuery, _path: PathValues) -> dict[str, Any]:
        return {"items": queries.list_alarms(self._database, only_on=asked.state == "on"), "next": None}

    def _told(self, _asked: EmptyQuery, _path: PathValues) -> dict[str, Any]:
        return {"items": describe_targets(self._database, self._targets), "next": None}

    def _dead(self, asked: DeadQuery, _path: PathValues) -> dict[str, Any]:
        return queries.list_dead(self._database, asked.target, asked.limit, asked.cursor).as_json()

    def _audit(self, asked: Paged, _path: PathValues) -> dict[str, Any]:
        return queries.list_audit(self._database, asked.limit, asked.cursor).as_json()
