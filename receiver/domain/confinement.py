"""Confinement of tests: the messages of a test stay apart from real messages and real trackers. Pure.

The message id and the tracker id of a test contain the eight hexadecimal digits of its run, and so do the ids in its links. An
item with other ids is quarantined without an identity: a later real message with this id is no duplicate of it. An item of a
tracker that real messages have made is quarantined too: no test can change a real parcel.
"""

from receiver.domain.records import Message
from receiver.domain.rows import TrackerRow

NOT_OF_TEST = "not_of_test"
TEST_OF_REAL_TRACKER = "test_of_real_tracker"

_DETAILS = {
    NOT_OF_TEST: "The message and tracker ids of a test must contain its run.",
    TEST_OF_REAL_TRACKER: "This tracker is real: real messages have named it. No test may change it.",
}


def confine(message: Message, run: str, tracker: TrackerRow | None) -> Message:
    """Return a message of a test as it may be decided. One that is not of this test has a reason for quarantine and no identity.

    `tracker` is its known tracker.
    """
    if not _is_of(message, run):
        return _set_apart(message, NOT_OF_TEST)
    if tracker is not None and tracker.test_run is None:
        return _set_apart(message, TEST_OF_REAL_TRACKER)
    return message


def _is_of(message: Message, run: str) -> bool:
    names = (message.message_id, message.tracker_id, *(name for link in message.links for name in link))
    return all(run in name.casefold() for name in names if name is not None)


def _set_apart(message: Message, reason: str) -> Message:
    return message._replace(message_id=None, is_anonymous=False, quarantine_reason=reason, detail=_DETAILS[reason])
