"""Notices in the forms of chat services: plain text, whatever is in it."""

import json
from email.header import decode_header, make_header
from typing import Any

import pytest

from receiver.domain import alarms, notices
from receiver.domain.notices import (
    Notice,
    NoticeFormat,
    make_test_notice,
    recognise_format,
    write_notice,
    write_text,
    write_title,
)
from tests.harness.table import each_row

BEGAN = Notice("refused", "ship24", "began", "120 were rejected.", "2026-11-22T10:00:00.000Z")
ENDED = BEGAN._replace(state="ended", ended_at="2026-11-22T10:09:00.000Z")
HOSTILE = BEGAN._replace(
    subject="shop\r\nX-Evil: 1", message="<!channel> & <@U1> @everyone **bold** [link](http://x) `code` Größe"
)


def content(notice: Notice, form: NoticeFormat) -> Any:
    return json.loads(write_notice(notice, form).body)


def test_the_text_says_what_began_or_ended_and_when() -> None:
    assert write_title(BEGAN) == "Alarm: Deliveries are rejected (Ship24)"
    assert write_text(BEGAN) == "120 were rejected.\nSince 2026-11-22 10:00 UTC."
    assert write_title(ENDED) == "Ended: Deliveries are rejected (Ship24)"
    last = "From 2026-11-22 10:00 to 2026-11-22 10:09 UTC (9 minutes). These were the last figures."
    assert write_text(ENDED) == f"120 were rejected.\n{last}"
    assert "(26 hours)" in write_text(ENDED._replace(ended_at="2026-11-23T12:00:00.000Z"))
    assert write_title(make_test_notice("2026-11-22T10:00:00.000Z")) == "Test: Alarm notices arrive"


@each_row(
    ("url", "form"),
    [
        ("https://hooks.slack.com/services/T0/B0/key", "slack"),
        ("https://HOOKS.SLACK.COM/services/T0/B0/key", "slack"),
        ("https://user:key@hooks.slack.com:443/services", "slack"),
        ("https://prod-01.westeurope.logic.azure.com:443/workflows/1?sig=key", "teams"),
        ("https://default1.2.environment.api.powerplatform.com:443/powerautomate/1?sig=key", "teams"),
        ("https://shop.webhook.office.com/webhookb2/1", "teams"),
        ("https://discord.com/api/webhooks/1/key", "discord"),
        ("https://canary.discord.com/api/webhooks/1/key", "discord"),
        pytest.param("https://discord.com/api/webhooks/1/key/slack", "slack", id="Discord in the form of Slack"),
        ("https://ntfy.sh/topic", "ntfy"),
        ("https://example.com/hooks.slack.com", "json"),
        pytest.param("https://evil-discord.com/", "json", id="another host with the same end"),
        pytest.param("https://hooks.slack.com.example.com/", "json", id="another host with the same beginning"),
    ],
)
def test_the_form_follows_from_the_host(url: str, form: str) -> None:
    assert recognise_format(url) == form


def test_slack_sees_no_mention_and_no_link() -> None:
    told = content(HOSTILE, "slack")
    assert told["mrkdwn"] is False
    assert "&lt;!channel&gt; &amp; &lt;@U1&gt;" in told["text"]
    assert content(BEGAN, "slack")["text"] == f"{write_title(BEGAN)}\n{write_text(BEGAN)}"


def test_discord_mentions_nobody_and_gets_no_more_than_it_takes() -> None:
    told = content(HOSTILE, "discord")
    assert told["allowed_mentions"] == {"parse": []}
    assert "\\*\\*bold\\*\\* \\[link\\](http://x) \\`code\\`" in told["content"]
    assert len(content(BEGAN._replace(message="x" * 5000), "discord")["content"]) == 2000


def test_teams_gets_an_adaptive_card_without_markdown() -> None:
    (attachment,) = content(HOSTILE, "teams")["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    assert (attachment["content"]["type"], attachment["content"]["version"]) == ("AdaptiveCard", "1.4")
    assert {block["type"] for block in attachment["content"]["body"]} == {"RichTextBlock"}
    assert HOSTILE.message in [run["text"] for block in attachment["content"]["body"] for run in block["inlines"]]


def test_ntfy_gets_text_with_a_title_that_is_one_ascii_line() -> None:
    request = write_notice(BEGAN, "ntfy")
    assert request.body.decode() == write_text(BEGAN)
    assert (request.headers["title"], request.headers["priority"]) == (write_title(BEGAN), "high")
    title = write_notice(HOSTILE._replace(subject="Größe\r\nX-Evil: 1"), "ntfy").headers["title"]
    assert (title.isascii(), title.isprintable()) == (True, True)
    assert str(make_header(decode_header(title))).endswith("(Größe\r\nX-Evil: 1)")
    assert len(write_notice(BEGAN._replace(message="ü" * 5000), "ntfy").body) <= 4096


def test_each_alarm_has_a_title_of_its_own() -> None:
    assert notices._TITLES.keys() == alarms.ADVICE.keys() | {"test"}
