"""The limit of wrong ops tokens for each address. Pure: the time is a parameter."""

from collections import OrderedDict
from ipaddress import IPv6Address, ip_network
from math import ceil

from receiver.access.addresses import Address
from receiver.access.rate_limit import TokenBucket

WRONG_TOKENS_AT_ONCE = 10
WRONG_TOKENS_PER_SECOND = 0.1
_MAX_ADDRESSES = 10_000


class WrongTokenLimit:
    """Ten wrong tokens from an address at once, then one in ten seconds. An IPv6 network (/64) counts as one address.

    An address is forgotten when its bucket is full again. While too many addresses are remembered, new ones share one bucket.
    """

    def __init__(self, max_addresses: int = _MAX_ADDRESSES) -> None:
        self._max_addresses = max_addresses
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()  # the least recently used first
        self._others = _make_bucket()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, client: Address | str, now_seconds: float) -> int:
        """Count a wrong token; return 0 if it is within the limit, otherwise the seconds until the next one is.

        `client` is an address, or the reason why it is unknown: all unknown ones share one bucket.
        """
        bucket = self._find(_widen(client), now_seconds)
        return 0 if bucket.take(now_seconds) else ceil(bucket.wait_seconds())

    def _find(self, key: str, now_seconds: float) -> TokenBucket:
        found = self._buckets.get(key)
        if found is not None:
            self._buckets.move_to_end(key)
            return found
        while self._buckets and next(iter(self._buckets.values())).is_full(now_seconds):
            self._buckets.popitem(last=False)
        if len(self._buckets) >= self._max_addresses:
            return self._others
        return self._buckets.setdefault(key, _make_bucket())


def _make_bucket() -> TokenBucket:
    return TokenBucket(WRONG_TOKENS_AT_ONCE, WRONG_TOKENS_PER_SECOND)


def _widen(client: Address | str) -> str:
    if isinstance(client, str):
        return "unknown"
    return str(ip_network((client, 64), strict=False)) if isinstance(client, IPv6Address) else str(client)
