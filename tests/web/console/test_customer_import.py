"""The import of a customer list in the console: the difference first, then the question."""

import html
import json
import re

from tests.harness.console_client import OPS, ConsoleClient
from tests.harness.service import Reply, Service, bearer

PATH = "/ops/customers/import"


def codes(running: Service) -> list[str]:
    return [item["UserCode"] for item in running.get("/ops/api/customers", OPS).json().get("items", [])]


def confirm(anna: ConsoleClient, shown: Reply) -> Reply:
    """Press Import on the page with the difference."""
    plain = re.search(r'name="plain" value="([^"]*)"', shown.body.decode())
    assert plain is not None, shown.body
    return anna.submit(PATH, plain=html.unescape(plain[1]), command="import")


def test_a_list_is_imported_after_its_difference_was_shown(running: Service, anna: ConsoleClient) -> None:
    rows = {"rows": [["A", '{"UserCode":"A","FirstName":"Ann"}'], ["C", '{"UserCode":"C"}']]}
    assert running.call("POST", "/ops/api/customers", json.dumps(rows).encode(), bearer(OPS)).status == 200
    shown = anna.upload(
        PATH, 'UserCode;FirstName\r\na;"Ünal ""x"" می\u200cخ"\r\nd;\r\n'.encode("utf-16"), "Kunden.csv", command="show"
    )
    text = shown.body.decode()
    assert "1 added, 1 changed, 1 removed, 0 unchanged" in text
    assert "stay in Shiipp until somebody removes them there" in text
    assert codes(running) == ["A", "C"]
    done = confirm(anna, shown)
    assert done.status == 303
    assert "Changes made" in anna.get(done.headers["location"]).body.decode()
    items = running.get("/ops/api/customers", OPS).json()["items"]
    assert items == [{"UserCode": "A", "FirstName": 'Ünal "x" می\u200cخ'}, {"UserCode": "D"}]
    page = anna.get("/ops/customers?q=d").body.decode()
    assert ("No customer with" in page, page.count("/ops/trackers?customer=")) == (False, 1)
    (entry, *_) = running.get("/ops/api/audit", OPS).json()["items"]
    assert (entry["action"], entry["actor"], "1 removed" in entry["detail"]) == ("customers import", "anna", True)


def test_the_list_that_was_downloaded_changes_nothing_when_it_is_imported(running: Service, anna: ConsoleClient) -> None:
    rows = {"rows": [["A", '{"UserCode":"A","FirstName":"-Ünal","Branch":"@x"}'], ["007", '{"UserCode":"007"}']]}
    assert running.call("POST", "/ops/api/customers", json.dumps(rows).encode(), bearer(OPS)).status == 200
    downloaded = anna.get("/ops/customers.csv")
    assert 'filename="customers.csv"' in downloaded.headers["content-disposition"]
    shown = anna.upload(PATH, downloaded.body, "customers.csv", command="show")
    assert "0 added, 0 changed, 0 removed, 2 unchanged" in shown.body.decode()


def test_an_earlier_list_is_restored_after_its_difference_was_shown(running: Service, anna: ConsoleClient) -> None:
    for code in ("A", "B"):
        rows = {"rows": [[code, json.dumps({"UserCode": code})]]}
        assert running.call("POST", "/ops/api/customers", json.dumps(rows).encode(), bearer(OPS)).status == 200
    found = re.search(r'name="list" value="([^"]+)"', anna.get("/ops/customers").body.decode())
    assert found is not None
    shown = anna.submit(PATH, list=found[1], command="show").body.decode()
    assert "1 added, 0 changed, 1 removed, 0 unchanged" in shown
    assert f'name="list" value="{found[1]}"' in shown
    assert codes(running) == ["B"]
    done = anna.submit(PATH, list=found[1], command="import")
    assert "Changes made" in anna.get(done.headers["location"]).body.decode()
    assert codes(running) == ["A"]


def test_an_upload_that_is_refused_says_why_and_changes_nothing(running: Service, anna: ConsoleClient) -> None:
    cases = {
        b"Name\nAnn\n": "a column UserCode",
        b"UserCode\nA\na\n": "customer code A is already on line 2",
        b"UserCode\n": "check the box",
        b"": "Choose a file",
    }
    for content, problem in cases.items():
        assert problem in html.unescape(anna.upload(PATH, content, "list.csv", command="show").body.decode())
    assert anna.upload(PATH, b"UserCode\nA\n", "list.csv", command="other").status == 422
    assert anna.post(PATH, {"command": "import", "plain": '[{"UserCode":"A"}]'}).status == 403
    assert codes(running) == []
    shown = anna.upload(PATH, b"[]", "list.json", command="show", allow_empty="yes")
    assert "0 added" in shown.body.decode()
