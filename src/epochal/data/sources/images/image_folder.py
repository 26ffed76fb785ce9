"""Folders of images: a sub-folder for each class, in `train`, `valid` and `test` where there are such.

folder/cat/1.png                       one split; the class is the sub-folder's name
folder/train/cat/1.png, folder/test/…  several; for valid also validation, val and dev
folder/1.png                           no labels: to predict, or with labels_from=…
"""

import os
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from epochal.data.sources.images.decoder import MAX_PATH, SUFFIXES, ImageSpec, decode_files
from epochal.data.sources.images.workers import decoded
from epochal.data.sources.types import SPLIT_NAMES, SPLITS, Context, RawDataset, RawSplit, Reader, split_of
from epochal.errors import DataError, escaped, option, reading
from epochal.system import disk_cache

MAX_FILES = 2_000_000
MAX_CLASSES = 100_000

_JUNK = {"thumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir"}  # beside hidden files: what file managers leave


class _Folder(NamedTuple):
    folders: list[Path]
    images: list[str]


class ImageFolder(Reader):
    """A folder of images, rows in the order of their paths; labels are the names of the class folders, as text."""

    formats, kind, options = (
        "folders of images (a sub-folder a class)",
        "a folder of images",
        ("labels_from", "image_size", "color"),
    )

    def matches(self, source: Any) -> bool:
        return isinstance(source, Path) and source.is_dir() and _is_folder(source)

    def read(self, folder: Path, context: Context) -> RawDataset:
        files = _files(folder, context.labelled and context.options.labels_from is None)
        paths = [path for of_class in files.values() for _, group in of_class for path in group]

        def place(rows: range) -> str:
            first = escaped(paths[rows.start], MAX_PATH)
            return first if len(rows) == 1 else f"{folder}: {len(rows):,} images from {Path(first).name}"

        spec = ImageSpec.of(context.options, len(paths), context.limit)
        decode = decode_files, lambda rows: [paths[rows.start : rows.stop]]
        x, notes = decoded(spec, decode, place, lambda: disk_cache.digest(paths))
        splits, begin = {}, 0
        for split, of_class in files.items():
            counts = [len(group) for _, group in of_class]
            names = [name for name, _ in of_class if name is not None]
            y = np.repeat(np.array(names), counts) if context.labelled and names else None
            splits[split] = RawSplit(x[begin : begin + sum(counts)], y)
            begin += sum(counts)
        return RawDataset(folder.name or str(folder), splits, (folder,), notes=tuple(notes))


def _is_folder(folder: Path) -> bool:
    """Whether `folder` holds images, itself or at most two levels below, going by the names of its first files."""
    levels = [folder]
    for _ in range(3):
        below: list[Path] = []
        for place in levels[:8]:
            try:
                with os.scandir(place) as entries:
                    first = list(islice(entries, 1_000))
            except OSError:
                continue
            if any(_is_image(entry.name) for entry in first):
                return True
            below += sorted(Path(e.path) for e in first if not _is_junk(e.name) and e.is_dir())
        levels = below
    return False


def _files(folder: Path, labelled: bool) -> dict[str, list[tuple[str | None, list[str]]]]:
    """The files of each class (None: no class) of each split. Raises DataError where the folder has another form."""
    top = _listed(folder)
    split_by_path = {path: split_of(path.name) for path in top.folders}
    if not top.folders or not (all(split_by_path.values()) or "train" in split_by_path.values()):
        return {"train": _classes(folder, top, labelled)}
    places: dict[str, Path] = {}
    for path, split in split_by_path.items():
        if split is None or split in places or top.images:
            other = Path(top.images[0]) if top.images else path
            raise DataError(
                f"{folder}: holds {', '.join(p.name for p in top.folders[:6])}, and {other.name} has no place beside "
                f"them; expected {SPLIT_NAMES}, each once: move the rest out"
            )
        places[split] = path
    files = {split: _classes(places[split], _listed(places[split]), labelled) for split in SPLITS if split in places}
    known = {name for name, _ in files.get("train", [])}
    for split, of_class in files.items():
        for name, _ in of_class:
            if "train" in files and labelled and name not in known:
                raise DataError(
                    f"{places[split] / str(name)}: {places['train']} has no folder {name} for this class, only "
                    f"{', '.join(sorted(map(str, known))[:5])}; bring train images of it, or move it out"
                )
    return files


def _classes(folder: Path, listed: _Folder, labelled: bool) -> list[tuple[str | None, list[str]]]:
    """The images of each class folder; or those of a folder without classes, where that may be."""
    if listed.images and listed.folders:
        raise DataError(
            f"{folder}: holds images ({Path(listed.images[0]).name}) beside folders ({listed.folders[0].name}); put "
            f"every image into the folder of its class, or all of them into one folder without labels"
        )
    if listed.images and labelled:
        raise DataError(
            f"{folder}: holds images ({Path(listed.images[0]).name}) without labels; put them into one sub-folder a "
            f"class, or give labels with {option('labels_from', 'FILE')}, in the order of the files' names"
        )
    if listed.images:
        return [(None, listed.images)]
    if not 0 < len(listed.folders) <= MAX_CLASSES:
        raise DataError(
            f"{folder}: holds {len(listed.folders):,} class folders, expected 1 to {MAX_CLASSES:,}; put the images "
            f"into one sub-folder a class"
        )
    classes, total = [], 0
    for path in listed.folders:
        of_class = _listed(path)
        if of_class.folders:
            raise DataError(
                f"{of_class.folders[0]}: is a folder in the class folder {path.name}; a class folder holds images "
                f"alone: move its images up, or it out"
            )
        if not of_class.images:
            raise DataError(
                f"{path}: this class folder holds no image; bring images of the class, or remove the folder"
            )
        total = _bounded(folder, total + len(of_class.images))
        classes.append((path.name, of_class.images))
    return classes


def _listed(folder: Path) -> _Folder:
    """The folders and the images in `folder`, each sorted by name. Raises DataError for any other file but junk."""
    content = _Folder([], [])
    with reading(folder), os.scandir(folder) as entries:
        for count, entry in enumerate(entries):
            _bounded(folder, count)
            if _is_junk(entry.name):
                continue
            with reading(entry.path):
                is_folder, is_file = entry.is_dir(), entry.is_file()
            if is_folder:
                content.folders.append(Path(entry.path))
            elif is_file and _is_image(entry.name):
                content.images.append(entry.path)
            else:
                what = "no file that can be read (a broken link?)" if _is_image(entry.name) else "no image"
                raise DataError(
                    f"{entry.path}: is {what}; a folder of images holds {', '.join(sorted(SUFFIXES))} alone: move "
                    f"it out"
                )
    content.folders.sort()
    content.images.sort()
    return content


def _bounded(folder: Path, count: int) -> int:
    if count > MAX_FILES:
        raise DataError(
            f"{folder}: holds {count:,} files or more, at most {MAX_FILES:,} are read; pack them into an array with "
            f"numpy.save"
        )
    return count


def _is_junk(name: str) -> bool:
    return name.startswith(".") or name.lower() in _JUNK


def _is_image(name: str) -> bool:
    return not _is_junk(name) and Path(name).suffix.lower() in SUFFIXES
