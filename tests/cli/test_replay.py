"""`receiver deliveries replay`, as an operator runs it: shows first, asks once, says how far it got."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import StartService
from tests.harness import ship24
from tests.harness.command import run_command
from tests.harness.database_contents import contents_beside_service, differing
from tests.harness.rows import Like, count_rows, read_rows, table_rows
from tests.harness.service import DEADLINE_SECONDS, Service, environment, wait_until
from tests.harness.storage import WAITING, delete_rows, hold_up, make_tables
from tests.harness.store import Store, opened

OPS = "the-ops-token-of-these-tests"
FAR_AHEAD = "9999-01-01T10:00:00"
MANY = 5


class Place:
    """A folder to run commands in, on a database that may have a service."""

    def __init__(self, folder: Path, url: str, **settings: str) -> None:
        self.folder, self.url = folder, url
        self.env = {**environment(url, **settings), "COLUMNS": "80"}

    def run(self, *arguments: str, code: int = 0, answer: str = "") -> str:
        """Run `deliveries replay` to its end; return all that it printed."""
        done = run_command("deliveries", "replay", *arguments, cwd=self.folder, env=self.env, typed=answer)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    def ask(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--json"))


def early(number: int) -> bytes:
    return ship24.single(f"early-{number}", tracker_id=f"t{number}", events=[ship24.event(f"e{number}", FAR_AHEAD)])


def fill(store: Store, calls: int = 3) -> None:
    store.keep(*(early(number) for number in range(calls)))
    store.keep(ship24.single("fine", tracker_id="fine"))
    store.keep(b"{")


@pytest.fixture
def alone(sqlite_url: str, tmp_path: Path) -> Place:
    """A database with three deliveries to force, one that is applied and one that is invalid; no service."""
    make_tables(sqlite_url)
    with opened(sqlite_url) as store:
        fill(store)
    return Place(tmp_path, sqlite_url)


@pytest.fixture
def served(service: StartService, sqlite_url: str) -> Place:
    """The same, with a running service."""
    return serve(service(sqlite_url, ops_tokens=f"anna:{OPS}"))


@pytest.fixture
def served_on_postgresql(service: StartService, postgresql_url: str) -> Place:
    """The same on PostgreSQL, where the command writes beside the service."""
    return serve(service(postgresql_url, ops_tokens=f"anna:{OPS}"))


def serve(running: Service) -> Place:
    for number in range(3):
        assert running.post(early(number)).status == 200
    assert running.post(ship24.single("fine", tracker_id="fine")).status == 200
    assert running.post(b"{").status == 400
    return Place(running.directory, running.database_url, ops_tokens=f"anna:{OPS}", port=str(running.port))


@pytest.fixture(params=["alone", "served", "served_on_postgresql"])
def place(request: pytest.FixtureRequest) -> Place:
    """Each of them."""
    found: Place = request.getfixturevalue(request.param)
    return found


def ids(place: Place) -> list[str]:
    return [row["delivery_id"] for row in table_rows(place.url, "messages", "delivery_id", message_id=Like("early%"))]


def test_a_replay_shows_asks_and_does(place: Place) -> None:
    before = contents_beside_service(place.url)
    shown = place.run("--since", "3650d", "--force", "--dry-run")
    assert "3 messages of 3 deliveries would change, 3 trackers would be updated.\n2 deliveries would stay as before.\n" in shown
    assert "1 delivery with an invalid body" in shown
    assert "quarantined" in shown
    assert "in_transit" in shown
    assert "Reprocess" not in shown
    declined = place.run("--since", "3650d", "--force", code=1, answer="n\n")
    assert "Reprocess 3 of 5 deliveries? [y/N]" in declined
    assert differing(before, contents_beside_service(place.url)) == set()
    done = place.run("--since", "3650d", "--force", answer="y\n")
    assert "would change" in done
    assert "3 messages of 3 deliveries changed, 3 trackers updated.\n" in done
    assert table_rows(place.url, "quarantine") == []
    audit = table_rows(place.url, "audit", "actor", "action", "detail")
    actor = "anna" if "RECEIVER_PORT" in place.env and place.url.startswith("sqlite") else "command line"
    assert [tuple(row.values()) for row in audit] == [(actor, "replay", "force")] * 3
    assert "Nothing would change." in place.run("--since", "3650d", "--force", "--yes")
    assert len(table_rows(place.url, "audit", "id")) == 3


def test_deliveries_are_named_by_their_ids(alone: Place) -> None:
    first, *_ = sorted(ids(alone))
    assert "1 message of 1 delivery changed" in alone.run(first, first, "--force", "--yes")
    assert [row["subject"] for row in table_rows(alone.url, "audit", "subject")] == [first]


def test_a_forced_event_of_the_future_is_warned_of_and_taken_back(place: Place) -> None:
    first = sorted(ids(place))[0]
    shown = place.run(first, "--force", "--yes")
    assert "all later updates of this tracker" in shown
    assert f"until {FAR_AHEAD}" in " ".join(shown.split())
    assert "--undo" in shown
    foretold = place.ask(first, "--undo", "--dry-run")
    assert (foretold["undo"], foretold["force"], foretold["changed"]) == (True, False, 1)
    assert "Take back the events of 1 of 1 deliveries? [y/N]" in place.run(first, "--undo", code=1, answer="n\n")
    delete_rows(place.url, "bodies", delivery_id=first)
    done = place.run(first, "--undo", answer="y\n")
    assert "in_transit 9999-01-01T10:00:00" in " ".join(done.split())
    assert "1 message of 1 delivery changed, 1 tracker updated.\n" in done
    assert "Nothing would change." in place.run(first, "--undo", "--yes")
    assert len(table_rows(place.url, "quarantine")) == 3
    assert [row["detail"] for row in table_rows(place.url, "audit", "detail", order="done_at")] == ["force", "undo"]


def test_filters_choose_what_is_replayed(alone: Place) -> None:
    for filters, number in (
        (["--message-id", "early-1"], 1),
        (["--tracking-number", "TN-t2"], 0),  # its only event is implausible: it leaves no number to be found by
        (["--outcome", "unreadable"], 1),
        (["--status", "200"], 4),
        (["--source", "shiipp"], 0),
        (["--client", "127.0.0.1"], 5),
        (["--until", "2025-06-01"], 0),
        (["--since", "2025-06-01"], 5),
    ):
        assert alone.ask(*filters, "--dry-run", "--force")["deliveries"] == number, filters


def test_json_output_has_every_change(alone: Place) -> None:
    shown = alone.ask("--since", "3650d", "--force", "--dry-run")
    assert (shown["dry_run"], shown["deliveries"], shown["changed"], len(shown["items"])) == (True, 5, 3, 3)
    assert table_rows(alone.url, "audit") == []
    done = alone.ask("--since", "3650d", "--force", "--yes")
    assert (done["dry_run"], done["changed"], done["skipped"], done["interrupted"]) == (False, 3, [], False)
    assert {item["items"][0]["after"]["outcome"] for item in done["items"]} == {"applied"}
    assert [item["delivery_id"] for item in done["items"]] == sorted(ids(alone))


def test_what_cannot_be_replayed_is_left_out_and_said(alone: Place) -> None:
    pruned, *_ = ids(alone)
    delete_rows(alone.url, "bodies", delivery_id=pruned)
    shown = alone.run("--since", "3650d", "--force", "--yes")
    assert shown.count("Skipped: 1 delivery. The body of this delivery was deleted") == 2
    assert "2 messages of 2 deliveries changed" in shown
    assert "Skipped: 1 delivery." in alone.run(pruned, code=1)


def test_an_unknown_delivery_is_one_line(place: Place) -> None:
    known = ids(place)[0]
    for name in ("\x1b[31mred", "' OR 1=1 --", "x" * 3000, "/../../metrics", "a?b#c"):
        shown = place.run("--force", "--yes", known, "--", name, code=1)
        assert shown.startswith("receiver: There is no delivery")
        assert shown.count("\n") == 1
        assert "\x1b" not in shown
    assert table_rows(place.url, "audit") == []


@pytest.mark.parametrize(
    "arguments",
    [[], ["--force"], ["some-id", "--since", "24h"], ["some-id", "--force", "--undo"], ["--source", "other"], ["--limit", "3"]],
)
def test_wrong_use_is_said(arguments: list[str], tmp_path: Path, sqlite_url: str) -> None:
    make_tables(sqlite_url)
    assert "receiver: " in Place(tmp_path, sqlite_url).run(*arguments, code=2)


def test_without_an_answer_nothing_is_done(alone: Place) -> None:
    assert "No terminal to confirm on. Add --yes." in alone.run("--since", "3650d", "--force", code=2)
    assert table_rows(alone.url, "audit") == []


def test_on_postgresql_the_command_needs_no_running_service(served_on_postgresql: Place) -> None:
    stranger = Place(served_on_postgresql.folder, served_on_postgresql.url)
    assert "3 deliveries would change" in stranger.run("--since", "24h", "--force", "--dry-run")


def test_without_an_ops_token_the_running_service_cannot_be_used(served: Place) -> None:
    stranger = Place(served.folder, served.url)
    assert "RECEIVER_OPS_TOKENS" in stranger.run("--since", "24h", code=2)
    wrong = Place(served.folder, served.url, ops_tokens="wrong", port=served.env["RECEIVER_PORT"])
    shown = wrong.run("--since", "24h", code=1)
    assert "answered 401" in shown
    assert OPS not in shown


def test_ctrl_c_ends_between_two_deliveries_and_says_how_far_it_got(postgresql_url: str, tmp_path: Path) -> None:
    make_tables(postgresql_url)
    with opened(postgresql_url) as store:
        fill(store, MANY)
    many = Place(tmp_path, postgresql_url)
    command = [sys.executable, "-m", "receiver", "deliveries", "replay", "--since", "3650d", "--force", "--yes"]
    with subprocess.Popen(
        command, cwd=many.folder, env=many.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        with hold_up(postgresql_url, "audit"):
            wait_until(lambda: read_rows(many.url, WAITING), "it is in the middle of the first call")
            running.send_signal(signal.SIGINT)
        _, told = running.communicate(timeout=DEADLINE_SECONDS)
    assert running.returncode == 130
    assert f"receiver: Stopped: 1 of {MANY} deliveries were reprocessed, the others are unchanged" in told
    assert len(table_rows(many.url, "audit", "id")) == 1
    applied = count_rows(many.url, "messages", outcome="applied", message_id=Like("early%"))
    assert (applied, count_rows(many.url, "quarantine")) == (1, MANY - 1)
    assert f"{MANY - 1} messages of {MANY - 1} deliveries changed" in many.run("--since", "3650d", "--force", "--yes")


def test_in_a_terminal_a_bar_tells_how_far_it_is(alone: Place) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "receiver", "deliveries", "replay", "--since", "3650d", "--force", "--yes"]
    env = {**alone.env, "TERM": "xterm"}
    with subprocess.Popen(command, cwd=alone.folder, env=env, stdout=subprocess.PIPE, stderr=theirs) as running:
        os.close(theirs)
        told = b"".join(read_terminal(ours)).decode()
        done, _ = running.communicate(timeout=DEADLINE_SECONDS)
    os.close(ours)
    assert "3/3" in told
    assert "reprocessing" in told
    assert b"3 deliveries changed" in done


def read_terminal(file: int) -> Iterator[bytes]:
    """Give the output to a terminal until all its writers are gone."""
    with suppress(OSError):
        while piece := os.read(file, 65536):
            yield piece


def test_nothing_from_outside_is_wider_than_the_terminal_or_steers_it(sqlite_url: str, tmp_path: Path) -> None:
    make_tables(sqlite_url)
    nasty = "\x1b[2Jgone\x07 [red]x[/red] \u202eabc\u2028" + "n" * 90
    with opened(sqlite_url) as store:
        store.keep(ship24.single(nasty, tracker_id=nasty, events=[ship24.event(nasty, FAR_AHEAD, statusMilestone=nasty)]))
    shown = Place(tmp_path, sqlite_url).run("--since", "3650d", "--force", "--yes")
    assert [line for line in shown.splitlines() if not line.isprintable()] == []
    assert [line for line in shown.split("\n") if len(line) > 80] == []


def test_the_help_is_there(tmp_path: Path, sqlite_url: str) -> None:
    done = run_command("deliveries", "replay", "--help", cwd=tmp_path, env=environment(sqlite_url))
    assert done.returncode == 0
    assert "--dry-run" in done.stdout
