"""Data sets by name: found on this machine, or fetched from a mirror and checked by SHA-256."""

import gzip
import hashlib
import importlib.util
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from epochal.data.sources.arrays import idx
from epochal.data.sources.files import brief, locate, read_bytes
from epochal.data.sources.types import Context, RawDataset, RawSplit, Reader
from epochal.errors import DataError, option, reading
from epochal.system import cache_folder as caches

_MNIST_MIRRORS = (
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
)
_FASHION_MIRRORS = (
    "https://fashion-mnist.s3.eu-central-1.amazonaws.com/",
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
)
_FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
_SHA256 = {
    "mnist": {
        "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    },
    "fashion-mnist": {
        "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    },
}
_UNPACKED = {
    "mnist": {
        "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
    "fashion-mnist": {
        "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
}
"""The same files unpacked, as they may be packed again: of Fashion-MNIST as Debian's dataset-fashion-mnist has them."""

_DEBIAN = Path("/usr/share/datasets")
_MIRRORS = {"mnist": _MNIST_MIRRORS, "fashion-mnist": _FASHION_MIRRORS}


class Catalog(Reader):
    """Data sets called by their names."""

    formats, kind, options = "", "a data set known by its name", ()

    def matches(self, source: Any) -> bool:
        return isinstance(source, str) and source.lower() in NAMES

    def read(self, source: str, context: Context) -> RawDataset:
        return NAMES[source.lower()](source.lower(), context.options.offline, context.limit)


def _digits(name: str, offline: bool, limit: int) -> RawDataset:
    """scikit-learn's digits, 1,797 images of 8 × 8 pixels 0..16: read from that package's data file, not imported."""
    package = importlib.util.find_spec("sklearn")
    if package is None or not package.submodule_search_locations:
        raise DataError("digits: comes with scikit-learn, which is not installed; pip install scikit-learn")
    path = Path(package.submodule_search_locations[0]) / "datasets" / "data" / "digits.csv.gz"
    lines = bytes(read_bytes(path, limit)).splitlines()
    try:
        table = np.array([[int(float(cell)) for cell in line.split(b",")] for line in lines], np.uint8)
        x, y = table[:, :64].reshape(-1, 8, 8), table[:, 64]
    except (ValueError, OverflowError, IndexError) as error:
        raise DataError(f"{path}: is no table of digits ({brief(error)}); reinstall scikit-learn") from None
    return RawDataset(name, {"train": RawSplit(x, y)}, (path,), divisor=16.0)


def _images(name: str, offline: bool, limit: int) -> RawDataset:
    folder = find(name)
    if folder is None:
        folder = _fetch(name, offline)
    classes = _FASHION_CLASSES if name == "fashion-mnist" else None
    raw = idx.read_folder(folder, limit)
    return replace(raw, name=name, classes=classes, notes=tuple(_unlike(name, raw.files, folder)))


def _unlike(name: str, files: Sequence[Path], folder: Path) -> list[str]:
    """A note on the files that are not those of the mirrors."""
    others = []
    for file in files:
        plain = file.name.removesuffix(".gz")
        published = {_SHA256[name].get(file.name), _UNPACKED[name].get(plain)}
        if _sha256(file) not in published and (file.name == plain or _sha256(file, packed=True) not in published):
            others.append(file.name)
    if not others:
        return []
    return [
        f"{folder}: {', '.join(others)} {'is' if len(others) == 1 else 'are'} not as published (another SHA-256), so "
        f"these may be other data than {name}; remove them to fetch those"
    ]


def _sha256(path: Path, *, packed: bool = False) -> str:
    """Of the file, or of what it unpacks to: the reader has unpacked it before, and knows that it is sound."""
    with reading(path), gzip.open(path) if packed else path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def find(name: str) -> Path | None:
    """The folder that holds all four files of `name`: under EPOCHAL_DATA, Debian's data sets, or the user's cache."""
    for folder in _places(name):
        if all(any((folder / file.removesuffix(end)).is_file() for end in ("", ".gz")) for file in _SHA256[name]):
            return folder
    return None


def _places(name: str) -> list[Path]:
    roots_given = os.environ.get("EPOCHAL_DATA", "").split(os.pathsep)
    roots = [root for text in roots_given if text and (root := locate(text))]
    # The files of mnist may lie in EPOCHAL_DATA itself; those of another set have the same names, so need a folder.
    direct = [root for root in roots if name == "mnist"]
    return [*(root / name for root in roots), *direct, _DEBIAN / name, cache_folder() / name]


def cache_folder() -> Path:
    return caches.cache_folder() / "data"


def _fetch(name: str, offline: bool) -> Path:
    folder = cache_folder() / name
    here = (
        f"put its four files (of {_MIRRORS[name][0]}) into {folder}, or into a folder {name} below the one that "
        f"EPOCHAL_DATA names{' (or: apt install dataset-fashion-mnist)' if name == 'fashion-mnist' else ''}"
    )
    if offline:
        raise DataError(f"{name}: is not on this machine, and {option('offline', True)} forbids to fetch it;\n{here}")
    import pooch

    pooch.get_logger().setLevel("WARNING")  # pooch reports every download on standard error
    for file, digest in _SHA256[name].items():
        failures = []
        for mirror in _MIRRORS[name]:
            try:
                pooch.retrieve(mirror + file, f"sha256:{digest}", file, folder)
                break
            except Exception as error:  # pooch passes on whatever the transport raises; the next mirror may answer
                reason = "what came has another SHA-256" if isinstance(error, ValueError) else brief(error)
                failures.append(f"{mirror}: {reason if len(reason) <= 120 else type(error).__name__}")
        else:
            raise DataError(f"{name}: {file} could not be fetched ({'; '.join(failures)});\n{here}")
    return folder


NAMES: dict[str, Callable[[str, bool, int], RawDataset]] = {
    "digits": _digits,
    "mnist": _images,
    "fashion-mnist": _images,
}
