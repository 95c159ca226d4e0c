"""The import of deliveries in the console: the results first, then the question; pasted or from a file."""

import html
import re

from receiver.web.console.delivery_import import DELIVERY_IMPORT_PATH, MAX_BODIES
from tests.harness import ship24
from tests.harness.console_client import ConsoleClient
from tests.harness.service import Reply, Service
from tests.harness.table import each_row


def single(number: int) -> bytes:
    return ship24.single(f"m{number}", tracker_id=f"t{number}")


def confirm(anna: ConsoleClient, shown: Reply) -> str:
    """Press Import on the page with the results; return the page with what was done."""
    fields = dict(re.findall(r'type="hidden" name="(content|kind|at)" value="([^"]*)"', shown.body.decode()))
    fields = {name: html.unescape(value) for name, value in fields.items()}
    answer = anna.submit(DELIVERY_IMPORT_PATH, **fields, command="import")
    while answer.status == 303:
        answer = anna.get(answer.headers["location"])
    assert answer.status == 200
    return answer.body.decode()


def test_a_pasted_body_is_imported_after_its_results_were_shown(running: Service, anna: ConsoleClient) -> None:
    shown = anna.submit(DELIVERY_IMPORT_PATH, kind="tracking", text=single(1).decode(), at="2026-01-31 14:03", command="show")
    assert "Trackers that would be updated" in shown.body.decode()
    assert running.count("deliveries") == running.count("audit", action="deliveries import") == 0
    done = confirm(anna, shown)
    (row,) = running.table("deliveries", "id", "origin", "sent_at", "note")
    assert (row["origin"], row["sent_at"], row["note"]) == ("import", 1_769_868_180_000_000, "Brought in by anna.")
    assert f'href="/ops/deliveries/{row["id"]}"' in done
    assert "Updated trackers" in done
    page = anna.get(f"/ops/deliveries/{row['id']}").body.decode()
    assert "first sent at 2026-01-31 14:03:00 UTC" in page
    for path in ("/ops/deliveries?origin=import", "/ops/messages"):
        assert ">Import<" in anna.get(path).body.decode()


def test_the_bytes_of_a_file_are_kept_and_a_bad_body_stops_no_other(running: Service, anna: ConsoleClient) -> None:
    body = single(1).replace(b", ", b",\t ")
    shown = anna.upload(DELIVERY_IMPORT_PATH, body + b"\r\n{\r\n" + single(2), "bodies.jsonl", kind="tracking", command="show")
    done = confirm(anna, shown)
    assert "The body must be JSON" in done
    rows = running.table("deliveries", "body_number", "body_bytes", order="body_number")
    assert [(row["body_number"], row["body_bytes"]) for row in rows] == [(1, len(body)), (3, len(single(2)))]


@each_row(
    "fields, words",
    [
        ({"text": "{}\r\n\u200d"}, "Choose which bodies they are."),
        ({"kind": "tracking", "text": " "}, "Paste a body, or choose a file."),
        ({"kind": "tracking", "text": "{}", "at": "soon"}, "First sent:"),
        ({"kind": "tracking", "text": "{}", "at": "2999-01-01"}, "expected a time in the past"),
        ({"kind": "tracking", "text": "{"}, "The body must be JSON"),
        ({"kind": "tracking", "text": "{}\n" * (MAX_BODIES + 1)}, "receiver deliveries import"),
        ({"kind": "tracking", "content": "?"}, "Choose them again."),
    ],
)
def test_what_cannot_be_imported_is_told_and_the_form_stays(
    running: Service, anna: ConsoleClient, fields: dict[str, str], words: str
) -> None:
    page = anna.submit(DELIVERY_IMPORT_PATH, **fields, command="show").body.decode()
    assert words in html.unescape(page)
    assert 'value="show"' in page
    typed = fields.get("text", "").replace("\r\n", "\n")
    assert re.findall(r"<textarea[^>]*>(.*?)</textarea>", page, re.DOTALL) == [html.escape(typed)]
    assert running.count("deliveries") == 0
