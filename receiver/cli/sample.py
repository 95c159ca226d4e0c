"""How a body that the administrator designed would be read: `receiver doctor --sample FILE --kind new-package`."""

from pathlib import Path
from typing import Any

import click

from receiver.cli.output import show_heading, show_json, show_pairs
from receiver.domain.reading import read_json
from receiver.errors import ConfigurationError, InvalidJson
from receiver.settings import Settings
from receiver.settings.files import read_named_text_file
from receiver.sources.shiipp import explain_unmapped, identify, map_item


def show_sample(settings: Settings, file: Path, kind: str, *, as_json: bool) -> None:
    """Print, for each item, our fields with the values found, the identities and the rule behind them. Exit code 1 if one has
    none.
    """
    places = settings.shiipp_new_package if kind == "new-package" else settings.shiipp_manifest_status
    root = _read_body(file)
    found = [_describe(kind, places, item) for item in (root if isinstance(root, list) else [root])]
    if as_json:
        show_json({"items": found})
    else:
        for number, item in enumerate(found, 1):
            show_heading(f"Item {number}")
            ours = [(name, item[name]) for name in ("tracker", "message", "rule", "problem")]
            show_pairs([*ours, *item["fields"].items()])
    if any(item["problem"] for item in found):
        raise click.exceptions.Exit(1)


def _read_body(file: Path) -> Any:
    """Return the body in a file. Raises ConfigurationError that names the file."""
    text = read_named_text_file(file)
    try:
        return read_json(text.encode(), exact=True)
    except InvalidJson as error:
        raise ConfigurationError(f"{file}: {error.message}") from None


def _describe(kind: str, places: Any, item: object) -> dict[str, Any]:
    if not isinstance(item, dict):
        return {"tracker": None, "message": None, "rule": None, "problem": "not an object", "fields": {}}
    mapped = map_item(kind, places, item)
    identity = identify(kind, mapped)
    if identity is None:
        problem = explain_unmapped(kind, places, mapped)
        return {"tracker": None, "message": None, "rule": None, "problem": problem, "fields": dict(mapped.values)}
    message = identity.message_id or "named when it arrives"
    return {
        "tracker": identity.tracker_id,
        "message": message,
        "rule": identity.rule,
        "problem": None,
        "fields": dict(mapped.values),
    }
