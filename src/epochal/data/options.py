"""How a data set is read and split: one frozen dataclass, from which command line and TOML derive."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Literal

from epochal.errors import RecipeError
from epochal.system.options import Options, checked, within

Holdout = Literal["auto", "last", "stratified"]
Color = Literal["auto", "grey", "rgb"]
Storage = Literal["auto", "uint8", "float16", "bfloat16", "float32"]

_MOST_DIVISOR = 1e30


def _texts(name: str, value: Any) -> tuple[str, ...]:
    if value is None or isinstance(value, str):
        return (value,) if value else ()
    if isinstance(value, Mapping) or not isinstance(value, Collection) or not all(isinstance(v, str) for v in value):
        raise RecipeError(f"{name}: must be text, or a list of texts, got {value!r}")
    return tuple(value)


def _mark(name: str, value: Any) -> Any:
    if value is None or (
        isinstance(value, str) and len(value) == 1 and not value.isalnum() and value not in '+-\r\n\0"'
    ):
        return value
    raise RecipeError(f"{name}: must be one character, like . or , (no digit, letter or sign), got {value!r}")


def _encoding(name: str, value: Any) -> Any:
    try:
        "".encode("utf-8" if value is None else value)
    except (LookupError, TypeError, ValueError):
        raise RecipeError(
            f"{name}: must be one that Python knows, like utf-8, latin-1 or cp1252, got {value!r}"
        ) from None
    return value


@dataclass(frozen=True, kw_only=True)
class Reading(Options):
    """Options of `load`. Raises RecipeError, naming field, value and range, where one makes no sense.

    `drop`, `categorical` and `missing` take text or a sequence of texts; a text may join several by commas.

    >>> named(Reading(drop="id,name").drop, ["id", "name", "age"])
    ['id', 'name']
    """

    unknown: ClassVar[str] = "load: no option"

    inherited: ClassVar[frozenset[str]] = frozenset()
    """Fields that a run brings with it, and that its user has not given now: a source may have no use for them."""

    label: str | None = None
    """Column of the labels, for tables."""

    labels_from: Path | str | Any | None = None
    """File of the labels (from Python also an array), for sources that hold features alone."""

    valid: str | None = None
    """File of the validation rows (or a pattern of files); DATA then holds no validation rows."""

    test: str | None = None
    """File of the test rows (or a pattern of files); DATA then holds no test rows."""

    drop: tuple[str, ...] = checked((), _texts)
    """Columns to leave out; may be given several times, or joined by commas."""

    categorical: tuple[str, ...] = checked((), _texts)
    """Columns taken as categories though their values are numbers: codes, ZIP; given as for drop."""

    split_column: str | None = None
    """Column that says train, valid or test for every row."""

    group: str | None = None
    """Column of groups (patients, say) that are held out as a whole: no group is in two splits."""

    time: str | None = None
    """Column to order the rows by: the latest are held out, the test rows latest of all."""

    holdout: Holdout = "auto"
    """Which rows are held out where a split is missing: the last, a stratified draw, or what is usual for the data."""

    valid_fraction: float = within(1 / 6, above=0, below=1)
    """Part of the rows that is held out for validation, once the test rows are gone."""

    test_fraction: float = within(1 / 6, above=0, below=1)
    """Part of the rows that is held out for the test."""

    split_seed: int = within(0, least=0, below=2**32)
    """Seeds the draw of the rows that are held out."""

    divisor: float | None = within(None, above=0)
    """Stored features are divided by this in the step; left out: 255 for uint8 images, else 1."""

    separator: str | None = None
    """Between the cells of a text table; left out: found out."""

    header: bool | None = None
    """Whether the first row of a text table names the columns; left out: found out. Else they are called c0, c1, …"""

    decimal: str | None = checked(None, _mark)
    """The decimal mark of numbers in a text table; left out: a point, or a comma where that parts thousands."""

    thousands: str | None = checked(None, _mark)
    """The mark between groups of three digits in a text table, such as , in 28,500."""

    missing: tuple[str, ...] = checked((), _texts)
    """Cells of a text table that mean a missing value, besides the known words (NA, None, …); given as for drop."""

    known_missing: bool = True
    """Whether NA, N/A, NaN, null, None and their like are missing values in a text table, besides empty cells."""

    encoding: str | None = checked(None, _encoding)
    """The encoding of a text table, like latin-1; left out: UTF-8."""

    skip_unlabelled: bool = False
    """Leave rows of a table that have no label out."""

    image_size: str | None = None
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
        super().__post_init__()
        if self.decimal is not None and self.decimal == self.thousands:
            raise RecipeError(f"decimal, thousands: must be two marks, got {self.decimal!r} for both")
        if self.valid_fraction + self.test_fraction >= 1:
            raise RecipeError(
                f"valid_fraction, test_fraction: must leave rows to train on, got {self.valid_fraction} and "
                f"{self.test_fraction}"
            )
        if self.divisor is not None and not 1 / _MOST_DIVISOR <= self.divisor <= _MOST_DIVISOR:
            raise RecipeError(
                f"divisor: must be from {1 / _MOST_DIVISOR:g} to {_MOST_DIVISOR:g}, got {self.divisor!r}: float32 "
                f"would make infinite numbers or zeros of the features"
            )
        ways = [name for name in ("split_column", "group", "time") if getattr(self, name) is not None]
        if len(ways) > 1:
            raise RecipeError(f"{ways[0]}, {ways[1]}: rows are held out in one way, got both; leave one out")

    def to_dict(self) -> dict[str, Any]:
        """The fields that differ from their defaults, as plain values; an array of labels is left out."""
        values = super().to_dict()
        return {name: values[name] for name in self.given if not hasattr(values[name], "shape")}

    @property
    def given(self) -> list[str]:
        """Names of the fields that differ from their defaults."""
        return [f.name for f in fields(self) if getattr(self, f.name) is not f.default]

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
