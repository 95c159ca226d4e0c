"""How many wrong tokens each address may send. Pure: the time is a parameter."""

from collections import OrderedDict
from ipaddress import IPv6Address, ip_network
from math import ceil

from receiver.access.addresses import Address
from receiver.access.rate_limit import TokenBucket

BURST = 10
PER_SECOND = 0.1
_MAX_ADDRESSES = 10_000


class Attempts:
    """Ten wrong tokens from an address, then one in ten seconds. An IPv6 network (/64) counts as one address.

    An address is forgotten when all its attempts have come back. As long as too many are remembered, new ones share one limit.
    """

    def __init__(self, max_addresses: int = _MAX_ADDRESSES) -> None:
        self._max_addresses = max_addresses
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()  # the longest unseen first
        self._others = TokenBucket(BURST, PER_SECOND)

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, client: Address | str, now_seconds: float) -> int:
        """Take one attempt out; return 0, or where there is none, in how many seconds there is one.

        `client` is an address, or the reason why there is none: all of those count together.
        """
        bucket = self._find(_widen(client), now_seconds)
        return 0 if bucket.take(now_seconds) else max(1, ceil(bucket.wait_seconds()))

    def _find(self, key: str, now_seconds: float) -> TokenBucket:
        found = self._buckets.get(key)
        if found is not None:
            self._buckets.move_to_end(key)
            return found
        while self._buckets and next(iter(self._buckets.values())).is_full(now_seconds):
            self._buckets.popitem(last=False)
        if len(self._buckets) >= self._max_addresses:
            return self._others
        return self._buckets.setdefault(key, TokenBucket(BURST, PER_SECOND))


def _widen(client: Address | str) -> str:
    if isinstance(client, str):
        return "unknown"
    return str(ip_network((client, 64), strict=False)) if isinstance(client, IPv6Address) else str(client)
