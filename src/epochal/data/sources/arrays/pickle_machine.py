"""A machine for the opcodes of pickles that executes nothing: bytes, stack, memo, and budgets for all of them.

It knows plain values and containers; `pickles` says which opcodes there are, and what a global of the file stands for.
"""

import codecs
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NoReturn

from epochal.errors import DataError

MAX_OPCODES = 1_000_000  # an honest file spends one or more on each value: this bounds items, their memory, the time
MAX_MEMO = 1_000_000
SHORT = 1_000  # bytes of a dict key; a longer byte string stays a view until its use is known
CUT = "the file is cut short or damaged"
DAMAGED = "the file is damaged"
REMEDY = "only tuples, lists and dicts of numbers, strings and number arrays are read: save the data as such"

STOP = ord(".")
NEWLINE = re.compile(b"\n")
NOTHING = object()  # what an opcode returns that pushes no value

Opcode = tuple[Callable[..., object], object]  # what to do with the machine and a parameter, and the parameter


@dataclass(frozen=True, slots=True)
class Global:
    """What a global of the file stands for; never the object."""

    role: str

    def __repr__(self) -> str:
        return self.role


@dataclass(slots=True)
class Unfinished:
    """A dtype (then `code` is set) or an array that lacks its state. BUILD replaces it, also in the memo."""

    code: str | None = None
    index: int | None = None

    def __repr__(self) -> str:
        return "an array without its state" if self.code is None else f"a dtype {self.code} without its state"


@dataclass(slots=True)
class LongString:
    """A long byte string: the content of an array, or a value of its own (`text`: a Python 2 `str`)."""

    view: memoryview
    text: bool
    value: str | bytes | None = None


class Machine:
    """The bytes and the place in them; the stack and those that marks have set aside; what may still be spent."""

    def __init__(self, data: bytes | memoryview, where: str, memory_bytes: int):
        self.data = memoryview(data).cast("B").toreadonly()
        self.where = where
        self.at = self.pos = 0
        self.limit = len(self.data)  # the end of the frame, or of the file where there is none
        self.framed = False
        # An honest file's text is decoded and encoded at most once, and its arrays lie in it once.
        self.allowance = min(memory_bytes, 4 * len(self.data))
        self.globals = 0
        self.stack: list = []
        self.outer: list[list] = []
        self.memo: dict[int, object] = {}
        self.fetched: set[int] = set()  # ids of what the memo gave back

    def run(self, opcodes: Mapping[int, Opcode]) -> object:
        """The value on the stack at STOP; a LongString or an Unfinished may be in it."""
        data, end = self.data, len(self.data)
        for _ in range(MAX_OPCODES):
            self.at = self.pos
            if self.pos == self.limit:
                self.limit, self.framed = end, False
                if self.pos == end:
                    self.fail("the file ends before its STOP", CUT)
            code = data[self.pos]
            self.pos += 1
            if code == STOP:
                return self.result()
            if code not in opcodes:
                self.fail(f"opcode {say(chr(code))}, which is none that plain data need", REMEDY)
            act, parameter = opcodes[code]
            if (value := act(self, parameter)) is not NOTHING:
                self.stack.append(value)
        self.fail(f"more than {MAX_OPCODES:,} opcodes", "save the data as arrays")

    def fail(self, found: str, expected: str = DAMAGED) -> NoReturn:
        """Raise DataError at the opcode that is being read."""
        raise DataError(f"{self.where}: byte {self.at:,}: {found}; {expected}") from None

    def charge(self, size: int) -> None:
        """Take `size` bytes off what strings and arrays may still hold."""
        self.allowance -= size
        if self.allowance < 0:
            self.fail("values larger than the memory granted, or than 4 times the file", "save plain arrays")

    def take(self, size: int) -> memoryview:
        """The next `size` bytes."""
        start, left = self.pos, self.limit - self.pos
        if size > left:
            self.fail(f"{size:,} bytes expected, {left:,} left", CUT)
        self.pos = start + size
        return self.data[start : self.pos]

    def number(self, width: int, signed: bool = False) -> int:
        """The next `width` bytes as an integer."""
        return int.from_bytes(self.take(width), "little", signed=signed)

    def line(self, most: int = 100) -> memoryview:
        """The bytes up to the next newline, of which there are fewer than `most`."""
        newline = NEWLINE.search(self.data, self.pos, min(self.limit, self.pos + most))
        if newline is None:
            self.fail("a line without an end", CUT)
        start, self.pos = self.pos, newline.end()
        return self.data[start : newline.start()]

    def digits(self) -> int:
        """An integer, or a bool, as a line of text."""
        line = bytes(self.line())
        return line == b"01" if line in (b"00", b"01") else self.integer(int(line.rstrip(b"L")))  # 00, 01: bools

    def integer(self, value: int) -> int:
        """`value`, if it has 64 bits at most."""
        if not -(2**63) <= value < 2**64:
            self.fail("an integer beyond 64 bits", REMEDY)
        return value

    def decode(self, decoder: Callable, value: memoryview | str):
        """All of `value` by a function of `codecs`."""
        self.charge(len(value))
        decoded, used = decoder(value)
        if used != len(value):
            self.fail("a text that is cut short")
        return decoded

    def string(self, view: memoryview, text: bool) -> str | bytes | LongString:
        """A byte string; a long one stays a view."""
        if len(view) > SHORT:
            return LongString(view, text)
        return str(view, "latin-1") if text else bytes(view)

    def quoted(self) -> str | bytes | LongString:
        """A byte string as a quoted line."""
        line = self.line(self.limit)
        if len(line) < 2 or line[0] != line[-1] or line[0] not in b"\"'":
            self.fail("a string without its quotes")
        return self.string(memoryview(self.decode(codecs.escape_decode, line[1:-1])), text=True)

    def protocol(self) -> object:
        """The version, which stands first."""
        version = self.number(1)
        if self.at or version > 5:
            self.fail(f"protocol {version}, above 5 or in mid-file", "write the file with protocol 5 or below")
        return NOTHING

    def frame(self) -> object:
        """The start of a frame: no value may cross its end."""
        size = self.number(8)
        if self.framed or size > self.limit - self.pos:
            self.fail(f"a frame of {size:,} bytes beyond the end of the file, or in another frame", CUT)
        self.limit, self.framed = self.pos + size, True
        return NOTHING

    def mark(self) -> object:
        """Set the stack aside."""
        self.outer.append(self.stack)
        self.stack = []
        return NOTHING

    def marked(self) -> list:
        """What was pushed since the last mark."""
        items, self.stack = self.stack, self.outer.pop()
        return items

    def pops(self, count: int) -> list:
        """The last `count` values."""
        items = self.stack[-count:]
        if len(items) < count:
            raise IndexError
        del self.stack[-count:]
        return items

    def put(self, index: int) -> object:
        """Note the last value in the memo, and leave it on the stack."""
        if not 0 <= index < MAX_MEMO or index in self.memo:
            self.fail(f"memo entry {index:,} is written", f"each is written once and lies below {MAX_MEMO:,}")
        self.memo[index] = value = self.stack.pop()
        if isinstance(value, Unfinished):
            value.index = index
        return value

    def get(self, index: int) -> object:
        """A value of the memo."""
        if index not in self.memo:
            self.fail(f"memo entry {index:,} was never written")
        self.fetched.add(id(self.memo[index]))
        return self.memo[index]

    def grow(self, kind: type[list] | type[dict], items: list) -> list | dict:
        """The container below `items` on the stack, with them."""
        target = self.stack.pop()
        # Only a container that the memo gave back can get into its own items: without those, nothing is cyclic.
        if not isinstance(target, kind) or id(target) in self.fetched:
            self.fail(f"items for {say(target)}", f"a {kind.__name__} was expected that is not yet used elsewhere")
        return self.fill(target, items)

    def fill(self, target: list | dict, items: list) -> list | dict:
        """`target` with `items`; for a dict keys and values take turns."""
        if isinstance(target, list):
            target += items
            return target
        keys, size = items[::2], len(target)
        if len(items) % 2 or not all(map(_is_key, keys)):
            self.fail("the keys of a dict", f"strings to {SHORT:,} bytes or int64 were expected, each with its value")
        target.update(zip(keys, items[1::2], strict=True))
        if len(target) != size + len(keys):
            self.fail("a dict holds a key twice")
        return target

    def result(self) -> object:
        """The value that is left at the end of the file."""
        if self.pos != len(self.data):
            self.fail(f"{len(self.data) - self.pos:,} bytes after STOP", "one pickle a file: save all in one tuple")
        if self.outer or len(self.stack) != 1:
            self.fail(f"{len(self.stack):,} values and {len(self.outer):,} marks at STOP", "one value was expected")
        return self.stack.pop()


def _is_key(value: object) -> bool:
    return (type(value) is int and value < 2**63) or (isinstance(value, str | bytes) and len(value) <= SHORT)


def say(value: object) -> str:
    """`value` for a message, briefly, whatever it is."""
    if value is None or isinstance(value, int | float | Global | Unfinished):
        return repr(value)
    return ascii(value[:60]) if isinstance(value, str | bytes) else f"a {type(value).__name__.strip('_')}"
