"""The API matches its description: schemathesis tries what the document allows, and what it does not."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from receiver.domain.customers import CUSTOMERS_PATH
from receiver.domain.trimming import trim
from receiver.sources import make_sources
from receiver.web.api.commands import COMMAND_ENDPOINTS
from receiver.web.api.endpoints import PREFIX, READ_ENDPOINTS
from receiver.web.api.openapi import describe
from tests.harness import ship24
from tests.harness.postgresql import Cluster
from tests.harness.service import TOKEN, Service, bearer, serving
from tests.harness.table import each_row


def without_security(document: dict[str, Any]) -> dict[str, Any]:
    """Return the document as if nothing asked for a token: ours is sent with each call, so none can be left out on purpose."""
    bare: dict[str, Any] = json.loads(json.dumps(document))
    del bare["components"]["securitySchemes"]
    for operations in bare["paths"].values():
        for operation in operations.values():
            operation.pop("security", None)
    return bare


OPS = "the-ops-token-of-these-tests"
SOURCES = make_sources({}, {})
DOCUMENT = describe(SOURCES, CUSTOMERS_PATH)
PLACES = [(path, method) for path, methods in DOCUMENT["paths"].items() for method in methods if path.startswith("/ops/api")]
QUESTIONS = schemathesis.openapi.from_dict(without_security(DOCUMENT)).include(path_regex="^/ops/api/|^/readyz|^/healthz")

# Not that all valid data is accepted: a cursor is a string that only we can make.
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
    unsupported_method,
]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, cluster: Cluster) -> Iterator[Service]:
    """A service on PostgreSQL with one delivery of each kind; test_api has one on SQLite."""
    directory = tmp_path_factory.mktemp("openapi")
    url = cluster.create_database("openapi")
    with serving(directory, url, ops_tokens=OPS, trusted_proxies="127.0.0.1") as service:
        for file in sorted(Path("tests/payloads/ship24").glob("*.json")):
            service.post(file.read_bytes())
        service.post(ship24.single("known"))
        service.post(ship24.single("refused"), token="wrong")
        yield service


@pytest.fixture(scope="module")
def connection() -> Iterator[requests.Session]:
    """A connection for all calls. It looks for no proxy before each."""
    with requests.Session() as session:
        session.trust_env = False
        yield session


@QUESTIONS.parametrize()
@settings(max_examples=40)
def test_every_answer_is_as_described(case: schemathesis.Case[Any], running: Service, connection: requests.Session) -> None:
    """What was made wrong by a parameter that cannot be sent (none, or of nothing) arrives without it, and is right.

    So may be one that is trimmed: its length counts then.

    A body that is wrong by its length may be refused for its size.
    """
    response = case.call(base_url=running.url, session=connection, headers={"authorization": f"Bearer {OPS}"})
    sent = (case.query or {}).values()
    vanishing = [value for value in sent if value in (None, "", [], {}) or (isinstance(value, str) and trim(value) != value)]
    cannot_be_wrong = vanishing or response.status_code == 413
    case.validate_response(
        response, checks=[check for check in CHECKS if not (check is negative_data_rejection and cannot_be_wrong)]
    )


def test_the_document_is_served_as_it_is_made(running: Service) -> None:
    assert running.get("/ops/api/openapi.json", token=OPS).json() == json.loads(json.dumps(DOCUMENT))


def test_a_path_that_is_read_and_written_is_described_for_both() -> None:
    described = {(path, method) for path, methods in DOCUMENT["paths"].items() for method in methods}
    reads = {(PREFIX + endpoint.path.replace(":sender_id}", "}"), "get") for endpoint in READ_ENDPOINTS}
    assert reads | {(PREFIX + endpoint.path, "post") for endpoint in COMMAND_ENDPOINTS} <= described


@each_row(("path", "method"), PLACES)
def test_nothing_is_answered_without_an_ops_token(running: Service, path: str, method: str) -> None:
    """A sender's token is none. The limit of wrong ones is that of an address."""
    client = ("X-Forwarded-For", f"192.0.2.{PLACES.index((path, method)) + 1}")
    for token in (None, "wrong", TOKEN):
        answer = running.call(method.upper(), path, b"{}", [*bearer(token), client])
        assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
