"""Folders of images: every form and mode, what is inferred, and everything that cannot be read."""

import io
import os
import signal
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from campaigns import share
from epochal import Reading, load
from epochal.data import sources
from epochal.data.sources.images import decoder, image_folder, workers
from epochal.data.sources.images.decoder import ImageSpec
from epochal.errors import RecipeError
from epochal.system import isolated
from fuzzing import mutants
from refusals import refusal, value_or_refusal
from sourced import read
from work import at_most, processor_seconds

FUZZ = share("FUZZ", 500, short=90)
LIMIT = 1 << 22
GREY = np.random.default_rng(1).integers(0, 256, (9, 7), np.uint8)
RGB = np.random.default_rng(2).integers(0, 256, (9, 7, 3), np.uint8)
EXACT = {
    "png": {}, "bmp": {}, "dib": {"format": "BMP"}, "tif": {}, "tiff": {"compression": "tiff_lzw"}, "ppm": {},
    "pgm": {}, "pnm": {"format": "PPM"}, "webp": {"lossless": True},
}  # fmt: skip


def encoded(array: np.ndarray, form: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, form, **options)
    return buffer.getvalue()


def write(path: Path, array: np.ndarray = GREY, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


def decoded(data: bytes, **asked) -> np.ndarray:
    """One image, decoded in this process."""
    return decoder.decode(ImageSpec(1, LIMIT, **asked).plain(), ["image"], [data]).stacked()[0]


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two classes of 3 and 2 grey images, the first row all zero, the second all one, …"""
    for row, name in enumerate(("cat/1.png", "cat/10.png", "cat/2.png", "dog/a.png", "dog/b.png")):
        write(tmp_path / "pets" / name, np.full((4, 5), row, np.uint8))
    return tmp_path / "pets"


# Forms and modes


@pytest.mark.parametrize("suffix", EXACT)
def test_forms_without_loss_keep_every_pixel(tmp_path, suffix):
    for name, array in (("grey", GREY), ("rgb", RGB)):
        if suffix == "pgm" and name == "rgb":
            continue
        write(tmp_path / name / f"1.{suffix}", array, **EXACT[suffix])
        x, _ = read(tmp_path / name, labels_from=["a"]).splits["train"]
        expected = np.repeat(array[..., None], 3, axis=2) if suffix == "webp" and name == "grey" else array
        np.testing.assert_array_equal(x[0], expected)  # WebP knows no grey
        assert x.dtype == np.uint8
        assert not x.flags.writeable


def test_jpeg_and_gif_are_near_and_suffixes_may_be_capitals(tmp_path):
    smooth = np.add.outer(np.arange(16), np.arange(16)).astype(np.uint8) * 8
    write(tmp_path / "1.JPG", smooth, quality=95)
    write(tmp_path / "2.jpeg", smooth, quality=95)
    write(tmp_path / "3.GIF", smooth)
    x, _ = read(tmp_path, labels_from=["a"] * 3).splits["train"]
    assert x.shape == (3, 16, 16)
    assert abs(x.astype(int) - smooth).max() <= 8
    np.testing.assert_array_equal(x[2], smooth)


def test_a_file_may_be_of_another_form_than_its_suffix_says(tmp_path):
    (tmp_path / "1.jpg").write_bytes(encoded(GREY))
    np.testing.assert_array_equal(read(tmp_path, labels_from=["a"]).splits["train"].x[0], GREY)


def test_the_first_frame_counts():
    frames = [Image.fromarray(np.full((4, 4), value, np.uint8)) for value in (10, 200)]
    for form in ("GIF", "TIFF", "PNG"):
        buffer = io.BytesIO()
        frames[0].save(buffer, form, save_all=True, append_images=frames[1:])
        assert decoded(buffer.getvalue()).max() == 10, form


def test_black_and_white_becomes_0_and_255():
    bits = GREY > 127
    np.testing.assert_array_equal(decoded(encoded(bits)), bits * np.uint8(255))


def test_a_palette_is_grey_where_all_its_colours_are():
    palette = Image.fromarray(RGB).quantize(8)
    buffer = io.BytesIO()
    palette.save(buffer, "PNG")
    np.testing.assert_array_equal(decoded(buffer.getvalue()), np.asarray(palette.convert("RGB")))
    palette.putpalette([value for i in range(8) for value in (i * 30,) * 3])
    buffer = io.BytesIO()
    palette.save(buffer, "PNG")
    np.testing.assert_array_equal(decoded(buffer.getvalue()), np.asarray(palette) * 30)


def test_what_is_not_opaque_is_laid_on_white():
    alpha = np.zeros((9, 7), np.uint8)
    alpha[:4] = 255
    data = encoded(np.dstack([RGB, alpha]))
    np.testing.assert_array_equal(decoded(data)[:4], RGB[:4])
    assert (decoded(data)[4:] == 255).all()
    grey = decoded(encoded(np.dstack([GREY, alpha])))
    np.testing.assert_array_equal(grey, np.where(alpha > 0, GREY, 255))
    told = decoder.decode(ImageSpec(2, LIMIT).plain(), ["a", "b"], [data, encoded(np.dstack([RGB, alpha * 0 + 255]))])
    assert told.done == {"laid": 1}


def test_cmyk_becomes_rgb():
    buffer = io.BytesIO()
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(buffer, "JPEG")
    assert abs(decoded(buffer.getvalue()).astype(int) - [255, 0, 0]).max() < 5


@pytest.mark.parametrize("turn", range(1, 9))
def test_images_are_turned_as_their_orientation_says(turn):
    upright = np.zeros((8, 12), np.uint8)
    upright[:4, :4] = 255
    ways = {1: lambda x: x, 2: np.fliplr, 3: lambda x: np.rot90(x, 2), 4: np.flipud, 5: lambda x: x.T,
            6: lambda x: np.rot90(x, 1), 7: lambda x: np.rot90(x, 2).T, 8: lambda x: np.rot90(x, 3)}  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = turn
    for form in ("PNG", "TIFF"):
        stored = np.ascontiguousarray(ways[turn](upright))
        np.testing.assert_array_equal(decoded(encoded(stored, form, exif=exif)), upright)


def test_16_bits_are_refused(tmp_path):
    deep = (GREY.astype(np.uint16) << 8) + 5
    header = b"P6 2 1 65535\n" + bytes(12)
    rgb = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in (
            (b"IHDR", struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)),
            (b"IDAT", zlib.compress(b"\0" + bytes(12))),
            (b"IEND", b""),
        )
    )
    for data in (encoded(deep), encoded(deep, "TIFF"), encoded(GREY.astype(np.float32), "TIFF"), header, rgb):
        told = refusal(decoded, data)
        assert told.startswith("image: has more than 8 bits a channel")


def test_size_and_color_are_as_asked(folder):
    write(folder / "dog" / "c.png", RGB)
    raw = read(folder, image_size="32x16", color="grey")
    assert raw.splits["train"].x.shape == (6, 32, 16)
    assert raw.notes == ("6 images of 32×16 pixels (height × width), grey", "6 images were resized")
    assert read(folder, image_size="3x3").splits["train"].x.shape == (6, 3, 3, 3)
    grey = np.asarray(Image.fromarray(RGB).convert("L").resize((16, 32), Image.Resampling.BILINEAR, reducing_gap=2.0))
    np.testing.assert_array_equal(raw.splits["train"].x[5], grey)


@pytest.mark.parametrize("size", ["32", "32x", "0x4", "4x65536", "-1x2", "axb", "1x2x3", ""])
def test_a_size_that_is_none_is_refused(folder, size):
    with pytest.raises(RecipeError, match="image_size: must be height x width"):
        load(folder, image_size=size)


def test_grey_images_get_colours_where_one_has_some(folder):
    colours = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    write(folder / "dog" / "c.png", colours)
    x, _ = read(folder).splits["train"]
    np.testing.assert_array_equal(x[-1], colours)
    np.testing.assert_array_equal(x[1], np.ones((4, 5, 3)))


# Folders


def test_rows_are_in_the_order_of_paths_and_classes_are_named_by_folders(folder):
    raw = read(folder)
    np.testing.assert_array_equal(raw.splits["train"].x[:, 0, 0], [0, 1, 2, 3, 4])
    assert raw.splits["train"].y.tolist() == ["cat", "cat", "cat", "dog", "dog"]
    assert raw.name == "pets"
    assert raw.files == (folder,)


@pytest.mark.parametrize(
    "names", [("train", "valid", "test"), ("Train", "validation", "TEST"), ("train", "val", "test")]
)
def test_splits_are_folders(folder, names):
    for value, name in enumerate(names):
        for of_class in ("cat", "dog"):
            for i in range(2):
                write(folder.parent / "split" / name / of_class / f"{i}.png", np.full((4, 5), value * 50 + i, np.uint8))
    data = load(folder.parent / "split")
    assert data.classes == ("cat", "dog")
    assert [len(split) for split in data] == [4, 4, 4]
    assert [int(split.x.min()) for split in data] == [0, 50, 100]
    assert data.divisor == 255


def test_a_class_may_be_missing_in_test_but_not_in_train(tmp_path):
    for name in ("train/a", "train/b", "test/a"):
        write(tmp_path / name / "1.png")
    assert read(tmp_path).splits["test"].y.tolist() == ["a"]
    write(tmp_path / "test/c/1.png")
    told = refusal(read, tmp_path)
    assert told.startswith(f"{tmp_path / 'test' / 'c'}: {tmp_path / 'train'} has no folder c for this class, only a, b")


def test_unlabelled_images_lie_anywhere(folder):
    for place in (folder, folder / "cat"):
        raw = sources.read(place, Reading(), labelled=False)
        assert raw.splits["train"].y is None
        assert len(raw.splits["train"].x) == (5 if place == folder else 3)
    write(folder.parent / "flat" / "test" / "1.png")
    assert list(sources.read(folder.parent / "flat", Reading(), labelled=False).splits) == ["test"]
    assert "has no" not in refusal(read, folder / "cat")


def test_labels_may_be_given_for_a_folder_without(folder):
    assert read(folder / "cat", labels_from=[0, 1, 1]).splits["train"].y.tolist() == [0, 1, 1]
    assert "holds labels or splits of its own" in refusal(read, folder, labels_from=[0] * 5)


def test_a_folder_may_be_joined_as_test_split(folder, tmp_path):
    for name in ("dog/1.png", "dog/2.png"):
        write(tmp_path / "other" / name, np.full((4, 5), 9, np.uint8))
    raw = read(folder, test=str(tmp_path / "other"))
    assert raw.splits["test"].y.tolist() == ["dog", "dog"]


def test_junk_is_ignored_and_no_other_file(folder):
    for name in (".DS_Store", ".hidden", "cat/Thumbs.db", "cat/.x.png", "dog/desktop.ini"):
        (folder / name).write_bytes(b"x")
    (folder / "__MACOSX").mkdir()
    assert len(read(folder).splits["train"].x) == 5
    for name in ("README.txt", "cat/notes.md", "dog/x.npy"):
        (folder / name).write_bytes(b"x")
        assert refusal(read, folder).startswith(f"{folder / name}: is no image; ")
        (folder / name).unlink()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda f: write(f / "1.png"), "beside folders"),
        (lambda f: (f / "eel").mkdir(), "eel: this class folder holds no image"),
        (lambda f: write(f / "cat" / "big" / "1.png"), "big: is a folder in the class folder cat"),
        (lambda f: write(f / "train" / "cat" / "1.png"), "cat has no place beside them"),
        (lambda f: (f / "cat" / "x.png").symlink_to(f / "none.png"), "x.png: is no file that can be read"),
        (lambda f: (f / "cat" / "x.png").mkdir(), "x.png: is a folder in the class folder cat"),
        (lambda f: os.mkfifo(f / "cat" / "x.png"), "x.png: is no file that can be read"),
        (lambda f: (f / "cat" / "loop").symlink_to(f), "loop: is a folder in the class folder cat"),
        (lambda f: (f / "loop").symlink_to(f), "is a folder in the class folder loop"),
        (lambda f: (f / "cat" / "x.png").symlink_to(f / "cat" / "x.png"), "x.png"),
    ],
)
def test_folders_of_another_form_are_refused(folder, make, said):
    make(folder)
    assert said in refusal(read, folder)


def test_columns_are_asked_of_tables_alone(folder):
    with pytest.raises(
        RecipeError, match=r"group='patient': is for tables, and .* is a folder of images; leave it out"
    ):
        read(folder, group="patient")


def test_counts_are_bounded(folder, monkeypatch):
    monkeypatch.setattr(image_folder, "MAX_FILES", 2)
    assert "at most 2 are read" in refusal(read, folder)
    monkeypatch.setattr(image_folder, "MAX_FILES", 100)
    monkeypatch.setattr(image_folder, "MAX_CLASSES", 1)
    assert "holds 2 class folders, expected 1 to 1" in refusal(read, folder)


def test_names_may_be_of_any_characters(tmp_path):
    for name in ("a b\n", "é", os.fsdecode(b"\xff")):
        write(tmp_path / "c" / name / "1.png")
    assert len(read(tmp_path / "c").splits["train"].x) == 3
    assert "U+DCFF, which is no character" in refusal(load, tmp_path / "c")


# Images that cannot be read


def test_two_sizes_are_refused_with_both_files(folder):
    other = write(folder / "dog" / "c.png", GREY)
    told = refusal(read, folder)
    assert told.startswith(f"{other}: has 9×7 pixels (height × width), but {folder / 'cat' / '1.png'} has 4×5; ")
    assert "image_size='4x5'" in told


@pytest.mark.parametrize(
    "data", [b"", b"x", b"\x89PNG\r\n\x1a\n", encoded(GREY)[:70], b"II*\0" + bytes(60), b"P6 3 3 255\n"]
)
def test_damaged_images_are_refused_by_name(folder, data):
    path = folder / "cat" / "5.png"
    path.write_bytes(data)
    assert refusal(read, folder).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("PNG", {}),
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("BMP", {}),
        ("GIF", {}),
        ("PPM", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
    ],
)
@pytest.mark.parametrize("array", [GREY, RGB], ids=["grey", "rgb"])
def test_a_truncation_is_refused_or_lacks_no_pixel(form, options, array, capfd):
    if form == "WEBP":
        assert features.check("webp")
    whole = encoded(array, form, **options)
    expected = decoded(whole)
    refused = 0
    for size in range(len(whole)):
        found, told = value_or_refusal(decoded, whole[:size])
        refused += found is None
        assert told.startswith("image: ") if found is None else np.array_equal(found, expected)
    assert refused > 0.8 * len(whole)
    capfd.readouterr()  # libtiff complains to standard error


def bomb(height: int, width: int) -> bytes:
    """A PNG that is sound but for its size: a thousand times as large decoded."""
    rows = zlib.compress(bytes(min(height * (width + 1), 1 << 20)))
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)), (b"IDAT", rows), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


def test_bombs_are_refused_by_their_header(folder):
    path = folder / "cat" / "5.png"
    path.write_bytes(bomb(50_000, 50_000))
    with at_most(seconds=5):
        told = refusal(read, folder)
        assert told.startswith(f"{path}: its header declares 50,000×50,000 pixels, more than 100,000,000; ")
        assert "more than 25,000;" in refusal(read, folder.parent / "pets", host_memory=100_000, image_size="4x4")


def test_all_images_together_go_to_the_disk_where_they_take_more_than_is_granted(folder):
    small, full = (read(folder, host_memory=host) for host in (99, 100))
    assert "the images take more than 99 bytes" in small.notes[-1]
    np.testing.assert_array_equal(np.asarray(small.splits["train"].x), full.splits["train"].x)
    assert isinstance(full.splits["train"].x, np.ndarray)


def crash_at(asked, paths):
    """Decodes, but dies at one file, as a native decoder may."""
    if any(Path(path).name == "crash.png" for path in paths):
        os.kill(os.getpid(), signal.SIGSEGV)
    return decoder.decode_files(asked, paths)


@pytest.mark.parametrize("name", ["0", "5"])
def test_a_crash_of_the_decoder_names_the_file(folder, monkeypatch, name):
    monkeypatch.setattr(image_folder, "decode_files", crash_at)
    for i in range(3):
        write(folder / "eel" / f"{i}.png", np.full((4, 5), i, np.uint8))
    assert len(read(folder).splits["train"].x) == 8
    path = write(folder / ("cat" if name == "0" else "eel") / "crash.png", np.zeros((4, 5), np.uint8))
    assert refusal(read, folder).startswith(f"{path}: the reader crashed on this file (SIGSEGV)")


def test_many_processes_give_what_one_does(folder, monkeypatch):
    for i in range(40):
        write(folder / "eel" / f"{i:02}.png", np.full((4, 5, *((3,) if i == 30 else ())), i, np.uint8))
    whole = read(folder).splits["train"].x
    monkeypatch.setattr(workers, "_FIRST", 3)
    monkeypatch.setattr(workers, "_MOST", 15)
    assert whole.shape == (45, 4, 5, 3)
    np.testing.assert_array_equal(read(folder).splits["train"].x, whole)


def decode_all(seeds, count, seed, limit):
    """In a child: how many mutants were decoded, those that took more than a second, and other exceptions."""
    import resource

    slow, read_whole = [], 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for data in mutants([bytes(seed_data) for seed_data in seeds], count, seed):
        begun = processor_seconds()
        for size in (None, (8, 8)):
            found, told = value_or_refusal(decoder.decode, ImageSpec(1, limit, size).plain(), ["m"], [data])
            assert told.startswith("m: ") if found is None else found.stacked().nbytes <= limit
            read_whole += found is not None
        if processor_seconds() - begun > 1:
            slow.append(data.hex())
    return {"slow": slow, "read": read_whole, "grown": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before}


@pytest.mark.campaign
@pytest.mark.parametrize("form", ["PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM"])
def test_mutants_are_decoded_or_refused(form):
    seeds = [np.frombuffer(encoded(array, form), np.uint8) for array in (GREY, RGB)]
    if form == "JPEG":
        seeds.append(np.frombuffer(encoded(RGB, form, progressive=True), np.uint8))
    told = isolated.call(
        decode_all, seeds, max(1, FUZZ // 3), 7, 1 << 24, where="mutants", memory_bytes=1 << 27, seconds=FUZZ + 600
    )
    assert told["slow"] == []
    assert 0 < told["read"] < 2 * FUZZ
    assert told["grown"] < 32 << 10  # kB, twice the limit
