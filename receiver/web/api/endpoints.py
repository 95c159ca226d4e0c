"""The GET endpoints as one table: path, parameters, schema of the answer, and the query behind it."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from receiver import clock
from receiver.domain.reconciliation import MAX_RECONCILIATIONS, describe_run
from receiver.monitoring import explain
from receiver.monitoring.downtime import DEFAULT_SPAN, describe_downtime, read_downtimes
from receiver.monitoring.overview import read_overview
from receiver.monitoring.search import search_everything
from receiver.relay.assembly import ConfiguredTarget, describe_targets
from receiver.sources import NAMES, Source
from receiver.storage import queries
from receiver.storage.customers import list_customer_lists, require_customer_list, search_customers
from receiver.storage.database import Database
from receiver.storage.queries.reconciliation import list_reconciliations
from receiver.web.api.parameters import (
    AlarmsQuery,
    ChangesQuery,
    CustomersQuery,
    DeadQuery,
    DeliveriesQuery,
    DowntimeQuery,
    EmptyQuery,
    MessagesQuery,
    PageQuery,
    Parameters,
    PersonsQuery,
    QuarantineQuery,
    SearchQuery,
    StatisticsQuery,
    TrackersQuery,
    window_seconds,
)
from receiver.web.api.schemas.commands import CustomerItem, CustomerListItem
from receiver.web.api.schemas.deliveries import DeliveryAnswer, DeliveryItem, QuarantineItem
from receiver.web.api.schemas.recovery import DowntimeItem, ReconciliationItem
from receiver.web.api.schemas.root import ItemList, Schema
from receiver.web.api.schemas.search import SearchAnswer
from receiver.web.api.schemas.service import AlarmItem, AuditItem, DeadItem, OverviewAnswer, StatisticsAnswer, TargetItem
from receiver.web.api.schemas.trackers import MessageAnswer, MessageItem, PersonItem, TargetChangeItem, TrackerAnswer, TrackerItem

PREFIX = "/ops/api"
"""The beginning of every path of the API."""

PathValues = Mapping[str, str]


class ReadContext(NamedTuple):
    """The data behind the answers.

    `sources` parse stored bodies; `targets` are those of the settings; `active_sources` are the names of the sources that are on.
    """

    database: Database
    sources: tuple[Source, ...]
    targets: tuple[ConfiguredTarget, ...]
    active_sources: tuple[str, ...]


class ReadEndpoint(NamedTuple):
    """One GET endpoint. `answer` reads from the database: call it in a thread."""

    path: str
    summary: str
    query: type[Parameters]
    schema: type[Schema]
    answer: Callable[[ReadContext, Any, PathValues], dict[str, Any]]


def _search(context: ReadContext, query: SearchQuery, _path: PathValues) -> dict[str, Any]:
    return search_everything(context.database, query.q, query.limit).as_json()


def _list_trackers(context: ReadContext, query: TrackersQuery, _path: PathValues) -> dict[str, Any]:
    return queries.list_trackers(context.database, query.to_filter(clock.now()), query.limit, query.cursor).as_json()


def _show_tracker(context: ReadContext, _query: EmptyQuery, path: PathValues) -> dict[str, Any]:
    subscriptions = [known.subscription for known in context.targets]
    return queries.show_tracker(context.database, path["source"], path["tracker_id"], subscriptions)


def _list_messages(context: ReadContext, query: MessagesQuery, _path: PathValues) -> dict[str, Any]:
    return queries.list_messages(context.database, query.to_filter(), query.limit, query.cursor).as_json()


def _explain_message(context: ReadContext, _query: EmptyQuery, path: PathValues) -> dict[str, Any]:
    return explain.explain_message(context.database, context.sources, path["message_id"])


def _list_deliveries(context: ReadContext, query: DeliveriesQuery, _path: PathValues) -> dict[str, Any]:
    return queries.list_deliveries(context.database, query.to_filter(), NAMES, query.limit, query.cursor).as_json()


def _explain_delivery(context: ReadContext, _query: EmptyQuery, path: PathValues) -> dict[str, Any]:
    return explain.explain_delivery(queries.show_delivery(context.database, path["id"]))


def _list_quarantine(context: ReadContext, query: QuarantineQuery, _path: PathValues) -> dict[str, Any]:
    return queries.list_quarantine(context.database, query.to_filter(), query.limit, query.cursor).as_json()


def _show_statistics(context: ReadContext, query: StatisticsQuery, _path: PathValues) -> dict[str, Any]:
    until = clock.to_micros(clock.now())
    since = until - window_seconds(query.window) * 1_000_000
    return queries.show_statistics(context.database, query.window, since, until, NAMES, now=until)


def _show_overview(context: ReadContext, _query: EmptyQuery, _path: PathValues) -> dict[str, Any]:
    return read_overview(context.database, context.active_sources, clock.now()).as_json()


def _list_alarms(context: ReadContext, query: AlarmsQuery, _path: PathValues) -> dict[str, Any]:
    return {"items": queries.list_alarms(context.database, only_on=query.state == "on"), "next": None}


def _list_downtimes(context: ReadContext, query: DowntimeQuery, _path: PathValues) -> dict[str, Any]:
    now = clock.now()
    since = clock.to_micros(now - DEFAULT_SPAN) if query.since is None else query.since
    found = read_downtimes(context.database, since, clock.to_micros(now))
    return {"items": [describe_downtime(downtime, context.active_sources) for downtime in found], "next": None}


def _list_reconciliations(context: ReadContext, _query: EmptyQuery, _path: PathValues) -> dict[str, Any]:
    found = list_reconciliations(context.database, MAX_RECONCILIATIONS)
    return {"items": [describe_run(row) for row in found], "next": None}


def _list_targets(context: ReadContext, _query: EmptyQuery, _path: PathValues) -> dict[str, Any]:
    return {"items": describe_targets(context.database, context.targets), "next": None}


def _list_changes(context: ReadContext, query: ChangesQuery, _path: PathValues) -> dict[str, Any]:
    return queries.list_changes(context.database, query.to_filter(context.database), query.limit, query.cursor).as_json()


def _list_dead(context: ReadContext, query: DeadQuery, _path: PathValues) -> dict[str, Any]:
    return queries.list_dead(context.database, query.target, query.limit, query.cursor).as_json()


def _list_audit(context: ReadContext, query: PageQuery, _path: PathValues) -> dict[str, Any]:
    return queries.list_audit(context.database, query.limit, query.cursor).as_json()


def _list_customers(context: ReadContext, query: CustomersQuery, _path: PathValues) -> dict[str, Any]:
    latest = require_customer_list(context.database)
    return search_customers(context.database, latest.id, query.q or "", query.limit, query.cursor).as_json()


def _list_customer_lists(context: ReadContext, _query: EmptyQuery, _path: PathValues) -> dict[str, Any]:
    return {"items": list_customer_lists(context.database), "next": None}


def _list_persons(context: ReadContext, query: PersonsQuery, _path: PathValues) -> dict[str, Any]:
    return queries.find_persons(context.database, query.q, query.limit, query.cursor).as_json()


READ_ENDPOINTS = (
    ReadEndpoint("/search", "Trackers, messages, deliveries and customers", SearchQuery, SearchAnswer, _search),
    ReadEndpoint("/trackers", "Trackers, last updated first", TrackersQuery, ItemList[TrackerItem], _list_trackers),
    ReadEndpoint(
        "/trackers/{source}/{tracker_id:sender_id}",
        "A tracker and its timeline, newest occurrence first",
        EmptyQuery,
        TrackerAnswer,
        _show_tracker,
    ),
    ReadEndpoint("/messages", "Messages and their verdicts, newest first", MessagesQuery, ItemList[MessageItem], _list_messages),
    ReadEndpoint(
        "/messages/{message_id:sender_id}", "What happened to a message, and why", EmptyQuery, MessageAnswer, _explain_message
    ),
    ReadEndpoint("/deliveries", "Deliveries, newest first", DeliveriesQuery, ItemList[DeliveryItem], _list_deliveries),
    ReadEndpoint("/deliveries/{id}", "A delivery and our answer", EmptyQuery, DeliveryAnswer, _explain_delivery),
    ReadEndpoint("/quarantine", "Messages and events in quarantine", QuarantineQuery, ItemList[QuarantineItem], _list_quarantine),
    ReadEndpoint("/stats", "Counts, rate, delay, sizes", StatisticsQuery, StatisticsAnswer, _show_statistics),
    ReadEndpoint("/overview", "What needs attention", EmptyQuery, OverviewAnswer, _show_overview),
    ReadEndpoint("/alarms", "Alarms, past and present", AlarmsQuery, ItemList[AlarmItem], _list_alarms),
    ReadEndpoint(
        "/changes",
        "Changes for targets: failing, failed for good, waiting, delivered",
        ChangesQuery,
        ItemList[TargetChangeItem],
        _list_changes,
    ),
    ReadEndpoint("/persons", "Trackers that mention a person, for an erasure", PersonsQuery, ItemList[PersonItem], _list_persons),
    ReadEndpoint("/targets", "Targets and their waiting changes", EmptyQuery, ItemList[TargetItem], _list_targets),
    ReadEndpoint("/targets/dead", "Failed changes", DeadQuery, ItemList[DeadItem], _list_dead),
    ReadEndpoint("/customers", "Customers by code", CustomersQuery, ItemList[CustomerItem], _list_customers),
    ReadEndpoint(
        "/customers/lists",
        "The served customer list, then those that can be restored, newest first",
        EmptyQuery,
        ItemList[CustomerListItem],
        _list_customer_lists,
    ),
    ReadEndpoint(
        "/downtime", "When deliveries may have been lost, last first", DowntimeQuery, ItemList[DowntimeItem], _list_downtimes
    ),
    ReadEndpoint(
        "/reconciliations",
        "The last reconciliations, newest first",
        EmptyQuery,
        ItemList[ReconciliationItem],
        _list_reconciliations,
    ),
    ReadEndpoint("/audit", "Changes by operators, newest first", PageQuery, ItemList[AuditItem], _list_audit),
)
"""All GET endpoints."""
