"""A vendor and a database with gaps of every cause between them, and what a reconciliation has to find.

The causes are those of the guide Recover: all tries failed, something else answered, a tracker that was never heard of, a history
that is incomplete or missing.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests.harness.ship24 import Item, body, event, item
from tests.harness.ship24_api import FakeShip24, VendorTracker, say, say_error, say_text
from tests.harness.store import Store

_HTML = say_text(200, "<html>Please wait</html>")
_GROUP = 100  # messages that are stored at once
Fill = Callable[[FakeShip24, str, "Gaps"], list[Item]]


@dataclass
class Gaps:
    """What the first reconciliation of all trackers has to report, and the events that have to be there after it."""

    report: Counter[str] = field(default_factory=Counter)
    events: set[tuple[str, str]] = field(default_factory=set)
    later: set[tuple[str, str]] = field(default_factory=set)
    """Those that only a second run can find, because the vendor fails in the first one."""

    def expect(self, tracker: VendorTracker, **report: int) -> None:
        """Expect the events of a tracker, and these numbers in the report."""
        self.report.update({"examined": 1, **report})
        self.events |= {(tracker.tracker_id, each["eventId"]) for each in tracker.events}


def make_gaps(vendor: FakeShip24, store: Store, trackers: int, every: int = 50) -> Gaps:
    """Fill a vendor and a database; return what is missing between them.

    Each cause comes once in `every` trackers, at least fifty; the others are complete.
    """
    gaps = Gaps()
    waiting: list[Item] = []
    for number in range(trackers):
        fill = _FILLS.get(number % every, _fill_complete)
        waiting += fill(vendor, f"t{number:06}", gaps)
        if len(waiting) >= _GROUP:
            store.keep(body(*waiting))
            waiting.clear()
    store.keep(body(*waiting))
    return gaps


def _travel(tracker_id: str, last: int = 2) -> Iterator[Item]:
    for number in range(1, last + 1):
        happened = event(f"{tracker_id}-event-{number}", f"2025-05-0{number}T10:00:00")
        yield item(f"{tracker_id}-message-{number}", tracker_id, [happened])


def _send(vendor: FakeShip24, tracker_id: str, status: str = "success", **fields: bool) -> tuple[VendorTracker, list[Item]]:
    """Let the vendor send two messages, the second of which ended with `status`."""
    tracker = vendor.add(tracker_id, **fields)
    first, second = _travel(tracker_id)
    return tracker, [tracker.send(first, "success"), tracker.send(second, status)]


def _fill_complete(vendor: FakeShip24, tracker_id: str, gaps: Gaps) -> list[Item]:
    tracker, messages = _send(vendor, tracker_id)
    gaps.expect(tracker, complete=1)
    return messages


def _fail_all_tries(vendor: FakeShip24, tracker_id: str, gaps: Gaps) -> list[Item]:
    tracker, messages = _send(vendor, tracker_id, "failed")
    gaps.expect(tracker, repaired=1, messages=1, events=1)
    return messages[:1]


def _answer_elsewhere(vendor: FakeShip24, tracker_id: str, gaps: Gaps) -> list[Item]:
    tracker, messages = _send(vendor, tracker_id)
    gaps.expect(tracker, repaired=1, messages=1, events=1, delivered_elsewhere=1)
    return messages[:1]


def _leave_out_ids(vendor: FakeShip24, tracker_id: str, gaps: Gaps) -> list[Item]:
    tracker, messages = _send(vendor, tracker_id, "failed", leaves_out_ids=True)
    gaps.expect(tracker, repaired=1, messages=1, events=1)
    return messages[:1]


def _have_no_history(vendor: FakeShip24, tracker_id: str, gaps: Gaps) -> list[Item]:
    tracker, messages = _send(vendor, tracker_id, has_history=False)
    gaps.expect(tracker, repaired=1, messages=1, events=1, built_events=1, without_history=1)
    return messages[:1]


def _break_history(vendor: FakeShip24, tracker_id: str, gaps: Gaps) -> list[Item]:
    vendor.odd.append((f"{tracker_id}/webhook-history", _HTML))
    tracker, messages = _send(vendor, tracker_id)
    gaps.expect(tracker, repaired=1, messages=1, events=1, built_events=1, without_history=1)
    return messages[:1]


def _lose_proof(vendor: FakeShip24, tracker_id: str, gaps: Gaps) -> list[Item]:
    tracker, messages = _send(vendor, tracker_id, "failed")
    metadata = {"messageId": f"{tracker_id}-proof", "generatedAt": "2025-05-03T10:00:00Z", "topic": "tracking/pod"}
    tracker.send({"metadata": metadata, "tracker": messages[0]["tracker"], "data": {"status": "found"}}, "failed")
    gaps.expect(tracker, repaired=1, messages=2, events=1)
    return messages[:1]


def _never_come(vendor: FakeShip24, tracker_id: str, gaps: Gaps) -> list[Item]:
    tracker = vendor.add(tracker_id)
    for message in _travel(tracker_id):
        tracker.send(message, "failed")
    gaps.expect(tracker, repaired=1, messages=2, events=2)
    return []


def _be_unsubscribed(vendor: FakeShip24, tracker_id: str, _gaps: Gaps) -> list[Item]:
    vendor.add(tracker_id, is_subscribed=False)
    return []


def _be_unknown(_vendor: FakeShip24, tracker_id: str, gaps: Gaps) -> list[Item]:
    gaps.report.update(examined=1, unknown=1)
    return list(_travel(tracker_id))


def _know_more_here(vendor: FakeShip24, tracker_id: str, gaps: Gaps) -> list[Item]:
    tracker, messages = _send(vendor, tracker_id)
    tracker.events.pop(0)
    gaps.expect(tracker, complete=1, only_here=1)
    return messages


def _limit(vendor: FakeShip24, tracker_id: str, gaps: Gaps) -> list[Item]:
    headers = {"Retry-After": "1", "RateLimit-Remaining": "0"}
    vendor.odd.append((f"{tracker_id}/results", say_text(429, "Too many requests", **headers)))
    return _fill_complete(vendor, tracker_id, gaps)


def _fail_for_a_moment(vendor: FakeShip24, tracker_id: str, gaps: Gaps) -> list[Item]:
    vendor.odd.append((f"{tracker_id}/results", say_text(502, "<html>Bad gateway</html>")))
    return _fail_all_tries(vendor, tracker_id, gaps)


def _fail_for_good(vendor: FakeShip24, tracker_id: str, gaps: Gaps) -> list[Item]:
    vendor.odd += [(f"{tracker_id}/results", say_error(500, "internal_error"))] * 5
    return _fail_in_first_run(vendor, tracker_id, gaps)


def _say_nothing(vendor: FakeShip24, tracker_id: str, gaps: Gaps) -> list[Item]:
    vendor.odd.append((f"{tracker_id}/results", say(200, {"data": None})))
    return _fail_in_first_run(vendor, tracker_id, gaps)


def _fail_in_first_run(vendor: FakeShip24, tracker_id: str, gaps: Gaps) -> list[Item]:
    tracker, messages = _send(vendor, tracker_id, "failed")
    gaps.report.update(failed=1)
    gaps.later |= {(tracker_id, each["eventId"]) for each in tracker.events}
    return messages[:1]


_FILLS: dict[int, Fill] = {
    1: _fail_all_tries,
    4: _answer_elsewhere,
    7: _leave_out_ids,
    10: _have_no_history,
    13: _break_history,
    16: _lose_proof,
    19: _never_come,
    22: _be_unsubscribed,
    25: _be_unknown,
    28: _know_more_here,
    31: _limit,
    34: _fail_for_a_moment,
    37: _fail_for_good,
    40: _say_nothing,
}
