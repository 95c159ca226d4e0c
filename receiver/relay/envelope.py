"""The body of a change for other programs, the same over HTTP and from a broker."""

import orjson

from receiver.clock import iso
from receiver.domain.changes import Change

TYPE = "tracker.changed"


def write_body(change: Change) -> bytes:
    """Return JSON with `type`, `timestamp` (when the delivery was received) and `data`; the same bytes at every attempt."""
    return orjson.dumps({"type": TYPE, "timestamp": iso(change.received_at), "data": change.as_json()})
