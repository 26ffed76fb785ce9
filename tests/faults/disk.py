"""A disk that keeps a record, fails when it is told to, and can lose power.

Everything that is done to files below a folder goes through here: opening, writing, truncating, flushing, renaming,
removing, reading back. `crashes` makes from the record the folders that may be there after a power loss.
"""

import io
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import safetensors


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
        self._handles: dict[int, tuple[Path, int]] = {}
        self._files: dict[int, int] = {}  # by inode

    def __enter__(self) -> "Disk":
        self._patch = pytest.MonkeyPatch()
        self._real = {name: getattr(os, name) for name in ("open", "close", "fsync", "replace", "unlink", "mkdir")}
        self._open, self._safe_open = io.open, safetensors.safe_open
        for name in self._real:
            self._patch.setattr(os, name, getattr(self, f"_os_{name}"))
        self._patch.setattr(io, "open", self._io_open)
        self._patch.setattr(safetensors, "safe_open", self._read)
        return self

    def __exit__(self, *error: object) -> None:
        self._patch.undo()

    def note(self, kind: str, path: Any = "", *, handle: int = -1, content: bytes = b"", other: Any = None) -> None:
        """Record an operation that is about to happen, or fail."""
        if self.gone:
            raise Gone
        if len(self.record) == self.at:
            self.at = -1
            self.fault()
        file = self._file(handle) if handle >= 0 else -1
        self.record.append(Operation(kind, Path(path), file, content, other and Path(other)))

    def end(self) -> None:
        """The process is no more."""
        self.gone = True
        raise Gone

    def _mine(self, path: Any) -> bool:
        return isinstance(path, (str, Path)) and Path(path).is_relative_to(self.root) and Path(path).name != "lock"

    def _file(self, handle: int) -> int:
        return self._files.setdefault(os.fstat(handle).st_ino, len(self._files))

    def _io_open(self, path: Any, mode: str = "r", buffering: int = -1, *rest: Any, **named: Any) -> Any:
        if not self._mine(path) or not set(mode) & set("wxa") or "b" not in mode:
            return self._open(path, mode, buffering, *rest, **named)
        if self.gone or (len(self.record) == self.at):
            self.note("create", path)
        raw = _File(self, Path(path), mode)
        return raw if buffering == 0 else io.BufferedWriter(raw)

    def _os_open(self, path: Any, *rest: Any, **named: Any) -> int:
        if self._mine(path) or Path(path) == self.root.parent:
            self.note("open", path)
            handle = self._real["open"](path, *rest, **named)
            self._handles[handle] = (Path(path), handle)
            return handle
        return self._real["open"](path, *rest, **named)

    def _os_close(self, handle: int) -> None:
        self._handles.pop(handle, None)
        self._real["close"](handle)

    def _os_fsync(self, handle: int) -> None:
        path = self._handles[handle][0] if handle in self._handles else Path()
        self.note("fsync", path, handle=handle)  # and no more: what is lost with the power `crashes` tells

    def _os_replace(self, path: Any, other: Any) -> None:
        if self._mine(path):
            self.note("replace", path, other=other)
        self._real["replace"](path, other)

    def _os_unlink(self, path: Any, **named: Any) -> None:
        if self._mine(path):
            self.note("unlink", path)
        self._real["unlink"](path, **named)

    def _os_mkdir(self, path: Any, *rest: Any, **named: Any) -> None:
        if self._mine(path):
            self.note("mkdir", path)
        self._real["mkdir"](path, *rest, **named)

    def _read(self, path: Any, *rest: Any) -> Any:
        if self._mine(path):
            self.note("read", path)
        return self._safe_open(path, *rest)


class _File(io.FileIO):
    """A file below the root, open to be written to."""

    def __init__(self, disk: Disk, path: Path, mode: str):
        new = not path.exists()
        super().__init__(path, mode.replace("b", ""))
        self.disk, self.where = disk, path
        if new:
            disk.note("create", path, handle=self.fileno())

    def write(self, data: Any) -> int:
        before = self._content()
        self.disk.note("write", self.where, handle=self.fileno(), content=before + bytes(data))
        return super().write(data)

    def truncate(self, size: int | None = None) -> int:
        before = self._content()
        if size != len(before):
            self.disk.note("write", self.where, handle=self.fileno(), content=before[:size])
        return super().truncate(size)

    def _content(self) -> bytes:
        with self.disk._open(self.where, "rb") as file:
            return file.read()


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
