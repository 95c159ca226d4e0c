"""Results of forms: pages bounded in bytes and time, only for the session that sent the form; a sentence for other receivers."""

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlsplit

import pytest

from receiver.access.sessions import Session
from receiver.errors import NotFound
from receiver.web.console.results import ResultPages, read_summary

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
ANNA, BEN = Session("anna", "a", "form token of anna"), Session("ben", "b", "form token of ben")


def keep(results: ResultPages, body: bytes) -> str:
    return urlsplit(results.keep(ANNA, body, "Done.", NOW)).path.rpartition("/")[2]


def test_only_the_same_session_finds_a_result_and_only_for_ten_minutes() -> None:
    results = ResultPages()
    result_id = keep(results, b"page")
    assert results.find(ANNA, result_id, NOW + timedelta(minutes=9)) == b"page"
    for session, result, at in ((BEN, result_id, NOW), (ANNA, "other", NOW), (ANNA, result_id, NOW + timedelta(minutes=10))):
        assert results.find(session, result, at) is None


def test_the_oldest_results_go_when_there_are_too_many_bytes() -> None:
    results = ResultPages()
    first, second = (keep(results, bytes(9 * 2**20)) for _ in range(2))
    assert results.find(ANNA, first, NOW) is None
    assert len(results.find(ANNA, second, NOW) or b"") == 9 * 2**20
    large = keep(results, bytes(20 * 2**20))
    assert len(results.find(ANNA, large, NOW) or b"") == 20 * 2**20


def test_a_sentence_is_read_only_as_it_was_written_and_only_by_its_session() -> None:
    query = dict(parse_qsl(urlsplit(ResultPages().keep(ANNA, b"page", "1 change: ä & b.", NOW)).query))
    assert read_summary(ANNA, query) == "1 change: ä & b."
    long = dict(parse_qsl(urlsplit(ResultPages().keep(ANNA, b"page", "x" * 9000, NOW)).query))
    assert read_summary(ANNA, long) == "x" * 1000
    for session, wrong in (
        (BEN, query),
        (ANNA, query | {"told": "Call this number."}),
        (ANNA, {}),
        (ANNA, query | {"mark": "é"}),
    ):
        with pytest.raises(NotFound):
            read_summary(session, wrong)
