"""The console in a real browser: what people see and do, in both themes, on a phone and by keyboard."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import expect

from receiver.web.console.links import to_tracker
from tests.conftest import StartService
from tests.harness import ship24
from tests.harness.browser import DESK, PHONE, THEMES, Tab
from tests.harness.console_client import OPS
from tests.harness.rows import Like
from tests.harness.sample_database import make_sample_database
from tests.harness.service import ROOT, Service, serving
from tests.web.console.conftest import OpenTab

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\u202egnp.exe\u200b\x07 {{ 7 * 7 }} مرحبا"
STYLE = ROOT / "receiver/web/console/static/console.css"
LINES_OF_BRAND = """() => {
  const words = document.createRange();
  words.selectNodeContents(document.querySelector(".brand span") ?? document.head);
  return words.getClientRects().length;
}"""
UNFOLD = "document.querySelectorAll('details').forEach((node) => { node.open = true; })"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with a week of traffic and something hostile in it."""
    directory = tmp_path_factory.mktemp("browser")
    url = f"sqlite:///{directory}/receiver.db"
    make_sample_database(url, datetime.now(UTC), trackers=60)
    settings = {"ops_tokens": f"anna:{OPS}", "shiipp_tokens": "shop:the-shiipp-token", "ship24_ip_policy": "enforce"}
    with serving(directory / "service", url, ship24_allowed_ips="127.0.0.1", **settings) as service:
        events = [
            ship24.event("hostile", "2025-03-01T10:00:00", status=HOSTILE, location=HOSTILE, statusMilestone=HOSTILE),
            ship24.event("long", "2025-03-02T10:00:00", status="W" * 3000, location="\u05e9" * 3000, courierCode="c" * 500),
        ]
        item = ship24.item("message <b>&amp;\u202e", "tracker <b>/\u202e?#%", events)
        item["tracker"] |= {"trackingNumber": f"HOSTILE{HOSTILE}", "shipmentReference": "R" * 500, "clientTrackerId": HOSTILE}
        reply = service.post(ship24.body(item, {HOSTILE: HOSTILE}), headers=[("X-Hostile", HOSTILE.replace("\x07", ""))])
        assert reply.outcomes() == ["applied", "quarantined"]
        yield service


def pages(running: Service) -> list[str]:
    """Return the address of one page of each kind, and of the hostile ones."""
    names = ("accepted", "refused", "unreadable", "failed")
    deliveries = {name: running.table("deliveries", "id", order="id DESC", outcome=name)[0]["id"] for name in names}
    stale = running.table("events", "tracker_id", "message_id", outcome="stale", source="ship24")[0]
    return [
        *(
            "/ops",
            "/ops?window=7d",
            "/ops?since=2d&until=1h",
            "/ops/time-zone",
            "/ops/trackers",
            "/ops/trackers?q=nothing",
            "/ops/deliveries?outcome=refused",
            "/ops/deliveries",
        ),
        *(
            "/ops/quarantine",
            "/ops/targets",
            "/ops/customers?q=JAM0001",
            "/ops/customers/import",
            "/ops/erasure?q=jam",
            "/ops/settings",
            "/ops/settings/setup-window/ship24",
        ),
        *(f"/ops/deliveries/{delivery}" for delivery in deliveries.values()),
        f"/ops/deliveries/{deliveries['accepted']}/replay",
        *(to_tracker("ship24", stale["tracker_id"]), f"/ops/messages/{stale['message_id']}"),
        *(
            to_tracker("ship24", "tracker <b>/\u202e?#%"),
            "/ops/messages/message%20%3Cb%3E%26amp%3B%E2%80%AE",
            "/ops/trackers?q=hostile",
        ),
    ]


def a_reference(running: Service) -> str:
    """Return the user's reference of one of the parcels."""
    return str(running.value("trackers", "client_tracker_id", client_tracker_id=Like("order-%")))


def layout_widths() -> list[int]:
    """Return the least width of each layout of the style sheet, where it is tightest, and the width of a large screen."""
    breaks = re.findall(r"@media \((min|max)-width: ([\d.]+)rem\)", STYLE.read_text())
    return sorted({320, 1920, *(int(float(width) * 16) + (end == "max") for end, width in breaks)})


# Every page


def faults_of(tab: Tab) -> list[str]:
    """Return what is wrong with a page in each layout and theme, and on paper. It is loaded once and follows each change."""
    narrow, *_, wide = widths = layout_widths()
    found = tab.unlabelled()
    for width in widths:
        tab.page.set_viewport_size({"width": width, "height": DESK["height"]})
        found += faults_of_width(tab, f"folded, {width}")
    found += [*tab.faint_in_each_theme(), *faults_on_paper(tab)]
    tab.page.evaluate(UNFOLD)
    for width in (wide, narrow):
        tab.page.set_viewport_size({"width": width, "height": DESK["height"]})
        found += [*faults_of_width(tab, f"unfolded, {width}"), *tab.faint_in_each_theme()]
    return found


def faults_of_width(tab: Tab, name: str) -> list[str]:
    """Return what does not fit into the window."""
    overflow, lines = tab.overflow(), tab.page.evaluate(LINES_OF_BRAND)
    return [f"{name}: {overflow} pixels too wide, the brand on {lines} lines"] if overflow > 0 or lines > 1 else []


def faults_on_paper(tab: Tab) -> list[str]:
    """Return what is wrong with a page when it is printed: in the dark theme it is as light as in the other one."""
    found, colours = [], []
    for theme in THEMES:
        tab.page.emulate_media(media="print", color_scheme=theme)
        colours.append(tab.page.evaluate("['backgroundColor', 'color'].map((name) => getComputedStyle(document.body)[name])"))
        found += [f"on paper, {theme}: {text}" for text in tab.faint()]
    tab.page.emulate_media(media="screen")
    return found if colours[0] == colours[1] else [*found, f"on paper: {colours}"]


def test_every_page_can_be_read_and_named_and_fits_and_prints_light(running: Service, open_tab: OpenTab) -> None:
    tab = open_tab(signed_in=False)
    found = {"sign-in": [tab.open("/ops/sign-in"), *faults_of(tab)]}
    tab.sign_in(OPS)
    for path in pages(running):
        found[path] = [tab.open(path), *faults_of(tab)]
    assert {path: faults for path, faults in found.items() if faults != [200]} == {}


def test_a_page_that_is_not_there_is_a_page(open_tab: OpenTab) -> None:
    tab = open_tab()
    assert tab.open("/ops/deliveries/nothing") == 404
    expect(tab.page.get_by_role("heading", level=1)).to_have_text("Not found")
    assert [tab.faint(), tab.unlabelled(), tab.overflow()] == [[], [], 0]
    tab.wrong.clear()  # the browser notes the 404


def test_light_and_dark_differ(open_tab: OpenTab) -> None:
    grounds = [
        open_tab(color_scheme=theme).page.evaluate("getComputedStyle(document.body).backgroundColor")
        for theme in ("light", "dark")
    ]
    assert len(set(grounds)) == 2


def test_a_column_of_a_chart_leads_to_its_deliveries(open_tab: OpenTab) -> None:
    tab = open_tab()
    tab.open("/ops?window=7d")
    column = tab.page.locator("a.column").last
    url = column.get_attribute("href")
    column.locator("rect").first.click()
    tab.page.wait_for_url(f"**{url}")
    assert tab.page.locator("tbody tr").count() > 0


def test_a_button_copies_an_id_or_selects_it_without_permission(running: Service, open_tab: OpenTab) -> None:
    delivery = running.post(ship24.single()).json()["delivery_id"]
    allowed = open_tab(permissions=["clipboard-read", "clipboard-write"])
    allowed.open(f"/ops/deliveries/{delivery}")
    button = allowed.page.get_by_role("button", name="Copy the delivery ID")
    button.focus()
    allowed.page.keyboard.press("Enter")
    expect(button).to_have_text("Copied")
    assert allowed.page.evaluate("navigator.clipboard.readText()") == delivery
    forbidden = open_tab()
    forbidden.open(f"/ops/deliveries/{delivery}")
    forbidden.page.evaluate("void (navigator.clipboard.writeText = () => Promise.reject(new Error('forbidden')))")
    forbidden.page.get_by_text("As curl").click()
    forbidden.page.get_by_role("button", name="Copy the request as a curl command").click()
    expect(forbidden.page.get_by_text("The text is selected.")).to_have_count(1)
    selected = forbidden.page.evaluate("getSelection().toString()")
    assert selected.startswith(f"curl -X POST {running.url}/webhooks/ship24 ")
    assert '"Authorization: Bearer $TOKEN"' in selected


# Signing in


def test_signing_in_and_out(open_tab: OpenTab) -> None:
    tab = open_tab(signed_in=False)
    tab.open("/ops/trackers?q=LZ")
    tab.page.get_by_label("Access token").fill("wrong")
    tab.page.get_by_role("button", name="Sign in").click()
    expect(tab.page.get_by_role("alert")).to_contain_text("Sign-in failed.")
    tab.wrong.clear()  # the browser notes the 403
    tab.page.get_by_label("Access token").fill(OPS)
    tab.page.get_by_role("button", name="Sign in").click()
    tab.page.wait_for_url("**/ops/trackers?q=LZ")
    expect(tab.page.get_by_text("Signed in as anna")).to_be_visible()
    tab.page.get_by_role("button", name="Sign out").click()
    tab.page.wait_for_url("**/ops/sign-in")
    tab.page.go_back()
    expect(tab.page.get_by_label("Access token")).to_be_visible()


def test_by_keyboard_alone_from_the_sign_in_to_a_timeline(running: Service, open_tab: OpenTab) -> None:
    tab = open_tab(signed_in=False)
    tab.open("/ops")
    keyboard = tab.page.keyboard
    expect(tab.page.get_by_label("Access token")).to_be_focused()
    keyboard.type(OPS)
    keyboard.press("Enter")
    tab.page.wait_for_url("**/ops")
    keyboard.press("Tab")
    expect(tab.page.get_by_role("link", name="Skip to content")).to_be_focused()
    keyboard.press("Enter")
    expect(tab.page.locator("main")).to_be_focused()
    keyboard.press("Shift+Tab")
    keyboard.press("Shift+Tab")
    tab.page.get_by_role("link", name="Trackers", exact=True).focus()
    outline = tab.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    keyboard.press("Enter")
    tab.page.wait_for_url("**/ops/trackers")
    keyboard.press("/")
    expect(tab.page.get_by_role("searchbox", name="Search everything")).to_be_focused()
    tab.page.get_by_role("searchbox", name="Tracking number").focus()
    reference = a_reference(running)
    keyboard.type(reference)
    keyboard.press("Enter")
    tab.page.wait_for_url(f"**q={reference}**")
    first = tab.page.locator("tbody a").first
    for _ in range(30):
        if first.evaluate("node => node === document.activeElement"):
            break
        keyboard.press("Tab")
    keyboard.press("Enter")
    expect(tab.page.get_by_role("heading", name="Timeline")).to_be_visible()


def test_everything_works_without_a_script(running: Service, open_tab: OpenTab) -> None:
    tab = open_tab(java_script_enabled=False)
    page = tab.page
    page.get_by_role("link", name="Trackers", exact=True).click()
    page.get_by_role("searchbox", name="Tracking number").fill(a_reference(running))
    page.get_by_role("button", name="Search", exact=True).click()
    expect(page.locator("tbody tr")).to_have_count(1)
    page.locator("tbody a").first.click()
    expect(page.locator("ol.timeline > li").first).to_be_visible()
    tab.open("/ops/settings/setup-window/ship24")
    page.get_by_role("button", name="Open window").click()
    expect(page.locator("time.countdown")).to_be_visible()
    page.get_by_role("link", name="Close now").click()
    page.get_by_role("button", name="Close now").click()
    expect(page.locator("time.countdown")).to_have_count(0)


def test_one_search_on_every_page_opens_what_it_finds(running: Service, open_tab: OpenTab) -> None:
    tab = open_tab(java_script_enabled=False)
    for path in ("/ops", "/ops/settings", "/ops/deliveries"):
        tab.open(path)
        tab.page.get_by_role("searchbox", name="Search everything").fill(f"  {a_reference(running).lower()} ")
        tab.page.get_by_role("button", name="Search everything").click()
        expect(tab.page.get_by_role("heading", name="Timeline")).to_be_visible()


# Lists


def test_search_and_filters_narrow_the_list(running: Service, open_tab: OpenTab) -> None:
    tab = open_tab()
    tab.page.get_by_role("link", name="Trackers", exact=True).click()
    tab.page.get_by_role("searchbox", name="Tracking number").fill("1z999aa1")
    tab.page.get_by_role("button", name="Search", exact=True).click()
    rows = tab.page.locator("tbody tr")
    expect(rows).to_have_count(50)
    tab.page.get_by_role("link", name="Next").click()
    expect(rows).to_have_count(10)
    tab.open("/ops/trackers")
    tab.page.get_by_text("Filters", exact=True).click()
    tab.page.get_by_label("Source").select_option("shiipp")
    tab.page.get_by_role("combobox", name="Milestone", exact=True).fill("completed")
    tab.page.get_by_role("button", name="Apply").click()
    expect(rows).to_have_count(2)
    expect(tab.page.get_by_label("Source")).to_have_value("shiipp")


def test_a_new_delivery_appears_by_itself(running: Service, open_tab: OpenTab) -> None:
    tab = open_tab()
    tab.open("/ops/deliveries")
    tab.page.evaluate("window.notReloaded = true")
    expect(tab.page.get_by_text("Live", exact=True)).to_be_visible()
    call = running.post(ship24.single()).json()["delivery_id"]
    expect(tab.page.locator(f'tr[data-key="{call}"]')).to_be_visible()
    assert tab.page.evaluate("window.notReloaded") is True


def test_an_update_leaves_scroll_and_what_is_unfolded_alone(running: Service, open_tab: OpenTab) -> None:
    tab = open_tab()
    tab.open("/ops/deliveries")
    link = tab.page.locator("tbody a").nth(20)
    link.scroll_into_view_if_needed()
    row = tab.page.locator(f'tbody a[href="{link.get_attribute("href")}"]')
    before = row.evaluate("(node) => node.getBoundingClientRect().top")
    calls = [running.post(ship24.single()).json()["delivery_id"] for _ in range(3)]
    tab.refresh()
    expect(tab.page.locator(f'tr[data-key="{calls[-1]}"]')).to_have_count(1)
    assert abs(row.evaluate("(node) => node.getBoundingClientRect().top") - before) < 2
    tab.open("/ops/quarantine")
    tab.page.locator("summary", has_text="Payload").first.click()
    leave_rows(tab)
    running.post(ship24.body({"nothing": "of use"}))
    tab.refresh()
    expect(tab.page.locator("article")).not_to_have_count(0)
    unfolded = tab.page.locator("article > details[open]")
    expect(unfolded).to_have_count(1)
    expect(tab.page.locator("article").nth(1).locator("> details")).to_have_attribute("open", "")


def leave_rows(tab: Tab) -> None:
    """Take the pointer and the focus out of the list."""
    tab.page.mouse.move(1, 1)
    tab.page.evaluate("document.activeElement.blur()")


def requests_of(tab: Tab, running: Service) -> list[str]:
    """Have the page look for what is new; return what it asked for before a request of ours."""
    asked: list[str] = []
    tab.page.on("request", lambda request: asked.append(request.url))
    tab.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    tab.page.evaluate("fetch('/healthz').then((answer) => answer.text())")
    return asked[: asked.index(f"{running.url}/healthz")]


def test_a_list_waits_for_pointer_and_focus_and_can_be_paused(running: Service, open_tab: OpenTab) -> None:
    tab = open_tab()
    tab.open("/ops/deliveries")
    row, words = tab.page.locator("tbody tr").nth(3), tab.page.locator(".live-words")
    row.hover()
    expect(words).to_have_text("Waiting")
    assert requests_of(tab, running) == []
    tab.page.mouse.move(1, 1)
    row.locator("a").first.focus()
    expect(words).to_have_text("Waiting")
    assert requests_of(tab, running) == []
    leave_rows(tab)
    expect(words).to_have_text("Live")
    tab.refresh()
    tab.page.get_by_role("button", name="Pause").click()
    expect(words).to_have_text("Paused")
    call = running.post(ship24.single()).json()["delivery_id"]
    assert requests_of(tab, running) == []
    tab.page.get_by_role("button", name="Resume").click()
    expect(tab.page.locator(f'tr[data-key="{call}"]')).to_be_visible()


def test_an_unchanged_page_is_answered_without_a_body(open_tab: OpenTab) -> None:
    tab = open_tab()
    tab.open("/ops/customers/import")
    tab.open("/ops/quarantine?q=nothing-has-this-number")
    tab.refresh()
    with tab.page.expect_response(tab.page.url) as response:
        tab.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    assert response.value.status == 304
    expect(tab.page.locator(".live-words")).to_have_text("Live")


def test_an_update_waits_while_text_is_selected(running: Service, open_tab: OpenTab) -> None:
    tab = open_tab()
    tab.open("/ops/deliveries")
    select = "getSelection().selectAllChildren(document.querySelector('tbody tr'))"
    tab.page.evaluate(select)
    chosen = tab.page.evaluate("getSelection().toString()")
    call = running.post(ship24.single()).json()["delivery_id"]
    asked: list[str] = []
    tab.page.on("request", lambda request: asked.append(request.url))
    tab.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    tab.page.evaluate("fetch('/healthz').then((answer) => answer.text())")
    assert asked == [f"{running.url}/healthz"]
    expect(tab.page.locator(f'tr[data-key="{call}"]')).to_have_count(0)
    assert tab.page.evaluate("getSelection().toString()") == chosen
    tab.page.evaluate("getSelection().removeAllRanges()")
    tab.refresh()
    expect(tab.page.locator(f'tr[data-key="{call}"]')).to_have_count(1)


def test_a_page_shows_that_the_service_is_gone_and_recovers(service: StartService, sqlite_url: str, open_tab: OpenTab) -> None:
    own = service(sqlite_url, ops_tokens=f"anna:{OPS}")
    tab = open_tab(own)
    tab.open("/ops/deliveries")
    own.stop()
    tab.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(tab.page.locator(".live-alert[role=status]")).to_contain_text("The service cannot be reached.")
    expect(tab.page.get_by_text("Connection lost")).to_be_visible()
    own.restart()
    tab.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(tab.page.locator(".live-alert[role=status]")).to_have_text("")
    own.stop()
    own.env["RECEIVER_OPS_TOKENS"] = "another-token-than-before"
    own.restart()
    tab.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(tab.page.locator(".live-alert[role=status]")).to_contain_text("Your session has ended.")
    expect(tab.page.get_by_role("link", name="Sign in")).to_be_visible()
    tab.wrong.clear()  # the browser notes that it could not connect


# One of each


def test_a_timeline_distinguishes_events_by_shape_and_word(running: Service, open_tab: OpenTab) -> None:
    events = [ship24.event(f"told-{day}", f"2025-03-0{day}T10:00:00Z", status=f"day {day}") for day in (1, 2, 3)]
    first, second, third = (ship24.item(f"of-day-{place}", "told-apart", [event]) for place, event in enumerate(events))
    for body in (ship24.body(first), ship24.body(third), ship24.body(second), ship24.body(third)):
        assert running.post(body).status == 200
    tab = open_tab()
    tab.open(to_tracker("ship24", "told-apart"))
    entries = tab.page.locator("ol.timeline > li")
    expect(entries).to_have_count(3)
    told = [" ".join(entries.nth(place).inner_text().split()) for place in range(3)]
    assert ["day 3" in told[0], "day 2" in told[1], "day 1" in told[2]] == [True] * 3
    assert ["Applied" in told[0], "Out of date: older" in told[1], "Applied" in told[2]] == [True] * 3
    assert ["Repeated" in told[0], "Current status" in told[0], "Late:" in told[0]] == [True] * 3
    assert "2025-03-02T10:00:00Z" in told[1]
    shapes = [entries.nth(place).locator(".node svg").inner_html() for place in range(3)]
    assert shapes[0] == shapes[2] != shapes[1]
    assert all("<circle" in shape and "<path" in shape for shape in shapes)
    expect(tab.page.locator(".order-line")).to_have_count(3)
    entries.nth(1).get_by_role("link", name=re.compile("Details")).click()
    expect(tab.page.get_by_text("Not applied.")).to_be_visible()


def test_a_delivery_shows_request_and_answer_side_by_side_or_below_each_other(
    running: Service, open_tab: OpenTab, tmp_path: Path
) -> None:
    body = ship24.body(ship24.item("side-1", note="a note"), ship24.item("side-2"))
    call = running.post(body).json()["delivery_id"]
    wide, narrow = open_tab(), open_tab(viewport=PHONE)
    places = []
    for tab in (wide, narrow):
        tab.open(f"/ops/deliveries/{call}")
        boxes = [tab.page.get_by_role("region", name=name).bounding_box() for name in ("Request", "Response")]
        places.append([(box["x"], box["y"]) for box in boxes if box is not None])
    assert places[0][0][1] == places[0][1][1]
    assert places[0][0][0] < places[0][1][0]
    assert places[1][0][0] == places[1][1][0]
    assert places[1][0][1] < places[1][1][1]
    expect(wide.page.get_by_text("a note", exact=True)).to_be_hidden()
    wide.page.get_by_role("region", name="Request").locator("summary", has_text="metadata").first.click()
    expect(wide.page.get_by_text("a note", exact=True)).to_be_visible()
    expect(wide.page.get_by_role("link", name="side-1")).to_be_visible()
    with wide.page.expect_download() as download:
        wide.page.get_by_role("link", name="Download").first.click()
    download.value.save_as(tmp_path / "body")
    assert (tmp_path / "body").read_bytes() == body


def test_a_setup_window_asks_once_counts_down_and_closes(running: Service, open_tab: OpenTab) -> None:
    tab = open_tab()
    tab.page.get_by_role("link", name="Settings").click()
    tab.page.get_by_role("region", name="Ship24").get_by_role("link", name="Open").click()
    tab.page.get_by_label("Duration").select_option("5")
    tab.page.get_by_role("button", name="Open window").click()
    tab.page.wait_for_url("**/ops/settings")
    countdown = tab.page.locator("time.countdown")
    expect(countdown).to_have_text(re.compile("^4:"))
    first = countdown.inner_text()
    expect(countdown).not_to_have_text(first)
    expect(tab.page.get_by_text("setup-window open").first).to_be_visible()
    tab.page.get_by_role("link", name="Close now").click()
    tab.page.get_by_role("button", name="Close now").click()
    expect(countdown).to_have_count(0)


def test_times_tell_the_local_time_when_pointed_at(running: Service, open_tab: OpenTab) -> None:
    tab = open_tab(timezone_id="Asia/Tokyo")
    tab.open("/ops/deliveries")
    time = tab.page.locator("tbody time").first
    time.hover()
    moment = datetime.fromisoformat(str(time.get_attribute("datetime")))
    assert time.inner_text() == moment.strftime("%Y-%m-%d %H:%M:%S")
    title = str(time.get_attribute("title"))
    assert f"{(moment.hour + 9) % 24:02d}:{moment:%M:%S}" in title


def test_hostile_content_is_text(running: Service, open_tab: OpenTab) -> None:
    tab = open_tab()
    call = running.value("messages", "delivery_id", message_id=Like("message <b>%"))
    for path in (*pages(running)[-3:], "/ops/quarantine", f"/ops/deliveries/{call}", "/ops/trackers", "/ops"):
        assert tab.open(path) == 200
        tab.page.evaluate(UNFOLD)
        assert tab.page.locator("main script, main img, main b > script").count() == 0
        assert tab.page.evaluate("/[\\u202e\\u200b\\u0007]/.test(document.documentElement.innerHTML)") is False
    tab.open(to_tracker("ship24", "tracker <b>/\u202e?#%"))
    shown = tab.page.locator("ol.timeline > li").nth(1).inner_text()
    assert "<script>alert(1)</script><img src=x onerror=alert(2)>[U+202E]gnp.exe[U+200B]\u2407 {{ 7 * 7 }} مرحبا" in shown


def test_five_megabytes_are_shown_in_part_and_quickly_folded(running: Service, open_tab: OpenTab) -> None:
    items = [ship24.item(f"five-{number}", "five", note=HOSTILE + "x" * 3000) for number in range(1200)]
    body = ship24.body(*items)
    assert 4_000_000 < len(body) < 5_242_880
    call = running.post(body).json()["delivery_id"]
    tab = open_tab()
    tab.open(f"/ops/deliveries/{call}")
    expect(tab.page.get_by_text(re.compile("1,1[0-9]{2} more"))).to_have_count(1)
    assert tab.page.evaluate("document.querySelectorAll('*').length") < 12_000
    expect(tab.page.get_by_role("link", name=re.compile(r"Download \(4.* MB\)"))).to_be_visible()


def test_a_replay_shows_first_what_would_change_and_asks(running: Service, open_tab: OpenTab) -> None:
    far = ship24.event("far", "2199-01-01T10:00:00", status="Delivered at last")
    assert running.post(ship24.single("ahead", tracker_id="ahead", events=[far])).outcomes() == ["quarantined"]
    call_id = running.value("messages", "delivery_id", message_id="ahead")
    tab = open_tab()
    tab.open(f"/ops/deliveries/{call_id}")
    tab.page.get_by_role("link", name="Replay").click()
    tab.page.get_by_label("Include quarantined messages").check()
    tab.page.get_by_role("button", name="Show changes first").click()
    expect(tab.page.get_by_role("heading", name="Changes to expect")).to_be_visible()
    expect(tab.page.get_by_role("main")).to_contain_text("Delivered at last")
    assert running.value("messages", "outcome", message_id="ahead") == "quarantined"
    tab.page.get_by_role("button", name="Replay").click()
    expect(tab.page.get_by_role("heading", name="Changes made")).to_be_visible()
    assert running.value("messages", "outcome", message_id="ahead") == "applied"
    assert running.count("audit", action="replay", actor="anna") == 1
