"""The client of Ship24's API against a server that answers badly."""

from itertools import count

import pytest

from receiver.access.bearer import Secret
from receiver.errors import VendorUnavailable
from receiver.maintenance.reconcile.ship24_api import ReconcileStopped, Ship24Api
from tests.harness.endpoint import answering, drip, say, write

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
