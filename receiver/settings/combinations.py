"""Settings that contradict each other. A ValueError names the setting and says what was expected."""

from collections.abc import Collection, Iterable, Sequence
from difflib import get_close_matches

from receiver.access.bearer import Secret


def check_mail(*settings: object) -> None:
    """Check that server, sender and recipients of mails are all set, or none of them."""
    if any(settings) and not all(settings):
        raise ValueError(
            "RECEIVER_ALARM_SMTP_URL, RECEIVER_ALARM_SMTP_FROM, RECEIVER_ALARM_SMTP_TO: expected all of them, or none"
        )


def check_operators(tokens: Sequence[Secret], read_tokens: Sequence[Secret]) -> None:
    """Check that no token that may only look is also one that may change things, or has its name."""
    both = (*tokens, *read_tokens)
    for what, values in (("name", {token.name for token in both}), ("token", {token.reveal() for token in both})):
        if len(values) < len(both):
            raise ValueError(f"RECEIVER_OPS_READ_TOKENS: has a {what} in common with RECEIVER_OPS_TOKENS")


def check_reconcile(hours: float, api_key: Secret | None) -> None:
    """Check that there is a key if the service is to look up silent trackers."""
    if hours and api_key is None:
        raise ValueError("RECEIVER_SHIP24_RECONCILE_HOURS: needs the key of Ship24's API in RECEIVER_SHIP24_API_KEY")


def check_token_ends(tokens: Iterable[str], known: Collection[str]) -> None:
    """Check that each entry is a known token. An entry is not quoted: it could be the token itself."""
    for number, token in enumerate(tokens, 1):
        if token not in known:
            near = get_close_matches(token, sorted(known), n=1, cutoff=0)
            hint = f"; the nearest one is {near[0]}" if near else ": there are no tokens"
            raise ValueError(f"RECEIVER_TOKEN_ENDS: entry {number} is not the source and name of a token{hint}")


def check_target_secrets(names: Iterable[str], targets: Collection[str]) -> None:
    """Check that each secret is for a target."""
    for number, name in enumerate(names, 1):
        if name not in targets:
            raise ValueError(
                f"RECEIVER_TARGET_SECRETS: entry {number} is not for one of the targets: {', '.join(sorted(targets))}"
            )
