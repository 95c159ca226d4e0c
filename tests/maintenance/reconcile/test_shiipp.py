"""Exports of Shiipp's packages against what has arrived, through a running service and on the command line."""

import base64
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from receiver.sources import make_sources
from receiver.web.api.schemas.recovery import ReconcileAnswer
from tests.harness.command import run_command
from tests.harness.database_contents import contents_beside_service, differing
from tests.harness.rows import table_rows
from tests.harness.service import Reply, Service, bearer, wait_until
from tests.harness.table import each_row
from tests.harness.workbook import write_workbook

OPS = "the-ops-token-of-these-tests"
SHIIPP = "the-shiipp-token-of-these-tests"
PACKAGE, MANIFEST = "/webhooks/shiipp/new-package", "/webhooks/shiipp/manifest-status"
PATH = "/ops/api/reconcile/shiipp"
HEADER = ["User Code", "Package ID", "Tracking Number", "House Number", "Entry Date Time", "Manifest Number", "Status"]


@pytest.fixture
def running(shared_service: Callable[..., Service]) -> Service:
    return shared_service(shiipp_tokens=SHIIPP, ops_tokens=f"anna:{OPS}")


def row(number: int, **more: str) -> list[str]:
    """Return the cells of a package."""
    cells = {
        "User Code": f"A{number}",
        "Package ID": f"p-{number}",
        "Tracking Number": f"TN{number}",
        "House Number": f"H{number}",
        "Entry Date Time": f"2025-05-0{number}T10:00:00",
    }
    return [(cells | more).get(name, "") for name in HEADER]


def csv(*rows: Sequence[str], header: Sequence[str] = HEADER, separator: str = ",") -> bytes:
    return "\r\n".join(separator.join(cells) for cells in (header, *rows)).encode()


def package(number: int, **more: Any) -> dict[str, Any]:
    """Return the body of the same package as Shiipp sends it."""
    time = f"2025-05-0{number}T10:00:00"
    return {"package_id": f"p-{number}", "tracking_number": f"TN{number}", "entry_date_time": time, **more}


def send(running: Service, item: Any, path: str = PACKAGE) -> list[str]:
    return running.post(orjson.dumps(item), path=path, token=SHIIPP).outcomes()


def ask(running: Service, **body: Any) -> Reply:
    return running.call("POST", PATH, orjson.dumps(body), [("Content-Type", "application/json"), *bearer(OPS)])


def reconcile(running: Service, *files: bytes, dry_run: bool = False) -> Any:
    """Compare exports through the API; return the report."""
    named = [{"name": f"{n}.csv", "content": base64.b64encode(content).decode()} for n, content in enumerate(files, 1)]
    answer = ask(running, files=named, dry_run=dry_run)
    assert answer.status == 200, answer.body
    ReconcileAnswer.model_validate(answer.json(), strict=True)
    wait_until(lambda: not ask(running, run=answer.json()["id"]).json()["goes_on"], "it ends")
    run = ask(running, run=answer.json()["id"]).json()
    assert run["problem"] is None
    assert run["ended_at"] is not None
    return run["report"]


def numbers(report: Any, *names: str) -> list[int]:
    return [found["number"] if isinstance(found := report[name], dict) else found for name in names]


def test_only_what_never_came_is_brought_in_and_a_second_run_finds_nothing(running: Service) -> None:
    assert send(running, package(1)) == ["applied"]
    before = contents_beside_service(running.database_url)
    report = reconcile(running, csv(row(1), row(2), row(3)), dry_run=True)
    assert differing(before, contents_beside_service(running.database_url)) == {"audit", "reconciliations"}
    assert numbers(report, "examined", "complete", "repaired", "messages", "failed") == [3, 1, 2, 2, 0]
    done = reconcile(running, csv(row(1), row(2), row(3)))
    assert done == report
    assert report["repaired"]["examples"] == ["p-2", "p-3"]
    (delivery,) = running.table("deliveries", "origin", "kind", "note", "token", "received", origin="reconcile")
    assert delivery == {**delivery, "kind": "new-package", "token": None, "received": 2}
    assert delivery["note"] == "Brought in by anna. From the packages export of Shiipp: 1.csv, lines 3 to 4."
    (tracker,) = running.table("trackers", tracker_id="p-2")
    assert (tracker["tracking_number"], tracker["client_tracker_id"], tracker["shipment_reference"]) == ("TN2", "A2", "H2")
    assert tracker["latest_occurrence"] == "2025-05-02T10:00:00"
    audited = running.table("audit", "actor", "action", order="done_at")
    assert [entry["action"] for entry in audited] == ["reconcile", "reconcile", "deliveries import"]
    assert {entry["actor"] for entry in audited} == {"anna"}
    again = reconcile(running, csv(row(1), row(2), row(3)))
    assert numbers(again, "examined", "complete", "repaired", "messages") == [3, 3, 0, 0]


def test_a_later_true_webhook_is_a_duplicate_and_brings_its_details(running: Service) -> None:
    reconcile(running, csv(row(1)))
    assert send(running, package(1, description="a lamp", user_code="A9")) == ["duplicate"]
    assert running.count("events", tracker_id="p-1") == 1
    (tracker,) = running.table("trackers", "client_tracker_id", "moves", tracker_id="p-1")
    assert (tracker["client_tracker_id"], tracker["moves"]) == ("A9", 1)


def test_both_orders_end_in_the_same_events_and_state(running: Service) -> None:
    names = ("status", "status_milestone", "latest_occurrence", "latest_message_id", "moves")
    reconcile(running, csv(row(1)))
    send(running, package(1))
    (late,) = running.table("trackers", *names, tracker_id="p-1")
    send(running, package(2))
    reconcile(running, csv(row(2)))
    (early,) = running.table("trackers", *names, tracker_id="p-2")
    assert [each["latest_message_id"] for each in (late, early)] == ["package:p-1", "package:p-2"]
    different = {"latest_occurrence", "latest_message_id"}
    assert {k: late[k] for k in names if k not in different} == {k: early[k] for k in names if k not in different}


def test_packages_whose_bodies_have_no_id_are_compared_and_brought_in_by_number(running: Service) -> None:
    by_number = {"tracking_number": "tn1", "entry_date_time": "2025-05-01T10:00:00"}
    assert send(running, by_number) == ["applied"]
    report = reconcile(running, csv(row(1), row(2)))
    assert numbers(report, "complete", "repaired") == [1, 1]
    assert report["repaired"]["examples"] == ["package:TN2"]
    assert send(running, {"tracking_number": "TN2", "entry_date_time": "2025-05-02T10:00:00"}) == ["duplicate"]
    assert running.count("trackers") == 2
    assert numbers(reconcile(running, csv(row(1), row(2))), "complete", "repaired") == [2, 0]


def test_rows_without_an_id_are_found_by_their_number(running: Service) -> None:
    send(running, package(1))
    report = reconcile(running, csv(row(1, **{"Package ID": "", "Tracking Number": "tn1"})))
    assert numbers(report, "complete", "repaired") == [1, 0]


def test_packages_with_one_number_and_two_ids_are_two_and_rows_of_one_package_are_one(running: Service) -> None:
    report = reconcile(running, csv(row(1), row(2, **{"Tracking Number": "TN1"}), row(1), row(1, **{"Package ID": "P-1"})))
    assert numbers(report, "examined", "complete", "repaired") == [4, 2, 2]
    assert running.count("trackers") == 2


def test_manifests_with_another_status_are_listed_and_not_changed(running: Service) -> None:
    send(running, {"manifest_id": "m-1", "manifest_number": "MAN-1", "status": "ready"}, MANIFEST)
    send(running, {"manifest_number": "MAN-2", "status": "Shipped"}, MANIFEST)
    rows = [
        row(1, **{"Manifest Number": "MAN-1", "Status": "shipped"}),
        row(2, **{"Manifest Number": "MAN-1", "Status": "shipped"}),
        row(3, **{"Manifest Number": "MAN-2", "Status": "shipped"}),
        row(4, **{"Manifest Number": "MAN-3", "Status": "completed"}),
        row(5, **{"Manifest Number": "MAN-4", "Status": "draft"}),
        row(6, **{"Manifest Number": "MAN-2", "Status": "received"}),  # the status of the package
    ]
    report = reconcile(running, csv(*rows))
    assert report["differing"] == {
        "number": 2,
        "examples": ["MAN-1: shipped in the export, ready here", "MAN-3: completed in the export, unknown here"],
    }
    assert running.value("trackers", "status", tracker_id="manifest:m-1") == "ready"
    assert running.value("links", "manifest", package="p-1") == "manifest:m-1", "the manifest has an id here"
    assert running.value("links", "manifest", package="p-3") == "manifest:MAN-2"


def test_a_bad_row_is_reported_by_its_line_and_the_others_go_on(running: Service) -> None:
    rows = [
        row(1),
        row(2, **{"Tracking Number": "=A1"}),
        row(3, **{"User Code": "#REF!"}),
        row(4, **{"Tracking Number": "1.23457E+14"}),
        row(5, **{"House Number": "x" * 10_001}),
        row(6, **{"Package ID": "", "Tracking Number": ""}),
        [*row(7), "more"],
        row(8, **{"Entry Date Time": "2999-01-01T10:00:00"}),
        row(9),
    ]
    report = reconcile(running, csv(*rows))
    assert numbers(report, "repaired", "failed") == [2, 7]
    found = report["failed"]["examples"]
    expected = (
        "1.csv, line 3: column Tracking Number: a formula",
        "1.csv, line 4: column User Code: an error value",
        "1.csv, line 5: column Tracking Number: a number that a spreadsheet shortened",
        "1.csv, line 6: column House Number: expected at most 10000 characters",
        "1.csv, line 7: no package ID and no tracking number",
        "1.csv, line 8: more cells than the header has columns",
        "1.csv, line 9: in quarantine: Event time is too far in the future",
    )
    assert [text.startswith(start) for text, start in zip(found, expected, strict=True)] == [True] * 7, found
    assert numbers(reconcile(running, csv(*rows)), "repaired", "failed") == [0, 6], "what is in quarantine is known"


@each_row(
    "content, words",
    [
        (b"", "Line 1: expected the packages export"),
        (b"Name,Branch\nA,B\n", "Line 1: expected the packages export"),
        (b"Package ID,Package_id\nA,B\n", "Line 1, column 2: Package_id is already column 1"),
        (csv(row(1)) + b"\r\n\xe4", "Line 3, character 1: byte 0xE4 is not UTF-8"),
        (csv(row(1)) + b"\0", "Line 2: expected text; there is a NUL"),
        (b"\xd0\xcf\x11\xe0" + b"\0" * 100, "This is a workbook of old Excel"),
        (b"PK\x03\x04 and no more", "The workbook is damaged"),
    ],
)
def test_a_file_that_is_no_export_is_refused_before_anything_is_brought_in(running: Service, content: bytes, words: str) -> None:
    files = [{"name": name, "content": base64.b64encode(each).decode()} for name, each in (("1", csv(row(1))), ("2", content))]
    answer = ask(running, files=files)
    assert answer.status == 422
    assert answer.json()["error"]["message"].startswith(f"2: {words}"), answer.body
    assert running.count("trackers") == 0


@each_row("body, status", [({"files": [{"name": "x", "content": "no base64"}]}, 422), ({}, 422), ({"run": "unknown"}, 404)])
def test_a_wrong_request_is_refused(running: Service, body: dict[str, Any], status: int) -> None:
    assert ask(running, **body).status == status


def test_what_makes_the_rest_unreadable_is_said_after_what_came_before(running: Service) -> None:
    report = reconcile(running, csv(row(1), row(2)) + b'\r\nA3,"p-3"x,TN3\r\n' + csv(row(4)))
    assert numbers(report, "repaired", "failed") == [2, 1]
    (found,) = report["failed"]["examples"]
    assert found.startswith("1.csv, line 4: ")
    assert found.endswith("Nothing after it was read")


def test_a_second_header_with_other_columns_ends_the_file(running: Service) -> None:
    state = [*HEADER, "State"]
    other = csv(["TN3", "A3"], header=["Tracking Number", "User Code"])
    report = reconcile(
        running, csv([*row(1), "TN"], header=state) + b"\r\n" + csv([*row(2), "TN"], header=state) + b"\r\n" + other
    )
    assert numbers(report, "repaired", "failed") == [2, 1]
    (found,) = report["failed"]["examples"]
    assert found.startswith("1.csv, line 5: a second header, with other columns")
    assert running.count("trackers") == 2


def test_erased_packages_stay_erased(running: Service) -> None:
    send(running, package(1, first_name="Ann"))
    done = run_command("forget", "--tracker", "p-1", "--yes", cwd=running.directory, env=running.env)
    assert done.returncode == 0, done.stderr
    with_name = [*HEADER, "First Name"]
    export = csv([*row(1), "Ann"], [*row(2), "Ben"], header=with_name)
    assert numbers(reconcile(running, export), "examined", "repaired") == [1, 1]
    (tracker,) = running.table("trackers", "shipment", tracker_id="p-1")
    assert tracker["shipment"] is None
    assert running.count("deliveries", origin="reconcile") == 1


def test_packages_that_arrived_meanwhile_and_are_in_no_export_are_only_here(running: Service) -> None:
    for number in (1, 2, 3, 4):
        send(running, package(number))
    report = reconcile(running, csv(row(1)), csv(row(3)))
    assert report["only_here"] == {"number": 1, "examples": ["p-2"]}, "p-4 came after the last one of the exports"
    assert numbers(report, "examined", "complete") == [2, 2]


def test_a_body_is_read_by_the_field_paths_of_the_settings(shared_service: Callable[..., Service], tmp_path: Path) -> None:
    paths = {"package_id": ["data.ids.0"], "tracking_number": ["/parcel/tn"]}
    config = tmp_path / "receiver.toml"
    config.write_text("[shiipp_new_package]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in paths.items()))
    running = shared_service(shiipp_tokens=SHIIPP, ops_tokens=f"anna:{OPS}", config=str(config))
    assert numbers(reconcile(running, csv(row(1))), "repaired") == [1]
    assert send(running, {"data": {"ids": ["p-1"]}, "parcel": {"tn": "TN1"}}) == ["duplicate"]
    stored = running.table("bodies", "body", order="delivery_id")[0]
    (source,) = (each for each in make_sources(paths, {}) if each.kind == "new-package")
    assert [message.tracker_id for message in source.split(bytes(stored["body"]))] == ["p-1"]


def run(running: Service, *arguments: str, code: int = 0) -> Any:
    done = run_command("reconcile", "shiipp", *arguments, cwd=running.directory, env=running.env)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return json.loads(done.stdout) if "--json" in arguments else done.stdout + done.stderr


def test_the_command_takes_csv_and_xlsx_together_beside_the_service_and_without_it(running: Service) -> None:
    (running.directory / "a\udce9.csv").write_bytes(b"\xef\xbb\xbf" + csv(row(1), HEADER, row(2), separator=";"))
    (running.directory / "b.xlsx").write_bytes(
        write_workbook([HEADER, row(3), row(4, **{"Tracking Number": "=B1"})], shared=True)
    )
    files = ["--file", "a\udce9.csv", "--file", "b.xlsx"]
    shown = run(running, *files, "--dry-run", code=1)
    for words in (
        "looked at          3",
        "to repair          3",
        "b.xlsx, line 3: column Tracking Number: a formula",
    ):
        assert words in shown, shown
    report = run(running, *files, "--json", code=1)
    assert report["finished"]
    assert numbers(report, "examined", "repaired", "failed") == [3, 3, 1]
    running.stop()
    assert numbers(run(running, *files, "--json", code=1), "complete", "repaired", "failed") == [3, 0, 1]
    kept = table_rows(running.database_url, "reconciliations", "source", "request", "ended_at", order="began_at")
    assert [json.loads(each["request"])["files"] for each in kept] == [["a\N{REPLACEMENT CHARACTER}.csv", "b.xlsx"]] * 3
    assert all(each["source"] == "shiipp" and each["ended_at"] for each in kept)
    running.start()
    listed = json.loads(reconcile_command(running, "list", "--json"))["items"]
    assert [each["request"]["files"] for each in listed] == [["a\N{REPLACEMENT CHARACTER}.csv", "b.xlsx"]] * 3
    assert running.get("/ops/api/reconciliations", OPS).json()["items"] == listed
    assert "Shiipp" in reconcile_command(running, "list")
    assert "b.xlsx, line 3: column Tracking Number: a formula" in reconcile_command(running, "show", listed[0]["id"])
    assert json.loads(reconcile_command(running, "show", listed[0]["id"], "--json")) == listed[0]


def reconcile_command(running: Service, *arguments: str) -> str:
    done = run_command("reconcile", *arguments, cwd=running.directory, env=running.env)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_an_unreadable_file_is_one_line(running: Service) -> None:
    (running.directory / "bad.csv").write_bytes(b"Package ID\n\xff\n")
    assert run(running, "--file", "bad.csv", code=1).startswith("receiver: bad.csv: Line 2, character 1: byte 0xFF")
    assert run(running, "--file", "nowhere.csv", code=2).count("\n") <= 4
