"""The rules of the alarms: which ones should be on, given the facts. Pure.

An alarm that is on ends at half of its threshold, so that a value near the threshold does not switch it on and off. A threshold
of 0 disables an alarm. Times and durations are in microseconds; times count from 1970, UTC.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from itertools import pairwise
from typing import NamedTuple

from receiver.clock import from_micros
from receiver.domain.labels import count, label
from receiver.domain.processes import Processes, find_mismatches
from receiver.domain.traffic import DAY, HOUR, MINUTE, Traffic, judge_quarantined, judge_refused, judge_stale, minute, reaches

LEARNING_WINDOW = 14 * DAY
"""The usual pauses of a source are learned from this time: it always contains a whole weekend."""

RELAY_GRACE = 5 * MINUTE
"""The time without a relay, or with differing targets, before it is an alarm. A restart takes less."""

_LEARNED_AFTER = 8 * DAY  # with less than a week, a source that rests at weekends would be silent on its first one
ADVICE = {
    "silence": "Check the webhook URL in {source} and the rejected deliveries",
    "refused": "Check the tokens and client addresses of the rejected deliveries",
    "quarantine": "Open the quarantine to see why",
    "stale": "Check whether {source} sends messages late or repeats them",
    "undecidable": "Update the service, then replay them: `receiver doctor` shows the commands",
    "missed": "Run `receiver downtime list`, and compare the webhook URL in {source} with yours",
    "tables": "The retries of the sender are applied once it is removed",
    "disk": "Free disk space now; requests will fail with 503 when it is full",
    "target": "Run `receiver targets list` to see the last error",
    "relay": "Start `receiver serve` or `receiver relay`, and look for relay_ended in its log",
    "settings": "Give all processes the same settings and restart them",
    "notices": "Run `receiver alarms test` to see why",
    "token": "Add a new token, switch the sender, then remove this one",
}
"""What to do about each alarm, by its name. All alarms are listed here."""


@dataclass(frozen=True, slots=True)
class AlarmThresholds:
    """The thresholds from the settings.

    `silence_hours` has the sources that are watched for silence; None means a learned time. `refused` is a number in five
    minutes, `quarantined` a number in an hour. Their `_percent` are the shares for sources with few deliveries; 0 means that only
    the number counts. `token_ends` are pairs of subject (`source:name`) and the last day of that token; the alarm begins
    `token_days` before it.
    """

    silence_hours: Mapping[str, float | None]
    refused: int
    quarantined: int
    stale_percent: float
    disk_percent: float
    token_days: int
    token_ends: tuple[tuple[str, date], ...] = ()
    target_minutes: float = 0
    refused_percent: float = 0
    quarantined_percent: float = 0


class Disk(NamedTuple):
    """The disk of an embedded database."""

    free_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class AlarmFacts:
    """The measured facts.

    `started_at` is the start of this process; `disk` is None with a database server; `oldest_due` has the oldest due time of
    each target with waiting changes; `running` are all processes on the database; `channels` says of each channel of notices
    whether its last notice failed (None: nothing new is known); `missed` has the number of deliveries of a source in the last 24
    hours that never came and were found at the vendor; `additions` names what somebody added to our tables, if deliveries were
    answered 503 in the last hour.
    """

    started_at: int
    traffic: Mapping[str, Traffic]
    disk: Disk | None = None
    oldest_due: Mapping[str, int] = field(default_factory=dict)
    running: Processes = field(default_factory=Processes)
    channels: Mapping[str, bool | None] = field(default_factory=dict)
    missed: Mapping[str, int] = field(default_factory=dict)
    additions: str | None = None


class AlarmKey(NamedTuple):
    """The identity of an alarm: a fixed name and its subject (a source, a token, a target, the database)."""

    name: str
    subject: str


class Alarm(NamedTuple):
    """An alarm that should be on. `message` has the figures and tells the operator what to do."""

    name: str
    subject: str
    message: str

    @property
    def key(self) -> AlarmKey:
        """Return the identity. At most one alarm with it is on."""
        return AlarmKey(self.name, self.subject)


def find_alarms(facts: AlarmFacts, rules: AlarmThresholds, now: int, on: Set[AlarmKey]) -> list[Alarm]:
    """Return the alarms that should be on, sorted; `on` are those that are on now."""
    return sorted(Alarm(*key, _write_message(key, finding)) for key, finding in _find(facts, rules, now, on))


def learn_gap(hours: Iterable[int], now: int) -> int | None:
    """Return the longest pause between the starts of hours with messages; None while only a week or so is known."""
    begun = sorted(set(hours))
    if not begun or now - begun[0] < _LEARNED_AFTER:
        return None
    return max((later - earlier for earlier, later in pairwise(begun)), default=HOUR)


def _write_message(key: AlarmKey, finding: str) -> str:
    return f"{finding}. {ADVICE[key.name].format(source=label(key.subject))}."


def _find(facts: AlarmFacts, rules: AlarmThresholds, now: int, on: Set[AlarmKey]) -> Iterator[tuple[AlarmKey, str]]:
    for source, traffic in facts.traffic.items():
        silence = AlarmKey("silence", source)
        if source in rules.silence_hours:
            yield from _find_silence(silence, traffic, rules.silence_hours[source], facts.started_at, now, is_on=silence in on)
        yield from _find_undecidable(AlarmKey("undecidable", source), traffic)
        yield from _judge_traffic(source, traffic, rules, now, on)
    yield from _find_additions(AlarmKey("tables", "database"), facts.additions)
    if facts.disk is not None:
        yield from _find_disk(AlarmKey("disk", "database"), facts.disk, rules.disk_percent, on)
    for target, oldest_due_at in facts.oldest_due.items():
        yield from _find_target(AlarmKey("target", target), oldest_due_at, rules.target_minutes, now, on)
    if rules.target_minutes:
        yield from _find_lost_relay(AlarmKey("relay", ""), facts, round(rules.target_minutes * MINUTE), now, on)
        yield from _find_differing_settings(facts.running, now, on)
    for source, number in facts.missed.items():
        if number:
            found = count(number, "delivery that never came was", "deliveries that never came were")
            yield AlarmKey("missed", source), f"{found} found at {label(source)} in the last 24 hours and brought in"
    for channel, failed in facts.channels.items():
        yield from _find_failed_channel(AlarmKey("notices", channel), on, failed=failed)
    for subject, ends in rules.token_ends:
        yield from _find_token(AlarmKey("token", subject), ends, rules.token_days, from_micros(now).date())


def _judge_traffic(
    source: str, traffic: Traffic, rules: AlarmThresholds, now: int, on: Set[AlarmKey]
) -> Iterator[tuple[AlarmKey, str]]:
    """Judge the deliveries and messages. A limit that is reached says more than one of which an active alarm needs only half."""
    judges: dict[str, Callable[..., str | None]] = {
        "refused": partial(judge_refused, source, traffic, rules.refused, rules.refused_percent, now),
        "quarantine": partial(judge_quarantined, source, traffic, rules.quarantined, rules.quarantined_percent, now),
        "stale": partial(judge_stale, source, traffic, rules.stale_percent),
    }
    for name, judge in judges.items():
        key = AlarmKey(name, source)
        finding = judge(is_on=False) or (judge(is_on=True) if key in on else None)
        if finding is not None:
            yield key, finding


def _find_silence(
    key: AlarmKey, traffic: Traffic, hours: float | None, started_at: int, now: int, *, is_on: bool
) -> Iterator[tuple[AlarmKey, str]]:
    """Judge the time since the last delivery, or since the start if there was none. A silence lasts until a delivery comes.

    No silence begins in the first hour after a start, because no delivery could come while the service was down.
    """
    limit = _silence_limit(traffic, hours, is_on=is_on)
    if limit is None:
        return
    quiet = now - (started_at if traffic.last_delivery_at is None else traffic.last_delivery_at)
    if is_on:
        silent = traffic.last_delivery_at is None or quiet >= limit / 2
    else:
        silent = quiet > limit and now - started_at >= min(limit, HOUR)
    if silent:
        since = "the start of the service" if traffic.last_delivery_at is None else minute(traffic.last_delivery_at)
        learned = "" if hours is not None else ", twice its longest pause of the last 14 days"
        yield key, f"No accepted delivery from {label(key.subject)} since {since} (limit {_write_hours(limit / HOUR)}{learned})"


def _write_hours(hours: float) -> str:
    """Return `1 hour`, `1.5 hours`."""
    return f"{hours:.3g} {'hour' if f'{hours:.3g}' == '1' else 'hours'}"


def _silence_limit(traffic: Traffic, hours: float | None, *, is_on: bool) -> int | None:
    if hours is not None:
        return round(hours * HOUR) or None
    if traffic.longest_gap is not None:
        return 2 * traffic.longest_gap
    return HOUR if is_on else None  # the learned time may be lost; the alarm still ends with the next delivery


def _find_undecidable(key: AlarmKey, traffic: Traffic) -> Iterator[tuple[AlarmKey, str]]:
    """Judge our own failures. One is enough, because it is a fault of this service."""
    if traffic.undecidable:
        failed = count(traffic.undecidable, "message or delivery", "messages or deliveries")
        yield key, f"This service failed to process {failed} of {label(key.subject)} in the last 24 hours"


def _find_additions(key: AlarmKey, additions: str | None) -> Iterator[tuple[AlarmKey, str]]:
    if additions is not None:
        yield key, f"Deliveries were answered 503 in the last hour. {additions.rstrip('.')}"


def _find_disk(key: AlarmKey, disk: Disk, limit: float, on: Set[AlarmKey]) -> Iterator[tuple[AlarmKey, str]]:
    """Judge the free space. An alarm that is on ends at 1.5 times the limit, or half way to an empty disk."""
    free = 100 * disk.free_bytes / disk.total_bytes if disk.total_bytes else 0.0
    if free < (min(1.5 * limit, (limit + 100) / 2) if key in on else limit):
        room = f"{disk.free_bytes / 2**30:.1f} of {disk.total_bytes / 2**30:.1f} GiB"
        yield key, f"{free:.1f} % of the database disk is free ({room}, limit {limit:g} %)"


def _find_target(key: AlarmKey, oldest_due_at: int, limit: float, now: int, on: Set[AlarmKey]) -> Iterator[tuple[AlarmKey, str]]:
    if reaches((now - oldest_due_at) / MINUTE, limit, is_on=key in on):
        yield key, f"Changes for {key.subject} have been waiting since {minute(oldest_due_at)} (limit {limit:g} minutes)"


def _find_lost_relay(key: AlarmKey, facts: AlarmFacts, limit: int, now: int, on: Set[AlarmKey]) -> Iterator[tuple[AlarmKey, str]]:
    """Find out whether changes wait while no relay runs. No alarm begins in the first minutes after a start."""
    wanted = facts.running.receiver_targets() if facts.running.receivers else facts.oldest_due.keys() if key in on else ()
    waiting_since = min((at for name, at in facts.oldest_due.items() if name in wanted), default=None)
    if facts.running.relays or waiting_since is None:
        return
    if key in on or now - max(waiting_since, facts.started_at) >= min(limit, RELAY_GRACE):
        yield key, f"Changes have been waiting since {minute(waiting_since)} and no relay is running"


def _find_differing_settings(running: Processes, now: int, on: Set[AlarmKey]) -> Iterator[tuple[AlarmKey, str]]:
    known = {key.subject for key in on if key.name == "settings"}
    for target, finding in find_mismatches(running, known, now - RELAY_GRACE).items():
        yield AlarmKey("settings", target), f"{finding[0].upper()}{finding[1:]}"


def _find_failed_channel(key: AlarmKey, on: Set[AlarmKey], *, failed: bool | None) -> Iterator[tuple[AlarmKey, str]]:
    if failed or (failed is None and key in on):
        yield key, f"Alarm notices are not sent through the channel {key.subject}"


def _find_token(key: AlarmKey, ends: date, days: int, today: date) -> Iterator[tuple[AlarmKey, str]]:
    if (ends - today).days <= days:
        source, _, name = key.subject.partition(":")
        yield key, f"Token {name} of {label(source)} ends on {ends.isoformat()}"
