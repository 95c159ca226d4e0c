"""Every path that takes a body bounds it, and says so in the form of all errors."""

from collections.abc import Iterator

import pytest

from tests.harness.raw_http import head_of, read_all
from tests.harness.service import TOKEN, Service, bearer, serving
from tests.harness.table import each_row

OPS = "the-ops-token-of-these-tests"
MAX_BODY_BYTES = 16 * 2**10
LIST_BYTES = 16 * 2**20
_ORDERS = ["setup-windows", "targets/resume", "targets/retry", "prune", "forget", "deliveries/x/replay"]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("limits")
    with serving(folder, f"sqlite:///{folder}/limits.db", ops_tokens=OPS, ship24_tokens=TOKEN) as service:
        yield service


@each_row("path", [*(f"/ops/api/{order}" for order in _ORDERS), "/ops/sign-in"])
def test_a_body_over_the_limit_of_a_path_is_413_in_json(running: Service, path: str) -> None:
    answer = running.call("POST", path, b"x" * (MAX_BODY_BYTES + 1), bearer(OPS))
    assert (answer.status, answer.headers["content-type"]) == (413, "application/json")
    assert answer.json()["error"]["code"] == "body_too_large"


def test_an_import_is_bounded_by_a_limit_of_its_own(running: Service) -> None:
    rows = b'{"rows": [["A", "{\\"UserCode\\":\\"A\\"}"]]}'
    statuses = {}
    for size in (MAX_BODY_BYTES + 1, LIST_BYTES, LIST_BYTES + 1):
        statuses[size] = running.call("POST", "/ops/api/customers", rows.ljust(size), bearer(OPS)).status
    assert statuses == {MAX_BODY_BYTES + 1: 200, LIST_BYTES: 200, LIST_BYTES + 1: 413}


def test_a_stranger_gets_401_and_not_the_size_limit(running: Service) -> None:
    assert running.call("POST", "/ops/api/prune", b"x" * (MAX_BODY_BYTES + 1)).status == 401


def test_a_body_that_is_declared_too_large_is_refused_before_it_is_sent(running: Service) -> None:
    with running.socket() as connection:
        connection.sendall(head_of("POST", f"Content-Length: {LIST_BYTES + 1}", path="/ops/api/customers", token=OPS))
        assert b"body_too_large" in read_all(connection)


def test_a_body_in_chunks_is_bounded_too(running: Service) -> None:
    chunk = b"%x\r\n%s\r\n" % (MAX_BODY_BYTES + 1, b"x" * (MAX_BODY_BYTES + 1))
    with running.socket() as connection:
        connection.sendall(head_of("POST", "Transfer-Encoding: chunked", path="/ops/api/prune", token=OPS) + chunk)
        assert b"body_too_large" in read_all(connection)
