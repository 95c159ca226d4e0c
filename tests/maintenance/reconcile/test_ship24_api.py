"""The client of Ship24's API against a server that answers badly."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

import pytest

from receiver.access.bearer import Secret
from receiver.errors import VendorRefused, VendorUnavailable
from receiver.maintenance.reconcile import ship24_api
from receiver.maintenance.reconcile.ship24_api import ReconcileStopped, Ship24Api
from tests.harness.endpoint import Answer, Endpoint, answering, drip, say, write
from tests.harness.table import each_row

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n{"


def test_a_body_that_drips_does_not_hold_up_a_stop() -> None:
    waits = count()

    def wait(_seconds: float) -> None:
        if next(waits) == 3:
            raise ReconcileStopped("Stopped.")

    with answering(drip(HEAD)) as vendor:
        api = Ship24Api(vendor.url, Secret("api key", "apik_x"), wait)
        with pytest.raises(ReconcileStopped):
            api.read_results("t")
    assert len(vendor.calls) == 1


def test_what_is_no_answer_is_asked_for_five_times_and_a_redirect_is_not_followed() -> None:
    for answer, calls in ((write(b""), 5), (write(HEAD), 5), (say(302, "Location: http://127.0.0.1:9/"), 1), (say(200), 1)):
        with answering(answer) as vendor:
            api = Ship24Api(vendor.url, Secret("api key", "apik_x"), lambda _seconds: None)
            with pytest.raises(VendorUnavailable, match="Ship24"):
                api.read_results("t")
        assert len(vendor.calls) == calls


def test_a_response_that_drips_ends_after_a_time_from_its_first_byte_on() -> None:
    for beginning in (b"HTTP/1.1 200 OK\r\nX-Slow: ", HEAD, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"):
        with answering(drip(beginning)) as vendor:
            api = Ship24Api(vendor.url, Secret("api key", "apik_x"), lambda _seconds: None, exchange_seconds=0.2)
            with pytest.raises(VendorUnavailable, match="TimeoutError"):
                api.read_results("t")
        assert len(vendor.calls) == 5


@contextmanager
def asking(*answers: Answer, share: float = 1e9) -> Iterator[tuple[Ship24Api, list[float], Endpoint]]:
    """Give an API that does not sleep, the pauses that it would make, and the vendor."""
    pauses: list[float] = []

    def wait(seconds: float) -> None:
        if seconds >= 0.5 or seconds < 0:
            pauses.append(seconds)

    with answering(*answers) as vendor:
        yield Ship24Api(f"{vendor.url}/", Secret("api key", "apik_x"), wait, share), pauses, vendor


def test_requests_of_a_kind_keep_their_rate_and_those_of_another_do_not_wait_for_them() -> None:
    with asking(say(404, body=b'{"errors": [{"code": "tracker_not_found"}], "data": null}'), share=0.01) as (api, pauses, _):
        for _ in range(2):
            assert api.read_results("t") is None
        assert (len(pauses), 0 < pauses[0] <= 20) == (1, True)
        assert api.read_history("t") is None
        assert len(pauses) == 1
        assert api.resend("t") is None
        assert (len(pauses), 20 < pauses[1] <= 200) == (2, True)


@each_row(
    ("answer", "pauses", "words"),
    [
        (say(503), [1, 2, 4, 8, 16], "answered 503."),
        (say(429, "Retry-After: 7"), [7] * 5, "answered 429."),
        (say(429, "Retry-After: 86400"), [300] * 5, "answered 429."),
        (say(503, "Retry-After: Thu, 01 Jan 2099 00:00:00 GMT"), [300] * 5, "answered 503."),
        (say(503, "Retry-After: soon"), [1, 2, 4, 8, 16], "answered 503."),
        (say(503, "Retry-After: Thu, 01 Jan 2026 00:00:00 -0000"), [], "answered 503."),
        (say(503, "Retry-After: Thu, 01 Jan 2026 00:00:00 +99999999999999"), [1, 2, 4, 8, 16], "answered 503."),
        (say(400, body=b'{"errors": [{"code": "odd"}]}'), [], "answered 400 odd."),
        (say(404, body=b"<html>Not found</html>"), [], "answered 404."),
        (say(401), [], "RECEIVER_SHIP24_API_KEY"),
        (say(400, body=b'{"errors": [{"code": "auth_invalid_header"}]}'), [], "RECEIVER_SHIP24_API_KEY"),
        (say(201), [], "something else than a JSON object"),
        (say(200, body=b"[]"), [], "something else than a JSON object"),
    ],
)
def test_a_failure_is_repeated_after_pauses_if_that_may_help(answer: Answer, pauses: list[float], words: str) -> None:
    with asking(answer) as (api, made, vendor), pytest.raises((VendorUnavailable, VendorRefused), match=re.escape(words)):
        api.read_results("t")
    assert made == pauses
    assert vendor.calls[0].path == "/told/trackers/t/results"


@each_row(("total", "number"), [(b"12", 12), (b'"12"', 12), (b"null", 0), (b"-1", 0), (b'"many"', 0)])
def test_the_number_of_messages_sent_again_is_read_whatever_its_type(total: bytes, number: int) -> None:
    with asking(say(200, body=b'{"data": {"summary": {"totalResent": ' + total + b"}}}")) as (api, _, _):
        assert api.resend("t") == number


def test_a_list_without_trackers_is_no_list_and_items_of_another_shape_are_left_out() -> None:
    with asking(say(200, body=b'{"data": {"trackers": [{"trackerId": "t"}, 7]}}'), say(200, body=b"{}")) as (api, _, vendor):
        assert api.list_trackers(3) == [{"trackerId": "t"}]
        with pytest.raises(VendorUnavailable, match="trackers"):
            api.list_trackers(4)
    assert [call.path.partition("?")[2] for call in vendor.calls] == [f"page={page}&limit=500&sort=1" for page in (3, 4)]


def test_an_answer_has_at_most_so_many_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ship24_api, "_MAX_BYTES", 100)
    with asking(say(200, body=b"{}".ljust(100)), say(200, body=b"{}".ljust(101))) as (api, _, _):
        assert api.read_results("t") == {}
        with pytest.raises(VendorUnavailable, match="more than 100 bytes"):
            api.read_results("t")
