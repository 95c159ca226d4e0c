"""Every setting of the contract: where it is read from, and the errors for wrong values."""

from datetime import date
from ipaddress import ip_network
from pathlib import Path

import pytest

from receiver.access.bearer import AddressPolicy
from receiver.domain.alarms import AlarmThresholds
from receiver.errors import ConfigurationError
from receiver.settings import Settings, find_ignored, load
from tests.harness.table import each_row

GIVEN = "s3cr3t-hunter2"
SOURCES = ("ship24", "shiipp")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory: no `.env`, no `config/receiver.toml`."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: Path, text: str) -> str:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return str(path)


def refuse(environment: dict[str, str]) -> str:
    """Return the words in which an environment is refused."""
    with pytest.raises(ConfigurationError) as refusal:
        load(environment)
    return refusal.value.message


@each_row(
    ("field", "default"),
    [
        ("database_url", "sqlite:///data/receiver.db"),
        ("host", "127.0.0.1"),
        ("port", 8080),
        ("ship24_tokens", ()),
        ("ship24_allowed_ips", (ip_network("3.222.254.223"), ip_network("54.161.7.2"))),
        ("ship24_ip_policy", AddressPolicy.ENFORCE),
        ("shiipp_tokens", ()),
        ("shiipp_allowed_ips", ()),
        ("shiipp_ip_policy", AddressPolicy.OFF),
        ("ops_tokens", ()),
        ("trusted_proxies", ()),
        ("max_body_bytes", 5_242_880),
        ("max_future_hours", 48),
        ("body_retention_days", 90),
        ("log_format", "json"),
        ("alarm_url", None),
        ("alarm_command", ()),
        ("ship24_silence_hours", None),
        ("shiipp_silence_hours", None),
        ("alarm_refused", 100),
        ("alarm_quarantined", 10),
        ("alarm_stale_percent", 50),
        ("alarm_disk_percent", 10),
        ("alarm_token_days", 14),
        ("alarm_target_minutes", 60),
        ("token_ends", {}),
    ],
)
def test_the_defaults_are_those_of_the_contract(field: str, default: object) -> None:
    assert getattr(load({}), field) == default


@each_row(
    ("name", "value", "expected"),
    [
        ("RECEIVER_DATABASE_URL", "postgresql://h/d", "postgresql://h/d"),
        ("DATABASE_URL", "postgres://h/d", "postgres://h/d"),
        ("RECEIVER_HOST", "0.0.0.0", "0.0.0.0"),
        ("RECEIVER_PORT", "0", 0),
        ("PORT", "5000", 5000),
        ("RECEIVER_SHIP24_ALLOWED_IPS", "10.0.0.0/8", (ip_network("10.0.0.0/8"),)),
        ("RECEIVER_SHIP24_IP_POLICY", "report", AddressPolicy.REPORT),
        ("RECEIVER_SHIIPP_ALLOWED_IPS", " ::1 , 1.2.3.4, ", (ip_network("::1"), ip_network("1.2.3.4"))),
        ("RECEIVER_SHIIPP_IP_POLICY", "enforce", AddressPolicy.ENFORCE),
        ("RECEIVER_TRUSTED_PROXIES", "10.0.0.0/8,fd00::/8", (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))),
        ("RECEIVER_MAX_BODY_BYTES", "1024", 1024),
        ("RECEIVER_MAX_FUTURE_HOURS", "12.5", 12.5),
        ("RECEIVER_BODY_RETENTION_DAYS", "0", 0),
        ("RECEIVER_LOG_FORMAT", "console", "console"),
        ("RECEIVER_ALARM_URL", " ", None),
        ("RECEIVER_ALARM_COMMAND", "", ()),
        ("RECEIVER_ALARM_COMMAND", "sh -c 'a b' \"c d\" $e", ("sh", "-c", "a b", "c d", "$e")),
        ("RECEIVER_SHIP24_SILENCE_HOURS", "0", 0),
        ("RECEIVER_SHIIPP_SILENCE_HOURS", "1.5", 1.5),
        ("RECEIVER_ALARM_REFUSED", "0", 0),
        ("RECEIVER_ALARM_QUARANTINED", "1", 1),
        ("RECEIVER_ALARM_STALE_PERCENT", "12.5", 12.5),
        ("RECEIVER_ALARM_DISK_PERCENT", "0", 0),
        ("RECEIVER_ALARM_TOKEN_DAYS", "0", 0),
        ("RECEIVER_ALARM_TARGET_MINUTES", "1.5", 1.5),
    ],
)
def test_every_variable_of_the_contract_is_read(name: str, value: str, expected: object) -> None:
    fields = {"DATABASE_URL": "database_url", "PORT": "port"}
    assert getattr(load({name: value}), fields.get(name, name.removeprefix("RECEIVER_").lower())) == expected


LONG, LONG_NAME = "a-token-of-16-ch", "token-5a6f4987"


@each_row("name", ["ship24_tokens", "shiipp_tokens", "ops_tokens"])
@each_row(
    ("value", "expected"),
    [
        pytest.param("", [], id="empty"),
        pytest.param(LONG, [(LONG_NAME, LONG)], id="without a name"),
        pytest.param("abc", [("short-token", "abc")], id="too short for a fingerprint"),
        pytest.param("old:abc,new:def", [("old", "abc"), ("new", "def")], id="with names"),
        pytest.param(f" {LONG} , new: def ,", [(LONG_NAME, LONG), ("new", "def")], id="spaces and an empty entry"),
        pytest.param(f"new:def,{LONG}", [("new", "def"), (LONG_NAME, LONG)], id="never named by its place"),
        pytest.param("a:b:c", [("a", "b:c")], id="colon in the token"),
    ],
)
def test_tokens_have_names(name: str, value: str, expected: list[tuple[str, str]]) -> None:
    tokens = getattr(load({f"RECEIVER_{name.upper()}": value}), name)
    assert [(token.name, token.reveal()) for token in tokens] == expected


def test_the_environment_comes_before_dotenv_before_the_file_before_the_default(folder: Path) -> None:
    write(folder / "config" / "receiver.toml", 'host = "file"\nport = 1\nlog_format = "console"\nmax_body_bytes = 2048\n')
    write(folder / ".env", "RECEIVER_HOST=dotenv\nRECEIVER_PORT=2\nRECEIVER_LOG_FORMAT=json\n")
    settings = load({"RECEIVER_HOST": "environment"})
    assert (settings.host, settings.port, settings.log_format) == ("environment", 2, "json")
    assert (settings.max_body_bytes, settings.body_retention_days) == (2048, 90)


@each_row(("own", "foreign"), [("RECEIVER_PORT", "PORT"), ("RECEIVER_DATABASE_URL", "DATABASE_URL")])
def test_our_own_name_comes_before_the_platforms(own: str, foreign: str) -> None:
    settings = load({foreign: "1", own: "2"})
    assert str(settings.port if own.endswith("PORT") else settings.database_url) == "2"


def test_the_file_takes_lists_and_the_variable_says_where_it_is(folder: Path) -> None:
    path = write(folder / "other.toml", 'trusted_proxies = ["10.0.0.0/8", "fd00::/8"]\n')
    assert len(load({"RECEIVER_CONFIG": path}).trusted_proxies) == 2


def test_the_url_of_alarms_can_stand_in_a_file_of_its_own(folder: Path) -> None:
    path = write(folder / "secret", f"  https://host/{GIVEN}?a=b\n")
    url = load({"RECEIVER_ALARM_URL_FILE": path}).alarm_url
    assert url is not None
    assert (url.reveal(), GIVEN in repr(url)) == (f"https://host/{GIVEN}?a=b", False)


def test_the_last_days_of_tokens_stand_in_the_file(folder: Path) -> None:
    lines = ["[token_ends]", '"ship24:old" = 2026-12-31', '"shiipp:short-token" = 2027-01-31', f'"ops:{LONG_NAME}" = 2020-02-29']
    write(folder / "config" / "receiver.toml", "\n".join(lines))
    tokens = {"RECEIVER_SHIP24_TOKENS": "old:a,new:b", "RECEIVER_SHIIPP_TOKENS": "c", "RECEIVER_OPS_TOKENS": f"d,{LONG}"}
    ends = (
        ("ship24:old", date(2026, 12, 31)),
        ("shiipp:short-token", date(2027, 1, 31)),
        (f"ops:{LONG_NAME}", date(2020, 2, 29)),
    )
    assert load(tokens).alarm_rules().token_ends == ends


@pytest.mark.parametrize(
    ("line", "said"),
    [
        pytest.param(
            '"ship24:odl" = 2026-12-31',
            "entry 1 is not the source and name of a token; the nearest one is ship24:old.",
            id="name",
        ),
        pytest.param(
            '"ship42:old" = 2026-12-31',
            "entry 1 is not the source and name of a token; the nearest one is ship24:old.",
            id="source",
        ),
        pytest.param(
            f'"ship24:{GIVEN}" = 2026-12-31', "entry 1 is not the source and name of a token; the nearest", id="a token itself"
        ),
        pytest.param('"ship24:old" = "2026-12-31"', "expected a table in the file: a token and its last day", id="a text"),
        pytest.param(
            '"ship24:old" = 2026-12-31T00:00:00Z', "expected a table in the file: a token and its last day", id="a moment"
        ),
        pytest.param('"ship24:old" = 20261231', "expected a table in the file: a token and its last day", id="a number"),
        pytest.param("ship24.old = 2026-12-31", "expected a table in the file: a token and its last day", id="without quotes"),
    ],
)
def test_an_invalid_last_day_is_refused(folder: Path, line: str, said: str) -> None:
    write(folder / "config" / "receiver.toml", f"[token_ends]\n{line}\n")
    refusal = refuse({"RECEIVER_SHIP24_TOKENS": f"old:{GIVEN}"})
    assert refusal.startswith(f"RECEIVER_TOKEN_ENDS: {said}")
    assert GIVEN not in refusal


def test_a_last_day_without_any_token_is_refused(folder: Path) -> None:
    write(folder / "config" / "receiver.toml", '[token_ends]\n"ship24:old" = 2026-12-31\n')
    assert refuse({}) == "RECEIVER_TOKEN_ENDS: entry 1 is not the source and name of a token: there are no tokens."


def test_a_command_in_the_file_may_be_a_list(folder: Path) -> None:
    write(folder / "config" / "receiver.toml", 'alarm_command = ["sh", "-c", "a \'b"]\n')
    assert load({}).alarm_command == ("sh", "-c", "a 'b")


def test_the_rules_of_alarms_watch_the_sources_that_are_on() -> None:
    settings = load({"RECEIVER_SHIIPP_TOKENS": GIVEN, "RECEIVER_SHIIPP_SILENCE_HOURS": "5", "RECEIVER_SHIP24_SILENCE_HOURS": "6"})
    assert settings.alarm_rules() == AlarmThresholds({"shiipp": 5.0}, 100, 10, 50.0, 10.0, 14, (), 60, 20, 20)


@pytest.mark.parametrize("name", ["SHIP24_TOKENS", "SHIIPP_TOKENS", "OPS_TOKENS", "DATABASE_URL"])
def test_a_secret_can_stand_in_a_file_of_its_own(folder: Path, name: str) -> None:
    path = write(folder / "secret", f"  {GIVEN}\n")
    settings = load({f"RECEIVER_{name}_FILE": path})
    found = settings.database_url if name == "DATABASE_URL" else getattr(settings, name.lower())[0].reveal()
    assert found == GIVEN


def test_a_secret_given_twice_is_refused(folder: Path) -> None:
    path = write(folder / "secret", GIVEN)
    said = refuse({"RECEIVER_OPS_TOKENS": "x", "RECEIVER_OPS_TOKENS_FILE": path})
    assert "RECEIVER_OPS_TOKENS_FILE and RECEIVER_OPS_TOKENS are both set" in said


def test_a_dollar_sign_in_dotenv_stays_as_it_is(folder: Path) -> None:
    write(folder / ".env", "RECEIVER_SHIP24_TOKENS='a:x${HOME}y'\n")
    assert load({}).ship24_tokens[0].reveal() == "x${HOME}y"


@each_row(
    ("environment", "named"),
    [
        pytest.param({"RECEIVER_SHIP24_TOKEN": GIVEN}, "RECEIVER_SHIP24_TOKENS", id="a letter missing"),
        pytest.param({"RECEIVER_SHIP42_TOKENS": GIVEN}, "RECEIVER_SHIP24_TOKENS", id="letters swapped"),
        pytest.param({"RECEIVER_TRUSTED_PROXY": "10.0.0.0/8"}, "RECEIVER_TRUSTED_PROXIES", id="singular"),
        pytest.param({"RECEIVER_OPS_TOKENS_FILES": "/x"}, "RECEIVER_OPS_TOKENS_FILE", id="plural of a file"),
        pytest.param({"RECEIVER_port": "80"}, "RECEIVER_PORT", id="lower case"),
    ],
)
def test_an_unknown_variable_is_refused_and_the_nearest_named(environment: dict[str, str], named: str) -> None:
    said = refuse(environment)
    assert said == f"{next(iter(environment))} is not a setting. The nearest one is {named}."


def test_variables_of_others_are_not_looked_at() -> None:
    assert load({"HOME": "/", "RECEIVERS": "x", "SHIP24_TOKENS": GIVEN}) == load({})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(
            "max_body_byte = 5000", "max_body_byte is not a setting. The nearest one is max_body_bytes.", id="unknown key"
        ),
        pytest.param("[ship24]\nhost = 1", "ship24 is not a setting.", id="a table"),
        pytest.param(f'ops_tokens = "{GIVEN}"', "ops_tokens is a secret; set RECEIVER_OPS_TOKENS or RECEIVER_OPS", id="a secret"),
        pytest.param(
            f'alarm_url = "https://h/{GIVEN}"', "alarm_url is a secret; set RECEIVER_ALARM_URL or RECEIVER_A", id="a URL"
        ),
        pytest.param("host = ", "expected a readable TOML file", id="not TOML"),
        pytest.param('port = "many"', "RECEIVER_PORT: ", id="a wrong value"),
    ],
)
def test_a_wrong_file_is_refused(folder: Path, text: str, said: str) -> None:
    write(folder / "config" / "receiver.toml", text)
    assert said in refuse({})
    assert GIVEN not in refuse({})


def test_a_file_that_is_named_must_exist() -> None:
    assert refuse({"RECEIVER_CONFIG": "nowhere.toml"}) == "RECEIVER_CONFIG: there is no file nowhere.toml."


@each_row(
    ("name", "value"),
    [
        ("RECEIVER_PORT", GIVEN),
        ("RECEIVER_PORT", "65536"),
        ("RECEIVER_MAX_BODY_BYTES", "1023"),
        ("RECEIVER_MAX_BODY_BYTES", GIVEN),
        ("RECEIVER_MAX_FUTURE_HOURS", "-7"),
        ("RECEIVER_BODY_RETENTION_DAYS", "-1"),
        ("RECEIVER_LOG_FORMAT", GIVEN),
        ("RECEIVER_SHIP24_IP_POLICY", GIVEN),
        ("RECEIVER_SHIP24_ALLOWED_IPS", f"1.2.3.4,{GIVEN}"),
        ("RECEIVER_TRUSTED_PROXIES", GIVEN),
        ("RECEIVER_SHIP24_TOKENS", f"bad name:{GIVEN}"),
        ("RECEIVER_SHIP24_TOKENS", f"{GIVEN},:x"),
        ("RECEIVER_SHIIPP_TOKENS", f"a:{GIVEN},b:"),
        ("RECEIVER_OPS_TOKENS", f"a:{GIVEN},a:other"),
        ("RECEIVER_OPS_TOKENS", f"{GIVEN},other"),
        ("RECEIVER_OPS_TOKENS", f"{GIVEN}\udcff"),
        ("RECEIVER_OPS_TOKENS_FILE", f"/{GIVEN}"),
        ("RECEIVER_ALARM_URL", GIVEN),
        ("RECEIVER_ALARM_URL", f"ftp://host/{GIVEN}"),
        ("RECEIVER_ALARM_URL", f"https:///{GIVEN}"),
        ("RECEIVER_ALARM_URL", f"https://host:port/{GIVEN}"),
        ("RECEIVER_ALARM_URL", f"https://host:99999/{GIVEN}"),
        ("RECEIVER_ALARM_URL", f"https://[host/{GIVEN}"),
        ("RECEIVER_ALARM_URL", f"https://host/{GIVEN} more"),
        ("RECEIVER_ALARM_URL", f"https://host/{GIVEN}\nHost: other"),
        ("RECEIVER_ALARM_URL", f"https://höst/{GIVEN}"),
        ("RECEIVER_ALARM_URL_FILE", f"/{GIVEN}"),
        ("RECEIVER_ALARM_COMMAND", f"sh '{GIVEN}"),
        ("RECEIVER_ALARM_COMMAND", f"/no/such/program {GIVEN}"),
        ("RECEIVER_ALARM_COMMAND", f"sh {GIVEN}\0"),
        ("RECEIVER_SHIP24_SILENCE_HOURS", "-1"),
        ("RECEIVER_SHIP24_SILENCE_HOURS", "infinity"),
        ("RECEIVER_SHIIPP_SILENCE_HOURS", "not-a-number"),
        ("RECEIVER_SHIIPP_SILENCE_HOURS", "8761"),
        ("RECEIVER_ALARM_REFUSED", "-2"),
        ("RECEIVER_ALARM_QUARANTINED", "2.5"),
        ("RECEIVER_ALARM_STALE_PERCENT", "100.5"),
        ("RECEIVER_ALARM_DISK_PERCENT", "nan"),
        ("RECEIVER_ALARM_TOKEN_DAYS", "-3"),
        ("RECEIVER_TOKEN_ENDS", f"ship24:{GIVEN}"),
        ("RECEIVER_HOST", f"{GIVEN}\0"),
        ("RECEIVER_MAX_FUTURE_HOURS", "inf"),
        ("RECEIVER_MAX_FUTURE_HOURS", "1e12"),
        ("RECEIVER_BODY_TIMEOUT_SECONDS", "inf"),
        ("RECEIVER_SHIP24_API_KEY", f'"{GIVEN}"'),
        ("RECEIVER_SHIP24_API_KEY", f"{GIVEN} more"),
        ("RECEIVER_SHIP24_API_KEY", f"{GIVEN}\nmore"),
        ("RECEIVER_SHIP24_API_URL", f"ftp://{GIVEN}"),
        ("RECEIVER_SHIP24_RECONCILE_HOURS", "-1"),
        ("RECEIVER_SHIP24_RECONCILE_HOURS", "48"),  # without an API key
    ],
)
def test_a_wrong_value_names_the_variable_and_is_never_quoted(name: str, value: str) -> None:
    said = refuse({name: value})
    assert said.startswith(f"{name}: ")
    assert not [part for part in (GIVEN, value, "udcff") if part in said]


@each_row("source", SOURCES)
@each_row("policy", ["enforce", "report"])
def test_an_empty_list_of_addresses_is_refused_where_it_counts(source: str, policy: str) -> None:
    prefix = f"RECEIVER_{source.upper()}"
    environment = {f"{prefix}_TOKENS": GIVEN, f"{prefix}_ALLOWED_IPS": "", f"{prefix}_IP_POLICY": policy}
    assert refuse(environment).startswith(f"{prefix}_ALLOWED_IPS: empty while {prefix}_IP_POLICY is {policy}")
    assert load(environment | {f"{prefix}_IP_POLICY": "off"}).access_policy(source).networks == ()


@each_row("source", SOURCES)
def test_a_token_shared_with_ops_is_refused(source: str) -> None:
    said = refuse({f"RECEIVER_{source.upper()}_TOKENS": f"a:{GIVEN}", "RECEIVER_OPS_TOKENS": f"other,b:{GIVEN}"})
    assert said.startswith(f"RECEIVER_OPS_TOKENS: has a token in common with RECEIVER_{source.upper()}_TOKENS")
    assert GIVEN not in said


@each_row("network", ["0.0.0.0/0", "10.0.0.0/8,::/0", "::ffff:0:0/96"])
def test_the_whole_internet_is_not_a_trusted_proxy(network: str) -> None:
    assert refuse({"RECEIVER_TRUSTED_PROXIES": network}).startswith("RECEIVER_TRUSTED_PROXIES: the whole internet")


def test_several_wrong_values_are_all_named() -> None:
    said = refuse({"RECEIVER_PORT": "x", "RECEIVER_LOG_FORMAT": "y"})
    assert ("RECEIVER_PORT: " in said, "RECEIVER_LOG_FORMAT: " in said) == (True, True)


SECRETIVE = {
    "RECEIVER_SHIP24_TOKENS": "a:hunter2-one",
    "RECEIVER_SHIIPP_TOKENS": "b:hunter2-two",
    "RECEIVER_OPS_TOKENS": "hunter2-three",
    "RECEIVER_DATABASE_URL": "postgresql://user:hunter2-four@host/name",
    "RECEIVER_ALARM_URL": "https://user:hunter2-five@alarms.example.com/v1/hunter2-six-and-more?key=hunter2-seven-and-more&x=1",
    "RECEIVER_ALARM_COMMAND": "sh hunter2-eight",
}


def test_settings_hide_their_secrets() -> None:
    settings = load(SECRETIVE)
    assert not [shown for shown in (repr(settings), str(settings), f"{settings}") if "hunter2" in shown]


def test_settings_know_what_must_not_be_written() -> None:
    url = SECRETIVE["RECEIVER_ALARM_URL"]
    told = {url, "hunter2-five", "hunter2-six-and-more", "hunter2-seven-and-more", url.partition(".com/")[2]}
    assert set(load(SECRETIVE).secrets()) == {"hunter2-one", "hunter2-two", "hunter2-three", "hunter2-four", *told}


@each_row(("written", "meant"), [("p%40ss", "p@ss"), ("p#ss", "p#ss"), ("p/ss?", "p/ss?"), ("p:ss", "p:ss")])
def test_a_password_is_a_secret_however_it_is_written(written: str, meant: str) -> None:
    settings = load({"RECEIVER_DATABASE_URL": f"postgresql://user:{written}@host/name"})
    assert {written, meant} <= set(settings.secrets())


@each_row(
    "url",
    [
        "postgresql://u:hunt%20er2@one:1,two:2/n",
        "postgresql://one/n?password=hunt%20er2",
        "postgresql://one/n?x=1&sslpassword=hunt+er2",
    ],
)
def test_a_password_is_a_secret_wherever_it_stands(url: str) -> None:
    assert "hunt er2" in load({"RECEIVER_DATABASE_URL": url}).secrets()


def test_settings_do_not_change() -> None:
    settings: Settings = load({})
    with pytest.raises(ValueError, match="frozen"):
        settings.port = 1


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "latin-1"])
@pytest.mark.parametrize("file", [".env", "config/receiver.toml", "secret"])
def test_a_file_that_is_not_utf_8_is_refused_in_one_line_that_names_it(folder: Path, file: str, encoding: str) -> None:
    (folder / "config").mkdir()
    (folder / file).write_bytes("# Zugänge\n".encode(encoding))
    words = refuse({"RECEIVER_SHIP24_TOKENS_FILE": "secret"} if file == "secret" else {})
    assert words.startswith("RECEIVER_SHIP24_TOKENS_FILE" if file == "secret" else file)
    assert ("expected" in words, "UTF-8" in words, "\n" in words, "Zug" in words) == (True, True, False, False)


def test_a_folder_in_the_place_of_a_file_is_refused_and_a_byte_order_mark_is_read(folder: Path) -> None:
    (folder / ".env").mkdir()
    assert refuse({}).startswith(".env: expected a readable text file: is a directory")
    (folder / ".env").rmdir()
    (folder / ".env").write_bytes(b"\xef\xbb\xbfRECEIVER_LOG_FORMAT=console\n")
    assert load({}).log_format == "console"


@pytest.mark.parametrize(
    "line",
    [
        "RECEIVER_OPS_TOKENS hidden",
        "RECEIVER_OPS_TOKENS: hidden",
        "hidden",
        "export hidden",
        "=hidden",
        "RECEIVER_OPS_TOKENS='hidden",
        'RECEIVER_OPS_TOKENS="hidden" x',
    ],
)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_line_of_dotenv_that_is_not_name_and_value_is_refused_by_its_number(folder: Path, line: str, newline: str) -> None:
    lines = ["# tokens", "RECEIVER_PORT=8080", "OTHER='two", "lines'", "", "   ", line, "RECEIVER_HOST=::1"]
    (folder / ".env").write_bytes(newline.join(lines).encode())
    words = refuse({})
    assert (words.startswith(".env, line 7: expected NAME=VALUE"), "hidden" in words, "\n" in words) == (True, False, False)


def test_dotenv_has_comments_empty_values_exports_and_values_of_several_lines(folder: Path) -> None:
    lines = [
        "# a comment",
        "",
        "RECEIVER_PORT = 81 # with a comment",
        "  ",
        "export RECEIVER_HOST=::1",
        "RECEIVER_ALARM_URL=",
        'X="a',
        'b"',
    ]
    (folder / ".env").write_text("\n".join(lines))
    assert (load({}).port, load({}).host, load({}).alarm_url) == (81, "::1", None)


LINKS = {
    "RECEIVER_SERVICE_HOST": "10.0.48.109",
    "RECEIVER_SERVICE_PORT": "8080",
    "RECEIVER_SERVICE_PORT_HTTP": "8080",
    "RECEIVER_PORT": "tcp://10.0.48.109:8080",
    "RECEIVER_PORT_8080_TCP": "tcp://10.0.48.109:8080",
    "RECEIVER_PORT_8080_TCP_PROTO": "tcp",
    "RECEIVER_PORT_8080_TCP_PORT": "8080",
    "RECEIVER_PORT_8080_TCP_ADDR": "10.0.48.109",
    "RECEIVER_NAME": "/web/receiver",
    "RECEIVER_ENV_PATH": "/bin",
    "RECEIVER_DB_PORT": "tcp://10.0.48.110:5432",
}


def test_variables_of_a_service_named_receiver_are_ignored() -> None:
    assert load(LINKS) == load({})
    assert find_ignored(LINKS) == sorted(LINKS)
    assert find_ignored({"RECEIVER_PORT": "9000"}) == []
    assert load({"RECEIVER_PORT": "9000"}).port == 9000


@each_row("name", ["RECEIVER_SERVIC_HOST", "RECEIVER_NAME", "RECEIVER_PORTS", "RECEIVER_PORT_TCP"])
def test_a_variable_that_is_only_like_one_of_a_service_is_still_an_error(name: str) -> None:
    assert refuse({name: "x"}).startswith(f"{name} is not a setting. The nearest one is RECEIVER_")


@each_row("name", ["SHIP24_TOKENS", "SHIIPP_TOKENS", "OPS_TOKENS"])
@each_row("token", [f'"{GIVEN}"', f"Bearer {GIVEN}", f"bearer {GIVEN}", f"{GIVEN} x", f"{GIVEN}ä", f"{GIVEN}\x01x"])
def test_a_token_that_no_bearer_header_can_carry_is_refused_and_not_shown(name: str, token: str) -> None:
    for given in (token, f"name:{token}"):
        words = refuse({f"RECEIVER_{name}": given})
        assert words.startswith(f"RECEIVER_{name}: entry 1 cannot be sent in a bearer header")
        assert GIVEN not in words


@each_row("name", ["SHIP24_ALLOWED_IPS", "SHIIPP_ALLOWED_IPS", "TRUSTED_PROXIES"])
def test_host_bits_in_a_network_are_refused_with_the_right_network(name: str) -> None:
    for given, right in (("1.2.3.4,10.1.2.3/8", "10.0.0.0/8"), ("::1,fd00::5/8", "fd00::/8")):
        words = refuse({f"RECEIVER_{name}": given})
        assert words.startswith(f"RECEIVER_{name}: entry 2 is an address inside a network; expected the network {right},")


def test_invisible_characters_around_a_value_are_removed() -> None:
    settings = load({"RECEIVER_SHIP24_TOKENS": "\ufeff\u200babc\u00a0, \u200bname:def\n", "RECEIVER_LOG_FORMAT": "console\u00a0"})
    assert ([token.reveal() for token in settings.ship24_tokens], settings.log_format) == (["abc", "def"], "console")


MAIL = {"RECEIVER_ALARM_SMTP_FROM": "receiver@example.com", "RECEIVER_ALARM_SMTP_TO": "ops@example.com, night@example.com"}


def test_a_mail_server_is_a_secret_with_a_sender_and_recipients() -> None:
    settings = load({**MAIL, "RECEIVER_ALARM_SMTP_URL": "smtp://user:planted%3Aword@mail.example:587"})
    assert settings.alarm_smtp_to == ("ops@example.com", "night@example.com")
    assert "planted" not in repr(settings)
    assert {"planted%3Aword", "planted:word"} <= set(settings.secrets())


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"URL": "https://mail.example"}, "expected smtp://user:password@host:587"),
        ({"URL": "smtp://"}, "expected smtp://user:password@host:587"),
        ({"URL": "smtp://mail.example:port"}, "expected smtp://user:password@host:587"),
        ({"URL": "smtp://mail.example\r\nDATA"}, "expected smtp://user:password@host:587"),
        ({"TO": "ops@example.com\nBcc: all@example.com"}, "entry 1 is not a mail address"),
        ({"TO": "ops@example.com,nobody"}, "entry 2 is not a mail address"),
        ({"FROM": "a@example.com,b@example.com"}, "expected one mail address"),
        ({"TO": ""}, "expected all of them, or none"),
        ({"URL": ""}, "expected all of them, or none"),
    ],
)
def test_a_mail_setting_that_cannot_work_is_refused(given: dict[str, str], words: str) -> None:
    written = {**MAIL, "RECEIVER_ALARM_SMTP_URL": "smtp://mail.example"} | {
        f"RECEIVER_ALARM_SMTP_{k}": v for k, v in given.items()
    }
    with pytest.raises(ConfigurationError, match=words):
        load(written)
