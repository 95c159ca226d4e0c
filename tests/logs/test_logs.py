"""The log: a slow or broken reader blocks nothing, and strangers cannot fill it."""

import json
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from receiver.logs.limits import LineLimits
from receiver.logs.lines import LineWriter, encode_line
from tests.conftest import StartService
from tests.harness import ship24
from tests.harness.service import Service, wait_until
from tests.harness.table import each_row
from tests.monitoring.test_metrics import labelled, scrape

JUNK = b"\0\1\2 junk\r\n\r\n"
ABORTED_SIGN_IN = (
    b"POST /ops/sign-in HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\n"
)
ABORTED_WEBHOOK = b"POST /webhooks/ship24 HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
ABORTED_ORDER = b"POST /ops/api/prune HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\nAuthorization: Bearer %s\r\n\r\nabc"
OPS = "the-ops-token-of-these-tests"


def send(running: Service, data: bytes, times: int) -> None:
    """Send bytes on connections of their own and hang up."""
    for _ in range(times):
        with running.socket() as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)


def annoy(running: Service, times: int) -> None:
    """Do what anybody can do without a token."""
    for data in (JUNK, ABORTED_SIGN_IN, ABORTED_WEBHOOK):
        send(running, data, times)


@pytest.fixture
def full_pipe(tmp_path: Path) -> Iterator[int]:
    """A named pipe, `pipe`, that is full; the fixture is our end of it."""
    os.mkfifo(tmp_path / "pipe")
    descriptor = os.open(tmp_path / "pipe", os.O_RDWR | os.O_NONBLOCK)
    fill(descriptor)
    yield descriptor
    os.close(descriptor)


def fill(descriptor: int) -> None:
    for size in (4096, 1):
        try:
            while True:
                os.write(descriptor, b"." * size)
        except BlockingIOError:
            continue


def read_all(descriptor: int) -> bytes:
    pieces = []
    try:
        while piece := os.read(descriptor, 65536):
            pieces.append(piece)
    except BlockingIOError:
        pass
    return b"".join(pieces)


def test_a_log_pipe_without_a_reader_stops_nothing(
    service: StartService, sqlite_url: str, tmp_path: Path, full_pipe: int
) -> None:
    running = service(sqlite_url, standard_error=str(tmp_path / "pipe"), ops_tokens=OPS)
    annoy(running, 100)
    send(running, ABORTED_ORDER % OPS.encode(), 20)
    assert running.post(ship24.single()).outcomes() == ["applied"]
    assert running.get("/healthz").status == 200
    assert running.get("/readyz").status == 200
    assert running.stop() == 0


def test_metrics_count_the_lines_that_could_not_be_written(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url, standard_error="/dev/full")
    counted = labelled("receiver_log_lines_dropped_total")
    wait_until(lambda: scrape(running)[counted] >= 2, "the lines of the start are counted")


def test_what_waited_is_read_once_somebody_reads(service: StartService, sqlite_url: str, tmp_path: Path, full_pipe: int) -> None:
    service(sqlite_url, standard_error=str(tmp_path / "pipe"))
    read = bytearray()

    def has_come() -> bool:
        read.extend(read_all(full_pipe))
        return b'"event": "service_started"' in read

    wait_until(has_come, "the first lines are read")


def test_strangers_can_neither_fill_the_log_nor_put_tracebacks_into_it(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url, ops_tokens=OPS)
    before = len(running.logs())
    annoy(running, 200)
    send(running, ABORTED_ORDER % OPS.encode(), 50)
    assert running.post(ship24.single()).status == 200
    assert "Traceback" not in running.logs()
    assert len(running.logs()) - before < 50_000
    assert running.stop() == 0
    assert "Traceback" not in running.logs()


@pytest.mark.parametrize(
    ("redirection", "target", "log_format"),
    [("2>&-", "", "console"), ("2> >(exec true)", "", "json"), ("", "/dev/full", "json"), ("", "/dev/null", "console")],
)
def test_a_standard_error_that_takes_nothing_stops_nothing(
    service: StartService, sqlite_url: str, redirection: str, target: str, log_format: str
) -> None:
    prefix = ("bash", "-c", f'exec "$@" {redirection}', "bash") if redirection else ()
    running = service(sqlite_url, prefix, target, log_format=log_format)
    annoy(running, 20)
    assert running.post(ship24.single()).status == 200
    assert running.stop() == 0
    read = Path(sqlite_url.removeprefix("sqlite:///")).read_bytes()
    assert b"service_started" not in read, "the log is not written into the database"


@pytest.mark.parametrize(
    ("locale", "log_format"), [("C", "console"), ("xx_YY.unknown", "json"), ("en_US.ISO-8859-1", "console"), ("C.UTF-8", "json")]
)
def test_any_locale_serves_and_logs(service: StartService, tmp_path: Path, locale: str, log_format: str) -> None:
    folder = tmp_path / "données-数据"
    folder.mkdir()
    prefix = ("env", f"LC_ALL={locale}")
    running = service(f"sqlite:///{folder}/receiver.db", prefix, log_format=log_format)
    assert running.post(ship24.single()).status == 200
    assert running.stop() == 0
    assert "service_started" in running.logs()
    assert "Traceback" not in running.logs()


@each_row("coding", ["ascii", "latin-1", "utf-8", "no-such-coding"])
def test_a_line_can_be_encoded_whatever_it_says(coding: str) -> None:
    line = encode_line("naïve 数据 \ud800", coding)
    assert line.endswith(b"\n")
    assert line.startswith(b"na")


def test_lines_that_do_not_fit_are_dropped_counted_and_reported_when_there_is_room() -> None:
    reader, writer = os.pipe2(os.O_NONBLOCK)
    fill(writer)
    found: list[int] = []
    lines = LineWriter(writer, lambda: found.append(lines.take_dropped()))
    try:
        for number in range(3000):
            lines.put(b"%04d" % number + b"x" * 995 + b"\n")
        read = bytearray()

        def is_reported() -> bool:
            read.extend(read_all(reader))
            return sum(found) > 0

        wait_until(is_reported, "what was dropped is reported")
        lines.drain(60)
        read.extend(read_all(reader))
        assert sum(found) + read.count(b"\n") == 3000
        assert read.lstrip(b".").startswith(b"0000"), "the oldest lines are kept"
    finally:
        os.close(writer)
        os.close(reader)


def test_a_fork_writes_only_its_own_lines() -> None:
    reader, writer = os.pipe2(os.O_NONBLOCK)
    fill(writer)
    lines = LineWriter(writer, lambda: None)
    lines.put(b"of the parent\n")
    process_id = os.fork()
    if process_id == 0:
        lines.put(b"of the child\n")
        lines.drain(60)
        os._exit(0)
    read = bytearray()

    def has_come() -> bool:
        read.extend(read_all(reader))
        return read.count(b"\n") == 2

    wait_until(has_come, "both lines come")
    os.waitpid(process_id, 0)
    assert sorted(bytes(read).lstrip(b".").splitlines()) == [b"of the child", b"of the parent"]
    os.close(writer)
    os.close(reader)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def record(event: str, **pairs: object) -> logging.LogRecord:
    return logging.makeLogRecord({"msg": {"event": event, **pairs}})


def test_lines_of_one_event_are_bounded_and_counted_and_leave_others_alone() -> None:
    clock = Clock()
    limits = LineLimits(clock)
    assert sum(limits.filter(record("flood")) for _ in range(1000)) == 50
    assert limits.filter(record("alone"))
    clock.now += 1.0
    next_one = record("flood")
    assert limits.filter(next_one)
    assert isinstance(next_one.msg, dict)
    assert next_one.msg["suppressed"] == 950
    assert not limits.filter(record("flood"))
    assert limits.take_suppressed() == {"flood": 1}
    assert limits.take_suppressed() == {}


def test_tracebacks_are_fewer_and_do_not_use_up_other_lines() -> None:
    limits = LineLimits(Clock())
    assert sum(limits.filter(record("failed", exception="Traceback …")) for _ in range(100)) == 5
    assert limits.filter(record("failed"))


def test_events_that_libraries_make_up_are_bounded_together() -> None:
    limits = LineLimits(Clock())
    made_up = [logging.makeLogRecord({"msg": f"task {number} of nobody\nmore"}) for number in range(5000)]
    assert sum(map(limits.filter, made_up)) < 400


def test_each_line_of_json_is_an_object(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url)
    annoy(running, 5)
    assert running.stop() == 0
    lines = running.logs().splitlines()
    assert {"service_started", "stop_requested"} <= {json.loads(line)["event"] for line in lines}
