"""Forms of the console: a redirect after each change, results for the same session only, forms after the end of a session."""

import asyncio
import re
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from urllib.parse import quote

import pytest
from starlette.requests import Request

import receiver
from receiver.clock import to_micros
from receiver.errors import UnexpectedShape
from receiver.web.console.assets import Assets
from receiver.web.console.forms import read_file, read_form, read_time
from receiver.web.console.rendering import Renderer
from tests.conftest import StartService
from tests.harness import ship24
from tests.harness.console_client import OPS, SESSION, ConsoleClient, find_form_token
from tests.harness.service import Service
from tests.harness.table import each_row

WINDOW = "/ops/settings/setup-window/ship24"
NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
AT = to_micros(NOON)
NOTHING_CHANGED = b"so your form changed nothing"


def read(content_type: str, body: bytes) -> dict[str, str]:
    """Return the fields of a form."""

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body}

    scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"content-type", content_type.encode())]}
    return asyncio.run(read_form(Request(scope, receive)))


@each_row(
    ("body", "form"),
    [
        (b"", {}),
        (b"a=1&b=&a=2", {"a": "2", "b": ""}),
        (b"a=%C5%81+x", {"a": "\u0141 x"}),
        (b"a%0D%0Ab=1%0D%0A2%0A3%0D4", {"a\nb": "1\n2\n3\r4"}),
        (b"a=\xff", {}),
        (b"&".join(b"%d=x" % number for number in range(50)), {str(number): "x" for number in range(50)}),
        (b"&".join(b"%d=x" % number for number in range(51)), {}),
    ],
    ids=["empty", "the last one counts", "text", "line breaks", "not ASCII", "many fields", "too many fields"],
)
def test_the_fields_of_a_form_are_read_or_none(body: bytes, form: dict[str, str]) -> None:
    assert read("application/x-www-form-urlencoded", body) == form


def part(disposition: str, content: bytes, *more: str) -> bytes:
    head = "".join(f"{line}\r\n" for line in (f"Content-Disposition: form-data{disposition}", *more))
    return b"--b\r\n" + head.encode() + b"\r\n" + content + b"\r\n"


def test_a_form_with_a_file_has_its_fields_as_text_and_the_file_as_bytes() -> None:
    inner = part("", b"x").replace(b"--b", b"--c") + b"--c--"
    nested = part('; name="nested"', inner, "Content-Type: multipart/mixed; boundary=c")
    file = part('; name="file"; filename="a.csv"', b"\xff\x00\r\n")
    parts = [part('; name="rows"', "\u0141\r\n".encode()), file, part("", b"nameless")]
    form = read("Multipart/Form-Data; boundary=b", b"".join([*parts, nested, b"--b--\r\n"]))
    assert form == {"rows": "\u0141\n", "file": "\xff\x00\r\n", "file.name": "a.csv"}
    assert (read_file(form), read_file({}), read_file({"file": "\u0141"})) == (b"\xff\x00\r\n", b"", b"?")
    assert read("multipart/form-data", part('; name="rows"', b"without a boundary")) == {}


def test_every_value_that_a_form_sends_back_is_the_exact_one() -> None:
    templates = sorted((Path(receiver.__file__).parent / "web/console/templates").glob("*.html"))
    sent_back = []
    for path in templates:
        text = path.read_text(encoding="utf-8")
        for tag in re.findall(rf"<(?:input|button|option|select|textarea)\b(?:[^>{{]|{_JINJA})*>", text):
            sent_back += [tag for value in re.findall(rf' (?:name|value)="((?:[^"{{]|{_JINJA})*)"', tag) if not _is_exact(value)]
        sent_back += [area for area in re.findall(r"<textarea\b.*?</textarea>", text) if not _is_exact(area)]
        sent_back += re.findall(rf"<option(?! value=)(?:[^>{{]|{_JINJA})*>", text)
    assert (len(templates) > 20, sent_back) == (True, [])
    write = Renderer(["the-secret-token"], Assets())._write_field
    assert write('a\u200c\u202e\n\r\t"\0\ud800the-secret-token') == "a\u200c\u202e\n\r\t&#34;\u2400\ufffd[secret]"
    assert (write(None), write(3)) == ("", "3")


_JINJA = r"\{\{.*?\}\}|\{%.*?%\}"


def _is_exact(value: str) -> bool:
    return all(expression.endswith("|field ") for expression in re.findall(r"\{\{(.*?)\}\}", value))


def test_a_time_of_a_form_may_be_empty_and_an_error_names_its_field() -> None:
    read_since = partial(read_time, name="since", label="From", now=NOON, zone=UTC)
    assert [read_since(form) for form in ({}, {"since": " "}, {"since": " 2026-11-27 11:59 "})] == [None, None, AT - 60_000_000]
    with pytest.raises(UnexpectedShape, match=r"^From: "):
        read_since({"since": "soon"})


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


def test_a_form_that_is_too_large_is_answered_to_a_browser_with_a_page(running: Service) -> None:
    anna = ConsoleClient(running, Accept="text/html,*/*;q=0.8")
    anna.sign_in(OPS)
    answer = anna.submit(WINDOW, command="open", minutes="5", more="x" * 20_000)
    assert (answer.status, answer.headers["content-type"]) == (413, "text/html; charset=utf-8")
    assert f'href="{WINDOW}">Back to the form'.encode() in answer.body
    assert anna.post(WINDOW, {"more": "x" * 20_000}, Accept="*/*").json()["error"]["code"] == "body_too_large"


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
