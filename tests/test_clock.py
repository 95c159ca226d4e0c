"""The clock, and the ids made from it."""

from datetime import UTC, datetime, timedelta, timezone
from uuid import RFC_4122, UUID

import pytest
from freezegun import freeze_time
from hypothesis import given
from hypothesis import strategies as st

from receiver.clock import from_micros, iso, new_id, now, to_micros
from tests.harness.table import each_row

MOMENT = datetime(2024, 5, 17, 12, 0, 0, 123_456, tzinfo=UTC)
MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001  the zone stands beside


@freeze_time("2024-05-17 12:00:00.123456")
def test_now_is_aware_and_utc() -> None:
    assert (now(), now().tzinfo) == (MOMENT, UTC)


@each_row(
    ("moment", "micros"),
    [
        pytest.param(datetime(1970, 1, 1, tzinfo=UTC), 0, id="1970"),
        pytest.param(datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=UTC), 1, id="a microsecond later"),
        pytest.param(datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), -1, id="a microsecond before"),
        pytest.param(MOMENT, 1_715_947_200_123_456, id="2024"),
        pytest.param(MOMENT.astimezone(timezone(timedelta(hours=5, minutes=30))), 1_715_947_200_123_456, id="another zone"),
    ],
)
def test_a_moment_is_whole_microseconds_since_1970(moment: datetime, micros: int) -> None:
    assert to_micros(moment) == micros
    assert from_micros(micros) == moment


@given(MOMENTS)
def test_a_time_survives_a_round_trip(moment: datetime) -> None:
    assert from_micros(to_micros(moment)) == moment


@each_row(
    ("micros", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (999, "1970-01-01T00:00:00.000Z"),
        (1_715_947_200_123_456, "2024-05-17T12:00:00.123Z"),
        (1_715_947_200_000_000, "2024-05-17T12:00:00.000Z"),
    ],
)
def test_a_moment_is_shown_as_iso_8601_with_milliseconds_and_z(micros: int, text: str) -> None:
    assert iso(micros) == text


@given(MOMENTS)
def test_an_id_is_a_uuid_of_version_7_that_tells_its_millisecond(moment: datetime) -> None:
    made = UUID(new_id(moment))
    assert (made.version, made.variant, str(made)) == (7, RFC_4122, str(made).lower())
    assert made.int >> 80 == to_micros(moment) // 1000


@given(MOMENTS, st.integers(1, 10**9))
def test_ids_sort_by_time_to_the_microsecond(moment: datetime, later: int) -> None:
    following = min(to_micros(moment) + later, 253_402_300_799_999_999)
    assert new_id(moment) < new_id(from_micros(following))


@freeze_time(MOMENT)
def test_ids_of_one_moment_differ() -> None:
    assert len({new_id(now()) for _ in range(1000)}) == 1000
