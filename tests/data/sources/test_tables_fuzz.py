"""Damaged and hostile tables: every file gets a value or one refusal, in time and within the memory granted."""

import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import feather, ipc, parquet

from campaigns import share
from epochal.data.options import Reading
from epochal.data.sources.tables import parquet as columnar_files
from epochal.data.sources.tables import table_files
from epochal.errors import DataError
from epochal.system import isolated
from fuzzing import mutants
from refusals import value_or_refusal
from work import at_most, processor_seconds

COUNT = share("FUZZ", 2000, short=200)
LIMIT = 64 << 20
SECONDS = 1.0  # of the processor, for one file of at most 64 kB

TEXTS = [
    b"a,b,c,y\n1,0.5,red,p\n2,,blue,q\n-3e2,NA,red,p\n",
    b'\xef\xbb\xbf"a";"b ""c""";y\r\n"1";"x\r\ny";p\r\n 2 ;"x; y";q\r\n',
    b"1\t2\ttrue\tk\n3\t4\tfalse\tl\n",
    "größe|y\n1,5|ü\n2,5|\u4e2d\n".encode(),
    b"a,y\n" + b"".join(b"%d,%d\n" % (i, i % 3) for i in range(300)),
    b"t,s,g,y\n2024-01-01,train,u,1\n2024-01-02T00:00:00Z,test,v,2\n",
]
OPTIONS = [
    {"label": "y"}, {"label": "c3"}, {"label": "y", "time": "t", "drop": "s,g"}, {"label": "y", "split_column": "s"},
    {"label": "y", "header": True, "separator": ";"}, {"label": "c1", "header": False},
]  # fmt: skip


@pytest.mark.campaign
def test_text_tables(tmp_path):
    path = tmp_path / "t.csv"
    read = refused = 0
    for number, data in enumerate(mutants(TEXTS, COUNT, seed=1)):
        path.write_bytes(data)
        with at_most(SECONDS):
            raw, message = value_or_refusal(
                table_files.read_table, path, Reading(**OPTIONS[number % len(OPTIONS)]), LIMIT, labelled=number % 5 > 0
            )
        if raw is None:
            refused += 1
            assert message.startswith(str(path))
            assert message.count("\n") < 3
            assert len(message) < 3000
        else:
            read += 1
            for part in raw.splits.values():
                assert all(len(c.values) == len(part.x) for c in part.x.columns.values())
                assert part.y is None or len(part.y) == len(part.x)
    assert min(read, refused) > COUNT / 20, "the mutants are too tame, or too wild"


def test_every_prefix_of_a_text_table_is_no_shorter_table_in_silence(tmp_path):
    path = tmp_path / "t.csv"
    whole = TEXTS[0]
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        raw, _ = value_or_refusal(table_files.read_table, path, Reading(label="y"), LIMIT, labelled=True)
        # A text table has no end mark: a file cut behind any whole row is a table, or inside the last label.
        assert raw is None or len(raw.splits["train"].y) == whole[:size].rstrip(b"\n").count(b"\n")


WIDE = [b"1," * 8_000_000 + b"1\n", b'"\n",' * 4_000_000, b"a,y\n" + b"x,p\n" * 500_000, b'"' * 8_000_000]


@pytest.mark.parametrize("data", WIDE, ids=["one row", "one row in lines", "many rows", "quotes"])
def test_no_text_takes_more_than_twice_the_memory_granted(tmp_path, data):
    path = tmp_path / "t.csv"
    path.write_bytes(data)
    limit = 8 << 20
    tracemalloc.start()
    value_or_refusal(table_files.read_table, path, Reading(label="y"), limit, labelled=True)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 2 * limit + (32 << 20), "a block of cells beside what is granted"


def decode_many(folder: str, suffix: str, count: int) -> list:
    """Runs in the child: what becomes of each file, and the seconds of the processor that it takes."""
    out = []
    for number in range(count):
        begun = processor_seconds()
        try:
            answer = columnar_files.decode([f"{folder}/{number}{suffix}"], {"label": "y"}, [], True, LIMIT)
            told = ["value", sum(answer["rows"])]
        except DataError as error:
            told = ["refused", str(error)]
        except MemoryError:
            told = ["memory", ""]
        except Exception as error:
            told = ["failed", f"{type(error).__name__}: {error}"]
        out.append([*told, processor_seconds() - begun])
    return out


def batch(files: list[bytes], folder: Path, suffix: str) -> list:
    """What becomes of the files, decoded in one child; where it crashes, each half in one of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(files):
        (folder / f"{number}{suffix}").write_bytes(data)
    try:
        seconds = 20.0 + len(files)
        return isolated.call(
            decode_many, str(folder), suffix, len(files), where="batch", memory_bytes=LIMIT, seconds=seconds
        )
    except DataError as error:
        if len(files) == 1:
            return [["crashed", str(error), 0.0]]
        half = len(files) // 2
        return batch(files[:half], folder / "a", suffix) + batch(files[half:], folder / "b", suffix)


def columnar_seeds(tmp_path: Path) -> dict[str, list[bytes]]:
    generator = np.random.default_rng(0)
    table = pa.table({
        "a": generator.integers(0, 9, 40), "f": pa.array(generator.normal(size=40), mask=generator.random(40) > 0.8),
        "b": generator.random(40) > 0.5, "c": pa.array(generator.choice(["u", "vv", "www"], 40)),
        "d": pa.array(generator.choice(["k", "l"], 40)).dictionary_encode(), "y": generator.choice(["p", "q"], 40),
    })  # fmt: skip
    path = tmp_path / "seed"
    seeds: dict[str, list[bytes]] = {".parquet": [], ".arrow": []}
    ways = [{}, {"compression": "none", "use_dictionary": False}, {"compression": "gzip", "row_group_size": 7}]
    for options in [*ways, {"compression": "zstd", "data_page_version": "2.0"}]:
        parquet.write_table(table, path, **options)
        seeds[".parquet"].append(path.read_bytes())
    for compression in ("uncompressed", "lz4", "zstd"):
        feather.write_feather(table, path, compression=compression)
        seeds[".arrow"].append(path.read_bytes())
    with ipc.new_stream(path, table.schema) as stream:
        for part in table.to_batches(max_chunksize=11):
            stream.write_batch(part)
    seeds[".arrow"].append(path.read_bytes())
    return seeds


@pytest.mark.campaign
@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_columnar_tables(tmp_path, suffix):
    files = list(mutants(columnar_seeds(tmp_path)[suffix], COUNT, seed=2))
    found = []
    for begin in range(0, len(files), 250):
        found += batch(files[begin : begin + 250], tmp_path / str(begin), suffix)
    assert len(found) == COUNT
    kinds = {
        kind: sum(told[0] == kind for told in found) for kind in ("value", "refused", "memory", "crashed", "failed")
    }
    print(suffix, kinds)
    failed = [told[1] for told in found if told[0] == "failed"]
    assert not failed, f"{len(failed)} are no refusals: {sorted(set(failed))[:5]}"
    assert max(told[2] for told in found) < SECONDS
    assert all(told[1].count("\n") == 0 for told in found if told[0] == "refused")
    assert min(kinds["value"], kinds["refused"]) > COUNT / 50


def test_a_cut_columnar_file_is_never_a_shorter_one(tmp_path):
    for suffix, seeds in columnar_seeds(tmp_path).items():
        for number, seed in enumerate(seeds):
            cuts = [seed[: int(size)] for size in np.linspace(1, len(seed) - 1, 40)]
            for told in batch(cuts, tmp_path / f"{number}{suffix}", suffix):
                assert told[0] != "value" or (suffix == ".arrow" and told[1] in (40, 11, 22, 33)), told
