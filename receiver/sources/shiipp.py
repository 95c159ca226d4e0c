"""Shiipp: `POST` of an object or an array of objects, for new packages and for the status of manifests.

Source: docs.aeoral.com, "Webhook payload builder", "Customer list format", "API keys", "Sync errors", "Manifests". The
administrator designs the bodies: no key and no identity is guaranteed. The path of the request says which kind it is.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import orjson

from receiver.domain.occurrence import to_sortable_micros
from receiver.domain.reading import MAX_ITEMS, digest, read_id, read_json, read_short_text, read_text, trim_all, write_canonical
from receiver.domain.records import Event, Link, Message, Snapshot
from receiver.errors import UnexpectedShape
from receiver.sources.field_paths import FieldPaths, find_value, flatten, is_missing, look_up

RECEIVED = "received at warehouse"
_CLOCK = re.compile(r"\d:\d\d")  # a time of day in any form
_MAX_KEYS_NAMED = 20
_MAX_KEY_CHARACTERS = 40
_TOO_MANY = f"Expected at most {MAX_ITEMS} items, and packages of manifests, in one delivery."

# Our fields and the normalized names of their keys. The first name is Shiipp's own variable. The others are common spellings and
# those of similar products, which administrators copy.
PACKAGE_FIELDS: FieldPaths = {
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
MANIFEST_FIELDS: FieldPaths = {
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
_NEEDED: dict[str, dict[str, tuple[str, ...]]] = {
    "new-package": {"tracking number or package ID": ("package_id", "tracking_number")},
    "manifest-status": {"manifest ID or number": ("manifest_id", "manifest_number"), "status": ("status",)},
}
"""What identifies a message of each kind: of each group, at least one field."""


class Mapped(NamedTuple):
    """The values of an item by our field names, unchanged. Missing fields are absent. `keys` are the item's own keys."""

    values: Mapping[str, Any]
    keys: tuple[str, ...]

    def read_short_text(self, field: str) -> str | None:
        """Return a field as a short text."""
        return read_short_text(self.values.get(field))

    def read_id(self, field: str) -> str | None:
        """Return a field as an identity."""
        return read_id(self.values.get(field))


class Identity(NamedTuple):
    """The tracker id and the message id of an item, and the rule that derived them, for people.

    `message_id` None: only a comparison with the tracker's current state can identify the message.
    """

    tracker_id: str
    message_id: str | None
    rule: str


def map_item(kind: str, field_paths: FieldPaths, item: Mapping[str, Any]) -> Mapped:
    """Find each of our fields: at its field paths in the settings if there are any, else under its default names at any depth."""
    flattened = flatten(item)
    values: dict[str, Any] = {}
    for field, names in FIELDS[kind].items():
        if field in field_paths:
            found = next((value for value in (look_up(item, path) for path in field_paths[field]) if not is_missing(value)), None)
        else:
            found = find_value(flattened, names)
        if found is not None:
            values[field] = found
    return Mapped(values, tuple(item))


def identify_package(mapped: Mapped) -> Identity | None:
    """Return the identity of a package message, or None if nothing identifies it.

    A package is logged once, so its id (a UUID made by Shiipp, the same in all five retries) identifies the message too. A
    warehouse may see a tracking number twice, years apart. With the time of entry it identifies the message; without a time, only
    the current state can.
    """
    package_id, number = mapped.read_id("package_id"), mapped.read_id("tracking_number")
    message_id, time = mapped.read_id("message_id"), mapped.read_short_text("entry_time")
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
    """Return the identity of a manifest message, or None if nothing identifies it or it has no status.

    People set the status by hand, back and forth. If there is a time of day, manifest, status and time identify the message. A
    bare date does not distinguish two changes on one day. In that case, and without a time, a body is a duplicate if it equals
    the body that set the current status; so shipped, ready, shipped are three changes.
    """
    manifest = mapped.read_id("manifest_id") or mapped.read_id("manifest_number")
    status, time, message_id = mapped.read_short_text("status"), mapped.read_short_text("time"), mapped.read_id("message_id")
    if manifest is None or status is None:
        return None
    tracker_id = _join("manifest:", manifest)
    if message_id is not None:
        return Identity(tracker_id, message_id, "the message id that is mapped")
    if time is not None and _CLOCK.search(time):
        return Identity(tracker_id, _join(tracker_id, ":", status, "@", time), "the manifest with its status and time")
    return Identity(tracker_id, None, "the manifest; an equal body is a duplicate while the status is its own")


def _join(*parts: str) -> str:
    """Join parts into one identity. It becomes a hash if it is too long for an index."""
    return read_id("".join(parts)) or ""


def identify(kind: str, mapped: Mapped) -> Identity | None:
    """Return the identity of an item of a kind, or None if nothing identifies it."""
    return identify_package(mapped) if kind == "new-package" else identify_manifest(mapped)


def make_split(kind: str, field_paths: FieldPaths) -> Callable[[bytes], list[Message]]:
    """Return the function that splits bodies of one kind, with the field paths of the settings."""
    return partial(split, kind, field_paths)


def split(kind: str, field_paths: FieldPaths, body: bytes) -> list[Message]:
    """Return the items of a body in their order. Raises InvalidJson or UnexpectedShape, never for what an item means."""
    root = read_json(body, exact=True)  # a tracking number may be a JSON number of 22 digits
    items = root if isinstance(root, list) else [root]
    if not isinstance(root, dict | list):
        raise UnexpectedShape("Expected an object, or an array of objects, as the Webhook Payload Builder makes them.")
    if len(items) > MAX_ITEMS:
        raise UnexpectedShape(_TOO_MANY)
    messages, packages = list[Message](), 0
    for position, item in enumerate(items):
        messages.append(_read_item(kind, field_paths, position, item))
        packages += len(messages[-1].links) if kind == "manifest-status" else 0
        if len(items) + packages > MAX_ITEMS:
            raise UnexpectedShape(_TOO_MANY)
    return messages


def _read_item(kind: str, field_paths: FieldPaths, position: int, item: object) -> Message:
    raw = write_canonical(item)
    if raw is None:
        return Message(position, b"", "", quarantine_reason="too_deep", detail="The item is nested too deeply to be read.")
    if not isinstance(item, dict):
        return Message(position, raw, digest(raw), quarantine_reason="not_an_object", detail="An item must be an object.")
    mapped = map_item(kind, field_paths, item)
    found = identify(kind, mapped)
    if found is None:
        detail = explain_unmapped(kind, field_paths, mapped)
        return Message(position, raw, digest(raw), topic=kind, quarantine_reason="unmapped", detail=detail)
    content = digest(write_canonical(trim_all(item)) or raw)  # typed and scanned numbers differ in white space
    make = _make_package if kind == "new-package" else _make_manifest
    return make(position, raw, content, mapped, found)


def _make_package(position: int, raw: bytes, content: str, mapped: Mapped, found: Identity) -> Message:
    time = mapped.read_short_text("entry_time")
    manifest = mapped.read_id("manifest_id") or mapped.read_id("manifest_number")
    return Message(
        position,
        raw,
        content,
        message_id=found.message_id,
        tracker_id=found.tracker_id,
        subject="package",
        topic="new-package",
        snapshot=Snapshot(
            mapped.read_short_text("tracking_number"),
            mapped.read_short_text("user_code"),
            mapped.read_short_text("house_number"),
            _details(mapped),
        ),
        events=(_make_event(found, RECEIVED, "received_at_warehouse", time, raw, content),),
        links=(Link(found.tracker_id, _join("manifest:", manifest)),) if manifest else (),
        is_anonymous=found.message_id is None,
    )


def _make_manifest(position: int, raw: bytes, content: str, mapped: Mapped, found: Identity) -> Message:
    status, time = mapped.read_short_text("status") or "", mapped.read_short_text("time")
    return Message(
        position,
        raw,
        content,
        message_id=found.message_id,
        tracker_id=found.tracker_id,
        subject="manifest",
        topic="manifest-status",
        snapshot=Snapshot(
            mapped.read_short_text("manifest_number"),
            None,
            mapped.read_short_text("awb_number"),
            _details(mapped),
        ),
        events=(_make_event(found, status, status.casefold(), time, raw, content),),
        links=tuple(Link(package, found.tracker_id) for package in _read_packages(mapped.values.get("packages"))),
        is_anonymous=found.message_id is None,
    )


def _make_event(found: Identity, status: str, milestone: str, time: str | None, raw: bytes, content: str) -> Event:
    """Make the one event of an item. If its time has none of the four forms, the order of arrival decides."""
    return Event(
        event_id=found.message_id or "",  # an anonymous message gives its id to its event (`batch_messages.name_anonymous`)
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
    """Return the mapped values as JSON, unchanged. If the weight is a number, add it in pounds."""
    details = {name: value for name, value in mapped.values.items() if name != "packages"}
    if "weight" in details:
        details["weight_pounds"] = _read_pounds(details["weight"])
    return orjson.dumps(details).decode()


def _read_pounds(value: object) -> float | None:
    written = read_text(value) or ""
    number = written.casefold().removesuffix("lbs").removesuffix("lb").removesuffix("pounds").strip().replace(",", "")
    try:
        return float(number) if number.replace(".", "", 1).isdecimal() else None
    except ValueError:
        return None


def _read_packages(value: object) -> list[str]:
    """Return the tracker ids of the packages in a manifest, each once. `value` is a list of ids, or of objects with an id."""
    if isinstance(value, list) and len(value) > MAX_ITEMS:
        raise UnexpectedShape(_TOO_MANY)
    found: dict[str, None] = {}
    for entry in value if isinstance(value, list) else ():
        named = entry.get("id") if isinstance(entry, dict) else entry
        package = None if is_missing(named) else read_id(named)
        if isinstance(entry, dict) and (package is None or "package_id" in map_item("new-package", {}, entry).values):
            described = identify_package(map_item("new-package", {}, entry))
            package = described.tracker_id if described is not None else package
        if package is not None:
            found[package] = None
    return list(found)


def explain_unmapped(kind: str, field_paths: FieldPaths, mapped: Mapped) -> str:
    """Return which identifiers are missing, the received keys and the expected ones, but no values.

    The administrator reads this on Shiipp's Logs page.
    """
    missing = {name: fields for name, fields in _NEEDED[kind].items() if all(mapped.read_id(field) is None for field in fields)}
    expected = "; and one of: ".join(
        ", ".join(f"{field} (as {', '.join(field_paths.get(field) or FIELDS[kind][field])})" for field in fields)
        for fields in missing.values()
    )
    received = ", ".join(read_text(key, _MAX_KEY_CHARACTERS) or "" for key in mapped.keys[:_MAX_KEYS_NAMED]) or "no keys"
    return f"No {' and no '.join(missing)} found. Received: {received}. Expected one of: {expected}."
