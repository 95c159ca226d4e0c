"""Tasks that begin at the overview, in the number of actions that they may take: a person, and what was answered when."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from tests.harness import ship24
from tests.harness.console_client import OPS
from tests.harness.service import Service, serving
from tests.harness.tasks import Task
from tests.web.console.conftest import OpenTab

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with parcels of two persons."""
    directory = tmp_path_factory.mktemp("tasks")
    with serving(directory / "service", f"sqlite:///{directory}/receiver.db", ops_tokens=f"anna:{OPS}") as service:
        names = {"first": "Jane Doe", "second": "John Roe"}
        items = [ship24.item(tracker_id=key, shipment={"recipient": {"name": name}}) for key, name in names.items()]
        assert service.post(ship24.body(*items)).status == 200
        yield service


def test_an_erasure_from_a_name(running: Service, task: Task) -> None:
    task.fill("Search everything", "jane doe")
    task.press("Enter")
    task.click("link", "Search names and shipment data")
    task.see("shipment.recipient.name: Jane Doe")
    task.click("checkbox", "ship24/first")
    task.click("button", "Erase permanently")
    task.see("Erased", "ship24/first", "Bodies rewritten")
    assert task.actions <= 5
    left = running.get("/ops/api/persons?q=recipient", OPS).json()["items"], running.get("/ops/api/persons?q=roe", OPS).json()
    assert (len(left[0]), [item["tracker_id"] for item in left[1]["items"]]) == (0, ["second"])


def test_the_exact_json_that_was_answered_at_a_local_time(running: Service, open_tab: OpenTab, tmp_path: Path) -> None:
    reply = running.post(ship24.single("asked-for"))
    path = f"/ops/api/deliveries/{reply.json()['delivery_id']}"
    received = datetime.fromisoformat(running.get(path, OPS).json()["received_at"]).astimezone(BERLIN)
    task = Task(open_tab(timezone_id=str(BERLIN)))
    task.click("button", "Use mine")
    task.see("Times are in Europe/Berlin.")
    task.fill("Search everything", f"{received:%Y-%m-%d %H:%M}")
    task.press("Enter")
    task.see("Received (Berlin)")
    task.click("link", f"{received:%Y-%m-%d %H:%M:%S}", within=task.page.locator(f'[data-key="{reply.json()["delivery_id"]}"]'))
    with task.page.expect_download() as download:
        task.click("link", "Download", within=task.page.get_by_role("region", name="Response"))
    download.value.save_as(tmp_path / "answer")
    assert (tmp_path / "answer").read_bytes() == reply.body
    assert task.actions <= 5
