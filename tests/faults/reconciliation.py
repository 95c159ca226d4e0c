"""Many trackers at a vendor with every oddity: all gaps are found and repaired, in bounded memory."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from time import monotonic, sleep
from typing import Any, NamedTuple, TypeVar

from receiver import clock
from receiver.access.bearer import Secret
from receiver.domain.reconciliation import ReconcileRequest
from receiver.domain.rows import AuditRow
from receiver.maintenance.bring_in import DeliveryImport
from receiver.maintenance.reconcile.runs import ReconcileRuns
from receiver.maintenance.reconcile.ship24_api import Ship24Api
from receiver.writer.executor import WriterCommand
from tests.faults.scenario import Result, Scenario, Size
from tests.faults.verification import find_doubled_rows
from tests.harness.rows import table_rows
from tests.harness.ship24_api import KEY, fake_ship24
from tests.harness.storage import make_tables
from tests.harness.store import MAX_BYTES, SOURCES, importing, opened
from tests.harness.vendor_gaps import Gaps, make_gaps

_SHARE = 40.0  # times our rate, which takes 35 minutes for 10,000 trackers
_PEAK_MIB = 150.0
_R = TypeVar("_R")


class Reconciled(NamedTuple):
    """The report of a run in a process of its own, the seconds that it took, and the memory that it needed at most."""

    report: dict[str, Any]
    seconds: float
    peak_mib: float

    def counts(self) -> dict[str, int]:
        """Return the findings as numbers, without those that are zero."""
        numbers = {name: found["number"] if isinstance(found, dict) else found for name, found in self.report.items()}
        return {name: number for name, number in numbers.items() if isinstance(number, int) and number}


def reconcile_many(directory: Path, size: Size) -> Result:
    """Reconcile all trackers twice: the first run finds all gaps, the second one what the vendor did not tell before."""
    trackers = 10_000 if size.is_long else 50
    url = f"sqlite:///{directory}/receiver.db"
    make_tables(url)
    with fake_ship24() as vendor:
        with opened(url) as store:
            gaps = make_gaps(vendor, store, trackers)
        missing = len(gaps.events - _read_events(url))
        first = run_apart(url, vendor.url, _SHARE)
        requests = len(vendor.calls)
        assert first.counts() == dict(gaps.report), (first.report, gaps.report)
        lost = gaps.events - _read_events(url)
        second = run_apart(url, vendor.url, _SHARE)
    _check_second(second, gaps)
    lost |= gaps.later - _read_events(url)
    assert max(first.peak_mib, second.peak_mib) < _PEAK_MIB
    pace = f"{first.seconds:.0f} s at {_SHARE:g} times the rate, {requests:,} requests, peak {first.peak_mib:.0f} MiB"
    note = f"sent: events that never came; {pace}"
    doubled = len(set(find_doubled_rows(url)))
    return Result("10,000 trackers reconciled", "SQLite", missing, missing - len(lost), len(lost), doubled, None, note)


def _check_second(second: Reconciled, gaps: Gaps) -> None:
    """Check that only the trackers are repaired for which the vendor failed before."""
    counts = second.counts()
    failed = gaps.report["failed"]
    found = counts.get("repaired", 0), counts.get("messages", 0), counts.get("failed", 0)
    assert found == (failed, failed, 0), second.report
    assert counts["examined"] == gaps.report["examined"] + failed, second.report


def _read_events(url: str) -> set[tuple[str, str]]:
    return {(row["tracker_id"], row["event_id"]) for row in table_rows(url, "events", "tracker_id", "event_id")}


def run_apart(url: str, vendor_url: str, share: float) -> Reconciled:
    """Reconcile in a process of its own, `share` times as fast as our rate."""
    command = [sys.executable, "-m", __name__, url, vendor_url, str(share)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return Reconciled(**json.loads(done.stdout.splitlines()[-1]))


def main(arguments: Iterable[str]) -> None:
    """Reconcile all trackers, and print the result as JSON."""
    url, vendor_url, share = arguments
    began = monotonic()
    report = asyncio.run(_reconcile(url, vendor_url, float(share)))
    sys.stdout.write(json.dumps(Reconciled(report, monotonic() - began, _read_peak_mib())._asdict()) + "\n")


def _read_peak_mib() -> float:
    """Return the most memory of this program. What `getrusage` says includes that of the process that it was forked from."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


async def _reconcile(url: str, vendor_url: str, share: float) -> dict[str, Any]:
    with importing(url) as (database, executor):

        async def do(command: WriterCommand[_R]) -> _R:
            return executor.do(command)

        async def read(query: Any, *values: Any) -> Any:
            return query(*values)

        runs = ReconcileRuns(do, read, database, DeliveryImport(do, SOURCES, MAX_BYTES), {})
        api = Ship24Api(vendor_url, Secret("api key", KEY), lambda seconds: sleep(seconds / share), share)
        row = await runs.begin(ReconcileRequest(all_trackers=True), _make_entry)
        row = await runs.run(row, api, _make_entry, lambda: False, lambda _row: None)
    assert row.ended_at is not None
    report: dict[str, Any] = json.loads(row.report)
    return report


def _make_entry(now: datetime, action: str, subject: str, detail: str | None) -> AuditRow:
    return AuditRow(clock.new_id(now), clock.to_micros(now), "tests", None, action, subject, detail)


SCENARIOS: dict[str, Scenario] = {"10,000 trackers reconciled": reconcile_many}

if __name__ == "__main__":
    main(sys.argv[1:])
