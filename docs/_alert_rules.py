"""The alerts of `config/prometheus-rules.yaml`, read for the documentation and the tests."""

import re
from pathlib import Path
from typing import NamedTuple

FILE = Path(__file__).parents[1] / "config" / "prometheus-rules.yaml"

_RULE = re.compile(
    r"- alert: (?P<name>\w+)\n +expr: (?P<expression>.+)\n"
    r"(?: +for: (?P<wait>\w+)\n)? +labels: \{ severity: (?P<severity>\w+) \}\n"
    r' +annotations:\n +summary: "(?P<summary>.+)"\n +description: "(?P<description>.+)"\n'
)


class AlertRule(NamedTuple):
    """An alert; `wait` is how long the expression must hold, such as `5m`, or empty."""

    name: str
    expression: str
    wait: str
    severity: str
    summary: str
    description: str


def read_alert_rules() -> list[AlertRule]:
    """Return the alerts in the order of the file."""
    text = FILE.read_text(encoding="utf-8")
    found = [AlertRule(**rule.groupdict(default="")) for rule in _RULE.finditer(text)]
    assert len(found) == text.count("- alert:"), "an alert lacks a part, or has them in another order"
    return found
