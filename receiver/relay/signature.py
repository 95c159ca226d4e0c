"""Signatures of posted changes: the Standard Webhooks scheme.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from base64 import b64decode, b64encode
from collections.abc import Sequence
from datetime import datetime
from secrets import token_bytes

from standardwebhooks import Webhook

from receiver.access.bearer import Secret
from receiver.errors import ConfigurationError

_PREFIX = "whsec_"
_MIN_BYTES = 24  # the scheme's own bounds
_MAX_BYTES = 64
_NEW_BYTES = 32


class Signer:
    """Signs with every secret of a target, so that secrets can be rotated."""

    def __init__(self, target: str, secrets: Sequence[Secret]) -> None:
        if not secrets:
            raise ConfigurationError(
                f"RECEIVER_TARGET_SECRETS: target {target} has no secret to sign with; add {target}:{_PREFIX}… to it."
            )
        if not all(_is_secret(secret.reveal()) for secret in secrets):
            raise ConfigurationError(
                f"RECEIVER_TARGET_SECRETS: target {target}: expected {_PREFIX} and {_MIN_BYTES} to {_MAX_BYTES} bytes in base64."
            )
        self._signers = [Webhook(secret.reveal()) for secret in secrets]

    def sign(self, message_id: str, now: datetime, body: bytes) -> dict[str, str]:
        """Return the headers: the ID, the time of sending, and one signature for each secret."""
        signatures = [signer.sign(msg_id=message_id, timestamp=now, data=body.decode()) for signer in self._signers]
        return {
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(signatures),
        }


def make_secret() -> str:
    """Return a new random secret in the form of the scheme."""
    return _PREFIX + b64encode(token_bytes(_NEW_BYTES)).decode()


def name_forms(secret: str) -> set[str]:
    """Return the forms of a secret that a target may repeat: with its prefix, and without."""
    return {secret, secret.removeprefix(_PREFIX)}


def _is_secret(text: str) -> bool:
    coded = text.removeprefix(_PREFIX)
    try:
        key = b64decode(coded + "=" * (-len(coded) % 4), validate=True)
    except ValueError:
        return False
    return text.startswith(_PREFIX) and _MIN_BYTES <= len(key) <= _MAX_BYTES
