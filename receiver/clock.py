"""The clock, and ids that sort by time. Our own times are stored as whole microseconds since 1970, UTC."""

import os
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_SECONDS = 86_400


def now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


def to_micros(moment: datetime) -> int:
    """Return a time with a zone as microseconds since 1970, UTC, as it is stored."""
    since = moment - _EPOCH
    return (since.days * _DAY_SECONDS + since.seconds) * 1_000_000 + since.microseconds  # a tenth of a division by timedelta


def from_micros(micros: int) -> datetime:
    """Return stored microseconds as a time in UTC."""
    return _EPOCH + timedelta(microseconds=micros)


def iso(micros: int) -> str:
    """Return stored microseconds as ISO 8601 with milliseconds and `Z`, as in answers."""
    return from_micros(micros).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def read_iso(text: str) -> datetime:
    """Read a time in ISO 8601, also with the small `t` and `z` of RFC 3339. Raises ValueError. It has a zone if the text has."""
    return datetime.fromisoformat(text.upper())


def new_id(moment: datetime) -> str:
    """Return a UUID of version 7 (RFC 9562, 5.7), which sorts by `moment`.

    48 bits of milliseconds, then 12 bits of the fraction of that millisecond (method 3 of section 6.2) and 62 random bits.
    """
    tail = (int.from_bytes(os.urandom(8), "big") & 0x3FFF_FFFF_FFFF_FFFF | 0x8000_0000_0000_0000).to_bytes(8, "big").hex()
    return f"{_id_head(to_micros(moment))}-{tail[:4]}-{tail[4:]}"


def first_id(micros: int) -> str:
    """Return the smallest id of this time: all ids of earlier times sort before it."""
    return f"{_id_head(micros)}-8000-000000000000"


def _id_head(micros: int) -> str:
    millis, rest = divmod(micros, 1000)
    head = (millis << 16 | 0x7000 | rest * 4096 // 1000).to_bytes(8, "big").hex()
    return f"{head[:8]}-{head[8:12]}-{head[12:]}"
