"""Compression under `/ops`: for the console's own pages and the API, not for requests that another site has caused."""

import gzip

from tests.harness.console_client import OPS, ConsoleClient
from tests.harness.service import Service, bearer
from tests.harness.table import each_row

GZIP = {"Accept_Encoding": "gzip"}


@each_row(
    ("site", "is_compressed"),
    [(None, True), ("same-origin", True), ("none", True), ("same-site", False), ("cross-site", False)],
)
def test_a_page_is_compressed_unless_another_site_asks(anna: ConsoleClient, site: str | None, is_compressed: bool) -> None:
    sent = GZIP if site is None else {**GZIP, "Sec_Fetch_Site": site}
    answer = anna.get("/ops/settings", **sent)
    assert (answer.status, answer.headers.get("content-encoding")) == (200, "gzip" if is_compressed else None)
    if is_compressed:
        assert b"Audit log" in gzip.decompress(answer.body)
        assert answer.headers["vary"] == "Accept-Encoding"


def test_who_does_not_ask_for_it_gets_plain_bytes(anna: ConsoleClient) -> None:
    answer = anna.get("/ops/settings")
    assert ("content-encoding" in answer.headers, b"Audit log" in answer.body) == (False, True)


def test_the_api_is_compressed_and_webhooks_are_not(running: Service) -> None:
    headers = [("Accept-Encoding", "gzip")]
    described = running.call("GET", "/ops/api/openapi.json", headers=[*headers, *bearer(OPS)])
    assert described.headers["content-encoding"] == "gzip"
    refused = running.call("POST", "/webhooks/ship24", b"x" * 5000, headers=headers)
    assert "content-encoding" not in refused.headers


def test_an_unchanged_page_is_answered_304(running: Service, anna: ConsoleClient) -> None:
    page = anna.get("/ops/quarantine")
    unchanged = anna.get("/ops/quarantine", If_None_Match=page.headers["etag"])
    assert (unchanged.status, unchanged.body, unchanged.headers["etag"]) == (304, b"", page.headers["etag"])
    assert anna.get("/ops/quarantine?q=other", If_None_Match=page.headers["etag"]).status == 200
    running.post(b'{"trackings": [{"nothing": "of use"}]}')
    assert anna.get("/ops/quarantine", If_None_Match=page.headers["etag"]).status == 200
    ben = ConsoleClient(running)
    ben.sign_in(OPS)
    assert ben.get("/ops/quarantine", If_None_Match=page.headers["etag"]).status == 200
