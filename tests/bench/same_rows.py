"""Checks that the other handlers are compared fairly: after the same traffic, each answers and stores the same."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from tests.bench.driven_service import Benchmark, DrivenService
from tests.harness import ship24
from tests.harness.rows import table_rows

_HANDLERS = ("usual", "fastify")
_STATE = ("status", "status_code", "status_milestone", "location", "latest_occurrence", "latest_order")
_COUNTS = ("applied", "stale", "duplicate")


class Stored(NamedTuple):
    """What a handler made of the traffic: answers, and the rows of both of its tables."""

    answers: list[Any]
    messages: list[dict[str, Any]]
    trackers: list[dict[str, Any]]


def compare(bench: Benchmark) -> None:
    """Send the same to all handlers that can run. Raises RuntimeError if two of them differ."""
    for name, on_postgresql in bench.databases():
        kinds = [kind for kind in _HANDLERS if bench.can_run(kind, on_postgresql=on_postgresql)]
        bench.tell(f"the same traffic to {' and '.join(kinds)}, {name}")
        found = {kind: _try(bench, kind, on_postgresql=on_postgresql) for kind in kinds}
        if any(stored != found["usual"] for stored in found.values()):
            raise RuntimeError(f"The handlers differ on {name}: {json.dumps(found, indent=1)}")


def _try(bench: Benchmark, kind: str, *, on_postgresql: bool) -> Stored:
    with bench.places.fresh(on_postgresql=on_postgresql) as place, bench.totals.drive(kind, place) as driven:
        answers = [_post(driven, body) for body in make_traffic()]
        answers += [_post(driven, b"[]"), _post(driven, next(make_traffic()), token="wrong")]
        columns = ("message_id", "tracker_id", "outcome", "payload")
        messages = [
            {**row, "payload": _read(row["payload"])} for row in table_rows(place.url, "message", *columns, order="message_id")
        ]
        trackers = table_rows(place.url, "tracker", "tracker_id", "tracking_number", *_STATE, order="tracker_id")
        return Stored(answers, messages, trackers)


def make_traffic() -> Iterator[bytes]:
    """Give new, later, earlier and repeated messages, alone and in groups."""
    yield _body("first", "a", ("2025-03-01T10:00:00", 1))
    yield _body("later", "a", ("2025-03-02T10:00:00", 2))
    yield _body("earlier", "a", ("2025-03-01T12:00:00", 3))
    yield _body("same time, next", "a", ("2025-03-02T10:00:00", 3))
    yield _body("same time, before", "a", ("2025-03-02T10:00:00", 1))
    yield _body("later", "a", ("2025-03-02T10:00:00", 2))
    yield _body("two events", "b", ("2025-03-01T10:00:00", 1), ("2025-03-03T10:00:00.5", 2))
    yield _body("nothing", "b")
    group = [_item("grouped", "b", ("2025-03-04T10:00:00", 3)), _item("first", "a", ("2025-03-09T10:00:00", 9))]
    yield ship24.body(
        *group, _item("new in a group", "c", ("2025-03-01T10:00:00", 1)), _item("stale", "b", ("2025-03-02T10:00:00", 1))
    )
    yield ship24.body()


def _body(message: str, tracker: str, *events: tuple[str, int]) -> bytes:
    return ship24.body(_item(message, tracker, *events))


def _item(message: str, tracker: str, *events: tuple[str, int]) -> ship24.Item:
    told = [ship24.event(f"{tracker} {order}", occurrence, order=order) for occurrence, order in events]
    return ship24.item(message, tracker, told)


def _post(driven: DrivenService, body: bytes, token: str | None = None) -> Any:
    """Return the counts of an answer, or whose mistake it tells of."""
    headers = {"Authorization": f"Bearer {token or driven.target.token}", "Content-Type": "application/json"}
    try:
        with urlopen(Request(driven.target.url, body, headers), timeout=30) as answer:
            counts = json.load(answer)
    except HTTPError as error:
        return "unauthorized" if error.code == 401 else f"{error.code // 100}xx"
    return {name: counts[name] for name in _COUNTS}


def _read(payload: Any) -> Any:
    return json.loads(payload) if isinstance(payload, str) else payload
