"""Tasks that begin at the overview, in the number of actions that they may take: does the shop get it, and do we?"""

from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPConnection

import pytest

from receiver.web.console.links import to_tracker
from tests.conftest import StartService
from tests.harness import ship24
from tests.harness.browser import DESK, PHONE
from tests.harness.changes import SECRET, write_targets
from tests.harness.console_client import OPS
from tests.harness.endpoint import TAKE, answering, say
from tests.harness.service import SHIP24, Reply, Service, serving, wait_until
from tests.harness.storage import Plus, update_rows
from tests.harness.tasks import Task
from tests.web.console.conftest import OpenTab

PACKAGE = "/webhooks/shiipp/new-package"
SENDER, ELSEWHERE = "127.0.0.2", "127.0.0.1"
SHIIPP, OLD, NEW = "the-shiipp-token-of-these-tests", "the-old-token-of-these-tests", "the-new-token-of-these-tests"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with a shop that takes its changes, and a warehouse that refuses them."""
    directory = tmp_path_factory.mktemp("tasks")
    with ExitStack() as stack:
        shop = stack.enter_context(answering(TAKE))
        warehouse = stack.enter_context(answering(say(422, body=b"unknown carrier fr-post")))
        write_targets(directory / "service", shop=shop.url, warehouse=warehouse.url)
        settings = {
            "ops_tokens": f"anna:{OPS}",
            "shiipp_tokens": SHIIPP,
            "ship24_ip_policy": "enforce",
            "ship24_allowed_ips": SENDER,
            "target_secrets": f"shop:{SECRET},warehouse:{SECRET}",
        }
        service = stack.enter_context(serving(directory / "service", f"sqlite:///{directory}/receiver.db", **settings))
        for number in range(3):
            assert send(service, f"parcel-{number}").status == 200
        wait_until(lambda: service.count("delivered_changes", target="shop") == 3, "the shop has its changes")
        wait_until(lambda: len(list_failing(service)) == 3, "the warehouse refuses its changes")
        yield service


def send(to: Service, tracker_id: str, address: str = SENDER) -> Reply:
    """Send a message of Ship24 from this address."""
    connection = HTTPConnection("127.0.0.1", to.port, source_address=(address, 0))
    try:
        return to.post(ship24.body(ship24.item(tracker_id=tracker_id)), SHIP24, connection=connection)
    finally:
        connection.close()


def list_failing(of: Service) -> list[str]:
    return [row["tracker_id"] for row in of.table("dispatches", target="warehouse") if row["error"] is not None]


def test_a_parcel_arrived_and_the_shop_got_it(task: Task) -> None:
    task.fill("Search everything", "TN-parcel-1")
    task.press("Enter")
    task.see("Arrived at the sorting centre", "TN-parcel-1")
    task.see("Delivered", "answered 200", within=task.row("1", "shop"))
    assert task.actions <= 3


def test_why_a_parcel_was_not_delivered_to_a_target(task: Task) -> None:
    task.see("Target warehouse fails: warehouse answered 422.")
    task.fill("Search everything", "TN-parcel-2")
    task.press("Enter")
    task.see("Failing", "warehouse answered 422.", "unknown carrier fr-post", "Due", within=task.row("1", "warehouse"))
    assert task.actions <= 4


def test_the_parcels_that_a_target_did_not_get(task: Task) -> None:
    task.click("link", "Targets", within=task.row("Target warehouse fails"))
    task.click("link", "List changes for warehouse")
    task.see("TN-parcel-0", "TN-parcel-1", "TN-parcel-2", "unknown carrier fr-post")
    task.page.go_back()
    task.click("link", "Trackers not delivered to warehouse")
    task.see("TN-parcel-0", "TN-parcel-1", "TN-parcel-2", within=task.page.get_by_role("main"))
    assert task.actions == 3


def test_a_change_waits_because_its_target_is_paused(running: Service, task: Task) -> None:
    task.click("link", "Targets", within=task.page.get_by_role("navigation"))
    task.click("button", "Pause", within=task.row("warehouse"))
    task.see("Paused", within=task.row("warehouse"))
    task.fill("Search everything", "TN-parcel-2")
    task.press("Enter")
    task.see("Failing", "The target is paused.", within=task.row("1", "warehouse"))
    task.click("link", "Overview")
    task.see("Target warehouse is paused", "3 waiting.")
    task.click("link", "Targets", within=task.row("Target warehouse is paused"))
    task.click("button", "Resume", within=task.row("warehouse"))
    task.see("Failing", within=task.row("warehouse"))
    assert task.actions == 7


def test_pages_about_targets_can_be_read_and_fit(running: Service, open_tab: OpenTab) -> None:
    tab = open_tab()
    found = {}
    for path in ("/ops/targets", "/ops/changes", to_tracker("ship24", "parcel-1")):
        found[path] = [tab.open(path), *tab.unlabelled()]
        tab.page.evaluate("document.querySelectorAll('main details').forEach((node) => { node.open = true; })")
        for width in (DESK["width"], PHONE["width"]):
            tab.page.set_viewport_size({"width": width, "height": DESK["height"]})
            found[path] += [*tab.faint_in_each_theme(), *[f"{tab.overflow()} pixels too wide"] * (tab.overflow() > 0)]
    assert {path: faults for path, faults in found.items() if faults != [200]} == {}


def test_a_test_delivery_that_gets_403_gets_in(running: Service, task: Task) -> None:
    refused = send(running, "test", ELSEWHERE)
    assert refused.status == 403
    task.page.reload()
    task.see("IP address not allowed: 1", "open a setup window")
    task.click("link", "Open setup window")
    task.click("button", "Open window")
    task.see("left")
    assert send(running, "test", ELSEWHERE).status == 200
    assert task.actions <= 3


def test_a_401_of_shiipp_has_its_cause(running: Service, task: Task) -> None:
    refused = running.post(b'{"package_id": "p1"}', PACKAGE, "the-token-of-these-tests")
    assert refused.status == 401
    task.page.reload()
    task.see("Nothing from Shiipp gets in", "This is a token of another source")
    task.click("link", "Rejected deliveries", within=task.row("Nothing from Shiipp gets in"))
    task.see("401 Rejected", "token of another source")
    assert task.actions <= 3


def test_ship24_rotated_its_secret(service: StartService, sqlite_url: str, open_tab: OpenTab) -> None:
    """Walk the guide "Change a token": the page Settings says what each step waits for, and no delivery is rejected."""
    own = service(sqlite_url, ops_tokens=f"anna:{OPS}", ship24_tokens=f"spring:{OLD}")
    statuses = [own.post(ship24.single(), token=OLD).status]
    restart(own, f"autumn:{NEW},spring:{OLD}")
    statuses.append(own.post(ship24.single(), token=OLD).status)
    task = Task(open_tab(own))
    task.click("link", "Settings")
    task.see("Never used", within=task.row("autumn"))
    task.see("Last used", within=task.row("spring"))
    statuses.append(own.post(ship24.single(), token=NEW).status)
    two_days = 2 * 86_400 * 1_000_000
    update_rows(sqlite_url, "token_uses", {"token": "spring"}, last_used_at=Plus(-two_days))
    update_rows(sqlite_url, "known_tokens", first_seen_at=Plus(-two_days))
    task.page.reload()
    task.see("Replaced by autumn: safe to remove", within=task.row("spring"))
    restart(own, f"autumn:{NEW}")
    statuses.append(own.post(ship24.single(), token=NEW).status)
    assert statuses == [200] * 4
    assert task.actions == 1


def restart(of: Service, tokens: str) -> None:
    """Restart with other tokens of Ship24."""
    assert of.stop() == 0
    of.env["RECEIVER_SHIP24_TOKENS"] = tokens
    of.restart()
    names = {token.partition(":")[0] for token in tokens.split(",")}
    wait_until(lambda: list_tokens(of) == names, "the tokens are recorded")


def list_tokens(of: Service) -> set[str]:
    return {row["token"] for row in of.table("known_tokens", source="ship24") if row["removed_at"] is None}
