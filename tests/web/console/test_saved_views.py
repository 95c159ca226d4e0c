"""Saved views: lists with their filters, in a cookie of the browser."""

import html
from collections.abc import Callable

import pytest

from receiver.errors import UnexpectedShape
from receiver.web.console.saved_views import SavedView, read_views, save_view, write_views
from receiver.web.console.views import VIEWS_PATH
from tests.harness.console_client import ConsoleClient, find_form_token
from tests.harness.service import Service
from tests.harness.table import each_row

OPS, READ = "the-ops-token-of-these-tests", "the-reading-token-of-these-tests"
STUCK = SavedView("/ops/trackers", 'Stuck "now"', "stuck_days=7&source=shiipp")


def sign_in(running: Service, token: str) -> ConsoleClient:
    client = ConsoleClient(running)
    assert client.sign_in(token).status == 303
    return client


@each_row("token", [OPS, READ])
def test_a_view_is_saved_opened_and_removed(shared_service: Callable[..., Service], token: str) -> None:
    running = shared_service(ops_tokens=OPS, ops_read_tokens=READ)
    client = sign_in(running, token)
    page = "/ops/trackers?stuck_days=7&source=shiipp"
    shown = client.get(page).body.decode()
    assert 'name="query" value="stuck_days=7&amp;source=shiipp"' in shown
    form = {"form_token": find_form_token(client.get(page)), "path": STUCK.path, "name": STUCK.name}
    saved = client.post(VIEWS_PATH, {**form, "query": STUCK.query, "command": "save"})
    assert (saved.status, saved.headers["location"]) == (303, page)
    link = '<a href="/ops/trackers?stuck_days=7&amp;source=shiipp"><bdi>Stuck &#34;now&#34;</bdi></a>'
    assert link in client.get("/ops/trackers").body.decode()
    assert link not in client.get("/ops/deliveries").body.decode()
    assert link not in sign_in(running, token).get("/ops/trackers").body.decode()
    for fields, back in (
        ({"path": "//elsewhere.example"}, "/ops"),
        ({"name": " ", "query": STUCK.query, "command": "save"}, page),
    ):
        refused = client.post(VIEWS_PATH, {**form, "command": "remove", **fields})
        assert (refused.status, f'href="{html.escape(back)}">Back to the form' in refused.body.decode()) == (422, True)
    client.post(VIEWS_PATH, {**form, "command": "remove"})
    assert link not in client.get("/ops/trackers").body.decode()


def test_a_view_replaces_one_of_the_same_name_and_the_cookie_gives_back_all() -> None:
    views = save_view(save_view([], *STUCK), "/ops/deliveries", "401", "status=401")
    views = save_view(views, STUCK.path, STUCK.name, "stuck_days=14")
    assert read_views(write_views(views)) == (
        SavedView("/ops/deliveries", "401", "status=401"),
        STUCK._replace(query="stuck_days=14"),
    )


@each_row("cookie", [None, "", "x", "W10", "bnVsbA==", write_views([STUCK._replace(path="//elsewhere.example")]), "W1sxLDIsM11d"])
def test_a_cookie_of_another_hand_has_no_views(cookie: str | None) -> None:
    assert read_views(cookie) == ()


def test_there_is_room_for_few_views() -> None:
    with pytest.raises(UnexpectedShape, match="no room"):
        write_views([STUCK._replace(name=f"view {number}") for number in range(21)])
    with pytest.raises(UnexpectedShape, match="no room"):
        write_views([STUCK._replace(query="q=" + "x" * 3000)])
    for name in ("  ", "n" * 41):
        with pytest.raises(UnexpectedShape, match="needs a name"):
            save_view([], STUCK.path, name, "")
