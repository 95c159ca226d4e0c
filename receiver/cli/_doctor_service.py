"""Checks of `doctor` that build what `serve` builds, and ask the running service for what it has loaded."""

import errno
import os
from collections.abc import Iterator, Sequence

from receiver import __version__, service
from receiver.cli._doctor_endpoints import Finding
from receiver.cli._output import zoned
from receiver.cli._remote import ask_readiness
from receiver.clock import iso
from receiver.domain.processes import ProcessRow, local_url
from receiver.errors import ConfigurationError, ReceiverError
from receiver.relay.assembly import ConfiguredTarget
from receiver.settings import Settings
from receiver.settings.fingerprints import find_differing
from receiver.settings.record import PREFIX
from receiver.web.server import listen

_READY_SECONDS = 2.0


def check_assembly(
    settings: Settings, services: Sequence[ProcessRow]
) -> tuple[Sequence[ConfiguredTarget] | None, Sequence[Finding]]:
    """Build the targets, the handlers and the application, and open the port: `serve` fails for the same reasons.

    Return the targets (None: they cannot be built), and the findings.
    """
    known: Sequence[ConfiguredTarget] | None = None
    try:
        known = service.try_targets(settings)
        service.try_application(settings)
        finding = Finding("ok", "start", "the service can build its targets, handlers and pages")
    except ReceiverError as error:
        finding = Finding("fail", "start", f"the service would not start: {error.message}")
    return known, (finding, _check_port(settings, services))


def _check_port(settings: Settings, services: Sequence[ProcessRow]) -> Finding:
    where = f"{settings.host}, port {settings.port}"
    try:
        listen(settings).close()
    except ConfigurationError as error:
        address = local_url(settings.host, settings.port)
        for row in services:
            if row.address in (None, address) and ask_readiness(settings, _READY_SECONDS) is not None:
                return Finding("ok", "port", f"{where}: in use by the running service (process {row.process_id})")
        other = " Another program uses it" if os.strerror(errno.EADDRINUSE) in error.message else ""
        return Finding("fail", "port", f"the service would not start: {error.message}{other}")
    return Finding("ok", "port", f"{where}: free")


def check_loaded(settings: Settings, services: Sequence[ProcessRow]) -> Iterator[Finding]:
    """Compare the version and the settings of each running service with those of this command."""
    for row in services:
        differing = [f"{PREFIX}{name.upper()}" for name in find_differing(row.settings, settings)]
        still = [f"version {row.program} (installed: {__version__})"] if row.program != __version__ else []
        still += [f"other values of {', '.join(differing)}"] if differing else []
        name = f"process {row.process_id} at {row.address or 'an unknown port'}, running since {zoned(iso(row.started_at))}"
        if still:
            yield Finding("warn", "service", f"restart needed: the running service still has {' and '.join(still)} ({name})")
        else:
            yield Finding("ok", "service", f"{name}, with this version and these settings")
