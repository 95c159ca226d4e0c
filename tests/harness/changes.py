"""Changes, targets and their secrets, as tests need them."""

from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path

from receiver.access.bearer import Secret
from receiver.domain.changes import Change, Subscription
from receiver.settings.targets import TargetSettings

SECRET = "whsec_" + b64encode(b"planted-secret-of-the-target-1").decode()
OTHER_SECRET = "whsec_" + b64encode(b"planted-secret-of-the-target-2").decode()


def change(move: int = 1, tracker_id: str = "t") -> Change:
    """Return a change; its id tells it from all others."""
    return Change(
        id=f"01a20032-a684-7968-9b72-{move:012}",
        sequence=move,
        source="ship24",
        tracker_id=tracker_id,
        tracking_number="TN-é",
        client_tracker_id=None,
        shipment_reference=None,
        event_id=f"e{move}",
        message_id=f"m{move}",
        occurrence="2025-03-01T10:00:00",
        old_status=None,
        old_status_milestone=None,
        status="Delivered",
        status_code=None,
        status_category=None,
        status_milestone="delivered",
        location=None,
        received_at=1_740_823_200_123_456,
        delivery_id="d",
        position=0,
    )


def target(url: str, *, seconds: float = 10.0, allow_private: bool = True, subject: str = "parcels.changes") -> TargetSettings:
    """Return a target called `shop`."""
    return TargetSettings(Subscription("shop"), url, seconds, allow_private, subject)


def secrets(*values: str) -> Sequence[Secret]:
    """Return the secrets of the target."""
    return [Secret("shop", value) for value in values]


def write_targets(directory: Path, timeout_seconds: float = 60.0, /, **urls: str) -> None:
    """Write the file of a service that is started in `directory`: targets by name, which may be in a private network."""
    shared = f"allow_private = true\ntimeout_seconds = {timeout_seconds}\n"
    tables = [f'[[targets]]\nname = "{name}"\nurl = "{url}"\n{shared}' for name, url in urls.items()]
    (directory / "config").mkdir(parents=True, exist_ok=True)
    (directory / "config" / "receiver.toml").write_text("\n".join(tables), encoding="utf-8")
