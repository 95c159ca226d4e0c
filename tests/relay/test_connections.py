"""Misbehaving connections to targets are closed after a bounded time and hold up no others."""

from collections.abc import Iterator

import pytest

from tests.harness import ship24
from tests.harness.raw_http import head_of, read_all, read_until, request
from tests.harness.service import Service, serving, wait_until


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that gives a request five seconds to be complete."""
    folder = tmp_path_factory.mktemp("hasty")
    with serving(folder, f"sqlite:///{folder}/hasty.db", body_timeout_seconds="5") as service:
        yield service


def count_incomplete(service: Service) -> int:
    return int(service.count("deliveries", code="body_incomplete", outcome="refused"))


def test_a_body_that_ends_half_way_is_on_record_and_nothing_of_it_is_applied(hasty: Service) -> None:
    before = count_incomplete(hasty)
    body = ship24.single("half")
    with hasty.socket() as connection:
        connection.sendall(request(body)[: -len(body) // 2])
    wait_until(lambda: count_incomplete(hasty) == before + 1, "the broken call is on record")
    assert hasty.count("messages", message_id="half") == 0
    assert hasty.post(body).outcomes() == ["applied"]


def test_a_body_that_does_not_arrive_is_cut_off_and_on_record(hasty: Service) -> None:
    before = count_incomplete(hasty)
    with hasty.socket() as connection:
        connection.sendall(head_of("POST", "Content-Length: 1000") + b"{")
        answer = read_all(connection)  # ends because the service ends it
    assert b" 200 " not in answer
    wait_until(lambda: count_incomplete(hasty) == before + 1, "the slow call is on record")


def test_a_body_that_drips_is_cut_off_all_the_same(hasty: Service) -> None:
    with hasty.socket() as connection:
        connection.sendall(head_of("POST", "Content-Length: 1000000"))
        connection.settimeout(0.05)  # the pause between two drops
        with pytest.raises((ConnectionError, EOFError)):
            drip(connection.sendall, connection.recv)


def drip(send: object, receive: object) -> None:
    assert callable(send)
    assert callable(receive)
    for _ in range(1000):
        send(b" ")
        try:
            if receive(1024) == b"":
                raise EOFError
        except TimeoutError:
            continue


def test_a_head_that_never_ends_is_cut_off(hasty: Service) -> None:
    with hasty.socket() as connection:
        connection.sendall(b"POST /webhooks/ship24 HTTP/1.1\r\nHost: here\r\n")
        assert b" 200 " not in read_all(connection)


def test_a_connection_without_a_request_is_closed(hasty: Service) -> None:
    with hasty.socket() as connection:
        assert read_all(connection) == b""


def test_what_is_no_http_at_all_is_refused(hasty: Service) -> None:
    with hasty.socket() as connection:
        connection.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello\r\n\r\n")
        assert read_all(connection)[:12] in {b"", b"HTTP/1.1 400"}


def test_pipelined_requests_are_answered_in_order(hasty: Service) -> None:
    bodies = [ship24.single(f"pipelined-{number}") for number in range(5)]
    with hasty.socket() as connection:
        connection.sendall(b"".join(request(body) for body in bodies))
        answers = read_until(connection, b'"outcome":"applied"}]}', times=5)
    places = [answers.index(f'"pipelined-{number}"'.encode()) for number in range(5)]
    assert places == sorted(places)
    assert answers.count(b"HTTP/1.1 200 OK") == 5


def test_a_connection_is_used_again_after_a_refusal(hasty: Service) -> None:
    connection = hasty.connect()
    statuses = [hasty.post(ship24.single(), token=token, connection=connection).status for token in ("wrong", "wrong")]
    statuses.append(hasty.post(ship24.single(), connection=connection).status)
    connection.close()
    assert statuses == [401, 401, 200]


def test_a_rejected_request_cannot_hide_another_one_in_its_body(hasty: Service) -> None:
    hidden = request(ship24.single("hidden"))
    with hasty.socket() as connection:
        connection.sendall(request(hidden, "Connection: close", token="wrong"))
        answers = read_all(connection)
    assert answers.count(b"HTTP/1.1") == 1
    assert hasty.count("messages", message_id="hidden") == 0


def test_slow_connections_hold_up_no_others(hasty: Service) -> None:
    slow = [hasty.connect() for _ in range(50)]
    for connection in slow:
        connection.connect()
        connection.sock.sendall(head_of("POST", "Content-Length: 1000"))
    assert hasty.post(ship24.single()).outcomes() == ["applied"]
    for connection in slow:
        connection.close()


def test_a_body_in_chunks_is_a_body(hasty: Service) -> None:
    body = ship24.single("chunked")
    pieces = [body[:10], body[10:]]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    with hasty.socket() as connection:
        connection.sendall(head_of("POST", "Transfer-Encoding: chunked") + chunks)
        answer = read_until(connection, b"]}")
    assert b'"outcome":"applied"' in answer
    delivery_id = hasty.value("messages", "delivery_id", message_id="chunked")
    assert hasty.table("bodies", "body", delivery_id=delivery_id) == [{"body": body}]
