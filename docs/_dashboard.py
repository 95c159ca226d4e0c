"""`config/grafana-dashboard.json`, made from the metrics of `/metrics`: `make dashboard-file` writes it."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

FILE = Path(__file__).parents[1] / "config" / "grafana-dashboard.json"

_DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
_WIDTH = 24  # columns of Grafana's grid
_HEIGHTS = {"stat": 4, "timeseries": 8}


class Panel(NamedTuple):
    """A panel: what it shows, in which unit of Grafana, and its queries with the text of their legends."""

    title: str
    meaning: str
    unit: str
    queries: Sequence[tuple[str, str]]
    kind: str = "timeseries"


class Section(NamedTuple):
    """A row of the dashboard with its panels, side by side."""

    title: str
    panels: Sequence[Panel]


_RATE = "[$__rate_interval]"
_OWN = 'instance=~"$instance"'

SECTIONS = (
    Section(
        "Now",
        (
            Panel("Ready", "1 if every check of /readyz passes", "none", [(f"min(receiver_check_passed{{{_OWN}}})", "")], "stat"),
            Panel(
                "Alarms",
                "alarms that are on",
                "none",
                [("count(max by (alarm, subject) (receiver_alarm)) or vector(0)", "")],
                "stat",
            ),
            Panel("Receivers", "receivers that serve", "none", [('max(receiver_processes{role="receiver"})', "")], "stat"),
            Panel("Relays", "relays that run", "none", [('max(receiver_processes{role="relay"})', "")], "stat"),
            Panel("Version", "version of each receiver", "none", [("count by (version) (receiver_info)", "{{version}}")], "stat"),
            Panel(
                "Last delivery",
                "time since the last accepted delivery of each source",
                "s",
                [("time() - max by (source) (receiver_last_call_timestamp_seconds)", "{{source}}")],
                "stat",
            ),
        ),
    ),
    Section(
        "Deliveries",
        (
            Panel(
                "Deliveries",
                "deliveries in a second, by source and response",
                "reqps",
                [(f"sum by (source, status) (rate(receiver_calls_total{{{_OWN}}}{_RATE}))", "{{source}} {{status}}")],
            ),
            Panel(
                "Rejected",
                "rejected and invalid deliveries in a second, by cause; wrong ops tokens; unknown paths",
                "reqps",
                [
                    (f"sum by (source, code) (rate(receiver_refused_total{{{_OWN}}}{_RATE}))", "{{source}} {{code}}"),
                    (f"sum by (source, cause) (rate(receiver_unauthorized_total{{{_OWN}}}{_RATE}))", "{{source}} {{cause}}"),
                    (f"sum by (area) (rate(receiver_ops_refused_total{{{_OWN}}}{_RATE}))", "ops token, {{area}}"),
                    (f"sum(rate(receiver_unknown_paths_total{{{_OWN}}}{_RATE}))", "unknown path"),
                ],
            ),
            Panel(
                "Messages",
                "messages in a second, by outcome",
                "cps",
                [(f"sum by (outcome) (rate(receiver_messages_total{{{_OWN}}}{_RATE}))", "{{outcome}}")],
            ),
            Panel(
                "Delay",
                "from the event to its arrival, in the last hour",
                "s",
                [("max by (source, quantile) (receiver_lag_seconds)", "{{source}} {{quantile}}")],
            ),
        ),
    ),
    Section(
        "Storage",
        (
            Panel(
                "Time of a commit",
                "with the sync of the disk, and with PostgreSQL the synchronous standby",
                "s",
                [
                    (f"histogram_quantile({share}, sum by (le) (rate(receiver_commit_seconds_bucket{{{_OWN}}}{_RATE})))", legend)
                    for share, legend in ((0.5, "median"), (0.99, "99 of 100"))
                ],
            ),
            Panel(
                "Deliveries in a commit",
                "average; it grows with the load",
                "none",
                [
                    (
                        f"sum(rate(receiver_batch_deliveries_sum{{{_OWN}}}{_RATE}))"
                        f" / sum(rate(receiver_batch_deliveries_count{{{_OWN}}}{_RATE}))",
                        "average",
                    )
                ],
            ),
            Panel(
                "Queue",
                "deliveries that wait for their commit, and the limit",
                "none",
                [
                    (f"receiver_queue_deliveries{{{_OWN}}}", "{{instance}}"),
                    (f"min(receiver_queue_limit_deliveries{{{_OWN}}})", "limit"),
                ],
            ),
            Panel(
                "Space",
                "size of the database; free space of the disk under SQLite",
                "bytes",
                [("max(receiver_database_bytes)", "database"), (f"receiver_disk_free_bytes{{{_OWN}}}", "free, {{instance}}")],
            ),
        ),
    ),
    Section(
        "Targets and recovery",
        (
            Panel(
                "Waiting changes",
                "changes that wait for each target, and those whose last attempt failed",
                "none",
                [
                    ("max by (target) (receiver_target_waiting)", "{{target}}"),
                    ("max by (target) (receiver_target_failures)", "{{target}}, failed"),
                ],
            ),
            Panel(
                "Oldest waiting change",
                "its age, for each target",
                "s",
                [("max by (target) (receiver_target_oldest_age_seconds)", "{{target}}")],
            ),
            Panel(
                "Dead-lettered",
                "changes whose attempts all failed",
                "none",
                [("max by (target) (receiver_target_dead)", "{{target}}")],
            ),
            Panel(
                "Brought in",
                "messages brought in by import and reconciliation, in an hour",
                "none",
                [("sum by (origin, outcome) (increase(receiver_imported_messages_total[1h]))", "{{origin}} {{outcome}}")],
            ),
        ),
    ),
    Section(
        "Process",
        (
            Panel(
                "CPU",
                "seconds of CPU in a second, without the writing process",
                "none",
                [(f'rate(process_cpu_seconds_total{{job="receiver", {_OWN}}}{_RATE})', "{{instance}}")],
            ),
            Panel(
                "Memory",
                "resident, without the writing process",
                "bytes",
                [(f'process_resident_memory_bytes{{job="receiver", {_OWN}}}', "{{instance}}")],
            ),
            Panel(
                "Open files",
                "each connection is one",
                "none",
                [
                    (f'process_open_fds{{job="receiver", {_OWN}}}', "{{instance}}"),
                    (f'min(process_max_fds{{job="receiver", {_OWN}}})', "limit"),
                ],
            ),
            Panel(
                "Failures of this program",
                "messages that it failed to process, and log lines that it could not write, in an hour",
                "none",
                [
                    ("sum by (source) (increase(receiver_undecidable_total[1h]))", "{{source}}"),
                    ("sum(increase(receiver_log_lines_dropped_total[1h]))", "log lines"),
                ],
            ),
        ),
    ),
)
"""What the dashboard shows."""


def make_dashboard() -> str:
    """Return the text of the file."""
    dashboard = {
        "uid": "parcel-receiver",
        "title": "Parcel webhook receiver",
        "tags": ["receiver"],
        "timezone": "utc",
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-24h", "to": "now"},
        "templating": {"list": [_DATASOURCE_VARIABLE, _INSTANCE_VARIABLE]},
        "annotations": {"list": [_ALARM_ANNOTATION]},
        "panels": list(_lay_out()),
    }
    return json.dumps(dashboard, indent=2) + "\n"


_DATASOURCE_VARIABLE = {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}
_INSTANCE_VARIABLE = {
    "name": "instance",
    "label": "Receiver",
    "type": "query",
    "datasource": _DATASOURCE,
    "query": {"query": "label_values(receiver_info, instance)", "refId": "instance"},
    "refresh": 2,
    "multi": True,
    "includeAll": True,
    "allValue": ".*",
    "current": {"text": "All", "value": "$__all"},
}
_ALARM_ANNOTATION = {
    "name": "Alarms",
    "datasource": _DATASOURCE,
    "enable": True,
    "iconColor": "red",
    "expr": "max by (alarm, subject) (receiver_alarm)",
    "titleFormat": "{{alarm}}",
    "textFormat": "{{subject}}",
}


def _lay_out() -> Iterator[dict[str, Any]]:
    """Yield the rows and panels with their places on the grid."""
    top, number = 0, 1
    for section in SECTIONS:
        yield {
            "id": number,
            "type": "row",
            "title": section.title,
            "collapsed": False,
            "panels": [],
            "gridPos": _place(0, top, 24, 1),
        }
        top, number, width = top + 1, number + 1, _WIDTH // len(section.panels)
        height = _HEIGHTS[section.panels[0].kind]
        for column, panel in enumerate(section.panels):
            yield _draw(panel, number) | {"gridPos": _place(column * width, top, width, height)}
            number += 1
        top += height


def _place(left: int, top: int, width: int, height: int) -> dict[str, int]:
    return {"x": left, "y": top, "w": width, "h": height}


def _draw(panel: Panel, number: int) -> dict[str, Any]:
    targets = [
        {"refId": chr(ord("A") + place), "datasource": _DATASOURCE, "expr": query, "legendFormat": legend or "__auto"}
        for place, (query, legend) in enumerate(panel.queries)
    ]
    shown = {"reduceOptions": {"calcs": ["lastNotNull"]}, "textMode": "auto"} if panel.kind == "stat" else _TOOLTIP
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": f"{panel.meaning[:1].upper()}{panel.meaning[1:]}.",
        "datasource": _DATASOURCE,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": shown,
        "targets": targets,
    }


_TOOLTIP = {"tooltip": {"mode": "multi", "sort": "desc"}, "legend": {"displayMode": "list", "placement": "bottom"}}


if __name__ == "__main__":
    FILE.write_text(make_dashboard(), encoding="utf-8")
