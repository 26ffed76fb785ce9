"""Hostile and damaged pickles, put together opcode by opcode: `HOSTILE` holds each whole file under its name.

`CODE` are those that act when `pickle` loads them: they make the folder `MARKER` in the working directory. The others
reach beyond an array's memory or change a library through numpy's own names, cost memory or time, or are malformed.
"""

import gzip
import struct

MARKER = "made-by-a-pickle"
MANY = 660_000


def unicode(text: str) -> bytes:
    encoded = text.encode()
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def string(content: bytes) -> bytes:
    """Python 2's `str`."""
    return b"T" + struct.pack("<I", len(content)) + content


def integer(value: int) -> bytes:
    encoded = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(encoded)]) + encoded


def put(index: int) -> bytes:
    return b"r" + struct.pack("<I", index)


def get(index: int) -> bytes:
    return b"j" + struct.pack("<I", index)


def items(*parts: bytes) -> bytes:
    return b"(" + b"".join(parts) + b"t"


def named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def stack_named(module: str, name: str) -> bytes:
    return b"\x80\x04" + unicode(module) + unicode(name) + b"\x93"


def call(function: bytes, *arguments: bytes) -> bytes:
    return function + items(*arguments) + b"R"


def shape(*sizes: int) -> bytes:
    return items(*map(integer, sizes))


def state(order: str = "<", *, sub=b"N", names=b"N", fields=b"N", size=-1, align=-1, flags=0, version=3) -> bytes:
    return items(integer(version), unicode(order), sub, names, fields, integer(size), integer(align), integer(flags))


def dtype(code: str, dtype_state: bytes | None = None) -> bytes:
    built = call(named("numpy", "dtype"), unicode(code), b"\x89\x88")
    return built + (state("|" if code[1:] == "1" else "<") if dtype_state is None else dtype_state) + b"b"


def shell(kind: bytes = named("numpy", "ndarray"), sizes: bytes = shape(0)) -> bytes:
    return call(named("numpy.core.multiarray", "_reconstruct"), kind, sizes, string(b"b"))


def array(sizes: bytes, kind: bytes, content: bytes, *, version: int = 1, fortran: bytes = b"\x89") -> bytes:
    return shell() + items(integer(version), sizes, kind, fortran, content) + b"b"


def from_buffer(content: bytes, kind: bytes, sizes: bytes, *order: bytes) -> bytes:
    return call(named("numpy.core.numeric", "_frombuffer"), content, kind, sizes, *order)


def scalar(*arguments: bytes) -> bytes:
    return call(named("numpy.core.multiarray", "scalar"), *arguments)


def encode(text: bytes, codec: str) -> bytes:
    return call(named("_codecs", "encode"), text, unicode(codec))


SYSTEM, COMMAND = named("os", "system"), unicode(f"mkdir {MARKER}")
EXPRESSION = unicode(f"__import__('os').mkdir('{MARKER}')")
PARTIAL = named("functools", "partial") + items(SYSTEM, COMMAND)
SET_STATE = b"}" + unicode("__setstate__") + SYSTEM + b"s"
F8, EIGHT = dtype("f8"), string(bytes(8))

CODE = {
    "GLOBAL os.system": call(SYSTEM, COMMAND),
    "GLOBAL builtins.eval": call(named("builtins", "eval"), EXPRESSION),
    "GLOBAL builtins.exec": call(named("builtins", "exec"), EXPRESSION),
    "GLOBAL __builtin__.eval of Python 2": call(named("__builtin__", "eval"), EXPRESSION),
    "STACK_GLOBAL os.system": call(stack_named("os", "system"), COMMAND),
    "STACK_GLOBAL dotted name": call(stack_named("os", "path.os.system"), COMMAND),
    "STACK_GLOBAL dotted name through numpy": call(stack_named("numpy", "ma.core.inspect.os.system"), COMMAND),
    "REDUCE subprocess.Popen": call(named("subprocess", "Popen"), items(unicode("mkdir"), unicode(MARKER))),
    "INST os.system": b"(" + COMMAND + b"ios\nsystem\n",
    "OBJ os.system": b"(" + SYSTEM + COMMAND + b"o",
    "NEWOBJ functools.partial": b"\x80\x02" + PARTIAL + b"\x81)R",
    "NEWOBJ_EX functools.partial": b"\x80\x04" + PARTIAL + b"}\x92)R",
    "BUILD __setstate__": named("types", "SimpleNamespace") + b")R" + SET_STATE + b"b" + COMMAND + b"b",
    "EXT1": call(b"\x80\x02\x82\xf1", COMMAND),
    "EXT2": call(b"\x80\x02\x83\xf1\xf1", COMMAND),
    "EXT4": call(b"\x80\x02\x84\xf1\xf1\xf1\x00", COMMAND),
    "object array of a call": array(shape(1), dtype("O8", state("|", flags=63)), b"](" + call(SYSTEM, COMMAND) + b"e"),
    "dict value": b"}" + unicode("x") + call(SYSTEM, COMMAND) + b"s",
    "beside the result": call(SYSTEM, COMMAND) + b"0N",
}

# Objects of other libraries, and numpy's names beyond the ones that arrays need.
FOREIGN = {
    f"global {module}.{name}": call(named(module, name), COMMAND)
    for module, name in [
        ("numpy.testing._private.utils", "runstring"),
        ("numpy.f2py.crackfortran", "getlincoef"),
        ("numpy", "load"),
        ("numpy", "fromfile"),
        ("numpy", "memmap"),
        ("numpy", "core.multiarray._reconstruct"),
        ("numpy.core", "multiarray._reconstruct"),
        ("numpy.core.multiarray ", "_reconstruct"),
        ("numpy.core.multiarray", "fromstring"),
        ("numpy.matrixlib.defmatrix", "matrix"),
        ("numpy.ma.core", "_mareconstruct"),
        ("numpy.random._pickle", "__generator_ctor"),
        ("joblib.numpy_pickle", "NumpyArrayWrapper"),
        ("torch._utils", "_rebuild_tensor_v2"),
        ("pandas.core.frame", "DataFrame"),
        ("copy_reg", "_reconstructor"),
        ("collections", "OrderedDict"),
        ("builtins", "getattr"),
        ("", ""),
        ("os\x1b[2J", "system"),
    ]
}
REFERENCES = {
    "PERSID": b"Pos.system\n",
    "BINPERSID": unicode("os.system") + b"Q",
    "NEXT_BUFFER": from_buffer(b"\x97", F8, shape(1), unicode("C")),
    "READONLY_BUFFER": from_buffer(b"\x97\x98", F8, shape(1), unicode("C")),
    "STACK_GLOBAL of numbers": b"\x80\x04K\x01K\x02\x93",
    "STACK_GLOBAL of a list": b"\x80\x04" + unicode("numpy") + b"]\x93",
    "STACK_GLOBAL of a deep tuple": b"\x80\x04)" + b"\x85" * 200_000 + unicode("x") + b"\x93",
    "global as the result": named("numpy", "dtype"),
    "global in a list": b"]" + named("numpy", "ndarray") + b"a",
    "call of a string": call(unicode("os.system"), COMMAND),
    "call with a deep tuple": named("numpy", "dtype") + b")" + b"\x85" * 200_000 + b"R",
    "call of numpy.ndarray": call(named("numpy", "ndarray"), shape(1 << 29)),
    "BUILD of numpy.ndarray": named("numpy", "ndarray") + b"}" + unicode("__setstate__") + b"Nsb",
    "BUILD of _frombuffer": named("numpy.core.numeric", "_frombuffer") + b"}" + unicode("__defaults__") + b"Nsb",
    "BUILD of a finished array": array(shape(1), F8, EIGHT) + items(b"K\x01", shape(2), F8, b"\x89", EIGHT * 2) + b"b",
    "BUILD of a dict": b"}}" + unicode("__setstate__") + b"Nsb",
}

A_FIELD = b"}" + unicode("a") + items(F8, integer(1 << 30)) + b"s"
OBJECT_FIELD = b"}" + unicode("a") + items(dtype("O8", state("|", flags=63)), integer(0)) + b"s"
HUGE = 1 << 40
ARRAYS = {
    "object dtype": array(shape(1), dtype("O8", state("|", flags=63)), EIGHT),
    "object dtype, flags cleared": array(shape(1), dtype("O8", state("|")), EIGHT),
    "object scalar": scalar(dtype("O8", state("|", flags=63)), EIGHT),
    "object _frombuffer": from_buffer(EIGHT, dtype("O8", state("|")), shape(1), unicode("C")),
    "object field in a void dtype": array(
        shape(1), dtype("V8", state("|", names=items(unicode("a")), fields=OBJECT_FIELD, size=8, align=1)), EIGHT
    ),
    "field offset beyond the item": array(
        shape(1), dtype("V8", state("|", names=items(unicode("a")), fields=A_FIELD, size=8, align=1)), EIGHT
    ),
    "fields of a number": array(shape(1), dtype("f8", state(names=items(unicode("a")), fields=A_FIELD)), EIGHT),
    "sub-array of a number": array(shape(1), dtype("f8", state(sub=items(F8, shape(1 << 30)))), EIGHT),
    "object flags on a number": array(shape(1), dtype("f8", state(flags=63)), EIGHT),
    "size of a number that lies": array(shape(1), dtype("f8", state(size=1 << 30, align=1)), EIGHT),
    "dtype state of version 4": array(shape(1), dtype("f8", state(version=4)), EIGHT),
    "dtype state cut short": array(shape(1), dtype("f8", items(integer(3), unicode("<"))), EIGHT),
    "dtype state of deep tuples": array(shape(1), dtype("f8", b")" + b"\x85" * 200_000), EIGHT),
    "dtype state of arrays": array(shape(1), dtype("f8", items(*[array(shape(2), F8, string(bytes(16)))] * 8)), EIGHT),
    "byte order | of f8": array(shape(1), dtype("f8", state("|")), EIGHT),
    "byte order of two characters": array(shape(1), dtype("f8", state("<>")), EIGHT),
    "dtype without its state": array(shape(1), call(named("numpy", "dtype"), unicode("f8"), b"\x89\x88"), EIGHT),
    "dtype built twice": array(shape(1), F8 + state(">") + b"b", EIGHT),
    "dtype that is to be aligned": array(shape(1), call(named("numpy", "dtype"), unicode("f8"), b"\x88\x88"), EIGHT),
    **{
        f"dtype {code}": array(shape(1), dtype(code), string(bytes(16)))
        for code in ["S16", "U4", "V16", "M8", "m8", "c16", "f16", "i3", "float64", "f8,f8", "", "O", "f8\x00", "é"]
    },
    "result without its state": shell(),
    "result is a dtype": F8,
    "array without its state in a tuple": shell() + b"\x85",
    "array without its state from the memo": shell()
    + put(0)
    + put(1)
    + items(integer(1), shape(1), F8, b"\x89", EIGHT)
    + b"b"
    + get(0)
    + b"\x86",
    "array state of version 2": array(shape(1), F8, EIGHT, version=2),
    "array order of 7": array(shape(1), F8, EIGHT, fortran=b"K\x07"),
    "array of a list": array(shape(1), F8, b"]"),
    "array of None": array(shape(1), F8, b"N"),
    "array of an array": array(shape(1), F8, array(shape(1), F8, EIGHT)),
    "array of text beyond latin-1": array(shape(1), F8, unicode("abcdefg\u20ac")),
    "array of dtype None": array(shape(1), b"N", EIGHT),
    "array with too few bytes": array(shape(2), F8, EIGHT),
    "array with too many bytes": array(shape(1), F8, string(bytes(9))),
    "array that is empty, with bytes": array(shape(0), F8, EIGHT),
    "array of 2^40 rows": array(shape(HUGE), F8, EIGHT),
    "array whose size overflows": array(shape(1 << 32, 1 << 32), F8, EIGHT),
    "array that is empty, of 2^80 items": array(shape(0, HUGE, HUGE), F8, string(b"")),
    "array of a negative size": array(shape(-1), F8, EIGHT),
    "array of two negative sizes": array(shape(-1, -1), F8, EIGHT),
    "array of size True": array(b"\x88\x85", F8, EIGHT),
    "array of size 1.0": array(b"G?\xf0\x00\x00\x00\x00\x00\x00\x85", F8, EIGHT),
    "array of 33 dimensions": array(shape(*[1] * 33), F8, EIGHT),
    "array of 100,000 dimensions": array(b"(" + b"K\x01" * 100_000 + b"t", F8, EIGHT),
    "array whose shape is a list": array(b"](K\x01e", F8, EIGHT),
    "array of 4 GiB by _reconstruct": shell(sizes=shape(1 << 29)),
    "array of another class": shell(kind=named("numpy", "dtype")),
    "bool array of bytes 7": array(shape(8), dtype("b1"), string(b"\x07" * 8)),
    "scalar without data": scalar(F8),
    "scalar V2000000000, three times": b"(" + scalar(dtype("V2000000000", state("|"))) * 3 + b"l",
    "scalar of too few bytes": scalar(F8, string(bytes(4))),
    "_frombuffer with an order of its own": from_buffer(EIGHT, F8, shape(1), unicode("A")),
    "_frombuffer with repeated axes": from_buffer(EIGHT, F8, shape(1, 1), unicode("K"), shape(0, 0)),
    "_frombuffer with missing axes": from_buffer(EIGHT, F8, shape(1, 1), unicode("K"), shape(0)),
    "_frombuffer with axes of None": from_buffer(EIGHT, F8, shape(1), unicode("K"), b"N\x85"),
    "_frombuffer without an order": from_buffer(EIGHT, F8, shape(1)),
}

ENCODE, BIG = named("_codecs", "encode"), 1 << 20
ENCODED = ENCODE + put(0) + unicode("a" * BIG) + put(1) + unicode("latin1") + put(2) + b"\x86R"
WIDE = array(shape(BIG // 8), dtype("f8", state(">")) + put(0), string(bytes(BIG)) + put(1))
COSTLY = {
    "bytes(10^9)": call(named("__builtin__", "bytes"), integer(10**9)),
    "bytes of a list": call(named("builtins", "bytes"), b"]"),
    "hex, doubled 34 times": ENCODE * 34 + unicode("aa") + (unicode("hex") + b"\x86R") * 34,
    **{f"codec {codec}": encode(unicode("a"), codec) for codec in ["utf-8", "zlib", "bz2", "rot13", "idna", "\x00"]},
    "one string encoded 2,000 times": b"(" + ENCODED + (get(0) + get(1) + get(2) + b"\x86R") * 1_999 + b"l",
    "one big-endian string in 2,000 arrays": b"(" + WIDE + array(shape(BIG // 8), get(0), get(1)) * 1_999 + b"l",
    "empty dicts, a flood": b"](" + b"}" * MANY + b"e",
    "empty lists, a flood": b"](" + b"]" * MANY + b"e",
    "tuples, a flood": b"](" + b"N\x85" * 400_000 + b"e",
    "nested tuples, as a dict key": b"})" + b"\x85" * 900_000 + b"Ns",
    "nested tuples": b")" + b"\x85" * 900_000,
    "nested tuples, 33 deep": b")" + b"\x85" * 32,
    "nested lists": b"]" * 450_000 + b"a" * 449_999,
    "nested dicts": b"}" + b"K\x01}" * 200_000 + b"s" * 200_000,
    "lists that double 30 times": b"(]"
    + put(0)
    + b"".join(b"(" + get(i) * 2 + b"l" + put(i + 1) for i in range(30))
    + b"l",
    "list of 100,000 numbers, 100 times": b"((" + b"N" * 100_000 + b"l" + put(0) + get(0) * 99 + b"l",
    "EMPTY_SET, a flood": b"](" + b"\x8f" * MANY + b"e",
    "FROZENSET": b"(K\x01\x91",
    "ADDITEMS": b"](K\x01\x90",
    "DUP, a flood": b"N(" + b"2" * MANY + b"l",
    "POP, a flood": b"N0" * MANY + b"N",
    "MARK, a flood": b"(" * 1_200_000,
    "values, a flood": b"(" + b"N" * 1_200_000 + b"l",
    "MEMOIZE, a flood": b"N" + b"\x94" * 1_200_000,
    "GLOBAL, a flood": b"(" + named("numpy", "dtype") * 100_000 + b"l",
    "LONG_BINPUT 2^31-1": b"N" + put((1 << 31) - 1),
    "PUT of 90 digits": b"Np" + b"9" * 90 + b"\n",
    "PUT below zero": b"Np-1\n",
    "PUT twice": b"N" + put(0) + put(0),
    "GET of nothing": get(7),
    "int keys that collide": b"}(" + b"".join(integer(i * ((1 << 61) - 1)) + b"N" for i in range(30_000)) + b"u",
    "int of 100,000 digits": b"I" + b"9" * 100_000 + b"\n",
    "int of 4,300 digits, LONG": b"L" + b"9" * 4_300 + b"L\n",
    "int beyond uint64": integer(1 << 64),
    "int below int64": integer(-(1 << 63) - 1),
    "LONG4 of 1 MB": b"\x8b" + struct.pack("<I", BIG) + b"\x7f" * BIG,
    "LONG4 of a negative size": b"\x8b\xff\xff\xff\xff",
    "text key of 1,001 characters": b"}" + unicode("a" * 1_001) + b"Ns",
    "bytes key of 1,001 bytes": b"}" + string(b"a" * 1_001) + b"Ns",
    **{
        f"dict key {text}": b"}" + key + b"Ns"
        for text, key in {
            "None": b"N",
            "True": b"\x88",
            "float": b"G" + bytes(8),
            "tuple": b")",
            "list": b"]",
            "array": array(shape(1), F8, EIGHT),
            "scalar": scalar(F8, EIGHT),
            "global": named("numpy", "dtype"),
            "uint64": integer(1 << 63),
        }.items()
    },
    "dict key twice": b"}(" + (unicode("a") + b"N") * 2 + b"u",
    "dict key twice, in two updates": b"}" + (unicode("a") + b"Ns") * 2,
}

CYCLES = {
    "list in itself": b"]" + put(0) + get(0) + b"a",
    "list in itself, after items": b"]" + put(0) + b"(NNe" + get(0) + b"a",
    "dict in itself": b"}" + put(0) + unicode("a") + get(0) + b"s",
    "two lists in each other": b"]" + put(0) + b"]" + put(1) + get(0) + b"aa",
    "list and dict in each other": b"]" + put(0) + b"}" + unicode("a") + get(0) + b"sa",
    "tuple of a list that holds it": b"]" + put(0) + get(0) + b"\x85" + put(1) + b"a",
    "list extended after its use": b"(]" + put(0) + get(0) + b"Nal",
}

FRAME, HIDDEN = b"\x80\x04\x95", CODE["GLOBAL os.system"] + b"."
FORM = {
    "empty file": b"",
    "not a pickle": b"\x93NUMPY\x01\x00",
    "gzip of a pickle": gzip.compress(b"N.", mtime=0),
    "text": b"sepal_length,sepal_width\n5.1,3.5\n.",
    "STOP alone": b".",
    "no STOP": b"N",
    "bytes after STOP": b"N.N",
    "second pickle after STOP": b"\x80\x02N." + CODE["GLOBAL os.system"] + b".",
    "newline after STOP": b"N.\n",
    "two values at STOP": b"NN.",
    "mark at STOP": b"(N.",
    "protocol 6": b"\x80\x06N.",
    "protocol in mid-file": b"N\x80\x02.",
    "opcode 0xff": b"\xff.",
    "BINBYTES8 2^40": b"\x80\x04\x8e" + struct.pack("<Q", HUGE) + b"abc.",
    "BINBYTES8 2^64-1": b"\x80\x04\x8e" + b"\xff" * 8 + b"abc.",
    "BYTEARRAY8 2^40": b"\x80\x05\x96" + struct.pack("<Q", HUGE) + b"abc.",
    "BINUNICODE8 2^40": b"\x80\x04\x8d" + struct.pack("<Q", HUGE) + b"abc.",
    "BINUNICODE 2^32-1": b"X\xff\xff\xff\xffabc.",
    "BINBYTES 2^32-1": b"B\xff\xff\xff\xffabc.",
    "BINSTRING of a negative size": b"T\xff\xff\xff\xffabc.",
    "FRAME longer than the file": FRAME + struct.pack("<Q", 100) + b"N.",
    "FRAME in a FRAME": FRAME + struct.pack("<Q", 11) + FRAME[2:] + struct.pack("<Q", 2) + b"N.",
    "FRAME that ends in an opcode": FRAME + struct.pack("<Q", 3) + b"C\x04abcd.",
    "FRAME that ends in a number": FRAME + struct.pack("<Q", 2) + b"J\x01\x00\x00\x00.",
    "FRAME that ends in a line": FRAME + struct.pack("<Q", 2) + b"I1\n.",
    # https://github.com/python/cpython/issues/154848: one reader sees a string, another the opcodes in it.
    "FRAME that hides opcodes in a string": FRAME + struct.pack("<QcI", 5, b"B", len(HIDDEN)) + HIDDEN + b".",
    "string without quotes": b"Saba\n.",
    "string with one quote": b"S'abc\n.",
    "string of one quote": b"S'\n.",
    "string of no quote": b"S\n.",
    "string with half an escape": b"S'\\x4'\n.",
    "unicode with half an escape": b"V\\u12\n.",
    "UTF-8 that is not": b"X\x02\x00\x00\x00\xff\xfe.",
    "UTF-8 that is cut": b"X\x01\x00\x00\x00\xc3.",
    "line without end": b"I12345",
    "int of no digits": b"I\n.",
    "int of letters": b"Iabc\n.",
    "int of bytes": b"I\xff\xfe\n.",
    "float of letters": b"Fabc\n.",
    "global of one line": b"cnumpy\n.",
    "dict of an odd number of items": b"(Nd.",
    "update of an odd number of items": b"}(Nu.",
    "APPEND to a number": b"K\x01Na.",
    "APPENDS to a dict": b"}(NNe.",
    "SETITEM in a list": b"]NNs.",
    **{
        f"stack too short for {code!a}": code + b"."
        for code in [bytes([c]) for c in b"RbatldeusqrpQ0o\x81\x85\x86\x87\x94\x93"]
    },
    "value below a mark": b"K\x01(\x85.",
}

HOSTILE = {
    f"{case}": file + b"."
    for group in (CODE, FOREIGN, REFERENCES, ARRAYS, COSTLY, CYCLES)
    for case, file in group.items()
}
CODE = {case: HOSTILE[case] for case in CODE}
HOSTILE |= FORM
