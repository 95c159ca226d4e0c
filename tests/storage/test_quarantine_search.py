"""The search of the quarantine: by identities, by the number of the tracker, and in the content where there is no tracker."""

from receiver.clock import from_micros, new_id, to_micros
from receiver.storage import queries
from receiver.storage.queries import QuarantineFilter
from receiver.storage.tables.ledger import QuarantineTable, SearchTermTable
from receiver.storage.tables.metadata import table_of
from tests.harness.archive import Archive, walk
from tests.harness.store import NOW

_START = to_micros(NOW)
_ROWS = (  # message id, tracker id, content
    ("m-0", None, b'{"trackingNumber": "AB-123"}'),
    ("M-1", "t-1", b"{}"),
    (None, "t-2", b""),
    (None, None, b"\xff broken ab-123"),
    ("m-4", None, b'{"other": 1}'),
)


def found(archive: Archive, *wanted: QuarantineFilter) -> list[list[int]]:
    """Return, for each filter, the numbers of the rows that are found, with pages of one item and of many."""
    answers: list[list[int]] = []
    for filters in wanted:

        def ask(limit: int, cursor: str | None, filters: QuarantineFilter = filters) -> queries.ResultPage:
            return queries.list_quarantine(archive.database, filters, limit, cursor)

        one_by_one, at_once = ([item["position"] for item in walk(ask, limit)] for limit in (1, 200))
        assert one_by_one == at_once
        answers.append(at_once)
    return answers


def test_an_item_is_found_by_what_is_known_of_it(archive: Archive) -> None:
    rows = [
        {"id": new_id(from_micros(_START + n)), "source": "ship24", "position": n, "reason": "bad_occurrence", "raw": raw}
        | {"message_id": message_id, "tracker_id": tracker_id, "received_at": _START + n}
        for n, (message_id, tracker_id, raw) in enumerate(_ROWS)
    ]
    archive.add(table_of(QuarantineTable), rows)
    archive.add(table_of(SearchTermTable), [{"term": "ab-123", "source": "ship24", "tracker_id": "t-2"}])
    of_text = [QuarantineFilter(search=text) for text in ("AB-123", "m-1", "T-1", "nothing", "m-")]
    assert found(archive, *of_text) == [[3, 2, 0], [1], [1], [], []]
    of_time = [QuarantineFilter(since=_START + 3000), QuarantineFilter(until=_START), QuarantineFilter(None, "x", "AB-123")]
    assert found(archive, *of_time) == [[], [], []]
    assert found(archive, QuarantineFilter(search="AB-123", sort="oldest")) == [[0, 2, 3]]


def test_an_item_is_found_by_its_day(archive: Archive) -> None:
    hour = 3_600_000_000
    rows = [
        {"id": new_id(from_micros(_START + n * hour)), "source": "ship24", "position": n, "received_at": _START + n * hour}
        for n in range(4)
    ]
    archive.add(table_of(QuarantineTable), rows)
    since, until = _START + hour, _START + 3 * hour
    spans = [QuarantineFilter(since=since), QuarantineFilter(until=until), QuarantineFilter(since=since, until=until)]
    assert found(archive, *spans) == [[3, 2, 1], [2, 1, 0], [2, 1]]
    oldest_first = [wanted._replace(sort="oldest") for wanted in spans]
    assert found(archive, *oldest_first) == [[1, 2, 3], [0, 1, 2], [1, 2]]
