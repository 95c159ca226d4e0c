"""Faults of one of several processes on one PostgreSQL: the others continue."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random
from time import monotonic

from tests.faults.postgresql_server import let_pass
from tests.faults.scenario import Result, Size
from tests.faults.target import ChangeTarget, change_target
from tests.faults.verification import judge
from tests.harness.postgresql import folder_for_servers, running_cluster
from tests.harness.service import Process, Service, serving
from tests.harness.traffic import NewBodies, Senders

_TRACKERS = 100  # so that two relays have something to do: each tracker's changes go one after the other


def kill_receiver(directory: Path, size: Size) -> Result:
    """Of two receivers one is killed and started again, then the other one: the senders go to the one that is there."""
    chance, rounds, slowest = Random(6), max(2, round(size.seconds / 4)), 0.0
    with (
        folder_for_servers() as place,
        running_cluster(place / "cluster") as cluster,
        serving(directory / "one", url := cluster.create_database("faulty")) as one,
        beside(one, directory / "two") as two,
        size.send_to(one, two) as traffic,
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
    """Of two relays one is killed: the other one hands on what it had not, and what was under way."""
    with _two_relays(directory, size) as (service, target, relay, traffic):
        traffic.wait_for_answers(200)
        let_pass(size.seconds / 2)
        with target.holding(service):
            relay.kill()
            relay.wait()
            moment = monotonic()
        target.wait_for_changes(20)
        let_pass(size.seconds / 4)
        result = judge("kill -9 of one of two relays", traffic, service.database_url, None)
        note = "back: until the last change was there; what the killed one had under way, its orphan gives back"
        result = target.judge(result._replace(note=note), service, killed=1)
        return result._replace(recovery_seconds=monotonic() - moment)


@contextmanager
def _two_relays(directory: Path, size: Size) -> Iterator[tuple[Service, ChangeTarget, Process, Senders]]:
    """Give a service, whose own relay is one of the two, and the other one."""
    with ExitStack() as stack:
        place = stack.enter_context(folder_for_servers())
        cluster = stack.enter_context(running_cluster(place / "cluster"))
        target = stack.enter_context(change_target(directory))
        service = stack.enter_context(serving(directory, cluster.create_database("faulty"), **target.settings))
        relay = stack.enter_context(target.relaying(service))
        traffic = stack.enter_context(size.send_to(service, parcels=NewBodies(trackers=_TRACKERS)))
        target.wait_for_changes(50)
        cluster.execute("ANALYZE", "faulty")  # as the server does by itself, within a minute
        yield service, target, relay, traffic
