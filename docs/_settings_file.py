"""`config/receiver.toml`, made from the descriptions of the settings: `make settings-file` writes it."""

from pathlib import Path
from textwrap import wrap
from typing import Any

from pydantic.fields import FieldInfo

from receiver.settings import Settings
from receiver.settings.loading import NEVER_IN_FILE
from receiver.sources.shiipp import FIELDS

FILE = Path(__file__).parents[1] / "config" / "receiver.toml"

_WIDTH = 130
_HEADER = """\
Settings that are not secret. The environment (RECEIVER_ and the name in capitals) takes precedence over this file. Each setting
shows its default, or an example where there is none. To set it, remove the `#` in front of its name. An unknown name is an error.
Secrets are not read from here. The tables at the end must stay at the end."""
EXAMPLES: dict[str, str] = {
    "ship24_silence_hours": "26",
    "shiipp_silence_hours": "26",
    "alarm_command": "\"/usr/local/bin/tell --to 'the operators'\"",
    "handlers": '["shop.parcels"]',
}
"""Values of settings without a default."""

TABLES = {
    "shiipp_new_package": 'tracking_number = ["parcel.ref", "/numbers/0"]',
    "shiipp_manifest_status": 'status = ["manifest.state"]',
    "token_ends": '"ship24:old" = 2026-12-31',
    "targets": """\
name = "shop"
url = "https://shop.example/parcels"           # or "nats://broker.example:4222"
sources = ["ship24"]                           # not set: all
milestones = ["delivered", "exception"]        # milestones after the change; not set: all
milestone_changed = false                      # true: only if the milestone is another one than before
basis = "events"                               # "shipment": changes of the sender's own milestone
timeout_seconds = 15
allow_private = false                          # true: the URL may be in a private network; a broker always may
subject = "receiver.changes"                   # of NATS; a stream must store it\
""",
}
"""Settings that are tables, with an example."""

_FIELDS = {"shiipp_new_package": "new-package", "shiipp_manifest_status": "manifest-status"}


def make_settings_file() -> str:
    """Return the text of the file."""
    fields = {name: field for name, field in Settings.model_fields.items() if name not in NEVER_IN_FILE}
    plain = [_write(name, field) for name, field in fields.items() if name not in TABLES]
    tables = [_write_table(name, fields[name]) for name in TABLES]
    return "\n\n".join([_comment(_HEADER), *plain, *tables]) + "\n"


def _write(name: str, field: FieldInfo) -> str:
    return f"{_comment(field.description or '')}\n#{name} = {EXAMPLES.get(name) or _value(field.get_default())}"


def _write_table(name: str, field: FieldInfo) -> str:
    description = (field.description or "").removeprefix("In the file only: ")
    if name in _FIELDS:
        description = f"{description} The fields: {', '.join(FIELDS[_FIELDS[name]])}."
    head = f"[[{name}]]" if name == "targets" else f"[{name}]"
    lines = [head, *TABLES[name].splitlines()]
    return "\n".join([_comment(description[:1].upper() + description[1:]), *(f"#{line}" for line in lines)])


def _comment(text: str) -> str:
    return "\n".join(f"# {line}" for line in wrap(" ".join(text.split()), _WIDTH - 2, break_on_hyphens=False))


def _value(value: Any) -> str:
    """Return a default in TOML."""
    if isinstance(value, tuple):
        return f"[{', '.join(_value(str(item).removesuffix('/32')) for item in value)}]"
    return f'"{value}"' if isinstance(value, str) else str(value)


if __name__ == "__main__":
    FILE.write_text(make_settings_file(), encoding="utf-8")
