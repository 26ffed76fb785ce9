"""How a data set is read and split: one frozen dataclass, from which command line and TOML derive."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from math import isfinite
from numbers import Real
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, get_args

from epochal.errors import RecipeError

Holdout = Literal["auto", "last", "stratified"]
Color = Literal["auto", "grey", "rgb"]
Storage = Literal["auto", "uint8", "float16", "bfloat16", "float32"]


_LISTS = ("drop", "categorical", "missing")
_CHOICES = {"holdout": get_args(Holdout), "color": get_args(Color), "storage": get_args(Storage)}


_MOST_DIVISOR = 1e30


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Options of `load`. Raises RecipeError, naming field, value and range, where one makes no sense.

    `drop`, `categorical` and `missing` take text or a sequence of texts; a text may join several by commas.

    >>> named(Reading(drop="id,name").drop, ["id", "name", "age"])
    ['id', 'name']
    """

    inherited: ClassVar[frozenset[str]] = frozenset()
    """Fields that a run brings with it, and that its user has not given now: a source may have no use for them."""

    label: str | None = None
    """Column of the labels, for tables."""

    labels: Path | str | Any | None = None
    """File of the labels (from Python also an array), for sources that hold features alone."""

    valid: str | None = None
    """File of the validation rows (or a pattern of files); DATA then holds no validation rows."""

    test: str | None = None
    """File of the test rows (or a pattern of files); DATA then holds no test rows."""

    drop: tuple[str, ...] = ()
    """Columns to leave out; may be given several times, or joined by commas."""

    categorical: tuple[str, ...] = ()
    """Columns taken as categories though their values are numbers: codes, ZIP; given as for drop."""

    split_column: str | None = None
    """Column that says train, valid or test for every row."""

    group: str | None = None
    """Column of groups (patients, say) that are held out as a whole: no group is in two splits."""

    time: str | None = None
    """Column to order the rows by: the latest are held out, the test rows latest of all."""

    holdout: Holdout = "auto"
    """Which rows are held out where a split is missing: the last, a stratified draw, or what is usual for the data."""

    valid_fraction: float = 1 / 6
    """Part of the rows that is held out for validation, once the test rows are gone."""

    test_fraction: float = 1 / 6
    """Part of the rows that is held out for the test."""

    split_seed: int = 0
    """Seeds the draw of the rows that are held out."""

    divisor: float | None = None
    """Stored features are divided by this in the step; left out: 255 for uint8 images, else 1."""

    separator: str | None = None
    """Between the cells of a text table; left out: found out."""

    header: bool | None = None
    """Whether the first row of a text table names the columns; left out: found out. Else they are called c0, c1, …"""

    decimal: str | None = None
    """The decimal mark of numbers in a text table; left out: a point, or a comma where that parts thousands."""

    thousands: str | None = None
    """The mark between groups of three digits in a text table, such as , in 28,500."""

    missing: tuple[str, ...] = ()
    """Cells of a text table that mean a missing value, besides the known words (NA, None, …); given as for drop."""

    known_missing: bool = True
    """Whether NA, N/A, NaN, null, None and their like are missing values in a text table, besides empty cells."""

    encoding: str | None = None
    """The encoding of a text table, like latin-1; left out: UTF-8."""

    skip_unlabelled: bool = False
    """Leave rows of a table that have no label out."""

    size: str | None = None
    """Images are resized to this height and width, like 32x32; left out: they must all have one size."""

    color: Color = "auto"
    """Images become grey or rgb; auto: grey where all of them are."""

    storage: Storage = "auto"
    """Dtype of the features on the device; auto: the file's own. float16 and bfloat16 round."""

    host_memory: str | int | None = None
    """What files may unpack to, like 2GB, larger ones are read by pieces; left out: a quarter of the free memory."""

    offline: bool = False
    """Never fetch a data set by name."""

    def __post_init__(self) -> None:
        for name in _LISTS:
            object.__setattr__(self, name, _texts(name, getattr(self, name)))
        _check_marks(self)
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise RecipeError(f"{name}: must be one of {', '.join(choices)}, got {getattr(self, name)!r}")
        for name in ("valid_fraction", "test_fraction"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1:
                raise RecipeError(f"{name}: must be above 0 and below 1, got {value!r}")
        if self.valid_fraction + self.test_fraction >= 1:
            raise RecipeError(
                f"valid_fraction, test_fraction: must leave rows to train on, got {self.valid_fraction} and "
                f"{self.test_fraction}"
            )
        if (
            isinstance(self.split_seed, bool)
            or not isinstance(self.split_seed, int)
            or not 0 <= self.split_seed < 2**32
        ):
            raise RecipeError(f"split_seed: must be a whole number from 0 to {2**32 - 1:,}, got {self.split_seed!r}")
        self._check_divisor()
        self._check_ways()

    def _check_divisor(self) -> None:
        if self.divisor is not None:
            if not isinstance(self.divisor, Real) or not (isfinite(self.divisor) and self.divisor > 0):
                raise RecipeError(f"divisor: must be a positive number, got {self.divisor!r}")
            if not 1 / _MOST_DIVISOR <= self.divisor <= _MOST_DIVISOR:
                raise RecipeError(
                    f"divisor: must be from {1 / _MOST_DIVISOR:g} to {_MOST_DIVISOR:g}, got {self.divisor!r}: "
                    f"float32 would make infinite numbers or zeros of the features"
                )
            object.__setattr__(self, "divisor", float(self.divisor))

    def _check_ways(self) -> None:
        ways = [name for name in ("split_column", "group", "time") if getattr(self, name) is not None]
        if len(ways) > 1:
            raise RecipeError(f"{ways[0]}, {ways[1]}: rows are held out in one way, got both; leave one out")

    def to_dict(self) -> dict[str, Any]:
        """The fields that differ from their defaults, as plain values; an array of labels is left out."""
        values = {name: getattr(self, name) for name in self.given}
        plain = {
            name: list(v) if name in _LISTS else str(v) if isinstance(v, Path) else v for name, v in values.items()
        }
        return {name: value for name, value in plain.items() if not hasattr(value, "shape")}

    @property
    def given(self) -> list[str]:
        """Names of the fields that differ from their defaults."""
        return [f.name for f in fields(self) if getattr(self, f.name) is not f.default]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The reading of `values`; raises RecipeError for an unknown name."""
        known = [field.name for field in fields(cls)]
        for name in values:
            if name not in known:
                raise RecipeError(f"load: no option is called {name!r}; there are {', '.join(known)}")
        return cls(**values)

    def inheriting(self, values: Mapping[str, Any]) -> "Reading":
        """Its own fields that are given, and the `values` of another reading for all others."""
        chosen = self.to_dict()
        both = Reading.from_dict({**values, **chosen})
        object.__setattr__(both, "inherited", frozenset(values) - set(chosen))
        return both


def named(given: Collection[str], present: Collection[str]) -> list[str]:
    """The names that `given` means: a text that is one of those `present` as a whole, else what its commas part."""
    names: list[str] = []
    for text in given:
        whole = next((one for one in (text, text.strip()) if one in present), None)
        names += [whole] if whole is not None else words([text])
    return list(dict.fromkeys(names))


def words(given: Collection[str]) -> list[str]:
    """What the commas of all texts part, stripped of blanks."""
    return [word for text in given for part in text.split(",") if (word := part.strip())]


def _texts(name: str, value: Any) -> tuple[str, ...]:
    if value is None or isinstance(value, str):
        return (value,) if value else ()
    if isinstance(value, Mapping) or not isinstance(value, Collection) or not all(isinstance(v, str) for v in value):
        raise RecipeError(f"{name}: must be text, or a list of texts, got {value!r}")
    return tuple(value)


def _check_marks(reading: Reading) -> None:
    marks = {"decimal": reading.decimal, "thousands": reading.thousands}
    for name, mark in marks.items():
        if mark is None:
            continue
        if not isinstance(mark, str) or len(mark) != 1 or mark.isalnum() or mark in '+-\r\n\0"':
            raise RecipeError(f"{name}: must be one character, like . or , (no digit, letter or sign), got {mark!r}")
    if reading.decimal is not None and reading.decimal == reading.thousands:
        raise RecipeError(f"decimal, thousands: must be two marks, got {reading.decimal!r} for both")
    if reading.encoding is not None:
        try:
            "a".encode(reading.encoding)
        except (LookupError, TypeError, ValueError):
            raise RecipeError(
                f"encoding: must be one that Python knows, like utf-8, latin-1 or cp1252, got {reading.encoding!r}"
            ) from None
