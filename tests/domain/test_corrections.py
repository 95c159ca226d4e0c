"""Why one version of a corrected event counts."""

from itertools import permutations

from receiver.clock import to_micros
from receiver.domain.corrections import EventVersion, explain_correction, sort_versions
from tests.harness.store import NOW
from tests.harness.table import each_row

AT = to_micros(NOW)
EARLY = EventVersion("m1", AT, AT, "2025-03-01", "early", superseded=True)
LATE = EventVersion("m0", AT + 60_000_000, AT, "2025-03-01", "late", superseded=False)
LARGER = EventVersion("m2", AT, AT, "2025-03-01", "larger", superseded=False)
OLDEST = EventVersion("m3", 0, AT, "2025-03-01", "oldest", superseded=True)
UNKNOWN = EventVersion("m4", 0, AT, "2025-03-01", "unknown", superseded=False)


def test_the_current_version_is_first_and_the_others_follow_from_the_latest() -> None:
    for versions in permutations([EARLY, LATE, OLDEST]):
        assert sort_versions(versions) == [LATE, EARLY, OLDEST]


@each_row(
    ("versions", "said"),
    [
        (
            (LATE, EARLY),
            "because it is newer: it is of 2025-06-01T12:01:00.000Z, the one of message m1 is of 2025-06-01T12:00:00.000Z.",
        ),
        ((LATE, OLDEST), "the one of message m3 is of an unknown time."),
        ((LARGER, EARLY), "its message ID is larger than m1: both are of 2025-06-01T12:00:00.000Z."),
        ((UNKNOWN, OLDEST), "its message ID is larger than m3: neither says when it was generated."),
        ((LARGER, LARGER._replace(superseded=True)), "that of its corrected copy counts, or else the first."),
    ],
)
def test_the_reason_is_the_one_that_decided(versions: tuple[EventVersion, EventVersion], said: str) -> None:
    assert said in (explain_correction(versions) or "")


def test_an_event_with_one_version_needs_no_reason() -> None:
    assert explain_correction([LATE]) is None
