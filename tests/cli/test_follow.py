"""`deliveries list --follow`: each new delivery once, none left out, whatever happens to the database."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import pytest

from receiver.cli._follow import Follower, follow
from receiver.clock import new_id, to_micros
from receiver.domain.records import Submission
from receiver.errors import Unauthorized
from receiver.sources import NAMES
from receiver.storage import queries
from receiver.storage.queries import DeliveryFilter, ResultPage
from tests.conftest import StartService
from tests.harness.postgresql import Cluster
from tests.harness.service import DEADLINE_SECONDS, Process, Service, start_command
from tests.harness.ship24 import body, item, single
from tests.harness.storage import make_tables
from tests.harness.store import NOW, Store, delivery, opened


class Enough(Exception):
    """Ends a loop that has no end."""


@pytest.fixture
def store(sqlite_url: str) -> Iterator[Store]:
    make_tables(sqlite_url)
    with opened(sqlite_url) as it:
        yield it


def keep(store: Store, *seconds: float, refused: bool = False) -> list[str]:
    """Store deliveries in one batch, each received so many seconds after NOW; return their ids."""
    kept = []
    for after in seconds:
        at = NOW + timedelta(seconds=after)
        call = delivery(b"{}")._replace(id=new_id(at), received_at=to_micros(at))
        kept.append(Submission(call, error=Unauthorized("no") if refused else None))
    assert None not in store.inbox.keep(kept, NOW)
    return [each.delivery.id for each in kept]


def make(store: Store, asked: list[DeliveryFilter] | None = None, **wanted: str) -> Follower:
    def ask(filters: DeliveryFilter, limit: int, cursor: str | None) -> ResultPage:
        if asked is not None:
            asked.append(filters)
        return queries.list_deliveries(store.database, filters, NAMES, limit, cursor)

    return Follower(ask, DeliveryFilter(**wanted), commit_timeout_seconds=10)  # type: ignore[arg-type]


def begin(follower: Follower, limit: int = 50) -> list[str]:
    return [row["id"] for row in follower.begin(to_micros(NOW), limit)]


def step(follower: Follower, seconds: float = 0) -> list[str]:
    return [row["id"] for row in follower.step(to_micros(NOW + timedelta(seconds=seconds)))]


def test_follow_begins_with_the_last_deliveries_oldest_first_and_prints_no_older_one_later(store: Store) -> None:
    kept = keep(store, -100, -2, -1, 0)
    follower = make(store)
    assert begin(follower, limit=2) == kept[2:]
    assert step(follower) == []


def test_a_delivery_that_commits_after_a_newer_one_is_printed_once(store: Store) -> None:
    follower = make(store)
    assert begin(follower) == []
    newer = keep(store, 20)
    assert step(follower, 20) == newer
    older = keep(store, 0)
    assert step(follower, 21) == older
    assert step(follower, 22) == []


def test_more_deliveries_than_a_page_has_are_printed_in_order(store: Store) -> None:
    follower = make(store)
    begin(follower)
    kept = keep(store, *(number / 100 for number in range(450)))
    assert step(follower, 5) == kept


def test_only_what_matches_is_given(store: Store) -> None:
    keep(store, -1)
    follower = make(store, outcome="refused")
    assert begin(follower) == []
    keep(store, 1)
    refused = keep(store, 2, refused=True)
    assert step(follower, 3) == refused


def test_what_is_read_again_stays_short_however_long_nothing_matches(store: Store) -> None:
    asked: list[DeliveryFilter] = []
    follower = make(store, asked, outcome="refused")
    begin(follower)
    for hour in range(3):
        keep(store, hour * 3600)
        assert step(follower, hour * 3600) == []
        assert step(follower, hour * 3600) == []
        assert asked[-1].since == to_micros(NOW + timedelta(hours=hour, seconds=-30))


def test_a_clock_that_runs_ahead_elsewhere_hides_no_delivery(store: Store) -> None:
    follower = make(store)
    ahead = keep(store, 3600)
    assert begin(follower) == ahead
    right = keep(store, 1)
    assert step(follower, 2) == right


def test_a_database_that_goes_away_is_said_once_and_waited_for(own_cluster: Cluster) -> None:
    url = own_cluster.create_database("followed")
    make_tables(url)
    kept: list[str] = []
    said: list[str] = []

    def again() -> None:
        own_cluster.start()
        with opened(url) as later:
            kept.extend(keep(later, 1))

    def end() -> None:
        raise Enough

    happenings: Iterator[Callable[[], object]] = iter([own_cluster.stop, lambda: None, lambda: None, again, end])
    with opened(url) as store:
        kept += keep(store, 0)
        rows = follow(make(store), 10, said.append, lambda: NOW, lambda _seconds: next(happenings)())
        assert [next(rows)["id"], next(rows)["id"]] == kept
        with pytest.raises(Enough):
            next(rows)
    assert len(said) == 2
    assert "Waiting" in said[0]


class Following(NamedTuple):
    """A command that follows, and what it prints."""

    process: Process
    out: TextIO
    err: TextIO

    def read_line(self) -> str:
        line = self.out.readline()
        assert line, "it ended"
        return line.rstrip("\n")


@contextmanager
def following(service: Service, *options: str) -> Iterator[Following]:
    with ExitStack() as stack:
        pipes = [os.pipe() for _ in range(2)]
        out, err = (stack.enter_context(os.fdopen(reader, encoding="utf-8")) for reader, _ in pipes)
        with (
            Path(os.devnull).open("rb") as nothing,
            os.fdopen(pipes[0][1], "wb") as to_out,
            os.fdopen(pipes[1][1], "wb") as to_err,
        ):
            command = ("deliveries", "list", "--follow", *options)
            env = service.env | {"COLUMNS": "80"}
            process = start_command(*command, cwd=service.directory, env=env, files=(nothing, to_out, to_err))
        stack.callback(process.wait, DEADLINE_SECONDS)
        stack.callback(process.kill)
        yield Following(process, out, err)


def test_each_delivery_is_one_line_until_ctrl_c(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url)
    first = running.post(body(item("twice"), item("twice"), 7)).json()["delivery_id"]
    with following(running) as lines, following(running, "--json", "--source", "ship24") as objects:
        header, shown = lines.read_line(), lines.read_line()
        assert json.loads(objects.read_line())["id"] == first
        refused = running.post(b"", token="wrong").json()["delivery_id"]
        second: dict[str, Any] = json.loads(objects.read_line())
        assert (second["id"], second["code"]) == (refused, "unauthorized")
        later = lines.read_line()
        at = header.index("id")
        assert (shown[at : at + 36], later[at : at + 36]) == (first, refused)
        assert max(map(len, (header, shown, later))) <= 80
        for command in (lines, objects):
            command.process.send_signal(signal.SIGINT)
            assert (command.process.wait(DEADLINE_SECONDS), command.err.read()) == (130, "\n")


def test_follow_into_a_closed_pipe_ends_quietly(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url)
    running.post(single())
    with following(running) as command:
        command.read_line()
        command.read_line()
        command.out.close()
        assert command.process.wait(DEADLINE_SECONDS) == 0
        assert command.err.read() == ""
