"""Writes the user's code that a run executes into its folder, and signs it (`kept_code` says what for)."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from epochal.runs.kept_code import NAME, check_links, checked, digest
from epochal.system import atomic, trust, user_code
from epochal.system.user_file import Fetched


class Keeper:
    """Keeps the code of a run in its folder, and more of it where a module is imported later."""

    def __init__(self, path: Path, uses: Mapping[str, Fetched], manifest: Mapping[str, Any] | None = None):
        """`uses` say what is used for what; `manifest` is what the folder says of code that it keeps already."""
        self.path, self.uses = path, dict(uses)
        self._manifest: dict[str, Any] | None = None
        self._folders: dict[str, dict[str, Any]] = dict(checked(path, manifest)["folders"])

    def keep(self) -> dict[str, Any] | None:
        """Write what is not there yet, and return the manifest; None where nothing comes from files.

        Raises OSError.
        """
        manifest, texts = self._plan()
        if manifest is None:
            return None
        for place, text in texts.items():
            check_links(self.path / NAME, place)
            if not _holds(self.path / NAME / place, text):
                atomic.make_folder((self.path / NAME / place).parent)
                atomic.write(self.path / NAME / place, text)
        signed = manifest | {"uses": {use: of.reference for use, of in self.uses.items() if of.reference}}
        if self._manifest is None or {name: self._manifest.get(name) for name in signed} != signed:
            self._manifest = signed | {"signature": trust.signature(signed)}
        return self._manifest

    def has_grown(self) -> bool:
        """Whether code was executed that is not kept yet."""
        manifest, _ = self._plan()
        return manifest is not None and (self._manifest is None or manifest["folders"] != self._manifest["folders"])

    def is_own(self) -> bool:
        """Whether the folder of code holds nothing else: what a run left that was killed before it was one."""
        _, texts = self._plan()
        paths = [path for path in (self.path / NAME).rglob("*") if path.is_symlink() or not path.is_dir()]
        return not (self.path / NAME).is_symlink() and all(
            not path.is_symlink() and (_is_temporary(path) or _holds(path, texts.get(self._place(path))))
            for path in paths
        )

    def sweep(self) -> None:
        """Remove what killed writers have left. Raises OSError."""
        if not (self.path / NAME).is_symlink():
            for path in (self.path / NAME).rglob(".*.tmp"):
                path.unlink(missing_ok=True)

    def _place(self, path: Path) -> str:
        return path.relative_to(self.path / NAME).as_posix()

    def _plan(self) -> tuple[dict[str, Any] | None, dict[str, bytes]]:
        """Folders and references, and the texts by their places below code/."""
        folders: dict[str, dict[str, Any]] = {}
        references, texts = {}, {}
        for fetched in sorted(self.uses.values(), key=lambda fetched: fetched.reference):
            if fetched.root is None:
                continue
            of = {path: digest(text) for path, text in fetched.files.items()}
            folder = fetched.root.package.folder
            name = self._folder(str(folder), of, folders)
            kept = folders.setdefault(name, {"path": str(folder), "files": {}})
            kept["files"] = dict(sorted((kept["files"] | of).items()))
            texts |= {f"{name}/{path}": text for path, text in fetched.files.items()}
            reference = [name, fetched.root.relative, fetched.reference.rpartition(":")[2]]
            references[fetched.reference] = reference
        self._folders |= folders
        return {"folders": folders, "references": references} if references else None, texts

    def _folder(self, path: str, files: Mapping[str, str], others: Mapping[str, Any]) -> str:
        """The name of the folder that keeps these files: that of one which has them already, or could have."""
        for name, kept in {**self._folders, **others}.items():
            if kept["path"] == path and all(
                kept["files"].get(file, sha256) == sha256 for file, sha256 in files.items()
            ):
                return name
        first = re.sub(r"[^\w-]+", "_", Path(path).name, flags=re.ASCII)[:60] or "_"
        used = {name.lower() for name in (*self._folders, *others)}
        names = (first if number == 1 else f"{first}-{number}" for number in range(1, len(used) + 3))
        return next(name for name in names if name.lower() not in used)


def _is_temporary(path: Path) -> bool:
    return path.name.startswith(".") and path.name.endswith(".tmp")


def _holds(path: Path, text: bytes | None) -> bool:
    try:
        return text is not None and user_code.read_text(path) == text
    except OSError:
        return False
