"""A disk that keeps a record, fails when it is told to, and can lose power.

Everything that is done to files below a folder goes through here: opening, writing, truncating, flushing, renaming,
removing, reading back. `crashes` makes from the record the folders that may be there after a power loss.
"""

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest


class Operation(NamedTuple):
    """`file` numbers the file (not its name), `content` is what it holds afterwards."""

    kind: str  # create, write, fsync, replace, unlink, mkdir, open, read, done
    path: Path
    file: int = -1
    content: bytes = b""
    other: Path | None = None


class Gone(BaseException):
    """The process has ended: nothing that it would have done is done."""


class Disk:
    """While it is entered, what is done below `root` is recorded.

    Before operation number `at`, `fault` is called; left out: the process ends there.
    """

    def __init__(self, root: Path, at: int = -1, fault: Callable[[], None] | None = None):
        self.root, self.at, self.fault = root, at, fault or self.end
        self.record: list[Operation] = []
        self.gone = False
        self._handles: dict[int, Path] = {}
        self._files: dict[int, int] = {}  # by inode

    def __enter__(self) -> "Disk":
        self._patch = pytest.MonkeyPatch()
        names = ("open", "close", "fsync", "replace", "unlink", "mkdir", "write", "ftruncate")
        self._real = {name: getattr(os, name) for name in names}
        for name in names:
            self._patch.setattr(os, name, getattr(self, f"_os_{name}"))
        return self

    def __exit__(self, *error: object) -> None:
        self._patch.undo()

    def note(self, kind: str, path: Any = "", *, handle: int = -1, content: bytes = b"", other: Any = None) -> None:
        """Record an operation that is about to happen, or fail."""
        self._fail()
        file = self._file(handle) if handle >= 0 else -1
        self.record.append(Operation(kind, Path(path), file, content, other and Path(other)))

    def _fail(self) -> None:
        if self.gone:
            raise Gone
        if len(self.record) == self.at:
            self.at = -1
            self.fault()

    def end(self) -> None:
        """The process is no more."""
        self.gone = True
        raise Gone

    def _place(self, path: Any, folder: int | None) -> Path | None:
        """Where `path` is, if that is below the root; of the lock nothing is recorded."""
        if not isinstance(path, (str, Path)) or (folder is not None and folder not in self._handles):
            return None
        found = Path(path) if folder is None else self._handles[folder] / path
        return found if found.is_relative_to(self.root) and found.name != "lock" else None

    def _file(self, handle: int) -> int:
        return self._files.setdefault(os.fstat(handle).st_ino, len(self._files))

    def _os_open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        place = self._place(path, dir_fd)
        if place is None and Path(path) == self.root.parent:
            place = Path(path)
        new = place is not None and bool(flags & os.O_CREAT) and not place.exists()
        if place is not None and not new and not flags & os.O_PATH:
            self.note("read" if place.suffix == ".safetensors" else "open", place)
        elif new:
            self._fail()
        handle = self._real["open"](path, flags, mode, dir_fd=dir_fd)
        if place is not None:
            self._handles[handle] = place
        if new:
            self.note("create", place, handle=handle)
        return handle

    def _os_close(self, handle: int) -> None:
        self._handles.pop(handle, None)
        self._real["close"](handle)

    def _os_fsync(self, handle: int) -> None:
        # And no more: what is lost with the power `crashes` tells.
        self.note("fsync", self._handles.get(handle, Path()), handle=handle)

    def _os_write(self, handle: int, data: Any) -> int:
        if handle in self._handles:
            before = self._content(handle)
            self.note("write", self._handles[handle], handle=handle, content=before + bytes(data))
        return self._real["write"](handle, data)

    def _os_ftruncate(self, handle: int, size: int) -> None:
        if handle in self._handles and size != len(before := self._content(handle)):
            self.note("write", self._handles[handle], handle=handle, content=before[:size])
        self._real["ftruncate"](handle, size)

    def _content(self, handle: int) -> bytes:
        file = self._real["open"](self._handles[handle], os.O_RDONLY)
        with open(file, "rb", closefd=False) as content:
            found = content.read()
        self._real["close"](file)
        return found

    def _os_replace(
        self, path: Any, other: Any, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None
    ) -> None:
        if place := self._place(path, src_dir_fd):
            self.note("replace", place, other=self._place(other, dst_dir_fd))
        self._real["replace"](path, other, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    def _os_unlink(self, path: Any, *, dir_fd: int | None = None) -> None:
        if place := self._place(path, dir_fd):
            self.note("unlink", place)
        self._real["unlink"](path, dir_fd=dir_fd)

    def _os_mkdir(self, path: Any, *rest: Any, **named: Any) -> None:
        if place := self._place(path, None):
            self.note("mkdir", place)
        self._real["mkdir"](path, *rest, **named)


class State(NamedTuple):
    """What a crash has left, and how many operations had been done."""

    done: int
    files: dict[Path, bytes]


def crashes(record: list[Operation], before: dict[Path, bytes]) -> Iterator[State]:
    """Every kind of folder that may be there when power is lost after some operations of `record`.

    Of names that were not flushed any may have changed already and any not; of a file that was not flushed, what was
    flushed before may be there, or a part of the new content, or as many zeros.
    """
    content = {-2 - number: held for number, held in enumerate(before.values())}
    names = {path: -2 - number for number, path in enumerate(before)}  # flushed ones
    flushed, pending = dict(content), list[Operation]()
    for done, operation in enumerate([*record, Operation("done", Path())]):
        for chosen in _subsets(pending):
            there = dict(names)
            for change in chosen:
                _rename(there, change)
            yield from _contents(done, there, content, flushed)
        if operation.kind == "write":
            content[operation.file] = operation.content
        elif operation.kind == "fsync" and operation.file in content:
            flushed[operation.file] = content[operation.file]
        elif operation.kind == "fsync":  # of the folder
            for change in pending:
                _rename(names, change)
            pending = []
        elif operation.kind in ("create", "replace", "unlink"):
            pending.append(operation)
        if operation.kind == "create":
            content[operation.file] = flushed[operation.file] = b""


def _subsets(pending: list[Operation]) -> Iterator[tuple[Operation, ...]]:
    return itertools.chain.from_iterable(itertools.combinations(pending, n) for n in range(len(pending) + 1))


def _rename(names: dict[Path, int], change: Operation) -> None:
    if change.kind == "create":
        names[change.path] = change.file
    elif change.kind == "unlink":
        names.pop(change.path, None)
    elif change.path in names:
        assert change.other is not None
        names[change.other] = names.pop(change.path)


def _contents(
    done: int, names: dict[Path, int], content: dict[int, bytes], flushed: dict[int, bytes]
) -> Iterator[State]:
    """The files of these names, with every content that an unflushed one may have."""
    loose = sorted({file for file in names.values() if content[file] != flushed[file]})
    assert len(loose) < 4
    for held in itertools.product(*(_losses(flushed[file], content[file]) for file in loose)):
        now = content | dict(zip(loose, held, strict=True))
        yield State(done, {path: now[file] for path, file in names.items()})


def _losses(old: bytes, new: bytes) -> list[bytes]:
    begin = len(old) if new.startswith(old) else 0
    parts = [new[:cut] for cut in [*range(begin, len(new), 40), len(new) - 1, len(new)]]
    zeros = [part + bytes(len(new) - len(part)) for part in parts]
    return list(dict.fromkeys([old, *parts, *zeros]))
