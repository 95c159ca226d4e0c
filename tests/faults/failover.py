"""The faults of two PostgreSQL servers, of which one follows the other: commits are on both before they are answered."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import NamedTuple

from tests.faults.judgement import judge
from tests.faults.scenario import Result, Size
from tests.faults.servers import assert_away, is_long, let_pass
from tests.faults.shop import Shop, shopping
from tests.harness.postgresql import Cluster, folder_for_servers, following_cluster, running_cluster
from tests.harness.service import Service, serving
from tests.harness.traffic import Traffic


class Pair(NamedTuple):
    """A service and a relay on a primary and its synchronous standby, under load."""

    primary: Cluster
    standby: Cluster
    shop: Shop
    service: Service
    traffic: Traffic


@contextmanager
def pair(directory: Path, size: Size, **settings: str) -> Iterator[Pair]:
    """Give a pair; everything in it ends with the block."""
    with (
        folder_for_servers() as place,
        running_cluster(place / "one") as primary,
        following_cluster(primary, place / "two") as standby,
        shopping(directory) as shop,
    ):
        primary.create_database("faulty")
        url = f"postgresql://postgres@127.0.0.1:{primary.port},127.0.0.1:{standby.port}/faulty"
        with (
            serving(directory, url, **shop.settings, **settings) as service,
            shop.relaying(service),
            Traffic(service, senders=size.senders) as traffic,
        ):
            shop.wait_for_changes(50)
            primary.execute("ANALYZE", "faulty")  # as the server does by itself, within a minute
            yield Pair(primary, standby, shop, service, traffic)


def fail_over(directory: Path, size: Size) -> Result:
    """The primary crashes for good, and its standby takes over: the service finds it by itself."""
    with pair(directory, size) as (primary, standby, shop, service, traffic):
        traffic.wait_for_answers(500 if is_long(size) else 200)
        let_pass(size.seconds / 4)
        primary.stop("immediate")
        traffic.wait_for_refusals()
        standby.promote()
        recovery = traffic.recovery_after(monotonic())
        let_pass(size.seconds / 4)
        return shop.judge(judge("failover to a synchronous standby", traffic, service.database_url, recovery), service)


def lose_standby(directory: Path, size: Size) -> Result:
    """The standby is gone for a while: no commit is finished, and the service says so in time."""
    seconds, timeout = (25.0, 10.0) if is_long(size) else (1.5, 0.5)
    with pair(directory, size, commit_timeout_seconds=f"{timeout:g}") as (_, standby, shop, service, traffic):
        traffic.wait_for_answers(200)
        standby.stop("immediate")
        traffic.wait_for_refusals()
        let_pass(seconds - timeout)
        assert_away(service)
        standby.start()
        recovery = traffic.recovery_after(monotonic())
        note = f"{seconds:g} s; a commit may take {timeout:g} s"
        result = judge("synchronous standby gone a while", traffic, service.database_url, recovery, note)
        return shop.judge(result, service)
