"""The faults of two PostgreSQL servers, of which one follows the other: commits are on both before they are answered."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

from tests.faults.judgement import judge
from tests.faults.scenario import Result, Size
from tests.faults.servers import assert_away, is_long, let_pass
from tests.faults.shop import shopping
from tests.harness.postgresql import Cluster, folder_for_servers, following_cluster, running_cluster
from tests.harness.service import serving, wait_until
from tests.harness.traffic import Traffic

_WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
_CANCEL = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"


@contextmanager
def two_servers() -> Iterator[tuple[Cluster, Cluster, str]]:
    """Give a primary, its synchronous standby, and the URL of a database that names both."""
    with (
        folder_for_servers() as place,
        running_cluster(place / "one") as primary,
        following_cluster(primary, place / "two") as standby,
    ):
        primary.create_database("faulty")
        yield primary, standby, f"postgresql://postgres@127.0.0.1:{primary.port},127.0.0.1:{standby.port}/faulty"


def fail_over(directory: Path, size: Size) -> Result:
    """The primary crashes for good, and its standby takes over: the service and the relay find it by themselves."""
    with (
        two_servers() as (primary, standby, url),
        shopping(directory) as shop,
        serving(directory, url, **shop.settings) as service,
        shop.relaying(service),
        Traffic(service, senders=size.senders) as traffic,
    ):
        shop.wait_for_changes(50)
        primary.execute("ANALYZE", "faulty")  # as the server does by itself, within a minute
        let_pass(size.seconds / 4)
        primary.stop("immediate")
        traffic.wait_for_refusals()
        standby.promote()
        recovery = traffic.recovery_after(monotonic())
        let_pass(size.seconds / 4)
        return shop.judge(judge("failover to a synchronous standby", traffic, url, recovery), service)


def lose_standby(directory: Path, size: Size) -> Result:
    """The standby is gone for a while: no commit is finished, and the service says so in time.

    Meanwhile an operator has the server not wait for it, commit by commit: what is then on one server only is not answered 2xx.
    """
    seconds, timeout = (25.0, 10.0) if is_long(size) else (1.0, 0.5)
    with (
        two_servers() as (primary, standby, url),
        serving(directory, url, commit_timeout_seconds=f"{timeout:g}") as service,
        Traffic(service, senders=size.senders) as traffic,
    ):
        traffic.wait_for_answers(200)
        standby.stop("immediate")
        traffic.wait_for_refusals()
        answered = traffic.answered
        let_pass(seconds - timeout)
        for _ in range(3):
            wait_until(lambda: primary.execute(_WAITING) != "0", "a commit waits for the standby")
            primary.execute(_CANCEL)
        assert_away(service)
        assert traffic.answered == answered, "nothing is answered 2xx that is on one server only"
        standby.start()
        recovery = traffic.recovery_after(monotonic())
        note = f"{seconds:g} s; a commit may take {timeout:g} s"
        return judge("synchronous standby gone a while", traffic, url, recovery, note)
