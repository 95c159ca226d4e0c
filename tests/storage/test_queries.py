"""Lists and searches of trackers, with every filter, on every database: each tracker once, in order, over all pages."""

from itertools import permutations
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.sources import NAMES
from receiver.storage import queries
from receiver.storage.queries import FINAL_MILESTONES, TrackerFilter
from receiver.storage.queries.pages import SORTS
from receiver.storage.tables.ledger import EventTable, LinkTable, SearchTermTable, TrackerTable
from receiver.storage.tables.metadata import table_of
from tests.harness.archive import Archive, walk
from tests.harness.ship24 import event, single
from tests.harness.strategies import arrivals, histories
from tests.harness.table import each_row

_NAMES = ("a", "A", "ab", "aB", "a-b", "a_b", "b", "é", "É", "ß", "ss", "z\U0010ffff", "z\U0010ffffa", "\U0001f4e6", "İ", " ")
_MILESTONES = (None, "", "in_transit", "delivered", "completed", "É")


class Parcel(NamedTuple):
    """A tracker as the tests know it; `former` is a name that it had before."""

    source: str
    tracker_id: str
    tracking_number: str | None
    client_tracker_id: str | None
    shipment_reference: str | None
    former: str | None
    status_milestone: str | None
    moved_at: int
    shipment_milestone: str | None = None
    test_run: str | None = None
    manifest: str | None = None
    is_completed: bool = False

    @property
    def manifest_completed(self) -> bool:
        return self.is_completed and self.source == "shiipp"

    def differs(self) -> bool:
        return None not in {self.status_milestone, self.shipment_milestone} and self.status_milestone != self.shipment_milestone

    def link(self) -> tuple[str, str] | None:
        return (self.source, self.manifest) if self.manifest else None

    def has_customer(self, code: str) -> bool:
        return self.source == "shiipp" and (self.client_tracker_id or "").casefold() == code.casefold()

    def names(self) -> list[str]:
        present = (self.tracker_id, self.tracking_number, self.client_tracker_id, self.shipment_reference)
        return [name.casefold() for name in present if name]

    def place(self, wanted: TrackerFilter) -> str | None:
        """Return the name under which a search finds it, or None."""
        sought = (wanted.search or "").casefold()

        def is_meant(name: str) -> bool:
            return name == sought if wanted.exact else name.startswith(sought)

        former = [self.former.casefold()] if self.former else []
        return min(filter(is_meant, self.names()), default=min(filter(is_meant, former), default=None))

    def holds(self, wanted: TrackerFilter) -> bool:
        return (
            (wanted.search is None or self.place(wanted) is not None)
            and wanted.source in {None, self.source}
            and wanted.milestone in {None, self.status_milestone}
            and wanted.milestone_differs in {None, self.differs()}
            and wanted.test in {None, self.test_run is not None}
            and (wanted.manifest is None or self.link() == ("shiipp", wanted.manifest))
            and (wanted.customer is None or self.has_customer(wanted.customer))
            and (wanted.moved_before is None or self.moved_at < wanted.moved_before)
            and (wanted.moved_after is None or self.moved_at >= wanted.moved_after)
            and (
                wanted.stuck_since is None
                or (
                    self.moved_at < wanted.stuck_since
                    and self.status_milestone not in FINAL_MILESTONES
                    and not self.manifest_completed
                )
            )
        )


_name = st.sampled_from(_NAMES)
_moment = st.integers(1, 4)
_parcels = st.lists(
    st.builds(
        Parcel,
        st.sampled_from(NAMES),
        _name,
        st.none() | _name,
        st.none() | _name,
        st.none() | _name,
        st.none() | _name,
        st.sampled_from(_MILESTONES),
        _moment,
        st.sampled_from(_MILESTONES),
        st.sampled_from([None, None, "a1b2c3d4"]),
        st.sampled_from([None, "m1", "m2"]),
        st.booleans(),
    ),
    max_size=14,
    unique_by=lambda parcel: parcel[:2],
)
_edge = st.sampled_from([None] * 9 + [1, 2, 3, 4, -(2**70), 0, 2**70])
_tracker_filters = st.builds(
    TrackerFilter,
    st.none() | _name | _name,
    st.sampled_from([None] * 5 + [*NAMES, "nobody"]),
    st.sampled_from([None] * 12 + [*_MILESTONES, "never"]),
    _edge,
    _edge,
    _edge,
    st.booleans(),
    st.sampled_from([None] * 5 + [True, False]),
    st.sampled_from([None] * 5 + [True, False]),
    st.sampled_from([None] * 5 + ["m1", "m3"]),
    st.sampled_from([None] * 5 + ["a", "AB", "é", "never"]),
    st.none(),
    st.sampled_from(SORTS),
).map(lambda wanted: wanted._replace(sort="newest") if wanted.has_own_order() else wanted)


def keep_parcels(archive: Archive, parcels: list[Parcel]) -> None:
    archive.clear()
    rows = [parcel._asdict() | {"manifest_completed": parcel.manifest_completed} for parcel in parcels]
    archive.add(table_of(TrackerTable), rows)
    links = [{"source": one.source, "package": one.tracker_id, "manifest": one.manifest} for one in parcels if one.manifest]
    archive.add(table_of(LinkTable), links)
    former = {(parcel.former.casefold(), *parcel[:2]) for parcel in parcels if parcel.former}
    terms = former | {(name, *parcel[:2]) for parcel in parcels for name in parcel.names()}
    archive.add(table_of(SearchTermTable), [dict(zip(("term", "source", "tracker_id"), term, strict=True)) for term in terms])


@settings(max_examples=36)
@given(parcels=_parcels, wanted=st.lists(_tracker_filters, min_size=5, max_size=5), limit=st.integers(1, 4))
def test_every_list_of_trackers_gives_what_is_wanted_once_and_in_order(
    archive: Archive, parcels: list[Parcel], wanted: list[TrackerFilter], limit: int
) -> None:
    keep_parcels(archive, parcels)
    known = {parcel[:2]: parcel for parcel in parcels}
    for filters in wanted:

        def ask(limit: int, cursor: str | None, filters: TrackerFilter = filters) -> queries.ResultPage:
            return queries.list_trackers(archive.database, filters, limit, cursor)

        found = [known[item["source"], item["tracker_id"]] for item in walk(ask, limit)]
        assert sorted(found, key=str) == sorted((parcel for parcel in parcels if parcel.holds(filters)), key=str)
        if filters.search is None and (filters.manifest or filters.customer):
            assert len({parcel.tracker_id for parcel in found}) == len(found)
        elif filters.search is None:
            is_newest_first = filters.sort == "newest"
            assert [parcel.moved_at for parcel in found] == sorted((one.moved_at for one in found), reverse=is_newest_first)
        else:
            places = [parcel.place(filters) or "" for parcel in found]
            assert places == sorted(places)
        assert [known[item["source"], item["tracker_id"]] for item in walk(ask, 200)] == found


def test_a_search_finds_all_that_start_with_the_term_whatever_the_collation(archive: Archive) -> None:
    names = [
        "z",
        "zz",
        "z\U0010ffff",
        "z{",
        "{",
        "e",
        "é",
        "e\u0301",
        "ea",
        "E-1",
        "e 1",
        "e.1",
        "10",
        "1",
        "\U0010ffff",
        "\ud7ff!",
    ]
    keep_parcels(archive, [Parcel("ship24", name, None, None, None, None, None, 1) for name in names])
    for sought in ["", *names, "e-", "\ud7ff"]:
        found = walk(lambda limit, cursor, s=sought: queries.list_trackers(archive.database, TrackerFilter(s), limit, cursor), 2)  # type: ignore[misc]
        expected = sorted(name.casefold() for name in names if name.casefold().startswith(sought.casefold()))
        assert [item["tracker_id"].casefold() for item in found] == expected


def test_trackers_that_move_meanwhile_neither_hide_nor_double_the_others(archive: Archive) -> None:
    still = [Parcel("ship24", f"t{n}", f"N{n}", None, None, None, _MILESTONES[n % 6], n % 3 + 1) for n in range(20)]
    keep_parcels(archive, still)
    first = queries.list_trackers(archive.database, TrackerFilter(), 5)
    by_name = queries.list_trackers(archive.database, TrackerFilter("n"), 5)
    moved = [Parcel("shiipp", f"new{n}", f"N0{n}", None, None, None, "in_transit", 3 + n) for n in range(9)]
    keep_parcels(archive, [*still, *moved])

    def ids(page: queries.ResultPage, wanted: TrackerFilter) -> list[str]:
        rest = walk(lambda limit, cursor: queries.list_trackers(archive.database, wanted, limit, cursor or page.next), 4)
        return [item["tracker_id"] for item in [*page.items, *rest]]

    for page, wanted in ((first, TrackerFilter()), (by_name, TrackerFilter("n"))):
        found = [name for name in ids(page, wanted) if not name.startswith("new")]
        assert sorted(found) == sorted(parcel.tracker_id for parcel in still)


def test_a_tracker_has_the_neighbours_of_its_list_also_among_those_of_the_same_time(archive: Archive) -> None:
    keep_parcels(
        archive, [Parcel(NAMES[n % 2], f"t{n}", None, None, None, None, _MILESTONES[n % 6], n % 3 + 1) for n in range(20)]
    )
    for sort in SORTS:
        for wanted in (TrackerFilter(sort=sort), TrackerFilter(source="ship24", moved_after=2, sort=sort)):
            listed = walk(lambda limit, cursor, of=wanted: queries.list_trackers(archive.database, of, limit, cursor), 3)  # type: ignore[misc]
            for before, one, after in zip([None, *listed], listed, [*listed[1:], None], strict=False):
                found = queries.find_tracker_neighbours(archive.database, wanted, one["source"], one["tracker_id"])
                assert found == (before, after)
    own_order = TrackerFilter("t")
    listed = queries.list_trackers(archive.database, own_order, 200).items
    assert len(listed) > 2
    for before, one, after in zip([None, *listed], listed, [*listed[1:], None], strict=False):
        assert queries.find_tracker_neighbours(archive.database, own_order, one["source"], one["tracker_id"]) == (before, after)
    assert queries.find_tracker_neighbours(archive.database, own_order, "ship24", "unknown") == (None, None)


def test_items_are_counted_up_to_a_thousand_in_a_few_pages() -> None:
    full, empty = queries.ResultPage([{}] * 200, "more"), queries.ResultPage([], "more")
    last = queries.ResultPage([{}] * 7, None)
    assert queries.count_items(lambda _limit, _cursor: full, last) == (7, True)
    assert queries.count_items(lambda _limit, _cursor: last, full) == (207, True)
    assert queries.count_items(lambda _limit, _cursor: full, full) == (1000, False)
    assert queries.count_items(lambda _limit, _cursor: empty, full) == (200, False)


def test_a_thousand_milestones_are_merged_too(archive: Archive) -> None:
    parcels = [Parcel("shiipp", f"t{n}", None, None, None, None, f"status {n}", n // 7 + 1) for n in range(1000)]
    keep_parcels(archive, parcels)
    found = walk(lambda limit, cursor: queries.list_trackers(archive.database, TrackerFilter(), limit, cursor), 200)
    assert len({item["tracker_id"] for item in found}) == len(found) == 1000
    moments = [int(item["status_milestone"][7:]) // 7 for item in found]
    assert moments == sorted(moments, reverse=True)


# Timelines


def timeline(archive: Archive, tracker_id: str) -> list[str]:
    shown = queries.show_tracker(archive.database, "ship24", tracker_id)
    return [found["event_id"] for found in shown["events"]]


@settings(max_examples=25)
@given(data=st.data())
def test_a_timeline_has_the_newest_occurrence_first_in_any_order_of_arrival(archive: Archive, data: st.DataObject) -> None:
    archive.clear()
    history = data.draw(histories("t"))
    batches = data.draw(arrivals(history.items))
    for batch in batches:
        archive.store.keep(*batch)
    happened = {event["eventId"] for item in history.items for event in item["events"]}
    assert timeline(archive, "t") == sorted(happened, key=lambda event_id: int(event_id.rpartition("e")[2]), reverse=True)


@each_row("arrival", list(permutations(["2025-03-01T10:00:00", "2025-03-01", "2025-03-01T09:00:00+05:00"])))
def test_a_bare_date_does_not_part_two_times_of_its_day(archive: Archive, arrival: tuple[str, ...]) -> None:
    archive.clear()
    for occurrence in arrival:
        archive.store.keep(single(tracker_id="t", events=[event(occurrence, occurrence)]))
    found = timeline(archive, "t")
    assert found.index("2025-03-01T10:00:00") < found.index("2025-03-01T09:00:00+05:00")


def test_of_equal_times_the_last_arrival_comes_first(archive: Archive) -> None:
    same = {"occurrence": "2025-03-01T10:00:00", "basis": "courier", "source": "ship24", "tracker_id": "t"}
    archive.add(table_of(TrackerTable), [{"source": "ship24", "tracker_id": "t"}])
    archive.add(table_of(EventTable), [{**same, "event_id": f"e{n}", "received_at": n * 7 % 5} for n in range(5)])
    assert timeline(archive, "t") == ["e2", "e4", "e1", "e3", "e0"]


def test_of_a_very_long_timeline_the_events_that_arrived_last_are_shown(archive: Archive) -> None:
    same = {"occurrence": "2025-03-01", "basis": "courier", "source": "ship24", "tracker_id": "t"}
    archive.add(table_of(TrackerTable), [{"source": "ship24", "tracker_id": "t"}])
    archive.add(table_of(EventTable), [{**same, "event_id": f"e{n:05}", "received_at": n} for n in range(1500)])
    assert timeline(archive, "t") == [f"e{n:05}" for n in range(1499, 499, -1)]
