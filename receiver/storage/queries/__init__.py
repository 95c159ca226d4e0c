"""All reads for operators: the API, the console and the command line use these queries. None of them writes.

Results are plain values for JSON: our own times as ISO 8601 UTC, a courier's times as written. Every list reads a bounded number
of rows.
"""

from receiver.storage.processes import read_processes
from receiver.storage.queries.change_list import STATE_FILTERS, STATES, ChangeFilter, list_changes
from receiver.storage.queries.deliveries import DeliveryFilter, StoredDelivery, list_deliveries, show_delivery
from receiver.storage.queries.ids import complete_delivery_id, find_deliveries, find_messages, find_starting_messages
from receiver.storage.queries.message_list import NOT_APPLIED, MessageFilter, list_messages
from receiver.storage.queries.messages import find_events, show_message
from receiver.storage.queries.neighbours import (
    Neighbours,
    find_delivery_neighbours,
    find_message_neighbours,
    find_tracker_neighbours,
)
from receiver.storage.queries.pages import MAX_LIMIT, SORTS, ResultPage, Total, count_items
from receiver.storage.queries.persons import find_persons
from receiver.storage.queries.quarantine import (
    QUARANTINE_STATES,
    SHOWN_RAW_BYTES,
    QuarantineFilter,
    find_items,
    find_quarantined_deliveries,
    list_quarantine,
)
from receiver.storage.queries.refusals import list_unknown_paths
from receiver.storage.queries.service import (
    MAX_QUARANTINED,
    count_quarantined,
    find_due_notices,
    find_undecidable,
    list_alarms,
    list_audit,
    read_results,
    setup_windows,
)
from receiver.storage.queries.states import FINAL_MILESTONES, TrackerFilter
from receiver.storage.queries.statistics import (
    Cell,
    count_refusals,
    find_first_accepted,
    read_lag,
    read_last_delivery,
    read_tallies,
    show_statistics,
    sum_tallies,
)
from receiver.storage.queries.targets import (
    MAX_COUNTED,
    TargetCounts,
    check_named,
    check_target,
    check_unnamed,
    count_changes,
    find_oldest_due,
    list_dead,
    list_target_names,
    show_targets,
)
from receiver.storage.queries.tokens import describe_tokens, removed_tokens, token_uses
from receiver.storage.queries.trackers import find_tracker, list_by_ending, list_trackers, show_tracker

__all__ = [
    "FINAL_MILESTONES",
    "MAX_COUNTED",
    "MAX_LIMIT",
    "MAX_QUARANTINED",
    "NOT_APPLIED",
    "QUARANTINE_STATES",
    "SHOWN_RAW_BYTES",
    "SORTS",
    "STATES",
    "STATE_FILTERS",
    "Cell",
    "ChangeFilter",
    "DeliveryFilter",
    "MessageFilter",
    "Neighbours",
    "QuarantineFilter",
    "ResultPage",
    "StoredDelivery",
    "TargetCounts",
    "Total",
    "TrackerFilter",
    "check_named",
    "check_target",
    "check_unnamed",
    "complete_delivery_id",
    "count_changes",
    "count_items",
    "count_quarantined",
    "count_refusals",
    "describe_tokens",
    "find_deliveries",
    "find_delivery_neighbours",
    "find_due_notices",
    "find_events",
    "find_first_accepted",
    "find_items",
    "find_message_neighbours",
    "find_messages",
    "find_oldest_due",
    "find_persons",
    "find_quarantined_deliveries",
    "find_starting_messages",
    "find_tracker",
    "find_tracker_neighbours",
    "find_undecidable",
    "list_alarms",
    "list_audit",
    "list_by_ending",
    "list_changes",
    "list_dead",
    "list_deliveries",
    "list_messages",
    "list_quarantine",
    "list_target_names",
    "list_trackers",
    "list_unknown_paths",
    "read_lag",
    "read_last_delivery",
    "read_processes",
    "read_results",
    "read_tallies",
    "removed_tokens",
    "setup_windows",
    "show_delivery",
    "show_message",
    "show_statistics",
    "show_targets",
    "show_tracker",
    "sum_tallies",
    "token_uses",
]
