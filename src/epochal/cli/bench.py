"""`epochal bench`."""

from epochal.cli.options import Json


def bench(
    *,
    work: str | None = None,
    rows: int = 50_000,
    epochs: int = 3,
    repeats: int = 3,
    json: Json = False,
) -> int:
    """Measure what epochal takes on this machine, and what the machine could do at best.

    MNIST is used where it is at hand, else Fashion-MNIST, else synthetic rows of the same shape. The comparison with
    other libraries is benchmarks/compare.py in the repository.

    Parameters
    ----------
    work
        Of W1 (logistic), W2 and W3 (MLP, batch 20 and 500), W4 (LeNet), joined by commas; left out: all four.
    rows
        Train rows; a fifth as many are for validation.
    epochs
        Epochs timed in a repeat, after one to warm up.
    repeats
        How often each work is done, in turn with the others.

    """
    from epochal.cli import output
    from epochal.reports import bench
    from epochal.system.memory import format_bytes

    report = bench.run(bench.chosen(work), rows, repeats, epochs)
    if json:
        output.print_json(report)
        return 0
    versions, ceilings, of = report["versions"], report["ceilings"], report["rows"]
    print(f"{report['data']}: {of['train']:,} train and {of['valid']:,} validation rows; epochal "
          f"{versions['epochal']}, jax {versions['jax']}, {versions['cores']} cores, {versions['device']}")  # fmt: skip
    print(f"ceilings: products {ceilings['flops'] / 1e9:.0f} GFLOP/s, copies {ceilings['cache_bytes'] / 1e9:.0f} GB/s "
          f"in cache and {ceilings['memory_bytes'] / 1e9:.0f} GB/s in memory")  # fmt: skip
    print(f"\n{'':<32}{'s/epoch':>10}{'rows/s':>12}{'× floor':>9}{'validate s':>12}{'compile s':>11}{'wrong %':>9}")
    for name, row in report["works"].items():
        print(f"{name + ' ' + row['title']:<32}{row['epoch_seconds']:>10.4f}{row['rows_per_second']:>12,.0f}"
              f"{row['of_floor']:>9.2f}{row['valid_seconds']:>12.4f}{row['compile_seconds']:>11.2f}"
              f"{row['valid_percent']:>9.2f}")  # fmt: skip
    print(f"\nmedians of {repeats} × {epochs} epochs, each repeat after one to warm up; "
          f"peak memory {format_bytes(report['peak_bytes'])}")  # fmt: skip
    return 0
