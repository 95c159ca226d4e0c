"""The faults of one of several processes on one PostgreSQL: the others go on."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random
from time import monotonic

from receiver import clock
from receiver.relay.target import AT_ONCE
from tests.faults.judgement import judge
from tests.faults.scenario import Result, Size
from tests.faults.servers import let_pass
from tests.faults.shop import Shop, shopping
from tests.harness.postgresql import folder_for_servers, running_cluster
from tests.harness.service import Process, Service, serving, wait_until
from tests.harness.storage import change
from tests.harness.traffic import Parcels, Traffic

_TRACKERS = 100  # so that two relays have something to do: each tracker's changes go one after the other
_LEASE_SECONDS = 90
"""How long what a relay has claimed is left to it."""


def kill_receiver(directory: Path, size: Size) -> Result:
    """Of two receivers one is killed and started again, then the other one: the senders go to the one that is there."""
    chance, rounds, slowest = Random(6), max(2, round(size.seconds / 4)), 0.0
    with (
        folder_for_servers() as place,
        running_cluster(place / "cluster") as cluster,
        serving(directory / "one", url := cluster.create_database("faulty")) as one,
        beside(one, directory / "two") as two,
        Traffic(one, two, senders=size.senders) as traffic,
    ):
        for number in range(rounds):
            traffic.wait_for_answers(chance.randint(50, 1500 if size.is_long else 300))
            killed = (one, two)[number % 2]
            killed.kill()
            slowest = max(slowest, traffic.recovery_after(monotonic()))
            killed.restart()
        note = f"{rounds} times, in turn; back: at the other one"
        return judge("kill -9 of one of two receivers", traffic, url, slowest, note)


@contextmanager
def beside(service: Service, directory: Path) -> Iterator[Service]:
    """Give another receiver on the same database."""
    other = Service(directory, service.database_url)
    try:
        yield other.start()
    finally:
        other.close()


def kill_relay(directory: Path, size: Size) -> Result:
    """Of two relays one is killed: the other one hands on what it had not, and what was under way when its lease ends."""
    with _two_relays(directory, size) as (service, shop, relays, traffic):
        traffic.wait_for_answers(200)
        let_pass(size.seconds / 2)
        with shop.holding(service):
            relays[0].kill()
            relays[0].wait()
            killed_at, moment = clock.to_micros(clock.now()), monotonic()
        shop.wait_for_changes(20)
        let_pass(size.seconds / 4)
        result = judge("kill -9 of one of two relays", traffic, service.database_url, None)
        if not size.is_long:
            _end_leases(service, killed_at)
            return shop.judge(result, service, killed=1)
        note = f"back: until the last change was there; what one has claimed is left to it for {_LEASE_SECONDS} s"
        result = shop.judge(result._replace(note=note), service, killed=1)
        return result._replace(recovery_seconds=monotonic() - moment)


def _end_leases(service: Service, killed_at: int) -> None:
    """Let time pass for what the dead relay had claimed, once that is all that is left of what was claimed before it died."""
    leased = f"claim IS NOT NULL AND due_at < {killed_at + _LEASE_SECONDS * 1_000_000}"
    before = f"SELECT count(*) FROM dispatches WHERE {leased}"
    wait_until(lambda: service.scalar(before) == AT_ONCE, "the other one has handed on what it had under way")
    change(service.database_url, f"UPDATE dispatches SET due_at = 0 WHERE {leased}", "NOTIFY receiver_changes")


@contextmanager
def _two_relays(directory: Path, size: Size) -> Iterator[tuple[Service, Shop, tuple[Process, Process], Traffic]]:
    with ExitStack() as stack:
        place = stack.enter_context(folder_for_servers())
        cluster = stack.enter_context(running_cluster(place / "cluster"))
        shop = stack.enter_context(shopping(directory))
        service = stack.enter_context(serving(directory, cluster.create_database("faulty"), **shop.settings))
        relays = stack.enter_context(shop.relaying(service)), stack.enter_context(shop.relaying(service))
        traffic = stack.enter_context(Traffic(service, senders=size.senders, parcels=Parcels(trackers=_TRACKERS)))
        shop.wait_for_changes(50)
        cluster.execute("ANALYZE", "faulty")  # as the server does by itself, within a minute
        yield service, shop, relays, traffic
