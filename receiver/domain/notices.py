"""Alarm notices, and their forms for chat services. Pure.

The text of a notice is plain in every form: characters that a service interprets are escaped, and nobody is mentioned.

- Slack: incoming webhooks take `{"text": …}`; `&`, `<` and `>` are escaped, so `<!channel>` is text
  (docs.slack.dev, "Sending messages using incoming webhooks", "Formatting message text").
- Microsoft Teams: a workflow "When a Teams webhook request is received" takes a message with an adaptive card
  (learn.microsoft.com, "Create incoming webhooks with Workflows"). The runs of a RichTextBlock are no Markdown.
- Discord: `{"content": …}` of at most 2,000 characters; `allowed_mentions` without a kind mentions nobody
  (discord.com/developers, "Execute Webhook").
- ntfy: the body is the text; title, priority and tags are headers, and a title that is not ASCII is an encoded word of RFC 2047
  (docs.ntfy.sh, "Publishing"). A longer text becomes an attachment.
"""

import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

import orjson

from receiver.domain.labels import count, label

NoticeFormat = Literal["json", "slack", "teams", "discord", "ntfy"]

_HOSTS: dict[str, NoticeFormat] = {  # a host, or the end of one
    "hooks.slack.com": "slack",
    "hooks.slack-gov.com": "slack",
    "webhook.office.com": "teams",
    "logic.azure.com": "teams",
    "environment.api.powerplatform.com": "teams",
    "discord.com": "discord",
    "discordapp.com": "discord",
    "ntfy.sh": "ntfy",
}
_TITLES = {
    "silence": "No deliveries",
    "refused": "Deliveries are rejected",
    "quarantine": "Messages are quarantined",
    "stale": "Messages arrive out of date",
    "undecidable": "Messages could not be processed",
    "missed": "Deliveries never came",
    "tables": "Deliveries are not stored",
    "disk": "The disk is nearly full",
    "target": "Changes wait for a target",
    "relay": "No relay is running",
    "settings": "Processes have different settings",
    "notices": "Notices are not sent",
    "token": "A token ends soon",
    "test": "Alarm notices arrive",
}
_STATES = {"began": "Alarm", "ended": "Ended", "test": "Test"}
_DISCORD_CHARACTERS = 2000
_NTFY_BYTES = 4000  # of 4096


class Notice(NamedTuple):
    """An alarm that began or ended, or a test (`state`). Times are ISO 8601 in UTC."""

    alarm: str
    subject: str
    state: str
    message: str
    began_at: str
    ended_at: str | None = None


class NoticeRequest(NamedTuple):
    """A notice as an HTTP request."""

    body: bytes
    headers: Mapping[str, str]


def make_test_notice(now: str) -> Notice:
    """Return a notice that says that it is a test."""
    return Notice("test", "", "test", "This is a test notice of the parcel-tracking receiver. No alarm began.", now)


def recognise_format(url: str) -> NoticeFormat:
    """Return the format for the host of a URL; `json` for a host that is not one of the known services."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    for end, form in _HOSTS.items():
        if host == end or host.endswith(f".{end}"):
            return "slack" if form == "discord" and parts.path.endswith("/slack") else form
    return "json"


def write_notice(notice: Notice, form: NoticeFormat) -> NoticeRequest:
    """Return the request that sends a notice in a format."""
    return _WRITERS[form](notice)


def write_title(notice: Notice) -> str:
    """Return one line: `Alarm: Deliveries are rejected (Ship24)`."""
    subject = f" ({label(notice.subject)})" if notice.subject else ""
    return f"{_STATES[notice.state]}: {_TITLES.get(notice.alarm, label(notice.alarm))}{subject}"


def write_text(notice: Notice) -> str:
    """Return the message and its times, as two lines."""
    return f"{notice.message}\n{_write_times(notice)}"


def _write_times(notice: Notice) -> str:
    began = _brief(notice.began_at)
    if notice.ended_at is None:
        return f"Since {began} UTC." if notice.state == "began" else f"Sent {began} UTC."
    seconds = (datetime.fromisoformat(notice.ended_at) - datetime.fromisoformat(notice.began_at)).total_seconds()
    lasted = count(round(seconds / 60), "minute") if seconds < 7200 else count(round(seconds / 3600), "hour")
    return f"From {began} to {_brief(notice.ended_at)} UTC ({lasted}). These were the last figures."


def _brief(moment: str) -> str:
    return moment[:16].replace("T", " ")


def _write_json(notice: Notice) -> NoticeRequest:
    return _as_json(notice._asdict())


def _write_slack(notice: Notice) -> NoticeRequest:
    text = f"{write_title(notice)}\n{write_text(notice)}"
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _as_json({"text": escaped, "mrkdwn": False})


def _write_teams(notice: Notice) -> NoticeRequest:
    title = _text_block(write_title(notice), weight="Bolder", size="Medium")
    blocks = [title, *(_text_block(line) for line in write_text(notice).splitlines())]
    schema = "http://adaptivecards.io/schemas/adaptive-card.json"
    card = {"$schema": schema, "type": "AdaptiveCard", "version": "1.4", "body": blocks}
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return _as_json({"type": "message", "attachments": [attachment]})


def _text_block(text: str, **style: str) -> dict[str, Any]:
    return {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": text, **style}]}


def _write_discord(notice: Notice) -> NoticeRequest:
    text = re.sub(r"([\\`*_~|>#\[\]])", r"\\\1", f"{write_title(notice)}\n{write_text(notice)}")
    return _as_json({"content": text[:_DISCORD_CHARACTERS], "allowed_mentions": {"parse": []}})


def _write_ntfy(notice: Notice) -> NoticeRequest:
    tags = {"began": "rotating_light", "ended": "white_check_mark", "test": "bell"}
    headers = {
        "content-type": "text/plain; charset=utf-8",
        "title": _encode_header(write_title(notice)),
        "priority": "high" if notice.state == "began" else "default",
        "tags": tags[notice.state],
    }
    body = write_text(notice).encode("utf-8", "replace")[:_NTFY_BYTES].decode(errors="ignore").encode()
    return NoticeRequest(body, headers)


def _encode_header(text: str) -> str:
    if text.isascii() and text.isprintable():
        return text
    return f"=?utf-8?B?{b64encode(text.encode('utf-8', 'replace')).decode()}?="


def _as_json(content: Any) -> NoticeRequest:
    return NoticeRequest(orjson.dumps(content), {"content-type": "application/json"})


_WRITERS: dict[NoticeFormat, Callable[[Notice], NoticeRequest]] = {
    "json": _write_json,
    "slack": _write_slack,
    "teams": _write_teams,
    "discord": _write_discord,
    "ntfy": _write_ntfy,
}
