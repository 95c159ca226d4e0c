"""Traces: a span for each delivery and each commit, nothing of a request in them, and nothing at all unless asked for."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from receiver.monitoring.traces import read_trace_request, start_traces
from tests.harness import ship24
from tests.harness.otel_collector import Collector, collecting
from tests.harness.service import PATIENT, TOKEN, Service, wait_until
from tests.harness.table import each_row

POST = "POST /webhooks/ship24"
FAST = {"OTEL_BSP_SCHEDULE_DELAY": "100", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
OPS = "the-ops-token-of-these-tests"

StartTraced = Callable[..., Service]


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector on loopback."""
    with collecting() as started:
        yield started


@pytest.fixture
def traced(tmp_path: Path) -> Iterator[StartTraced]:
    """Start a service with variables of OpenTelemetry."""
    with ExitStack() as stack:

        def start(**variables: str) -> Service:
            service = Service(tmp_path, f"sqlite:///{tmp_path}/receiver.db", ops_tokens=OPS, **PATIENT)
            service.env.update(FAST | variables)
            service.migrate()
            stack.callback(service.close)
            return service.start()

        yield start


def test_each_delivery_and_each_commit_is_a_span_with_words_and_numbers_of_ours_only(
    traced: StartTraced, collector: Collector
) -> None:
    running = traced(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_EXPORTER_OTLP_HEADERS="x-key=secret-of-the-collector")
    planted = {
        "word-in-a-body",
        "word-in-the-query",
        "word-in-a-header",
        "the-wrong-token",
        "00-4bf92f3577b34da6a3ce929d0e0e4736",
    }
    item = ship24.item("word-in-a-body-id", "word-in-a-body-tracker", [ship24.event("word-in-a-body-event")])
    odd = [("x-odd", "word-in-a-header"), ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")]
    kept = running.post(ship24.body(item), path="/webhooks/ship24?word-in-the-query=1", headers=odd)
    running.post(b"word-in-a-body, no JSON")
    running.post(ship24.body(item), token="the-wrong-token")
    running.call("HEAD", "/webhooks/ship24")
    wait_until(lambda: len(collector.spans(POST)) == 3 and len(collector.spans("commit")) >= 3, "the spans come")
    assert running.stop() == 0
    own = {"http.request.method": "POST", "http.route": "/webhooks/ship24", "receiver.source": "ship24"}
    first, *others = sorted(collector.spans(POST), key=lambda span: span["http.response.status_code"])
    counts = {"received": 1, "applied": 1, "stale": 0, "duplicate": 0, "recorded": 0, "quarantined": 0}
    expected = {f"receiver.{name}": number for name, number in counts.items()}
    delivery_id = kept.json()["delivery_id"]
    assert first == own | expected | {"http.response.status_code": 200, "receiver.delivery_id": delivery_id, "status": 0}
    assert [(span["http.response.status_code"], span["error.type"]) for span in others] == [
        (400, "invalid_json"),
        (401, "unauthorized"),
    ]
    assert {"receiver.deliveries": 1, "receiver.ship24.applied": 1, "status": 0} in collector.spans("commit")
    assert collector.names() == {POST, "commit"}
    assert collector.headers["x-key"] == "secret-of-the-collector"
    sent = b"".join(collector.bodies)
    assert [word for word in [*planted, TOKEN, OPS, "127.0.0.1", "secret-of"] if word.encode() in sent] == []
    assert "secret-of-the-collector" not in running.logs()


def test_the_name_and_the_sampling_of_the_standard_variables_count(traced: StartTraced, collector: Collector) -> None:
    running = traced(
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"{collector.url}/v1/traces",
        OTEL_SERVICE_NAME="parcels",
        OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=shop",
        OTEL_TRACES_SAMPLER="traceidratio",
        OTEL_TRACES_SAMPLER_ARG="0.5",
    )
    for number in range(64):
        running.post(ship24.single(f"m-{number}"))
    assert running.stop() == 0
    service = collector.service()
    assert (service["service.name"], service["deployment.environment.name"]) == ("parcels", "shop")
    assert 0 < len(collector.spans(POST)) < 64


def test_a_collector_that_is_gone_costs_one_line_and_no_delivery(traced: StartTraced, collector: Collector) -> None:
    collector.status = 503
    running = traced(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
    for number in range(3):
        assert running.post(ship24.single(f"m-{number}")).status == 200
        wait_until(lambda: running.logs().count("traces_not_sent") == 1, "it is logged")
    collector.status = 200
    running.post(ship24.single("m-9"))
    wait_until(lambda: "traces_sent_again" in running.logs(), "the end is logged")
    assert running.stop() == 0
    assert running.logs().count("traces_not_sent") == 1


def test_without_variables_nothing_of_it_is_loaded_or_called() -> None:
    program = (
        "import sys; from receiver.service import try_application; from receiver.settings import load; "
        "from receiver.monitoring.traces import start_traces; "
        "try_application(load({})); assert start_traces({}) is None; "
        "print([name for name in sys.modules if 'opentelemetry' in name or name.endswith('.spans')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "[]"


@each_row(
    "variables, wanted, problem",
    [
        ({}, False, None),
        ({"OTEL_SERVICE_NAME": "parcels"}, False, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, True, None),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, True, None),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True, None),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, False, None),
        ({"OTEL_SDK_DISABLED": "True", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, False, None),
        ({"OTEL_TRACES_EXPORTER": "console"}, False, "OTEL_TRACES_EXPORTER: expected otlp or none."),
        (
            {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317"},
            False,
            "OTEL_EXPORTER_OTLP_PROTOCOL: expected http/protobuf.",
        ),
    ],
)
def test_the_standard_variables_switch_it_on(variables: dict[str, str], wanted: bool, problem: str | None) -> None:
    assert read_trace_request(variables) == (wanted, problem)


def test_without_the_extra_the_service_says_so_and_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ["opentelemetry", *(name for name in sys.modules if name.startswith("opentelemetry."))]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "receiver.monitoring.spans", raising=False)
    with capture_logs() as lines:
        assert start_traces({"OTEL_TRACES_EXPORTER": "otlp"}) is None
    (line,) = lines
    assert (line["event"], line["log_level"]) == ("traces_disabled", "warning")
    assert "extra otel" in line["cause"]
