"""Variables that Kubernetes or Docker set for a service or container named `receiver`. They look like settings.

Sources: kubernetes.io, "Service", "Environment variables"; docs.docker.com, "Legacy container links", "Environment variables".
"""

import re
from collections.abc import Mapping

_LINK = re.compile(
    r"RECEIVER_(?:[A-Z0-9_]+_)?"  # a service named receiver-db sets RECEIVER_DB_…
    r"(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR|START|END))?)"
    r"|RECEIVER_ENV_.+",
    re.ASCII,
)
_PORT = re.compile(r"RECEIVER_(?:[A-Z0-9_]+_)?PORT", re.ASCII)
_PORT_URL = re.compile(r"(?:tcp|udp|sctp)://\S+", re.ASCII)
_NAME = re.compile(r"RECEIVER_(?:[A-Z0-9_]+_)?NAME", re.ASCII)


def is_service_link(name: str, value: str) -> bool:
    """Tell whether Kubernetes or Docker set this variable."""
    if _LINK.fullmatch(name):
        return True
    if _PORT.fullmatch(name):
        return _PORT_URL.fullmatch(value) is not None
    return _NAME.fullmatch(name) is not None and value.startswith("/")


def find_service_links(variables: Mapping[str, str]) -> list[str]:
    """Return the names of the variables to ignore, sorted."""
    return sorted(name for name, value in variables.items() if is_service_link(name, value))
