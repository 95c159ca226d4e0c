"""The reference pages, made from the code when the documentation is built.

A page under `docs/reference/` holds its introduction and lines `<!-- made: NAME -->`. Each is replaced by the part of that name.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from inspect import getdoc
from types import SimpleNamespace
from typing import Any, get_args

import click
from prometheus_client.core import Metric
from pydantic.fields import FieldInfo

from docs._alert_rules import read_alert_rules
from docs._dashboard import SECTIONS
from receiver import errors
from receiver.cli import commands
from receiver.clock import to_micros
from receiver.domain import alarms
from receiver.domain.customers import CUSTOMERS_PATH
from receiver.domain.processes import Processes, ProcessRow
from receiver.domain.traffic import Traffic
from receiver.monitoring.metrics import MeasuredState, Metrics, describe_state
from receiver.settings import Settings
from receiver.sources import make_sources
from receiver.storage.additions import Addition, explain_additions
from receiver.web.api.openapi import describe
from receiver.writer.counters import Counters
from tests.test_architecture import MAY_IMPORT

_PLACE = re.compile(r"^<!-- made: (\w+) -->$", re.MULTILINE)
_DATABASE = "sqlite:///not-there.db"  # nothing is read from it
_WIDTH = 80
_BOUNDS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the made parts into a page. Raises KeyError for a name that nothing makes."""
    return _PLACE.sub(lambda place: MAKERS[place[1]](), markdown)


def make_settings() -> str:
    """Return a table of all settings: variable, default, bounds, meaning."""
    rows = [
        (f"`RECEIVER_{name.upper()}`", _show_default(field), "; ".join(_bounds_of(field)), field.description or "")
        for name, field in Settings.model_fields.items()
    ]
    return _table(("variable", "default", "values", "meaning"), rows)


def _show_default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or value in ((), {}):
        return "none"
    if isinstance(value, tuple):
        return ", ".join(f"`{str(item).removesuffix('/32')}`" for item in value)
    return f"`{value}`"


def _bounds_of(field: FieldInfo) -> Iterator[str]:
    """Give the bounds of a field and of the types in it, in words."""
    inner = [part for kind in (field.annotation, *get_args(field.annotation)) for part in getattr(kind, "__metadata__", ())]
    for part in [*field.metadata, *(bound for found in inner for bound in getattr(found, "metadata", ()))]:
        yield from (f"{words} {getattr(part, name):,}" for name, words in _BOUNDS.items() if hasattr(part, name))
    if all(isinstance(choice, str) for choice in get_args(field.annotation)):
        yield from ([" or ".join(f"`{choice}`" for choice in get_args(field.annotation))] if get_args(field.annotation) else [])


def make_commands() -> str:
    """Return the help of every command, as headings and code blocks."""
    return "\n".join(_describe(commands, _context(commands, "receiver"), 2))


def _describe(command: click.Command, context: click.Context, level: int) -> Iterator[str]:
    if level > 2 or not isinstance(command, click.Group):
        yield f"{'#' * level} `{context.command_path}`\n"
        yield f"```text\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from _describe(child, _context(child, name, context), level + 1)


def _context(command: click.Command, name: str, parent: click.Context | None = None) -> click.Context:
    return click.Context(command, info_name=name, parent=parent, terminal_width=_WIDTH)


def make_api() -> str:
    """Return every path of the OpenAPI document: summary, parameters, fields of its body, answers."""
    document = describe(make_sources({}, {}), CUSTOMERS_PATH)
    schemas = document["components"]["schemas"]
    return "\n".join(
        _describe_operation(f"{method.upper()} {path}", operation, schemas)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    )


def _describe_operation(name: str, operation: Mapping[str, Any], schemas: Mapping[str, Any]) -> str:
    rows = [_describe_field(given["name"], given["in"], given["schema"], given) for given in operation.get("parameters", ())]
    for content in operation.get("requestBody", {}).get("content", {}).values():
        body = schemas.get(content["schema"].get("$ref", "").rpartition("/")[2], {})
        rows += [_describe_field(field, "body", schema, schema) for field, schema in body.get("properties", {}).items()]
    answers = operation["responses"]
    good = [f"{status}: {answer['description'].rstrip('.')}." for status, answer in answers.items() if status < "400"]
    failures = ", ".join(sorted(status for status in answers if status >= "400"))
    table = _table(("name", "in", "type", "meaning"), rows) if rows else ""
    lines = [
        f"## `{name}`",
        f"{operation['summary'].rstrip('.?')}.",
        table,
        " ".join(good),
        f"Errors: {failures}." if failures else "",
    ]
    return "\n\n".join(filter(None, lines)) + "\n"


def _describe_field(name: str, place: str, schema: Mapping[str, Any], described: Mapping[str, Any]) -> tuple[str, ...]:
    return (f"`{name}`", place, _show_schema(schema), described.get("description", ""))


def _show_schema(schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_show_schema(choice) for choice in schema["anyOf"] if choice.get("type") != "null")
    if "enum" in schema:
        return ", ".join(f"`{choice}`" for choice in schema["enum"])
    bounds = " to ".join(str(schema[bound]) for bound in ("minimum", "maximum") if bound in schema)
    return " ".join(filter(None, (str(schema.get("type", "")), str(schema.get("format", "")), bounds)))


def make_metrics() -> str:
    """Return a table of all metrics: name, type, labels, help."""
    rows = [
        (f"`{family.name}{'_total' * (family.type == 'counter')}`", family.type, _labels_of(family), family.documentation)
        for family in sorted(_collect_metrics(), key=lambda family: family.name)
    ]
    return _table(("metric", "type", "labels", "meaning"), rows)


def _collect_metrics() -> list[Metric]:
    """Return every metric of the service, without figures."""
    counters = Counters()
    waiting: Any = SimpleNamespace(waiting=lambda: 0, max_waiting=0)
    absent: Any = None
    Metrics(counters, waiting, "127.0.0.1", absent, absent, absent, {}, (), absent)  # it registers itself
    return [
        *counters.registry.collect(),
        *describe_state(MeasuredState(0, {}, {}, [], [], {}, Processes(), 0, alarms.Disk(0, 0))),
    ]


def _labels_of(family: Metric) -> str:
    return ", ".join(f"`{name}`" for name in getattr(family, "_labelnames", ()))


def make_alarms() -> str:
    """Return each alarm with its message, from facts in which everything is wrong."""
    found = {alarm.name: alarm.message for alarm in _raise_alarms()}
    return _table(("alarm", "message"), [(f"`{name}`", message) for name, message in sorted(found.items())])


def _raise_alarms() -> list[alarms.Alarm]:
    now = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
    start, hour_ago = to_micros(now - timedelta(days=20)), to_micros(now - timedelta(hours=2))
    given = {"ship24_tokens": "old:secret", "ship24_silence_hours": 26, "token_ends": {"ship24:old": date(2026, 11, 30)}}
    rules = Settings.model_validate(given).alarm_rules()
    traffic = Traffic(to_micros(now - timedelta(hours=30)), None, 120, 12, 60, 90, 3)
    knowing = ProcessRow("1", "receiver", "host1", 101, "0", start, to_micros(now), ("shop",))
    other = ProcessRow("2", "receiver", "host2", 102, "0", start, to_micros(now), ())
    waiting = {"shop": hour_ago}
    running, disk = Processes((knowing, other), ()), alarms.Disk(5 * 2**30, 100 * 2**30)
    added = explain_additions([Addition("messages", "constraint", "topics")])
    facts = alarms.AlarmFacts(start, {"ship24": traffic}, disk, waiting, running, {"url": True}, {"ship24": 3}, added)
    return alarms.find_alarms(facts, rules, to_micros(now), frozenset())


def make_errors() -> str:
    """Return a table of all error codes: status, code, `Retry-After`, meaning."""
    found = {cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, errors.ReceiverError)}
    coded = {cls for cls in found if "code" in vars(cls)} - {errors.ReceiverError} | {errors.ReadingFailed}
    rows = [
        (str(cls.status), f"`{cls.code}`", f"{cls.retry_after_seconds or ''}", (getdoc(cls) or "").partition("\n\n")[0])
        for cls in sorted(coded, key=lambda cls: (cls.status, cls.code))
    ]
    return _table(("status", "code", "`Retry-After`", "meaning"), rows)


def _table(head: tuple[str, ...], rows: list[Any]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return (
        "\n".join(f"| {' | '.join(cell.replace('|', '&#124;').replace(chr(10), ' ') for cell in line)} |" for line in lines)
        + "\n"
    )


def make_alerts() -> str:
    """Return a table of the alerts for Prometheus."""
    rows = [(f"`{rule.name}`", rule.severity, f"`{rule.expression}`", rule.wait or "at once") for rule in read_alert_rules()]
    return _table(("alert", "severity", "fires when", "for"), rows)


def make_panels() -> str:
    """Return a table of the panels of the dashboard."""
    rows = [(section.title, panel.title, panel.meaning) for section in SECTIONS for panel in section.panels]
    return _table(("row", "panel", "shows"), rows)


def make_imports() -> str:
    """Return which package imports which, the one that nobody imports first."""
    rows = [(f"`{room}`", ", ".join(f"`{other}`" for other in named.split())) for room, named in reversed(MAY_IMPORT.items())]
    return _table(("package", "imports"), rows)


MAKERS: dict[str, Callable[[], str]] = {
    "settings": make_settings,
    "commands": make_commands,
    "api": make_api,
    "metrics": make_metrics,
    "alarms": make_alarms,
    "alerts": make_alerts,
    "panels": make_panels,
    "errors": make_errors,
    "imports": make_imports,
}
