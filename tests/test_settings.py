"""Every setting of the contract: where it is read from, and what is refused in which words."""

from ipaddress import ip_network
from pathlib import Path

import pytest

from receiver.errors import ConfigurationError
from receiver.gate import AddressPolicy
from receiver.settings import Settings, load

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


@pytest.mark.parametrize(
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
    ],
)
def test_the_defaults_are_those_of_the_contract(field: str, default: object) -> None:
    assert getattr(load({}), field) == default


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("RECEIVER_DATABASE_URL", "postgresql://h/d", "postgresql://h/d"),
        ("DATABASE_URL", "postgres://h/d", "postgres://h/d"),
        ("RECEIVER_HOST", "0.0.0.0", "0.0.0.0"),
        ("RECEIVER_PORT", "0", 0),
        ("PORT", "5000", 5000),
        ("RECEIVER_SHIP24_ALLOWED_IPS", "10.1.2.3/8", (ip_network("10.0.0.0/8"),)),
        ("RECEIVER_SHIP24_IP_POLICY", "report", AddressPolicy.REPORT),
        ("RECEIVER_SHIIPP_ALLOWED_IPS", " ::1 , 1.2.3.4, ", (ip_network("::1"), ip_network("1.2.3.4"))),
        ("RECEIVER_SHIIPP_IP_POLICY", "enforce", AddressPolicy.ENFORCE),
        ("RECEIVER_TRUSTED_PROXIES", "10.0.0.0/8,fd00::/8", (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))),
        ("RECEIVER_MAX_BODY_BYTES", "1024", 1024),
        ("RECEIVER_MAX_FUTURE_HOURS", "12.5", 12.5),
        ("RECEIVER_BODY_RETENTION_DAYS", "0", 0),
        ("RECEIVER_LOG_FORMAT", "console", "console"),
    ],
)
def test_every_variable_of_the_contract_is_read(name: str, value: str, expected: object) -> None:
    fields = {"DATABASE_URL": "database_url", "PORT": "port"}
    assert getattr(load({name: value}), fields.get(name, name.removeprefix("RECEIVER_").lower())) == expected


@pytest.mark.parametrize("name", ["ship24_tokens", "shiipp_tokens", "ops_tokens"])
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param("", [], id="empty"),
        pytest.param("abc", [("token-1", "abc")], id="without a name"),
        pytest.param("old:abc,new:def", [("old", "abc"), ("new", "def")], id="with names"),
        pytest.param(" abc , new: def ,", [("token-1", "abc"), ("new", "def")], id="spaces and an empty entry"),
        pytest.param("new:def,abc", [("new", "def"), ("token-2", "abc")], id="called by its place"),
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


@pytest.mark.parametrize(("own", "foreign"), [("RECEIVER_PORT", "PORT"), ("RECEIVER_DATABASE_URL", "DATABASE_URL")])
def test_our_own_name_comes_before_the_platforms(own: str, foreign: str) -> None:
    settings = load({foreign: "1", own: "2"})
    assert str(settings.port if own.endswith("PORT") else settings.database_url) == "2"


def test_the_file_takes_lists_and_the_variable_says_where_it_is(folder: Path) -> None:
    path = write(folder / "other.toml", 'trusted_proxies = ["10.0.0.0/8", "fd00::/8"]\n')
    assert len(load({"RECEIVER_CONFIG": path}).trusted_proxies) == 2


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


@pytest.mark.parametrize(
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


@pytest.mark.parametrize(
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
        ("RECEIVER_OPS_TOKENS", f"token-2:{GIVEN},other"),
        ("RECEIVER_OPS_TOKENS", f"{GIVEN}\udcff"),
        ("RECEIVER_OPS_TOKENS_FILE", f"/{GIVEN}"),
    ],
)
def test_a_wrong_value_names_the_variable_and_is_never_quoted(name: str, value: str) -> None:
    said = refuse({name: value})
    assert said.startswith(f"{name}: ")
    assert not [part for part in (GIVEN, value, "udcff") if part in said]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("policy", ["enforce", "report"])
def test_an_empty_list_of_addresses_is_refused_where_it_counts(source: str, policy: str) -> None:
    prefix = f"RECEIVER_{source.upper()}"
    environment = {f"{prefix}_TOKENS": GIVEN, f"{prefix}_ALLOWED_IPS": "", f"{prefix}_IP_POLICY": policy}
    assert refuse(environment).startswith(f"{prefix}_ALLOWED_IPS: empty while {prefix}_IP_POLICY is {policy}")
    assert load(environment | {f"{prefix}_IP_POLICY": "off"}).gate(source).networks == ()


@pytest.mark.parametrize("source", SOURCES)
def test_a_token_shared_with_ops_is_refused(source: str) -> None:
    said = refuse({f"RECEIVER_{source.upper()}_TOKENS": f"a:{GIVEN}", "RECEIVER_OPS_TOKENS": f"other,b:{GIVEN}"})
    assert said.startswith(f"RECEIVER_OPS_TOKENS: has a token in common with RECEIVER_{source.upper()}_TOKENS")
    assert GIVEN not in said


@pytest.mark.parametrize("network", ["0.0.0.0/0", "10.0.0.0/8,::/0", "1.2.3.4/0", "::ffff:0:0/96"])
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
}


def test_settings_hide_their_secrets() -> None:
    settings = load(SECRETIVE)
    assert not [shown for shown in (repr(settings), str(settings), f"{settings}") if "hunter2" in shown]


def test_settings_know_what_must_not_be_written() -> None:
    assert set(load(SECRETIVE).secrets()) == {"hunter2-one", "hunter2-two", "hunter2-three", "hunter2-four"}


@pytest.mark.parametrize(("written", "meant"), [("p%40ss", "p@ss"), ("p#ss", "p#ss"), ("p/ss?", "p/ss?"), ("p:ss", "p:ss")])
def test_a_password_is_a_secret_however_it_is_written(written: str, meant: str) -> None:
    settings = load({"RECEIVER_DATABASE_URL": f"postgresql://user:{written}@host/name"})
    assert {written, meant} <= set(settings.secrets())


def test_settings_do_not_change() -> None:
    settings: Settings = load({})
    with pytest.raises(ValueError, match="frozen"):
        settings.port = 1
