"""Tasks of operators: what was not applied today and what to do, and the quarantine as a worklist."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.harness import ship24
from tests.harness.console_client import OPS
from tests.harness.service import Service, serving
from tests.harness.tasks import Task


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that got an applied message, one that is out of date, and three that cannot be applied."""
    directory = tmp_path_factory.mktemp("quarantine")
    with serving(directory / "service", f"sqlite:///{directory}/receiver.db", ops_tokens=f"anna:{OPS}") as service:
        service.post(ship24.single("new", tracker_id="t", events=[ship24.event("e2", "2025-03-02T10:00:00")]))
        service.post(ship24.single("late", tracker_id="t", events=[ship24.event("e1", "2025-03-01T10:00:00")]))
        put_aside(service, "a", "b")
        service.post(ship24.body("no object"))
        yield service


def put_aside(service: Service, *names: str) -> None:
    items = [ship24.item(name, f"of-{name}", [ship24.event(f"of-{name}", "no time")]) for name in names]
    assert service.post(ship24.body(*items)).outcomes() == ["quarantined"] * len(names)


def test_what_was_not_applied_today_and_what_to_do(task: Task) -> None:
    task.click("link", "Not applied today")
    task.see("Out of date: older than current status", "Quarantined: invalid event time", "Quarantined: item is not an object")
    expect(task.row("Applied")).to_have_count(0)
    task.click("link", "late")
    task.see("Nothing to do: the tracker follows its newest event.")
    assert task.actions <= 3


def test_what_to_do_about_an_item_without_an_id(task: Task) -> None:
    task.click("link", "Not applied today")
    task.click("link", "What to do", task.row("item is not an object"))
    task.see("The sender sent something else than a JSON object, so nothing can be read.")
    expect(task.page.locator("article.quarantined")).to_have_count(1)
    assert task.actions <= 3


def test_a_ticked_box_stays_although_newer_messages_fill_the_page(running: Service, task: Task) -> None:
    """And the selected message is dismissed with a note, after a look at what happens."""
    items = task.page.locator("article.quarantined")
    task.click("link", "Quarantine", task.row("3 messages in quarantine"))
    ticked = items.filter(has=task.page.get_by_role("link", name="Message a", exact=True)).get_by_role("checkbox")
    ticked.check()
    put_aside(running, *(f"c{number}" for number in range(20)))
    task.page.mouse.move(0, 0)
    with task.page.expect_response(task.page.url):
        task.page.evaluate("document.activeElement.blur(); document.dispatchEvent(new Event('visibilitychange'))")
    expect(items).to_have_count(21)
    expect(ticked).to_be_checked()
    task.click("button", "Dismiss selected …")
    task.see("1 message would be dismissed.")
    task.fill("Note (optional)", "as agreed")
    task.click("button", "Dismiss")
    expect(items).to_have_count(20)
    (dismissed,) = running.get("/ops/api/quarantine?state=dismissed", OPS).json()["items"]
    assert (dismissed["message_id"], dismissed["note"]) == ("a", "as agreed")
