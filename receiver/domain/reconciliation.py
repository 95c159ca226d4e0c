"""What a reconciliation with a vendor is asked for, what it found, and how far it came. Pure."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import orjson

from receiver.clock import iso
from receiver.domain.rows import ReconciliationRow

MAX_EXAMPLES = 100
"""The number of trackers that a report names for each finding. The counts are whole."""

MAX_RECONCILIATIONS = 200
"""The maximum number of stored reconciliations; the oldest ones beyond it are removed."""

OURS, VENDORS = "ours", "vendors"
"""The two parts of a reconciliation: the trackers that are stored here, then those that only the vendor knows."""


class ReconcileRequest(NamedTuple):
    """The trackers to look at, one of: `trackers` by id, those that may have lost something between `since` and `until`, all.

    Times are in microseconds. `all_trackers`: also those that only the vendor knows. `resend`: let the vendor send messages again
    instead of bringing them in. `dry_run`: change nothing. `files` are the names of the files that take the place of the vendor.
    """

    since: int | None = None
    until: int | None = None
    trackers: tuple[str, ...] = ()
    all_trackers: bool = False
    resend: bool = False
    dry_run: bool = False
    files: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {**self._asdict(), "trackers": list(self.trackers), "files": list(self.files)}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "ReconcileRequest":
        """Return the request of `as_json`."""
        texts = {name: tuple(fields.get(name, ())) for name in ("trackers", "files")}
        return cls(**{name: fields[name] for name in cls._fields if name in fields} | texts)


class Position(NamedTuple):
    """How far a reconciliation came: the last tracker of ours, or the page of the vendor's list and the trackers done on it."""

    part: str = OURS
    after: str = ""
    page: int = 1
    done_on_page: int = 0


@dataclass(slots=True)
class TrackerCount:
    """The number of trackers with the same finding, and the first of them; for a file, of rows or manifests."""

    number: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, tracker_id: str) -> None:
        """Count a tracker."""
        self.number += 1
        if len(self.examples) < MAX_EXAMPLES:
            self.examples.append(tracker_id)


@dataclass(slots=True)
class ReconcileReport:
    """The findings. Each is a number of trackers, unless it says otherwise.

    `complete`: nothing was missing. `repaired`: something was, and is here now (with `dry_run`: would be); `messages` and
    `events` count that. `built_events` are those of `events` that only the results had. `delivered_elsewhere` are messages that
    the vendor calls delivered and that never came; `urls` are where it sent them. `only_here`: with events that the vendor no
    longer tells. `without_history`: repaired from the results alone, so a proof of delivery would still be missing. `unknown`:
    not known to the vendor. `resent`: the vendor was asked to send so many `messages` again. `failed` could not be looked at.

    For a file of packages, `differing` are manifests whose status in the file is another one than here, and `failed` are rows,
    each with its file, its line and the reason.
    """

    examined: int = 0
    complete: int = 0
    messages: int = 0
    events: int = 0
    built_events: int = 0
    delivered_elsewhere: int = 0
    urls: list[str] = field(default_factory=list)
    repaired: TrackerCount = field(default_factory=TrackerCount)
    only_here: TrackerCount = field(default_factory=TrackerCount)
    without_history: TrackerCount = field(default_factory=TrackerCount)
    unknown: TrackerCount = field(default_factory=TrackerCount)
    resent: TrackerCount = field(default_factory=TrackerCount)
    failed: TrackerCount = field(default_factory=TrackerCount)
    differing: TrackerCount = field(default_factory=TrackerCount)

    def note_url(self, url: str | None) -> None:
        """Remember a URL to which the vendor sends."""
        if url is not None and url not in self.urls and len(self.urls) < MAX_EXAMPLES:
            self.urls.append(url)

    def add(self, other: "ReconcileReport") -> None:
        """Add the findings of another report."""
        for name in self.__dataclass_fields__:
            ours, theirs = getattr(self, name), getattr(other, name)
            if isinstance(ours, TrackerCount):
                ours.number += theirs.number
                ours.examples = [*ours.examples, *theirs.examples][:MAX_EXAMPLES]
            elif name == "urls":
                for url in theirs:
                    self.note_url(url)
            else:
                setattr(self, name, ours + theirs)

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "ReconcileReport":
        """Return the report of `as_json`."""
        values: dict[str, Any] = {
            name: TrackerCount(**value) if isinstance(value, Mapping) else value
            for name, value in fields.items()
            if name in cls.__dataclass_fields__  # a later version may have written others
        }
        return cls(**values)


class ReconcileProgress(NamedTuple):
    """How far a reconciliation came, and what it has found until then."""

    position: Position
    report: ReconcileReport


def describe_run(row: ReconciliationRow) -> dict[str, Any]:
    """Return a reconciliation as the API shows it. Parts that an earlier version did not write have their defaults."""
    times = {name: iso(getattr(row, name)) for name in ("began_at", "updated_at")}
    texts = {
        "request": ReconcileRequest.from_json(orjson.loads(row.request)).as_json(),
        "position": orjson.loads(row.position),
        "report": ReconcileReport.from_json(orjson.loads(row.report)).as_json(),
    }
    return {**row._asdict(), **times, **texts, "ended_at": None if row.ended_at is None else iso(row.ended_at)}
