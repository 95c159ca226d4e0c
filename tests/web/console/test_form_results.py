"""The store of results: bounded in bytes and time, and only for the session that sent the form."""

from datetime import UTC, datetime, timedelta

import pytest

from receiver.access.sessions import Session
from receiver.errors import NotFound
from receiver.web.console.results import FormResults

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
ANNA, BEN = Session("anna", "a", "form"), Session("ben", "b", "form")


def test_only_the_same_session_finds_a_result_and_only_for_ten_minutes() -> None:
    results = FormResults()
    result_id = results.keep(ANNA, b"page", NOW).rpartition("/")[2]
    assert results.find(ANNA, result_id, NOW + timedelta(minutes=9)) == b"page"
    for session, result, at in ((BEN, result_id, NOW), (ANNA, "other", NOW), (ANNA, result_id, NOW + timedelta(minutes=10))):
        with pytest.raises(NotFound):
            results.find(session, result, at)


def test_the_oldest_results_go_when_there_are_too_many_bytes() -> None:
    results = FormResults()
    first, second = (results.keep(ANNA, bytes(9 * 2**20), NOW).rpartition("/")[2] for _ in range(2))
    with pytest.raises(NotFound):
        results.find(ANNA, first, NOW)
    assert len(results.find(ANNA, second, NOW)) == 9 * 2**20
    large = results.keep(ANNA, bytes(20 * 2**20), NOW).rpartition("/")[2]
    assert len(results.find(ANNA, large, NOW)) == 20 * 2**20
