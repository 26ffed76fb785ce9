"""How a data set is read and split: one frozen dataclass, from which command line and TOML derive."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import isfinite
from numbers import Real
from pathlib import Path
from typing import Any, Literal, Self, get_args

from epochal.errors import RecipeError

Holdout = Literal["auto", "last", "stratified"]
Color = Literal["auto", "grey", "rgb"]
Storage = Literal["auto", "uint8", "float16", "bfloat16", "float32"]


_CHOICES = {"holdout": get_args(Holdout), "color": get_args(Color), "storage": get_args(Storage)}


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Options of `load`. Raises RecipeError, naming field, value and range, where one makes no sense."""

    label: str | None = None
    """Column of the labels, for tables."""

    labels: Path | str | Any | None = None
    """File of the labels (from Python also an array), for sources that hold features alone."""

    valid: str | None = None
    """File of the validation rows (or a pattern of files); DATA then holds no validation rows."""

    test: str | None = None
    """File of the test rows (or a pattern of files); DATA then holds no test rows."""

    drop: str | None = None
    """Columns to leave out, joined by commas."""

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

    size: str | None = None
    """Images are resized to this height and width, like 32x32; left out: they must all have one size."""

    color: Color = "auto"
    """Images become grey or rgb; auto: grey where all of them are."""

    storage: Storage = "auto"
    """Dtype of the features on the device; auto: the file's own. float16 and bfloat16 round."""

    host_memory: str | int | None = None
    """What files may unpack to, like 2GB, larger ones are read piece by piece; left out: half of the free memory."""

    offline: bool = False
    """Never fetch a data set by name."""

    def __post_init__(self) -> None:
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
        if self.divisor is not None:
            if not isinstance(self.divisor, Real) or not (isfinite(self.divisor) and self.divisor > 0):
                raise RecipeError(f"divisor: must be a positive number, got {self.divisor!r}")
            object.__setattr__(self, "divisor", float(self.divisor))
        ways = [name for name in ("split_column", "group", "time") if getattr(self, name) is not None]
        if len(ways) > 1:
            raise RecipeError(f"{ways[0]}, {ways[1]}: rows are held out in one way, got both; leave one out")

    def to_dict(self) -> dict[str, Any]:
        """The fields that differ from their defaults, as plain values; an array of labels is left out."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        values = {f.name: values[f.name] for f in fields(self) if values[f.name] is not f.default}
        return {name: str(v) if isinstance(v, Path) else v for name, v in values.items() if not hasattr(v, "shape")}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The reading of `values`; raises RecipeError for a name that is no field."""
        known = [field.name for field in fields(cls)]
        for name in values:
            if name not in known:
                raise RecipeError(f"load: no option is called {name!r}; there are {', '.join(known)}")
        return cls(**values)

    @property
    def dropped(self) -> list[str]:
        """The columns of `drop`."""
        return [name.strip() for name in self.drop.split(",")] if self.drop else []
