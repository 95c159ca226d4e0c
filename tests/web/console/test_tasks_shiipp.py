"""Tasks about packages, manifests and customers that begin at the overview, in the number of actions that they may take."""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.harness.console_client import OPS
from tests.harness.rows import Not
from tests.harness.service import Service, serving
from tests.harness.storage import Plus, update_rows
from tests.harness.tasks import Task

SHIIPP = "the-shiipp-token-of-these-tests"
_DAY = 86_400 * 1_000_000


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with packages of eight days ago in an open manifest, in a completed one and in none, and one of today."""
    directory = tmp_path_factory.mktemp("shiipp")
    url = f"sqlite:///{directory}/receiver.db"
    with serving(directory / "service", url, ops_tokens=f"anna:{OPS}", shiipp_tokens=SHIIPP) as service:
        for package in ("shipped-1", "completed-1", "alone-1", "today-1"):
            item = {
                "package_id": package,
                "tracking_number": f"TN-{package}",
                "user_code": "JAM1",
                "weight": "3.5 lbs",
                "shipper": "Acme",
            }
            send(service, "new-package", item)
        for status in ("shipped", "completed"):
            send(service, "manifest-status", {"manifest_number": f"MAN-{status}", "status": status, "packages": [f"{status}-1"]})
        update_rows(url, "trackers", {"tracker_id": Not("today-1")}, moved_at=Plus(-8 * _DAY))
        yield service


def send(to: Service, kind: str, item: Mapping[str, object]) -> None:
    assert to.post(json.dumps(item).encode(), f"/webhooks/shiipp/{kind}", SHIIPP).outcomes() == ["applied"]


def test_trackers_without_an_update_for_a_week_as_csv(task: Task) -> None:
    task.click("link", "Trackers", within=task.page.get_by_role("navigation"))
    task.click("link", "No update for 7 days")
    task.see("TN-shipped-1", "TN-alone-1", "MAN-shipped")
    with task.page.expect_download() as download:
        task.click("link", "CSV")
    rows = csv.DictReader(io.StringIO(Path(download.value.path()).read_text(encoding="utf-8-sig")))
    assert sorted(row["tracker_id"] for row in rows) == ["alone-1", "manifest:MAN-shipped", "shipped-1"]
    assert task.actions <= 4


def test_the_state_of_the_packages_in_a_manifest(task: Task) -> None:
    task.fill("Search everything", "MAN-completed")
    task.press("Enter")
    task.see("completed", "TN-completed-1", "received at warehouse")
    task.click("link", "TN-completed-1")
    task.see("3.5 lb", "Acme", "MAN-completed", "JAM1")
    assert task.actions <= 3


def test_the_packages_of_a_customer(running: Service, task: Task, tmp_path: Path) -> None:
    """Import the list in the browser, which shows the difference first; then a code leads to the packages."""
    file = tmp_path / "customers.csv"
    file.write_text("UserCode,FirstName\nJAM1,Ann\n", encoding="utf-8")
    task.click("link", "Customers", within=task.page.get_by_role("navigation"))
    task.click("link", "Import a list")
    task.page.get_by_label("CSV file with a header, or JSON file").set_input_files(file)
    task.click("button", "Show changes first")
    task.see("1 added, 0 changed, 0 removed, 0 unchanged")
    task.click("button", "Import")
    task.see("Changes made")
    task.click("link", "Customers", within=task.page.get_by_role("navigation"))
    task.click("link", "JAM1")
    task.see("TN-shipped-1", "TN-completed-1", "TN-alone-1", "TN-today-1")
    assert running.count("customers") == 1
    assert task.actions <= 7
