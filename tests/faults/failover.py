"""Faults of two PostgreSQL servers with synchronous replication: a commit is on both before it is answered."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import NamedTuple

from tests.faults.postgresql_server import assert_away, let_pass
from tests.faults.scenario import Lacking, Result, Size
from tests.faults.target import change_target
from tests.faults.verification import judge
from tests.harness.isolated_host import IsolatedHost, NoIsolatedHost, isolated_host
from tests.harness.postgresql import Cluster, folder_for_servers, following_cluster, running_cluster
from tests.harness.service import serving, wait_until

_LESS_PATIENCE = "?tcp_user_timeout=1000&connect_timeout=2"
_WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
_CANCEL = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"


class Pair(NamedTuple):
    """A primary, its synchronous standby, and the URL of a database that names both."""

    primary: Cluster
    standby: Cluster
    url: str


@contextmanager
def two_servers(place_of_primary: IsolatedHost | None = None) -> Iterator[Pair]:
    """Give a pair that runs as long as the block lasts, the primary on a host of its own if there is one."""
    with (
        folder_for_servers() as place,
        running_cluster(place / "one", own_host=place_of_primary) as primary,
        following_cluster(primary, place / "two") as standby,
    ):
        primary.create_database("faulty")
        hosts = ",".join(f"{cluster.host}:{cluster.port}" for cluster in (primary, standby))
        yield Pair(primary, standby, f"postgresql://postgres@{hosts}/faulty")


def crash(directory: Path, size: Size) -> Result:
    """The primary crashes for good, and its standby takes over: the service and the relay find it by themselves."""
    with two_servers() as pair:
        return _fail_over("failover to a synchronous standby", pair, directory, size, lambda: pair.primary.stop("immediate"))


def vanish(directory: Path, size: Size) -> Result:
    """The host of the primary answers nothing any more, and its standby takes over."""
    try:
        with isolated_host() as place, two_servers(place) as pair:
            patient = pair._replace(url=pair.url + ("" if size.is_long else _LESS_PATIENCE))
            return _fail_over("failover from a host that vanished", patient, directory, size, place.vanish)
    except NoIsolatedHost as reason:
        raise Lacking(str(reason)) from None


def _fail_over(fault: str, pair: Pair, directory: Path, size: Size, end: Callable[[], None]) -> Result:
    primary, standby, url = pair
    with (
        change_target(directory) as target,
        serving(directory, url, **target.settings) as service,
        size.send_to(service) as traffic,
    ):
        target.wait_for_changes(50)
        primary.execute("ANALYZE", "faulty")  # as the server does by itself, within a minute
        let_pass(size.seconds / 4)
        with target.holding(service):
            end()
            traffic.wait_for_refusals()
            standby.promote()
            promoted = monotonic()
        recovery = traffic.recovery_after(promoted)
        let_pass(size.seconds / 4)
        service.database_url = f"postgresql://postgres@{standby.host}:{standby.port}/faulty"  # from now on for our questions only
        return target.judge(judge(fault, traffic, service.database_url, recovery), service)


def lose_standby(directory: Path, size: Size) -> Result:
    """The standby is gone for a while: no commit is finished, and the service says so in time.

    Meanwhile an operator has the server not wait for it, commit by commit: what is then on one server only is not answered 2xx.
    """
    seconds, timeout = (25.0, 10.0) if size.is_long else (1.0, 0.5)
    with (
        two_servers() as (primary, standby, url),
        serving(directory, url, commit_timeout_seconds=f"{timeout:g}") as service,
        size.send_to(service) as traffic,
    ):
        traffic.wait_for_answers(200)
        standby.stop("immediate")
        traffic.wait_until_all_are_refused()
        answered = traffic.answered
        let_pass(seconds - timeout)
        for _ in range(3):
            wait_until(lambda: primary.execute(_WAITING) != "0", "a commit waits for the standby")
            primary.execute(_CANCEL)
        assert_away(service)
        assert traffic.answered == answered, "nothing is answered 2xx that is on one server only"
        standby.start()
        recovery = traffic.recovery_after(monotonic())
        let_pass(size.seconds / 4)
        note = f"{seconds:g} s; a commit may take {timeout:g} s"
        return judge("synchronous standby gone a while", traffic, url, recovery, note)
