"""Tables in files: what is understood of them, what each column is for, and what is refused, with the row."""

import gzip
import struct

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import feather, ipc, parquet

from epochal import load
from epochal.data.options import Reading
from epochal.data.sources import read
from epochal.data.sources.tables import text_form
from epochal.system import isolated
from refusals import refusal

GOOD = "a,b,colour,y\n1,0.5,red,yes\n2,1.5,blue,no\n-3,2.5e1,red,no\n"


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(content: str | bytes | dict, name: str = "t.csv") -> str:
        path = tmp_path / name
        if isinstance(content, dict):
            table = pa.table(content)
            parquet.write_table(table, path) if path.suffix in (".parquet", ".pq") else feather.write_feather(
                table, path
            )
        else:
            data = content.encode() if isinstance(content, str) else content
            path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
        return path.name

    return write


@pytest.fixture
def in_child():
    """Parquet and Arrow files are decoded in a process of their own, as they are outside of tests."""


@pytest.fixture(autouse=True)
def _decoded(request, monkeypatch):
    if "in_child" not in request.fixturenames:  # the decoder itself, without the third of a second of a child
        monkeypatch.setattr(isolated, "call", lambda function, *arguments, **limits: function(*arguments))


def raw(source, *, labelled=True, label="y", **options):
    return read(source, Reading(label=label, **options), labelled=labelled)


def columns(source, split="train", **options) -> dict:
    return {name: (c.kind, told(c)) for name, c in raw(source, **options).splits[split].x.columns.items()}


def told(column) -> list:
    if column.kind == "category":
        return [column.categories[code] if code >= 0 else None for code in column.values.tolist()]
    return [None if np.isnan(value) else value for value in column.values.tolist()]


def refused(source, **options) -> str:
    return refusal(raw, source, **options)


def test_a_text_table(write):
    found = raw(write(GOOD))
    assert found.splits["train"].y.tolist() == ["yes", "no", "no"]
    assert columns("t.csv") == {
        "a": ("number", [1, 2, -3]),
        "b": ("number", [0.5, 1.5, 25]),
        "colour": ("category", ["red", "blue", "red"]),
    }
    assert found.notes == (
        "t.csv: separated by ',', first row is the header, 2 numbers, 1 category (colour: 2 values)",
    )
    assert [path.name for path in found.files] == ["t.csv"]


@pytest.mark.parametrize("name", ["t.tsv", "t.csv.gz", "t.tsv.gz", "t.CSV", "t.txt"])
def test_other_names_of_text_tables(write, name):
    content = GOOD.replace(",", "\t") if ".tsv" in name else GOOD
    assert columns(write(content, name)) == columns(write(GOOD))


@pytest.mark.parametrize("separator", [";", "\t", "|", ","])
def test_separators_are_found(write, separator):
    content = GOOD.replace(",", separator)
    assert columns(write(content)) == columns(write(GOOD, "u.csv"))
    assert columns(write('"x,1' + content.replace("a", 'a"', 1)), separator=separator, label="y")


def test_commas_in_other_places_do_not_mislead(write):
    assert columns(write('a;b;y\n"1,2,3";4;p\n"5,6,7";8;q\n')) == {
        "a": ("category", ["1,2,3", "5,6,7"]),
        "b": ("number", [4, 8]),
    }
    assert columns(write("a;b;y\n1,5;2;p\n2,5;3;q\n"))["a"] == ("category", ["1,5", "2,5"])


def test_a_separator_of_the_users_own(write):
    assert columns(write("a b y\n1 2 p\n3 4 q\n"), separator=" ")["b"] == ("number", [2, 4])
    assert columns(write("a\tb\ty\n1\t2\tp\n"), separator="tab")["b"] == ("number", [2])
    for separator in ("", "ab", '"', "\n"):
        if separator:
            assert "the separator must be one character" in refused("t.csv", separator=separator)


def test_headers_are_found(write):
    for content in ("1,2,p\n3,4,q\n", "1,x,p\n3,x,q\n", "x,x,p\ny,z,q\n"):
        assert list(columns(write(content), label="c2")) == ["c0", "c1"]
    assert "no header, columns c0 … c2" in raw("t.csv", label="c2").notes[0]
    assert list(columns(write("p,q,r\nx,y,z\n"), label="r")) == ["p", "q"]
    assert list(columns(write("0,1,2\n0.5,7,a\n"), label="2")) == ["0", "1"]
    assert list(columns(write("5,1,y\n0.5,7,a\n"))) == ["5", "1"], "a name that the user has said is in the first row"
    assert list(columns(write("p,q,r\nx,y,z\n"), label="c2", header=False)) == ["c0", "c1"]
    assert list(columns(write("1,2,3\n4,5,6\n"), label="3", header=True)) == ["1", "2"]
    assert "(separated by ',', first row is the header" in refused(write("p,q,r\nx,y,z\n"), label="c2")


def test_cells_that_are_missing(write):
    cells = ["", "NA", "na", "N/A", "NaN", "nan", "null", "NULL", "None", " ", "n/a"]
    content = "a,b,y\n1,x,p\n" + "".join(f"{cell},{cell},q\n" for cell in cells)
    assert columns(write(content)) == {
        "a": ("number", [1, *[None] * len(cells)]),
        "b": ("category", ["x", *[None] * len(cells)]),
    }
    assert columns(write("a,b,y\n,2,p\nNA,3,q\n"))["a"] == ("number", [None, None])


@pytest.mark.parametrize(
    ("cells", "kind", "values"),
    [
        ("1 2.5 -3 +4 .5 5. 1e3 1E-3", "number", [1, 2.5, -3, 4, 0.5, 5, 1000, 0.001]),
        ("2e06918610327a 1", "category", ["2e06918610327a", "1"]),
        ("1_000 2", "category", ["1_000", "2"]),
        ("0x1F 2", "category", ["0x1F", "2"]),
        ("١ 2", "category", ["١", "2"]),
        ("1d5 2", "category", ["1d5", "2"]),
        ("1-2 3", "category", ["1-2", "3"]),
        ("007 1e999x", "category", ["007", "1e999x"]),
        ("True false YES no", "boolean", [1, 0, 1, 0]),
        ("true maybe", "category", ["true", "maybe"]),
        ("true 1", "category", ["true", "1"]),
        ("0 1", "number", [0, 1]),
        ("inf x", "category", ["inf", "x"]),
    ],
)
def test_kinds_of_cells(write, cells, kind, values):
    rows = "".join(f"{cell},p\n" for cell in cells.split())
    assert columns(write(f"a,y\n{rows}"))["a"] == (kind, values)


def test_kinds_are_found_from_all_rows(write, monkeypatch):
    from epochal.data.sources.tables import text_tables

    for most in (200_000, 6):
        monkeypatch.setattr(text_tables, "_BLOCK_CELLS", most)
        rows = "".join(f"{i},,true,z,k{i % 3}\n" for i in range(20))
        found = raw(write(f"a,b,c,d,y\n{rows}x,w,maybe,,p\n"))
        assert columns("t.csv") == {
            "a": ("category", [*map(str, range(20)), "x"]),
            "b": ("category", [None] * 20 + ["w"]),
            "c": ("category", ["true"] * 20 + ["maybe"]),
            "d": ("category", ["z"] * 20 + [None]),
        }
        assert found.notes[1:] == (
            "column 'a' is taken as categories, as 1 of its 21 cells is no number: t.csv: row 20 (line 22) holds 'x'; "
            "if that means a missing value: missing='x'; else mend the cells, say that this is meant with "
            "categorical='a', or drop='a'",
        )


def test_quotes_newlines_and_marks(write):
    content = '\ufeff"a","b ""c""",y\r\n"1","x\ny",p\r\n 2 ,"x, y",q\r\n\r\n'
    assert columns(write(content)) == {"a": ("number", [1, 2]), 'b "c"': ("category", ["x\ny", "x, y"])}
    assert columns(write("a,y\r1,p\r2,q\r"))["a"] == ("number", [1, 2])
    assert columns(write("\n\na,y\n1,p\n2,q"))["a"] == ("number", [1, 2])


def test_rows_are_named_from_0_and_lines_from_1(write):
    assert "t.csv: row 2 (line 5) has 3 cells, but the header has 2" in refused(write('a,y\n"1\n",p\n2,q\n3,4,r\n'))
    assert "t.csv: row 1 (line 2) has 1 cells, but the first row has 2" in refused(write("1,p\n2\n"), label="c1")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "byte 0: the file is empty"),
        ("\n \n", "holds no row"),
        ("a,b,y\n", "has a header of 3 columns, but no row"),
        ("a,y\n1,p\n\n2,q\n", "line 3 is empty, but rows follow"),
        ("a,y\n1,p\n2\n", "row 1 (line 3) has 1 cells, but the header has 2"),
        ('a,y\n1,p\n"2,q\n3,r\n', "row 1 (line 3): a quote is opened and never closed"),
        ('a,y\n1,p\n"2"x,q\n', "row 1 (line 3): the quotes are wrong"),
        ("a,y\n" + '"' + "x" * 200_000 + ",p\n", "a cell has more than 131,072 characters, or a quote is not closed"),
        ("a,a,y\n1,2,p\n", "two columns are called 'a'"),
        ("a,,y\n1,2,p\n", "column 2 of 3 has no name"),
        ("a,y\n1,p\ninf,q\n", "row 1 (line 3), column 'a': is an infinite number (inf)"),
        ("a,y\n1,p\n-Infinity,q\n", "row 1 (line 3), column 'a': is an infinite number (-inf)"),
        ("a,y\n1,p\n1e999,q\n", "row 1 (line 3), column 'a': is an infinite number"),
        ("a,y\n1,p\n2,\n", "row 1 (line 3): has no label, column 'y' is empty"),
        ("a,y\n1,0.5\n2,1.25\n", "row 0 (line 2): has label 0.5; labels are text or whole numbers"),
        ("a,y\n1," + "x" * 201 + "\n", "row 0 (line 2): column 'y' holds 201 characters"),
        ("y\n1\n", "no column is left for features"),
        (b"a,y\n1,caf\xe9\n", "byte 9 (line 2) is 0xe9, which is no UTF-8"),
        (GOOD.encode("utf-16"), "is UTF-16 or UTF-32 text"),
        (GOOD.encode("utf-32-be"), "is NUL"),
        (GOOD.encode("utf-16-le"), "line 1, character 2 is NUL"),
        (b"a,y\n1,p\n2\0,q\n", "line 3, character 2 is NUL"),
        (",".join(f"c{i}" for i in range(10_001)) + "\n", "has 10,001 columns, at most 10,000"),
    ],
)
def test_text_tables_that_are_refused(write, content, told):
    message = refused(write(content))
    assert message.startswith("t.csv: ")
    assert told in message


def test_a_line_without_end(write, monkeypatch):
    monkeypatch.setattr(text_form, "MAX_LINE", 1000)
    assert "line 2 is longer than 1.0 kB" in refused(write("a,y\n" + "1" * 1000 + ",p\n"))


def test_a_million_columns_are_refused_at_once(write):
    assert "has 1,000,000 columns, at most 10,000" in refused(write("a," * 999_999 + "y\n" + "1," * 999_999 + "p\n"))


def test_the_label_is_never_guessed(write):
    message = refused(write("a,Species,b\n1,p,2\n"), label=None)
    assert "which column holds the labels is not said; is it label='Species'?" in message
    assert "its columns are a, Species, b" in message
    assert "name it with label='COLUMN'" in refused(write("a,b\n1,2\n"), label=None)
    assert "there is no column 'z' (label=…); its columns are a, b" in refused(write("a,b\n1,2\n"), label="z")


@pytest.mark.parametrize(
    ("cells", "classes"),
    [
        ("2 10 2", ["2", "10", "2"]),
        ("True FALSE true", ["true", "false", "true"]),
        ("1.0 2.00 1", ["1", "2", "1"]),
        ("yes No yes", ["yes", "No", "yes"]),
        ("01 1 a", ["01", "1", "a"]),
        ("123456789012345678901 2 3", ["123456789012345678901", "2", "3"]),
    ],
)
def test_labels_are_text(write, cells, classes):
    rows = "".join(f"{i},{cell}\n" for i, cell in enumerate(cells.split()))
    assert raw(write(f"a,y\n{rows}")).splits["train"].y.tolist() == classes


COLUMNS = {
    "a": [1, 2, None], "f": [0.5, np.nan, 1.5], "b": [True, None, False], "c": ["x", None, "é"], "y": ["p", "q", "p"]
}  # fmt: skip


@pytest.mark.parametrize("name", ["t.parquet", "t.pq", "t.feather", "t.arrow", "t.ipc"])
def test_columnar_tables(write, in_child, name):
    assert columns(write(COLUMNS, name)) == {
        "a": ("number", [1, 2, None]),
        "f": ("number", [0.5, None, 1.5]),
        "b": ("boolean", [1, None, 0]),
        "c": ("category", ["x", None, "é"]),
    }
    assert raw(name).splits["train"].y.tolist() == ["p", "q", "p"]
    assert raw(name).notes == (f"{name}: 2 numbers, 1 boolean, 1 category (c: 2 values)",)


def test_kinds_of_arrow(write, in_child):
    import decimal

    numbers = [1, None, 3]
    table = {f"n{i}": pa.array(numbers, t) for i, t in enumerate((pa.int8(), pa.uint64(), pa.float32()))}
    table["n3"] = pa.array(np.array([1, np.nan, 3], np.float16))
    table["d"] = pa.array([decimal.Decimal("1"), None, decimal.Decimal("3")], pa.decimal128(10, 2))
    table["dn"] = pa.array(numbers, pa.int64()).dictionary_encode()
    texts = ["u", None, "v"]
    table |= {f"t{i}": pa.array(texts, t) for i, t in enumerate((pa.string(), pa.large_string(), pa.string_view()))}
    table["td"] = pa.array(texts).dictionary_encode()
    table["e"] = pa.nulls(3)
    table["y"] = ["p", "q", "p"]
    for name in ("t.arrow", "t.parquet"):
        if name == "t.parquet":
            table.pop("t2")  # Parquet has one kind of text
        found = columns(write(table, name))
        for column, (kind, values) in found.items():
            text = column.startswith("t") or (column == "dn" and name == "t.arrow")  # Parquet keeps its numbers
            assert kind == ("category" if text else "number"), column
            codes = ["1", None, "3"] if column == "dn" else texts  # a dictionary is a category, also of numbers
            assert values == ([None] * 3 if column == "e" else codes if text else numbers), column


def test_an_arrow_stream(tmp_path, write):
    table = pa.table(COLUMNS)
    with ipc.new_stream(tmp_path / "s.arrow", table.schema) as stream:
        for batch in table.to_batches(max_chunksize=2):
            stream.write_batch(batch)
    assert columns("s.arrow") == columns(write(COLUMNS, "t.parquet"))


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        (pa.array([2, 10]), ["2", "10"]),
        (pa.array([True, False]), ["true", "false"]),
        (pa.array([1.0, 2.0]), ["1", "2"]),
        (pa.array([2**64 - 1, 0], pa.uint64()), ["18446744073709551615", "0"]),
        (pa.array(["b", "a"]).dictionary_encode(), ["b", "a"]),
        (pa.array([7, 8]).dictionary_encode(), ["7", "8"]),
    ],
)
def test_labels_of_columnar_tables_are_text(write, values, classes):
    assert raw(write({"a": [1, 2], "y": values}, "t.parquet")).splits["train"].y.tolist() == classes


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"a": [1, 2], "y": ["p", None]}, "row 1: has no label"),
        ({"a": [1, 2], "y": pa.array([1, None])}, "row 1: has no label"),
        ({"a": [1, 2], "y": [0.5, 1]}, "row 0: has label 0.5"),
        ({"a": [1, np.inf], "y": ["p", "q"]}, "row 1, column 'a': is an infinite number"),
        ({"a": [[1], [2]], "y": ["p", "q"]}, "column 'a' holds list<"),
        ({"a": [b"1", b"2"], "y": ["p", "q"]}, "column 'a' holds binary; features are"),
        ({"a": [{"b": 1}, {"b": 2}], "y": ["p", "q"]}, "column 'a' holds struct<"),
        (
            {"a": pa.array([1, 2], pa.timestamp("ms")), "y": ["p", "q"]},
            "column 'a' holds dates or times (timestamp[ms])",
        ),
        ({"a": pa.array([], pa.int64()), "y": pa.array([], pa.string())}, "has 2 columns, but no row"),
        ({"a": [1]}, "there is no column 'y' (label=…); its columns are a"),
        (b"", "byte 0: the file is empty"),
        (b"PAR1 nonsense", "is damaged"),
        (b"FEA1 nonsense", "is Feather version 1"),
    ],
)
def test_columnar_tables_that_are_refused(write, content, told):
    for name in ("t.parquet", "t.arrow"):
        message = refused(write(content, name))
        assert message.startswith(f"{name}: ")
        assert told in message


def test_large_whole_numbers_are_noted(write):
    large = [2**53 + 1, 0, 1]
    note = "column 'a' holds numbers above 2**53, which are rounded"
    assert note in raw(write({"a": large, "y": ["p", "q", "p"]}, "t.parquet")).notes[1]
    assert note in raw(write("a,y\n" + "".join(f"{n},p\n" for n in large))).notes[1]


def test_columns_are_left_out(write):
    assert list(columns(write(GOOD), drop="a, colour")) == ["b"]
    assert "left out: a, colour" in raw("t.csv", drop="a,colour").notes[0]
    assert "there is no column 'z' (drop=…)" in refused("t.csv", drop="z")
    assert "column 'y' is named by label=… and drop=…" in refused("t.csv", drop="y")
    table = {"a": [1, 2], "when": pa.array([1, 2], pa.date32()), "y": ["p", "q"]}
    assert list(columns(write(table, "t.parquet"), drop="when")) == ["a"]


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_rows_without_labels(write, form):
    content = {"a": ["1", "2"], "s": ["train", "odd"], "g": [None, "k"], "y": ["p", None]}
    if form == "csv":
        content = "a,s,g,y\n1,train,,p\n2,odd,k,\n"
    name = write(content, f"t.{form}")
    for options in (
        {"split_column": "s", "drop": "g"},
        {"group": "g", "drop": "s,nothing"},
        {"time": "s", "drop": "g"},
    ):
        part = raw(name, labelled=False, **options).splits["train"]
        assert (list(part.x.columns), part.y, part.groups, part.times) == (["a"], None, None, None)
    assert list(columns(name, labelled=False, label="nothing")) == ["a", "s", "g", "y"]


def test_a_column_of_splits(write):
    names = ["train", "Valid", "TEST", "validation", "val", "dev", "train"]
    found = raw(write("a,s,y\n" + "".join(f"{i},{name},k{i}\n" for i, name in enumerate(names))), split_column="s")
    assert {name: (part.x.columns["a"].values.tolist(), part.y.tolist()) for name, part in found.splits.items()} == {
        "train": ([0, 6], ["k0", "k6"]),
        "valid": ([1, 3, 4, 5], ["k1", "k3", "k4", "k5"]),
        "test": ([2], ["k2"]),
    }
    assert "row 1 (line 3): column 's' holds 'odd'; a split is" in refused(
        write("a,s,y\n1,train,p\n2,odd,q\n"), split_column="s"
    )
    assert "row 1 (line 3): has no split" in refused(write("a,s,y\n1,train,p\n2,,q\n"), split_column="s")


def test_a_column_of_groups(write):
    part = raw(write("a,g,y\n1,u,p\n2,v,q\n"), group="g").splits["train"]
    assert (list(part.x.columns), part.groups.tolist()) == (["a"], ["u", "v"])
    part = raw(write({"a": [1, 2], "g": [7, 8], "y": ["p", "q"]}, "t.parquet"), group="g").splits["train"]
    assert part.groups.tolist() == [7, 8]
    assert "row 1 (line 3): has no group, column 'g' is empty" in refused(write("a,g,y\n1,u,p\n2,,q\n"), group="g")


TIMES = [
    ("5 -3 2.5", [5, -3, 2.5]),
    ("1970-01-01 1970-01-02 1969-12-31", [0, 86_400_000_000, -86_400_000_000]),
    ("1970-01-01T00:00:01 1970-01-01T00:00:00.5 1970-01-01", [1_000_000, 500_000, 0]),
    ("1970-01-01T01:00:00+01:00 1970-01-01T00:00:02Z 1970-01-01T00:00:00Z", [0, 2_000_000, 0]),
]


@pytest.mark.parametrize(("cells", "expected"), TIMES)
def test_a_column_of_times(write, cells, expected):
    rows = "".join(f"{i},{cell},p\n" for i, cell in enumerate(cells.split()))
    assert raw(write(f"a,t,y\n{rows}"), time="t").splits["train"].times.tolist() == expected


def test_times_of_columnar_tables(write):
    for arrow_type in (pa.timestamp("ns"), pa.timestamp("s", "UTC"), pa.date32(), pa.int16(), pa.date64()):
        day = 86_400_000 if arrow_type == pa.date64() else 1
        times = pa.array([5 * day, -3 * day], pa.int64())
        times = times.cast(pa.int32()).cast(arrow_type) if arrow_type == pa.date32() else times.cast(arrow_type)
        part = raw(write({"a": [1, 2], "t": times, "y": ["p", "q"]}, "t.parquet"), time="t").splits["train"]
        assert part.times.dtype == np.int64
        assert part.times[0] > 0 > part.times[1]
        assert list(part.x.columns) == ["a"]


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        ("2024-01-01 soon", "row 1 (line 3): column 't' holds 'soon'; a time is a number, or a date"),
        (
            "2024-01-01 2024-01-02T00:00:00Z",
            "row 1 (line 3): column 't' holds '2024-01-02T00:00:00Z', with a time zone",
        ),
        ("2024-01-01 NA", "row 1 (line 3): has no time"),
        ("5 2024-01-01", "row 0 (line 2): column 't' holds '5'; a time is"),
    ],
)
def test_times_that_are_refused(write, cells, told):
    rows = "".join(f"{i},{cell},p\n" for i, cell in enumerate(cells.split()))
    assert told in refused(write(f"a,t,y\n{rows}"), time="t")


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_several_files_are_one_table(write, form):
    one = {"a": ["1", "2"] if form == "csv" else [1, 2], "c": ["u", "v"], "y": ["p", "q"]}
    two = {"y": ["q"], "a": ["x"] if form == "csv" else [3], "c": ["w"]}
    for name, part in (("b-1", one), ("b-2", two)):
        lines = [",".join(part), *(",".join(row) for row in zip(*part.values(), strict=True))] if form == "csv" else []
        write("\n".join(lines) if form == "csv" else part, f"{name}.{form}")
    found = raw(f"b-*.{form}")
    assert found.splits["train"].y.tolist() == ["p", "q", "q"]
    assert columns(f"b-?.{form}")["c"] == ("category", ["u", "v", "w"])
    assert columns(f"b-[12].{form}")["a"] == (("category", ["1", "2", "x"]) if form == "csv" else ("number", [1, 2, 3]))
    assert [path.name for path in found.files] == [f"b-1.{form}", f"b-2.{form}"]
    write({"a": [1], "z": [1], "y": ["p"]} if form == "parquet" else "a,z,y\n1,1,p\n", f"b-3.{form}")
    assert f"b-3.{form}: lacks 'c' and has besides 'z', unlike b-1.{form}" in refused(f"b-*.{form}")


def test_files_of_one_pattern_must_be_alike(write):
    write({"a": [1, 2], "y": ["p", "q"]}, "b-1.parquet")
    write({"a": ["x"], "y": ["p"]}, "b-2.parquet")
    assert "b-2.parquet: column 'a' holds category, but in b-1.parquet number" in refused("b-*.parquet")
    write({"a": pa.nulls(1), "y": ["p"]}, "b-2.parquet")
    assert columns("b-*.parquet")["a"] == ("number", [1, 2, None])
    write({"a": pa.nulls(1), "y": ["p"]}, "d-1.parquet")
    write({"a": ["x"], "y": ["p"]}, "d-2.parquet")
    assert columns("d-*.parquet")["a"] == ("category", [None, "x"])
    write("a,y\n1,p\n", "b-3.csv")
    assert "b-3.csv: is no table like b-1.parquet" in refused("b-*")
    assert "there is no such file or folder" in refused("z-*.csv")
    write("a,y\n1,p\n2,\n", "b-4.csv")
    assert "b-4.csv: row 1 (line 3): has no label" in refused("b-[34].csv")


def test_what_unpacks_to_more_than_the_memory_granted_goes_to_the_disk_unless_it_is_a_bomb(write, in_child, tmp_path):
    rows = 200_000
    write({"a": pa.array([1] * rows), "y": pa.array(["p"] * rows)}, "t.parquet")
    assert (tmp_path / "t.parquet").stat().st_size < 20_000
    write("a,y\n" + "1,p\n" * rows)
    for name in ("t.parquet", "t.csv"):
        found = raw(name, host_memory="500kB")
        assert any("its columns take more than 500 kB" in note for note in found.notes)
        assert len(found.splits["train"].x) == rows
    endless = pa.Array.from_buffers(pa.null(), 2**31 - 1, [None])
    with ipc.new_file(tmp_path / "t.arrow", pa.schema([("a", pa.null()), ("y", pa.null())])) as file:
        file.write_batch(pa.record_batch([endless, endless], ["a", "y"]))
    told = refused("t.arrow", host_memory="1GB")
    assert "take 269 MB or more, above 1,000 times the bytes of the file" in told


def test_text_that_is_no_utf8_in_arrow_files(tmp_path, write, in_child):
    bad = pa.Array.from_buffers(
        pa.string(), 2, [None, pa.py_buffer(struct.pack("<3i", 0, 1, 2)), pa.py_buffer(b"\xff\xfe")]
    )
    with ipc.new_file(tmp_path / "t.arrow", pa.schema([("a", pa.string()), ("y", pa.string())])) as file:
        file.write_batch(pa.record_batch([bad, pa.array(["p", "q"])], ["a", "y"]))
    assert "is damaged: In column 0: Invalid" in refused("t.arrow")


def test_a_string_that_starts_where_there_is_no_byte(tmp_path, write, in_child):
    write({"a": ["abc", "def"], "y": ["p", "q"]}, "t.arrow")
    with ipc.new_file(tmp_path / "t.arrow", pa.schema([("a", pa.string()), ("y", pa.string())])) as file:
        file.write_batch(pa.record_batch([pa.array(["abc", "def"]), pa.array(["p", "q"])], ["a", "y"]))
    data = (tmp_path / "t.arrow").read_bytes()
    offsets = struct.pack("<3i", 0, 3, 6)
    assert data.count(offsets) == 1
    write(data.replace(offsets, struct.pack("<3i", 0, 2**30, 2**31 - 1)), "t.arrow")
    assert "t.arrow: is damaged: In column 0: Invalid" in refused("t.arrow")


def test_forms_agree_to_the_bit(write, in_child):
    generator = np.random.default_rng(0)
    x, c, y = generator.normal(size=60), generator.choice(["u", "v", "w"], 60), generator.choice(["p", "q"], 60)
    table = {"x": x, "b": x > 0, "c": c, "y": y}
    rows = (f"{value!r},{value > 0},{text},{label}\n" for value, text, label in zip(x.tolist(), c, y, strict=True))
    names = [write("x,b,c,y\n" + "".join(rows)), write(table, "t.parquet"), write(table, "t.arrow")]
    assert len({load(name, label="y").fingerprint for name in names}) == 1


@pytest.mark.filterwarnings("ignore:.* valid rows are identical to a")
def test_codes_that_look_like_numbers_in_other_rows(write):
    write("a,y\n" + "1,p\nA,q\n2,p\nB,q\n" * 5)
    write("a,y\n1,q\n2,p\n", "test.csv")
    with pytest.warns(UserWarning, match="test rows are identical"):
        data = load("t.csv", label="y", test="test.csv")
    assert data.preprocessing.columns[0].categories == ("1", "2", "A", "B")
    np.testing.assert_array_equal(data.test.x, [[1, 0, 0, 0, 0], [0, 1, 0, 0, 0]])


def test_labels_beside_a_table(write, tmp_path):
    np.save(tmp_path / "y.npy", np.arange(20) % 2)
    write({"a": list(range(20)), "g": list(range(20))}, "t.parquet")
    data = load("t.parquet", labels_from="y.npy", group="g")
    assert data.example_shape == (1,)
    assert "whole groups of g" in " ".join(data.notes)
