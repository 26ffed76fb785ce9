"""Data sets by name: where they are looked for, and how they are fetched."""

import functools
import gzip
import hashlib
import http.server
import os
import shutil
import threading
import warnings

import numpy as np
import pytest

import epochal
from epochal.data.sources.arrays import catalog
from epochal.errors import escaped
from idx_files import images, labels, pack
from needs import require
from refusals import refusal
from sourced import read

FILES = list(catalog._SHA256["mnist"])


def contents(seed: int = 0) -> dict[str, bytes]:
    """The four files of a small data set, packed."""
    parts = (images(12, seed), labels(12), images(6, seed + 1), labels(6))
    return {name: gzip.compress(pack(part), mtime=0) for name, part in zip(FILES, parts, strict=True)}


def put(folder, seed: int = 0, packed: bool = True):
    folder.mkdir(parents=True)
    for name, data in contents(seed).items():
        (folder / (name if packed else name.removesuffix(".gz"))).write_bytes(data if packed else gzip.decompress(data))
    return folder


@pytest.fixture
def nothing(tmp_path, monkeypatch):
    """A machine with no data set, but for those of scikit-learn."""
    monkeypatch.delenv("EPOCHAL_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(catalog, "_DEBIAN", tmp_path / "debian")
    return tmp_path


# Digits


def test_digits_are_scikit_learns():
    from sklearn.datasets import load_digits

    oracle = load_digits()
    x, y = read("digits").splits["train"]
    assert x.shape == (1797, 8, 8)
    assert (x.dtype, x.min(), x.max()) == (np.uint8, 0, 16)
    np.testing.assert_array_equal(x, oracle.images)
    np.testing.assert_array_equal(y, oracle.target)


def test_digits_are_scaled_to_one_and_split_in_three():
    data = epochal.load()
    assert data.divisor == 16
    assert [len(split) for split in data] == [1249, 249, 299]
    assert data.classes == tuple("0123456789")
    assert data.fingerprint == epochal.load(data.origin, data.reading).fingerprint


def test_digits_need_neither_network_nor_cache(nothing):
    assert len(read("DIGITS", offline=True).splits["train"].x) == 1797


@pytest.mark.parametrize(
    "content", [b"", b"not a table\n", b"1,2,3\n", b"1,2\n1\n", b"999," * 64 + b"1\n", b"nan," * 64]
)
def test_a_damaged_scikit_learn_is_told(tmp_path, monkeypatch, content):
    class Package:
        submodule_search_locations = (str(tmp_path),)

    folder = tmp_path / "datasets" / "data"
    folder.mkdir(parents=True)
    (folder / "digits.csv.gz").write_bytes(gzip.compress(content))
    monkeypatch.setattr(catalog.importlib.util, "find_spec", lambda name: Package)
    assert f"{folder}/digits.csv.gz: is no table of digits" in refusal(read, "digits")


def test_a_missing_scikit_learn_is_told(monkeypatch):
    monkeypatch.setattr(catalog.importlib.util, "find_spec", lambda name: None)
    assert "pip install scikit-learn" in refusal(read, "digits")


# Where the four files are looked for


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_the_first_place_that_has_all_four_files_is_taken(nothing, monkeypatch, name, packed):
    first, second = nothing / "first", nothing / "second"
    monkeypatch.setenv("EPOCHAL_DATA", os.pathsep.join(["", str(nothing / "missing"), str(first), str(second)]))
    places = [put(place / name, i, packed) for i, place in enumerate([first, second, catalog._DEBIAN])]
    places.append(put(nothing / "cache" / "epochal" / "data" / name, 3))
    for seed, folder in enumerate(places):
        assert catalog.find(name) == folder
        raw = read(name, offline=True)
        np.testing.assert_array_equal(raw.splits["train"].x, images(12, seed))
        assert (raw.name, raw.ordered_holdout, raw.files[0].parent) == (name, True, folder)
        next(folder.iterdir()).unlink()  # three files are not enough
    assert catalog.find(name) is None


def test_mnist_may_lie_in_epochal_data_itself_and_fashion_mnist_may_not(nothing, monkeypatch):
    folder = put(nothing / "data")
    monkeypatch.setenv("EPOCHAL_DATA", str(folder))
    assert catalog.find("mnist") == folder
    assert catalog.find("fashion-mnist") is None


@pytest.mark.parametrize("value", ["", os.pathsep, "~nobody-at-all/data", "a\0b", "x" * 5000])
def test_an_epochal_data_that_is_no_folder_is_passed_over(nothing, monkeypatch, value):
    monkeypatch.setattr(os, "environ", {**os.environ, "EPOCHAL_DATA": value})
    assert catalog.find("mnist") is None


def test_fashion_mnist_has_names_for_its_classes(nothing, monkeypatch):
    put(nothing / "fashion-mnist")
    monkeypatch.setenv("EPOCHAL_DATA", str(nothing))
    raw = read("fashion-mnist")
    assert raw.classes is not None
    assert (raw.classes[0], raw.classes[9], len(raw.classes)) == ("T-shirt/top", "Ankle boot", 10)
    assert "train has no row of class 3 ('Dress') and of 6 more" in refusal(epochal.load, "fashion-mnist")


def test_a_folder_of_that_name_comes_before_the_name(nothing, monkeypatch):
    put(nothing / "here" / "mnist", 7)
    monkeypatch.chdir(nothing / "here")
    np.testing.assert_array_equal(read("mnist").splits["train"].x, images(12, 7))


def test_unknown_names_are_refused_with_those_that_are_known(nothing):
    for name in ("minst", "no/such/file.npz", "~nobody-at-all/x.npz", "x" * 5000):
        told = refusal(read, name)
        assert told.startswith(f"{escaped(name)}: there is no such file or folder")
        assert "(digits, mnist, fashion-mnist)" in told


# Fetching


class Site:
    """A mirror on this machine: `files` below /one/ and /two/, and the requests it was asked for."""

    def __init__(self):
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                site.asked.append(self.path)
                content = site.files.get(self.path)
                self.send_response(200 if content is not None else 404)
                self.send_header("Content-Length", str(len(content or b"")))
                self.end_headers()
                self.wfile.write(content or b"")

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.mirrors = tuple(f"http://127.0.0.1:{self.server.server_address[1]}/{name}/" for name in ("one", "two"))


@pytest.fixture
def site(nothing, monkeypatch):
    site = Site()
    thread = threading.Thread(target=functools.partial(site.server.serve_forever, poll_interval=0.01))
    thread.start()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setitem(catalog._MIRRORS, "mnist", site.mirrors)
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in contents().items()}
    monkeypatch.setitem(catalog._SHA256, "mnist", digests)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # of sockets that the transport leaves to the collector
        yield site
    site.server.shutdown()
    site.server.server_close()
    thread.join()


CACHE = ("cache", "epochal", "data", "mnist")


def test_files_are_fetched_once_into_the_cache(nothing, site):
    site.files = {f"/one/{name}": data for name, data in contents().items()}
    for _ in range(2):
        np.testing.assert_array_equal(read("mnist").splits["train"].x, images(12))
    assert site.asked == [f"/one/{name}" for name in FILES]
    folder = nothing.joinpath(*CACHE)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == contents()
    assert read("mnist", offline=True).files[0].parent == folder


def test_the_second_mirror_is_asked_where_the_first_has_no_file(site):
    site.files = {f"/two/{name}": data for name, data in contents().items()}
    np.testing.assert_array_equal(read("mnist").splits["test"].x, images(6, 1))
    assert site.asked[:2] == [f"/one/{FILES[0]}", f"/two/{FILES[0]}"]
    assert len(site.asked) == 8


def test_other_content_is_refused_by_its_digest_and_the_next_mirror_is_asked(nothing, site):
    site.files = {f"/one/{name}": data for name, data in contents(seed=5).items()}
    site.files |= {f"/two/{name}": data for name, data in contents().items()}
    np.testing.assert_array_equal(read("mnist").splits["train"].x, images(12))
    assert {path.name: path.read_bytes() for path in nothing.joinpath(*CACHE).iterdir()} == contents()


def test_nothing_wrong_is_ever_kept(nothing, site):
    site.files = {f"/{mirror}/{name}": b"<html>" for mirror in ("one", "two") for name in FILES}
    told = refusal(read, "mnist")
    assert told.count("what came has another SHA-256") == 2
    assert not list(nothing.joinpath(*CACHE).iterdir())


def test_where_all_mirrors_fail_the_message_names_them_and_the_way_without(nothing, site):
    told = refusal(read, "mnist")
    assert told.startswith(f"mnist: {FILES[0]} could not be fetched (")
    for mirror in site.mirrors:
        assert f"{mirror}: 404 Client Error" in told
    assert f"put its four files (of {site.mirrors[0]}) into {nothing.joinpath(*CACHE)}" in told
    assert "a folder mnist below the one that EPOCHAL_DATA names" in told
    assert len(site.asked) == 2


def test_a_mirror_that_nobody_answers_is_passed_over(nothing, site, monkeypatch):
    site.files = {f"/two/{name}": data for name, data in contents().items()}
    monkeypatch.setitem(catalog._MIRRORS, "mnist", ("http://127.0.0.1:9/", site.mirrors[1]))
    assert len(read("mnist").splits["train"].x) == 12


def test_an_error_without_words_is_told_by_its_kind(nothing, monkeypatch):
    import pooch

    def retrieve(*args):
        raise TimeoutError

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    assert "TimeoutError" in refusal(read, "mnist")


def test_a_fetch_that_was_cut_short_goes_on_where_it_ended(nothing, site):
    site.files = {f"/one/{name}": contents()[name] for name in FILES[:2]}
    refusal(read, "mnist")
    site.asked.clear()
    site.files = {f"/one/{name}": data for name, data in contents().items()}
    read("mnist")
    assert site.asked == [f"/one/{name}" for name in FILES[2:]]


def test_a_cache_that_cannot_be_written_is_told(nothing, site):
    site.files = {f"/one/{name}": data for name, data in contents().items()}
    (nothing / "cache").write_text("a file where a folder should be")
    assert "could not be fetched" in refusal(read, "mnist")


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_offline_nothing_is_asked_and_the_message_says_what_to_do(nothing, site, name):
    told = refusal(read, name, offline=True)
    assert told.startswith(f"{name}: is not on this machine, and offline=True forbids to fetch it")
    assert f"four files (of {catalog._MIRRORS[name][0]})" in told
    assert str(nothing / "cache" / "epochal" / "data" / name) in told
    assert ("apt install dataset-fashion-mnist" in told) == (name == "fashion-mnist")
    assert not site.asked


def test_mirrors_are_reached_over_https_and_every_file_has_a_digest():
    for name, mirrors in catalog._MIRRORS.items():
        assert len(mirrors) == 2
        assert all(mirror.startswith("https://") and mirror.endswith("/") for mirror in mirrors)
        assert list(catalog._SHA256[name]) == FILES
        assert all(len(digest) == 64 for digest in catalog._SHA256[name].values())


# The data sets themselves. Compressed again, as Debian does, the files have other digests; their contents have these.

UNPACKED = {
    "mnist": [
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ],
    "fashion-mnist": [
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ],
}


@pytest.mark.parametrize("name", [pytest.param("mnist", marks=pytest.mark.data), "fashion-mnist"])
def test_the_real_files_are_read_to_the_byte(name):
    require(name)
    raw = read(name, offline=True)
    parts = [part for split in ("train", "test") for part in raw.splits[split]]
    assert [part.shape for part in parts] == [(60_000, 28, 28), (60_000,), (10_000, 28, 28), (10_000,)]
    assert [hashlib.sha256(pack(part)).hexdigest() for part in parts] == UNPACKED[name]


def test_fashion_mnist_loads_and_no_test_image_is_in_train():
    require("fashion-mnist")
    data = epochal.load("fashion-mnist", offline=True)
    assert [len(split) for split in data] == [50_000, 10_000, 10_000]
    assert data.classes[9] == "Ankle boot"
    assert {x.tobytes() for x in data.train.x}.isdisjoint(x.tobytes() for x in data.test.x)


@pytest.mark.data
def test_mnists_pickle_and_idx_files_are_the_same_images():
    pickled, folder = require("mnist.pkl.gz"), require("mnist")
    tutorials, original = epochal.load(pickled), epochal.load(folder)
    assert [len(split) for split in tutorials] == [len(split) for split in original] == [50_000, 10_000, 10_000]
    assert (tutorials.divisor, original.divisor) == (1, 255)
    for ours, theirs in zip(tutorials, original, strict=True):
        np.testing.assert_array_equal(ours.x.reshape(-1, 28, 28) * 256, theirs.x)
        np.testing.assert_array_equal(ours.y, theirs.y)


def test_damage_to_a_found_file_is_told_with_its_path(nothing, monkeypatch):
    folder = put(nothing / "data" / "mnist")
    monkeypatch.setenv("EPOCHAL_DATA", str(nothing / "data"))
    whole = (folder / FILES[0]).read_bytes()
    (folder / FILES[0]).write_bytes(whole[:-9])
    assert str(folder / FILES[0]) in refusal(epochal.load, "mnist")
    shutil.copy(folder / FILES[1], folder / FILES[0])
    assert "got [12]" in refusal(epochal.load, "mnist")
