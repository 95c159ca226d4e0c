"""The database is lost under load: a copy and what the vendor still knows make it whole."""

import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

from tests.faults.scenario import Result, Scenario, Size
from tests.faults.verification import check_states, find_doubled_rows, find_lost_messages
from tests.harness.command import run_process
from tests.harness.database_contents import check_whole
from tests.harness.postgresql import folder_for_servers, running_cluster
from tests.harness.rows import table_rows
from tests.harness.service import Service, serving
from tests.harness.ship24 import Item, body, event, item
from tests.harness.ship24_api import KEY, FakeShip24, fake_ship24
from tests.harness.storage import make_tables
from tests.harness.store import opened
from tests.harness.traffic import NewBodies, Senders

_OPS = "the-ops-token-of-the-faults"
_PAUSE_SECONDS = 0.05  # of each sender: everything that is lost has to be brought in again
_COMMAND_SECONDS = 600.0  # a reconciliation asks for one history in two seconds
_LATER = "begun-after-the-copy"
_ELSEWHERE = "answered-elsewhere"


class Copying(NamedTuple):
    """The way in which an operator copies a database, and puts the copy in its place; `lose` removes the database."""

    copy: Callable[[], object]
    lose: Callable[[], object]
    restore: Callable[[], object]


def lose_file(directory: Path, size: Size) -> Result:
    """The file is removed with its WAL; the copy is that of `receiver backup`."""
    url, copy = f"sqlite:///{directory}/receiver.db", str(directory / "copy.db")
    with fake_ship24() as vendor, _serving(directory, url, vendor) as service:

        def lose() -> None:
            for file in directory.glob("receiver.db*"):
                file.unlink()

        copying = Copying(lambda: run(service, "backup", copy), lose, lambda: run(service, "restore", copy))
        return _recover("database file lost, copy restored", copying, service, vendor, size)


def lose_database(directory: Path, size: Size) -> Result:
    """The database is dropped; the copy is that of pg_dump."""
    with ExitStack() as stack:
        place = stack.enter_context(folder_for_servers())
        cluster = stack.enter_context(running_cluster(place / "cluster"))
        vendor = stack.enter_context(fake_ship24())
        service = stack.enter_context(_serving(directory, cluster.create_database("faulty"), vendor))
        copy = place / "cluster" / "receiver.dump"

        def restore() -> None:
            cluster.create_database("faulty")
            cluster.restore_database("faulty", copy)

        copying = Copying(lambda: cluster.dump_database("faulty", copy), lambda: cluster.drop_database("faulty"), restore)
        return _recover("PostgreSQL lost, dump restored", copying, service, vendor, size)


def _serving(directory: Path, url: str, vendor: FakeShip24) -> Any:
    return serving(directory, url, ops_tokens=_OPS, ship24_api_key=KEY, ship24_api_url=vendor.url)


def _recover(fault: str, copying: Copying, service: Service, vendor: FakeShip24, size: Size) -> Result:
    """Copy under load, go on, lose the database, restore it and ask the vendor, while the senders go on."""
    parcels = NewBodies(trackers=12 if size.is_long else 2)
    messages = int(size.seconds * 100)
    with Senders(service, senders=size.senders, parcels=parcels, pause_seconds=_PAUSE_SECONDS) as traffic:
        traffic.wait_for_answers(messages)
        copying.copy()
        others = _begin_others(service)
        traffic.wait_for_answers(messages)
        service.kill()
        copying.lose()
        copying.restore()
        restored = monotonic()
        service.restart()
        recovery = traffic.recovery_after(restored)
        _tell(vendor, [*parcels.items.copy().values(), *others])
        report = reconcile(service)
        seconds = monotonic() - restored
        traffic.stop()
    assert report["messages"] > messages // 2, report  # of what was stored after the copy, copies not counted
    assert report["delivered_elsewhere"] > 0, report
    lost = set(find_lost_messages(traffic, service.database_url))
    lost |= traffic.settle()
    _tell(vendor, [*parcels.items.values(), *others])
    _check_complete(reconcile(service), len(vendor.trackers))
    check_whole(service.database_url)
    check_states(traffic, service.database_url)
    _compare_with_undisturbed(service, others, parcels)
    doubled = set(find_doubled_rows(service.database_url))
    database = "SQLite" if service.database_url.startswith("sqlite") else "PostgreSQL"
    note = f"{report['messages']:,} messages came back from the vendor, {seconds:.0f} s after the restore"
    return Result(fault, database, traffic.sent, traffic.answered, len(lost), len(doubled), recovery, note)


def run(service: Service, *arguments: str) -> str:
    """Run a command beside a service to its end; return its output."""
    done = run_process(*arguments, cwd=service.directory, env=service.env, seconds=_COMMAND_SECONDS)
    assert done.returncode == 0, done.stderr
    return done.stdout


def reconcile(service: Service) -> Mapping[str, Any]:
    """Compare all trackers with the vendor's; return the report."""
    report: Mapping[str, Any] = json.loads(run(service, "reconcile", "ship24", "--all", "--json"))
    assert report["failed"]["number"] == 0, report
    return report


def _begin_others(service: Service) -> list[Item]:
    """Let a tracker begin, and another one of which something else answers the messages; return the messages of both."""
    later = item("m-later", _LATER, [event("e-m-later", "2025-03-01T10:00:00")])
    assert service.post(body(later)).outcomes() == ["applied"]
    return [later, item("m-elsewhere", _ELSEWHERE, [event("e-m-elsewhere", "2025-03-01T11:00:00")])]


def _tell(vendor: FakeShip24, items: list[Item]) -> None:
    """Let the vendor know these messages, and no others; it calls all of them delivered."""
    vendor.trackers.clear()
    for each in items:
        tracker_id = each["tracker"]["trackerId"]
        tracker = vendor.trackers.get(tracker_id) or vendor.add(tracker_id)
        tracker.events += each["events"]  # each message has an event of its own
        tracker.messages.append((each, "success"))


def _check_complete(report: Mapping[str, Any], trackers: int) -> None:
    """Check that a reconciliation looked at all trackers and found nothing."""
    found = report["examined"], report["complete"], report["messages"]
    assert found == (trackers, trackers, 0), report


def _compare_with_undisturbed(service: Service, others: list[Item], parcels: NewBodies) -> None:
    """Compare states and timelines with those of a database that was never lost."""
    undisturbed = f"sqlite:///{service.directory}/undisturbed/receiver.db"
    make_tables(undisturbed)
    with opened(undisturbed) as store:
        for call in parcels.regrouped():
            store.keep(call.body)
        store.keep(body(*others))
    assert read_end(service.database_url) == read_end(undisturbed)


def read_end(url: str) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """Return the state of each tracker, and its timeline."""
    states = table_rows(url, "trackers", "tracker_id", "latest_event_id", "latest_occurrence", "status")
    timelines = table_rows(url, "events", "tracker_id", "event_id", "message_id", "occurrence", "status")
    return sorted(tuple(row.values()) for row in states), sorted(tuple(row.values()) for row in timelines)


SCENARIOS: dict[str, Scenario] = {
    "database file lost, copy restored": lose_file,
    "PostgreSQL lost, dump restored": lose_database,
}
