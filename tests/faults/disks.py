"""Disks that are full, slow, broken or read-only."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from time import monotonic

from tests.faults.scenario import Lacking, Result, Scenario, Size
from tests.faults.verification import judge
from tests.harness.disk import NoDisk, fill, remount, small_disk
from tests.harness.service import Service, serving
from tests.harness.system_calls import SYNCS, WRITES, NoTracing, harmed
from tests.harness.traffic import Senders

_MESSAGE_BYTES = 8192  # more than a message takes, its body and its share of the log included
_DELAYS = (10_000, 50_000)  # microseconds


@contextmanager
def _disk(directory: Path, size: Size) -> Iterator[Path]:
    """Give a disk with room for what comes before it is full."""
    megabytes = 64 + int(size.seconds * 5000 * _MESSAGE_BYTES) // 2**20
    try:
        with small_disk(directory / "disk", megabytes) as disk:
            yield disk
    except NoDisk as reason:
        raise Lacking(str(reason)) from None


@contextmanager
def _harmed_writer(service: Service, calls: str, harm: str) -> Iterator[None]:
    try:
        with harmed(service.writer().pid, calls, harm):
            yield
    except NoTracing as reason:
        raise Lacking(str(reason)) from None


def _refuse_all(traffic: Senders, service: Service, size: Size) -> None:
    """Check that no delivery is answered 2xx while none can be stored."""
    traffic.wait_until_all_are_refused()
    answered = traffic.answered
    traffic.wait_for_refusals(8 * size.senders)
    assert traffic.answered == answered, "a delivery was answered 2xx that could not be stored"
    _assert_unready(service)


def _assert_unready(service: Service) -> None:
    assert service.get("/healthz").status == 200
    assert service.get("/readyz").status == 503


def full(directory: Path, size: Size) -> Result:
    """The disk fills up under load; after a while there is room again."""
    with _disk(directory, size) as disk:
        url = f"sqlite:///{disk}/receiver.db"
        with serving(directory, url) as service, size.send_to(service) as traffic:
            traffic.wait_for_answers(int(size.seconds * 300))
            filler = fill(disk)
            traffic.wait_until_nothing_is_kept()  # before, some still find room in files that are there
            _assert_unready(service)
            filler.unlink()
            recovery = traffic.recovery_after(monotonic())
            traffic.wait_for_answers(int(size.seconds * 300))
            return judge("disk full, then room again", traffic, url, recovery)


def failing(name: str, calls: str, harm: str, directory: Path, size: Size) -> Result:
    """The writing process's system calls fail for a while."""
    url, slowest = f"sqlite:///{directory}/receiver.db", 0.0
    with serving(directory, url) as service, size.send_to(service) as traffic:
        for _ in range(2):
            traffic.wait_for_answers(int(size.seconds * 150))
            with _harmed_writer(service, calls, harm):
                _refuse_all(traffic, service, size)
            slowest = max(slowest, traffic.recovery_after(monotonic()))
        traffic.wait_for_answers(int(size.seconds * 150))
        return judge(name, traffic, url, slowest)


def slow(directory: Path, size: Size) -> Result:
    """Every sync is slow. Deliveries share one, so latency grows and throughput does not fall."""
    url = f"sqlite:///{directory}/receiver.db"
    with serving(directory, url) as service, size.send_to(service) as traffic:
        traffic.wait_for_answers(100)
        rates = []
        for delay in _DELAYS:
            with _harmed_writer(service, SYNCS, f"delay_enter={delay}"):
                before, began = traffic.answered, monotonic()
                traffic.wait_for_answers(int(size.seconds * 3_000_000 / delay), seconds=60 + size.seconds)
                rates.append(f"{(traffic.answered - before) / (monotonic() - began):.0f}/s at {delay / 1000:.0f} ms")
        assert set(traffic.statuses) == {200}
        return judge("sync takes 10 and 50 ms", traffic, url, None, ", ".join(rates))


def read_only(directory: Path, size: Size) -> Result:
    """The file system is read-only when the service comes back: it says so and ends, and serves once it is writable."""
    if os.geteuid() != 0:
        raise Lacking("only root can mount a disk")
    with _disk(directory, size) as disk:
        url = f"sqlite:///{disk}/receiver.db"
        with serving(directory, url) as service, size.send_to(service) as traffic:
            traffic.wait_for_answers(int(size.seconds * 300))
            service.kill()
            remount(disk, writable=False)
            try:
                service.restart()
            except AssertionError:
                assert service.wait() != 0
            else:
                raise AssertionError("it serves on a disk that cannot be written")
            remount(disk, writable=True)
            began = monotonic()
            service.restart()
            recovery = traffic.recovery_after(began)
            traffic.wait_for_answers(int(size.seconds * 300))
            return judge("read-only disk at the start", traffic, url, recovery)


_FAILING = {
    "sync fails (EIO)": (SYNCS, "error=EIO"),
    "disk turns read-only (EROFS)": (WRITES, "error=EROFS"),
}

SCENARIOS: dict[str, Scenario] = {
    "disk full, then room again": full,
    **{name: partial(failing, name, *harm) for name, harm in _FAILING.items()},
    "read-only disk at the start": read_only,
    "sync takes 10 and 50 ms": slow,
}
