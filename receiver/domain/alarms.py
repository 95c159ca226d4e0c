"""What is out of order and should be said: pure. What was read goes in, the alarms that should be on come out.

An alarm that is on ends at half of its threshold, so that a value near the threshold does not switch it on and off. A threshold
of 0 switches an alarm off. Moments and spans are microseconds, moments since 1970, UTC.
"""

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from datetime import date
from itertools import pairwise
from typing import NamedTuple

from receiver.clock import from_micros, iso
from receiver.domain.processes import Processes, find_mismatches

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

REFUSED_WINDOW = 5 * MINUTE
"""In this span refused calls are counted; verdicts in the last hour."""

REFUSED_CODES = frozenset({"unauthorized", "address_not_allowed"})
"""The refusals that make a storm: 401 and 403."""

LEARNING_WINDOW = 14 * DAY
"""From this span the usual pauses of a source are learned: a weekend lies whole in it, whenever it is asked."""

RELAY_GRACE = 5 * MINUTE
"""For so long no relay may run, and processes may know different targets, before it is an alarm: a restart takes less."""

_LEARNED_AFTER = 8 * DAY  # before a week has come round, a source that rests at weekends would be called silent on its first one
_STALE_FROM = 100  # messages: a share of fewer says little
_MEANS = {
    "silence": "look whether its webhook is still set, and whether its calls are refused",
    "refused": "look at the refused calls and the addresses they come from",
    "quarantine": "look at the quarantine for the reasons",
    "stale": "look whether its messages are sent again, or long after they were made",
    "undecidable": "update the service, then replay them; `receiver doctor` names the commands",
    "disk": "make room, or calls will be answered 503",
    "target": "run `receiver targets list` to see the last error",
    "relay": "start `receiver serve` or `receiver relay`, and look for relay_ended in its log",
    "settings": "give all processes the same settings, and restart them",
    "token": "set a new one beside it, switch the sender over, then take this one out",
}


@dataclass(frozen=True, slots=True)
class AlarmThresholds:
    """The thresholds, as set by the operator.

    `silence_hours` has the sources that are watched for silence: None means a learned time. `token_ends` are pairs of subject
    (`source:name`) and the day on which that token ends; `token_days` before it is said, 0 on the day itself.
    """

    silence_hours: Mapping[str, float | None]
    refused: int
    quarantined: int
    stale_percent: float
    disk_percent: float
    token_days: int
    token_ends: tuple[tuple[str, date], ...] = ()
    target_minutes: float = 0


class Traffic(NamedTuple):
    """What came from one source: when a token of its last let a call in, its longest usual pause (None: not known), refused
    calls of the last five minutes, and verdicts of the last hour, and what our own code failed on in the last day.
    """

    last_call_at: int | None = None
    longest_gap: int | None = None
    refused: int = 0
    quarantined: int = 0
    applied: int = 0
    stale: int = 0
    undecidable: int = 0


class Disk(NamedTuple):
    """The disk under an embedded database."""

    free_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class AlarmFacts:
    """What was read. `started_at` is since when this process serves; `disk` is None where it is a database server's; `oldest_due`
    has for each target with waiting changes when the oldest of them first became due; `running` are all processes that run.
    """

    started_at: int
    traffic: Mapping[str, Traffic]
    disk: Disk | None = None
    oldest_due: Mapping[str, int] = field(default_factory=dict)
    running: Processes = field(default_factory=Processes)


class AlarmKey(NamedTuple):
    """One thing that is watched: a fixed word, and what it is about (a source, a token, the database)."""

    name: str
    subject: str


class Alarm(NamedTuple):
    """One thing that is out of order. `message` is a sentence with the figures and what to look at."""

    name: str
    subject: str
    message: str

    @property
    def key(self) -> AlarmKey:
        """Return what names it; there is one alarm at a time for each."""
        return AlarmKey(self.name, self.subject)


def find_alarms(facts: AlarmFacts, rules: AlarmThresholds, now: int, on: Set[AlarmKey]) -> list[Alarm]:
    """Return the alarms that should be on now, sorted; `on` are those that are."""
    return sorted(Alarm(*key, f"{finding}: {_MEANS[key.name]}.") for key, finding in _find(facts, rules, now, on))


def learn_gap(hours: Iterable[int], now: int) -> int | None:
    """Return the longest pause between hours with messages, by their beginnings; None while no more than a week is known."""
    begun = sorted(set(hours))
    if not begun or now - begun[0] < _LEARNED_AFTER:
        return None
    return max((later - earlier for earlier, later in pairwise(begun)), default=HOUR)


def _find(facts: AlarmFacts, rules: AlarmThresholds, now: int, on: Set[AlarmKey]) -> Iterator[tuple[AlarmKey, str]]:
    for source, traffic in facts.traffic.items():
        silence = AlarmKey("silence", source)
        if source in rules.silence_hours:
            yield from _find_silence(silence, traffic, rules.silence_hours[source], facts.started_at, now, is_on=silence in on)
        yield from _find_refused(AlarmKey("refused", source), traffic, rules.refused, on)
        yield from _find_quarantine(AlarmKey("quarantine", source), traffic, rules.quarantined, on)
        yield from _find_undecidable(AlarmKey("undecidable", source), traffic)
        yield from _find_stale(AlarmKey("stale", source), traffic, rules.stale_percent, on)
    if facts.disk is not None:
        yield from _find_disk(AlarmKey("disk", "database"), facts.disk, rules.disk_percent, on)
    for target, oldest_due_at in facts.oldest_due.items():
        yield from _find_target(AlarmKey("target", target), oldest_due_at, rules.target_minutes, now, on)
    if rules.target_minutes:
        yield from _find_lost_relay(AlarmKey("relay", ""), facts, round(rules.target_minutes * MINUTE), now, on)
        yield from _find_differing_settings(facts.running, now, on)
    for subject, ends in rules.token_ends:
        yield from _find_token(AlarmKey("token", subject), ends, rules.token_days, from_micros(now).date())


def _find_silence(
    key: AlarmKey, traffic: Traffic, hours: float | None, started_at: int, now: int, *, is_on: bool
) -> Iterator[tuple[AlarmKey, str]]:
    """A source that never called counts from the start of the service; one that is known to be silent stays so until it calls.

    In the first hour after a start nothing new is said: while the service was down, nobody could call it.
    """
    limit = _silence_limit(traffic, hours, is_on=is_on)
    if limit is None:
        return
    quiet = now - (started_at if traffic.last_call_at is None else traffic.last_call_at)
    if is_on:
        silent = traffic.last_call_at is None or quiet >= limit / 2
    else:
        silent = quiet > limit and now - started_at >= min(limit, HOUR)
    if silent:
        since = "the start" if traffic.last_call_at is None else _minute(traffic.last_call_at)
        usual = "" if hours is not None else ", twice its longest pause of the last 14 days"
        yield key, f"No call of {key.subject} was let in since {since}, for longer than {limit / HOUR:.3g} hours{usual}"


def _silence_limit(traffic: Traffic, hours: float | None, *, is_on: bool) -> int | None:
    if hours is not None:
        return round(hours * HOUR) or None
    if traffic.longest_gap is not None:
        return 2 * traffic.longest_gap
    return HOUR if is_on else None  # what was learned is forgotten by and by; the alarm still ends with the next call


def _find_refused(key: AlarmKey, traffic: Traffic, limit: int, on: Set[AlarmKey]) -> Iterator[tuple[AlarmKey, str]]:
    if _reaches(traffic.refused, limit, is_on=key in on):
        wrong = "with a wrong token or from an address that is not listed"
        yield key, f"{traffic.refused:,} calls to {key.subject} in the last 5 minutes {wrong} (limit {limit:,})"


def _find_quarantine(key: AlarmKey, traffic: Traffic, limit: int, on: Set[AlarmKey]) -> Iterator[tuple[AlarmKey, str]]:
    if _reaches(traffic.quarantined, limit, is_on=key in on):
        yield key, f"{traffic.quarantined:,} messages of {key.subject} went to quarantine in the last hour (limit {limit:,})"


def _find_undecidable(key: AlarmKey, traffic: Traffic) -> Iterator[tuple[AlarmKey, str]]:
    """The first one counts: it is a fault of this service."""
    if traffic.undecidable:
        failed = f"{traffic.undecidable:,} of the messages and deliveries of {key.subject}"
        yield key, f"This service failed on {failed} in the last 24 hours"


def _find_stale(key: AlarmKey, traffic: Traffic, limit: float, on: Set[AlarmKey]) -> Iterator[tuple[AlarmKey, str]]:
    messages = traffic.applied + traffic.stale
    share = 100 * traffic.stale / messages if messages else 0.0
    is_on = key in on
    if _reaches(share, limit, is_on=is_on) and _reaches(messages, _STALE_FROM, is_on=is_on):
        yield key, f"{share:.0f} % of {messages:,} messages of {key.subject} in the last hour were stale (limit {limit:g} %)"


def _find_disk(key: AlarmKey, disk: Disk, limit: float, on: Set[AlarmKey]) -> Iterator[tuple[AlarmKey, str]]:
    """Free room runs the other way: an alarm that is on ends at half as much again, or half way to an empty disk."""
    free = 100 * disk.free_bytes / disk.total_bytes if disk.total_bytes else 0.0
    if free < (min(1.5 * limit, (limit + 100) / 2) if key in on else limit):
        room = f"{disk.free_bytes / 2**30:.1f} of {disk.total_bytes / 2**30:.1f} GiB"
        yield key, f"{free:.1f} % of the disk under the database is free ({room}, limit {limit:g} %)"


def _find_target(key: AlarmKey, oldest_due_at: int, limit: float, now: int, on: Set[AlarmKey]) -> Iterator[tuple[AlarmKey, str]]:
    if _reaches((now - oldest_due_at) / MINUTE, limit, is_on=key in on):
        yield key, f"Changes for {key.subject} have been waiting since {_minute(oldest_due_at)} (limit {limit:g} minutes)"


def _find_lost_relay(key: AlarmKey, facts: AlarmFacts, limit: int, now: int, on: Set[AlarmKey]) -> Iterator[tuple[AlarmKey, str]]:
    """Changes wait that a receiver makes, and no relay runs. In the first minutes after a start nothing new is said."""
    wanted = facts.running.receiver_targets() if facts.running.receivers else facts.oldest_due.keys() if key in on else ()
    waiting_since = min((at for name, at in facts.oldest_due.items() if name in wanted), default=None)
    if facts.running.relays or waiting_since is None:
        return
    if key in on or now - max(waiting_since, facts.started_at) >= min(limit, RELAY_GRACE):
        yield key, f"Changes have been waiting since {_minute(waiting_since)}, and no relay is running to deliver them"


def _find_differing_settings(running: Processes, now: int, on: Set[AlarmKey]) -> Iterator[tuple[AlarmKey, str]]:
    known = {key.subject for key in on if key.name == "settings"}
    for target, finding in find_mismatches(running, known, now - RELAY_GRACE).items():
        yield AlarmKey("settings", target), f"{finding[0].upper()}{finding[1:]}"


def _find_token(key: AlarmKey, ends: date, days: int, today: date) -> Iterator[tuple[AlarmKey, str]]:
    if (ends - today).days <= days:
        source, _, name = key.subject.partition(":")
        yield key, f"The token {name} of {source} ends on {ends.isoformat()}"


def _reaches(number: float, limit: float, *, is_on: bool) -> bool:
    return limit > 0 and number >= (limit / 2 if is_on else limit)


def _minute(moment: int) -> str:
    return f"{iso(moment)[:16]}Z"
