"""A stopping service behind a load balancer: new connections are refused at once, requests under way are answered."""

from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException

from tests.conftest import StartService
from tests.harness import ship24
from tests.harness.raw_http import read_until, request
from tests.harness.service import Service, wait_until


def is_refused(running: Service, path: str) -> bool:
    """Tell whether a new connection gets no answer."""
    try:
        running.get(path)
    except (OSError, HTTPException):
        return True
    return False


def test_a_stopping_service_refuses_new_connections_and_answers_requests_under_way_with_a_close(
    service: StartService, sqlite_url: str
) -> None:
    running = service(sqlite_url, commit_timeout_seconds="60")
    assert running.get("/readyz").status == 200
    with running.socket() as idle, ThreadPoolExecutor(1) as threads:
        idle.sendall(request(ship24.single()))
        assert b"connection: close" not in read_until(idle, b"]}").lower()
        with running.held_up():
            call = threads.submit(running.post, ship24.single("held"))
            wait_until(lambda: b"receiver_queue_deliveries 1" in running.get("/metrics").body, "the call is under way")
            assert running.process is not None
            running.process.terminate()
            wait_until(lambda: is_refused(running, "/readyz"), "a probe is refused")
            assert idle.recv(1) == b"", "an idle connection is closed, so that nobody sends into it later"
            assert not call.done()
        answer = call.result()
    assert (answer.outcomes(), answer.headers["connection"]) == (["applied"], "close")
    assert running.wait() == 0
