"""The alarm monitor: its facts, one start and one end for each alarm on several receivers, and faults that it survives."""

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from receiver.clock import iso, to_micros
from receiver.domain.alarms import AlarmThresholds
from receiver.domain.notices import Notice
from receiver.domain.traffic import DAY, HOUR, MINUTE, SECOND
from receiver.errors import StorageUnavailable
from receiver.monitoring.alarm_monitor import NOTICE_OVERDUE, AlarmMonitor
from receiver.storage import queries
from receiver.storage.counters import DOWNLOADED, KEPT_SECONDS, NUMBERS, CountKey
from receiver.storage.database import Database
from receiver.storage.transactions import Transactions
from receiver.writer.commands.deliveries import Tidy
from receiver.writer.commands.operators import NoteTokenUses
from receiver.writer.executor import CommandExecutor, R, WriterCommand
from tests.conftest import StartService
from tests.harness import ship24
from tests.harness.alarm_server import HANG, NONSENSE, alarm_server
from tests.harness.service import Service, wait_until
from tests.harness.storage import add_row, change, delete_rows, make_tables, update_rows

NOW = to_micros(datetime(2026, 11, 20, 12, 0, 30, tzinfo=UTC))
RULES = AlarmThresholds(
    {"ship24": 24, "shiipp": None}, refused=10, quarantined=5, stale_percent=50, disk_percent=0, token_days=14
)


class Watcher:
    """One process that watches, with a writing connection of its own."""

    def __init__(self, url: str, rules: AlarmThresholds) -> None:
        self.database = Database(url)
        self.told: list[Notice] = []
        self.before_write: Callable[[], Any] | None = None
        self._transactions = Transactions(self.database)
        self._executor = CommandExecutor(self.database, self._transactions)
        self._writers = count(1)
        self.watch = AlarmMonitor(rules, self.database, self.do, self.told.append, started_at=0, step_seconds=0)

    async def do(self, command: WriterCommand[R]) -> R:
        """Execute a command, as the writing process does."""
        if self.before_write is not None:
            await self.before_write()
        return await asyncio.to_thread(self._executor.do, command)

    def step(self, now: int = NOW) -> list[Notice]:
        """Look once; return the notices."""
        self.told.clear()
        asyncio.run(self.watch.step(now))
        return list(self.told)

    def on(self) -> list[tuple[str, str]]:
        return [(alarm["name"], alarm["subject"]) for alarm in self.watch.on()]

    def count(self, at: int, source: str = "ship24", outcome: str = "accepted", code: str = "", **numbers: int) -> None:
        """Count as the writing process does every few seconds."""
        totals = tuple((dict.fromkeys(NUMBERS, 0) | {"calls": 1} | numbers).values())
        writer = f"writer {next(self._writers)}"
        spans = {CountKey(span, at - at % (span * SECOND), writer, source, outcome, code): totals for span in KEPT_SECONDS}
        self._executor.do(Tidy(spans, NOW))

    def call(self, at: int, source: str = "ship24") -> None:
        """Count a delivery with a message."""
        self.count(at, source, received=1)

    def use_token(self, source: str, token: str, at: int) -> None:
        self._executor.do(NoteTokenUses({(source, token): at}))

    def close(self) -> None:
        self._transactions.close()
        self.database.close()


@contextmanager
def watching(url: str, rules: AlarmThresholds = RULES) -> Iterator[Watcher]:
    watcher = Watcher(url, rules)
    try:
        yield watcher
    finally:
        watcher.close()


@pytest.fixture
def watcher(sqlite_url: str) -> Iterator[Watcher]:
    make_tables(sqlite_url)
    with watching(sqlite_url) as watcher:
        watcher.call(NOW - HOUR)
        yield watcher


def test_many_rejected_deliveries_raise_one_alarm_that_begins_and_ends_once(watcher: Watcher) -> None:
    watcher.count(NOW - 2 * MINUTE, outcome="refused", code="unauthorized", calls=7)
    assert watcher.step() == []
    watcher.count(NOW - MINUTE, outcome="refused", code="address_not_allowed", calls=3, unrecorded=3)
    with capture_logs() as logs:
        (began,) = watcher.step()
        assert (watcher.step(NOW + 1), watcher.step(NOW + 2)) == ([], [])
        (ended,) = watcher.step(NOW + 10 * MINUTE)
    assert (began.alarm, began.subject, began.state, began.began_at, began.ended_at) == (
        "refused",
        "ship24",
        "began",
        iso(NOW),
        None,
    )
    assert began.message.startswith("10 rejected deliveries for Ship24 in 5 minutes")
    assert ended == began._replace(state="ended", ended_at=iso(NOW + 10 * MINUTE))
    assert [line["event"] for line in logs] == ["alarm_began", "alarm_ended"]
    assert watcher.on() == []
    (kept,) = queries.list_alarms(watcher.database)
    assert (kept["began_at"], kept["ended_at"]) == (iso(NOW), iso(NOW + 10 * MINUTE))


def test_the_alarms_that_are_on_are_those_of_the_last_step(watcher: Watcher) -> None:
    watcher.count(NOW - MINUTE, received=5, quarantined=5)
    assert watcher.on() == []
    watcher.step()
    assert watcher.on() == [("quarantine", "ship24")]
    assert watcher.watch.on() == queries.list_alarms(watcher.database, only_on=True)


def test_an_alarm_that_is_on_has_the_figures_of_now_and_its_end_is_about_the_last_ones(watcher: Watcher) -> None:
    watcher.count(NOW - MINUTE, outcome="refused", code="unauthorized", calls=10)
    (began,) = watcher.step()
    watcher.count(NOW, outcome="refused", code="unauthorized", calls=1302)
    assert watcher.step(NOW + MINUTE) == [], "nobody is told again"
    (shown,) = watcher.watch.on()
    assert (shown["began_at"], shown["message"][:7]) == (began.began_at, "1,312 r")
    assert [shown] == queries.list_alarms(watcher.database)
    writes: list[None] = []

    async def note() -> None:
        writes.append(None)

    watcher.before_write = note
    watcher.step(NOW + MINUTE + SECOND)
    assert writes == [], "the same text is not written again"
    (ended,) = watcher.step(NOW + 10 * MINUTE)
    assert (ended.state, ended.began_at, ended.message) == ("ended", began.began_at, shown["message"])


def test_a_shop_with_five_deliveries_a_day_gets_its_alarm_at_the_third_that_is_rejected(
    service: StartService, sqlite_url: str
) -> None:
    running = service(sqlite_url)
    rejected = [running.post(ship24.single(), token="the-old-one").status for _ in range(3)]
    assert rejected == [401] * 3
    assert running.stop() == 0
    shares, day_later = replace(RULES, silence_hours={"ship24": 0}, refused_percent=20), to_micros(datetime.now(UTC)) + DAY - HOUR
    with watching(sqlite_url, shares) as watcher:
        assert [notice.message[:38] for notice in watcher.step(day_later)] == ["The last 3 deliveries for Ship24 were "]
    running.restart()
    assert running.post(ship24.single()).status == 200
    assert running.stop() == 0
    with watching(sqlite_url, shares) as watcher:
        assert [(notice.alarm, notice.state) for notice in watcher.step(day_later)] == [("refused", "ended")]


def test_a_channel_that_fails_is_an_alarm_that_the_others_send(sqlite_url: str) -> None:
    make_tables(sqlite_url)
    with watching(sqlite_url, AlarmThresholds({}, 0, 0, 0, 0, 0)) as watcher:
        states: Iterator[dict[str, bool | None]] = iter([{"url": True}, {"url": None}, {"url": False}])
        watcher.watch._take_failures = lambda: next(states)
        assert [(notice.alarm, notice.subject, notice.state) for notice in watcher.step()] == [("notices", "url", "began")]
        assert watcher.step(NOW + 1) == []
        assert [notice.state for notice in watcher.step(NOW + 2)] == ["ended"]


def test_an_alarm_can_begin_again(watcher: Watcher) -> None:
    for later in (0, 6 * HOUR):
        watcher.count(NOW + later - MINUTE, received=5, quarantined=5)
        assert [notice.state for notice in watcher.step(NOW + later)] == ["began"]
        assert [notice.state for notice in watcher.step(NOW + later + 2 * HOUR)] == ["ended"]
    assert [alarm["began_at"] for alarm in queries.list_alarms(watcher.database)] == [iso(NOW + 6 * HOUR)]


@pytest.mark.parametrize(
    ("age_minutes", "code", "found"),
    [
        *[(0, "unauthorized", True), (4, "unauthorized", True), (5, "unauthorized", True), (7, "unauthorized", False)],
        *[(1, "not_found", False), (1, "busy", False), (-9, "unauthorized", False)],
    ],
)
def test_only_401_and_403_of_the_last_five_minutes_make_a_storm(
    watcher: Watcher, age_minutes: int, code: str, found: bool
) -> None:
    watcher.count(NOW - age_minutes * MINUTE, outcome="refused", code=code, calls=10)
    assert [notice.alarm for notice in watcher.step()] == (["refused"] if found else [])


@pytest.mark.parametrize(("age_minutes", "found"), [(1, True), (59, True), (62, False)])
def test_verdicts_count_for_an_hour(watcher: Watcher, age_minutes: int, found: bool) -> None:
    watcher.count(NOW - age_minutes * MINUTE, received=205, quarantined=5, applied=60, stale=140)
    assert [notice.alarm for notice in watcher.step()] == (["quarantine", "stale"] if found else [])


def test_a_source_falls_silent_and_sends_again(watcher: Watcher) -> None:
    assert watcher.step(NOW + 22 * HOUR) == []
    (began,) = watcher.step(NOW + 23 * HOUR + MINUTE)
    assert (began.alarm, began.subject, began.state) == ("silence", "ship24", "began")
    assert f"since {iso(NOW - HOUR)[:16]}Z (limit 24 hours" in began.message
    watcher.call(NOW + 30 * HOUR)
    assert [notice.state for notice in watcher.step(NOW + 30 * HOUR + MINUTE)] == ["ended"]


def test_what_brings_no_message_does_not_hide_a_silence(watcher: Watcher) -> None:
    later = NOW + 25 * HOUR
    watcher.count(later - MINUTE, outcome="refused", code="unauthorized", calls=3)
    watcher.count(later - MINUTE, outcome="unreadable", code="invalid_json")
    watcher.count(later - MINUTE, code=DOWNLOADED)
    watcher.use_token("ship24", "main", later - MINUTE)
    assert [notice.alarm for notice in watcher.step(later)] == ["silence"]


def test_the_time_of_a_silence_is_learned_from_the_hours_in_which_messages_came(watcher: Watcher) -> None:
    for day in range(9):
        for hour in (9, 12, 17):
            watcher.call(NOW - NOW % DAY - day * DAY + hour * HOUR, "shiipp")
        watcher.count(NOW - NOW % DAY - day * DAY + 20 * HOUR, "shiipp", "refused", "unauthorized")
    last = NOW - NOW % DAY + 17 * HOUR
    watcher.call(last + 33 * HOUR)
    assert watcher.step(last + 32 * HOUR) == []
    (began,) = watcher.step(last + 32 * HOUR + 1)
    assert (began.alarm, began.subject) == ("silence", "shiipp")
    assert "limit 32 hours, twice its longest pause" in began.message


def test_the_disk_is_looked_at_where_the_database_is_a_file(database_url: str) -> None:
    make_tables(database_url)
    with watching(database_url, AlarmThresholds({}, 0, 0, 0, 100, 0)) as watcher:
        expected = [("disk", "database")] if watcher.database.is_sqlite else []
        assert [(notice.alarm, notice.subject) for notice in watcher.step()] == expected


def test_a_target_that_takes_nothing_is_an_alarm_until_its_oldest_change_is_taken(database_url: str) -> None:
    make_tables(database_url)
    change = {"target": "shop", "source": "ship24", "tracker_id": "t", "event_id": "e"}
    failed = {"move": 1, "due_at": NOW + HOUR, "attempts": 5, "made_at": NOW - 2 * HOUR, "error": "shop answered 500."}
    for state in (failed, {"move": 2, "due_at": 1 << 62, "attempts": 0, "made_at": NOW - HOUR}):
        add_row(database_url, "dispatches", **change, **state)
    with watching(database_url, AlarmThresholds({}, 0, 0, 0, 0, 0, target_minutes=60)) as watcher:
        assert [(notice.alarm, notice.subject, notice.state) for notice in watcher.step()] == [("target", "shop", "began")]
        delete_rows(database_url, "dispatches", move=1)
        update_rows(database_url, "dispatches", due_at=NOW)
        assert [notice.state for notice in watcher.step(NOW + MINUTE)] == ["ended"]


def test_an_alarm_ends_when_it_is_no_longer_watched_for(sqlite_url: str) -> None:
    make_tables(sqlite_url)
    with watching(sqlite_url, AlarmThresholds({}, 0, 0, 0, 0, 14, (("ship24:old", date(2026, 11, 30)),))) as before:
        assert [notice.state for notice in before.step()] == ["began"]
    with watching(sqlite_url, AlarmThresholds({}, 0, 0, 0, 0, 14)) as after:
        assert [(notice.state, notice.subject) for notice in after.step()] == [("ended", "ship24:old")]


@pytest.mark.parametrize("processes", [2, 5])
def test_of_several_processes_that_see_an_alarm_one_reports_it(postgresql_url: str, processes: int) -> None:
    make_tables(postgresql_url)
    with ExitStack() as stack:
        watchers = [stack.enter_context(watching(postgresql_url)) for _ in range(processes)]
        for number in range(5):
            at = NOW + number * 6 * HOUR
            watchers[0].call(at)
            watchers[0].count(at - MINUTE, received=5, quarantined=5)
            for moment, state in ((at, "began"), (at + 2 * HOUR, "ended")):
                assert [notice.state for notice in look_together(watchers, moment)] == [state]
                assert {tuple(watcher.on()) for watcher in watchers} == {(("quarantine", "ship24"),) if state == "began" else ()}


def look_together(watchers: Sequence[Watcher], now: int) -> list[Notice]:
    """Look with all at once; none writes before all have judged."""

    async def look() -> None:
        barrier = asyncio.Barrier(len(watchers))
        for watcher in watchers:
            watcher.told.clear()
            watcher.before_write = barrier.wait
        await asyncio.gather(*(watcher.watch.step(now) for watcher in watchers))

    asyncio.run(look())
    return [notice for watcher in watchers for notice in watcher.told]


def test_a_notice_that_was_left_by_a_process_that_died_is_sent_by_the_next_one(database_url: str) -> None:
    make_tables(database_url)
    wanted = AlarmThresholds({}, 0, 0, 0, 0, 14, (("ship24:old", date(2026, 11, 30)),))
    with watching(database_url, wanted) as died:
        (left,) = died.step()
    later = NOW + NOTICE_OVERDUE
    with watching(database_url, wanted) as after, watching(database_url, wanted) as beside:
        assert after.step(later) == [left]
        if database_url.startswith("postgresql"):  # with SQLite there is one process
            assert beside.step(later + SECOND) == [], "one of them sends it"
        after.watch.note_settled(left)
        asyncio.run(after.watch.settle())
    with watching(database_url, wanted) as last:
        assert last.step(later + 2 * NOTICE_OVERDUE) == []


def test_a_notice_of_another_process_that_is_alive_is_left_to_it(postgresql_url: str) -> None:
    make_tables(postgresql_url)
    wanted = AlarmThresholds({}, 0, 0, 0, 0, 14, (("ship24:old", date(2026, 11, 30)),))
    with watching(postgresql_url, wanted) as one, watching(postgresql_url, wanted) as other:
        assert len(one.step()) == 1
        assert other.step(NOW + MINUTE) == []


def test_a_notice_is_not_sent_when_a_day_has_passed(sqlite_url: str) -> None:
    make_tables(sqlite_url)
    wanted = AlarmThresholds({}, 0, 0, 0, 0, 14, (("ship24:old", date(2026, 11, 30)),))
    with watching(sqlite_url, wanted) as died:
        died.step()
    with watching(sqlite_url, wanted) as after:
        assert after.step(NOW + DAY + SECOND) == []


def test_the_end_of_an_alarm_is_sent_though_its_start_was_settled_late(sqlite_url: str) -> None:
    make_tables(sqlite_url)
    wanted = AlarmThresholds({}, 0, 0, 0, 0, 14, (("ship24:old", date(2026, 11, 30)),))
    with watching(sqlite_url, wanted) as died:
        (began,) = died.step()
        died.watch._rules = AlarmThresholds({}, 0, 0, 0, 0, 14)
        (ended,) = died.step(NOW + MINUTE)
        died.watch.note_settled(began)
        asyncio.run(died.watch.settle())
    with watching(sqlite_url) as after:
        assert ended in after.step(NOW + MINUTE + NOTICE_OVERDUE)


def test_an_alarm_that_was_written_is_reported_even_if_the_next_write_fails(watcher: Watcher) -> None:
    watcher.count(NOW - MINUTE, received=205, quarantined=5, applied=60, stale=140)
    writes = iter([None, StorageUnavailable("away")])

    async def fail_at_the_second() -> None:
        if (error := next(writes)) is not None:
            raise error

    watcher.before_write = fail_at_the_second
    with pytest.raises(StorageUnavailable):
        watcher.step()
    assert [notice.alarm for notice in watcher.told] == ["quarantine"]
    watcher.before_write = None
    assert [notice.alarm for notice in watcher.step()] == ["stale"]


@pytest.mark.parametrize("error", [StorageUnavailable("away"), RuntimeError("a bug")])
def test_a_step_that_fails_is_logged_and_does_not_end_the_watch(sqlite_url: str, error: Exception) -> None:
    make_tables(sqlite_url)
    failures = iter([error, error])

    async def fail_twice() -> None:
        if (failure := next(failures, None)) is not None:
            raise failure

    async def run(watcher: Watcher) -> None:
        running = asyncio.create_task(watcher.watch.run())
        while not watcher.told:
            assert not running.done()
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.wait([running])

    with watching(sqlite_url, AlarmThresholds({}, 0, 0, 0, 100, 0)) as watcher, capture_logs() as logs:
        watcher.before_write = fail_twice
        asyncio.run(run(watcher))
    assert [line["event"] for line in logs] == ["alarm_monitor_failed", "alarm_began"]
    assert [notice.alarm for notice in watcher.told] == ["disk"]


PLANTED = ("planted-token-in-the-path", "planted-password", "planted-token-of-a-query", "planted-argument", "planted-ops-token")


def config(directory: Path, *lines: str) -> str:
    """Write a configuration file and return its path."""
    path = directory / "receiver.toml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def planted_url(host: str) -> str:
    return f"http://user:{PLANTED[1]}@{host}/{PLANTED[0]}?key={PLANTED[2]}"


def warnings(running: Service) -> list[str]:
    answer = running.get("/readyz")
    assert (answer.status, answer.json()["status"]) == (200, "ready")
    return list(answer.json()["warnings"])


def is_settled(running: Service) -> bool:
    return bool(running.table("alarms", "name", notice_due_at=None))


def knows_of_the_token(running: Service) -> bool:
    return warnings(running) == ["token"]


def test_a_service_that_is_killed_while_it_sends_leaves_the_notice_to_its_next_start(
    service: StartService, sqlite_url: str, tmp_path: Path
) -> None:
    path = config(tmp_path, "alarm_disk_percent = 0", "[token_ends]", '"ship24:old" = 2020-01-31')
    with alarm_server(HANG, 200) as server:
        running = service(sqlite_url, config=path, ship24_tokens="old:the-token-of-these-tests", alarm_url=server.url)
        wait_until(lambda: server.told, "it is being sent")
        running.kill()
        running.restart()
        wait_until(lambda: len(server.told) == 2, "the next process sends it")
        wait_until(lambda: is_settled(running), "nobody has to be told again")
        first, again = server.notices
    assert first == again


def test_an_alarm_is_sent_once_to_url_and_command_over_restarts(service: StartService, database_url: str, tmp_path: Path) -> None:
    told = tmp_path / "told"
    command = f'sh -c \'cat >> "$0"; echo >> "$0"; env >> "$0.env"\' {told} {PLANTED[3]}'
    path = config(tmp_path, "alarm_disk_percent = 0", "[token_ends]", '"ship24:old" = 2020-01-31')
    with alarm_server(500, 200) as server:
        running = service(
            database_url,
            config=path,
            ship24_tokens="old:the-token-of-these-tests",
            ops_tokens=PLANTED[4],
            alarm_url=planted_url(server.host),
            alarm_command=command,
        )
        wait_until(lambda: running.logs().count('"alarm_sent"') == 2, "both are told")
        wait_until(lambda: warnings(running) == ["token"], "the first look")
        wait_until(lambda: is_settled(running), "nobody has to be told again")
        assert running.stop() == 0
        running.restart()
        wait_until(lambda: warnings(running) == ["token"], "the first look after the restart")
        assert running.stop() == 0
        config(tmp_path, "alarm_disk_percent = 0")
        running.restart()
        wait_until(lambda: running.logs().count('"alarm_sent"') == 4, "both are told of the end")
        wait_until(lambda: warnings(running) == [], "the alarm is over")
        assert running.stop() == 0
        states = [notice["state"] for notice in server.notices]
        assert states == ["began", "began", "ended"]  # the first answer was 500
    by_command = [json.loads(line) for line in told.read_text(encoding="utf-8").splitlines()]
    assert by_command == server.notices[1:]
    assert {(notice["alarm"], notice["subject"]) for notice in by_command} == {("token", "ship24:old")}
    seen = running.logs() + told.with_suffix(".env").read_text(encoding="utf-8") + repr(running.table("alarms"))
    assert [secret for secret in PLANTED if secret in seen] == []


@pytest.mark.parametrize("answer", [HANG, 302, 500, NONSENSE])
def test_a_url_that_misbehaves_harms_nothing_and_is_in_no_log(
    service: StartService, sqlite_url: str, tmp_path: Path, answer: int
) -> None:
    path = config(tmp_path, "alarm_disk_percent = 0", "[token_ends]", '"ship24:token-97754908" = 2020-01-31')
    with alarm_server(answer, location=f"http://127.0.0.1/{PLANTED[0]}") as server:
        running = service(sqlite_url, config=path, alarm_url=planted_url(server.host))
        wait_until(lambda: server.told, "the URL is called")
        assert running.post(ship24.single()).status == 200
        wait_until(partial(knows_of_the_token, running), "the service knows that it is on")
        assert running.stop() == 0
    assert "alarm_began" in running.logs()
    assert [secret for secret in PLANTED if secret in running.logs()] == []


def test_two_services_on_one_database_send_an_alarm_once(service: StartService, postgresql_url: str, tmp_path: Path) -> None:
    path = config(tmp_path, "alarm_disk_percent = 0", "[token_ends]", '"ship24:token-97754908" = 2020-01-31')
    with alarm_server() as server:
        both = [service(postgresql_url, config=path, alarm_url=server.url) for _ in range(2)]
        for running in both:
            wait_until(partial(knows_of_the_token, running), "each knows that it is on")
        assert [running.stop() for running in both] == [0, 0]
        assert [notice["state"] for notice in server.notices] == ["began"]


def test_a_storm_against_the_service_is_found_with_what_is_only_counted(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url, alarm_refused="103", alarm_disk_percent="0")
    with closing(running.connect()) as connection:
        statuses = {running.post(b"", token="guessed", connection=connection).status for _ in range(110)}
    assert statuses == {401}
    assert running.stop() == 0
    running.restart()
    wait_until(lambda: warnings(running) == ["refused"], "the storm is found")
    message = running.value("alarms", "message", name="refused")
    assert message.startswith("110 rejected deliveries")


def test_what_was_added_to_the_tables_is_an_alarm_once_deliveries_are_answered_503(watcher: Watcher, sqlite_url: str) -> None:
    change(sqlite_url, "CREATE UNIQUE INDEX theirs ON messages (topic)")
    assert watcher.step() == []
    watcher.count(NOW - MINUTE, outcome="failed", code="storage_unavailable", calls=1)
    (began,) = watcher.step()
    assert (began.alarm, began.subject, began.state) == ("tables", "database", "began")
    assert "the index theirs of the table messages" in began.message
    change(sqlite_url, "DROP INDEX theirs")
    assert [(notice.alarm, notice.state) for notice in watcher.step(NOW + 1)] == [("tables", "ended")]
