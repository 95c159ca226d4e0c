"""Whether a form was sent from a page of ours. Browsers say where it comes from, and no page can make them lie.

Sources: Fetch Metadata (w3.org/TR/fetch-metadata), Origin (RFC 6454).
"""

from collections.abc import Iterable, Sequence
from urllib.parse import SplitResult, urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}
_ELSEWHERE = {
    "cross-site": "another site",
    "same-site": "another address of the same site",
    "none": "outside of the console",
}


def find_fault(sites: Sequence[str], origins: Sequence[str], hosts: Iterable[str]) -> str | None:
    """Return in a sentence why a form does not count, or None if it does.

    `sites` and `origins` are the values of the headers Sec-Fetch-Site and Origin, `hosts` the names by which the browser may know
    us. Browsers send Sec-Fetch-Site where the console has https or is on the same machine. It decides, whatever a proxy made of
    `Host`. Otherwise the origin has to be one of `hosts`. Pages without a referrer, as ours are, may send `Origin: null`: then
    the form's token alone decides.
    """
    if sites:
        elsewhere = next((site for site in sites if site != "same-origin"), None)
        return None if elsewhere is None else f"This form was sent from {_ELSEWHERE.get(elsewhere, 'elsewhere')}."
    known = [place for host in hosts if (place := _split(f"//{host.strip()}"))]
    for origin in origins:
        if origin != "null" and not _is_one_of(_split(origin), known):
            return (
                f"The browser sent this form to {origin[:200]}, but the request arrived for {_name(known)}. "
                "If a proxy is in front, let it pass on the Host header unchanged (nginx: proxy_set_header Host $http_host)."
            )
    return None


def _is_one_of(origin: SplitResult | None, known: Sequence[SplitResult]) -> bool:
    if origin is None or origin.scheme not in _DEFAULT_PORTS:
        return False
    default = _DEFAULT_PORTS[origin.scheme]
    return any((place.hostname, place.port or default) == (origin.hostname, origin.port or default) for place in known)


def _split(text: str) -> SplitResult | None:
    """Return the parts of an address, or None if it names no host, or no port that there is."""
    try:
        parts = urlsplit(text)
        usable = parts.hostname and parts.port != 0
    except ValueError:
        return None
    return parts if usable else None


def _name(known: Sequence[SplitResult]) -> str:
    return " or ".join(place.netloc[:200] for place in known[:3]) or "no host"
