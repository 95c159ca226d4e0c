"""The time zone of the console's pages: UTC, or one that the operator chose and that a cookie remembers."""

from datetime import UTC, tzinfo
from functools import cache
from typing import NamedTuple
from zoneinfo import ZoneInfo, available_timezones

from receiver.errors import UnexpectedShape

ZONE_COOKIE = "receiver_zone"


class TimeZone(NamedTuple):
    """A time zone with its name in the IANA database, such as `Europe/Berlin`."""

    name: str
    info: tzinfo

    @property
    def short(self) -> str:
        """Return the name for the heading of a column: `UTC`, `Berlin`."""
        return self.name.rpartition("/")[2].replace("_", " ")


UTC_ZONE = TimeZone("UTC", UTC)


@cache
def list_zone_names() -> tuple[str, ...]:
    """Return the names of all time zones that this machine knows, UTC first."""
    return (UTC_ZONE.name, *sorted(name for name in available_timezones() if "/" in name and not name.startswith("Etc/")))


def find_zone(name: str) -> TimeZone:
    """Return the time zone of this name. Raises UnexpectedShape."""
    if name not in list_zone_names():
        raise UnexpectedShape("Expected a time zone that this machine knows, such as UTC or Europe/Berlin.")
    return UTC_ZONE if name == UTC_ZONE.name else TimeZone(name, ZoneInfo(name))


def read_zone_cookie(value: str | None) -> TimeZone:
    """Return the time zone of a cookie; UTC if there is none, or if this machine does not know the zone."""
    return find_zone(value) if value in list_zone_names() else UTC_ZONE
