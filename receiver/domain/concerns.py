"""What needs the attention of an operator: one list for the console, the API and the commands. Pure.

Times are microseconds since 1970, UTC; counts are those of the last 24 hours. A concern is an `alarm` if deliveries or changes do
not get through, a `warning` if something is to be done, and otherwise a `note`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple

from receiver.clock import iso, to_micros
from receiver.domain.labels import count, label

WINDOW_MICROS = 24 * 3600 * 1_000_000
"""The time over which deliveries are counted."""

ALL_IS_WELL = "ok"
"""The status without any concern. With concerns, it is the weight of the worst one."""

_WEIGHTS = ("alarm", "warning", "note")
_LAST = "in the last 24 hours"
_IN_A_ROW = 3  # rejected deliveries without an accepted one between them: a stranger's request may be one or two
_WARNING_SHARE = 0.05  # of deliveries that are rejected; fewer are a note
_LONG_PAUSE_MICROS = 72 * 3600 * 1_000_000  # longer than a weekend
_MAX_PATHS = 5  # the last ones; `stats` shows all
_FAILING_MICROS = 5 * 60 * 1_000_000  # a restart of a target takes less


class Rejections(NamedTuple):
    """The rejected deliveries of a source with one error code and cause (`refusals.CAUSES`). `advice` says what to do."""

    code: str
    deliveries: int
    cause: str | None = None
    advice: str | None = None


class SourceTraffic(NamedTuple):
    """The traffic of a source that is on. `rejected_since` counts the rejected deliveries after the last accepted one."""

    deliveries: int = 0
    accepted: int = 0
    rejected: Sequence[Rejections] = ()
    rejected_since: int = 0
    unreadable: int = 0
    failed: int = 0
    last_accepted_at: int | None = None


@dataclass(frozen=True, slots=True)
class ServiceFacts:
    """What the concerns follow from.

    `alarms` are those that are on, `unknown_paths` those of the window and `targets` the states of the targets, as
    `storage.queries` returns them. `quarantined` is the number of messages and events in quarantine, exact up to
    `quarantined_limit`. `windows` has the end of each setup window.
    """

    sources: Mapping[str, SourceTraffic]
    alarms: Sequence[Mapping[str, Any]] = ()
    unknown_paths: Sequence[Mapping[str, Any]] = ()
    targets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    quarantined: int = 0
    quarantined_limit: int = 10_000
    windows: Mapping[str, int] = field(default_factory=dict)


class Concern(NamedTuple):
    """Something that needs attention.

    `kind` and `subject` are the name and the subject of the alarm for the same thing, if there is one. `text` says what to do;
    the time `at` (ISO 8601), if any, ends it. `codes` are the error codes of rejected deliveries.
    """

    weight: str
    kind: str
    subject: str
    title: str
    text: str
    at: str | None = None
    codes: tuple[str, ...] = ()


def find_concerns(facts: ServiceFacts, now: int) -> list[Concern]:
    """Return the concerns, the worst first. An alarm that is on makes the concern with its name and subject an alarm."""
    found = {(concern.kind, concern.subject): concern for concern in _find(facts, now)}
    for alarm in facts.alarms:
        key = alarm["name"], alarm["subject"]
        of_alarm = Concern("alarm", *key, alarm["message"], "Since", alarm["began_at"])
        found[key] = found[key]._replace(weight="alarm") if key in found else of_alarm
    return sorted(found.values(), key=lambda concern: _WEIGHTS.index(concern.weight))


def read_status(concerns: Sequence[Concern]) -> str:
    """Return the weight of the worst concern, or `ok` without any."""
    return min((concern.weight for concern in concerns), key=_WEIGHTS.index, default=ALL_IS_WELL)


def _find(facts: ServiceFacts, now: int) -> Iterator[Concern]:
    for source, traffic in facts.sources.items():
        yield from _judge_rejected(source, traffic)
        yield from _judge_pause(source, traffic, now)
        yield from _judge_contents(source, traffic)
    if facts.sources and not any(traffic.deliveries or traffic.last_accepted_at for traffic in facts.sources.values()):
        yield Concern("note", "no_delivery", "", "No delivery yet", "The page Settings shows the webhook URLs for the senders.")
    yield from islice(_judge_unknown(facts), _MAX_PATHS)
    for name, state in facts.targets.items():
        yield from _judge_target(name, state, now)
    if facts.quarantined:
        more = "more than " if facts.quarantined > facts.quarantined_limit else ""
        title = f"{more}{count(min(facts.quarantined, facts.quarantined_limit), 'message')} in quarantine"
        yield Concern("warning", "quarantined", "", title[:1].upper() + title[1:], "Open the quarantine to see why.")
    for source, closes_at in sorted(facts.windows.items()):
        if closes_at > now:
            yield Concern("note", "setup_window", source, f"The setup window of {label(source)} is open", "Until", iso(closes_at))


def _judge_rejected(source: str, traffic: SourceTraffic) -> Iterator[Concern]:
    rejected = sum(part.deliveries for part in traffic.rejected)
    if not rejected:
        return
    share = rejected / max(rejected, traffic.deliveries)
    name, deliveries = label(source), count(rejected, "delivery", "deliveries")
    parts = sorted(traffic.rejected, key=lambda part: -part.deliveries)
    if not traffic.accepted:
        weight, title = "alarm", f"Nothing from {name} gets in: {deliveries} rejected and none accepted {_LAST}"
    elif traffic.rejected_since >= _IN_A_ROW:
        since = count(traffic.rejected_since, "delivery", "deliveries")
        weight, title = "alarm", f"Nothing from {name} gets in: {since} rejected since the last accepted one"
    else:
        weight = "warning" if share >= _WARNING_SHARE else "note"
        title = f"{deliveries} from {name} rejected {_LAST} ({_percent(share)} of all)"
    causes = ", ".join(f"{label(part.cause or part.code)}: {part.deliveries:,}" for part in parts)
    codes = tuple(dict.fromkeys(part.code for part in parts))
    yield Concern(weight, "refused", source, title, f"{causes}. {parts[0].advice or ''}".rstrip(), None, codes)


def _judge_pause(source: str, traffic: SourceTraffic, now: int) -> Iterator[Concern]:
    """Judge the time since the last accepted delivery. A source that only gets rejected ones has a concern for these."""
    if traffic.last_accepted_at is None or traffic.rejected or now - traffic.last_accepted_at < WINDOW_MICROS:
        return
    weight = "warning" if now - traffic.last_accepted_at >= _LONG_PAUSE_MICROS else "note"
    title = f"{label(source)} has stopped: no delivery {_LAST}"
    text = f"Check the webhook URL in {label(source)}. The last accepted delivery came"
    yield Concern(weight, "silence", source, title, text, iso(traffic.last_accepted_at))


def _judge_contents(source: str, traffic: SourceTraffic) -> Iterator[Concern]:
    if traffic.failed:
        title = f"{count(traffic.failed, 'delivery', 'deliveries')} from {label(source)} failed {_LAST}"
        yield Concern("alarm", "failed", source, title, "The sender will retry.")
    if traffic.unreadable:
        title = f"{count(traffic.unreadable, 'delivery', 'deliveries')} from {label(source)} with an invalid body {_LAST}"
        yield Concern("warning", "unreadable", source, title, "The bodies are stored.")


def _judge_unknown(facts: ServiceFacts) -> Iterator[Concern]:
    """Judge the unknown paths that resemble one of ours. An alarm: the source that they are meant for has nothing accepted."""
    for use in facts.unknown_paths:
        if use["path"] is not None:
            source = next((name for name in facts.sources if name in use["nearest"].split("/")), "")
            accepted = facts.sources.get(source, SourceTraffic()).accepted
            requests = count(use["requests"], "request")
            title = f"{requests} to an unknown path: {use['path']}"
            text = f"The right one is {use['nearest']}: correct the URL at the sender. The last request came"
            yield Concern("warning" if accepted else "alarm", "unknown_path", use["path"], title, text, use["last_at"])


def _judge_target(name: str, state: Mapping[str, Any], now: int) -> Iterator[Concern]:
    waiting = f"{state['waiting']:,}{'+' if state['waiting_capped'] else ''} waiting"
    if state["paused_at"] is not None:
        yield Concern("note", "target", name, f"Target {name} is paused", f"{waiting}. Since", state["paused_at"])
    elif state["stopped_at"] is not None:
        text = f"{state['stop_reason']}. {waiting}. Since"
        yield Concern("alarm", "target", name, f"Target {name} is stopped", text, state["stopped_at"])
    elif state["failing_since"] is not None:
        since = state["failing_since"]
        failing = now - to_micros(datetime.fromisoformat(since))
        weight = "alarm" if failing >= _FAILING_MICROS else "warning"
        yield Concern(weight, "target", name, f"Target {name} fails: {state['last_error']}", f"{waiting}. Since", since)
    if state["dead"]:
        title = f"{state['dead']:,}{'+' if state['dead_capped'] else ''} changes for {name} have failed for good"
        text = f"Correct the error in {name}, then run `receiver targets retry {name}`."
        yield Concern("warning", "dead", name, title, text)


def _percent(share: float) -> str:
    return "less than 1 %" if share < 0.01 else f"{100 * share:.0f} %"
