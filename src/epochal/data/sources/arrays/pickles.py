"""Pickled number arrays, read by a machine of our own that executes nothing.

A pickle is a program. Here a global stays a name: nothing is imported, called or assigned, and only the few names that
numpy writes for arrays, dtypes and scalars have a meaning. All else is a DataError that gives the byte offset.

    bytes ──opcodes──▶ stack and memo ──STOP──▶ settle: types, depth, sharing ──▶ plain values and number arrays
"""

import codecs
import math
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NoReturn

import numpy as np

from epochal.errors import DataError

MAX_OPCODES = 1_000_000  # an honest file spends one or more on each value: this bounds items, their memory, the time
_MAX_MEMO = 1_000_000
_SHORT = 1_000  # bytes of a dict key; a longer byte string stays a view until its use is known
_CUT = "the file is cut short or damaged"
_DAMAGED = "the file is damaged"
_REMEDY = "only tuples, lists and dicts of numbers, strings and number arrays are read: save the data as such"
MAX_CONTAINERS = 10_000
MAX_GLOBALS = 10_000
MAX_DEPTH = 32

_STOP = ord(".")
_NEWLINE = re.compile(b"\n")
_NOTHING = object()  # what an opcode returns that pushes no value

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


class _Machine:
    """A machine for the opcodes of plain values and containers: bytes, stack, memo, and budgets for all of them."""

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
                    self.fail("the file ends before its STOP", _CUT)
            code = data[self.pos]
            self.pos += 1
            if code == _STOP:
                return self.result()
            if code not in opcodes:
                self.fail(f"opcode {say(chr(code))}, which is none that plain data need", _REMEDY)
            act, parameter = opcodes[code]
            if (value := act(self, parameter)) is not _NOTHING:
                self.stack.append(value)
        self.fail(f"more than {MAX_OPCODES:,} opcodes", "save the data as arrays")

    def fail(self, problem: str, expected: str = _DAMAGED) -> NoReturn:
        """Raise DataError at the opcode that is being read."""
        raise DataError(f"{self.where}: byte {self.at:,}: {problem}; {expected}") from None

    def charge(self, size: int) -> None:
        """Take `size` bytes off what strings and arrays may still hold."""
        self.allowance -= size
        if self.allowance < 0:
            self.fail("values larger than the memory granted, or than 4 times the file", "save plain arrays")

    def take(self, size: int) -> memoryview:
        start, left = self.pos, self.limit - self.pos
        if size > left:
            self.fail(f"{size:,} bytes expected, {left:,} left", _CUT)
        self.pos = start + size
        return self.data[start : self.pos]

    def number(self, width: int, signed: bool = False) -> int:
        return int.from_bytes(self.take(width), "little", signed=signed)

    def line(self, most: int = 100) -> memoryview:
        """The bytes up to the next newline, of which there are fewer than `most`."""
        newline = _NEWLINE.search(self.data, self.pos, min(self.limit, self.pos + most))
        if newline is None:
            self.fail("a line without an end", _CUT)
        start, self.pos = self.pos, newline.end()
        return self.data[start : newline.start()]

    def digits(self) -> int:
        line = bytes(self.line())
        return line == b"01" if line in (b"00", b"01") else self.integer(int(line.rstrip(b"L")))  # 00, 01: bools

    def integer(self, value: int) -> int:
        if not -(2**63) <= value < 2**64:
            self.fail("an integer beyond 64 bits", _REMEDY)
        return value

    def decode(self, decoder: Callable, value: memoryview | str):
        """All of `value` by a function of `codecs`."""
        self.charge(len(value))
        decoded, used = decoder(value)
        if used != len(value):
            self.fail("a text that is cut short")
        return decoded

    def string(self, view: memoryview, text: bool) -> str | bytes | LongString:
        if len(view) > _SHORT:
            return LongString(view, text)
        return str(view, "latin-1") if text else bytes(view)

    def quoted(self) -> str | bytes | LongString:
        line = self.line(self.limit)
        if len(line) < 2 or line[0] != line[-1] or line[0] not in b"\"'":
            self.fail("a string without its quotes")
        return self.string(memoryview(self.decode(codecs.escape_decode, line[1:-1])), text=True)

    def protocol(self) -> object:
        """The version, which stands first."""
        version = self.number(1)
        if self.at or version > 5:
            self.fail(f"protocol {version}, above 5 or in mid-file", "write the file with protocol 5 or below")
        return _NOTHING

    def frame(self) -> object:
        """The start of a frame: no value may cross its end."""
        size = self.number(8)
        if self.framed or size > self.limit - self.pos:
            self.fail(f"a frame of {size:,} bytes beyond the end of the file, or in another frame", _CUT)
        self.limit, self.framed = self.pos + size, True
        return _NOTHING

    def mark(self) -> object:
        self.outer.append(self.stack)
        self.stack = []
        return _NOTHING

    def marked(self) -> list:
        items, self.stack = self.stack, self.outer.pop()
        return items

    def pops(self, count: int) -> list:
        items = self.stack[-count:]
        if len(items) < count:
            raise IndexError
        del self.stack[-count:]
        return items

    def put(self, index: int) -> object:
        """Note the last value in the memo, and leave it on the stack."""
        if not 0 <= index < _MAX_MEMO or index in self.memo:
            self.fail(f"memo entry {index:,} is written", f"each is written once and lies below {_MAX_MEMO:,}")
        self.memo[index] = value = self.stack.pop()
        if isinstance(value, Unfinished):
            value.index = index
        return value

    def get(self, index: int) -> object:
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
            self.fail("the keys of a dict", f"strings to {_SHORT:,} bytes or int64 were expected, each with its value")
        target.update(zip(keys, items[1::2], strict=True))
        if len(target) != size + len(keys):
            self.fail("a dict holds a key twice")
        return target

    def result(self) -> object:
        if self.pos != len(self.data):
            self.fail(f"{len(self.data) - self.pos:,} bytes after STOP", "one pickle a file: save all in one tuple")
        if self.outer or len(self.stack) != 1:
            self.fail(f"{len(self.stack):,} values and {len(self.outer):,} marks at STOP", "one value was expected")
        return self.stack.pop()


def _is_key(value: object) -> bool:
    return (type(value) is int and value < 2**63) or (isinstance(value, str | bytes) and len(value) <= _SHORT)


def say(value: object) -> str:
    """`value` for a message, briefly, whatever it is."""
    if value is None or isinstance(value, int | float | Global | Unfinished):
        return repr(value)
    return ascii(value[:60]) if isinstance(value, str | bytes) else f"a {type(value).__name__.strip('_')}"


CODES = ["b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"]
DTYPES = {order + code: np.dtype(order + code) for code in CODES for order in ("|" if code[1] == "1" else "<>")}
_FLAT = frozenset({type(None), bool, int, float, str, bytes, np.ndarray, *(dtype.type for dtype in DTYPES.values())})

_GLOBALS = {
    ("numpy", "ndarray"): Global("numpy.ndarray"),
    ("numpy", "dtype"): Global("numpy.dtype"),
    ("_codecs", "encode"): Global("encode"),  # protocols 0 to 2 of Python 3 write bytes as text
    ("builtins", "bytes"): Global("bytes"),
    ("__builtin__", "bytes"): Global("bytes"),
}
for _core in ("numpy.core", "numpy._core"):  # numpy 1, numpy 2
    _GLOBALS |= {(f"{_core}.multiarray", name): Global(name) for name in ("_reconstruct", "scalar")}
    _GLOBALS |= {(f"{_core}.numeric", "_frombuffer"): Global("_frombuffer")}


def read_pickle(data: bytes | memoryview, where: str, memory_bytes: int = 16 << 30) -> object:
    """The value pickled in `data` (protocols 0 to 5), without executing any of it.

    It is None, a bool, an int of 64 bits, a float, a str (a Python 2 `str` too, as latin-1), bytes, a numpy array or
    scalar of bool, int8..int64, uint8..uint64 or float16..float64, or a tuple, list or dict of these. Arrays keep the
    file's byte order and are read-only: views of `data`, perhaps unaligned, where the file holds their plain bytes.
    `where` names the file in messages; `memory_bytes` bounds what strings and arrays may hold, views included.

    Raises DataError, and nothing else, whatever the bytes. The result is no deeper than 32 containers, and not cyclic.
    """
    m = _Machine(data, where, memory_bytes)
    try:
        return _Settling(m).settle(m.run(OPCODES), 0)
    except IndexError:
        m.fail("a value or a mark is missing on the stack")
    except (ValueError, Warning):  # the decoder of escapes warns of an unknown one
        m.fail("a text or a number that cannot be decoded")


def _named(m: _Machine, module: object, name: object) -> Global:
    if not isinstance(module, str) or not isinstance(name, str):
        m.fail(f"a global named {say(module)}, {say(name)}")
    m.globals += 1
    if m.globals > MAX_GLOBALS:
        m.fail(f"more than {MAX_GLOBALS:,} globals", "a file names each once: " + _DAMAGED)
    if (module, name) not in _GLOBALS:
        m.fail(f"the global {say(f'{module}.{name}')}", _REMEDY)
    return _GLOBALS[module, name]


# The patterns test a class before they compare: no array and no deep tuple is ever compared.


def _reduce(m: _Machine) -> object:
    function, arguments = m.pops(2)
    match function, arguments:
        case Global("_reconstruct"), (Global("numpy.ndarray"), (int(0),), str("b") | bytes(b"b")):
            return Unfinished()
        case Global("numpy.dtype"), (str(code), int(0), int(1)) if code in CODES:
            return Unfinished(code)
        case Global("scalar"), (np.dtype() as dtype, content):
            return _array(m, content, dtype, ())[()]
        case Global("_frombuffer"), (content, np.dtype() as dtype, tuple(shape), str("C" | "F") as order):
            return _array(m, content, dtype, shape, order)
        case Global("_frombuffer"), (content, np.dtype() as dtype, tuple(shape), str("K"), tuple(axes)):
            if all(type(axis) is int for axis in axes) and sorted(axes) == list(range(len(shape))):
                return _array(m, content, dtype, shape).transpose(axes)
        case Global("encode"), (str(text), str("latin1")):
            return m.decode(codecs.latin_1_encode, text)
        case Global("bytes"), ():
            return b""
    details = ", ".join(map(say, arguments[:6])) if isinstance(arguments, tuple) else say(arguments)
    m.fail(f"{say(function)}, called with ({details})", _REMEDY)


def _build(m: _Machine) -> object:
    target, state = m.pops(2)
    match target, state:
        case Unfinished(str(code)), (int(3), str(order), None, None, None, int(-1), int(-1), int(0)):
            if order + code not in DTYPES:
                m.fail(f"the byte order {say(order)} of {code}")
            value = DTYPES[order + code]
        case Unfinished(None), (int(1), tuple(shape), np.dtype() as dtype, int(0 | 1) as fortran, content):
            value = _array(m, content, dtype, shape, "F" if fortran else "C")
        case _:
            m.fail(f"{say(target)} given a state that is not a number array's or its dtype's", _REMEDY)
    if target.index is not None:
        m.memo[target.index] = value
    return value


def _array(m: _Machine, content: object, dtype: np.dtype, shape: tuple, order: Literal["C", "F"] = "C") -> np.ndarray:
    sizes = len(shape) <= 32 and all(type(size) is int and size >= 0 for size in shape)
    if not sizes or math.prod(size or 1 for size in shape) > 2**48:
        m.fail("the shape of an array", "at most 32 sizes and 2^48 items were expected")
    buffer = content.view if isinstance(content, LongString) else content
    if isinstance(buffer, str):
        buffer = m.decode(codecs.latin_1_encode, buffer)
    if not isinstance(buffer, bytes | memoryview):
        m.fail(f"{say(content)} as the content of an array", "bytes were expected")
    size = math.prod(shape) * dtype.itemsize
    if size != len(buffer):
        m.fail(f"{len(buffer):,} bytes for an array {dtype.str} of shape {shape}", f"{size:,} were expected")
    m.charge(size)
    array = np.frombuffer(buffer, dtype).reshape(shape, order=order)
    if dtype.kind == "b" and size and array.view(np.uint8).max() > 1:
        m.fail("a bool array with bytes other than 0 and 1")
    return array


class _Settling:
    """A pass over the machine's result, with what may still be spent on containers and their items."""

    def __init__(self, m: _Machine):
        self.m = m
        self.containers = self.items = 0

    def settle(self, value, depth: int) -> object:
        """`value` in its final types. A shared part counts each time: the limits hold for whoever walks the result."""
        kind = type(value)
        if kind in _FLAT:
            return value
        if kind is LongString:
            if value.value is None:
                self.m.charge(len(value.view))
                value.value = str(value.view, "latin-1") if value.text else bytes(value.view)
            return value.value
        if kind not in (tuple, list, dict):
            self.m.fail(f"{say(value)} in the result", _REMEDY)
        self.containers += 1
        self.items += len(value)
        if depth == MAX_DEPTH or self.containers > MAX_CONTAINERS or self.items > MAX_OPCODES:
            limits = f"{MAX_CONTAINERS:,} containers, {MAX_OPCODES:,} items, {MAX_DEPTH} levels"
            self.m.fail(f"containers beyond the limits ({limits})", "save the data as arrays")
        parts = value.values() if kind is dict else value
        if _FLAT.issuperset(map(type, parts)):
            return value
        parts = [self.settle(part, depth + 1) for part in parts]
        if kind is dict:
            return dict(zip(value, parts, strict=True))
        return tuple(parts) if kind is tuple else parts


# What each opcode does, and the parameter that tells the members of a family apart: a width, a count, a type, a value.
# Decoders are functions of `codecs`, for a codec that is named is imported.
_FAMILIES: list[tuple[str, tuple, Callable]] = [
    ("\x80", (None,), lambda m, _: m.protocol()),
    ("\x95", (None,), lambda m, _: m.frame()),
    ("(", (None,), lambda m, _: m.mark()),
    ("N\x88\x89)", (None, True, False, ()), lambda m, value: value),
    ("IL", (None, None), lambda m, _: m.digits()),
    ("KM", (1, 2), lambda m, width: m.number(width)),
    ("J", (4,), lambda m, width: m.number(width, signed=True)),
    ("\x8a\x8b", (1, 4), lambda m, width: m.integer(m.number(m.number(width), signed=True))),
    ("F", (None,), lambda m, _: float(m.line())),
    ("G", (8,), lambda m, width: struct.unpack(">d", m.take(width))[0]),
    ("S", (None,), lambda m, _: m.quoted()),
    ("UT", (1, 4), lambda m, width: m.string(m.take(m.number(width)), text=True)),
    ("CB\x8e\x96", (1, 4, 8, 8), lambda m, width: m.string(m.take(m.number(width)), text=False)),
    ("\x8cX\x8d", (1, 4, 8), lambda m, width: m.decode(codecs.utf_8_decode, m.take(m.number(width)))),
    ("V", (None,), lambda m, _: m.decode(codecs.raw_unicode_escape_decode, m.line(m.limit))),
    ("\x85\x86\x87", (1, 2, 3), lambda m, count: tuple(m.pops(count))),
    ("t", (tuple,), lambda m, kind: kind(m.marked())),
    ("]}", (list, dict), lambda m, kind: kind()),
    ("ld", (list, dict), lambda m, kind: m.fill(kind(), m.marked())),
    ("a", (list,), lambda m, kind: m.grow(kind, m.pops(1))),
    ("s", (dict,), lambda m, kind: m.grow(kind, m.pops(2))),
    ("eu", (list, dict), lambda m, kind: m.grow(kind, m.marked())),
    ("p", (None,), lambda m, _: m.put(m.digits())),
    ("qr", (1, 4), lambda m, width: m.put(m.number(width))),
    ("\x94", (None,), lambda m, _: m.put(len(m.memo))),
    ("g", (None,), lambda m, _: m.get(m.digits())),
    ("hj", (1, 4), lambda m, width: m.get(m.number(width))),
    ("c", (None,), lambda m, _: _named(m, str(m.line(), "latin-1"), str(m.line(), "latin-1"))),
    ("\x93", (2,), lambda m, count: _named(m, *m.pops(count))),
    ("R", (None,), lambda m, _: _reduce(m)),
    ("b", (None,), lambda m, _: _build(m)),
]
OPCODES = {ord(c): (act, value) for codes, values, act in _FAMILIES for c, value in zip(codes, values, strict=True)}
