"""Alarm notices to a URL and to a command, however these behave."""

import json
import os
import sys
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import orjson
import psutil
import pytest
from structlog.testing import capture_logs

from receiver.access.bearer import Secret
from receiver.domain.notices import Notice, make_test_notice, write_notice
from receiver.monitoring.notifier import AlarmNotifier, ChannelResult, NotifierTimings
from receiver.relay.connections import Connections
from tests.harness.alarm_server import HANG, NONSENSE, alarm_server
from tests.harness.endpoint import TAKE, answering, drip
from tests.harness.ports import free_port
from tests.harness.service import DEADLINE_SECONDS, wait_until

BEGAN = Notice("refused", "ship24", "began", "100 calls were refused.", "2026-11-22T10:00:00.000Z")
ENDED = BEGAN._replace(state="ended", ended_at="2026-11-22T10:09:00.000Z")
TOKEN = "planted-token-of-the-url"
QUICK = NotifierTimings(
    (0.0, 0.0), url_seconds=DEADLINE_SECONDS, command_seconds=DEADLINE_SECONDS, closing_seconds=DEADLINE_SECONDS
)

Logs = list[MutableMapping[str, Any]]


@pytest.fixture
def logs() -> Iterator[Logs]:
    with capture_logs() as captured:
        yield captured


@contextmanager
def notices(url: str | None = None, *command: str, timings: NotifierTimings = QUICK) -> Iterator[AlarmNotifier]:
    made = AlarmNotifier(None if url is None else Secret("url", url), command, timings)
    made.start()
    try:
        yield made
    finally:
        made.close()


def python(script: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-c", script, *arguments)


def events(logs: Logs, event: str) -> list[dict[str, Any]]:
    return [{name: value for name, value in line.items() if name not in {"event", "log_level"}}
            for line in logs if line["event"] == event]  # fmt: skip


def not_sent(by: str, cause: str, state: str = "began") -> dict[str, Any]:
    return {"by": by, "alarm": "refused", "subject": "ship24", "state": state, "cause": cause}


def test_a_url_gets_each_notice_once_in_order_as_json(logs: Logs) -> None:
    with alarm_server() as server:
        with notices(server.url) as told:
            told.put(BEGAN)
            told.put(ENDED)
        assert server.notices == [
            {
                "alarm": "refused",
                "subject": "ship24",
                "state": "began",
                "message": "100 calls were refused.",
                "began_at": "2026-11-22T10:00:00.000Z",
                "ended_at": None,
            },
            {**BEGAN._asdict(), "state": "ended", "ended_at": "2026-11-22T10:09:00.000Z"},
        ]
        assert {told.headers["content-type"] for told in server.told} == {"application/json"}
    assert [line["state"] for line in events(logs, "alarm_sent")] == ["began", "ended"]


def test_a_url_that_fails_gets_a_notice_again_before_the_next_one(logs: Logs) -> None:
    with alarm_server(500, 503, 204) as server, notices(server.url) as told:
        told.put(BEGAN)
        told.put(ENDED)
        wait_until(lambda: len(events(logs, "alarm_sent")) == 2, "both are sent")
        assert [notice["state"] for notice in server.notices] == ["began", "began", "began", "ended"]
    assert events(logs, "alarm_not_sent") == []


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (500, "the response was 500"),
        (404, "the response was 404: the URL is unknown there; copy it again"),
        (HANG, "no response within 0.3 seconds"),
    ],
)
def test_a_url_that_goes_on_failing_is_given_up(logs: Logs, answer: int, cause: str) -> None:
    timings = QUICK._replace(url_seconds=0.3) if answer == HANG else QUICK
    with alarm_server(answer) as server, notices(server.url, timings=timings) as told:
        told.put(BEGAN)
        wait_until(lambda: events(logs, "alarm_not_sent"), "it is given up")
        assert answer == HANG or len(server.told) == 3
    assert events(logs, "alarm_not_sent") == [not_sent("url", cause)]


@pytest.mark.parametrize(
    "begins",
    [
        pytest.param(b"", id="its status line"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX-Drip: ", id="a header"),
    ],
)
def test_a_url_that_drips_its_answer_holds_up_the_next_notice_for_a_bounded_time(logs: Logs, begins: bytes) -> None:
    timings = QUICK._replace(pauses_seconds=(), url_seconds=2.0)
    with answering(drip(begins), TAKE) as endpoint, notices(endpoint.url, timings=timings) as told:
        told.put(BEGAN)
        told.put(ENDED)
        wait_until(lambda: events(logs, "alarm_sent"), "the next one is sent")
        wait_until(lambda: endpoint.ended == 2, "both connections have ended")
    assert events(logs, "alarm_not_sent") == [not_sent("url", "no response within 2 seconds")]
    assert [line["state"] for line in events(logs, "alarm_sent")] == ["ended"]


def test_a_name_that_is_looked_up_for_ever_holds_nothing_up(logs: Logs, monkeypatch: pytest.MonkeyPatch) -> None:
    released = Event()

    def resolve(*_arguments: object, **_options: object) -> list[Any]:
        released.wait()
        return []

    monkeypatch.setattr(Connections.__init__, "__kwdefaults__", {"resolve": resolve})
    with notices("http://nobody.example/", timings=QUICK._replace(pauses_seconds=(), url_seconds=0.2)) as told:
        told.put(BEGAN)
        told.put(ENDED)
        wait_until(lambda: len(events(logs, "alarm_not_sent")) == 2, "both are given up")
    released.set()


def test_a_redirect_is_not_followed(logs: Logs) -> None:
    with alarm_server() as stranger, alarm_server(307, location=stranger.url) as server, notices(server.url) as told:
        told.put(BEGAN)
        wait_until(lambda: events(logs, "alarm_not_sent"), "it is given up")
        assert (stranger.told, len(server.told)) == ([], 3)
    assert events(logs, "alarm_not_sent") == [
        not_sent("url", "the response was 307: redirects are not followed; set the URL that it leads to")
    ]


def test_an_unreachable_url_is_logged_without_the_url(logs: Logs) -> None:
    port = free_port()
    with notices(f"http://127.0.0.1:{port}/{TOKEN}?key={TOKEN}") as told:
        told.put(BEGAN)
        wait_until(lambda: events(logs, "alarm_not_sent"), "it is given up")
    assert events(logs, "alarm_not_sent") == [not_sent("url", "the connection was refused")]
    assert (TOKEN in repr(logs), str(port) in repr(logs)) == (False, False)


def test_name_and_password_in_the_url_are_sent_as_such(logs: Logs) -> None:
    with alarm_server() as server:
        with notices(f"http://us%40er:p%3Ass@{server.host}/a?b=c#d") as told:
            told.put(BEGAN)
        assert [(request.path, request.headers["authorization"]) for request in server.told] == [
            ("/a?b=c", "Basic dXNAZXI6cDpzcw==")
        ]
        assert server.told[0].headers["host"] == server.host


def test_an_answer_that_is_hardly_http_does_no_harm(logs: Logs) -> None:
    with alarm_server(NONSENSE) as server, notices(server.url) as told:
        told.put(BEGAN)
        wait_until(lambda: events(logs, "alarm_sent") or events(logs, "alarm_not_sent"), "it was tried")


def test_a_command_gets_json_on_its_standard_input(tmp_path: Path, logs: Logs) -> None:
    script = "import sys; open(sys.argv[1], 'a').write(sys.stdin.read() + '\\n')"
    with notices(None, *python(script, str(tmp_path / "told"))) as told:
        told.put(BEGAN)
        told.put(ENDED)
    lines = (tmp_path / "told").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [BEGAN._asdict(), ENDED._asdict()]
    assert [line["by"] for line in events(logs, "alarm_sent")] == ["command", "command"]


def test_a_command_is_run_without_a_shell_and_without_our_secrets(
    tmp_path: Path, logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECEIVER_SHIP24_TOKENS", TOKEN)
    monkeypatch.setenv("DATABASE_URL", f"postgresql://u:{TOKEN}@host/name")
    monkeypatch.setenv("OF_THE_OPERATOR", "stays")
    script = "import json, os, sys; json.dump([sys.argv[2:], dict(os.environ)], open(sys.argv[1], 'w'))"
    with notices(None, *python(script, str(tmp_path / "seen"), "$HOME; echo `id`", "*")) as told:
        told.put(BEGAN)
    arguments, variables = json.loads((tmp_path / "seen").read_text(encoding="utf-8"))
    assert arguments == ["$HOME; echo `id`", "*"]
    assert (variables["OF_THE_OPERATOR"], variables["PATH"]) == ("stays", os.environ["PATH"])
    assert TOKEN not in repr(variables)


@pytest.mark.parametrize(
    ("command", "cause"),
    [
        pytest.param(python("raise SystemExit(3)"), "its exit code was 3", id="fails"),
        pytest.param(python("import os; os.kill(os.getpid(), 9)"), "its exit code was -9", id="is killed"),
        pytest.param(python(f"import sys; print('{TOKEN}'); sys.exit('{TOKEN}')"), "its exit code was 1", id="prints a secret"),
        pytest.param(("/no/such/program", TOKEN), "the program was not found", id="does not exist"),
        pytest.param(("/", TOKEN), "the program cannot be run", id="is none"),
    ],
)
def test_a_command_that_fails_is_tried_again_and_given_up(
    logs: Logs, capfd: pytest.CaptureFixture[str], command: tuple[str, ...], cause: str
) -> None:
    with notices(None, *command) as told:
        told.put(BEGAN)
        wait_until(lambda: events(logs, "alarm_not_sent"), "it is given up")
    assert events(logs, "alarm_not_sent") == [not_sent("command", cause)]
    assert TOKEN not in repr(logs) + repr(capfd.readouterr())


HANGS = ("sh", "-c", 'sleep 600 & echo "$$ $!" > "$0"; wait')


def pids(path: Path) -> list[int]:
    return [int(pid) for pid in path.read_text(encoding="utf-8").split()] if path.exists() else []


def none_runs(path: Path) -> Callable[[], bool]:
    """Ask whether none of the processes runs; one that waits for its parent to ask for its exit code does not."""

    def ask() -> bool:
        found = [psutil.Process(pid) for pid in pids(path) if psutil.pid_exists(pid)]
        return all(process.status() == psutil.STATUS_ZOMBIE for process in found)

    return ask


def test_a_command_that_hangs_is_ended_with_what_it_started(tmp_path: Path, logs: Logs) -> None:
    timings = QUICK._replace(pauses_seconds=(), command_seconds=3.0)
    with notices(None, *HANGS, str(tmp_path / "pids"), timings=timings) as told:
        told.put(BEGAN)
        wait_until(lambda: events(logs, "alarm_not_sent"), "it is given up")
        assert len(pids(tmp_path / "pids")) == 2
        wait_until(none_runs(tmp_path / "pids"), "both have ended")
    assert events(logs, "alarm_not_sent") == [not_sent("command", "it did not end within 3 seconds")]


def test_closing_ends_a_command_under_way(tmp_path: Path, logs: Logs) -> None:
    timings = NotifierTimings(command_seconds=600, closing_seconds=0.1)
    with notices(None, *HANGS, str(tmp_path / "pids"), timings=timings) as told:
        told.put(BEGAN)
        wait_until(lambda: len(pids(tmp_path / "pids")) == 2, "the command runs")
    wait_until(none_runs(tmp_path / "pids"), "both have ended")
    assert [line["by"] for line in events(logs, "alarms_not_sent")] == ["command"]


def test_a_url_that_hangs_does_not_hold_up_the_command(tmp_path: Path, logs: Logs) -> None:
    timings = QUICK._replace(url_seconds=600.0, closing_seconds=0.0)
    script = "import sys; open(sys.argv[1], 'w').write(sys.stdin.read())"
    with ExitStack() as stack:
        server = stack.enter_context(alarm_server(HANG))
        told = stack.enter_context(notices(server.url, *python(script, str(tmp_path / "told")), timings=timings))
        told.put(BEGAN)
        wait_until(lambda: events(logs, "alarm_sent"), "the command is told")
        wait_until(lambda: server.told, "the URL is called")
    assert [line["by"] for line in events(logs, "alarm_sent")] == ["command"]


def test_a_notice_is_settled_once_when_it_was_sent_or_given_up_everywhere(logs: Logs) -> None:
    settled: list[Notice] = []
    with alarm_server(500, 500, 500, 200) as server:
        told = AlarmNotifier(Secret("url", server.url), python("pass"), QUICK)
        told.start(settled.append)
        told.put(BEGAN)
        told.put(ENDED)
        wait_until(lambda: len(settled) == 2, "both are settled")
        told.close()
    assert settled == [BEGAN, ENDED]
    assert [line["state"] for line in events(logs, "alarm_not_sent")] == ["began"]


def test_a_notice_that_fails_while_the_service_stops_is_left_to_the_next_process(logs: Logs) -> None:
    settled: list[Notice] = []
    with alarm_server(500) as server:
        told = AlarmNotifier(Secret("url", server.url), (), QUICK._replace(pauses_seconds=(600.0,)))
        told.start(settled.append)
        told.put(BEGAN)
        wait_until(lambda: server.told, "the first try was made")
        told.close()
    assert settled == []
    assert len(events(logs, "alarm_not_sent")) == 1


def test_closing_tries_what_waits_once_more(logs: Logs) -> None:
    timings = QUICK._replace(pauses_seconds=(600.0,))
    with alarm_server(500, 500, 200) as server:
        with notices(server.url, timings=timings) as told:
            told.put(BEGAN)
            told.put(ENDED)
            wait_until(lambda: server.told, "the first try was made")
        assert len(server.told) == 2
    assert events(logs, "alarm_not_sent") == [
        not_sent("url", "the response was 500"),
        not_sent("url", "the response was 500", "ended"),
    ]


def test_too_many_that_wait_are_given_up_and_said(logs: Logs) -> None:
    timings = QUICK._replace(url_seconds=600.0, closing_seconds=0.0)
    with alarm_server(HANG) as server, notices(server.url, timings=timings) as told:
        told.put(BEGAN)
        wait_until(lambda: server.told, "the first one is on its way")
        for _ in range(103):
            told.put(ENDED)
        assert events(logs, "alarm_not_sent") == [not_sent("url", "too many are waiting", "ended")] * 3


def test_without_a_url_or_a_command_a_notice_is_dropped_silently(logs: Logs) -> None:
    with notices() as told:
        told.put(BEGAN)
    assert logs == []


def test_a_test_tries_each_channel_once_at_the_same_time_and_says_what_came_back(logs: Logs) -> None:
    notice = make_test_notice("2026-11-22T10:00:00.000Z")
    with alarm_server(500, 204) as server:
        with notices(f"{server.url}?key={TOKEN}", *python("raise SystemExit(3)")) as told:
            assert told.test(notice) == [
                ChannelResult("url", "json", sent=False, answer="the response was 500"),
                ChannelResult("command", "json", sent=False, answer="its exit code was 3"),
            ]
            assert told.test(notice)[0] == ChannelResult("url", "json", sent=True, answer="the response was 204")
        assert [notice["state"] for notice in server.notices] == ["test", "test"]
    assert logs == [], "a test is no notice"


def test_a_channel_is_known_to_fail_until_a_notice_or_a_test_is_sent(logs: Logs) -> None:
    with alarm_server(500, 500, 500, 500, 200) as server, notices(server.url, *python("pass")) as told:
        told.put(BEGAN)
        wait_until(lambda: events(logs, "alarm_not_sent"), "it is given up")
        wait_until(lambda: events(logs, "alarm_sent"), "the command is told")
        assert told.take_failures() == {"url": True, "command": False}
        told.test(BEGAN)
        assert told.take_failures() == {"url": True, "command": False}, "a test that fails proves nothing new"
        told.test(BEGAN)
        assert told.take_failures()["url"] is False
        assert told.take_failures() == {"url": None, "command": None}, "a success is returned once"


def test_a_url_gets_a_notice_in_the_form_of_its_service(logs: Logs) -> None:
    with alarm_server() as server:
        told = AlarmNotifier(Secret("url", server.url), (), QUICK, "slack")
        told.start()
        told.put(BEGAN)
        told.close()
        assert server.notices == [orjson.loads(write_notice(BEGAN, "slack").body)]
