"""The times in which deliveries may have been lost."""

from receiver.domain.downtime import (
    Downtime,
    ServiceSpan,
    TrafficSpan,
    find_downtimes,
    find_failures,
    find_rejections,
    find_stops,
)

MINUTE = 60_000_000
HOUR = 60 * MINUTE
BOTH = ("ship24", "shiipp")


def serve(first: int, last: int) -> ServiceSpan:
    """Return a span of a receiver, in minutes."""
    return ServiceSpan(first * MINUTE, last * MINUTE)


def traffic(minute: int, source: str = "ship24", **numbers: int) -> TrafficSpan:
    return TrafficSpan(minute * MINUTE, (minute + 1) * MINUTE, source, **numbers)


def stops(*spans: ServiceSpan, now: int) -> list[tuple[int, int | None]]:
    return [
        (stop.began_at // MINUTE, None if stop.ended_at is None else stop.ended_at // MINUTE)
        for stop in find_stops(spans, now * MINUTE)
    ]


def test_a_gap_between_two_starts_is_a_stop() -> None:
    assert stops(serve(0, 100), serve(160, 200), now=200) == [(100, 160)]
    assert stops(serve(160, 200), serve(0, 100), now=200) == [(100, 160)], "in any order"
    assert stops(now=200) == [], "a service that never ran lost nothing"


def test_a_restart_is_no_stop() -> None:
    assert stops(serve(0, 100), serve(101, 200), now=201) == []
    assert stops(serve(0, 100), serve(102, 200), now=201) == [(100, 102)]


def test_several_receivers_are_down_only_together() -> None:
    first, second = serve(0, 100), serve(50, 140)
    assert stops(first, second, serve(150, 200), now=200) == [(140, 150)]
    assert stops(serve(0, 200), serve(10, 20), serve(60, 70), now=200) == [], "one served all the time"


def test_a_service_that_does_not_run_now_is_down_until_it_does() -> None:
    assert stops(serve(0, 100), now=110) == [(100, None)]


def test_minutes_of_failures_are_one_time_until_a_delivery_is_accepted() -> None:
    spans = [traffic(1, accepted=5), traffic(2, failed=1), traffic(4, failed=3, refused=1), traffic(5, accepted=1, failed=2)]
    assert list(find_failures([*spans, traffic(9, failed=1)])) == [
        Downtime(2 * MINUTE, 5 * MINUTE, "unavailable"),
        Downtime(9 * MINUTE, 10 * MINUTE, "unavailable"),
    ]


def test_failures_beside_accepted_deliveries_of_another_source_are_none() -> None:
    assert list(find_failures([traffic(2, failed=1), traffic(2, "shiipp", accepted=1)])) == []


def test_a_source_of_which_everything_is_rejected_is_told() -> None:
    spans = [traffic(1, accepted=1), traffic(3, refused=2), traffic(7, refused=1), traffic(8, accepted=1)]
    assert list(find_rejections(spans)) == [Downtime(3 * MINUTE, 8 * MINUTE, "refused", "ship24")]
    assert list(find_rejections([traffic(3, refused=2)])) == [], "a stranger"


def test_one_source_may_be_rejected_while_another_is_accepted() -> None:
    spans = [traffic(minute, "shiipp", accepted=1) for minute in range(5)] + [traffic(2, refused=3)]
    assert find_downtimes([], spans, [], 0) == [Downtime(2 * MINUTE, 3 * MINUTE, "refused", "ship24")]


def test_a_silence_begins_with_the_last_delivery_before_its_alarm() -> None:
    alarm = Downtime(10 * HOUR, 12 * HOUR, "silent", "ship24")
    spans = [traffic(60, accepted=1), traffic(120, accepted=1), traffic(300, "shiipp", accepted=1), traffic(720, accepted=1)]
    assert find_downtimes([], spans, [alarm], 0) == [alarm._replace(began_at=2 * HOUR)]
    assert find_downtimes([], [], [alarm], 0) == [alarm]


def test_the_last_one_is_first_and_names_its_command() -> None:
    found = find_downtimes([serve(0, 1), serve(9, 10)], [traffic(20, "shiipp", refused=3)], [], 10 * MINUTE)
    assert [downtime.kind for downtime in found] == ["refused", "stopped"]
    assert found[0].command(BOTH) == "receiver reconcile shiipp --file PACKAGES"
    assert found[0]._replace(source="other").command(BOTH) is None, "there is nothing that could be asked"
    assert found[1].command(BOTH) == "receiver reconcile ship24 --since 1970-01-01T00:01:00.000Z --until 1970-01-01T00:09:00.000Z"
    assert found[1].command(["shiipp"]) == "receiver reconcile shiipp --file PACKAGES", "Ship24 is off"
    assert found[1].command([]) is None
    assert Downtime(0, None, "silent", "ship24").command(BOTH) == "receiver reconcile ship24 --since 1970-01-01T00:00:00.000Z"
