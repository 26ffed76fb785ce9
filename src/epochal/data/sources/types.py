"""`Reader`, the protocol of a format; the `Context` in which it reads, and the `RawDataset` that it returns."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from epochal.data.options import Reading
from epochal.data.rows import Rows
from epochal.data.sources.files import suffix_of
from epochal.data.table import Table
from epochal.errors import RecipeError, option

SPLITS = ("train", "valid", "test")
_SPLIT_OF = {**dict.fromkeys(("validation", "val", "dev"), "valid"), **{name: name for name in SPLITS}}
SPLIT_NAMES = "train, valid (or validation, val, dev) and test"

_ALWAYS = (
    "valid", "test", "holdout", "valid_fraction", "test_fraction", "split_seed", "divisor", "storage", "host_memory",
    "offline",
)  # fmt: skip
_FOR = {
    **dict.fromkeys(("label", "drop", "categorical", "split_column", "group", "time", "skip_unlabelled"), "tables"),
    **dict.fromkeys(("separator", "header", "decimal", "thousands", "missing", "known_missing", "encoding"),
                    "text tables (CSV)"),
    **dict.fromkeys(("image_size", "color"), "images"),
    "labels_from": "features in a file or array of their own",
}  # fmt: skip


def split_of(name: Any) -> str | None:
    """The split that a name means, in any case of letters; None where it means none."""
    return _SPLIT_OF.get(str(name).strip().lower())


@dataclass(frozen=True, eq=False)
class RawSplit:
    """Rows as they were read: features, and labels where the source has them. Unpacks as `x, y`.

    `groups` and `times`, one value a row, say how rows may be held out.
    """

    x: Rows | Table
    y: Any = None
    groups: np.ndarray | None = None
    times: np.ndarray | None = None

    def __iter__(self) -> Iterator[Any]:
        return iter((self.x, self.y))


@dataclass(frozen=True)
class RawDataset:
    """What a source holds, by the name of the split: train, valid, test."""

    name: str
    splits: Mapping[str, RawSplit]
    files: tuple[Path, ...] = ()
    divisor: float | None = None  # what stored features are divided by, where the source knows
    classes: Sequence[str] | None = None  # names of the labels 0 …, where the source knows
    ordered_holdout: bool = False  # hold the last rows out, in order, as is usual for this data set
    notes: tuple[str, ...] = ()  # what was inferred, in words
    dropped: tuple[str, ...] = ()  # columns that were left out as asked


@dataclass(frozen=True)
class Context:
    """How a source is read: the options, the bytes that one copy may take, and whether labels are wanted."""

    options: Reading
    limit: int
    labelled: bool = True

    def check(self, used: Collection[str], name: str, kind: str) -> None:
        """Raise RecipeError for an option that the source `name`, of this kind, has no use for."""
        for field in self.options.given:
            if field not in used and field not in _ALWAYS and field not in self.options.inherited:
                value = getattr(self.options, field)
                shown = list(value) if isinstance(value, tuple) else value if isinstance(value, (str, bool)) else None
                raise RecipeError(f"{option(field, shown)}: is for {_FOR[field]}, and {name} is {kind}; leave it out")


class Reader(Protocol):
    """The reader of one format: a class in a file of its own, and a line in `sources.READERS`.

    A source is a Path of what exists, a text (a name, a pattern of files), or an object of the program. Nothing of it
    is ever executed.
    """

    formats: str = ""
    """What the list of known formats says of this one; "" where it is no file."""

    suffixes: Collection[str] = ()
    """Of its files, where they tell the format: in small letters, that of gzip left out."""

    kind: str
    """What messages call such a source: "a file of arrays"."""

    options: Collection[str] | None
    """Fields of `Reading` that it uses, besides those of every source. None: `read` checks them, by `Context.check`."""

    def matches(self, source: Any, /) -> bool:
        """Whether the source has this format. Reads no more than its first bytes, and raises nothing."""
        return suffix_of(source) in self.suffixes

    def read(self, source: Any, context: Context, /) -> RawDataset:
        """The splits of a source that matches. Raises DataError, with the place and the remedy."""
        ...
