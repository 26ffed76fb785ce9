"""What a run folder keeps of the user's code: the texts that were executed, and who vouches for them.

code/FOLDER/…     the files of one of the user's folders, laid out as they are there
run.json          under `code`: the folders, the digests of their files, which of them a FILE.py:NAME is, a signature

Only these texts are executed when a run is opened, whatever has become of the originals; and only where this user has
signed them, or says so.
"""

import hashlib
import os
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from epochal.errors import RunError, option
from epochal.system import trust, user_code, user_file
from epochal.system.user_file import Fetched

NAME = "code"
_LISTED = 3


class Kept:
    """The code of a run that may be executed: what is used of it was compared with its digests, and is vouched for."""

    def __init__(
        self, path: Path, manifest: Mapping[str, Any], texts: Mapping[str, dict[str, bytes]], wrong: str | None = None
    ):
        self.path, self._manifest, self._texts, self._wrong = path, manifest, texts, wrong

    def fetch(self, reference: Any) -> Fetched:
        """The object that a reference of the run means; anything else as it is. Raises RecipeError, RunError."""
        if not user_file.is_reference(reference):
            return user_file.fetch(reference)
        if reference not in self._manifest.get("references", {}):
            raise RunError(
                f"{self.path}: uses {plain(reference)}, which is not among the code that it keeps; nothing of it was "
                f"executed, {option('model', 'FILE.py:NAME')} takes a file of yours in place of its model"
            )
        name, file, of = self._manifest["references"][reference]
        folder, place = Path(self._manifest["folders"][name]["path"]), self.path / NAME / name
        load = partial(user_code.kept, folder, file, self._texts[name], place)
        remedy = f"{option('model', 'FILE.py:NAME')} takes another file in place of the model"
        return user_file.named(reference, place / file, of, load, remedy)

    def notes(self) -> list[str]:
        """What is to be said of kept texts that are not what was executed, but are trusted all the same."""
        return [f"{self._wrong} is not what was executed in training, and is trusted as it is"] if self._wrong else []

    def changed(self) -> list[str]:
        """What is to be said of originals that are there and are not what was kept: at most one note."""
        changed = []
        for name, texts in self._texts.items():
            folder = Path(self._manifest["folders"][name]["path"])
            for path, text in texts.items():
                try:
                    now = user_code.read_text(folder / path)
                except OSError:
                    continue
                if now != text:
                    changed.append((folder / path, digest(text), digest(now)))
        if not changed:
            return []
        path, then, now = changed[0]
        also = f" (and so have {len(changed) - 1:,} other files)" if len(changed) > 1 else ""
        return [
            f"{path} has changed since: its SHA-256 was {then[:12]}…, is {now[:12]}…{also}; the text that the run "
            f"keeps is used, {option('model', 'FILE.py:NAME')} takes the model of a file as it is now"
        ]


def opened(path: Path, manifest: Any, uses: Mapping[str, str], needed: Iterable[str], *, trusted: bool = False) -> Kept:
    """The kept code of the folder `path`, of which `needed` references are to be executed; nothing is executed here.

    `manifest` is what `code_keeper` wrote, `uses` the references by what the folder says they are used for. Raises
    RunError where this user has not signed that, or a kept text is not what was signed, unless it is `trusted`.
    """
    needed = [reference for reference in dict.fromkeys(needed) if user_file.is_reference(reference)]
    if not needed:
        return Kept(path, {}, {})
    manifest = checked(path, manifest)
    references = manifest["references"]
    kept = {reference: references[reference] for reference in needed if reference in references}
    if len(kept) < len(needed):
        Kept(path, {}, {}).fetch(next(reference for reference in needed if reference not in kept))
    texts, wrong = {}, None
    for name in dict.fromkeys(name for name, *_ in kept.values()):
        texts[name], bad = _read(path, name, manifest["folders"][name]["files"])
        wrong = wrong or bad
    signed = {"folders": manifest["folders"], "references": references, "uses": dict(uses)}
    objection = trust.objection(signed, manifest.get("signature")) or (f"has changed: {wrong}" if wrong else None)
    if objection and not trusted:
        raise RunError(
            f"{path}: to open it, code would be executed that {objection}: {_listed(kept, texts)}\n"
            f"nothing was executed; {option('trust', True)} executes it once you have read it, "
            f"{option('model', 'FILE.py:NAME')} takes a file of yours in place of the model of a run"
        )
    return Kept(path, manifest, texts, wrong)


def plain(text: object) -> str:
    """Text of a folder that somebody else may have written, as a terminal may be given it."""
    shown = str(text) if str(text).isprintable() else ascii(str(text))
    return shown if len(shown) <= 120 else f"{shown[:120]}…"


def checked(path: Path, manifest: Any) -> Mapping[str, Any]:
    """`manifest` if it has the form of what `keep` returns, or nothing where it is None. Raises RunError."""
    if manifest is None:
        return {"folders": {}, "references": {}}
    try:
        folders = all(isinstance(of["path"], str) and _is_texts(of["files"]) for of in manifest["folders"].values())
        references = all(
            len(of) == 3 and set(map(type, of)) == {str} and of[0] in manifest["folders"] and isinstance(name, str)
            for name, of in manifest["references"].items()
        )
        if folders and references:
            return manifest
    except (AttributeError, KeyError, TypeError):
        pass
    raise RunError(f"{path}: what it says of the code that it keeps is damaged; bring the folder back as it was")


def _is_texts(files: Mapping[str, str]) -> bool:
    return all(isinstance(name, str) and isinstance(sha256, str) for name, sha256 in files.items())


def _read(path: Path, name: str, files: Mapping[str, str]) -> tuple[dict[str, bytes], str | None]:
    """The kept texts of a folder, and the first that is not there or is not what its digest says."""
    texts, wrong = {}, None
    for file, sha256 in files.items():
        place = f"{name}/{file}"
        if not _is_inside(place) or "/" in name:
            raise RunError(f"{path / 'run.json'}: is damaged: {plain(place)} is no place of a kept file; bring it back")
        try:
            check_links(path / NAME, place)
            texts[file] = user_code.read_text(path / NAME / place)
        except OSError:
            wrong = wrong or f"{NAME}/{plain(place)} cannot be read"
            continue
        if digest(texts[file]) != sha256:
            wrong = wrong or f"{NAME}/{plain(place)}"
    return texts, wrong


def _listed(kept: Mapping[str, Any], texts: Mapping[str, Mapping[str, bytes]]) -> str:
    """What would be executed, in one line."""
    names = [f"{NAME}/{folder}/{file}:{of}" for folder, file, of in kept.values()]
    named = {(folder, file) for folder, file, _ in kept.values()}
    others = [f"{NAME}/{folder}/{file}" for folder, of in texts.items() for file in of if (folder, file) not in named]
    shown = ", ".join(map(plain, names))
    if others:
        more = f" and {len(others) - _LISTED:,} more" if len(others) > _LISTED else ""
        shown += f", with {', '.join(map(plain, others[:_LISTED]))}{more}"
    return shown


def _is_inside(place: str) -> bool:
    parts = PurePosixPath(place).parts
    odd = set(place) & set("\\:\0" if os.name == "nt" else "\0")
    return place.endswith(".py") and "/".join(parts) == place and not odd and not {"..", "."} & set(parts)


def check_links(folder: Path, place: str) -> None:
    """Raise OSError where a part of the way to `place` is a link: it would lead out of the run."""
    for part in (folder, *(folder / parent for parent in PurePosixPath(place).parents), folder / place):
        if part.is_symlink():
            raise OSError(f"{part} is a link; kept code lies in the run folder itself")


def digest(text: bytes) -> str:
    """The SHA-256 of a text, in hexadecimal digits."""
    return hashlib.sha256(text).hexdigest()
