"""Tokens that only look: they see everything and change nothing."""

import re
from collections.abc import Iterator
from inspect import signature
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.routing import Route

from receiver.errors import ConfigurationError
from receiver.settings import load
from receiver.web.api.commands import COMMAND_ENDPOINTS
from receiver.web.api.endpoints import PREFIX
from receiver.web.console.routes import make_console
from tests.harness import ship24
from tests.harness.console_client import SESSION, ConsoleClient, find_form_token
from tests.harness.service import Service, bearer, serving
from tests.harness.table import each_row

OPS, READ = "the-ops-token-of-these-tests", "the-reading-token-of-these-tests"
ALLOWED = {"/ops/sign-in", "/ops/sign-out", "/ops/views", "/ops/time-zone"}


def changing_paths() -> list[str]:
    """Return every path of API and console that takes another method than GET, from their tables."""
    settings: Any = load({"RECEIVER_OPS_READ_TOKENS": READ})
    names = list(signature(make_console).parameters)[1:]
    others: dict[str, Any] = dict.fromkeys(names, ()) | {"jobs": SimpleNamespace(deliveries=())}  # no request is made here
    console = [route for route in make_console(settings, **others) if isinstance(route, Route)]
    forms = {route.path for route in console if (route.methods or set()) - {"GET", "HEAD"}}
    return sorted({*forms, *(PREFIX + endpoint.path for endpoint in COMMAND_ENDPOINTS)} - ALLOWED)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("reading")
    with serving(folder, f"sqlite:///{folder}/receiver.db", ops_tokens=OPS, ops_read_tokens=f"guest:{READ}") as service:
        assert service.post(ship24.single()).status == 200
        yield service


def fill(path: str) -> str:
    """Return a path with a value for each parameter."""
    return re.sub(r"\{source\}", "ship24", re.sub(r"\{(delivery_)?id\}", "some-id", path)).replace("{", "").replace("}", "")


@pytest.fixture
def guest(running: Service) -> ConsoleClient:
    client = ConsoleClient(running)
    assert client.sign_in(READ).status == 303
    return client


@each_row("path", changing_paths())
def test_every_change_is_refused_in_plain_words(running: Service, guest: ConsoleClient, path: str) -> None:
    before = running.count("audit")
    if path.startswith(PREFIX):
        answer = running.call("POST", fill(path), b"{}", bearer(READ))
        assert (answer.status, answer.json()["error"]["code"]) == (403, "read_only")
    else:
        form_token = find_form_token(guest.get("/ops"))
        answer = guest.post(fill(path), {"form_token": form_token, "command": "open", "minutes": "5"})
        assert answer.status == 403
    assert b"only look" in answer.body
    assert running.count("audit") == before


def test_both_tables_have_changes() -> None:
    assert {path.startswith(PREFIX) for path in changing_paths()} == {True, False}


@each_row("path", ["/ops/api/trackers", "/ops/api/deliveries", "/ops/api/stats", "/ops/api/audit", "/ops/api/openapi.json"])
def test_the_api_answers_what_reads(running: Service, path: str) -> None:
    assert running.get(path, token=READ).status == 200


def test_metrics_are_allowed(running: Service) -> None:
    through_proxy = [("X-Forwarded-For", "203.0.113.9")]
    assert running.call("GET", "/metrics", headers=through_proxy).status == 401
    assert running.call("GET", "/metrics", headers=[*through_proxy, *bearer(READ)]).status == 200


def test_pages_show_everything_and_their_forms_cannot_be_sent(running: Service, guest: ConsoleClient) -> None:
    (delivery,) = running.table("deliveries", "id")
    for path in ("/ops/settings/setup-window/ship24", f"/ops/deliveries/{delivery['id']}/replay?show=yes"):
        page = guest.get(path)
        assert page.status == 200
        html = page.body.decode()
        assert (
            html.count('<fieldset class="only-looks" disabled>') == html.count('method="post"') - 2 >= 1
        )  # not sign-out and zone
        assert "Your token may only look." in html
    for path in ("/ops", "/ops/trackers", "/ops/deliveries", "/ops/quarantine", "/ops/customers", "/ops/settings"):
        page = guest.get(path)
        assert (page.status, b"Signed in as <bdi>guest</bdi> (read-only)" in page.body) == (200, True)


def test_an_operator_who_may_change_things_has_forms(running: Service) -> None:
    operator = ConsoleClient(running)
    operator.sign_in(OPS)
    page = operator.get("/ops/settings/setup-window/ship24")
    assert b"only-looks" not in page.body
    assert running.call("POST", "/ops/api/targets/retry", b'{"target": "none"}', bearer(OPS)).status == 404


def test_signing_out_is_allowed(running: Service, guest: ConsoleClient) -> None:
    kept = guest.cookies[SESSION]
    answer = guest.post("/ops/sign-out", {"form_token": find_form_token(guest.get("/ops"))})
    assert answer.status == 303
    guest.cookies[SESSION] = kept
    assert guest.get("/ops").status == 303


def test_the_token_can_stand_in_a_file_and_is_hidden(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text(f"guest:{READ}\n", encoding="utf-8")
    settings = load({"RECEIVER_OPS_READ_TOKENS_FILE": str(path)})
    assert [token.name for token in settings.ops_read_tokens] == ["guest"]
    assert READ in settings.secrets()
    assert READ not in repr(settings)


@each_row(
    ("variables", "reason"),
    [
        ({"OPS_TOKENS": OPS, "OPS_READ_TOKENS": f"guest:{OPS}"}, "has a token in common with RECEIVER_OPS_TOKENS"),
        ({"OPS_TOKENS": f"anna:{OPS}", "OPS_READ_TOKENS": f"anna:{READ}"}, "has a name in common with RECEIVER_OPS_TOKENS"),
        ({"OPS_READ_TOKENS": READ, "SHIIPP_TOKENS": READ}, "has a token in common with RECEIVER_SHIIPP_TOKENS"),
    ],
)
def test_a_token_has_one_purpose(variables: dict[str, str], reason: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        load({f"RECEIVER_{name}": value for name, value in variables.items()})
    assert refusal.value.message.startswith(f"RECEIVER_OPS_READ_TOKENS: {reason}")
    assert READ not in refusal.value.message
