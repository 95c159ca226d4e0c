"""The alert rules and the dashboard for Prometheus: made of metrics that are there, and firing when they should."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from docs._alert_rules import FILE as RULES
from docs._alert_rules import read_alert_rules
from docs._dashboard import FILE as DASHBOARD
from docs._dashboard import SECTIONS, make_dashboard
from receiver.domain.alarms import ADVICE
from tests.conftest import lacking
from tests.harness import ship24
from tests.harness.changes import SECRET, write_targets
from tests.harness.service import PATIENT, Service, serving

EXPRESSIONS = [
    *(rule.expression for rule in read_alert_rules()),
    *(query for section in SECTIONS for panel in section.panels for query, _ in panel.queries),
]
_NAME = re.compile(r"\b(?:receiver|process)_\w+")
_SELECTOR = re.compile(r"\b((?:receiver|process)_\w+)\{([^}]*)\}")
_MATCHER = re.compile(r'(\w+)(=|!=|=~|!~)"([^"]*)"')
_OF_PROMETHEUS = {"job", "instance"}


@pytest.fixture(scope="module")
def metrics(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Metric]]:
    """The metrics of a service with a target, after a delivery, by name."""
    directory = tmp_path_factory.mktemp("metrics")
    write_targets(directory, shop="http://127.0.0.1:9")
    with serving(directory, f"sqlite:///{directory}/receiver.db", target_secrets=f"shop:{SECRET}", **PATIENT) as running:
        assert running.post(ship24.single()).status == 200
        yield read_metrics(running)


def read_metrics(running: Service) -> dict[str, Metric]:
    answer = running.get("/metrics")
    assert answer.status == 200, answer.body
    found: dict[str, Metric] = {}
    for family in text_string_to_metric_families(answer.body.decode()):
        suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(family.type, ("",))
        found |= {f"{family.name}{suffix}": family for suffix in suffixes}
    return found


def test_every_metric_of_the_alerts_and_the_dashboard_is_there(metrics: dict[str, Metric]) -> None:
    named = {name for expression in EXPRESSIONS for name in _NAME.findall(expression)}
    assert named - metrics.keys() == set()
    assert len(named) > 25


def test_every_label_and_every_word_that_is_asked_for_is_there(metrics: dict[str, Metric]) -> None:
    asked = set()
    for name, selector in (found for expression in EXPRESSIONS for found in _SELECTOR.findall(expression)):
        for label, operator, value in _MATCHER.findall(selector):
            known = {sample.labels.get(label) for sample in metrics[name].samples} | (set(ADVICE) if label == "alarm" else set())
            if label in _OF_PROMETHEUS or value == "5..":
                continue
            asked.add(label)
            words = value.split("|") if "~" in operator else [value]
            assert set(words) <= known, f"{name}: {label}"
    assert asked == {"alarm", "code", "outcome", "role"}


def test_a_counter_begins_at_zero_so_that_its_first_increase_is_seen(metrics: dict[str, Metric]) -> None:
    counted = {name for rule in read_alert_rules() for name in re.findall(r"increase\((receiver_\w+)", rule.expression)}
    assert [name for name in sorted(counted) if not any(sample.value == 0 for sample in metrics[name].samples)] == []
    assert len(counted) > 4


def test_the_dashboard_is_made_from_its_description() -> None:
    assert DASHBOARD.read_text(encoding="utf-8") == make_dashboard(), "run `make dashboard-file`"
    panels = json.loads(make_dashboard())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    covered = [
        (x, y) for panel in panels for place in [panel["gridPos"]] for x in _span(place, "x", "w") for y in _span(place, "y", "h")
    ]
    assert len(set(covered)) == len(covered), "no panel covers another one"


def _span(place: dict[str, int], start: str, size: str) -> range:
    return range(place[start], place[start] + place[size])


# promtool

MINUTES = 100
UP = 'up{job="receiver",instance="a"}'
QUEUE, LIMIT = 'receiver_queue_deliveries{instance="a"}', 'receiver_queue_limit_deliveries{instance="a"}'
FREE, SIZE = 'receiver_disk_free_bytes{instance="a"}', 'receiver_disk_bytes{instance="a"}'
DEAD = 'receiver_target_dead{target="shop"}'
REFUSED = 'receiver_refused_total{source="ship24",code="unauthorized"}'
QUARANTINED = 'receiver_messages_total{source="ship24",outcome="quarantined"}'
VERSIONS = (
    'receiver_info{instance="a",version="1"}',
    'receiver_info{instance="b",version="2"}',
    'receiver_info{instance="b",version="1"}',
)


def commits(seconds: str) -> dict[str, str]:
    """Return the series of 20 commits a minute that take at most so long."""
    return {f'receiver_commit_seconds_bucket{{instance="a",le="{le}"}}': "0+20x120" for le in (seconds, "+Inf")}


def alarm(name: str) -> dict[str, str]:
    return {f'receiver_alarm{{alarm="{name}",subject="ship24"}}': "1x120"}


CASES: list[tuple[str, dict[str, str], dict[str, str]]] = [
    # alert, series with which it fires, similar series with which nothing fires; one value a minute
    ("ReceiverDown", {UP: "1x90 0x30"}, {UP: "1x99 0x20"}),
    ("ReceiverNotScraped", {UP: "1x60 stale"}, {UP: "1x98 stale"}),
    (
        "ReceiverRestarts",
        {'process_start_time_seconds{job="receiver",instance="a"}': "0+300x120"},
        {'process_start_time_seconds{job="receiver",instance="a"}': "0x90 1x5 2x5 3x20"},
    ),
    (
        "ReceiverNotReady",
        {'receiver_check_passed{instance="a",check="disk"}': "1x60 0x60"},
        {'receiver_check_passed{instance="a",check="disk"}': "0x60 1x60"},
    ),
    (
        "ReceiverAnswers503",
        {'receiver_calls_total{source="ship24",status="503"}': "0+1x120"},
        {'receiver_calls_total{source="ship24",status="401"}': "0+1x120"},
    ),
    ("ReceiverSilence", alarm("silence"), alarm("disk")),
    ("ReceiverRejects", {REFUSED: "0+21x120"}, {REFUSED: "0+19x120"}),
    (
        "ReceiverOpsTokenGuessed",
        {'receiver_ops_refused_total{area="api",code="unauthorized"}': "0+3x120"},
        {'receiver_ops_refused_total{area="api",code="unauthorized"}': "0+1x120"},
    ),
    ("ReceiverQuarantine", {QUARANTINED: "0x89 20x31"}, {QUARANTINED: "0x89 5x31"}),
    ("ReceiverUndecidable", {'receiver_undecidable_total{source="ship24"}': "0x89 1x31"}, {}),
    (
        "ReceiverTargetFailing",
        {'receiver_target_oldest_age_seconds{target="shop"}': "0+60x120"},
        {'receiver_target_oldest_age_seconds{target="shop"}': "1700x120"},
    ),
    ("ReceiverTargetGaveUp", {DEAD: "0x80 2x40"}, {DEAD: "2x120"}),
    ("ReceiverCommitsSlow", commits("2"), commits("0.5")),
    ("ReceiverQueueNearlyFull", {QUEUE: "900x120", LIMIT: "1000x120"}, {QUEUE: "700x120", LIMIT: "1000x120"}),
    ("ReceiverDiskLow", {FREE: "9x120", SIZE: "100x120"}, {FREE: "11x120", SIZE: "100x120"}),
    ("ReceiverDiskFillsUp", {FREE: "1000000-1000x120", SIZE: "1000000x120"}, {FREE: "1000000-10x120", SIZE: "1000000x120"}),
    ("ReceiverMissedDeliveries", alarm("missed"), alarm("target")),
    ("ReceiverAlarm", alarm("relay"), alarm("refused")),
    ("ReceiverVersionsDiffer", dict.fromkeys(VERSIONS[:2], "1x120"), dict.fromkeys((VERSIONS[0], VERSIONS[2]), "1x120")),
    (
        "ReceiverLogLost",
        {'receiver_log_lines_dropped_total{instance="a"}': "0x95 3x25"},
        {'receiver_log_lines_dropped_total{instance="a"}': "3x120"},
    ),
]


@pytest.fixture
def promtool(tmp_path: Path) -> Callable[..., str]:
    """Run promtool in an empty folder; return what it prints, and fail if it finds something wrong."""
    program = shutil.which("promtool")
    if program is None:
        lacking("promtool is not installed (Debian package: prometheus)")

    def run(*arguments: str) -> str:
        done = subprocess.run([program, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_every_alert_has_a_case() -> None:
    assert [name for name, *_ in CASES] == [rule.name for rule in read_alert_rules()]


def test_each_alert_fires_alone_when_it_should_and_not_before(promtool: Callable[..., str], tmp_path: Path) -> None:
    tests = [
        {
            "interval": "1m",
            "input_series": [{"series": name, "values": values} for name, values in ({UP: "1x120"} | series).items()],
            "promql_expr_test": [
                {
                    "expr": 'max by (alertname) (ALERTS{alertstate="firing"})',
                    "eval_time": f"{MINUTES}m",
                    "exp_samples": [{"labels": f'{{alertname="{alert}"}}', "value": 1}] if fires else [],
                }
            ],
        }
        for alert, firing, quiet in CASES
        for fires, series in ((True, firing), (False, quiet))
    ]
    (tmp_path / "test.json").write_text(json.dumps({"rule_files": [str(RULES)], "tests": tests}), encoding="utf-8")
    assert "SUCCESS" in promtool("test", "rules", "test.json")


def test_promtool_takes_the_rules_and_the_queries_of_the_dashboard(promtool: Callable[..., str], tmp_path: Path) -> None:
    assert f"{len(read_alert_rules())} rules found" in promtool("check", "rules", str(RULES))
    queries = [query.replace("$__rate_interval", "5m") for query in EXPRESSIONS]
    rules = [{"record": f"checked:{number}", "expr": query} for number, query in enumerate(queries)]
    (tmp_path / "queries.json").write_text(json.dumps({"groups": [{"name": "all", "rules": rules}]}), encoding="utf-8")
    assert f"{len(queries)} rules found" in promtool("check", "rules", "queries.json")
