"""Cases: the URL is reachable, and only requests with the right token are accepted."""

from receiver.testkit.check import judging
from receiver.testkit.check.parcels import Parcels, body
from receiver.testkit.check.records import Bearer, Case, CheckRequest, Rule, Severity

AUTHENTICATION = "docs.ship24.com/webhooks/authentication"
SPECIFICATION = "docs.ship24.com/webhooks/specification"
DELIVERY = "docs.ship24.com/webhooks/delivery"
RETRIED = "counts the delivery as failed and repeats it: 20 attempts over about six days, then never again"
FIRST = "one message"

_PROBED = "refused to save a URL that did not answer HEAD with 200; its newest pages no longer mention it"
_STRANGERS = "always sends the token, and nothing else that could be checked; a request without it is not from Ship24"
_NO_REDIRECT = "follows no redirect: this delivery counts as failed, and so do all others"
_IN_PLAIN = "sends the token in the Authorization header only; access logs contain URLs"


def in_query() -> Case:
    """Return the case that runs only on request: access logs will contain the token."""
    return _access("token in the query only", "POST without the header, the token in the URL", "in the query", vendor=_IN_PLAIN)


def access_cases() -> tuple[Case, ...]:
    """Return the cases; the first one is HEAD."""
    return (*_reach(), *_login())


def _reach() -> tuple[Case, ...]:
    return (
        _probe("HEAD without a token", "none"),
        _probe("HEAD with the token", "right"),
        Case(
            Rule("reach", FIRST, "POST one new message with the right token", "2xx", RETRIED, DELIVERY),
            lambda parcels: [_post(parcels, "first")],
            judging.accepted,
            outcomes=("applied",),
        ),
        Case(
            Rule(
                "reach",
                "trailing slash",
                "POST to the URL with a trailing slash added or removed",
                "2xx, no redirect",
                _NO_REDIRECT,
                DELIVERY,
                "should",
            ),
            lambda parcels: [_post(parcels, "spelling")._replace(other_spelling=True)],
            judging.accepted,
            outcomes=("applied",),
        ),
    )


def _login() -> tuple[Case, ...]:
    return (
        _access("no token", "POST without an Authorization header", "none"),
        _access("wrong token", "POST with an invented token", "wrong"),
        _access(
            "token under another scheme",
            "POST with `Authorization: Token …`",
            "other scheme",
            severity="should",
            vendor="always writes `Bearer`",
        ),
        Case(
            Rule(
                "access",
                "scheme in lower case",
                "POST with `Authorization: bearer …`",
                "2xx",
                "writes `Bearer`; proxies may rewrite it, and HTTP ignores the case of the scheme",
                AUTHENTICATION,
                "should",
            ),
            lambda parcels: [_post(parcels, "lower")._replace(bearer="lower case")],
            judging.accepted,
            outcomes=("applied",),
        ),
        Case(
            Rule(
                "access",
                "token before body",
                "POST invalid JSON with a wrong token",
                "401 or 403",
                "never sends this; a client without a token should not reach the parser",
                AUTHENTICATION,
                "should",
            ),
            lambda _parcels: [CheckRequest(b'{"trackings": [', bearer="wrong")],
            judging.unauthorized,
        ),
    )


def _probe(name: str, bearer: Bearer) -> Case:
    rule = Rule("reach", name, name, "200, no redirect", _PROBED, SPECIFICATION)
    return Case(rule, lambda _parcels: [CheckRequest(method="HEAD", bearer=bearer)], judging.probed)


def _access(name: str, does: str, bearer: Bearer, severity: Severity = "must", vendor: str = _STRANGERS) -> Case:
    rule = Rule("access", name, does, "401 or 403", vendor, AUTHENTICATION, severity)
    return Case(rule, lambda parcels: [_post(parcels, name)._replace(bearer=bearer)], judging.unauthorized)


def _post(parcels: Parcels, tracker: str) -> CheckRequest:
    return CheckRequest(body(parcels.item(tracker)))
