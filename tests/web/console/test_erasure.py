"""The page that erases a person: search, choose, confirm, receipt."""

import re

import pytest

from tests.conftest import StartService
from tests.harness import ship24
from tests.harness.console_client import OPS, ConsoleClient
from tests.harness.service import Service

PATH = "/ops/erasure"


@pytest.fixture
def running(shared_service: StartService) -> Service:
    service = shared_service(ops_tokens=f"anna:{OPS}")
    items = [ship24.item(tracker_id=f"{key}/1", shipment={"recipient": {"name": f"Jane {key}"}}) for key in ("doe", "roe")]
    assert service.post(ship24.body(*items)).status == 200
    return service


def found(anna: ConsoleClient, words: str) -> list[str]:
    return re.findall(r'name="erase ([^"]*)"', anna.get(f"{PATH}?q={words}").body.decode())


def test_only_what_is_chosen_is_erased_and_the_receipt_has_no_name(running: Service, anna: ConsoleClient) -> None:
    assert found(anna, "jane") == ["ship24/doe/1", "ship24/roe/1"]
    assert found(anna, "") == []
    answer = anna.submit(PATH, **{"erase ship24/doe/1": "yes"})
    assert answer.status == 303
    receipt = anna.get(answer.headers["location"]).body
    assert [word in receipt for word in (b"ship24/doe/1", b"anna", b"Bodies rewritten", b"Jane")] == [True, True, True, False]
    assert found(anna, "jane") == ["ship24/roe/1"]
    assert [row["subject"] for row in running.table("audit", "subject", action="forget")] == ["ship24/doe/1"]


def test_a_tracker_whose_id_has_invisible_characters_can_be_chosen(running: Service, anna: ConsoleClient) -> None:
    shipment = {"recipient": {"name": "Odd"}}
    assert running.post(ship24.single(tracker_id="a\u200db\nc", shipment=shipment)).status == 200
    (name,) = found(anna, "odd")
    answer = anna.submit(PATH, **{f"erase {name}".replace("\n", "\r\n"): "yes"})  # as a browser sends it
    assert (answer.status, found(anna, "odd")) == (303, [])


def test_without_a_choice_nothing_is_erased(running: Service, anna: ConsoleClient) -> None:
    for fields in ({}, {"erase nobody/doe/1": "yes"}, {"ship24/doe/1": "yes"}):
        assert anna.submit(PATH, **fields).status == 422
    assert anna.submit(PATH, **{"erase ship24/unknown": "yes"}).status == 404
    assert len(found(anna, "jane")) == 2


def test_the_search_is_read_in_pages(running: Service) -> None:
    items: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        path = "/ops/api/persons?q=jane&limit=1" + (f"&cursor={cursor}" if cursor else "")
        page = running.get(path, token=OPS).json()
        items += [item["tracker_id"] for item in page["items"]]
        cursor = page["next"]
    assert items == ["doe/1", "roe/1"]


def test_the_search_has_no_file_and_all_other_lists_have_theirs(running: Service, anna: ConsoleClient) -> None:
    assert b".csv" not in anna.get(f"{PATH}?q=jane").body
    lists = ("/ops/trackers", "/ops/deliveries", "/ops/messages", "/ops/settings")
    files = [re.findall(r'href="([^"]*\.csv[^"]*)"', anna.get(path).body.decode()) for path in lists]
    assert [len(found) for found in files] == [1] * len(lists)
    assert {anna.get(found[0]).status for found in files} == {200}
