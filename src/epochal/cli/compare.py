"""`epochal compare`."""

from pathlib import Path

from epochal.cli.options import Flag, Json, Trust


def compare(first: Path, second: Path, *, open_test: Flag = False, trust: Trust = False, json: Json = False) -> int:
    """Compare two runs on the same rows by McNemar's exact test.

    Parameters
    ----------
    first
        A run folder.
    second
        Another run folder, trained on the same data.
    open_test
        Compare on the test split, in place of the validation split; the ledgers keep that both opened it.

    """
    from epochal.cli import output
    from epochal.reports.comparison import compare_runs
    from epochal.training import ledger

    split = "test" if open_test else "validation"
    comparison = compare_runs(first, second, test=open_test, trust=trust)
    if json:
        output.print_json({"runs": [str(first), str(second)], "split": split} | comparison.to_json())
        return 0
    print(f"{output.describe_score(split, comparison.first)}   {first}")
    print(f"{output.describe_score(split, comparison.second)}   {second}")
    print(f"wrong by both {comparison.both:,}, by the first alone {comparison.first_alone:,}, by the second alone "
          f"{comparison.second_alone:,}; McNemar's exact p = {comparison.p:.3g}")  # fmt: skip
    if open_test:
        print(f"The test split of these data was {ledger.in_words(ledger.entries(first)[-1]['opened_before'])}.")
    return 0
