"""The parts of the console's pages: texts, charts, timelines and trees of bodies, each as a pure function."""

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.clock import to_micros
from receiver.domain.concerns import Concern
from receiver.web.console.assets import Assets
from receiver.web.console.charts import LAG_MARKS, TimedEvent, draw_columns, draw_lag, draw_order
from receiver.web.console.formatting import shorten, visible, write_duration, write_moment, write_size
from receiver.web.console.json_tree import MAX_SHOWN_BYTES, Node, make_tree
from receiver.web.console.overview import list_buttons
from receiver.web.console.rendering import Renderer
from receiver.web.console.time_ranges import RANGES, last_range
from receiver.web.console.time_zones import find_zone
from receiver.web.console.timeline import make_timeline
from tests.harness.table import each_row

NOW = datetime(2026, 3, 1, 12, 34, 56, tzinfo=UTC)
DAY = last_range(RANGES[1], NOW, UTC).edges


# Texts


@each_row(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("Försändelsen är sorterad, 引受, تم", "Försändelsen är sorterad, 引受, تم"),
        ("a\0b\x1bc\x7f", "a␀b␛c␡"),
        ("exe.\u202egnp", "exe.[U+202E]gnp"),
        ("a\u200bb\u2066c\ufeff\u00ad", "a[U+200B]b[U+2066]c[U+FEFF][U+00AD]"),
        ("\U000e0041", "[U+E0041]"),
        ("\ud83d", "[U+D83D]"),
        ("a\u2028b\u0085", "a[U+2028]b[U+0085]"),
        ("\u3164\u2800", "[U+3164][U+2800]"),
        ("two\nlines\tand", "two\nlines\tand"),
    ],
)
def test_what_would_hide_is_shown(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text())
def test_invisible_characters_are_shown_and_the_text_can_be_encoded(text: str) -> None:
    shown = visible(text)
    assert visible(shown) == shown
    assert shown.encode().decode() == shown


@each_row(
    ("seconds", "words"),
    [
        *((0, "0 s"), (59.4, "59 s"), (60, "1 min"), (3599, "59 min"), (3600, "1 h"), (7500, "2 h 5 min"), (90_000, "1 d 1 h")),
        *((13_149 * 86_400, "36 years"), (700 * 86_400, "700 d")),
        (-90, "\N{MINUS SIGN}1 min"),
    ],
)
def test_a_length_of_time_has_two_units_at_most(seconds: float, words: str) -> None:
    assert write_duration(seconds) == words


@each_row(
    ("size", "words"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (5_242_880, "5.2 MB"), (999_999, "1.0 MB"), (3 * 10**12, "3.0 TB")],
)
def test_a_size_is_round(size: int, words: str) -> None:
    assert write_size(size) == words


@each_row(
    ("before", "ago"),
    [(0, "just now"), (59, "59 s ago"), (61, "1 min ago"), (7300, "2 h ago"), (200_000, "2 d ago"), (-600, "in 10 min")],
)
def test_a_time_is_shown_with_its_age(before: int, ago: str) -> None:
    at = NOW - timedelta(seconds=before)
    stamp = write_moment(to_micros(at), NOW)
    assert stamp == write_moment(at.isoformat(), NOW)
    assert (stamp.day, stamp.clock, stamp.ago) == (f"{at:%Y-%m-%d}", f"{at:%H:%M:%S}", ago)
    assert datetime.fromisoformat(stamp.iso) == at


def test_a_text_is_cut_with_a_mark() -> None:
    assert (shorten("12345", 5), shorten("123456", 5)) == ("12345", "1234…")


def test_a_sentence_shows_code_as_code_and_keeps_quoted_text_and_secrets_in() -> None:
    render = Renderer(["the-secret-token"], Assets()).mark_up
    assert render("Run `receiver doctor`.") == "<bdi>Run </bdi><code><bdi>receiver doctor</bdi></code><bdi>.</bdi>"
    assert "“</bdi><bdi>&lt;b&gt;[U+202E]</bdi><bdi>”" in render("It says “<b>\u202e” today.")
    assert render("“the-secret-token”") == "<bdi>“</bdi><bdi>[secret]</bdi><bdi>”</bdi>"
    zone = find_zone("Asia/Tokyo")
    assert render("Since 2026-08-01T16:00Z.", zone) == "<bdi>Since 2026-08-02 01:00 JST.</bdi>"


# Charts


@each_row("chosen", RANGES, ids=lambda chosen: chosen.name)
def test_a_chart_counts_everything_in_its_window_once(chosen: Any) -> None:
    edges = last_range(chosen, NOW, UTC).edges
    step = chosen.step_seconds * 1_000_000
    assert edges[-2] <= to_micros(NOW) < edges[-1]
    assert edges[-1] - edges[0] == chosen.seconds * 1_000_000
    counted = {(edges[0] + place * step, "accepted"): 1 for place in range(-1, len(edges))}
    chart = draw_columns(edges, ("accepted",), counted)
    assert [column.total for column in chart.columns] == [1] * (len(edges) - 1)
    assert 40 <= len(chart.columns) <= 60


def test_columns_are_stacked_to_scale_and_thin_parts_are_marked() -> None:
    at = DAY[0]
    chart = draw_columns(DAY, ("accepted", "refused"), {(at, "accepted"): 999, (at, "refused"): 1, (at, "other"): 5})
    accepted, refused = chart.columns[0].blocks
    assert (chart.top, chart.total, chart.totals) == (1000, 1000, {"accepted": 999, "refused": 1})
    assert accepted.y + accepted.height == 100
    assert accepted.height == pytest.approx(99.9)
    assert refused.y + refused.height == pytest.approx(accepted.y)
    assert refused.height == pytest.approx(0.1)
    assert (accepted.is_thin, refused.is_thin) == (False, True)
    assert chart.columns[0].counts == {"accepted": 999, "refused": 1}


@given(st.integers(1, 10**9))
def test_the_top_of_a_chart_is_round_and_near(number: int) -> None:
    top = draw_columns(DAY, ("accepted",), {(DAY[0], "accepted"): number}).top
    assert number <= top <= max(2, 2 * number)
    assert top % 2 == 0


def test_a_chart_takes_the_scale_of_the_one_beside_it() -> None:
    counted = {(DAY[0], "refused"): 10}
    heights = {top: draw_columns(DAY, ("refused",), counted, top).columns[0].blocks[0].height for top in (0, 4, 1000)}
    assert heights == {0: 100, 4: 100, 1000: 1}


def test_an_empty_chart_is_no_division_by_nothing() -> None:
    assert draw_columns(DAY, ("accepted",), {}).total == 0


def test_delays_stand_on_a_scale_that_grows_by_factors() -> None:
    places = [place for place, _ in LAG_MARKS]
    assert places == sorted(places)
    assert (places[0], places[-1]) == (0, 1000)
    drawn = draw_lag(-50, 3600, 10**9)
    assert drawn == (0, {words: place for place, words in LAG_MARKS}["1 h"], 1000)


def timed(*moments: tuple[int, int]) -> list[TimedEvent]:
    return [TimedEvent(occurred_at, received_at, "applied", is_late=False) for occurred_at, received_at in moments]


def test_lines_cross_where_an_event_arrived_after_a_newer_one_however_late_all_are() -> None:
    days = 86_400 * 1_000_000
    drawn = draw_order(timed((1, 30 * days), (3, 30 * days + 1), (2, 30 * days + 2), (4, 30 * days + 3)))
    assert [(line.occurred, line.received) for line in drawn.lines] == [(15, 15), (338, 662), (662, 338), (985, 985)]
    assert (drawn.overtaken, drawn.total) == (1, 4)


@pytest.mark.parametrize(
    ("moments", "overtaken"),
    [
        ([], 0),
        ([(7, 7)], 0),
        ([(1, 5), (2, 6), (3, 7)], 0),
        ([(3, 5), (2, 5), (1, 5)], 0),  # they arrived together
        ([(2, 5), (2, 6)], 0),
        ([(3, 5), (2, 6), (1, 7)], 2),
    ],
)
def test_events_are_overtaken_by_those_that_arrived_before_them(moments: list[tuple[int, int]], overtaken: int) -> None:
    assert draw_order(timed(*moments)).overtaken == overtaken


def test_events_that_arrived_together_share_a_place() -> None:
    drawn = draw_order(timed((1, 9), (2, 9), (3, 9), (4, 1)))
    assert [line.received for line in drawn.lines] == [662, 662, 662, 15]


def test_only_the_newest_events_are_drawn_and_all_are_counted() -> None:
    drawn = draw_order(timed(*((at, 1000 - at) for at in range(200))))
    assert (len(drawn.lines), drawn.overtaken, drawn.total) == (60, 199, 200)
    assert all(0 <= line.occurred <= 1000 and 0 <= line.received <= 1000 for line in drawn.lines)


# Concerns


@each_row(
    ("kind", "subject", "codes", "urls"),
    [
        ("refused", "ship24", ("unauthorized",), ["/ops/deliveries?outcome=refused&source=ship24"]),
        (
            *("refused", "ship24", ("unauthorized", "address_not_allowed")),
            ["/ops/deliveries?outcome=refused&source=ship24", "/ops/settings/setup-window/ship24"],
        ),
        ("unknown_path", "/a/b c", (), ["/ops/settings"]),
        ("target", "shop", (), ["/ops/targets#target-shop"]),
        ("dead", "shop", (), ["/ops/targets#target-shop"]),
        ("quarantined", "", (), ["/ops/quarantine"]),
        ("a new kind", "x", (), []),
    ],
)
def test_a_concern_links_to_the_pages_that_help(kind: str, subject: str, codes: tuple[str, ...], urls: list[str]) -> None:
    concern = Concern("warning", kind, subject, "Something", "Do it.", None, codes)
    assert [button.url for button in list_buttons(concern)] == urls


# Timelines


def event(name: str, occurrence: str, received: str, outcome: str = "applied", basis: str = "courier") -> dict[str, Any]:
    times = {"occurrence": occurrence, "received_at": received, "basis": basis}
    return {"event_id": name, "message_id": f"of {name}", "outcome": outcome, **times}


def copy(message_id: str, delivery_id: str = "d") -> dict[str, Any]:
    return {"message_id": message_id, "delivery_id": delivery_id, "position": 0, "outcome": "duplicate", "reason": None}


@each_row(
    ("occurrence", "precision", "lag_seconds", "is_late"),
    [
        ("2026-03-01T12:00:00Z", "instant", 600, False),
        ("2026-03-01T13:00:00+01:00", "instant", 600, False),
        ("2026-03-01T12:00:00", "wall", 600, False),
        ("2026-03-01", "day", 43_800, False),
        ("2026-02-28T12:10:00Z", "instant", 86_400, True),
        ("2026-02-28", "day", 130_200, True),
        ("2026-03-01T12:20:00Z", "instant", -600, False),
    ],
)
def test_a_delay_is_from_the_couriers_time_to_the_arrival(
    occurrence: str, precision: str, lag_seconds: int, is_late: bool
) -> None:
    (entry,) = make_timeline([event("e", occurrence, "2026-03-01T12:10:00Z")], []).entries
    assert (entry.precision, entry.lag_seconds, entry.is_late) == (precision, lag_seconds, is_late)


def test_a_time_of_arrival_has_no_delay() -> None:
    (entry,) = make_timeline([event("e", "2026-02-01T12:00:00Z", "2026-03-01T12:10:00Z", basis="arrival")], []).entries
    assert (entry.precision, entry.lag_seconds, entry.is_late) == ("arrival", None, False)


def test_repetitions_are_shown_with_their_event_and_other_copies_separately() -> None:
    events = [
        event("new", "2026-03-01T12:00:00Z", "2026-03-01T12:10:00Z"),
        event("old", "2026-02-01T12:00:00Z", "2026-03-01T12:10:00Z", "stale"),
    ]
    timeline = make_timeline(events, [copy("of new"), copy("of new", "d2"), copy("another")])
    assert [len(entry.copies) for entry in timeline.entries] == [2, 0]
    assert [item["message_id"] for item in timeline.eventless] == ["another"]
    assert timeline.numbers == {"applied": 1, "stale": 1, "late": 1, "duplicate": 3}


# Trees of bodies


def walk(node: Node) -> list[Node]:
    return [node, *(below for child in node.children for below in walk(child))]


def tree(body: bytes) -> Node:
    root = make_tree(body).tree
    assert root is not None
    return root


def test_json_is_shown_as_it_was_written() -> None:
    root = tree(b'{"a": 1.0e2, "a": 123456789012345678901234567890, "b": [null, true, "x"], "c": {}}')
    assert [(node.kind, node.name, node.text) for node in root.children[:2]] == [
        ("number", "a", "1.0e2"),
        ("number", "a", "123456789012345678901234567890"),
    ]
    assert [(node.kind, node.text) for node in root.children[2].children] == [("word", "null"), ("word", "true"), ("string", "x")]
    assert (root.size, root.open, root.children[3].size) == (4, True, 0)


@each_row("body", [b"not JSON", b'{"a":', b"\xff\xfe", b"[" * 100_000, b'{"a": 1}' + b"," * 200_000])
def test_what_is_no_json_is_text(body: bytes) -> None:
    content = make_tree(body)
    assert content.tree is None
    assert content.text.encode().startswith(body[:8].replace(b"\xff", b"\\xff").replace(b"\xfe", b"\\xfe"))
    assert content.left_bytes == max(0, len(body) - MAX_SHOWN_BYTES)


@each_row(
    "body",
    [
        b"[" + b"1," * 100_000 + b"1]",
        b"[" + b'{"a": [1, 2, {"b": "c"}]},' * 5_000 + b"1]",
        orjson.dumps([[[1] * 50] * 50] * 50),
        b'"' + b"x" * 5_000_000 + b'"',
        b"[" * 900 + b"]" * 900,
        b'{"' + b"n" * 1_000_000 + b'": 1}',
    ],
)
def test_a_tree_is_bounded_and_counts_what_it_leaves_out(body: bytes) -> None:
    nodes = walk(tree(body))
    assert len(nodes) < 3_000
    assert sum(len(node.text) + len(node.name or "") for node in nodes) < 100_000
    assert any(node.kind == "rest" or node.size > len(node.text) or (node.name or "").endswith("…") for node in nodes)
