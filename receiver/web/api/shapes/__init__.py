"""The shapes of what the API answers; they are checked against what it really answers in the tests.

Moments are ISO 8601 UTC with milliseconds; `occurrence` and `latest_occurrence` are the courier's text as written.
"""

from receiver.web.api.shapes.calls import DeliveryAnswer, DeliveryList, QuarantineList
from receiver.web.api.shapes.parcels import MessageAnswer, TrackerAnswer, TrackerList
from receiver.web.api.shapes.replay import ReplayAnswer
from receiver.web.api.shapes.retention import ForgetAnswer, PruneAnswer
from receiver.web.api.shapes.root import CallOutcome, ErrorAnswer, Schema
from receiver.web.api.shapes.service import (
    Alarms,
    Audit,
    CustomersAnswer,
    Dead,
    DropAnswer,
    ResumeAnswer,
    RetryAnswer,
    StatisticsAnswer,
    Targets,
    WindowAnswer,
)

__all__ = [
    "Alarms",
    "Audit",
    "CallOutcome",
    "CustomersAnswer",
    "Dead",
    "DeliveryAnswer",
    "DeliveryList",
    "DropAnswer",
    "ErrorAnswer",
    "ForgetAnswer",
    "MessageAnswer",
    "PruneAnswer",
    "QuarantineList",
    "ReplayAnswer",
    "ResumeAnswer",
    "RetryAnswer",
    "Schema",
    "StatisticsAnswer",
    "Targets",
    "TrackerAnswer",
    "TrackerList",
    "WindowAnswer",
]
