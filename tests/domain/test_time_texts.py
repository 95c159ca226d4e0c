"""Our own times within sentences."""

from datetime import datetime
from zoneinfo import ZoneInfo

from receiver.clock import iso
from receiver.domain.time_texts import localise_times
from receiver.domain.traffic import minute
from tests.harness.table import each_row


def in_berlin(moment: datetime, form: str) -> str:
    return f"{moment.astimezone(ZoneInfo('Europe/Berlin')):{form}} CEST"


@each_row(
    ("sentence", "expected"),
    [
        (f"Received at {iso(1_785_600_000_123_000)}.", "Received at 2026-08-01 18:00:00 CEST."),
        (f"None since {minute(1_785_600_000_000_000)} (limit 1 hour).", "None since 2026-08-01 18:00 CEST (limit 1 hour)."),
        ("From 2026-08-01T16:00Z, 2026-08-01T17:00Z.", "From 2026-08-01 18:00 CEST, 2026-08-01 19:00 CEST."),
        *(
            (text, text)
            for text in (
                "“Left at 2026-08-01T16:00Z”",
                "Run `receiver stats --since 2026-08-01T16:00Z`.",
                "Event of 2026-08-01T16:00:00+02:00",
                "Event of 2026-08-01T16:00:00Z",
                "Message a-2026-08-01T16:00Z and 2026-08-01T16:00Z-b, 2026-08-01T16:00Z.json",
                "Not 2026-08-32T16:00Z, nor 9999-12-31T23:59Z",
                "",
            )
        ),
    ],
)
def test_times_of_ours_are_written_for_the_reader_and_nothing_else_changes(sentence: str, expected: str) -> None:
    assert localise_times(sentence, in_berlin) == expected
