"""Shiipp: `POST` of a body that the administrator designed, an object or an array of objects, for two events.

Source: docs.aeoral.com, "Webhook payload builder", "Customer list format", "API keys", "Sync errors", "Manifests". The path tells
which event it is; nothing in the body need say so, and no identity is guaranteed.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import orjson

from receiver.domain.occurrence import to_sortable_micros
from receiver.domain.reading import MAX_ITEMS, canonical, digest, identity, label, read_json, text, trim_all
from receiver.domain.records import Event, Link, Message, Snapshot
from receiver.errors import UnexpectedShape
from receiver.sources.field_paths import Places, find_folded, is_missing, look_up, unfold

RECEIVED = "received at warehouse"
_CLOCK = re.compile(r"\d:\d\d")  # a time of day, in whatever form
_MAX_KEYS_NAMED = 20
_MAX_KEY_LETTERS = 40

# Our fields and the folded names under which they are looked for. The first of each is Shiipp's own variable; the others are the
# usual spellings and those of neighbouring products, which administrators imitate.
PACKAGE_FIELDS: Places = {
    "message_id": ("messageid",),
    "package_id": ("packageid", "package.id", "packageuuid"),
    "tracking_number": ("trackingnumber", "trackingno", "trackingnum", "trackingid", "tracking", "tn"),
    "entry_time": ("entrydatetime", "entrydate", "entrytime", "receivedat", "receiveddate", "loggedat", "createdat"),
    "house_number": ("housenumber", "houseno", "housenum", "hawb"),
    "weight": ("weight", "weightlbs", "weightlb", "weightpounds", "pounds"),
    "user_code": ("usercode", "customercode", "accountcode", "mailbox"),
    "first_name": ("firstname",),
    "last_name": ("lastname",),
    "shipper": ("shipper", "shippername", "sender"),
    "description": ("description", "contents"),
    "manifest_id": ("manifestid", "manifest.id"),
    "manifest_number": ("manifestnumber", "manifestno", "manifest.number"),
}
MANIFEST_FIELDS: Places = {
    "message_id": ("messageid",),
    "manifest_id": ("manifestid", "manifest.id", "manifestuuid"),
    "manifest_number": ("manifestnumber", "manifestno", "manifest.number", "manifestcode"),
    "status": ("status", "manifeststatus", "newstatus"),
    "time": ("statusdatetime", "statustime", "statusdate", "changedat", "updatedat", "occurredat", "timestamp"),
    "awb_number": ("awbnumber", "awbno", "awb", "masterawb", "mawb"),
    "airline_prefix": ("airlineprefix", "prefix"),
    "flight_date": ("flightdate",),
    "notes": ("notes", "note", "comment"),
    "packages": ("packages", "packageids"),
}
FIELDS = {"new-package": PACKAGE_FIELDS, "manifest-status": MANIFEST_FIELDS}


class Mapped(NamedTuple):
    """What an item says in our words: field to value as it came; fields that say nothing are absent."""

    values: Mapping[str, Any]
    keys: tuple[str, ...]

    def label(self, field: str) -> str | None:
        """Return a field as a short text."""
        return label(self.values.get(field))

    def identity(self, field: str) -> str | None:
        """Return a field as an identity."""
        return identity(self.values.get(field))


class Identity(NamedTuple):
    """Who an item is about (`tracker_id`), which message it is (None: by state), and the rule that said so."""

    tracker_id: str
    message_id: str | None
    rule: str


def map_item(kind: str, places: Places, item: Mapping[str, Any]) -> Mapped:
    """Find each of our fields: at the places that are set for it, else under its default names at any depth."""
    unfolded = unfold(item)
    values: dict[str, Any] = {}
    for field, names in FIELDS[kind].items():
        if field in places:
            found = next((value for value in (look_up(item, place) for place in places[field]) if not is_missing(value)), None)
        else:
            found = find_folded(unfolded, names)
        if found is not None:
            values[field] = found
    return Mapped(values, tuple(item))


def identify_package(mapped: Mapped) -> Identity | None:
    """Say which package and which message it is; None if nothing identifies it.

    A package is logged once, so its id (a UUID of Shiipp's, kept over its five retries) names the message too. A tracking
    number can come twice in a warehouse's life; with the time of entry it names the message, without it only the state can
    tell.
    """
    package_id, number = mapped.identity("package_id"), mapped.identity("tracking_number")
    message_id, time = mapped.identity("message_id"), mapped.label("entry_time")
    if package_id is None and number is None:
        return None
    tracker_id = package_id or _join("package:", str(number).upper())
    if message_id is not None:
        return Identity(tracker_id, message_id, "the message id that is mapped")
    if package_id is not None:
        return Identity(tracker_id, _join("package:", package_id), "the package id")
    if time is not None:
        return Identity(tracker_id, _join(tracker_id, "@", time), "the tracking number with the time of entry")
    return Identity(tracker_id, None, "the tracking number; an equal body is a duplicate while the state is its own")


def identify_manifest(mapped: Mapped) -> Identity | None:
    """Say which manifest and which message it is; None if nothing identifies it or it has no status.

    Statuses are set by hand and may go back and forth, so status alone names nothing: with a time the three together do;
    without one (a bare date cannot tell two changes of a day apart), a body equal to the one that set the present status is a
    duplicate, and shipped, ready, shipped are three changes.
    """
    manifest = mapped.identity("manifest_id") or mapped.identity("manifest_number")
    status, time, message_id = mapped.label("status"), mapped.label("time"), mapped.identity("message_id")
    if manifest is None or status is None:
        return None
    tracker_id = _join("manifest:", manifest)
    if message_id is not None:
        return Identity(tracker_id, message_id, "the message id that is mapped")
    if time is not None and _CLOCK.search(time):
        return Identity(tracker_id, _join(tracker_id, ":", status, "@", time), "the manifest with its status and time")
    return Identity(tracker_id, None, "the manifest; an equal body is a duplicate while the status is its own")


def _join(*parts: str) -> str:
    """Return parts as one identity, by its hash where it is too long for an index."""
    return identity("".join(parts)) or ""


def identify(kind: str, mapped: Mapped) -> Identity | None:
    """Say what an item of a kind is about, and which message it is; None if nothing does."""
    return identify_package(mapped) if kind == "new-package" else identify_manifest(mapped)


def make_split(kind: str, places: Places) -> Callable[[bytes], list[Message]]:
    """Return the function that splits bodies of one kind, with the places that the settings name."""
    return partial(split, kind, places)


def split(kind: str, places: Places, body: bytes) -> list[Message]:
    """Return the items of a body in their order. Raises InvalidJson or UnexpectedShape; never because of one item."""
    root = read_json(body, exact=True)  # a tracking number may come as a number, of 22 digits
    items = root if isinstance(root, list) else [root]
    if not isinstance(root, dict | list):
        raise UnexpectedShape("Expected an object, or an array of objects, as the Webhook Payload Builder makes them.")
    if len(items) > MAX_ITEMS:
        raise UnexpectedShape(f"Expected at most {MAX_ITEMS} items in one call.")
    return [_read_item(kind, places, position, item) for position, item in enumerate(items)]


def _read_item(kind: str, places: Places, position: int, item: object) -> Message:
    raw = canonical(item)
    if raw is None:
        return Message(position, b"", "", flaw="too_deep", detail="The item is nested too deeply to be read.")
    if not isinstance(item, dict):
        return Message(position, raw, digest(raw), flaw="not_an_object", detail="An item must be an object.")
    mapped = map_item(kind, places, item)
    found = identify(kind, mapped)
    if found is None:
        return Message(position, raw, digest(raw), topic=kind, flaw="unmapped", detail=explain_unmapped(kind, places, mapped))
    content = digest(canonical(trim_all(item)) or raw)  # a number that was typed and one that was scanned are equal
    make = _package if kind == "new-package" else _manifest
    return make(position, raw, content, mapped, found)


def _package(position: int, raw: bytes, content: str, mapped: Mapped, found: Identity) -> Message:
    time = mapped.label("entry_time")
    manifest = mapped.identity("manifest_id") or mapped.identity("manifest_number")
    return Message(
        position,
        raw,
        content,
        message_id=found.message_id,
        tracker_id=found.tracker_id,
        subject="package",
        topic="new-package",
        snapshot=Snapshot(
            mapped.label("tracking_number"),
            mapped.label("user_code"),
            mapped.label("house_number"),
            _details(mapped),
        ),
        events=(_event(found, RECEIVED, "received_at_warehouse", time, raw, content),),
        links=(Link(found.tracker_id, _join("manifest:", manifest)),) if manifest else (),
        is_anonymous=found.message_id is None,
    )


def _manifest(position: int, raw: bytes, content: str, mapped: Mapped, found: Identity) -> Message:
    status, time = mapped.label("status") or "", mapped.label("time")
    return Message(
        position,
        raw,
        content,
        message_id=found.message_id,
        tracker_id=found.tracker_id,
        subject="manifest",
        topic="manifest-status",
        snapshot=Snapshot(
            mapped.label("manifest_number"),
            None,
            mapped.label("awb_number"),
            _details(mapped),
        ),
        events=(_event(found, status, status.casefold(), time, raw, content),),
        links=tuple(Link(package, found.tracker_id) for package in _packages(mapped.values.get("packages"))),
        is_anonymous=found.message_id is None,
    )


def _event(found: Identity, status: str, milestone: str, time: str | None, raw: bytes, content: str) -> Event:
    """Make the one event of an item. A time in another form than the four is not a time: then arrival decides, and the row
    says so.
    """
    return Event(
        event_id=found.message_id or "",  # named when the message is
        occurrence=time if time and to_sortable_micros(time) is not None else None,
        order=None,
        status=status,
        status_code=None,
        status_category=None,
        status_milestone=milestone,
        location=None,
        courier_code=None,
        raw=raw,
        digest=content,
        ordered_by_arrival=True,
    )


def _details(mapped: Mapped) -> str:
    """Return what is mapped as JSON, times and weight as they came; the weight also as a number of pounds where it is one."""
    details = {name: value for name, value in mapped.values.items() if name != "packages"}
    if "weight" in details:
        details["weight_pounds"] = _read_pounds(details["weight"])
    return orjson.dumps(details).decode()


def _read_pounds(value: object) -> float | None:
    written = text(value) or ""
    number = written.casefold().removesuffix("lbs").removesuffix("lb").removesuffix("pounds").strip().replace(",", "")
    try:
        return float(number) if number.replace(".", "", 1).isdecimal() else None
    except ValueError:
        return None


def _packages(value: object) -> list[str]:
    """Return the tracker ids of packages that a manifest names: a list of ids, or of objects that carry one; each once."""
    found: dict[str, None] = {}
    for entry in value if isinstance(value, list) else ():
        named = entry.get("id") if isinstance(entry, dict) else entry
        package = None if is_missing(named) else identity(named)
        if isinstance(entry, dict) and (package is None or "package_id" in map_item("new-package", {}, entry).values):
            described = identify_package(map_item("new-package", {}, entry))
            package = described.tracker_id if described is not None else package
        if package is not None:
            found[package] = None
    return list(found)


def explain_unmapped(kind: str, places: Places, mapped: Mapped) -> str:
    """Say what came and what was looked for: the administrator reads it on Shiipp's Logs page. Names of keys, never values."""
    needed = ("package_id", "tracking_number") if kind == "new-package" else ("manifest_id", "manifest_number", "status")
    missing = [field for field in needed if mapped.identity(field) is None]
    looked = "; ".join(f"{field} (as {', '.join(places.get(field) or FIELDS[kind][field])})" for field in missing)
    came = ", ".join(text(key, _MAX_KEY_LETTERS) or "" for key in mapped.keys[:_MAX_KEYS_NAMED]) or "none"
    return f"Nothing identifies this item. Keys that came: {came}. Looked for: {looked}."
