"""The folder of a user's file as a package of its own: what is imported from the folder is seen by its files alone.

A package has an alias that no other package has, and the folder as its path. Its modules are executed with an
`__import__` that looks in the folder first, as the import system does for the folder of a script: `import layers` in
`A/net.py` is `A/layers.py`, whatever `layers` another folder has, or an installed package. The exceptions are those
that a script cannot replace either, built-in and frozen modules, and epochal. Whatever is not in the folder is imported
as usual. No byte code is read or written: what is executed is the text that is digested and kept.
"""

import builtins
import sys
from collections.abc import Mapping, Sequence
from hashlib import sha256
from importlib import import_module
from importlib.abc import Loader
from importlib.machinery import FrozenImporter, ModuleSpec
from importlib.util import decode_source, find_spec, module_from_spec, resolve_name
from pathlib import Path
from types import ModuleType
from typing import Any

_PREFIX = "epochal_user_"
MOST_BYTES = 4 << 20
"""Of a file that is executed: all of them are kept with a run."""

packages: dict[str, "Package"] = {}


class Package:
    """A folder, and what has been executed of it; or `texts` of one, where nothing is looked for on the disk."""

    def __init__(self, folder: Path, texts: Mapping[str, bytes] | None = None, place: Path | None = None):
        self.folder, self.place = folder, place or folder
        alias = _PREFIX + sha256(str(folder).encode("utf-8", "surrogateescape")).hexdigest()[:12]
        earlier = sum(name.startswith(alias) for name in packages)
        self.alias = f"{alias}_{earlier}" if earlier else alias
        self._given = None if texts is None else dict(texts)
        self._texts: dict[str, bytes] = {}  # of what was executed, by path
        self._modules: dict[str, str] = {}  # its paths, by name of the module
        self._uses: dict[str, set[str]] = {}  # names of modules that a module has imported
        self._roots: dict[str, str] = {}  # paths of those that were named, by name of the module
        self._held: dict[str, bool] = {}
        self._builtins = vars(builtins) | {"__import__": self._import}
        packages[self.alias] = self
        spec = ModuleSpec(self.alias, None, is_package=True)
        spec.submodule_search_locations = [str(folder)]
        sys.modules[self.alias] = module_from_spec(spec)

    def load(self, relative: str) -> ModuleType:
        """The module of a file in the folder itself, executed unless it has been. Raises OSError and what it raises."""
        self.read(relative)
        stem = relative.removesuffix(".py")
        if not stem.isidentifier() or self._is_file(f"{stem}/__init__.py"):
            stem = f"_{sha256(stem.encode('utf-8', 'surrogateescape')).hexdigest()[:12]}"
        name = f"{self.alias}.{stem}"
        self._roots[name] = relative
        return import_module(name)

    def is_fresh(self, relative: str) -> bool:
        """Whether the file's module can be had from here: nothing that belongs to it has been edited since."""
        root = next((name for name, path in self._roots.items() if path == relative and name in sys.modules), None)
        texts = self._texts if root is None else self.files(root)
        return all(self._on_disk(path) == text for path, text in texts.items())

    def has_executed(self, relative: str, texts: Mapping[str, bytes]) -> bool:
        """Whether the module `relative` was executed here, and all of `texts`, and nothing else belongs to it."""
        root = next((name for name, path in self._roots.items() if path == relative and name in sys.modules), None)
        if root is None or (self._given is not None and self._given != texts):
            return False
        of = self.files(root)
        return self._given is not None or (
            of.items() <= texts.items() and all(self._texts.get(path) == text for path, text in texts.items())
        )

    def files(self, root: str) -> dict[str, bytes]:
        """The texts that belong to the module `root`, by path; of kept ones all, whether executed yet or not."""
        if self._given is not None:
            return dict(self._given)
        used = set().union(*self._uses.values()) | set(self._roots)
        # A module that was imported in another way than by a statement belongs to every one.
        found, waiting = set(), [root, *(name for name in list(self._modules) if name not in used)]
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting += self._uses.get(name, ())
        paths = {self._modules[name] for name in found if name in self._modules}
        return {path: self._texts[path] for path in sorted(paths)}

    def find(self, name: str) -> ModuleSpec | None:
        """How the module `name` of this package is loaded; None where the folder has no such thing."""
        inner = name.removeprefix(f"{self.alias}.").replace(".", "/")
        paths = [self._roots[name]] if name in self._roots else [f"{inner}/__init__.py", f"{inner}.py"]
        path = next((path for path in paths if self._is_file(path)), None)
        if path is None and not self._is_folder(inner):
            return None
        is_package = path is None or path.endswith("/__init__.py")
        origin = None if path is None else str(self.folder / path)
        spec = ModuleSpec(name, _Loader(self, path), origin=origin, is_package=is_package)
        spec.has_location = path is not None
        if is_package:
            spec.submodule_search_locations = [str(self.folder / inner)]
        return spec

    def execute(self, module: ModuleType, path: str) -> None:
        text = self.read(path)
        self._texts[path], self._modules[module.__name__] = text, path
        vars(module)["__builtins__"] = self._builtins
        exec(compile(text, str(self.place / path), "exec", dont_inherit=True), vars(module))

    def read(self, path: str) -> bytes:
        """The text of a file; the one that was executed where that has been done. Raises OSError."""
        if self._given is not None:
            if path not in self._given:
                raise FileNotFoundError(2, "No such file", str(self.place / path))
            return self._given[path]
        if path in self._texts:
            return self._texts[path]
        return read_text(self.folder / path)

    def _import(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        inside = f"{self.alias}.{name}" if level == 0 and self._holds(name.partition(".")[0]) else None
        try:
            if inside is None:
                found = builtins.__import__(name, globals, locals, fromlist or (), level)
            else:
                found = builtins.__import__(inside, globals, locals, fromlist or (), 0)
        except ModuleNotFoundError as error:
            if error.name and error.name.startswith(f"{self.alias}."):
                plain = error.name.removeprefix(f"{self.alias}.")
                raise ModuleNotFoundError(f"No module named {plain!r}", name=plain) from None
            raise
        finally:
            self._note(inside or name, globals or {}, fromlist or (), level)
        return sys.modules[f"{self.alias}.{name.partition('.')[0]}"] if inside and not fromlist else found

    def _note(self, name: str, globals: Mapping[str, Any], fromlist: Sequence[str], level: int) -> None:
        """Note what the module with these globals has imported of the folder."""
        if level:
            try:
                name = resolve_name("." * level + name, globals.get("__package__") or "")
            except ImportError:
                return
        if name != self.alias and not name.startswith(f"{self.alias}."):
            return
        whole = [name]
        while whole[-1].count("."):
            whole.append(whole[-1].rpartition(".")[0])
        names = getattr(sys.modules.get(name), "__all__", ()) if "*" in fromlist else fromlist
        whole += [f"{name}.{of}" for of in names]
        if (user := globals.get("__name__")) in self._modules:
            self._uses.setdefault(user, set()).update(of for of in whole if of in self._modules)

    def _holds(self, top: str) -> bool:
        """Whether `import top` means something in the folder."""
        if top not in self._held:
            self._held[top] = self._looks_in(top)
        return self._held[top]

    def _looks_in(self, top: str) -> bool:
        if top == "epochal" or top in sys.builtin_module_names or FrozenImporter.find_spec(top) is not None:
            return False
        if f"{self.alias}.{top}" in self._roots or self._is_file(f"{top}/__init__.py") or self._is_file(f"{top}.py"):
            return True
        if not self._is_folder(top):
            return False
        try:  # a folder without __init__.py counts where nothing else is called so, as anywhere in Python
            return self._given is not None or find_spec(top) is None
        except ValueError:
            return False

    def _is_file(self, path: str) -> bool:
        return (self.folder / path).is_file() if self._given is None else path in self._given

    def _is_folder(self, path: str) -> bool:
        if self._given is None:
            return (self.folder / path).is_dir()
        return any(of.startswith(f"{path}/") for of in self._given)

    def _on_disk(self, path: str) -> bytes | None:
        try:
            return read_text(self.folder / path)
        except OSError:
            return None


class _Loader(Loader):
    def __init__(self, package: Package, path: str | None):
        self.package, self.path = package, path

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        if self.path is not None:
            self.package.execute(module, self.path)

    def get_source(self, name: str) -> str | None:
        return None if self.path is None else decode_source(self.package.read(self.path))


class _Finder:
    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        package = packages.get(name.partition(".")[0])
        return package.find(name) if package and "." in name else None


sys.meta_path.insert(0, _Finder())  # pyrefly: ignore


def read_text(path: Path) -> bytes:
    """The bytes of a file that may be executed. Raises OSError, also for what is no file, or too large."""
    if not path.exists():
        raise FileNotFoundError(2, "No such file", str(path))
    if not path.is_file():
        raise OSError(f"{path} is no file")
    with path.open("rb") as file:
        text = file.read(MOST_BYTES + 1)
    if len(text) > MOST_BYTES:
        raise OSError(
            f"{path.name} has more than {MOST_BYTES >> 20} MB; bring data in a file that is read, not executed"
        )
    return text
