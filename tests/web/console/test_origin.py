"""Forms of the console are accepted from its own pages only, whatever a proxy does to `Host`."""

from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from receiver.web.console.login import find_fault
from tests.conftest import StartService, lacking
from tests.harness.browser import Tab
from tests.harness.console_client import ConsoleClient, find_form_token
from tests.harness.network import wired
from tests.harness.nginx import FieldNginx, find_nginx
from tests.harness.service import DEADLINE_SECONDS, Service
from tests.harness.table import each_row

OPS = "the-ops-token-of-these-tests"
WINDOW = "/ops/settings/setup-window/ship24"
HOST_WITHOUT_PORT = Path(__file__).parents[2] / "payloads" / "nginx" / "host-without-port.conf"
HERE = "https://console.example:8443"


@each_row(
    ("origin", "host"),
    [
        (HERE, "console.example"),
        (HERE, "another.example"),
        ("null", "console.example:8443"),
        (None, "console.example:8443"),
    ],
)
def test_sec_fetch_site_decides_whatever_the_host_is(origin: str | None, host: str) -> None:
    origins = [] if origin is None else [origin]
    assert find_fault(["same-origin"], origins, [host]) is None
    for elsewhere in ("cross-site", "same-site", "none", "", "Same-Origin", "same-origin, cross-site"):
        assert find_fault([elsewhere], origins, [host]) is not None, elsewhere
    assert find_fault(["same-origin", "cross-site"], origins, [host]) is not None


@each_row(
    ("origin", "hosts", "is_ours"),
    [
        ("https://console.example:8443", ["console.example:8443"], True),
        ("https://console.example:8443", ["CONSOLE.example:8443 "], True),
        ("https://console.example", ["console.example:443"], True),
        ("http://console.example:80", ["console.example"], True),
        ("http://[2001:db8::1]:8080", ["[2001:db8::1]:8080"], True),
        ("https://console.example:8443", ["proxy:8080", "console.example:8443"], True),
        ("null", ["console.example:8443"], True),
        ("https://console.example:8443", ["console.example"], False),
        ("https://console.example:8443", ["console.example:9999"], False),
        ("http://console.example", ["console.example:443"], False),
        ("https://elsewhere.example:8443", ["console.example:8443"], False),
        ("https://console.example.elsewhere", ["console.example"], False),
        ("https://elsewhere.example", ["elsewhere.example@console.example"], False),
        ("https://console.example:8443", [], False),
        ("https://console.example:8443", [""], False),
        ("https://console.example:x", ["console.example:x"], False),
        ("file://console.example", ["console.example"], False),
        ("", ["console.example"], False),
        ("https://", ["console.example"], False),
        ("console.example:8443", ["console.example:8443"], False),
    ],
)
def test_without_that_the_origin_has_to_be_a_name_of_ours(origin: str, hosts: list[str], is_ours: bool) -> None:
    assert (find_fault([], [origin], hosts) is None) is is_ours


def test_without_origin_headers_the_token_of_the_form_decides() -> None:
    assert find_fault([], [], ["console.example"]) is None


def test_a_refusal_names_both_sides_and_what_to_do() -> None:
    fault = find_fault([], [HERE], ["console.example"])
    assert fault is not None
    for word in (HERE, "console.example.", "proxy_set_header Host $http_host"):
        assert word in fault


@pytest.mark.parametrize(("trusted", "status"), [("127.0.0.1", 303), ("", 403), ("192.0.2.0/24", 403)])
def test_a_forwarded_host_counts_only_from_a_trusted_proxy(
    service: StartService, sqlite_url: str, trusted: str, status: int
) -> None:
    running = service(sqlite_url, ops_tokens=OPS, trusted_proxies=trusted)
    for names in ("console.example:8443", "console.example:8443, inner.example", "inner.example ,console.example:8443"):
        through = ConsoleClient(running, X_Forwarded_Host=names, Origin=HERE)
        assert through.sign_in(OPS).status == status, names
        if status == 303:
            assert f"http://{names.partition(',')[0].strip()}/webhooks/ship24</code>".encode() in through.get("/ops").body
    direct = ConsoleClient(running, Origin=HERE)
    assert direct.sign_in(OPS).status == 403


@pytest.fixture
def front(tmp_path: Path, service: StartService, sqlite_url: str) -> Iterator[tuple[Service, FieldNginx]]:
    """A receiver, and an nginx in front of it that drops the port from `Host`."""
    if find_nginx() is None:
        lacking("nginx is not installed (Debian package: nginx)")
    running = service(sqlite_url, ops_tokens=f"anna:{OPS}")
    with wired(real=False) as wire:
        nginx = FieldNginx(tmp_path / "nginx", wire.plug_in("front", "10.0.0.1"), HOST_WITHOUT_PORT, f"127.0.0.1:{running.port}")
        nginx.start()
        yield running, nginx
        nginx.close()


class Through(ConsoleClient):
    """A client behind a proxy."""

    def __init__(self, running: Service, nginx: FieldNginx, **headers: str) -> None:
        super().__init__(running, **headers)
        self._port = nginx.port

    def _connect(self) -> HTTPConnection:
        return HTTPConnection("127.0.0.1", self._port, timeout=DEADLINE_SECONDS)


def test_all_forms_work_behind_a_proxy_that_drops_the_port(front: tuple[Service, FieldNginx]) -> None:
    running, nginx = front
    here = f"http://127.0.0.1:{nginx.port}"
    anna = Through(running, nginx, Origin=here, Sec_Fetch_Site="same-origin")
    assert anna.sign_in(OPS).status == 303
    assert anna.submit(WINDOW, command="open", minutes="5").status == 303
    assert anna.post("/ops/sign-out", {"form_token": find_form_token(anna.get("/ops"))}).status == 303
    older_browser = Through(running, nginx, Origin=here).sign_in(OPS)
    assert older_browser.status == 403
    assert b"proxy_set_header Host $http_host" in older_browser.body


def test_a_browser_signs_in_behind_a_proxy_that_drops_the_port(front: tuple[Service, FieldNginx], browser: Browser) -> None:
    _, nginx = front
    with browser.new_context() as context:
        tab = Tab(context, f"http://127.0.0.1:{nginx.port}")
        tab.sign_in(OPS)
        expect(tab.page.get_by_text("Signed in as anna")).to_be_visible()
        tab.page.get_by_role("button", name="Sign out").click()
        tab.page.wait_for_url("**/ops/sign-in")
        assert tab.wrong == []
