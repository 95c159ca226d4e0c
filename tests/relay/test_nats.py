"""NATS targets: changes in order, once in each stream, and again after the broker was away."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from receiver.access.bearer import Secret
from receiver.domain.changes import Change, Subscription
from receiver.relay.nats import NatsTarget
from receiver.relay.target import NotAcknowledged
from receiver.settings.targets import TargetSettings
from tests.conftest import lacking
from tests.harness import ship24
from tests.harness.changes import change, secrets, target
from tests.harness.nats_server import SUBJECT, Broker, brokering, find_broker
from tests.harness.ports import free_port
from tests.harness.relay import QUICK, relaying
from tests.harness.rows import Not, count_rows
from tests.harness.service import wait_until
from tests.harness.storage import make_tables
from tests.harness.store import Store

TOKEN = "planted-token-of-the-broker"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder for a broker."""
    if find_broker() is None:
        lacking("nats-server is not installed (Debian package: nats-server)")
    return tmp_path


@pytest.fixture
def broker(place: Path) -> Iterator[Broker]:
    """A broker with a stream for the subject."""
    with brokering(place) as running:
        yield running


def publish(settings: TargetSettings, *changes: Change, by: Sequence[Secret] = ()) -> list[Exception | None]:
    """Hand changes over, one after the other; return what was raised for each."""

    async def one(target: NatsTarget, given: Change) -> Exception | None:
        try:
            await target.deliver(given)
        except Exception as error:
            return error
        return None

    async def run() -> list[Exception | None]:
        target = NatsTarget(settings, by)
        try:
            return [await one(target, given) for given in changes]
        finally:
            await target.close()

    return asyncio.run(run())


def words(error: Exception | None) -> str:
    assert isinstance(error, NotAcknowledged)
    return error.message


def test_a_change_is_in_the_stream_with_its_id_when_it_was_taken(broker: Broker) -> None:
    assert publish(target(broker.url, subject=SUBJECT), change()) == [None]
    (published,) = broker.published()
    assert published.message_id == change().id
    assert published.body == {"type": "tracker.changed", "timestamp": "2025-03-01T10:00:00.123Z", "data": change().as_json()}


def test_what_is_published_again_is_dropped_by_the_broker(broker: Broker) -> None:
    assert publish(target(broker.url, subject=SUBJECT), change(1), change(1), change(2), change(1)) == [None] * 4
    assert [published.message_id for published in broker.published()] == [change(1).id, change(2).id]


def test_where_no_stream_takes_the_subject_nothing_is_taken(broker: Broker) -> None:
    (error,) = publish(target(broker.url, subject="nobody.is.here"), change())
    assert words(error) == "shop: no stream of the broker has its subject."


def test_where_there_is_no_broker_nothing_is_taken() -> None:
    errors = publish(target(f"nats://127.0.0.1:{free_port()}"), change(1), change(2))
    assert {words(error) for error in errors} == {"shop: no connection to the broker: ConnectionRefusedError."}


@pytest.mark.parametrize(
    ("token", "said"), [(TOKEN, None), ("wrong", "it rejects the token"), (None, "it rejects the token")], ids=str
)
def test_the_token_is_the_targets_secret(place: Path, token: str | None, said: str | None) -> None:
    with brokering(place, TOKEN) as broker:
        (error,) = publish(target(broker.url, subject=SUBJECT), change(), by=secrets(token) if token else [])
        assert len(broker.published()) == (1 if said is None else 0)
    if said is not None:
        assert words(error) == f"shop: no connection to the broker: {said}."


def test_what_the_broker_refuses_is_not_taken_and_its_words_are_not_repeated(broker: Broker) -> None:
    big = change()._replace(location="x" * 2_000_000)
    errors = publish(target(broker.url, subject=SUBJECT), big, change())
    assert words(errors[0]) == "shop: the change is larger than the broker allows."
    assert errors[1] is None


def test_a_broker_that_was_away_gets_everything_once_and_in_order(broker: Broker, database_url: str) -> None:
    make_tables(database_url)
    store = Store(database_url, [Subscription("shop")])
    events = [ship24.event(occurrence=f"2025-03-01T{hour:02}:00:00") for hour in range(10)]
    bodies = [ship24.body(ship24.item(tracker_id=f"t{number}", events=[event])) for event in events for number in range(20)]
    store.keep(*bodies[:100])
    policy = QUICK._replace(failure_limit=5, pauses_seconds=(0.1,), delays_seconds=(0.1,) * 1000)
    with relaying(database_url, NatsTarget(target(broker.url, subject=SUBJECT, seconds=3.0), ()), policy=policy):
        wait_until(lambda: left(database_url) < 100, "it has begun")
        broker.stop()
        store.keep(*bodies[100:])
        store.close()
        wait_until(lambda: count_rows(database_url, "dispatches", error=Not(None)), "it is missed")
        broker.start()
        wait_until(lambda: left(database_url) == 0, "everything was taken")
    places = [published.place for published in broker.published()]
    assert len(places) == 200
    assert all([move for name, move in places if name == f"t{number}"] == list(range(1, 11)) for number in range(20))


def left(url: str) -> int:
    return count_rows(url, "dispatches")
