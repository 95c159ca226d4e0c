"""The commands, run as an operator runs them."""

import json
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from receiver.cli import commands
from receiver.settings import load
from tests.cli.test_endings import walk
from tests.conftest import StartService, lacking
from tests.harness.command import run_command
from tests.harness.disk import NoDisk, fill, small_disk
from tests.harness.postgresql import Cluster
from tests.harness.rows import Not
from tests.harness.service import SHIP24, TOKEN, Service, environment, wait_until
from tests.harness.ship24 import body, event, item, single
from tests.harness.storage import make_tables

GROUPED = (Path(__file__).parents[1] / "payloads/ship24/grouped.json").read_bytes()
OPS = "the-ops-token-of-these-tests"


def run(service: Service, *arguments: str, code: int = 0) -> str:
    done = run_command(*arguments, cwd=service.directory, env=service.env)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout if code == 0 else done.stdout + done.stderr


def ask(service: Service, *arguments: str) -> Any:
    return json.loads(run(service, *arguments, "--json"))


@pytest.fixture
def running(shared_service: Callable[..., Service]) -> Service:
    started = shared_service(ops_tokens=OPS)
    assert started.post(GROUPED).outcomes() == ["applied", "applied", "stale"]
    return started


def test_init_writes_secrets_once_for_their_owner_only(tmp_path: Path) -> None:
    env = environment("sqlite:///data/receiver.db")
    first = run_command("init", cwd=tmp_path, env=env)
    written = (tmp_path / ".env").read_text()
    second = run_command("init", cwd=tmp_path, env=env)
    assert (first.returncode, second.returncode) == (0, 0)
    assert (tmp_path / ".env").read_text() == written
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    tokens = [line.partition("=")[2] for line in written.splitlines() if "_TOKENS=" in line]
    assert len(set(tokens)) == len(tokens) == 3
    assert all(len(token) >= 40 for token in tokens)
    assert not any(token in first.stdout + second.stdout for token in tokens)
    assert f"http://127.0.0.1:8080{SHIP24}" in first.stdout
    assert "console          http://127.0.0.1:8080/ops/\n" in first.stdout


def test_init_can_print_the_secrets_for_a_container_and_write_nothing(tmp_path: Path) -> None:
    done = run_command("init", "--print", cwd=tmp_path, env=environment("sqlite:///data/receiver.db"))
    assert (done.returncode, list(tmp_path.iterdir())) == (0, [])
    printed = dict(line.split("=", 1) for line in done.stdout.splitlines() if not line.startswith("#"))
    assert len({value for name, value in printed.items() if name.endswith("_TOKENS")}) == 3
    assert load(printed).ops_tokens


def test_init_on_a_full_disk_leaves_no_file_without_secrets(tmp_path: Path) -> None:
    try:
        with small_disk(tmp_path / "project", 1) as disk:
            fill(disk)
            done = run_command("init", cwd=disk, env=environment("sqlite:///data/receiver.db"))
            assert (done.returncode, done.stderr) == (2, "receiver: .env: No space left on device\n")
            assert [file.name for file in disk.iterdir()] == ["filler"]
    except NoDisk as error:
        lacking(str(error))


def test_trackers_show_tells_state_and_timeline_newest_first(running: Service) -> None:
    answer = ask(running, "trackers", "show", "s24demo987452")
    assert answer["tracker"]["status"] == "Arrived in destination country"
    assert answer["tracker"]["latest_occurrence"] == "2021-02-03T12:17:00"
    assert answer["tracker"]["shipment"]["shipmentId"] == "9c2c13e9-dbc6-f79f-4199-693aadaa9ee0"
    shown = [(each["occurrence"], each["outcome"], each["reason"]) for each in answer["events"]]
    assert shown == [("2021-02-03T12:17:00", "applied", None), ("2021-02-02T20:10:00", "stale", "older")]
    table = run(running, "trackers", "show", "S24DEMO987452")
    assert "2021-02-02T20:10:00" in table
    assert "stale (older)" in table


def test_a_timeline_is_sorted_as_the_verdicts_compare(running: Service) -> None:
    times = ["2025-05-02T01:00:00+03:00", "2025-05-01T23:00:00Z", "2025-05-01T22:30:00Z"]
    running.post(body(item(tracker_id="sorted", events=[event(occurrence=time) for time in times])))
    shown = [each["occurrence"] for each in ask(running, "trackers", "show", "sorted")["events"]]
    assert shown == ["2025-05-01T23:00:00Z", "2025-05-01T22:30:00Z", "2025-05-02T01:00:00+03:00"]


def test_trackers_list_finds_by_the_beginning_of_a_number_and_by_milestone(running: Service) -> None:
    running.post(
        single(tracker_id="Other", tracker={"trackerId": "Other", "trackingNumber": "XY1", "shipmentReference": "Ref-7"})
    )
    listed = ask(running, "trackers", "list", "--q", "s24demo")["items"]
    assert {row["tracking_number"] for row in listed} == {"S24DEMO456393", "S24DEMO987452"}
    assert [row["tracker_id"] for row in ask(running, "trackers", "list", "--q", "ref-")["items"]] == ["Other"]
    assert [row["tracker_id"] for row in ask(running, "trackers", "list", "--milestone", "in_transit")["items"]] == ["Other"]
    assert ask(running, "trackers", "list", "--q", "nothing-like-it")["items"] == []


def test_a_number_of_several_trackers_names_their_ids(running: Service) -> None:
    for tracker_id in ("first", "second"):
        running.post(single(tracker={"trackerId": tracker_id, "trackingNumber": "SHARED"}))
    output = run(running, "trackers", "show", "shared", code=2)
    assert "ship24/first, ship24/second" in output
    assert "no tracker has" in run(running, "trackers", "show", "unknown", code=1).lower()


def test_deliveries_show_gives_the_exact_bytes_back(running: Service) -> None:
    odd = b'{"trackings": [ ],\t"\xc3\xa9":1 }\n'
    running.post(odd)
    newest = ask(running, "deliveries", "list", "--limit", "1")["items"][0]
    assert (newest["status"], newest["outcome"], newest["body_bytes"]) == (200, "accepted", len(odd))
    assert run(running, "deliveries", "show", newest["id"], "--body").encode() == odd
    whole = ask(running, "deliveries", "show", newest["id"])
    assert whole["answer"]["delivery_id"] == newest["id"]
    assert "There is no delivery" in run(running, "deliveries", "show", "unknown", code=1)


def test_deliveries_list_finds_every_delivery_that_carried_a_message(running: Service) -> None:
    running.post(GROUPED)
    running.post(single())
    carried = ask(running, "deliveries", "list", "--message-id", "248e5a70-278a-4d50-951d-e7c63f8c51c5")["items"]
    assert [(row["stale"], row["duplicate"]) for row in carried] == [(0, 3), (1, 0)]
    running.post(b"{}", token="wrong")
    refused = ask(running, "deliveries", "list", "--outcome", "refused")["items"]
    assert [(row["status"], row["code"]) for row in refused] == [(401, "unauthorized")]


def test_control_characters_of_a_sender_never_reach_the_terminal(running: Service) -> None:
    running.post(body(item(tracker_id="hostile", events=[event(status="\x1b[2Jgone\x07 [red]x[/red]")])))
    shown = run(running, "trackers", "show", "hostile")
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "[red]x[/red]" in shown.replace("\n", "")


def test_a_setup_window_admits_a_delivery_from_anywhere_and_can_be_closed(service: StartService, sqlite_url: str) -> None:
    strict = service(sqlite_url, ops_tokens=OPS, ship24_ip_policy="enforce")
    assert strict.post(single()).status == 403
    run(strict, "setup-window", "ship24", "--minutes", "5")
    wait_for_status(strict, 200)
    assert strict.post(single(), token="wrong").status == 401
    assert strict.value("deliveries", "note", note=Not(None)).startswith("setup window")
    run(strict, "setup-window", "ship24", "--minutes", "0")
    wait_for_status(strict, 403)


def wait_for_status(service: Service, status: int) -> None:
    wait_until(lambda: service.post(single()).status == status, f"a call is answered {status}")


def test_a_change_that_the_running_service_must_make_needs_an_ops_token(service: StartService, sqlite_url: str) -> None:
    without = service(sqlite_url)
    assert "RECEIVER_OPS_TOKENS" in run(without, "setup-window", "ship24", code=2)
    assert without.call("POST", "/ops/api/setup-windows", b"{}", [("Authorization", f"Bearer {TOKEN}")]).status == 404


def test_the_ops_endpoint_takes_ops_tokens_only_and_names_what_it_expects(running: Service) -> None:
    path = "/ops/api/setup-windows"
    assert running.call("POST", path, b"{}", [("Authorization", f"Bearer {TOKEN}")]).status == 401
    for wrong in (b"{", b"[]", b"{}", b'{"source": "ship24", "closes_at": "soon"}'):
        reply = running.call("POST", path, wrong, [("Authorization", f"Bearer {OPS}")])
        assert (reply.status, reply.json()["error"]["code"]) == (422, "unexpected_shape")


def test_doctor_finds_a_running_service_in_order(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url, ops_tokens=OPS)
    assert running.post(GROUPED).status == 200
    findings = ask(running, "doctor")
    assert [finding for finding in findings if finding["verdict"] == "fail"] == []
    assert any("last used" in finding["finding"] for finding in findings)
    assert any(finding["subject"] == "ship24 deliveries" and "last delivery 20" in finding["finding"] for finding in findings)
    assert {f"HEAD {SHIP24}", f"POST {SHIP24}"} <= {finding["subject"] for finding in findings}


def test_doctor_finds_keys_that_were_sorted_by_other_rules(own_cluster: Cluster, tmp_path: Path) -> None:
    url = own_cluster.create_database("sorted", "en")
    make_tables(url)
    env = {"RECEIVER_DATABASE_URL": url}
    assert "collation" not in run_command("doctor", cwd=tmp_path, env=env).stdout
    own_cluster.execute("UPDATE pg_database SET datcollversion = '1' WHERE datname = 'sorted'")
    assert 'REINDEX DATABASE "sorted"' in " ".join(run_command("doctor", cwd=tmp_path, env=env).stdout.split())


def test_doctor_fails_when_the_service_or_the_tables_are_missing(service: StartService, sqlite_url: str) -> None:
    stopped = service(sqlite_url)
    assert stopped.stop() == 0
    assert "no answer at" in run(stopped, "doctor", code=1)
    file = Path(sqlite_url.removeprefix("sqlite:///"))
    file.unlink()
    assert "Put the file back" in " ".join(run(stopped, "doctor", code=1).split())  # lines end where the path's length has it
    Path(f"{file}.lock").unlink()
    assert "receiver migrate" in " ".join(run(stopped, "doctor", code=1).split())


def test_the_help_lists_every_command_by_group_and_cuts_nothing(tmp_path: Path) -> None:
    shown = run_command("--help", cwd=tmp_path, env={"COLUMNS": "80"}).stdout
    groups = re.findall(r"^(\w+):$", shown, re.MULTILINE)
    assert groups == ["Options", "Serve", "Look", "Change", "Recover", "Test", "Shell"]
    assert [line for line in shown.splitlines() if len(line) > 80] == []
    listed = dict(re.findall(r"^  ([a-z-]+) {2,}(.+)$", shown.partition("Serve:")[2], re.MULTILINE))
    context = click.Context(commands)
    summaries = {name: commands.get_command(context, name) for name in commands.list_commands(context)}
    assert listed == {name: command and (command.help or "").partition("\n\n")[0] for name, command in summaries.items()}


def test_no_list_of_commands_has_a_text_that_is_cut() -> None:
    groups = {" ".join(words): command for words, command in walk(commands) if isinstance(command, click.Group)}
    shown = {name: group.get_help(click.Context(group, max_content_width=80)) for name, group in groups.items()}
    assert [name for name, text in shown.items() if "..." in text.partition("Commands:")[2]] == []


def test_an_unknown_command_is_refused_with_the_nearest_one(tmp_path: Path) -> None:
    done = run_command("xplain", cwd=tmp_path, env={})
    assert (done.returncode, "Did you mean 'explain'?" in done.stderr) == (2, True)


def test_wrong_settings_are_one_line_that_names_the_variable(tmp_path: Path) -> None:
    env = environment("sqlite:///receiver.db", ship24_ip_polcy="off")
    done = run_command("serve", cwd=tmp_path, env=env)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == ("receiver: RECEIVER_SHIP24_IP_POLCY is not a setting. The nearest one is RECEIVER_SHIP24_IP_POLICY.\n")


def test_a_port_that_is_taken_is_said_and_leaves_no_process(service: StartService, tmp_path: Path) -> None:
    first = service(f"sqlite:///{tmp_path}/first.db")
    env = first.env | {"RECEIVER_DATABASE_URL": f"sqlite:///{tmp_path}/second.db"}
    assert run_command("migrate", cwd=tmp_path, env=env).returncode == 0
    done = run_command("serve", cwd=tmp_path, env=env)
    assert done.returncode == 2
    assert f"port {first.port}" in done.stderr
    assert run_command("migrate", cwd=tmp_path, env=env).returncode == 0  # the lock is free again
