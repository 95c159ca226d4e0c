"""What other programs read of a change, over HTTP as from a broker."""

import orjson

from receiver.clock import iso
from receiver.domain.changes import Change

TYPE = "tracker.changed"


def write_body(change: Change) -> bytes:
    """Return JSON: `type`, `timestamp` (when we were told) and `data`; the same bytes however often it is sent."""
    return orjson.dumps({"type": TYPE, "timestamp": iso(change.received_at), "data": change.as_json()})
