"""`epochal inspect`."""

from typing import TYPE_CHECKING, Any

from epochal.cli.options import Json, LoadOptions, Memory, amount
from epochal.data.options import Reading

if TYPE_CHECKING:
    import numpy as np

    from epochal.data.dataset import Dataset

_SHADES = " .:-=+*#%@"
_MOST_CLASSES = 20


def inspect(
    data: str,
    *,
    examples: int = 3,
    reading: LoadOptions = Reading(),
    memory: Memory = None,
    json: Json = False,
) -> int:
    """Say what a data set holds and what it would take to train on it here.

    Parameters
    ----------
    data
        A file, a folder, or a name.
    examples
        How many train examples to draw, where they are images.

    """
    from epochal.cli import output
    from epochal.data.loading import load
    from epochal.data.table import shown
    from epochal.device.placement import granted_bytes
    from epochal.device.residency import scoring
    from epochal.runs.schema import ResidencyRecord

    dataset = load(data, reading)
    granted = amount(memory, "--memory") or granted_bytes()
    residency = scoring(len(dataset.train), dataset.train.row_bytes, granted)
    summary = _summary(dataset)
    if json:
        output.print_json(summary | {"residency": ResidencyRecord.of(residency)._asdict()})
        return 0
    print(output.describe_data(dataset))
    for name, split in summary["splits"].items():
        values = f"range {split['least']:g} to {split['most']:g}, mean {split['mean']:.4g}"
        print(f"{name:<6} {split['rows']:>9,} rows   {values}")
    print(_class_table(dataset, summary))
    if dataset.preprocessing:
        print("\n".join(column_lines(dataset)))
    print(f"features are divided by {dataset.divisor:g}; fingerprint {dataset.fingerprint[:16]}…")
    print(f"on this device: {residency.kind}: {residency.why}")
    for row in range(min(examples, len(dataset.train))):
        drawing = draw(dataset.train.x[row])
        if drawing:
            print(f"\ntrain row {row}, class {shown(dataset.classes[dataset.train.y[row]])}\n{drawing}")
    return 0


def _summary(dataset: "Dataset") -> dict[str, Any]:
    import numpy as np

    from epochal.data.rows import blocks

    splits = {}
    for name, split in zip(("train", "valid", "test"), dataset, strict=True):
        seen = [(float(b.min()), float(b.max()), float(b.sum(dtype=np.float64)), b.size) for _, b in blocks(split.x)]
        least, most, sums, counts = zip(*seen, strict=True)
        splits[name] = {
            "rows": len(split),
            "least": min(least),
            "most": max(most),
            "mean": sum(sums) / sum(counts),
            "class_counts": np.bincount(split.y, minlength=len(dataset.classes)).tolist(),
        }
    return {
        "data": dataset.source,
        "example_shape": list(dataset.example_shape),
        "dtype": str(dataset.train.x.dtype),
        "divisor": dataset.divisor,
        "classes": list(dataset.classes),
        "splits": splits,
        "notes": list(dataset.notes),
        "fingerprint": dataset.fingerprint,
        "columns": dataset.preprocessing.to_json() if dataset.preprocessing else None,
    }


def _class_table(dataset: "Dataset", summary: dict[str, Any]) -> str:
    from epochal.data.table import shown

    counts = [split["class_counts"] for split in summary["splits"].values()]
    lines = [f"{'class':<20} {'train':>9} {'valid':>9} {'test':>9}"]
    for i, name in enumerate(dataset.classes[:_MOST_CLASSES]):
        lines.append(f"{shown(name, 20):<20} {counts[0][i]:>9,} {counts[1][i]:>9,} {counts[2][i]:>9,}")
    if len(dataset.classes) > _MOST_CLASSES:
        lines.append(f"… and {len(dataset.classes) - _MOST_CLASSES:,} more classes")
    return "\n".join(lines)


def column_lines(dataset: "Dataset") -> list[str]:
    """What was understood of each column of a table and what becomes of it, by the train rows."""
    from epochal.data.rows import blocks
    from epochal.data.table import shown

    assert dataset.preprocessing
    lines, begin = [f"{'column':<24} {'kind':<9} features"], 0
    for plan in dataset.preprocessing.columns:
        end = begin + plan.width
        absent = sum(int(b[:, end - 1].sum(dtype=int)) for _, b in blocks(dataset.train.x)) if plan.missing else 0
        if plan.kind == "number":
            becomes = f"standardised: mean {plan.mean:.4g}, deviation {plan.scale:.4g}"
        elif plan.kind == "boolean":
            becomes = "0 or 1"
        else:
            first = ", ".join(shown(value, 20) for value in plan.categories[:4])
            first += ", …" if len(plan.categories) > 4 else ""
            becomes = f"{len(plan.categories):,} values, each a feature, and one for others: {first}"
        missing = f"; missing in {absent:,} of {len(dataset.train):,} train rows, told by one more" if absent else ""
        lines.append(f"{shown(plan.name, 24):<24} {plan.kind:<9} {becomes}{missing}")
        begin = end
    reading = dataset.reading
    columns = {"label": reading.label, "split": reading.split_column, "group": reading.group, "time": reading.time}
    lines += [f"{shown(name, 24):<24} {role:<9} not a feature" for role, name in columns.items() if name]
    return lines + [f"{shown(name, 24):<24} {'left out':<9} not a feature" for name in reading.drop]


def draw(example: "np.ndarray") -> str | None:
    """An image as text, two characters a pixel, at most 32 × 32; None where the example is no image."""
    from epochal.errors import RecipeError
    from epochal.models.built_in.lenet import image_shape

    try:
        height, width, channels = image_shape(example.shape)
    except RecipeError:
        return None
    if min(height, width) < 4 or channels > 4:
        return None
    image = example.reshape(height, width, channels).astype(float).mean(axis=2)
    step = max(1, -(-max(height, width) // 32))
    image = image[::step, ::step]
    span = image.max() - image.min()
    levels = ((image - image.min()) / (span or 1) * (len(_SHADES) - 1)).round().astype(int)
    return "\n".join("".join(_SHADES[level] * 2 for level in row).rstrip() for row in levels)
