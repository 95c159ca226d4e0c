"""The alarm monitor: reads facts, applies the rules, records the alarms that began or ended, and sends notices.

Several processes may monitor one database. The process whose write switches an alarm on or off sends the notice.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

import structlog

from receiver import clock
from receiver.domain.alarms import (
    LEARNING_WINDOW,
    Alarm,
    AlarmFacts,
    AlarmKey,
    AlarmThresholds,
    find_alarms,
    learn_gap,
)
from receiver.domain.notices import Notice
from receiver.domain.storable import make_storable
from receiver.domain.traffic import (
    DAY,
    HOUR,
    MINUTE,
    REFUSED_CODES,
    REFUSED_WINDOW,
    STREAK_WINDOW,
    Traffic,
    find_quarantined_streak,
    find_refused_streak,
)
from receiver.errors import ReceiverError, StorageUnavailable
from receiver.monitoring.health import read_disk
from receiver.processes.repeating import repeat
from receiver.sources import NAMES
from receiver.storage import queries
from receiver.storage.additions import explain_additions, find_additions
from receiver.storage.database import Database
from receiver.storage.queries import reconciliation
from receiver.writer.commands.alarms import BeginAlarm, EndAlarm, TakeNotice, UpdateAlarm
from receiver.writer.executor import Do

STEP_SECONDS = 30.0
"""The time between two steps."""

NOTICE_OVERDUE = 5 * MINUTE
"""A notice older than this was left by a process that ended: a running one needs less time for all its attempts."""

MAX_NOTICE_AGE = DAY
"""A notice older than this is not sent any more."""

_MAX_FOUND = 10_000  # deliveries; more are not counted

_log = structlog.get_logger()


class AlarmMonitor:
    """Checks again and again which alarms should be on.

    `do` executes a writer command in a transaction. `notify` takes a notice and does not wait. `started_at` is the start of this
    process, in microseconds. `take_failures` says of each channel whether its last notice failed.
    """

    def __init__(
        self,
        rules: AlarmThresholds,
        database: Database,
        do: Do,
        notify: Callable[[Notice], None],
        started_at: int,
        step_seconds: float = STEP_SECONDS,
        take_failures: Callable[[], Mapping[str, bool | None]] = dict,
    ) -> None:
        self._rules = rules
        self._database = database
        self._do = do
        self._notify = notify
        self._started_at = started_at
        self._step_seconds = step_seconds
        self._take_failures = take_failures
        self._on: Sequence[dict[str, Any]] = ()
        self._due: dict[Notice, int] = {}
        self._settled: SimpleQueue[Notice] = SimpleQueue()
        self._wake: Callable[[], object] = _nothing
        self._is_first = True

    def on(self) -> Sequence[dict[str, Any]]:
        """Return the alarms that were on after the last step, as rows of `queries.list_alarms`."""
        return self._on

    async def run(self) -> None:
        """Take a step again and again. A failed step is logged and does not end the loop."""
        await repeat("alarm_monitor_failed", self._step_now, again_seconds=self._step_seconds)

    async def _step_now(self) -> float:
        await self.step(clock.to_micros(clock.now()))
        return self._step_seconds

    def note_settled(self, notice: Notice) -> None:
        """Note that a notice was sent or has failed. Any thread may call this."""
        self._settled.put(notice)
        with suppress(RuntimeError):  # the loop has ended
            self._wake()

    async def run_settling(self) -> None:
        """Record settled notices as they come."""
        loop, settled = asyncio.get_running_loop(), asyncio.Event()
        self._wake = partial(loop.call_soon_threadsafe, settled.set)
        while True:
            settled.clear()
            await self.settle()
            await settled.wait()

    async def settle(self) -> None:
        """Record settled notices. If that fails, another process sends them again."""
        with suppress(Empty):
            while True:
                notice = self._settled.get_nowait()
                due_at = self._due.pop(notice, None)
                with suppress(ReceiverError):
                    if due_at is not None:
                        await self._do(TakeNotice(notice.alarm, notice.subject, due_at, None))

    async def step(self, now: int) -> None:
        """Check once. Raises ReceiverError if the database fails; notices of alarms that were already switched are sent."""
        facts, rows = await asyncio.to_thread(self._read, now)
        before = {AlarmKey(row["name"], row["subject"]): row for row in rows}
        wanted = {alarm.key: alarm for alarm in find_alarms(facts, self._rules, now, before.keys())}
        for key, alarm in wanted.items():
            if key not in before:
                await self._begin(alarm, now)
        for key, row in before.items():
            if key not in wanted:
                await self._end(row, now)
        going_on = [alarm for key, alarm in wanted.items() if key in before]
        reworded = [alarm for alarm in going_on if make_storable(alarm.message) != before[alarm.key]["message"]]
        for alarm in reworded:
            await self._do(UpdateAlarm(alarm.name, alarm.subject, alarm.message))
        await self._send_unsent(now)
        changed = bool(reworded) or wanted.keys() != before.keys()
        self._on = await asyncio.to_thread(queries.list_alarms, self._database, only_on=True) if changed else rows

    async def _begin(self, alarm: Alarm, now: int) -> None:
        if await self._do(BeginAlarm(alarm.name, alarm.subject, now, alarm.message)):
            _log.warning("alarm_began", alarm=alarm.name, subject=alarm.subject, message=alarm.message)
            self._send(Notice(alarm.name, alarm.subject, "began", alarm.message, clock.iso(now)), now)

    async def _end(self, row: dict[str, Any], now: int) -> None:
        if await self._do(EndAlarm(row["name"], row["subject"], now)):
            _log.info("alarm_ended", alarm=row["name"], subject=row["subject"], message=row["message"])
            self._send(Notice(row["name"], row["subject"], "ended", row["message"], row["began_at"], clock.iso(now)), now)

    def _send(self, notice: Notice, due_at: int) -> None:
        self._due[notice] = due_at
        self._notify(notice)

    async def _send_unsent(self, now: int) -> None:
        """Send notices of ended processes: all that wait when a single writer starts, otherwise the overdue ones."""
        is_alone, self._is_first = self._is_first and self._database.has_one_writer, False
        until = now if is_alone else now - NOTICE_OVERDUE
        for row in await asyncio.to_thread(queries.find_due_notices, self._database, now - MAX_NOTICE_AGE, until):
            due_at = row["notice_due_at"]
            take = TakeNotice(row["name"], row["subject"], due_at, now)
            if due_at in self._due.values() or not await self._do(take):
                continue
            state = "began" if row["ended_at"] is None else "ended"
            self._send(Notice(row["name"], row["subject"], state, row["message"], row["began_at"], row["ended_at"]), now)

    def _read(self, now: int) -> tuple[AlarmFacts, list[dict[str, Any]]]:
        recent = queries.read_tallies(self._database, now - HOUR, now, now=now)
        history = queries.read_tallies(self._database, now - LEARNING_WINDOW, now, now=now)
        last_deliveries = _find_last_deliveries(self._database)
        traffic = {source: _sum_up(source, recent, history, last_deliveries[source], now) for source in NAMES}
        traffic = {source: self._add_streaks(source, found, now) for source, found in traffic.items()}
        undecidable = queries.find_undecidable(self._database, now - DAY)
        traffic = {name: found._replace(undecidable=len(undecidable.get(name, ()))) for name, found in traffic.items()}
        disk, running = read_disk(self._database), queries.read_processes(self._database, now)
        due, failures = queries.find_oldest_due(self._database), self._take_failures()
        additions = self._read_additions() if any(cell.code == StorageUnavailable.code for cell in recent) else None
        missed = {"ship24": reconciliation.count_found(self._database, now - DAY, _MAX_FOUND)}
        facts = AlarmFacts(self._started_at, traffic, disk, due, running, failures, missed, additions)
        return facts, queries.list_alarms(self._database, only_on=True)

    def _read_additions(self) -> str | None:
        with self._database.read() as connection:
            additions = find_additions(connection)
        return explain_additions(additions) if additions else None

    def _add_streaks(self, source: str, traffic: Traffic, now: int) -> Traffic:
        if source not in self._rules.silence_hours:  # it has no token any more: nothing can get in
            return traffic
        newest = queries.read_results(self._database, source, now - STREAK_WINDOW)
        refused, quarantined = find_refused_streak(newest), find_quarantined_streak(newest)
        return traffic._replace(refused_streak=refused, quarantined_streak=quarantined)


def _nothing() -> None:
    """Do nothing: there is no loop to wake yet."""


def _find_last_deliveries(database: Database) -> dict[str, int | None]:
    with database.read() as connection:
        found = {source: queries.read_last_delivery(connection, source) for source in NAMES}
    return {source: None if at is None else clock.to_micros(datetime.fromisoformat(at)) for source, at in found.items()}


def _sum_up(
    source: str, recent: Iterable[queries.Cell], history: Iterable[queries.Cell], last_delivery_at: int | None, now: int
) -> Traffic:
    cells = [cell for cell in recent if cell.source == source]
    refusals = [cell for cell in cells if cell.code in REFUSED_CODES]
    known = [cell for cell in history if cell.source == source]
    today = [cell for cell in known if cell.begins_at > now - DAY]
    by_hour = Counter[int]()
    for cell in today:
        by_hour[cell.begins_at] += cell.numbers["received"]
    return Traffic(
        last_delivery_at,
        learn_gap((cell.begins_at for cell in known if cell.numbers["received"]), now),
        refused=_total((cell for cell in refusals if now - cell.begins_at < REFUSED_WINDOW + MINUTE), "calls"),
        quarantined=_total(cells, "quarantined"),
        applied=_total(cells, "applied"),
        stale=_total(cells, "stale"),
        refused_hourly=_total(refusals, "calls"),
        deliveries_hourly=_total(cells, "calls"),
        messages=_total(cells, "received"),
        applied_daily=_total(today, "applied"),
        stale_daily=_total(today, "stale"),
        busiest_hour=max(by_hour.values(), default=0),
    )


def _total(cells: Iterable[queries.Cell], name: str) -> int:
    return sum(cell.numbers[name] for cell in cells)
