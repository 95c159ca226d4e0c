"""Erasure by person: the preview, the receipt, and what stays of the name."""

import json

import pytest

from tests.conftest import StartService
from tests.harness import ship24
from tests.harness.command import run_command
from tests.harness.service import Service, bearer

OPS = "the-ops-token-of-these-tests"


@pytest.fixture
def running(shared_service: StartService) -> Service:
    service = shared_service(ops_tokens=f"anna:{OPS}")
    names = {"a": "Jane Doe", "b": "Jane Roe", "c": "JANE DOE"}
    items = [ship24.item(tracker_id=key, shipment={"recipient": {"name": name}}) for key, name in names.items()]
    assert service.post(ship24.body(*items)).status == 200
    return service


def forget(running: Service, *options: str) -> tuple[int, str, str]:
    done = run_command("forget", *options, cwd=running.directory, env=running.env)
    return done.returncode, done.stdout, done.stderr


def find(running: Service, words: str) -> list[dict[str, object]]:
    items = running.call("GET", f"/ops/api/persons?q={words}", headers=bearer(OPS)).json()["items"]
    return [{"tracker": item["tracker_id"], **item["found"]} for item in items]


def test_a_person_is_shown_before_anything_is_erased(running: Service) -> None:
    code, _, shown = forget(running, "--person", "jane doe")
    assert (code, "--yes" in shown) == (2, True)
    assert "ship24/a\n  shipment.recipient.name: Jane Doe\nship24/c\n" in shown
    assert "ship24/b" not in shown
    assert len(find(running, "doe")) == 2
    assert running.count("audit", action="forget") == 0


def test_the_receipt_has_trackers_counts_and_time_but_no_name(running: Service) -> None:
    code, written, told = forget(running, "--person", "jane doe", "--yes", "--json")
    receipt = json.loads(written)
    assert (code, told, receipt["trackers"]) == (0, "", ["ship24/a", "ship24/c"])
    assert (receipt["removed"], receipt["rewritten"], receipt["emptied"]) == (0, 2, 0)
    assert receipt["erased_at"].endswith("Z")
    assert "doe" not in written.lower()
    assert find(running, "doe") == []
    assert find(running, "jane") == [{"tracker": "b", "shipment.recipient.name": "Jane Roe"}]
    entries = running.table("audit", "subject", "detail", action="forget")
    assert sorted((row["subject"], row["detail"]) for row in entries) == [("ship24/a", None), ("ship24/c", None)]
    code, _, told = forget(running, "--person", "jane doe", "--yes")
    assert (code, "No tracker has all of these words" in told) == (1, True)


def test_either_a_tracker_or_a_person_is_expected(running: Service) -> None:
    for options in ((), ("--person", "jane", "--tracker", "ship24/a")):
        code, _, told = forget(running, *options, "--yes")
        assert (code, "Expected either --tracker or --person." in told) == (2, True)
