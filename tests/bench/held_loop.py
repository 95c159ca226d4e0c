"""How long the largest allowed calls hold up the others: the longest wait for `/healthz` while one of them is sent and decided.

Two are as large as may be, and go to the writing process. One is as large as what the service parses itself, with the content
that takes longest. The service's event loop answers `/healthz` without a database, so a wait is the time that the loop was held,
and what the machine needs besides.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.client import HTTPConnection
from statistics import median
from threading import Event, Thread
from time import perf_counter, sleep
from typing import NamedTuple
from urllib.parse import urlsplit

from rich.table import Table

from receiver.domain.reading import MAX_ITEMS
from receiver.web.webhooks import MAX_READ_HERE_BYTES
from tests.bench.driven_service import Benchmark, DrivenService
from tests.bench.report import make_table
from tests.harness import ship24

_MESSAGES = MAX_ITEMS // 2  # an item and its event count as two
_STATUS = "Arrived at the sorting centre. " * 13
_KEYS = 200_000
_KEYS_READ_HERE = MAX_READ_HERE_BYTES // 18  # a key of `_make_keys` takes less than 18 bytes
_PAUSE_SECONDS = 0.001
_IDLE_SECONDS = 1.0


class Line(NamedTuple):
    """Calls of one kind: the size, durations in ms by call, and the longest wait beside each."""

    name: str
    body_bytes: int
    took_ms: Sequence[float]
    waits_ms: Sequence[float]


class _Call(NamedTuple):
    name: str
    path: str
    token: str
    make_body: Callable[[], bytes]


def measure(bench: Benchmark, times: int) -> list[Line]:
    """Send each of the largest bodies so many times, and nothing for a while."""
    bench.tell("the largest allowed calls")
    with bench.places.fresh(on_postgresql=False) as place, bench.totals.drive("ours", place) as driven:
        driven.warm_up()
        idle = [_watch_idle(driven) for _ in range(times)]
        shiipp_token = driven.settings["RECEIVER_SHIIPP_TOKENS"]
        calls = [
            _Call(f"Ship24, {_MESSAGES:,} messages", "/webhooks/ship24", driven.target.token, _make_messages),
            *(
                _Call(f"Shiipp, {keys:,} keys", "/webhooks/shiipp/new-package", shiipp_token, partial(_make_keys, keys))
                for keys in (_KEYS, _KEYS_READ_HERE)
            ),
        ]
        return [Line("nothing", 0, [], idle), *(_measure_one(driven, call, times) for call in calls)]


def _measure_one(driven: DrivenService, call: _Call, times: int) -> Line:
    took, waits, size = [], [], 0
    for _ in range(times):
        body = call.make_body()
        with _watching(driven) as waited:
            began = perf_counter()
            _post(driven, call, body)
            took.append((perf_counter() - began) * 1000)
        waits.append(max(waited))
        size = len(body)
    return Line(call.name, size, took, waits)


def _watch_idle(driven: DrivenService) -> float:
    with _watching(driven) as waited:
        sleep(_IDLE_SECONDS)
    return max(waited)


@contextmanager
def _watching(driven: DrivenService) -> Iterator[list[float]]:
    """Ask for `/healthz` again and again as long as the block lasts; give the durations in ms."""
    waited: list[float] = []
    begun, over = Event(), Event()

    def ask() -> None:
        connection = _connect(driven)
        while not over.is_set():
            began = perf_counter()
            connection.request("GET", "/healthz")
            connection.getresponse().read()
            waited.append((perf_counter() - began) * 1000)
            begun.set()
            sleep(_PAUSE_SECONDS)
        connection.close()

    thread = Thread(target=ask)
    thread.start()
    begun.wait()
    waited.clear()
    try:
        yield waited
    finally:
        over.set()
        thread.join()


def _post(driven: DrivenService, call: _Call, body: bytes) -> None:
    """Send one call. Raises RuntimeError if it is not accepted."""
    connection = _connect(driven)
    headers = {"Authorization": f"Bearer {call.token}", "Content-Type": "application/json"}
    connection.request("POST", call.path, body, headers)
    answer = connection.getresponse()
    if answer.status != 200:
        raise RuntimeError(f"{call.name}: {answer.status} {answer.read()[:200]!r}")
    connection.close()


def _connect(driven: DrivenService) -> HTTPConnection:
    return HTTPConnection(urlsplit(driven.target.url).netloc, timeout=60)


def _make_messages() -> bytes:
    """Return as many new messages as are allowed; their text makes the body almost as large as it may be."""
    return ship24.body(*(ship24.item(events=[ship24.event(status=_STATUS)]) for _ in range(_MESSAGES)))


def _make_keys(keys: int) -> bytes:
    """Return a package with so many keys."""
    fields = {f"key-{number:06}": number % 1000 for number in range(keys)}
    return json.dumps({"package_id": "large", "user_code": "CODE", **fields}, separators=(",", ":")).encode()


def make_loop_table(lines: Sequence[Line]) -> Table:
    """Return sizes and durations by kind of call: medians, and the longest of all."""
    table = make_table(("beside",), ("KB", "call\nms", "longest wait\nmedian ms", "of all\nms", "calls"))
    for line in lines:
        took = f"{median(line.took_ms):,.0f}" if line.took_ms else ""
        waits = (f"{median(line.waits_ms):,.1f}", f"{max(line.waits_ms):,.1f}")
        table.add_row(line.name, f"{line.body_bytes / 1000:,.0f}", took, *waits, f"{len(line.waits_ms)}")
    return table


def read_figures(lines: Sequence[Line]) -> Iterator[tuple[str, float]]:
    """Give the figure of the report: the worst kind of calls, the median of the longest waits."""
    yield "held", max(median(line.waits_ms) for line in lines if line.took_ms)
