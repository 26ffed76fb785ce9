"""Pickled number arrays, read by a machine of our own that executes nothing.

A pickle is a program. Here a global stays a name: nothing is imported, called or assigned, and only the few names that
numpy writes for arrays, dtypes and scalars have a meaning. All else is a DataError that gives the byte offset.

    bytes ──opcodes──▶ stack and memo ──STOP──▶ settle: types, depth, sharing ──▶ plain values and number arrays
"""

import codecs
import math
import struct
from collections.abc import Callable
from typing import Literal

import numpy as np

from epochal.data.sources.arrays.pickle_machine import (
    DAMAGED,
    MAX_OPCODES,
    REMEDY,
    Global,
    LongString,
    Machine,
    Unfinished,
    say,
)

MAX_CONTAINERS = 10_000
MAX_GLOBALS = 10_000
MAX_DEPTH = 32

CODES = ["b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"]
DTYPES = {order + code: np.dtype(order + code) for code in CODES for order in ("|" if code[1] == "1" else "<>")}
FLAT = frozenset({type(None), bool, int, float, str, bytes, np.ndarray, *(dtype.type for dtype in DTYPES.values())})

GLOBALS = {
    ("numpy", "ndarray"): Global("numpy.ndarray"),
    ("numpy", "dtype"): Global("numpy.dtype"),
    ("_codecs", "encode"): Global("encode"),  # protocols 0 to 2 of Python 3 write bytes as text
    ("builtins", "bytes"): Global("bytes"),
    ("__builtin__", "bytes"): Global("bytes"),
}
for _core in ("numpy.core", "numpy._core"):  # numpy 1, numpy 2
    GLOBALS |= {(f"{_core}.multiarray", name): Global(name) for name in ("_reconstruct", "scalar")}
    GLOBALS |= {(f"{_core}.numeric", "_frombuffer"): Global("_frombuffer")}


def read_pickle(data: bytes | memoryview, where: str, memory_bytes: int = 16 << 30) -> object:
    """The value pickled in `data` (protocols 0 to 5), without executing any of it.

    It is None, a bool, an int of 64 bits, a float, a str (a Python 2 `str` too, as latin-1), bytes, a numpy array or
    scalar of bool, int8..int64, uint8..uint64 or float16..float64, or a tuple, list or dict of these. Arrays keep the
    file's byte order and are read-only: views of `data`, perhaps unaligned, where the file holds their plain bytes.
    `where` names the file in messages; `memory_bytes` bounds what strings and arrays may hold, views included.

    Raises DataError, and nothing else, whatever the bytes. The result is no deeper than 32 containers, and not cyclic.
    """
    m = Machine(data, where, memory_bytes)
    try:
        return _Settling(m).settle(m.run(OPCODES), 0)
    except IndexError:
        m.fail("a value or a mark is missing on the stack")
    except (ValueError, Warning):  # the decoder of escapes warns of an unknown one
        m.fail("a text or a number that cannot be decoded")


def _named(m: Machine, module: object, name: object) -> Global:
    if not isinstance(module, str) or not isinstance(name, str):
        m.fail(f"a global named {say(module)}, {say(name)}")
    m.globals += 1
    if m.globals > MAX_GLOBALS:
        m.fail(f"more than {MAX_GLOBALS:,} globals", "a file names each once: " + DAMAGED)
    if (module, name) not in GLOBALS:
        m.fail(f"the global {say(f'{module}.{name}')}", REMEDY)
    return GLOBALS[module, name]


# The patterns test a class before they compare: no array and no deep tuple is ever compared.


def _reduce(m: Machine) -> object:
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
    m.fail(f"{say(function)}, called with ({details})", REMEDY)


def _build(m: Machine) -> object:
    target, state = m.pops(2)
    match target, state:
        case Unfinished(str(code)), (int(3), str(order), None, None, None, int(-1), int(-1), int(0)):
            if order + code not in DTYPES:
                m.fail(f"the byte order {say(order)} of {code}")
            value = DTYPES[order + code]
        case Unfinished(None), (int(1), tuple(shape), np.dtype() as dtype, int(0 | 1) as fortran, content):
            value = _array(m, content, dtype, shape, "F" if fortran else "C")
        case _:
            m.fail(f"{say(target)} given a state that is not a number array's or its dtype's", REMEDY)
    if target.index is not None:
        m.memo[target.index] = value
    return value


def _array(m: Machine, content: object, dtype: np.dtype, shape: tuple, order: Literal["C", "F"] = "C") -> np.ndarray:
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

    def __init__(self, m: Machine):
        self.m = m
        self.containers = self.items = 0

    def settle(self, value, depth: int) -> object:
        """`value` in its final types. A shared part counts each time: the limits hold for whoever walks the result."""
        kind = type(value)
        if kind in FLAT:
            return value
        if kind is LongString:
            if value.value is None:
                self.m.charge(len(value.view))
                value.value = str(value.view, "latin-1") if value.text else bytes(value.view)
            return value.value
        if kind not in (tuple, list, dict):
            self.m.fail(f"{say(value)} in the result", REMEDY)
        self.containers += 1
        self.items += len(value)
        if depth == MAX_DEPTH or self.containers > MAX_CONTAINERS or self.items > MAX_OPCODES:
            limits = f"{MAX_CONTAINERS:,} containers, {MAX_OPCODES:,} items, {MAX_DEPTH} levels"
            self.m.fail(f"containers beyond the limits ({limits})", "save the data as arrays")
        parts = value.values() if kind is dict else value
        if FLAT.issuperset(map(type, parts)):
            return value
        parts = [self.settle(part, depth + 1) for part in parts]
        if kind is dict:
            return dict(zip(value, parts, strict=True))
        return tuple(parts) if kind is tuple else parts


# What each opcode does, and the parameter that tells the members of a family apart: a width, a count, a type, a value.
# Decoders are functions of `codecs`, for a codec that is named is imported.
FAMILIES: list[tuple[str, tuple, Callable]] = [
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
OPCODES = {ord(c): (act, value) for codes, values, act in FAMILIES for c, value in zip(codes, values, strict=True)}
