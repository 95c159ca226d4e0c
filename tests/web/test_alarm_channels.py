"""A test notice through the channels of the running service: asked for by API, command line and console."""

from collections.abc import Callable, Iterator

import pytest

from tests.harness.alarm_server import AlarmServer, alarm_server
from tests.harness.command import run_command
from tests.harness.console_client import ConsoleClient, find_form_token
from tests.harness.ports import free_port
from tests.harness.service import Service, bearer

OPS = "the-ops-token-of-these-tests"
KEY = "planted-key-in-the-alarm-url"
PATH = "/ops/api/alarms/test"


@pytest.fixture(scope="module")
def server() -> Iterator[AlarmServer]:
    with alarm_server() as server:
        yield server


@pytest.fixture
def running(shared_service: Callable[..., Service], server: AlarmServer) -> Service:
    """A service with a URL that works and a command that fails."""
    command = "sh -c 'cat > /dev/null; exit 3'"
    return shared_service(ops_tokens=OPS, alarm_url=f"{server.url}/{KEY}", alarm_format="slack", alarm_command=command)


def receiver(running: Service, *arguments: str) -> tuple[int, str, str]:
    done = run_command(*arguments, cwd=running.directory, env=running.env)
    return done.returncode, done.stdout, done.stderr


def test_the_running_service_sends_a_test_and_says_what_came_back(running: Service, server: AlarmServer) -> None:
    server.told.clear()
    answer = running.call("POST", PATH, b"", bearer(OPS))
    assert (answer.status, answer.json()) == (
        200,
        {
            "channels": [
                {"channel": "url", "format": "slack", "sent": True, "answer": "the response was 200"},
                {"channel": "command", "format": "json", "sent": False, "answer": "its exit code was 3"},
            ]
        },
    )
    (told,) = server.notices
    assert told["text"].startswith("Test: Alarm notices arrive\n")
    assert running.call("POST", PATH, b"", bearer("wrong")).status == 401


def test_the_command_shows_each_result_and_fails_with_one_of_them(running: Service) -> None:
    code, out, error = receiver(running, "alarms", "test")
    assert (code, error) == (1, "")
    shown = [" ".join(line.split()) for line in out.splitlines()[1:]]
    assert shown == ["ok url slack the response was 200", "fail command json its exit code was 3"]
    assert KEY not in out + running.logs()


def test_the_command_says_what_is_missing(running: Service, shared_service: Callable[..., Service]) -> None:
    without = shared_service(ops_tokens=OPS)
    variables = "RECEIVER_ALARM_URL, RECEIVER_ALARM_COMMAND or RECEIVER_ALARM_SMTP_URL"
    expected = f"The running service has no channel for alarms. Set {variables}, and restart it."
    assert receiver(without, "alarms", "test") == (1, "", f"receiver: {expected}\n")
    away = {**running.env, "RECEIVER_DATABASE_URL": "sqlite:///none.db", "RECEIVER_PORT": str(free_port())}
    done = run_command("alarms", "test", cwd=running.directory, env=away)
    assert done.returncode == 1
    assert "Test notices are sent by the running service. It does not answer at http://" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_settings_page_names_the_channels_and_sends_a_test(running: Service, server: AlarmServer) -> None:
    operator = ConsoleClient(running)
    assert operator.sign_in(OPS).status == 303
    page = operator.get("/ops/settings")
    assert (b"Slack" in page.body, KEY.encode() in page.body) == (True, False)
    server.told.clear()
    sent = operator.post("/ops/settings/alarm-test", {"form_token": find_form_token(page)})
    assert sent.status == 303
    result = operator.get(sent.headers["location"])
    assert result.status == 200
    assert [words for words in (b"the response was 200", b"its exit code was 3") if words not in result.body] == []
    assert len(server.told) == 1
