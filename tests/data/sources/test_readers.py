"""The list of readers: a new format is one class and one line, and the messages know it."""

import numpy as np
import pytest

from epochal import RecipeError, load
from epochal.data import sources
from epochal.data.sources import Context, RawDataset, RawSplit, Reader
from refusals import refusal


class Bits(Reader):
    """Rows of 0 and 1 as text, the label last."""

    formats, kind, options, suffixes = ".bits", "a file of bits", (), (".bits",)

    def read(self, source, context: Context) -> RawDataset:
        rows = np.array([list(map(int, line)) for line in source.read_text().split()], np.uint8)
        return RawDataset(source.name, {"train": RawSplit(rows[:, :-1], rows[:, -1])}, (source,))


def test_a_new_format_is_one_class_and_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "READERS", [*sources.READERS, Bits()])
    path = tmp_path / "x.bits"
    path.write_text("010 111 001 100\n" * 9)
    data = load(path)
    assert data.files == (path,)
    assert data.train.x.shape[1:] == (2,)
    assert data.classes == ("0", "1")
    with pytest.raises(RecipeError, match=r"image_size='3x3': is for images, and .* is a file of bits; leave it out"):
        load(path, image_size="3x3")
    (tmp_path / "x.unknown").write_text("?")
    assert refusal(load, tmp_path / "x.unknown").endswith("; .bits")


def test_the_message_about_an_unknown_format_names_all_readers(tmp_path):
    (tmp_path / "x.unknown").write_text("?")
    told = refusal(load, tmp_path / "x.unknown")
    for reader in sources.readers():
        assert reader.formats in told
        assert all(isinstance(word, str) for word in (reader.formats, reader.kind))
    assert told.partition("reads ")[2] in refusal(load, tmp_path)
