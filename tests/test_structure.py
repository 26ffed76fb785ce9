"""The shape of the house: rooms in one direction, facades between them, one place for each device operation."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest

import epochal

SOURCE = Path(epochal.__file__).parent

ROOMS = "system data models device training runs selection reports export estimator cli".split()
"""In the order of the flow: a room imports only from those before it."""

PUBLIC = [
    "load", "Reading", "Dataset", "Split", "shared_dataset", "zero_one_loss", "negative_log_likelihood", "Model",
    "logistic", "mlp", "lenet", "Recipe", "train", "Epoch", "fit", "Fit", "select", "load_run", "Classifier",
    "EpochalError", "RecipeError", "DataError", "CapacityError", "DivergedError", "RunError",
    "DataWarning",
]  # fmt: skip


def _modules() -> dict[str, Path]:
    found = {".".join(path.relative_to(SOURCE).with_suffix("").parts): path for path in SOURCE.rglob("*.py")}
    return {
        name.removesuffix(".__init__"): path for name, path in found.items() if name not in ("__init__", "__main__")
    }


MODULES = _modules()


def _imports(name: str) -> Iterator[str]:
    """The modules of epochal that a module imports, wherever in its text."""
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "epochal":
            inner = (node.module or "").removeprefix("epochal").removeprefix(".")
            for alias in node.names:
                full = f"{inner}.{alias.name}".strip(".")
                yield full if full in MODULES else inner


def _room(name: str) -> str:
    return name.partition(".")[0]


def test_every_module_is_in_a_room():
    assert {_room(name) for name in MODULES} == {"errors", *ROOMS}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_from_those_before_it(room):
    before = {"", "errors", *ROOMS[: ROOMS.index(room) + 1]}
    for name in (name for name in MODULES if _room(name) == room):
        later = {used for used in _imports(name) if _room(used) not in before}
        assert not later, f"{name} imports {later}, which come later in the flow"


@pytest.mark.parametrize("room", ROOMS)
def test_there_is_no_cycle_in_a_room(room):
    inside = [name for name in MODULES if _room(name) == room and name != room]
    graph = {name: {used for used in _imports(name) if used in inside and used != name} for name in inside}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the modules


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_is_entered_by_its_facade(room):
    facade, own = import_module(f"epochal.{room}"), len(room) + 1
    for name in (name for name in MODULES if _room(name) != room):
        used = {of for of in _imports(name) if _room(of) == room and of != room}
        hidden = {of for of in used if of[own:].partition(".")[0] not in facade.__all__}
        assert not hidden, f"{name} imports {hidden}, which the facade of {room} does not list"


@pytest.mark.parametrize("room", ROOMS)
def test_what_a_facade_lists_is_there(room):
    facade = import_module(f"epochal.{room}")
    assert facade.__doc__
    for name in getattr(facade, "__all__", ()):
        assert getattr(facade, name) is not None
    assert not hasattr(facade, "nothing")


def _callers(word: str) -> set[str]:
    return {
        name
        for name, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr == word
    }


def test_one_module_puts_data_on_the_device_and_one_compiles():
    assert _callers("device_put") == {"device.placement"}
    assert _callers("jit") == {"device.compiled", "export.stablehlo"}  # the latter compiles nothing: jax.export asks


def test_the_compiled_loops_know_no_classes():
    used = {_room(name) for name in _imports("device.compiled")}
    assert used <= {"device", "system"}
    text = MODULES["device.compiled"].read_text(encoding="utf-8")
    assert not {"softmax", "argmax", "losses", "wrong", "missed"} & set(text.split())


def test_the_public_names_are_these_and_documented():
    assert epochal.__all__ == PUBLIC
    assert len(PUBLIC) <= 30
    for name in PUBLIC:
        assert getattr(epochal, name).__doc__, f"{name} has no docstring"
    assert set(PUBLIC) <= set(dir(epochal))


def test_files_and_functions_stay_short():
    for name, path in MODULES.items():
        text = path.read_text(encoding="utf-8")
        lines = text.count("\n")
        assert lines <= 500, f"{name} has {lines} lines: is it still one idea?"
        for node in ast.walk(ast.parse(text)):
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
        "readers = {name for name in sys.modules if name.startswith('epochal.data.sources.')}\n"
        "heavy = {'pandas', 'PIL', 'pyarrow', 'epochal.cli.select', 'epochal.selection'} & set(sys.modules)\n"
        "print(sorted(readers)); sys.exit(code or (f'imported {heavy}' if heavy else 0))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    readers = {f"epochal.data.sources.{name}" for name in ("arrays", "arrays.catalog", "arrays.idx", "files", "types")}
    assert done.stdout.splitlines()[-1] == str(sorted(readers))


def test_the_overview_of_the_commands_says_what_each_is_for():
    done = subprocess.run([sys.executable, "-m", "epochal"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = [line.strip("│ \n").split(maxsplit=1) for line in done.stdout.splitlines() if line.startswith("│")]
    listed = {words[0] for words in lines if len(words) == 2}
    assert listed >= {path.stem for path in (SOURCE / "cli").glob("*.py") if f"def {path.stem}(" in path.read_text()}
