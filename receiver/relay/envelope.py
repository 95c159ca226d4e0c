"""The JSON body of a change, the same for HTTP targets and brokers."""

import orjson

from receiver.clock import iso
from receiver.domain.changes import Change

TYPE = "tracker.changed"


def write_body(change: Change) -> bytes:
    """Return JSON with `type`, `timestamp` (arrival of the delivery) and `data`. Every attempt has the same bytes."""
    return orjson.dumps({"type": TYPE, "timestamp": iso(change.received_at), "data": change.as_json()})
