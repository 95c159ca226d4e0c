"""The forms of lists: a field for each filter, and filters that the page does not know stay set."""

import re

from receiver.web.api.parameters import ChangesQuery, DeliveriesQuery, MessagesQuery, PageQuery, QuarantineQuery, TrackersQuery
from tests.harness.console_client import ConsoleClient

LISTS: dict[str, type[PageQuery]] = {
    "trackers": TrackersQuery,
    "deliveries": DeliveriesQuery,
    "messages": MessagesQuery,
    "quarantine?delivery_id=x": QuarantineQuery,
    "changes": ChangesQuery,
}


def test_each_filter_of_a_list_has_a_field(anna: ConsoleClient) -> None:
    missing = {}
    for page, query in LISTS.items():
        (form,) = re.findall(r'<form class="filters".*?</form>', anna.get(f"/ops/{page}").body.decode(), re.DOTALL)
        fields = set(re.findall(r'<(?:input|select)\b[^>]* name="([^"]*)"', form))
        missing[page] = set(query.model_fields) - set(PageQuery.model_fields) - fields
    assert missing == {page: set() for page in LISTS}


def test_a_target_that_is_no_longer_known_stays_chosen(anna: ConsoleClient) -> None:
    """Otherwise the next search would leave this filter out without a word."""
    for page in ("trackers?not_delivered_to=gone", "changes?target=gone"):
        assert '<option value="gone" selected>gone</option>' in anna.get(f"/ops/{page}").body.decode(), page


def test_a_search_leaves_an_order_that_it_cannot_have(anna: ConsoleClient) -> None:
    """The form sends both, and the API refuses them."""
    reply = anna.get("/ops/trackers?q=x&sort=oldest&source=ship24")
    assert (reply.status, reply.headers["location"]) == (303, "/ops/trackers?q=x&source=ship24")
    assert 'name="sort"' not in anna.get("/ops/trackers?q=x&source=ship24").body.decode()
