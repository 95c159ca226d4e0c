"""The simulator passes a receiver that keeps the promises and fails one that does not."""

import json
import re
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from receiver import cli
from receiver.cli.simulate import describe
from receiver.testkit.simulate.comparison import OpsRefused
from receiver.testkit.simulate.planning import make_plan
from receiver.testkit.simulate.records import TrafficShape
from receiver.testkit.simulate.report import Report, make_report
from receiver.testkit.simulate.run import DeliveryRejected, NoServer, SimulationOptions, run
from receiver.testkit.simulate.sender import Progress, SimulationTarget
from tests.conftest import StartService
from tests.harness.command import run_command
from tests.harness.endpoint import CLOSE, HANG, Answer, Call, Wire, answering, drip, say
from tests.harness.fake_receivers import FakeReceiver, Forgetful, LastArrival, Locked, Repetitive, TextOrder, faltering
from tests.harness.ports import free_port
from tests.harness.rows import Not
from tests.harness.service import SHIP24, TOKEN, Service
from tests.harness.table import each_row

OPS = "the-ops-token-of-these-tests"
SHIIPP = "the-shiipp-token-of-these-tests"
PACKAGES, MANIFESTS = "/webhooks/shiipp/new-package", "/webhooks/shiipp/manifest-status"
RUN = "00c0ffee"
QUICK = TrafficShape(calls=40, rate=400, group=5, duplicates=20)
AT_ONCE = (0.01,) * 5
Tell = Callable[[Progress], None]
Command = Callable[..., tuple[int, str, str]]


def nothing(_progress: Progress) -> None:
    pass


def simulate(
    url: str,
    *,
    shape: TrafficShape = QUICK,
    order: SimulationOptions | None = None,
    tell: Tell = nothing,
    token: str = TOKEN,
    **options: Any,
) -> Report:
    target = SimulationTarget({"tracking": url}, token, options.pop("steps", AT_ONCE), **options)
    plan = make_plan("ship24", 1, RUN, shape)
    return make_report(plan, run(plan, target, order or SimulationOptions(), tell))


def counts(report: Report) -> list[int | None]:
    return [figure.value for figure in (report.lost, report.doubled, report.wrong)]


def try_out(fake: FakeReceiver, **options: Any) -> Report:
    with answering(choose=fake.choose) as endpoint:
        return simulate(endpoint.url, **options)


def test_our_own_service_loses_doubles_and_mistakes_nothing(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url, ops_tokens=OPS, shiipp_tokens=SHIIPP)
    try_ship24(running)
    try_shiipp(running)


def try_ship24(running: Service) -> None:
    env = running.env | {"SIMULATE_TOKEN": TOKEN, "SIMULATE_OPS_TOKEN": OPS, "COLUMNS": "80"}
    command = ("simulate", running.url + SHIP24, "--calls", "100", "--rate", "300", "--json")
    done = run_command(*command, cwd=running.directory, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert [report[name]["count"] for name in ("lost", "doubled", "wrong")] == [0, 0, 0]
    expected_states = sum(tracker.expected is not None for tracker in make_plan("ship24", 1, RUN, TrafficShape(100)).trackers)
    assert report["wrong"]["how"] == f"{expected_states} trackers probed, {expected_states} compared with the ops API"
    assert (report["head"], report["test_call"]) == ("200", "200")
    assert report["messages"]["outcomes"].keys() == {"applied", "stale", "duplicate", "recorded"}
    assert report["messages"]["accepted"] == report["messages"]["sent"]
    assert OPS not in done.stdout
    assert TOKEN not in done.stdout


def try_shiipp(running: Service) -> None:
    plan = make_plan("shiipp", 1, RUN, QUICK)
    urls = {"new-package": running.url + PACKAGES, "manifest-status": running.url + MANIFESTS}
    report = make_report(plan, run(plan, SimulationTarget(urls, SHIIPP, AT_ONCE), SimulationOptions(OPS), nothing))
    assert counts(report) == [0, 0, 0]
    assert report.messages["outcomes"]["stale"] > 0
    assert f"{len(plan.trackers)} compared" in report.wrong.how


def test_a_kill_and_a_restart_lead_to_retries_and_to_nothing_else(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url, ops_tokens=OPS)
    under_way = threading.Event()

    def tell(progress: Progress) -> None:
        if progress.done > 20:
            under_way.set()

    def kill() -> None:
        under_way.wait()
        running.kill()
        running.restart()

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        shape = TrafficShape(calls=200, rate=200)
        steps = (0.1,) * 300
        report = simulate(running.url + SHIP24, shape=shape, order=SimulationOptions(OPS), tell=tell, steps=steps)
    finally:
        under_way.set()
        killer.join()
    assert counts(report) == [0, 0, 0]
    assert report.calls["retries"] > 0
    assert report.calls["given_up"] == 0
    assert report.answers["connection"] > 0
    assert report.recovery_seconds > 0


def test_a_receiver_that_knows_the_rules_is_found_good() -> None:
    report = try_out(FakeReceiver())
    assert counts(report) == [0, 0, 0]
    assert report.is_good


@each_row(
    ("fake", "found"),
    [(Forgetful(), "lost"), (Repetitive(), "doubled"), (LastArrival(), "wrong"), (TextOrder(), "wrong"), (Locked(), "wrong")],
)
def test_a_receiver_that_does_one_thing_wrong_is_found_out(fake: FakeReceiver, found: str) -> None:
    report = try_out(fake)
    assert getattr(report, found).value
    assert not report.is_good
    assert found in {example["what"] for example in report.examples}


@each_row(
    "answer",
    [
        say(200, body=b"fine"),
        say(204, body=b""),
        say(200, body=b"[" * 100_000),
        say(200, body=b'{"messages": [{"message_id": [], "outcome": {}}]}'),
        say(200, body=b'{"messages": "\xff"}'),
        say(200, body=b"\0" * 5_000_000),
    ],
    ids=["text", "empty", "deep", "wrong shape", "not UTF-8", "5 MB"],
)
def test_of_a_receiver_without_verdicts_nothing_is_claimed(answer: Answer) -> None:
    with answering(answer) as endpoint:
        report = simulate(endpoint.url, shape=TrafficShape(calls=5, rate=100))
    assert counts(report) == [None, None, None]
    assert report.calls["refused"] == 0
    assert report.is_good


@each_row("status", ["false", '"False"'])
def test_success_false_is_a_failure(status: str) -> None:
    with answering(say(200, body=b'{"success": %s}' % status.encode())) as endpoint:
        report = simulate(endpoint.url, shape=TrafficShape(calls=3, rate=100), steps=(0.0,))
    assert report.calls["accepted"] == 0
    assert report.lost.value == report.messages["sent"]
    assert report.calls["given_up"] == report.calls["made"] > 0
    assert report.calls["attempts"] == 2 * report.calls["made"], "where nothing is taken, nothing is sent again"


@each_row("takes", [False, True], ids=["not taken", "taken"])
@each_row("failure", [say(503), say(500), CLOSE], ids=["503", "500", "no answer"])
def test_a_failed_delivery_is_retried_whether_it_was_stored_or_not(failure: Answer, takes: bool) -> None:
    fake = FakeReceiver()
    with answering(choose=faltering(fake, failure, takes=takes)) as endpoint:
        report = simulate(endpoint.url)
    assert report.calls["retries"] > 0
    assert report.calls["given_up"] == 0
    assert counts(report) == [0, 0, None if takes else 0]  # the answers to the probes are lost too


def test_a_redirect_is_a_failure_and_is_not_followed() -> None:
    fake = FakeReceiver()
    with answering() as elsewhere:
        redirect = say(307, f"Location: {elsewhere.url}")
        with answering(choose=faltering(fake, redirect)) as endpoint:
            report = simulate(endpoint.url)
        assert elsewhere.connections == 0
    assert report.answers["307"] == report.calls["retries"] > 0
    assert counts(report) == [0, 0, 0]


@each_row(
    "slow",
    [HANG, drip(b"HTTP/1.1 200 OK\r\nX: "), drip(b"HTTP/1.1 200 OK\r\n\r\n{")],
    ids=["nothing", "a head without end", "a body without end"],
)
def test_an_answer_that_does_not_end_in_time_is_a_failure(slow: Answer) -> None:
    fake = FakeReceiver()
    with answering(choose=faltering(fake, slow, most=3)) as endpoint:
        report = simulate(endpoint.url, shape=TrafficShape(calls=3, rate=100), timeout_seconds=0.3)
    assert report.answers["timeout"] == report.calls["retries"] > 0
    assert counts(report) == [0, 0, 0]


def test_a_stall_is_visible_in_the_latency_of_all_deliveries_that_were_due() -> None:
    fake, stalled = FakeReceiver(), threading.Event()

    def stall(call: Call, wire: Wire) -> bool:
        wire.closing.wait(0.3)
        return fake.choose(call)(call, wire)

    def choose(call: Call) -> Answer:
        if len(endpoint.calls) < 3 or stalled.is_set():
            return fake.choose(call)
        stalled.set()
        return stall

    with answering(choose=choose) as endpoint:
        report = simulate(endpoint.url, shape=TrafficShape(calls=20, rate=100), connections=1)
    assert report.latency_ms["p50"] is not None
    assert report.latency_ms["p50"] >= 100  # the last call was due after 0.2 s, the first answer came after 0.3 s


def test_ctrl_c_ends_it_with_what_is_known() -> None:
    def press(_progress: Progress) -> None:
        raise KeyboardInterrupt

    report = try_out(FakeReceiver(), tell=press)
    assert report.interrupted
    assert counts(report) == [None, None, None]
    assert not report.is_good


def test_deliveries_that_ctrl_c_cuts_short_are_not_counted() -> None:
    def press(_progress: Progress) -> None:
        if len(endpoint.calls) > 5:
            raise KeyboardInterrupt

    plan = make_plan("ship24", 1, RUN, QUICK)
    answers = [say(200, body=b"{}")] * 2
    with answering(choose=lambda _call: answers.pop() if answers else HANG) as endpoint:
        result = run(plan, SimulationTarget({"tracking": endpoint.url}, TOKEN, AT_ONCE), SimulationOptions(), press)
    report = make_report(plan, result)
    assert (report.answers, report.messages["sent"], report.messages["trackers"]) == ({}, 0, 0)


def test_head_without_an_answer_is_reported_and_the_rest_is_tried() -> None:
    fake = FakeReceiver()
    with answering(choose=lambda call: fake.choose(call) if call.body else CLOSE) as endpoint:
        report = simulate(endpoint.url, shape=TrafficShape(calls=5, rate=100))
    assert (report.head, counts(report)) == ("connection", [0, 0, 0])


def test_of_a_secure_receiver_the_certificate_has_to_be_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    command += [
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-keyout",
        str(files[0]),
        "-out",
        str(files[1]),
    ]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files[1], files[0])
    with answering(choose=FakeReceiver().choose, tls=context) as endpoint:
        with pytest.raises(NoServer, match="certificate"):
            simulate(endpoint.url)
        monkeypatch.setenv("SSL_CERT_FILE", str(files[1]))
        assert counts(simulate(endpoint.url, shape=TrafficShape(calls=5, rate=100))) == [0, 0, 0]


@each_row(("status", "why"), [(401, "token"), (403, "address"), (404, "path"), (405, "POST"), (301, "redirect")])
def test_who_is_not_let_in_does_not_try_thousands_of_times(status: int, why: str) -> None:
    with answering(choose=lambda call: say(status if call.body else 200)) as endpoint:
        with pytest.raises(DeliveryRejected, match=rf"{status} .*{why}"):
            simulate(endpoint.url)
        assert len(endpoint.calls) == 2


def test_without_a_server_nothing_is_retried() -> None:
    with pytest.raises(NoServer, match="no connection"):
        simulate(f"http://127.0.0.1:{free_port()}{SHIP24}")


@each_row("answer", [say(401), say(200, body=b"[]"), say(200, body=b"<html>"), CLOSE], ids=["401", "a list", "a page", "nothing"])
def test_a_wrong_ops_api_is_noticed_before_the_traffic(answer: Answer) -> None:
    fake = FakeReceiver()
    with answering(choose=lambda call: answer if "/ops/" in call.path else fake.choose(call)) as endpoint:
        with pytest.raises(OpsRefused, match="ops API was asked"):
            simulate(endpoint.url, order=SimulationOptions("a-token"))
        assert [call.path for call in endpoint.calls if "/ops/" not in call.path] == ["/told", "/told"]


def test_an_ops_api_that_goes_away_leaves_its_part_out() -> None:
    fake, answers = FakeReceiver(), [say(200, body=b"{}"), say(404), say(404), say(403)]

    def choose(call: Call) -> Answer:
        return answers.pop(0) if "/ops/" in call.path else fake.choose(call)

    with answering(choose=choose) as endpoint:
        report = simulate(endpoint.url, order=SimulationOptions("a-token"))
    assert report.wrong.value == 2
    assert re.fullmatch(r"\d+ trackers probed, 2 of \d+ compared with the ops API", report.wrong.how)


def test_the_test_delivery_comes_from_another_address(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url, ship24_ip_policy="enforce", ship24_allowed_ips="127.0.0.1")
    report = simulate(running.url + SHIP24, shape=TrafficShape(calls=2), order=SimulationOptions(test_call_from="127.0.0.2"))
    assert report.test_call == "403"
    assert counts(report) == [0, 0, 0]
    assert running.count("deliveries", client="127.0.0.2", status=403) == 1
    assert running.count("deliveries", client="127.0.0.1", status=Not(200)) == 0


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    """Run the command in this process, in a terminal of 80 columns."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("SIMULATE_TOKEN", "SIMULATE_OPS_TOKEN"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str, marked: bool = False) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["receiver", "simulate", *arguments, *([] if marked else ["--unmarked"])])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert isinstance(ended.value.code, int)
        return ended.value.code, *capsys.readouterr()

    return run


@pytest.mark.parametrize("fake", [FakeReceiver(), Forgetful()])
def test_the_report_fits_a_terminal_and_tells_no_secret(command: Command, fake: FakeReceiver, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n", encoding="utf-8")
    with answering(choose=fake.choose) as endpoint:
        url = f"{endpoint.url}?key=hidden"
        code, out, err = command(url, "--token-file", f"{tmp_path}/token", "--calls", "40", "--rate", "400", "--group", "5")
    assert code == (1 if isinstance(fake, Forgetful) else 0)
    assert max(map(cell_len, out.splitlines())) <= 80
    assert err == ""
    assert {call.headers["authorization"] for call in endpoint.calls if call.body} == {f"Bearer {TOKEN}"}
    assert {call.path for call in endpoint.calls} == {"/told?key=hidden"}
    assert TOKEN not in out
    assert "hidden" not in out
    assert re.search(r"^lost +\d+ +sent again", out, re.MULTILINE)


def test_a_run_that_was_sent_before_is_reported_as_repeated(command: Command) -> None:
    with answering(choose=FakeReceiver().choose) as endpoint:
        order = (endpoint.url, "--token", TOKEN, "--calls", "8", "--rate", "400", "--run")
        first, second, third = (command(*order, digits) for digits in ("1", "1", "2"))
    assert (first[0], second[0], third[0]) == (0, 1, 0)
    assert "This --run was probably sent" in second[1]
    assert "This --run was probably sent" not in first[1] + third[1]


def test_wrong_use_is_one_line_without_the_token(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    there = f"http://127.0.0.1:{free_port()}{SHIP24}"
    wrong = (
        (there,),
        (there, "--token-file", "/nowhere"),
        (there, "--token-file", "/dev/null"),
        (there, "--token-file", "/dev/null", "--token", TOKEN),
        (there, "--token", "hidden words"),
        (there.replace("//", "//me:hidden@"), "--token", TOKEN),
        ("ftp://127.0.0.1/", "--token", TOKEN),
        (there, "--token", TOKEN, "--run", "xyz"),
        (there, "--token", TOKEN, "--rate", "nan"),
        (there, "--token", TOKEN, "--seconds", "inf"),
        (there, "--token", TOKEN, "--test-call-from", "somewhere"),
        (there, "--token", TOKEN, "--seconds", "1e308"),
    )
    for arguments in wrong:
        code, out, err = command(*arguments)
        assert (code, out, err.count("\n")) == (2, "", 1), arguments
        assert "hidden" not in err
    code, _, err = command(there, "--token", TOKEN)
    assert (code, err.count("\n")) == (1, 1)
    monkeypatch.setenv("SIMULATE_TOKEN", TOKEN)
    with answering(say(401)) as endpoint:
        code, _, err = command(endpoint.url)
    assert code == 2
    assert "token" in err


def test_the_line_that_follows_a_run_fits_a_terminal() -> None:
    line = describe(Progress("resend", 200_000, 199_999, 3_999_999, 199_999, "timeout"))
    assert line == "resend: 199,999 of 200,000, 3,999,999 retries, 199,999 waiting (too late)"
    assert len(line) < 78, "a mark that turns stands before it"


def test_the_url_of_manifests_is_derived_from_that_of_packages(command: Command) -> None:
    with answering() as endpoint:
        command(f"{endpoint.url}/shiipp/new-package/?key=1", "--token", TOKEN, "--calls", "30", "--rate", "400", "--group", "1")
    beside = {"/told/shiipp/new-package/?key=1", "/told/shiipp/manifest-status/?key=1"}
    assert {call.path for call in endpoint.calls} == beside
