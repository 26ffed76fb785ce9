"""The comparison with other libraries: its figures, its page, and the whole way with epochal as the only peer."""

import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

import compare
import environments
import gpu
import page
import scaling
import sections
import summary
import svg
from epochal.reports import roofline
from registry import PEERS, PEERS_FOLDER, TASKS


def a_run(peer: str, number: int, seconds: list[float], wrong: int = 100, total: float = 9.0) -> dict:
    """A run whose first epoch took 5 s and ended 7 s after the start; validation took 0.5 s an epoch."""
    epochs = [{"train": 5.0, "valid": 0.5, "loss": 1.0, "wrong": wrong, "ended": 7.0}]
    epochs += [{"train": s, "valid": 0.5, "loss": 0.5, "wrong": wrong, "ended": 8.0} for s in seconds]
    return {"peer": peer, "round": number, "ready": 1.0, "epochs": epochs, "reached": False, "peak_bytes": 2_000_000,
            "versions": {"python": "3.11.7"}, "total": total, "foreign_load": 0.01}  # fmt: skip


def a_work(kind: str, runs: list[dict]) -> dict:
    return {
        "title": "a work",
        "kind": kind,
        "data": {"source": "mnist", "rows": {"train": 5000, "valid": 1000}},
        "ceilings": {"flops": 2e11, "cache_bytes": 1e11, "memory_bytes": 3e10},
        "floor_seconds": 0.5,
        "runs": runs,
    }


@pytest.fixture(autouse=True)
def quick_ceilings(monkeypatch):
    """Ceilings are not what is tested here, and take seconds to measure well."""
    monkeypatch.setattr(roofline, "measure", lambda seconds=0.0: roofline.Ceilings(2e11, 1e11, 3e10))


@pytest.fixture
def results() -> dict:
    failed = {"peer": "skorch_", "round": 0, "error": "Traceback\nImportError: no skorch"}
    steady = [
        a_run("epochal_", 0, [1.0, 1.2]),
        a_run("epochal_", 1, [1.1, 9.0]),
        a_run("torch_eager", 0, [2.0, 2.0]),
        a_run("torch_compiled", 0, [1.5, 2.5]),
        a_run("keras_fit", 0, [4.0], wrong=700),
        a_run("nnx_step", 0, [1.6]),
        failed,
    ]
    whole = [a_run("epochal_", number, [1.0], total=total) for number, total in enumerate((12.0, 4.0, 6.0))]
    whole += [a_run("sklearn_", number, [1.0], total=8.0) for number in range(3)]
    return {
        "date": "2026-11-22T10:00:00+00:00",
        "command": "python benchmarks/compare.py --work W2,W5",
        "machine": "2 × processor",
        "versions": {"epochal": "0.1.0", "python": "3.11.7", "cores": "2"},
        "works": {"W2": a_work("epochs", steady), "W5": a_work("process", whole)},
    }


def test_figures_are_medians_over_the_epochs_after_the_first(results):
    found = {line.peer: line for line in summary.lines(results["works"]["W2"])}
    own = found["epochal_"]
    assert own.seconds == pytest.approx(1.15), "of 1.0, 1.1, 1.2 and 9.0"
    assert own.epoch == pytest.approx(1.65), "with half a second of validation"
    assert (own.samples, own.peak_bytes, own.wrong_percent, own.loss) == (4, 2_000_000, 10.0, 0.5)
    assert own.cold == pytest.approx(7.0 - 1.65), "to the end of epoch 1, less a steady epoch"
    assert own.warm == pytest.approx(7.0 - 1.65)
    assert found["nnx_step"].warm is None, "it had one round alone"
    assert found["skorch_"].note == "ImportError: no skorch"
    assert found["skorch_"].seconds is None
    order = [line.peer for line in summary.lines(results["works"]["W2"])]
    assert order == ["epochal_", "nnx_step", "torch_eager", "torch_compiled", "keras_fit", "skorch_"]


def test_a_process_is_told_cold_and_warm_apart(results):
    own = summary.lines(results["works"]["W5"])[0]
    assert (own.cold, own.warm, own.seconds) == (12.0, 5.0, 5.0)


def test_another_validation_error_is_doubted(results):
    assert summary.doubtful(summary.lines(results["works"]["W2"])) == ["keras_fit"]


def test_goals_are_judged_against_the_fastest_of_each_group(results):
    found = {(goal.work, goal.against): goal for goal in summary.goals(results["works"])}
    assert found["W2", "resident"].ratio == pytest.approx(1.15 / 2.0)
    assert found["W2", "any"].ratio == pytest.approx(1.15 / 1.6)
    assert found["W2", "any"].who == PEERS["nnx_step"].title
    assert found["W2", "usual"].ratio == pytest.approx(1.15 / 4.0)
    assert found["W2", "floor"].ratio == pytest.approx(1.15 / 0.5)
    assert found["W5", "any"].ratio == pytest.approx(5.0 / 8.0)
    assert found["W5", "cold"].ratio == pytest.approx(12.0 / 5.0)
    told = {key: goal.told for key, goal in found.items()}
    assert told["W2", "usual"] == "reached"
    assert told["W2", "floor"] == told["W5", "cold"] == "**not reached**"
    alone = a_work("epochs", [a_run("epochal_", 0, [1.0])])
    assert {goal.told for goal in summary.goals({"W1": alone})} == {"not measured"}


def test_the_page_is_made_from_stored_results(results, tmp_path):
    path, out = tmp_path / "r.json", tmp_path / "docs" / "benchmarks.md"
    path.write_text(json.dumps(results))
    page.write([path], out)
    text = out.read_text()
    assert "| W2 | the fastest peer of any kind (Flax NNX, jitted step, NumPy batches) | ≤ 0.55 | 0.72 |" in text
    assert "| epochal | 1.15 | 1.00 | 1.65 | 2.30 | 5.3 | 5.3 | 2 | 10.00 | 0.5000 | 4 |" in text
    assert "| PyTorch, resident, eager | 2 | 0.57 |" in text
    assert "skorch: ImportError: no skorch." in text
    assert "perhaps not the same work: Keras on JAX, fit." in text
    assert "has not been run on a GPU" in text
    assert "python benchmarks/compare.py --work W2,W5" in text
    picture = ElementTree.parse(out.with_name("benchmarks-works.svg"))
    bars = [each for each in picture.iter("{http://www.w3.org/2000/svg}rect") if each.get("fill") != "white"]
    assert len(bars) == 5 + 2, "a bar for each peer with a figure, in each work"


def test_a_work_comes_from_the_last_results_that_have_it(results, tmp_path):
    other = results | {"works": {"W5": {"title": "a work", "skipped": "needs MNIST"}}}
    for name, told in (("a.json", results), ("b.json", other)):
        (tmp_path / name).write_text(json.dumps(told))
    page.write([tmp_path / "a.json", tmp_path / "b.json"], tmp_path / "page.md")
    text = (tmp_path / "page.md").read_text()
    assert "Not measured: needs MNIST." in text
    assert "## W2: a work" in text


def test_foreign_load_is_told(results, tmp_path):
    results["works"]["W2"]["runs"][0]["foreign_load"] = 0.5
    (tmp_path / "r.json").write_text(json.dumps(results))
    page.write([tmp_path / "r.json"], tmp_path / "page.md")
    assert "most 50.0 % of the cores. **Something else was running" in (tmp_path / "page.md").read_text()


def test_slow_peers_sit_out_later_rounds_but_epochal_never():
    runs = [a_run("epochal_", 0, [9.0]), a_run("torch_eager", 0, [1.0]), a_run("keras_fit", 0, [3.5])]
    runs += [{"peer": "skorch_", "round": 0, "error": "failed"}]
    everybody = [run["peer"] for run in runs]
    assert compare.keep_up(everybody, runs, slow=3.0) == ["epochal_", "torch_eager"]


def test_the_whole_way_with_epochal_alone(tmp_path):
    words = ["--here", "--peers", "epochal_", "--work", "W1,W5", "--rows", "200", "--rounds", "1", "--epochs", "1"]
    compare.main([*words, "--results", str(tmp_path / "results"), "--out", str(tmp_path / "page.md")])
    (stored,) = (tmp_path / "results").iterdir()
    told = json.loads(stored.read_text())
    (run,) = told["works"]["W1"]["runs"]
    assert len(run["epochs"]) == 2, "one to warm up, one timed"
    assert 0 < run["ready"] < run["epochs"][0]["ended"] < run["epochs"][1]["ended"] < run["total"]
    assert run["versions"]["epochal"]
    assert told["works"]["W1"]["floor_seconds"] >= 200 * 31_360 / told["works"]["W1"]["ceilings"]["flops"] * 0.999
    cold, warm = told["works"]["W5"]["runs"]
    assert [len(cold["epochs"]), len(warm["epochs"])] == [1, 1]
    assert "## W5: digits" in (tmp_path / "page.md").read_text()


def test_a_peer_that_fails_does_not_end_the_comparison(tmp_path, monkeypatch):
    monkeypatch.setattr(compare.processes, "run", lambda *given: {"error": "ImportError: no such library"})
    words = ["--here", "--peers", "epochal_", "--work", "W1", "--rows", "100", "--rounds", "2", "--epochs", "1"]
    compare.main([*words, "--results", str(tmp_path), "--out", str(tmp_path / "page.md")])
    assert "epochal: ImportError: no such library." in (tmp_path / "page.md").read_text()


def test_names_that_there_are_not_are_refused():
    with pytest.raises(SystemExit, match=r"--work: must be of W1, .* got 'W7'"):
        compare.main(["--work", "W7"])
    with pytest.raises(SystemExit, match=r"--peers: must be of .* got 'caffe'"):
        compare.main(["--peers", "caffe"])


def test_every_peer_has_a_program_and_pinned_requirements():
    for name, peer in PEERS.items():
        assert peer.file(name).is_file()
        for line in (PEERS_FOLDER / f"{name}.txt").read_text().splitlines():
            assert re.fullmatch(r"[a-z0-9-]+==[0-9.]+", line), f"{name}.txt: {line!r} is not pinned"


def test_peers_with_the_same_requirements_share_an_environment():
    folders = {name: environments.folder(PEERS_FOLDER / f"{name}.txt") for name in PEERS}
    assert folders["torch_eager"] == folders["torch_compiled"] == folders["torch_loader"]
    assert len({folders[name] for name in ("torch_eager", "skorch_", "keras_fit", "nnx_step", "sklearn_")}) == 5


def test_all_get_the_same_job(tmp_path):
    data = {"divisor": 255.0, "rows": {"train": 5000, "valid": 1000}}
    job = compare.job_of(TASKS["W3"], data, tmp_path / "x.npz", epochs=5, seed=2)
    assert (job["model"], job["batch_size"], job["epochs"], job["seed"]) == ("mlp", 500, 6, 2)
    assert compare.job_of(TASKS["W6"], data, tmp_path / "x.npz", epochs=5, seed=0)["target"] == 10, "1.0 % of 1,000"


def test_lines_are_drawn_over_whole_decades():
    drawn = ElementTree.fromstring(svg.lines({"a": [(1000, 0.01), (10_000, 0.1)]}, "x & y", "s"))
    line = next(drawn.iter("{http://www.w3.org/2000/svg}polyline"))
    assert line.get("points") == "70.0,316.0 630.0,16.0", "from corner to corner"


def test_scaling_is_measured_and_told(tmp_path):
    scaling.main(["--most", "1000", "--epochs", "1", "--results", str(tmp_path)])
    (stored,) = tmp_path.glob("scaling-*.json")
    told = json.loads(stored.read_text())
    assert [points[0]["steps"] for points in told["series"].values()] == [1, 10]
    assert told["series"]["resident, batch 1000"][0]["data_bytes"] == (1000 + 2 * 1000) * (32 + 4)
    text = sections.scaling_section(told, tmp_path / "page.md")
    assert "| resident, batch 100 | 1,000 | 10 |" in text
    assert ElementTree.parse(tmp_path / "page-scaling.svg")


def test_without_a_gpu_it_says_so_and_ends_with_2(monkeypatch, capsys):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    with pytest.raises(SystemExit) as ended:
        gpu.main([])
    assert ended.value.code == 2
    assert "no GPU: JAX sees cpu alone" in capsys.readouterr().err


def test_the_gpu_goals_are_judged():
    work = {"seconds": {"epochal": 0.5, "torch eager": 4.0, "CUDA graph": 0.6}, "floor_seconds": 0.1}
    told = {"date": "2026-11-22T10:00", "command": "c", "device": "d", "ways": list(gpu.WAYS), "works": {"W1": work}}
    text = sections.gpu_section(told)
    assert "| W1 | torch eager | ≤ 0.10 | 0.12 | **not reached** |" in text
    assert "| W1 | CUDA graph | ≤ 1.00 | 0.83 | reached |" in text
    assert "| W1 | 0.5 | 4 | – | 0.6 | 0.1 |" in text


def test_benchmarks_stay_short():
    for path in [*Path(compare.__file__).parent.glob("*.py"), *PEERS_FOLDER.glob("*.py")]:
        assert path.read_text().count("\n") <= 250, path
