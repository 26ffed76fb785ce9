"""The shape of the house: one direction of flow, few public names, one place for each device operation."""

import ast
import subprocess
import sys
from pathlib import Path

import epochal

SOURCE = Path(epochal.__file__).parent

# A module imports only from those before it.
ORDER = """
errors memory atomic sealed checkpoint draws rows table reading sources.raw sources.files sources.isolated
sources.pickle_machine sources.pickles sources.arrays sources.idx sources.npy sources.tutorials sources.named
sources.times sources.roles sources.cells sources.text_form sources.text_tables sources.columnar
sources.columnar_files sources.tables sources.frames sources.pixels sources.decoding sources.images
sources.arrow_rows sources.arrow_files sources.arrow_sources sources.arrow sources checks labels preprocessing
dataset splitting storage loading plan losses scaling models.base models.convolution models.logistic
models.mlp models.lenet models optimizers epoch score patience recipe placement chunked residency shared
parameters program ledger fitted training record lock folder run reproduction cli
""".split()

PUBLIC = [
    "load", "Reading", "Dataset", "Split", "shared_dataset", "zero_one_loss", "negative_log_likelihood", "Model",
    "logistic", "mlp", "lenet", "Recipe", "train", "Epoch", "Score", "fit", "Fit", "load_run", "EpochalError",
    "RecipeError", "DataError", "CapacityError", "DivergedError", "RunError",
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
    assert _callers("jit") == {"epoch"}


def test_the_public_names_are_these_and_documented():
    assert epochal.__all__ == PUBLIC
    assert len(PUBLIC) <= 25
    for name in PUBLIC:
        assert getattr(epochal, name).__doc__, f"{name} has no docstring"
    assert set(PUBLIC) <= set(dir(epochal))


def test_files_and_functions_stay_short():
    for name, path in _modules().items():
        lines = path.read_text().count("\n")
        assert lines <= 250, f"{name} has {lines} lines: is it still one idea?"
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
