"""The customer list, from a file to the list for Shiipp: imported whole or not at all."""

import csv
import io
import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.domain.customers import Customer, check_rows, read_list, write_csv
from receiver.domain.spreadsheets import describe_damage
from receiver.errors import UnexpectedShape
from tests.harness.table import each_row

ANN = Customer("CUST001", "Ann", "Smith", "Miami")


def refuse(content: bytes, name: str = "list.csv") -> str:
    """Return the words in which a file is refused."""
    with pytest.raises(UnexpectedShape) as refusal:
        read_list(content, name)
    return refusal.value.message


@each_row(
    "content",
    [
        pytest.param(b"UserCode,FirstName,LastName,Branch\nCUST001,Ann,Smith,Miami\n", id="commas"),
        pytest.param(b"UserCode;FirstName;LastName;Branch\nCUST001;Ann;Smith;Miami\n", id="semicolons"),
        pytest.param(
            b"UserCode,FirstName,LastName,Branch\nCUST001,Ann,Smith,Miami\n\xef\xbb\xbfusercode,firstname,LastName,Branch,,\n",
            id="files joined",
        ),
        pytest.param(b"\xef\xbb\xbfUserCode,FirstName,LastName,Branch\nCUST001,Ann,Smith,Miami\n", id="byte order mark"),
        pytest.param(b"user_code,first_name,last_name,branch\ncust001,Ann,Smith,Miami", id="Shiipp's other spelling, no end"),
        pytest.param(b"USERCODE,first name,LASTNAME, Branch \nCUST001,Ann,Smith,Miami\n", id="case and blanks"),
        pytest.param(b"UserCode,FirstName,LastName,Branch\r\n cust001 ,\tAnn, Smith,Miami \r\n", id="blanks around, CR LF"),
        pytest.param(b'"UserCode","FirstName","LastName","Branch"\n"CUST001","Ann","Smith","Miami"\n', id="quoted"),
        pytest.param(b"Branch,Age,LastName,UserCode,FirstName\nMiami,7,Smith,CUST001,Ann\n", id="another order, another column"),
        pytest.param(b"UserCode\tFirstName\tLastName\tBranch\r\nCUST001\tAnn\tSmith\tMiami\r\n", id="tabs"),
        pytest.param("UserCode\tFirstName\tLastName\tBranch\r\nCUST001\tAnn\tSmith\tMiami\r\n".encode("utf-16"), id="UTF-16"),
        pytest.param(b"sep=;\r\nUserCode;FirstName;LastName;Branch\r\nCUST001;Ann;Smith;Miami\r\n", id="a line sep="),
        pytest.param(
            b'\xef\xbb\xbf"sep=|"\nUserCode|FirstName|LastName|Branch\nCUST001|Ann|Smith|Miami\n', id="sep= quoted, a bar"
        ),
        pytest.param(
            b"sep=;;;;\r\nUserCode;FirstName;LastName;Branch\r\nCUST001;Ann;Smith;Miami\r\n", id="a line sep= with empty cells"
        ),
        pytest.param(
            b";;;\nUserCode;FirstName;LastName;Branch\n;;;\n ; ;;\nCUST001;Ann;Smith;Miami;;;\n;;;;;;\n", id="rows of separators"
        ),
        pytest.param(b'UserCode,FirstName,LastName,Branch\n="CUST001",="Ann","=""Smith""",Miami\n', id="text formulas"),
        pytest.param(
            b'UserCode,Remark,FirstName,LastName,Branch\nCUST001,"two\nlines",Ann,Smith,"Miami\n"\n', id="quoted line feeds"
        ),
        pytest.param(b"UserCode,FirstName,LastName,Branch\rCUST001,Ann,Smith,Miami\r", id="CR alone"),
        pytest.param(
            "UserCode,FirstName,LastName,Branch\n\u200bCUST001\u00a0,Ann\ufeff,Smith,\u3000Miami\n".encode(),
            id="Unicode's blanks",
        ),
        pytest.param(
            b"sep=;\nUserCode;A,B,C,D,E;FirstName;LastName;Branch\nCUST001;x;Ann;Smith;Miami\n",
            id="sep= against the most frequent",
        ),
        pytest.param(b"\n \nUserCode;FirstName;LastName;Branch\nCUST001;Ann;Smith;Miami\n", id="blank lines first"),
        pytest.param(b'UserCode,FirstName,LastName,Branch\n=" CUST001 ",Ann,Smith,Miami\n', id="blanks in a text formula"),
        pytest.param(b"UserCode,FirstName,LastName,Branch\n\nCUST001,Ann,Smith,Miami\n\n", id="empty lines"),
    ],
)
def test_a_csv_file_is_read_however_it_is_written(content: bytes) -> None:
    assert read_list(content, "list.CSV") == [ANN]


def test_a_code_in_a_text_formula_keeps_its_zeros() -> None:
    assert read_list(b'UserCode\n="00123"\n', "list.csv") == [Customer("00123")]


@each_row(
    "name",
    [
        "\u0645\u062d\u200c\u0645\u062f",
        "\u0915\u094d\u200d\u0937",
        "王小明",
        "山田\u3000太郎",
        "O\u2019Brien",
        "D'Arc",
        "ne\u0301e",
        "a\u200eb",
        "Łukasz-Żak",
    ],
)
def test_names_stay_as_people_of_all_scripts_write_them(name: str) -> None:
    assert read_list(f"UserCode,LastName\nA,{name}\n".encode(), "list.csv") == [Customer("A", last_name=name)]


ARTEFACTS = {
    "a formula": ["=A1", "=00123", '= "00123"', '="0"&"0123"', '=T("00123")', '=HYPERLINK("http://x")'],
    "an error value": ["#N/A", "#REF!", "#NAME?", "#DIV/0!", "#BEZUG!", "#NV", "Err:508"],
    "a number that a spreadsheet shortened": ["1.23457E+14", "1,2E+05", "1E+20", "1.2e+05"],
}


@each_row(("named", "text"), [(named, text) for named, texts in ARTEFACTS.items() for text in texts])
def test_what_a_spreadsheet_left_of_a_cell_is_refused_by_line_and_column(named: str, text: str) -> None:
    quoted = text.replace('"', '""')
    assert f"Line 3: column UserCode: {named}" in refuse(f'UserCode,LastName\nB,x\n"{quoted}",Li\n'.encode())
    assert f"Line 2: column LastName: {named}" in refuse(f'UserCode,LastName\nA,"{quoted}"\n'.encode())
    assert f"Item 1: column UserCode: {named}" in refuse(orjson.dumps([{"UserCode": text}]), "list.json")
    with pytest.raises(UnexpectedShape, match=f"Row 1: column Branch: {named}"):
        check_rows([("A", orjson.dumps({"UserCode": "A", "Branch": text}).decode())])


@each_row("text", ["#1 SHOP", "1E5", "E+1", "A=B", "+123", "'T HOOFT", "#SHOP", "@HOME"])
def test_what_people_type_is_no_artefact_of_a_spreadsheet(text: str) -> None:
    assert read_list(f"UserCode,LastName\n{text},{text}\n".encode(), "list.csv") == [Customer(text, last_name=text)]


@each_row(("wrong", "named"), [("\x07", "U+0007"), ("\u202e", "U+202E"), ("\u2066", "U+2066"), ("\u2028", "U+2028")])
def test_a_character_that_no_name_has_is_named_with_line_and_column(wrong: str, named: str) -> None:
    message = refuse(f'UserCode,Remark,LastName\nA,"two\nlines",x\nB,,ab{wrong}c\n'.encode())
    assert f"Line 4: column LastName, character 3: {named} " in message
    assert wrong not in message


def test_a_byte_that_is_not_utf_8_is_named_with_its_place() -> None:
    assert "Line 3, character 4: byte 0xFC is not UTF-8" in refuse(b"UserCode,LastName\nA,ok\nB,M\xfcller\n")


def test_rows_of_the_api_are_read_by_the_same_rules() -> None:
    assert check_rows([(" a ", '{"user_code": "a ", "LastName": " Li "}')]) == [("A", '{"UserCode":"A","LastName":"Li"}')]
    for rows in (
        [("A", "{}")],
        [("A", '["UserCode"]')],
        [("A", '{"UserCode":"B"}')],
        [("A", '{"UserCode":"A","Branch":"x\\u202ey"}')],
        [("A", '{"UserCode":"A"}')] * 2,
    ):
        with pytest.raises(UnexpectedShape, match="Row"):
            check_rows(rows)


def test_quoted_fields_keep_separators_and_quotes() -> None:
    content = b'UserCode;LastName\nA;"Smith; ""Jr"", ne\xcc\x81e"\n'
    assert read_list(content, "list.csv") == [Customer("A", last_name='Smith; "Jr", ne\u0301e')]


@each_row("code", ["UserCode", "user_code", "usercode", "User Code", "USER_CODE"])
@each_row("first", ["FirstName", "first_name"])
def test_a_json_array_is_read_in_every_spelling(code: str, first: str) -> None:
    rows = [{code: " cust001 ", first: "Ann", "LastName": "Smith", "Branch": "Miami", "more": [1]}]
    assert read_list(json.dumps(rows).encode(), "list.JSON") == [ANN]
    assert read_list(b"\xef\xbb\xbf" + json.dumps(rows).encode(), "list.json") == [ANN]


def test_codes_that_are_numbers_and_names_that_are_null_or_absent_are_read() -> None:
    content = b'[{"UserCode": 17, "FirstName": null}, {"UserCode": "b"}]'
    assert read_list(content, "list.json") == [Customer("17"), Customer("B")]


def test_what_is_served_has_shiipps_names_and_leaves_out_what_is_empty() -> None:
    assert orjson.loads(ANN.document()) == {"UserCode": "CUST001", "FirstName": "Ann", "LastName": "Smith", "Branch": "Miami"}
    assert orjson.loads(Customer("A", last_name="Ü").document()) == {"UserCode": "A", "LastName": "Ü"}


def test_a_code_that_stands_twice_names_both_lines_whatever_its_case() -> None:
    message = refuse(b"UserCode,FirstName\nA,x\nB,y\n a ,z\n")
    assert "Line 4" in message
    assert "line 2" in message
    assert "Line 3" not in message
    assert "customer code A " in message
    in_json = refuse(b'[{"UserCode": "a"}, {"user_code": "A"}]', "list.json")
    assert "Item 2" in in_json
    assert "item 1" in in_json


@each_row("code", ["", "  ", '""'])
def test_a_missing_code_is_named_with_its_line(code: str) -> None:
    message = refuse(f"UserCode,FirstName\nA,x\n{code},Bob\n".encode())
    assert "Line 3" in message
    assert "customer code" in message
    assert "Bob" not in message


REFUSED = {
    "no column of codes": (b"FirstName,LastName\nAnn,Smith\n", "list.csv", "Line 1"),
    "an empty file": (b"", "list.csv", "Line 1"),
    "not UTF-8": (b"UserCode,LastName\nA,ok\nB,M\xfcller\n", "list.csv", "Line 3"),
    "a cut UTF-16": (b"\xff\xfeU", "list.csv", "Line 1"),
    "not UTF-8, JSON": (b'[\n{"UserCode": "\xfc"}]', "list.json", "Line 2"),
    "an object at the root": (b'{"customers": [{"UserCode": "A"}]}', "list.json", "array"),
    "a text at the root": (b'"UserCode"', "list.json", "array"),
    "broken JSON": (b'[\n{"UserCode": "A"},\n{"UserCode" "B"}]', "list.json", "Line 3"),
    "an empty JSON file": (b"", "list.json", "Line 1"),
    "an item that is no object": (b'[{"UserCode": "A"}, "B"]', "list.json", "Item 2"),
    "a code that is no text": (b'[{"UserCode": {"code": "A"}}]', "list.json", "Item 1"),
    "a code that is true": (b'[{"UserCode": true}]', "list.json", "Item 1"),
    "a code that is too long": (b"UserCode\nA\n" + b"x" * 201, "list.csv", "Line 3"),
    "a name that is too long": (b"UserCode,Branch\nA," + b"x" * 201, "list.csv", "Line 2"),
    "a field over the reader's limit": (b"UserCode,Branch\nA," + b"x" * 200_000, "list.csv", "Line 2"),
    "a NUL": (b"UserCode\nA\nB\0C\n", "list.csv", "Line 3: expected text; there is a NUL character"),
    "UTF-16 without a mark": ("UserCode\nA\n".encode("utf-16-le"), "list.csv", "Line 1: expected text; there is a NUL character"),
    "an error below a line sep=": (b"sep=;\nUserCode;Branch\n;x\n", "list.csv", "Line 3"),
    "files joined with other columns": (
        b"UserCode,LastName\nA,x\nUser_Code,FirstName\n",
        "list.csv",
        "Line 3",
    ),
    "one field in two spellings": (b'[{"UserCode": "A", "user_code": "B"}]', "list.json", "Item 1: UserCode"),
    "a header on the third line": (b"\n\nBranch\n", "list.csv", "Line 3"),
    "an item that is a list": (b'[["UserCode"]]', "list.json", "Item 1: expected a customer code"),
    "an escape": (b"UserCode,FirstName\nA,\x1b[2Jgone\n", "list.csv", "Line 2"),
    "a line break in a name": (b'UserCode,FirstName\nA,"two\nlines"\n', "list.csv", "Line"),
    "a quote that is never closed": (b'UserCode,Remark\nA,"lost\nB,x\nC,y\n', "list.csv", "Line"),
    "more fields than the header has": (b"UserCode,LastName,Branch\nA,Smith, Jr,Miami\n", "list.csv", "Line 2"),
}


@each_row(("content", "name", "place"), REFUSED.values(), ids=REFUSED.keys())
def test_a_file_that_is_wrong_is_refused_with_the_place(content: bytes, name: str, place: str) -> None:
    message = refuse(content, name)
    assert place in message
    assert "\x1b" not in message
    assert "\0" not in message


@each_row("length", [199, 200])
def test_a_name_of_two_hundred_characters_is_read(length: int) -> None:
    assert read_list(b"UserCode,Branch\nA," + b"x" * length, "list.csv") == [Customer("A", branch="x" * length)]


def test_everything_that_is_wrong_is_named_at_once_up_to_a_number() -> None:
    message = refuse(b"UserCode,FirstName\n,a\nB,b\n,c\nB,d\n")
    assert [line.split(":")[0] for line in message.splitlines()[1:]] == ["Line 2", "Line 4", "Line 5"]
    assert "more" not in refuse(b"UserCode,FirstName\n" + b",a\n" * 20)
    many = refuse(b"UserCode,FirstName\n" + b",a\n" * 100)
    assert "80 more" in many
    assert len(many.splitlines()) == 22


def test_a_file_without_customers_is_an_empty_list() -> None:
    assert read_list(b"UserCode\n", "list.csv") == []
    assert read_list(b"[]", "list.json") == []


@each_row("name", ["-2+3", "+SUM(A1)", "@cmd", '-"quoted", and more'])
def test_no_cell_that_was_written_is_a_formula_and_each_is_read_back(name: str) -> None:
    written = write_csv([{"UserCode": "A", "FirstName": name}])
    (_, cells) = csv.reader(io.StringIO(written))
    assert cells[1].startswith('="')
    assert cells[1].endswith('"')
    assert read_list(written.encode(), "x.csv") == [Customer("A", name)]


def test_csv_that_was_written_is_read_back() -> None:
    customers = [ANN, Customer("B", 'quote " comma , semicolon ;', "", "Ünïcode"), Customer("C")]
    written = write_csv(orjson.loads(customer.document()) for customer in customers)
    assert next(csv.reader(io.StringIO(written))) == ["UserCode", "FirstName", "LastName", "Branch"]
    assert read_list(written.encode(), "list.csv") == customers


PRINTABLE = st.text(st.characters(exclude_categories=["Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"]), max_size=20).filter(
    lambda text: describe_damage(text) is None
)


@given(st.lists(st.tuples(PRINTABLE.filter(bool), PRINTABLE, PRINTABLE, PRINTABLE), unique_by=lambda row: row[0].upper()))
def test_any_list_survives_both_forms(rows: list[tuple[str, str, str, str]]) -> None:
    given_rows = [dict(zip(("UserCode", "FirstName", "LastName", "Branch"), row, strict=True)) for row in rows]
    customers = read_list(orjson.dumps(given_rows), "list.json")
    assert [customer.user_code for customer in customers] == [row[0].upper() for row in rows]
    written = write_csv(orjson.loads(customer.document()) for customer in customers)
    assert read_list(written.encode(), "list.csv") == customers


@each_row(
    "content, words",
    [
        (b"UserCode,user_code\nA,B\n", "Line 1, column 2: user_code is already column 1"),
        (b"UserCode,,Branch\nA,stray,B\n", "Line 2: column 2 has no name in the header"),
    ],
)
def test_columns_that_cannot_be_told_apart_are_refused(content: bytes, words: str) -> None:
    with pytest.raises(UnexpectedShape, match=words):
        read_list(content, "list.csv")


def test_columns_that_nobody_reads_may_have_one_name_or_none() -> None:
    assert read_list(b"UserCode,Notes,Notes,,\nA,x,y,,\n", "list.csv") == [Customer("A")]
