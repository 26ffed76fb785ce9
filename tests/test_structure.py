"""The shape of the house: one direction of flow, few public names, one place for each device operation."""

import ast
import subprocess
import sys
from pathlib import Path

import epochal

SOURCE = Path(epochal.__file__).parent

# A module imports only from those before it.
ORDER = """
signals errors surroundings extras memory lending plainfiles atomic jsonfile forms lock journal sealed
snapshot checkpoint
draws disk rows columns caches spool table reading sources.raw sources.files sources.isolated sources.pickle_machine
sources.pickles sources.arrays sources.idx sources.npy sources.tutorials sources.named sources.times sources.roles
sources.splits sources.cells sources.growing sources.text_form sources.text_tables sources.arrow_types
sources.columnar sources.kept sources.columnar_files sources.tables sources.frames sources.pixels sources.room
sources.decoding sources.images sources.arrow_rows sources.arrow_files sources.arrow_sources sources.arrow sources
checks known_rows test_rows labels column_kinds preprocessing suspicious features dataset splitting storage loading
array_columns preparation weighting plan losses scaling userpackage usercode userfile trust keptcode codekeeper unread
class_weights parameters models.base models.convolution.geometry models.convolution.blocks models.convolution.pooling
models.convolution.products models.convolution.rewriting models.convolution models.logistic models.mlp models.lenet
models.built_in models.adapters.calls models.adapters.modes models.adapters.nnx models.adapters.linen
models.adapters.equinox models.adapters models recipe optimizers augmentations own
compiled objective epoch contracts score statistics
patience stream placement chunked residency shared program ledger row_file fitted member loop training record history
keeping runrecord folder logs.story logs.tensorboard logs.mlflow logs.wandb logs.trackio logs runcode run evaluation
comparison selection.candidate selection.choosing selection.grouping selection.record selection.space
selection.distinct selection.grouping selection.pace selection.folds selection.halving selection.journal
selection.crew selection.search selection.selecting selection.chosen selection.table selection.plot selection.session
selection.takeup selection reproduction exporting.operations exporting.lookups exporting.tracing exporting.onnx_graph
exporting.onnx_windows exporting.onnx_lookups exporting.onnx_operations exporting.onnx_columns exporting.onnx_model
exporting.standalone exporting.numpy_operations exporting.numpy_folder exporting.stablehlo exporting.tensors
exporting.files exporting limits bench settings supervised increments estimator cli
""".split()

PUBLIC = [
    "load", "Reading", "Dataset", "Split", "shared_dataset", "zero_one_loss", "negative_log_likelihood", "Model",
    "logistic", "mlp", "lenet", "Recipe", "train", "Epoch", "fit", "Fit", "select", "load_run", "Classifier",
    "EpochalError", "RecipeError", "DataError", "CapacityError", "DivergedError", "RunError",
    "DataWarning",
]  # fmt: skip


def _modules() -> dict[str, Path]:
    found = {}
    for path in SOURCE.rglob("*.py"):
        name = ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
        if name not in ("__init__", "__main__"):
            found[name] = path
    return found


def _imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "epochal":
            inner = node.module.removeprefix("epochal").removeprefix(".")
            modules = _modules()
            for alias in node.names:
                full = f"{inner}.{alias.name}".strip(".")
                if full in modules:
                    names.add(full)
                elif inner:
                    names.add(inner)
    return names


def test_modules_import_only_what_stands_above_them():
    for name, path in _modules().items():
        if name.startswith("cli"):
            continue
        assert name in ORDER, f"{name} has no place in the order of the flow yet"
        later = {used for used in _imports(path) if ORDER.index(used) >= ORDER.index(name)}
        assert not later, f"{name} imports {later}, which stand below it"


def _callers(word: str) -> set[str]:
    return {
        name
        for name, path in _modules().items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr == word
    }


def test_one_module_puts_data_on_the_device_and_one_compiles():
    assert _callers("device_put") == {"placement"}
    assert _callers("jit") == {"compiled", "exporting.stablehlo"}  # the latter compiles nothing: jax.export asks for it


def test_the_public_names_are_these_and_documented():
    assert epochal.__all__ == PUBLIC
    assert len(PUBLIC) <= 30
    for name in PUBLIC:
        assert getattr(epochal, name).__doc__, f"{name} has no docstring"
    assert set(PUBLIC) <= set(dir(epochal))


def test_files_and_functions_stay_short():
    for name, path in _modules().items():
        lines = path.read_text().count("\n")
        assert lines <= 300, f"{name} has {lines} lines: is it still one idea?"
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                length = (node.end_lineno or 0) - node.lineno
                assert length <= 60 or name.startswith("cli"), f"{name}.{node.name} has {length} lines"


def test_importing_epochal_and_asking_for_help_imports_no_jax():
    code = (
        "import sys, epochal, epochal.cli\n"
        "try: epochal.cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'jax', 'optax', 'sklearn', 'scipy', 'pooch', 'numpy'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "train" in done.stdout


def test_a_command_imports_the_readers_and_commands_that_it_needs(tmp_path):
    code = (
        "import sys, epochal.cli\n"
        "code = epochal.cli.main(['train', 'digits', '--epochs', '1', '--quiet'])\n"
        "readers = {name for name in sys.modules if name.startswith('epochal.sources.')}\n"
        "heavy = {'pandas', 'PIL', 'pyarrow', 'epochal.cli.select', 'epochal.selection'} & set(sys.modules)\n"
        "print(sorted(readers)); sys.exit(code or (f'imported {heavy}' if heavy else 0))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    readers = {f"epochal.sources.{name}" for name in ("files", "idx", "named", "raw")}
    assert done.stdout.splitlines()[-1] == str(sorted(readers))


def test_the_overview_of_the_commands_says_what_each_is_for():
    done = subprocess.run([sys.executable, "-m", "epochal"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = [line.strip("│ \n").split(maxsplit=1) for line in done.stdout.splitlines() if line.startswith("│")]
    told = {words[0] for words in lines if len(words) == 2}
    assert told >= {path.stem for path in (SOURCE / "cli").glob("*.py") if f"def {path.stem}(" in path.read_text()}
