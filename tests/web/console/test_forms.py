"""Forms of the console: a redirect after each change, results for the same session only, forms after the end of a session."""

from urllib.parse import quote

from tests.conftest import StartService
from tests.harness import ship24
from tests.harness.console_client import OPS, SESSION, ConsoleClient, find_form_token
from tests.harness.service import Service
from tests.harness.table import each_row

WINDOW = "/ops/settings/setup-window/ship24"
NOTHING_CHANGED = b"so your form changed nothing"


@each_row(
    ("path", "form_page"),
    [
        (WINDOW, WINDOW),
        ("/ops/targets", "/ops/targets"),
        ("/ops/erasure", "/ops/erasure"),
        ("/ops/customers/import", "/ops/customers/import"),
        ("/ops/deliveries/some-id/replay", "/ops/deliveries/some-id/replay"),
        ("/ops/settings/alarm-test", "/ops/settings"),
        ("/ops/targets/test", "/ops/targets"),
        ("/ops/targets/resend", "/ops/targets"),
    ],
)
def test_a_form_after_the_session_says_that_nothing_changed_and_comes_back(running: Service, path: str, form_page: str) -> None:
    anna = ConsoleClient(running)
    anna.sign_in(OPS)
    ended = anna.cookies[SESSION]
    anna.post("/ops/sign-out", {"form_token": find_form_token(anna.get("/ops"))})
    audited = running.count("audit")
    for cookies in ({}, {SESSION: "forged"}, {SESSION: ended}):
        visitor = ConsoleClient(running)
        visitor.cookies = cookies
        answer = visitor.post(path, {"form_token": "x", "command": "replay"})
        location = answer.headers["location"]
        assert (answer.status, location) == (303, f"/ops/sign-in?next={quote(form_page, safe='')}&unsent=yes")
        shown = visitor.get(location)
        assert (shown.status, NOTHING_CHANGED in shown.body) == (200, True)
        assert f'name="next" value="{form_page}"'.encode() in shown.body
    assert running.count("audit") == audited
    assert NOTHING_CHANGED not in ConsoleClient(running).get("/ops/sign-in").body


def test_a_form_of_an_earlier_session_leads_back_to_its_page(running: Service, anna: ConsoleClient) -> None:
    answer = anna.post(WINDOW, {"form_token": "of another session", "command": "open", "minutes": "5"})
    assert (answer.status, f'href="{WINDOW}"'.encode() in answer.body) == (403, True)


def test_a_result_can_be_reloaded_and_belongs_to_its_session(running: Service, anna: ConsoleClient) -> None:
    delivery = running.post(ship24.single()).json()["delivery_id"]
    answer = anna.submit(f"/ops/deliveries/{delivery}/replay", command="replay")
    location = answer.headers["location"]
    assert (answer.status, location.startswith("/ops/results/")) == (303, True)
    for _ in range(2):
        assert b"Replayed delivery" in anna.get(location).body
    assert running.count("audit", action="replay") == 1
    other = ConsoleClient(running)
    other.sign_in(OPS)
    refused = other.get(location)
    assert (refused.status, b"The audit log on the page Settings says what was done." in refused.body) == (404, True)


def test_a_preview_of_a_replay_has_an_address_and_changes_nothing(running: Service, anna: ConsoleClient) -> None:
    delivery = running.post(ship24.single()).json()["delivery_id"]
    preview = anna.get(f"/ops/deliveries/{delivery}/replay?show=yes&force=yes")
    assert (preview.status, b"Changes to expect" in preview.body) == (200, True)
    assert running.count("audit", action="replay") == 0
    assert anna.submit(f"/ops/deliveries/{delivery}/replay", command="show").status == 422


def test_another_receiver_tells_the_result_too(service: StartService, sqlite_url: str) -> None:
    first = service(sqlite_url, ops_tokens=f"anna:{OPS}")
    operator = ConsoleClient(first)
    operator.sign_in(OPS)
    delivery = first.post(ship24.single()).json()["delivery_id"]
    location = operator.submit(f"/ops/deliveries/{delivery}/replay", command="replay").headers["location"]
    first.stop()
    first.restart()  # it has lost its memory, as a second receiver behind a proxy has none
    told = operator.get(location)
    assert (told.status, f"Replayed delivery {delivery}: no changes.".encode() in told.body) == (200, True)
    assert operator.get(location.replace("changes", "chances")).status == 404
