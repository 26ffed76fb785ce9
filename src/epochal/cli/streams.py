"""Standard output and error while a command runs: text of files cannot steer the terminal, and no encoding fails.

What cannot be written to standard error is dropped: no run ends for its progress. What cannot be written to standard
output, where results go, raises `OutputError`.
"""

import codecs
import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

_PLAIN = {"–": "-", "—": "-", "−": "-", "·": "|", "…": "...", "×": "x", "±": "+/-", "“": '"', "”": '"', "’": "'"}


class OutputError(Exception):
    """Standard output cannot be written. `left`: whoever read it has left, and wants no more."""

    def __init__(self, error: OSError | ValueError):
        super().__init__(getattr(error, "strerror", None) or str(error))
        self.left = isinstance(error, BrokenPipeError)


def escaped(text: str, *, lines: bool = True) -> str:
    r"""`text` with what cannot be printed, such as ESC, as Python writes it (`\x1b`); line ends stay, if `lines`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or (lines and c == "\n") else repr(c)[1:-1] for c in text)


class Guard(io.TextIOBase):
    """A text stream over another, or over none where it was closed."""

    def __init__(self, stream: Any, *, drops: bool, escapes: bool = True):
        """`drops`: what cannot be written is dropped. `escapes`: control characters are."""
        self.stream, self.drops, self.escapes = stream, drops, escapes

    @property
    def terminal(self) -> "Guard":
        """The same for what moves the cursor on purpose."""
        return Guard(self.stream, drops=self.drops, escapes=False)

    @property
    def encoding(self) -> str:  # pyrefly: ignore
        return getattr(self.stream, "encoding", None) or "utf-8"

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        with suppress(AttributeError, OSError, ValueError):
            return bool(self.stream.isatty())
        return False

    def fileno(self) -> int:
        if self.stream is None:
            raise io.UnsupportedOperation("fileno")
        return self.stream.fileno()

    def write(self, text: str) -> int:
        """Raises OutputError, unless what cannot be written is dropped."""
        shown = escaped(text) if self.escapes else text
        try:
            if self.drops:
                self._write_now(shown)
            elif self.stream is None:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            else:
                self.stream.write(self._encodable(shown))
        except (OSError, ValueError) as error:
            self._failed(error)
        return len(text)

    def write_exactly(self, text: str) -> None:
        """`text` as UTF-8, nothing escaped: for another program; a terminal gets it as everything else."""
        if self.isatty():
            self.write(text)
            return
        try:
            if self.stream is None:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            self.stream.flush()
            buffer = getattr(self.stream, "buffer", None)
            if buffer is None:
                self.stream.write(text)
            else:
                buffer.write(text.encode(errors=EXACT))
                buffer.flush()
        except (OSError, ValueError) as error:
            self._failed(error)

    def flush(self) -> None:
        try:
            if self.stream is not None:
                self.stream.flush()
        except (OSError, ValueError) as error:
            self._failed(error)

    def _write_now(self, text: str) -> None:
        """Past the buffer of the stream: what could not be written would stay in it, and fail again at the end."""
        if self.stream is None:
            return
        try:
            handle = self.stream.fileno() if sys.platform != "win32" else -1
        except (AttributeError, OSError, ValueError):
            handle = -1
        if handle < 0:
            self.stream.write(self._encodable(text))
            self.stream.flush()
            return
        content = text.encode(self.encoding, errors=READABLE)
        while content:
            content = content[os.write(handle, content) :]

    def _encodable(self, text: str) -> str:
        return text.encode(self.encoding, errors=READABLE).decode(self.encoding, errors="replace")

    def _failed(self, error: OSError | ValueError) -> None:
        if self.drops:
            return
        with suppress(AttributeError, OSError, ValueError):  # what is in its buffer fails again at the end otherwise
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.stream.fileno())
            os.close(null)
        raise OutputError(error) from None


@contextmanager
def guarded(*, escapes: bool) -> Iterator[None]:
    """Put a `Guard` over standard output and one over standard error."""
    before = sys.stdout, sys.stderr
    for stream in before:
        if sys.platform == "win32" and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8")  # a pipe has the encoding of the region there
    sys.stdout = Guard(before[0], drops=False, escapes=escapes)
    sys.stderr = Guard(before[1], drops=True, escapes=escapes)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def _readable(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    letters = error.object[error.start : error.end]
    return "".join(
        _PLAIN.get(c) or repr(c.encode("unicode_escape"))[2:-1].replace("\\\\", "\\") for c in letters
    ), error.end


def _exact(error: UnicodeError) -> tuple[str | bytes, int]:
    """Bytes of a name that is no UTF-8 as they are; other lone surrogates escaped."""
    assert isinstance(error, UnicodeEncodeError)
    letter = error.object[error.start]
    if "\udc80" <= letter <= "\udcff":
        return bytes([ord(letter) - 0xDC00]), error.start + 1
    return repr(letter)[1:-1], error.start + 1


READABLE, EXACT = "epochal-readable", "epochal-exact"
codecs.register_error(READABLE, _readable)
codecs.register_error(EXACT, _exact)
