"""Failures of our own code on messages stay visible to operators until they are replayed."""

import json
import shlex
from dataclasses import replace
from datetime import timedelta
from typing import Any

from receiver.clock import to_micros
from receiver.domain.traffic import DAY, HOUR
from receiver.sources import intake
from receiver.storage import queries
from tests.conftest import StartService
from tests.harness import ship24
from tests.harness.command import run_command
from tests.harness.service import Service
from tests.harness.storage import delete_rows, make_tables, poison
from tests.harness.store import NOW, delivery, opened
from tests.monitoring.test_alarm_monitor import watching
from tests.monitoring.test_metrics import labelled, scrape
from tests.storage.test_storage_faults import SHIP24, fail_to_read

OPS = "the-ops-token-of-these-tests"


def ask_doctor(running: Service) -> dict[str, Any]:
    done = run_command("doctor", "--json", cwd=running.directory, env=running.env)
    return {finding["subject"]: finding for finding in json.loads(done.stdout)}


def test_it_is_counted_and_doctor_names_the_command_that_replays_it(service: StartService, database_url: str) -> None:
    make_tables(database_url)
    poison(database_url, "poisoned")
    running = service(database_url, ops_tokens=OPS)
    assert scrape(running)[labelled("receiver_undecidable_total", source="ship24")] == 0
    running.post(ship24.body(ship24.item("poison", "poisoned"), ship24.item("beside")))
    delete_rows(database_url, "trackers", tracker_id="poisoned")
    finding = ask_doctor(running)["ship24 undecidable"]
    assert (finding["verdict"], "failed to process 1 of" in finding["finding"]) == ("warn", True)
    _, *command = shlex.split(finding["finding"].split("`")[1])
    done = run_command(*command, "--yes", cwd=running.directory, env=running.env)
    assert done.returncode == 0, done.stderr
    assert running.count("messages", outcome="applied") == 2
    assert "ship24 undecidable" not in ask_doctor(running)


def test_the_metric_counts_messages_that_were_not_decided(service: StartService, database_url: str) -> None:
    make_tables(database_url)
    poison(database_url, "poisoned")
    running = service(database_url, ops_tokens=OPS)
    running.post(ship24.body(ship24.item("poison", "poisoned"), ship24.item("beside"), ship24.item("more", "poisoned")))
    assert scrape(running)[labelled("receiver_undecidable_total", source="ship24")] == 2


def test_an_alarm_of_its_own_begins_at_the_first_one_and_ends_after_a_day(database_url: str) -> None:
    make_tables(database_url)
    poison(database_url, "poisoned")
    at = to_micros(NOW)
    with opened(database_url) as store:
        store.keep(ship24.single("poison", tracker_id="poisoned"))
    with watching(database_url) as watcher:
        (began,) = watcher.step(at)
        assert (began.alarm, began.subject, began.state) == ("undecidable", "ship24", "began")
        assert "receiver doctor" in began.message
        assert watcher.step(at + DAY - HOUR) == []
        assert ("undecidable", "ended") in [(notice.alarm, notice.state) for notice in watcher.step(at + DAY + HOUR)]


def test_a_body_that_was_not_read_counts_too(database_url: str) -> None:
    make_tables(database_url)
    with opened(database_url) as store:
        store.inbox.keep([intake.parse_delivery(replace(SHIP24, split=fail_to_read), delivery(ship24.single()))], NOW)
        assert store.inbox.take_undecidable() == {"ship24": 1}
        assert queries.find_undecidable(store.database) == {"ship24": [to_micros(NOW)]}
        assert queries.find_undecidable(store.database, to_micros(NOW + timedelta(hours=1))) == {}
