"""The causes of rejected deliveries in words, with what to do. Pure."""

_SENTENCES = {
    "no_token": "The request had no token. Enter the token at the sender; it is sent as `Authorization: Bearer TOKEN`.",
    "unknown_token": "The token is unknown. Compare the sender's token with {setting}.",
    "api_key": "This is an API key of Ship24 (`apik_…`). Enter the webhook secret instead; the dashboard of Ship24 shows it.",
    "other_source": "This is a token of another source: {detail}. Each source needs its own token.",
    "ops_token": "This is an operator's token: {detail}. Replace it: whoever has it can use the console and the API.",
    "removed_token": "This token was removed from the settings: {detail}. Enter the new one at the sender, or add this again.",
    "wrapped": "The right token is inside quotes, brackets or blanks, or after a second `Bearer`. Remove them at the sender.",
    "without_bearer": "The word `Bearer` is missing in the Authorization header; expected `Bearer TOKEN`.",
    "basic": "The Authorization header uses Basic; expected `Bearer TOKEN`. Remove user name and password from the webhook URL.",
    "other_header": "The token is in the header `{detail}`; expected `Authorization: Bearer TOKEN`.",
    "in_query": "The token is in the URL, as `{detail}`; expected the header `Authorization: Bearer TOKEN`.",
    "several_headers": "The request had several Authorization headers; expected one. A proxy may add one.",
    "address_not_allowed": "The token is valid, the IP address is not. Add it to {addresses}, or open a setup window.",
}

CAUSES = tuple(_SENTENCES)
"""The codes of all causes: of a 401, and the address for a 403."""


def describe_cause(source: str, cause: str, detail: str | None) -> str | None:
    """Return a sentence on the cause of a rejected delivery and what to do, or None for another code."""
    sentence = _SENTENCES.get(cause)
    variable = f"RECEIVER_{source.upper()}"
    return sentence and sentence.format(
        detail=detail or "unknown", setting=f"{variable}_TOKENS", addresses=f"{variable}_ALLOWED_IPS"
    )
