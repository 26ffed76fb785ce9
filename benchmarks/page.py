"""docs/benchmarks.md and its plots, made from stored results alone.

    python benchmarks/page.py benchmarks/results/DATE.json [MORE.json ...] --out docs/benchmarks.md

Of several comparisons each work is taken from the last file that has it; the newest scaling and GPU results are found
in the folder of the last one. With `--beside`, the goals have a column for what another machine gave.
"""

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import svg
from registry import PEERS
from sections import gpu_section, number, scaling_section, table
from summary import GOAL_TITLES, Goal, Line, doubtful, goals, lines

_GROUP_COLOURS = {"epochal": 0, "resident": 2, "usual": 3, "other": 1}


def processor() -> str:
    """The processor's own name, where the system tells it."""
    try:
        told = Path("/proc/cpuinfo").read_text()
    except OSError:
        return "unknown processor"
    names = [line.split(":", 1)[1].strip() for line in told.splitlines() if line.startswith("model name")]
    return f"{len(names)} × {names[0]}" if names else "unknown processor"


def line_of(work: str, run: dict[str, Any]) -> str:
    """One line on a run, while the comparison goes on."""
    head = f"{work} round {run['round'] + 1} {PEERS[run['peer']].title:<55}"
    if "error" in run:
        return f"{head} failed: {run['error'].splitlines()[-1]}"
    last = run["epochs"][-1]
    return f"{head} {last['train']:8.3f} s, {last['wrong']:,} wrong, {run['total']:.1f} s in all"


def write(results: Sequence[Path], out: Path, beside: Sequence[Path] = ()) -> None:
    """The page `out`, with its plots beside it, from the JSON files of comparisons; `beside` are another machine's."""
    told = [json.loads(path.read_text(encoding="utf-8")) for path in results]
    works, others = _works(told), _works([json.loads(path.read_text(encoding="utf-8")) for path in beside])
    folder = results[-1].parent
    out.parent.mkdir(parents=True, exist_ok=True)
    parts = [
        _head(told),
        _goal_table(works, others),
        *(_plot(works, out)),
        *(_work(name, w) for name, w in works.items()),
    ]
    parts += [
        _limits(),
        scaling_section(_newest(folder, "scaling"), out),
        gpu_section(_newest(folder, "gpu")),
        _foot(told, works),
    ]
    out.write_text("\n\n".join(part for part in parts if part) + "\n", encoding="utf-8")


def _works(told: Sequence[dict[str, Any]]) -> dict[str, Any]:
    works: dict[str, Any] = {}
    for each in told:
        works |= each["works"]
    return dict(sorted(works.items()))


def _newest(folder: Path, kind: str) -> dict[str, Any] | None:
    found = sorted(folder.glob(f"{kind}-*.json"))
    return json.loads(found[-1].read_text(encoding="utf-8")) if found else None


def _head(told: Sequence[dict[str, Any]]) -> str:
    last = told[-1]
    made = "\n".join(f"{each['command']}   # {each['date'][:10]}" for each in told)
    return (
        "# Benchmarks\n\n"
        "This page is made by a script; do not edit it.\n\n"
        f"```console\n{made}\n```\n\n"
        f"{last['machine']}; {last['versions']['cores']} cores used; epochal {last['versions']['epochal']}, "
        f"Python {last['versions']['python']}.\n\n"
        "The same work by all: the same rows, minibatch size, number of updates, float32, plain SGD, a new order of "
        "the rows each epoch (unless a line says otherwise), a validation pass after each. Each peer as its users "
        "write it (`benchmarks/peers/`), a process of its own, in turn. Seconds are medians over the epochs after the "
        "first, of the updates alone; *with validation* adds the pass over the validation rows. *Start-up* is from the "
        "start of the process to the end of epoch 1, less one steady epoch: imports, data, compilation; *cold* without "
        "compiled programs in a cache. *× floor* is how many times as long as the floor: the FLOPs of the matrix "
        "products over the best product, or the bytes that must move over the best copy, both measured in the same run "
        "(`src/epochal/limits.py` has the counts)."
    )


def _goal_table(works: dict[str, Any], others: dict[str, Any]) -> str:
    found = goals(works)
    if not found:
        return ""
    there = {(goal.work, goal.against): _ratio(goal) for goal in goals(others)}
    rows = [
        [g.work, GOAL_TITLES[g.against] + (f" ({g.who})" if g.who else ""), f"≤ {g.most:.2f}", _ratio(g), g.told]
        + ([there.get((g.work, g.against), "–")] if there else [])
        for g in found
    ]
    titles = ["work", "against", "goal", "here", ""]
    text = "## Goals\n\nepochal's seconds over the other's; lower is better. What limits those that are not reached: "
    text += "[below](#what-limits-it)."
    if there:
        titles.append(f"at {_speed(others)}")
        text += (
            f" The last column is from another machine, whose products reach {_speed(others)}; here {_speed(works)}."
        )
    return text + "\n\n" + table(titles, rows)


def _ratio(goal: Goal) -> str:
    return "–" if goal.ratio is None else f"{goal.ratio:.2f}"


def _speed(works: dict[str, Any]) -> str:
    flops = statistics.median(work["ceilings"]["flops"] for work in works.values() if "runs" in work)
    return f"{flops / 1e9:.0f} GFLOP/s"


def _limits() -> str:
    """What limits it, in words, with the commands that show it: the one part of the page that a person writes."""
    return (Path(__file__).parent / "limits.md").read_text(encoding="utf-8").strip()


def _plot(works: dict[str, Any], out: Path) -> list[str]:
    panels, marks = {}, {}
    for name, work in works.items():
        found = [line for line in lines(work) if line.seconds] if "runs" in work else []
        if found:
            title = f"{name} {work['title']}"
            panels[title] = [
                (PEERS[x.peer].title, x.seconds or 0.0, _GROUP_COLOURS[PEERS[x.peer].group]) for x in found
            ]
            if work["kind"] == "epochs":
                marks[title] = work["floor_seconds"]
    if not panels:
        return []
    path = out.with_name(f"{out.stem}-works.svg")
    path.write_text(svg.bars(panels, marks, "s"), encoding="utf-8")
    return [f"![Seconds of each peer on each work; the dashed line is the floor]({path.name})"]


def _work(name: str, work: dict[str, Any]) -> str:
    head = f"## {name}: {work['title']}\n\n"
    if "runs" not in work:
        return f"{head}Not measured: {work['skipped']}."
    found, data, ceilings = lines(work), work["data"], work["ceilings"]
    own = next((line.seconds for line in found if line.peer == "epochal_"), None)
    steady = work["kind"] == "epochs"
    titles = ["peer", "s/epoch" if steady else "seconds", "epochal / peer"]
    titles += ["with validation", "× floor"] if steady else []
    titles += ["start-up cold", "warm"] if steady else ["cold", "warm"]
    titles += ["peak MB", "valid %", "loss", "n"]
    rows = [_row(line, own, work["floor_seconds"] if steady else None) for line in found]
    rounds = max(run["round"] for run in work["runs"]) + 1
    text = head + (
        f"{data['source']}, {data['rows']['train']:,} train and {data['rows']['valid']:,} validation rows. Ceilings: "
        f"{ceilings['flops'] / 1e9:.0f} GFLOP/s, copies {ceilings['cache_bytes'] / 1e9:.0f} GB/s in cache and "
        f"{ceilings['memory_bytes'] / 1e9:.0f} GB/s in memory"
    )
    text += f"; floor {work['floor_seconds']:.4f} s. " if steady else ". "
    text += f"Rounds: {rounds}; a peer with fewer n failed or was too slow for more.\n\n" + table(titles, rows)
    failed = [f"{PEERS[line.peer].title}: {line.note}." for line in found if line.note]
    doubts = [PEERS[peer].title for peer in doubtful(found)]
    if doubts:
        failed.append(f"Validation error out of line, so perhaps not the same work: {', '.join(doubts)}.")
    return text + ("\n\n" + " ".join(failed) if failed else "")


def _row(line: Line, own: float | None, floor: float | None) -> list[str]:
    ratio = own / line.seconds if own and line.seconds else None
    cells = [PEERS[line.peer].title, number(line.seconds, "{:.4g}"), number(ratio, "{:.2f}")]
    if floor is not None:
        of_floor = line.seconds / floor if line.seconds else None
        cells += [number(line.epoch, "{:.4g}"), number(of_floor, "{:.2f}")]
    cells += [number(line.cold, "{:.1f}"), number(line.warm, "{:.1f}")]
    peak = line.peak_bytes / 1e6 if line.peak_bytes else None
    return [*cells, number(peak, "{:,.0f}"), number(line.wrong_percent, "{:.2f}"), number(line.loss, "{:.4f}"),
            str(line.samples)]  # fmt: skip


def _foot(told: Sequence[dict[str, Any]], works: dict[str, Any]) -> str:
    runs = [run for work in works.values() for run in work.get("runs", ()) if "error" not in run]
    if not runs:
        return ""
    versions: dict[str, str] = {}
    for run in runs:
        versions |= run["versions"]
    load = [run["foreign_load"] for run in runs]
    text = (
        f"## Conditions\n\nVersions: {', '.join(f'{name} {text}' for name, text in sorted(versions.items()))}. Load by "
        f"other processes: median {100 * statistics.median(load):.1f} %, most {100 * max(load):.1f} % of the cores."
    )
    if max(load) > 0.1:
        text += " **Something else was running; take these figures with care.**"
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent.parent / "docs" / "benchmarks.md")
    parser.add_argument("--beside", type=Path, nargs="+", default=[])
    options = parser.parse_args()
    write(options.results, options.out, options.beside)


if __name__ == "__main__":
    main()
