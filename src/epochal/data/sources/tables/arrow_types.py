"""What columns of Arrow types are: numbers, booleans, categories, times, or of no use as features."""

from collections.abc import Callable, Collection
from typing import Any

from epochal.data.sources.tables.splits import unpointed
from epochal.errors import option

FEATURES = ("number", "boolean", "category", "empty")


def kind_of(arrow_type: Any) -> str:
    """number, boolean, category, empty, time, or for anything else the type's own name.

    A dictionary is a category, also of numbers: whoever made it said so.
    """
    import pyarrow as pa

    if pa.types.is_dictionary(arrow_type):
        inner = kind_of(arrow_type.value_type)
        return "category" if inner in ("number", "boolean", "category", "time") else f"dictionary of {inner}"
    kinds: dict[str, tuple[Callable[[Any], bool], ...]] = {
        "number": (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal),
        "boolean": (pa.types.is_boolean,),
        "category": (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view),
        "empty": (pa.types.is_null,),
        "time": (pa.types.is_date, pa.types.is_timestamp, pa.types.is_time),
    }
    return next(
        (kind for kind, tests in kinds.items() if any(test(arrow_type) for test in tests)), str(arrow_type)[:80]
    )


def feature_kind(name: str, arrow_type: Any, categorical: Collection[str]) -> str:
    """The kind of a feature, where some are `categorical` by the user's word."""
    kind = kind_of(arrow_type)
    return "category" if name in categorical and kind in (*FEATURES, "time") else kind


def is_text(arrow_type: Any) -> bool:
    """Whether a column is text by its type, and so a category for want of anything better."""
    import pyarrow as pa

    return kind_of(arrow_type) == "category" and not pa.types.is_dictionary(arrow_type)


def texts(values: Any) -> list[str | None]:
    """Values of any kind as text: whole numbers as their digits, booleans in small letters."""
    import pyarrow as pa

    found = values.cast(pa.large_string()).to_pylist()
    numbers = pa.types.is_floating(values.type) or pa.types.is_decimal(values.type)
    return [None if text is None else unpointed(text) for text in found] if numbers else found


def key_kind(arrow_type: Any, *, as_time: bool) -> tuple[str, Any]:
    """How a column of labels, splits, groups or times is kept, and what its arrays are cast to before."""
    import pyarrow as pa

    kind = kind_of(arrow_type)
    if kind == "time":
        narrow = arrow_type.bit_width == 32
        return ("whole", pa.int32() if narrow else pa.int64()) if as_time else ("category", pa.large_string())
    if pa.types.is_integer(arrow_type):
        return ("whole", None) if arrow_type != pa.uint64() else ("category", pa.large_string())
    return ("category", pa.large_string()) if kind == "boolean" else (kind, None)


def problem(kind: str, arrow_type: Any) -> str:
    """Why a column of this kind is no feature."""
    if kind == "time":
        return f"holds dates or times ({arrow_type}), which are no features"
    return f"holds {kind}; features are numbers, booleans and text"


def time_remedy(name: str) -> str:
    """What else may be done with a column of times."""
    return f", or order the rows by it with {option('time', name)}"
