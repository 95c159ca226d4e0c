"""Faults of one PostgreSQL server: stopped, restarted, away, read-only, or with a full disk."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from threading import Event
from time import monotonic
from typing import NamedTuple

from tests.faults.scenario import Lacking, Result, Size
from tests.faults.verification import judge
from tests.harness import ship24
from tests.harness.disk import NoDisk, fill, small_disk
from tests.harness.postgresql import Cluster, folder_for_servers, running_cluster
from tests.harness.service import Service, serving, wait_until
from tests.harness.traffic import Senders


class Scene(NamedTuple):
    """A service on a server of its own, under load."""

    cluster: Cluster
    service: Service
    traffic: Senders


@contextmanager
def scene(directory: Path, size: Size, **settings: str) -> Iterator[Scene]:
    """Give a scene; everything in it ends with the block."""
    with (
        folder_for_servers() as place,
        running_cluster(place / "cluster") as cluster,
        serving(directory, cluster.create_database("faulty"), **settings) as service,
        size.send_to(service) as traffic,
    ):
        yield Scene(cluster, service, traffic)


def let_pass(seconds: float) -> None:
    """Let the fault last, and the senders try."""
    Event().wait(seconds)


def crash(directory: Path, size: Size) -> Result:
    """The server ends without a word, as often as the time allows, and is started again."""
    return _stop_again_and_again("PostgreSQL crashes", directory, size, lambda cluster: cluster.stop("immediate"))


def restart(directory: Path, size: Size) -> Result:
    """The server is restarted as for an update of its own: everybody is sent away."""
    return _stop_again_and_again("PostgreSQL restarted", directory, size, lambda cluster: cluster.stop("fast"))


def _stop_again_and_again(fault: str, directory: Path, size: Size, stop: Callable[[Cluster], None]) -> Result:
    chance, rounds, slowest = Random(5), max(1, round(size.seconds / 5)), 0.0
    with scene(directory, size) as (cluster, service, traffic):
        for _ in range(rounds):
            traffic.wait_for_answers(chance.randint(50, 1500 if size.is_long else 300))
            stop(cluster)
            traffic.wait_for_refusals()
            cluster.start()
            slowest = max(slowest, traffic.recovery_after(monotonic()))
        return judge(fault, traffic, service.database_url, slowest, f"{rounds} times" if rounds > 1 else "")


def go_away(directory: Path, size: Size) -> Result:
    """The server is away for a while: the service stays, says so, and goes on by itself."""
    seconds = 60.0 if size.is_long else 1.5
    with scene(directory, size) as (cluster, service, traffic):
        assert service.process is not None
        number = service.process.pid
        traffic.wait_for_answers(200)
        cluster.stop("immediate")
        traffic.wait_for_refusals()
        let_pass(seconds)
        assert_away(service)
        cluster.start()
        recovery = traffic.recovery_after(monotonic())
        let_pass(size.seconds / 4)
        assert (service.process.pid, service.process.poll()) == (number, None)
        note = f"{seconds:g} s, {traffic.statuses[503]:,} deliveries were answered 503"
        return judge("PostgreSQL away for a minute", traffic, service.database_url, recovery, note)


def assert_away(service: Service) -> None:
    """Check the answers to a sender and a load balancer while the database stores nothing."""
    answer = service.post(ship24.single("while-away"))
    assert (answer.status, answer.json()["error"]["code"]) == (503, "storage_unavailable"), answer.body
    assert int(answer.headers["retry-after"]) > 0
    assert service.get("/healthz").status == 200
    assert service.get("/readyz").status == 503


def turn_read_only(directory: Path, size: Size) -> Result:
    """The server takes no writes for a while, as one does that was demoted; the connections stay."""
    with scene(directory, size) as (cluster, service, traffic):
        traffic.wait_for_answers(200)
        cluster.configure("default_transaction_read_only", "on")
        traffic.wait_for_refusals(size.senders)
        let_pass(size.seconds / 4)
        assert service.post(ship24.single("while-read-only")).status == 503
        cluster.configure("default_transaction_read_only", "off")
        recovery = traffic.recovery_after(monotonic())
        let_pass(size.seconds / 4)
        return judge("PostgreSQL turned read-only", traffic, service.database_url, recovery)


def fill_disk(directory: Path, size: Size) -> Result:
    """The server's disk fills up; after a while there is room again, and the server is started if it went down meanwhile."""
    try:
        with folder_for_servers() as place, small_disk(place / "disk", 256) as disk:
            return _fill(disk, directory, size)
    except NoDisk as reason:
        raise Lacking(str(reason)) from None


def _fill(disk: Path, directory: Path, size: Size) -> Result:
    disk.chmod(0o755)
    with (
        running_cluster(disk / "cluster", "--wal-segsize=1") as cluster,
        serving(directory, cluster.create_database("faulty")) as service,
        size.send_to(service) as traffic,
    ):
        cluster.configure("max_wal_size", "16MB")
        traffic.wait_for_answers(200)
        filler = fill(disk)
        traffic.wait_until_nothing_is_kept()  # before, some still find room in files that are there
        assert_away(service)
        filler.unlink()
        freed, starts = monotonic(), list[bool]()

        def is_back() -> bool:
            starts.append(_keep_up(cluster))
            return traffic.is_answered_after(freed)

        wait_until(is_back, "deliveries are answered again", 120)
        recovery = traffic.recovery_after(freed)
        traffic.wait_for_answers(200)
        note = "it goes down for want of room and is started again; back: that included" if any(starts) else "it stays up"
        return judge("PostgreSQL's disk full", traffic, service.database_url, recovery, note)


def _keep_up(cluster: Cluster) -> bool:
    """Restart a server that went down, as its supervisor does; return whether it had."""
    went_down = not cluster.is_running()
    if went_down:
        cluster.start()
    return went_down
