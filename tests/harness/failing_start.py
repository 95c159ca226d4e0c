"""`receiver serve` with a defect after the fork of the writing process: `python -m tests.harness.failing_start WHERE`."""

import sys
from typing import Any

from receiver import service
from receiver.logs import setup
from receiver.monitoring.notifier import AlarmNotifier
from receiver.settings import load

_PARTS: dict[str, tuple[Any, str]] = {"assembly": (service, "create_app"), "start": (AlarmNotifier, "start")}


def fail(*_arguments: object) -> None:
    """Raise as a defect would."""
    raise ZeroDivisionError


if __name__ == "__main__":
    setattr(*_PARTS[sys.argv[1]], fail)
    settings = load()
    setup.configure(settings.log_format, settings.secrets())
    sys.exit(service.run(settings))
