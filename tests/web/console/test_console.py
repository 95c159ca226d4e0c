"""The console without a browser: sign-in, forms, and the headers of every answer."""

import html
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

import orjson
import pytest

from receiver.access.bearer import Secret
from receiver.access.sessions import SESSION_SECONDS, Sessions
from receiver.clock import iso
from receiver.web.console.links import read_next, to_tracker
from receiver.web.limits import MAX_BODY_BYTES
from tests.conftest import StartService
from tests.harness import ship24
from tests.harness.console_client import OPS, SESSION, ConsoleClient, find_form_token
from tests.harness.postgresql import Cluster
from tests.harness.sample_database import make_sample_database
from tests.harness.service import ROOT, TOKEN, Reply, Service, name_of, serving, wait_until
from tests.harness.storage import change
from tests.harness.table import each_row

OTHER = "another-ops-token-of-these-tests"
WINDOW = "/ops/settings/setup-window/ship24"
LISTS = (
    "/ops",
    "/ops/trackers",
    "/ops/deliveries",
    "/ops/messages",
    "/ops/quarantine",
    "/ops/targets",
    "/ops/changes",
    "/ops/customers",
    "/ops/settings",
)
FAILED = b"Sign-in failed."
_numbers = count(1)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service with a week of traffic, for tests that leave it as it is or add to it."""
    directory = tmp_path_factory.mktemp("console")
    url = f"sqlite:///{directory}/receiver.db"
    make_sample_database(url, datetime.now(UTC), trackers=40)
    settings = {"ops_tokens": f"anna:{OPS},ben:{OTHER}", "shiipp_tokens": "shop:the-shiipp-token", "trusted_proxies": "127.0.0.2"}
    with ExitStack() as stack:
        yield stack.enter_context(serving(directory / "service", url, **settings))


def pages(running: Service) -> list[str]:
    """Return the address of one page of each kind."""
    event = running.table("events", "tracker_id", "message_id", source="ship24")[0]
    calls = [running.value("deliveries", "id", outcome=name) for name in ("accepted", "refused")]
    one = [to_tracker("ship24", event["tracker_id"]), f"/ops/messages/{event['message_id']}", WINDOW]
    return [*LISTS, *one, *(f"/ops/deliveries/{call}" for call in calls)]


def audit(running: Service, action: str) -> int:
    return int(running.count("audit", action=action))


# Signing in and out


def test_without_an_ops_token_there_is_no_console(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url)
    for path in ("/ops", "/ops/", "/ops/sign-in", "/ops/trackers", "/ops/static/x/console.css"):
        answer = running.get(path)
        assert (answer.status, answer.json()["error"]["code"]) == (404, "not_found"), path
    assert running.call("POST", "/ops/sign-in", b"").status == 404


def test_who_is_not_signed_in_is_sent_to_the_form_and_back(running: Service) -> None:
    operator = ConsoleClient(running)
    for path in ("/ops/trackers?q=a%20b", to_tracker("ship24", "a/b c"), "/ops/nothing"):
        answer = operator.get(path)
        assert (answer.status, answer.headers["location"]) == (303, f"/ops/sign-in?next={quote(path, safe='')}")
    assert operator.get("/ops/").headers["location"] == "/ops/sign-in"
    answer = operator.sign_in(OPS, next="/ops/trackers?q=a%20b")
    assert (answer.status, answer.headers["location"]) == (303, "/ops/trackers?q=a%20b")
    assert operator.get("/ops/sign-in?next=/ops/settings").headers["location"] == "/ops/settings"


def test_the_cookie_is_for_the_console_alone_and_no_script_sees_it(running: Service) -> None:
    cookie = ConsoleClient(running).sign_in(OPS).headers["set-cookie"].split("\n")[0].lower()
    assert cookie.startswith(SESSION)
    attributes = {attribute.strip() for attribute in cookie.split(";")[1:]}
    assert attributes == {"httponly", "samesite=strict", "path=/ops", f"max-age={SESSION_SECONDS}"}


@pytest.mark.parametrize(
    ("proxies", "said", "secure"), [("127.0.0.1", "http, HTTPS", True), ("127.0.0.1", "http", False), ("", "https", False)]
)
def test_the_cookie_is_secure_if_a_trusted_proxy_reports_https(
    service: StartService, sqlite_url: str, proxies: str, said: str, secure: bool
) -> None:
    running = service(sqlite_url, ops_tokens=OPS, trusted_proxies=proxies)
    cookies = ConsoleClient(running, X_Forwarded_Proto=said).sign_in(OPS).headers["set-cookie"].lower().split("\n")
    assert [("secure" in cookie.replace(" ", "").split(";")) for cookie in cookies] == [secure] * len(cookies)


def test_a_wrong_token_is_refused_and_then_limited_and_the_right_one_never_is(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url, ops_tokens=OPS)
    operator = ConsoleClient(running)
    form_token = find_form_token(operator.get("/ops/sign-in"))
    answers = [operator.post("/ops/sign-in", {"form_token": form_token, "token": "wrong"}) for _ in range(20)]
    assert [answer.status for answer in answers] == [403] * 10 + [429] * 10
    assert all(FAILED in answer.body and SESSION not in answer.headers["set-cookie"] for answer in answers)
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 10
    assert operator.post("/ops/sign-in", {"form_token": form_token, "token": f" {OPS}\t"}).status == 303
    wait_until(lambda: audit(running, "wrong ops token") == 10, "the first ones are on record")
    assert audit(running, "console sign-in") == 1


def test_a_sign_in_form_that_is_not_ours_is_refused_with_the_cause(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url, ops_tokens=OPS)
    operator = ConsoleClient(running)
    fields = {"form_token": find_form_token(operator.get("/ops/sign-in")), "token": OPS}
    refused = {
        b"The form expired": operator.post("/ops/sign-in", {**fields, "form_token": "0" * 64}),
        b"elsewhere.example": operator.post("/ops/sign-in", fields, Origin="https://elsewhere.example"),
        b"another site": operator.post("/ops/sign-in", fields, Sec_Fetch_Site="cross-site"),
        b"allow cookies": ConsoleClient(running).post("/ops/sign-in", fields),
    }
    for cause, answer in refused.items():
        assert (answer.status, cause in answer.body, SESSION in answer.headers["set-cookie"]) == (403, True, False), cause
        assert b"Check the token" not in answer.body
    assert audit(running, "console sign-in") == audit(running, "wrong ops token") == 0
    assert operator.post("/ops/sign-in", fields).status == 303


@each_row(
    "wanted",
    [
        *(
            "https://elsewhere.example/ops",
            "//elsewhere.example",
            "/\\elsewhere.example",
            "\\\\elsewhere.example",
            "javascript:x",
        ),
        *(
            "/ops/../elsewhere",
            "/ops/%2e%2e/x",
            "/opsx",
            "/",
            "",
            "/ops/sign-in",
            "/ops/sign-out",
            "/ops\r\nx: y",
            "ops",
            "/ops/é",
        ),
    ],
)
def test_the_sign_in_redirects_only_within_the_console(wanted: str) -> None:
    assert read_next(wanted) == "/ops"


@each_row("wanted", ["/ops", "/ops?window=7d", "/ops/trackers?q=a%2Fb", "/ops/trackers/ship24/a%2Fb"])
def test_the_requested_page_comes_after_the_sign_in(wanted: str) -> None:
    assert read_next(wanted) == wanted


def test_a_sign_in_form_works_after_another_tab_has_signed_in(running: Service) -> None:
    operator = ConsoleClient(running)
    first, second = (find_form_token(operator.get("/ops/sign-in")) for _ in range(2))
    assert [operator.post("/ops/sign-in", {"form_token": form, "token": OPS}).status for form in (first, second)] == [303, 303]
    assert operator.get("/ops").status == 200


def test_signing_in_and_out_is_on_record_with_the_tokens_name(running: Service, anna: ConsoleClient) -> None:
    before = audit(running, "console sign-out")
    kept = dict(anna.cookies)
    answer = anna.post("/ops/sign-out", {"form_token": find_form_token(anna.get("/ops"))})
    assert (answer.status, answer.headers["location"]) == (303, "/ops/sign-in")
    assert SESSION not in anna.cookies
    assert audit(running, "console sign-out") == before + 1
    entry = running.table("audit", order="id")[-1]
    assert (entry["actor"], entry["action"], entry["address"]) == ("anna", "console sign-out", "127.0.0.1")
    anna.cookies = kept
    assert anna.get("/ops").status == 303


def test_a_retired_token_ends_its_sessions_and_no_others(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url, ops_tokens=f"old:{OPS},new:{OTHER}")
    old, new = ConsoleClient(running), ConsoleClient(running)
    old.sign_in(OPS)
    new.sign_in(OTHER)
    assert [operator.get("/ops").status for operator in (old, new)] == [200, 200]
    running.stop()
    running.env["RECEIVER_OPS_TOKENS"] = f"new:{OTHER}"
    running.restart()
    assert [operator.get("/ops").status for operator in (old, new)] == [303, 200]


def test_a_cookie_is_not_forged_and_is_of_one_token() -> None:
    sessions = Sessions([Secret("anna", OPS), Secret("ben", OTHER)])
    session, cookie = sessions.begin("ben")
    assert session.actor == "ben"
    assert sessions.read(cookie) == session
    for forged in (cookie[:-1], cookie + "x", "x" + cookie, "", None, "a.b.c", "." * 150, "é", f"{cookie}{'0' * 200}"):
        assert sessions.read(forged) is None
    assert Sessions([Secret("anna", OPS), Secret("ben", "changed")]).read(cookie) is None
    other, _ = sessions.begin("ben")
    assert {session.digest, session.form_token}.isdisjoint({other.digest, other.form_token})
    assert session.digest not in cookie


def test_a_link_from_elsewhere_finds_the_session_in_a_second_step(running: Service, anna: ConsoleClient) -> None:
    """Browsers leave a strict cookie out of such a request; the page asks for itself again."""
    stranger = ConsoleClient(running)
    answer = stranger.get("/ops/deliveries?status=401", Sec_Fetch_Site="cross-site")
    assert answer.status == 200
    assert b'http-equiv="refresh" content="0; url=/ops/deliveries?status=401"' in answer.body
    assert stranger.get("/ops/deliveries", Sec_Fetch_Site="same-origin").status == 303


# Forms


@each_row(
    "headers",
    [
        {"Origin": "https://elsewhere.example"},
        {"Origin": "http://localhost"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "none"},
    ],
)
def test_a_form_from_elsewhere_changes_nothing(running: Service, anna: ConsoleClient, headers: dict[str, str]) -> None:
    fields = {"form_token": find_form_token(anna.get(WINDOW)), "command": "open", "minutes": "15"}
    before = audit(running, "setup-window open")
    answer = anna.post(WINDOW, fields, **headers)
    assert (answer.status, audit(running, "setup-window open")) == (403, before)
    assert b"Nothing was changed" in answer.body


@each_row("form_token", [None, "", "0" * 64, "of another session"])
def test_a_form_needs_the_token_of_its_session(running: Service, anna: ConsoleClient, form_token: str | None) -> None:
    if form_token == "of another session":
        other = ConsoleClient(running)
        other.sign_in(OPS)
        form_token = find_form_token(other.get(WINDOW))
    fields = {"command": "open", "minutes": "15"} | ({} if form_token is None else {"form_token": form_token})
    before = audit(running, "setup-window open")
    assert anna.post(WINDOW, fields).status == 403
    assert anna.post("/ops/sign-out", fields).status == 403
    assert (audit(running, "setup-window open"), anna.get("/ops").status) == (before, 200)


@each_row("fields", [{}, {"command": "open"}, {"command": "open", "minutes": "999999"}, {"command": "x"}])
def test_a_form_that_is_not_ours_is_refused_in_a_sentence(anna: ConsoleClient, fields: dict[str, str]) -> None:
    answer = anna.submit(WINDOW, **fields)
    assert (answer.status, b"Expected the form of the setup window" in answer.body) == (422, True)


@each_row("path", ["/ops/sign-in", "/ops/sign-out", WINDOW])
def test_a_form_is_bounded(running: Service, path: str) -> None:
    def post(size: int) -> int:
        operator = ConsoleClient(running)
        if path != "/ops/sign-in":
            operator.sign_in(OPS)
        page = operator.get("/ops" if path == "/ops/sign-out" else path)
        fields = {"form_token": find_form_token(page), "token": OPS, "command": "open", "minutes": "5", "more": ""}
        return operator.post(path, {**fields, "more": "x" * (size - len(urlencode(fields)))}).status

    assert {size: post(size) for size in (MAX_BODY_BYTES, MAX_BODY_BYTES + 1)} == {MAX_BODY_BYTES: 303, MAX_BODY_BYTES + 1: 413}


def test_a_setup_window_is_opened_and_closed_by_name(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url, ops_tokens=f"anna:{OPS}", ship24_ip_policy="enforce")
    anna = ConsoleClient(running)
    anna.sign_in(OPS)
    assert running.post(ship24.single()).status == 403
    answer = anna.submit(WINDOW, command="open", minutes="5")
    assert (answer.status, answer.headers["location"]) == (303, "/ops/settings")
    assert running.post(ship24.single()).status == 200
    assert b"The setup window of Ship24 is open" in anna.get("/ops").body
    closes_at = running.table("setup_windows")[0]["closes_at"]
    assert anna.submit(WINDOW, command="close").status == 303
    assert running.post(ship24.single()).status == 403
    opened, closed = running.table("audit", order="id")[1:]
    assert {(row["actor"], row["subject"]) for row in (opened, closed)} == {("anna", "ship24")}
    assert (closed["action"], closed["detail"]) == ("setup-window close", None)
    assert (opened["action"], opened["detail"]) == ("setup-window open", f"until {iso(closes_at)}")


# Answers


def assert_guarded(answer: Reply) -> None:
    policy = answer.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert {"default-src 'none'", "frame-ancestors 'none'"} <= {part.strip() for part in policy.split(";")}
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"


def test_every_page_carries_the_security_headers(running: Service, anna: ConsoleClient) -> None:
    answers = [anna.get(path) for path in pages(running)]
    assert {answer.status for answer in answers} == {200}
    answers += [anna.get(path) for path in ("/ops/nothing", "/ops/trackers?cursor=x", "/ops/trackers/ship24/x")]
    answers += [ConsoleClient(running).get("/ops/sign-in"), ConsoleClient(running).get("/ops"), anna.post(WINDOW, {})]
    for answer in answers:
        assert_guarded(answer)
        assert b"style=" not in answer.body
        assert b"<script>" not in answer.body


def test_style_and_script_are_cached_and_change_their_address_with_their_content(running: Service, anna: ConsoleClient) -> None:
    page = anna.get("/ops").body.decode()
    for name, kind in (("console.css", "text/css"), ("console.js", "text/javascript"), ("icon.svg", "image/svg+xml")):
        address = next(part for part in page.split('"') if part.endswith(f"/{name}"))
        answer = running.get(address)
        assert (answer.status, answer.headers["content-type"].partition(";")[0]) == (200, kind)
        assert "immutable" in answer.headers["cache-control"]
    assert running.get("/ops/static/x/../../etc/passwd").status in {303, 404}
    assert running.get("/ops/static/x/nothing.css").status == 404


def test_exact_bytes_are_saved_and_never_shown(running: Service, anna: ConsoleClient) -> None:
    body = b'<html><script>alert(1)</script>\x00\xff{"trackings"'
    call = running.post(body)
    for part, content in (("body", body), ("answer", call.body)):
        answer = anna.get(f"/ops/deliveries/{call.json()['delivery_id']}/{part}")
        assert (answer.status, answer.body) == (200, content)
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["content-disposition"].startswith("attachment; filename=")
        assert "sandbox" in answer.headers["content-security-policy"]
        assert_guarded(answer)
    assert anna.get("/ops/deliveries/nothing/body").status == 404


def test_no_page_shows_a_secret(service: StartService, sqlite_url: str) -> None:
    settings = {
        "ship24_tokens": f"main:{TOKEN}",
        "shiipp_tokens": "shop:a-shiipp-secret",
        "ops_tokens": f"anna:{OPS},ben:{OTHER}",
    }
    running = service(sqlite_url, **settings)
    item = ship24.item("planted", "planted", [ship24.event(status=f"Bearer {TOKEN}", location=OPS)], note="a-shiipp-secret")
    running.post(ship24.body(item, {"note": OTHER}), headers=[("X-Note", OPS), ("User-Agent", TOKEN)])
    running.post(b"{", token=OTHER, headers=[("Referer", f"https://here/?{OPS}")])
    running.post(f"not JSON {TOKEN}".encode())
    anna = ConsoleClient(running)
    anna.sign_in(OPS)
    calls = [f"/ops/deliveries/{row['id']}" for row in running.table("deliveries", "id")]
    shown = [anna.get(path) for path in (*LISTS, *calls, to_tracker("ship24", "planted"), "/ops/messages/planted", WINDOW)]
    assert {answer.status for answer in shown} == {200}
    for secret in (TOKEN, OPS, OTHER, "a-shiipp-secret"):
        assert [answer.body for answer in shown if secret.encode() in answer.body] == []
    assert any(b"[secret]" in answer.body for answer in shown)


def test_tokens_are_shown_by_name_with_their_last_use(running: Service, anna: ConsoleClient) -> None:
    running.post(ship24.single())
    page = anna.get("/ops/settings").body.decode()
    for word in (name_of(TOKEN), "shop", "anna", "ben", "Never signed in", "Last signed in"):
        assert word in page


@each_row(
    ("path", "status"),
    [
        ("/ops/nothing", 404),
        ("/ops/trackers/ship24/nothing", 404),
        ("/ops/trackers/nobody/nothing", 404),
        ("/ops/trackers/ship24/%00", 404),
        ("/ops/trackers/ship24/%ff%fe", 404),
        ("/ops/deliveries/nothing", 404),
        ("/ops/messages/nothing", 404),
        ("/ops/settings/setup-window/nobody", 404),
        ("/ops/trackers?cursor=nonsense", 422),
        ("/ops/deliveries?cursor=W10", 422),
        ("/ops/quarantine?cursor=%00", 422),
        ("/ops/settings?cursor=nonsense", 422),
        ("/ops/deliveries?since=soon", 422),
        ("/ops/deliveries?since=yesterday", 200),
        ("/ops/deliveries?status=abc", 422),
        ("/ops/trackers?stuck_days=-1", 422),
        ("/ops/trackers?q=%00", 200),
        ("/ops/trackers?stuck_days=&updated_before=+", 200),
        ("/ops/settings/setup-window/%20ship24%20", 200),
        ("/ops?window=nonsense", 200),
    ],
)
def test_what_cannot_be_shown_is_a_page_with_the_right_status(anna: ConsoleClient, path: str, status: int) -> None:
    answer = anna.get(path)
    assert (answer.status, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")
    assert b"<h1>" in answer.body
    assert b"Traceback" not in answer.body


def test_the_api_stays_the_apis(running: Service, anna: ConsoleClient) -> None:
    for path in ("/ops/api", "/ops/api/nothing", "/ops/api/trackers"):
        answer = anna.get(path)
        assert answer.headers["content-type"] == "application/json", path
        assert answer.status in {401, 404}
    assert anna.get("/ops/api/setup-windows").status == 405


def test_a_database_that_is_away_is_a_page_too(service: StartService, own_cluster: Cluster) -> None:
    running = service(own_cluster.create_database("away"), ops_tokens=OPS)
    operator = ConsoleClient(running)
    operator.sign_in(OPS)
    assert operator.get("/ops/trackers").status == 200
    own_cluster.stop("immediate")
    answer = operator.get("/ops/trackers")
    assert (answer.status, b"The database does not respond" in answer.body) == (503, True)
    own_cluster.start()


def test_all_pages_work_on_postgresql(service: StartService, postgresql_url: str) -> None:
    make_sample_database(postgresql_url, datetime.now(UTC), trackers=12)
    running = service(postgresql_url, ops_tokens=OPS, shiipp_tokens="a-shiipp-secret")
    operator = ConsoleClient(running)
    operator.sign_in(OPS)
    paths = [*pages(running), "/ops?window=7d", "/ops/trackers?q=l&milestone=delivered", "/ops/customers?q=JAM0001"]
    assert {path: status for path in paths if (status := operator.get(path).status) != 200} == {}


ODD_IDS = ("a/b", "a b", "100%", "a#b?c=d&e", "ünï-箱", "ends/", "/begins", "a//b", "%2F", "a/../b", "+", "a\u202eb", "<b>")


@each_row("tracker_id", ODD_IDS)
def test_the_link_of_a_tracker_leads_to_it_whatever_its_id(running: Service, anna: ConsoleClient, tracker_id: str) -> None:
    number = f"ODD{next(_numbers)}"
    item = ship24.item(f"message of {tracker_id}", tracker_id)
    item["tracker"]["trackingNumber"] = number
    assert running.post(ship24.body(item)).outcomes() == ["applied"]
    assert to_tracker("ship24", tracker_id).encode() in anna.get(f"/ops/trackers?q={number}").body
    answer = anna.get(to_tracker("ship24", tracker_id))
    assert answer.status == 200
    link = next(part for part in answer.body.decode().split('"') if part.startswith("/ops/messages/"))
    assert anna.get(link).status == 200


def test_a_body_of_five_megabytes_makes_no_large_page(running: Service, anna: ConsoleClient) -> None:
    items = [ship24.item(f"large-{number}", "large", note="x" * 2000) for number in range(1500)]
    for body in (orjson.dumps(["<b>" * 1000] * 1_600), b"x" * 5_000_000, b"[" * 5_000_000, ship24.body(*items)):
        call = running.post(body)
        answer = anna.get(f"/ops/deliveries/{call.json()['delivery_id']}")
        assert answer.status == 200
        assert len(answer.body) < 700_000
        assert b"<b><b>" not in answer.body


def test_an_empty_page_of_a_long_list_links_to_the_next_one(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url, ops_tokens=OPS)
    running.post(ship24.single())
    running.stop()
    columns = [row["name"] for row in running.rows("PRAGMA table_info(deliveries)") if row["name"] != "id"]
    copy = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5100) "
        f"INSERT INTO deliveries (id, {', '.join(columns)}) "
        f"SELECT 'f' || printf('%06d', i), {', '.join(columns)} FROM deliveries, n"
    )
    change(sqlite_url, copy)
    running.restart()
    operator = ConsoleClient(running)
    operator.sign_in(OPS)
    page = operator.get("/ops/deliveries?client=192.0.2.1").body.decode()
    assert "No match in the rows searched so far." in page
    assert "Search further" in page
    further = find_next(page)
    assert urlsplit(further).path == "/ops/deliveries"
    assert "No deliveries found." in operator.get(further).body.decode()


def find_next(page: str) -> str:
    """Return the link to the next page of a list, empty on the last one."""
    found = re.search(r'rel="next" href="([^"]+)"', page)
    return "" if found is None else html.unescape(found[1])


def test_older_entries_follow_without_gaps_or_repeats(running: Service, anna: ConsoleClient) -> None:
    seen: list[str] = []
    path = "/ops/deliveries?limit=50"
    while path:
        page = anna.get(path).body.decode()
        rows = page.partition("<tbody")[2]
        found = [part.removeprefix("/ops/deliveries/") for part in rows.split('"') if part.startswith("/ops/deliveries/")]
        seen += [part.partition("?")[0] for part in found]
        path = find_next(page)
    assert seen == [row["id"] for row in running.table("deliveries", "id", order="id DESC")]


def test_the_wheel_has_the_templates_and_the_files(tmp_path: Path) -> None:
    script = f"from flit_core.buildapi import build_wheel; build_wheel({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, timeout=60)
    (wheel,) = tmp_path.glob("*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    console = ROOT / "receiver" / "web" / "console"
    needed = {str(file.relative_to(ROOT)) for folder in ("templates", "static") for file in (console / folder).iterdir()}
    assert len(needed) > 15
    assert needed <= packed


def test_a_customer_is_found_by_a_part_of_the_code_or_by_name(anna: ConsoleClient) -> None:
    found, missed = (anna.get(f"/ops/customers?q={term}").body.decode() for term in ("m0007+SMITH", "m0007+jones"))
    assert ("JAM0007" in found, "JAM0008" in found) == (True, False)
    assert "No customer with" in missed
    assert 'rel="next"' in anna.get("/ops/customers").body.decode()


def test_the_search_opens_the_only_hit_and_lists_several(anna: ConsoleClient, running: Service) -> None:
    row = running.table("trackers")[0]
    source, tracker_id, number = (str(row[name]) for name in ("source", "tracker_id", "tracking_number"))
    for text in (number, number.lower(), f"  {number} "):
        opened = anna.get(f"/ops/search?{urlencode({'q': text})}")
        assert (opened.status, opened.headers["location"]) == (303, to_tracker(source, tracker_id))
    several = anna.get("/ops/search?q=1Z999").body.decode()
    assert several.count('href="/ops/trackers/shiipp/') == 10
    assert "There are more." in several
    assert b"Nothing found." in anna.get("/ops/search?q=no-such-thing").body
    assert anna.get("/ops/search").headers["location"] == "/ops"
    for path in LISTS:
        assert b'action="/ops/search"' in anna.get(path).body


def test_a_page_leads_to_the_next_one_of_the_list_that_led_to_it(anna: ConsoleClient) -> None:
    for path, list_filter in (
        ("deliveries", "outcome=refused"),
        ("messages", "source=ship24"),
        ("trackers", "source=shiipp"),
    ):
        for sort in ("", "&sort=oldest"):
            listed = links_of(
                anna, f"/ops/{path}?{list_filter}{sort}&limit=3", rf'<a href="(/ops/{path}/[^"]*{list_filter}[^"]*)">'
            )
            assert len(listed) == 3
            walked = [listed[0]]
            while len(walked) < 3:
                walked += links_of(anna, walked[-1], r'rel="next" href="([^"]*)"')
            assert walked == listed
            assert links_of(anna, listed[1], r'rel="prev" href="([^"]*)"') == [listed[0]]
            assert links_of(anna, listed[0], r'rel="prev"') == []
            assert len(links_of(anna, listed[0], rf'<a href="/ops/{path}[?]{list_filter}{sort.replace("&", "&amp;")}">')) == 1


def links_of(operator: ConsoleClient, path: str, pattern: str) -> list[str]:
    """Return what a pattern finds in a page."""
    return [found.replace("&amp;", "&") for found in re.findall(pattern, operator.get(path).body.decode())]


def test_a_list_says_how_many_items_it_has(anna: ConsoleClient, running: Service) -> None:
    shiipp = running.count("trackers", source="shiipp")
    assert f"<p>{shiipp} in all</p>" in anna.get("/ops/trackers?source=shiipp&limit=2").body.decode()


def test_a_list_is_downloaded_as_csv_with_the_filters_of_its_page(anna: ConsoleClient, running: Service) -> None:
    page = anna.get("/ops/trackers?source=shiipp&limit=2").body
    assert b'href="/ops/trackers.csv?source=shiipp"' in page
    file = anna.get("/ops/trackers.csv?source=shiipp")
    assert file.headers["content-disposition"] == 'attachment; filename="trackers.csv"'
    assert file.body.startswith("\ufeffsource,".encode())
    known = running.count("trackers", source="shiipp")
    assert file.body.count(b"\r\nshiipp,") == known
    assert anna.get("/ops/trackers.csv?nothing=1").status == 422
    for path in LISTS:
        for link in re.findall(r'href="(/ops/[^"]*[.]csv[^"]*)"', anna.get(path).body.decode()):
            assert anna.get(link).status == 200, link
    assert ConsoleClient(running).get("/ops/trackers.csv").headers["location"].startswith("/ops/sign-in")


def test_the_title_of_a_list_names_its_filters(anna: ConsoleClient) -> None:
    titles = {
        "trackers": "Trackers",
        "trackers?q=1z&source=shiipp&limit=3": "Trackers: 1z, source shiipp",
        "deliveries?outcome=refused&since=2h": "Deliveries: outcome refused, since 2h",
        "messages?tracking_number=%3Cb%3E": "Messages: &lt;b&gt;",
        "quarantine?reason=bad_occurrence": "Quarantine: reason bad_occurrence",
        "customers?q=jam": "Customers: jam",
    }
    assert [path for path, title in titles.items() if f"<title>{title} ·" not in anna.get(f"/ops/{path}").body.decode()] == []


def test_a_download_of_json_is_named_json(anna: ConsoleClient, running: Service) -> None:
    names = {
        str(running.post(body).json()["delivery_id"]): ending
        for body, ending in ((ship24.single(), "json"), (b"{no json", "bin"))
    }
    for delivery_id, ending in names.items():
        shown = anna.get(f"/ops/deliveries/{delivery_id}/body").headers["content-disposition"]
        assert shown == f'attachment; filename="request-{delivery_id}.{ending}"'
        shown = anna.get(f"/ops/deliveries/{delivery_id}/answer").headers["content-disposition"]
        assert shown == f'attachment; filename="response-{delivery_id}.json"'
