"""Mutants of good files, for tests which assert that a reader answers every file with a value or with one error."""

import random
from collections.abc import Callable, Iterator

# Bounds of the widths that formats use, as numbers and as text.
EDGES = (0, 1, 2, 7, 8, 127, 128, 255, 256, 2**15 - 1, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)
LONGEST = 1 << 16  # a mutant grows no further, however often its parts are duplicated


def mutants(seeds: list[bytes], count: int, seed: int) -> Iterator[bytes]:
    """`count` mutants of the files in `seeds`, the same ones for the same `seed`; each has 1 to 4 changes."""
    generator = random.Random(seed)
    for _ in range(count):
        data = bytearray(generator.choice(seeds))
        for _ in range(generator.choice((1, 1, 1, 2, 3, 4))):
            generator.choice(CHANGES)(generator, data, seeds)
            del data[LONGEST:]
        yield bytes(data)


def _cut(generator: random.Random, data: bytearray, longest: int = 64) -> slice:
    start = generator.randint(0, len(data))
    return slice(start, min(len(data), start + generator.randint(1, longest)))


def _flip(generator: random.Random, data: bytearray, seeds: list[bytes]) -> None:
    if data:
        data[generator.randrange(len(data))] ^= 1 << generator.randrange(8)


def _replace(generator: random.Random, data: bytearray, seeds: list[bytes]) -> None:
    if data:
        data[generator.randrange(len(data))] = generator.randrange(256)


def _insert(generator: random.Random, data: bytearray, seeds: list[bytes]) -> None:
    place = generator.randint(0, len(data))
    data[place:place] = generator.randbytes(generator.randint(1, 8))


def _delete(generator: random.Random, data: bytearray, seeds: list[bytes]) -> None:
    del data[_cut(generator, data)]


def _truncate(generator: random.Random, data: bytearray, seeds: list[bytes]) -> None:
    del data[generator.randint(0, len(data)) :]


def _duplicate(generator: random.Random, data: bytearray, seeds: list[bytes]) -> None:
    part = _cut(generator, data)
    place = generator.randint(0, len(data))
    data[place:place] = data[part] * generator.choice((1, 1, 2, 50))


def _splice(generator: random.Random, data: bytearray, seeds: list[bytes]) -> None:
    other = bytearray(generator.choice(seeds))
    data[_cut(generator, data)] = other[_cut(generator, other, 512)]


def _cross(generator: random.Random, data: bytearray, seeds: list[bytes]) -> None:
    other = generator.choice(seeds)
    data[generator.randint(0, len(data)) :] = other[generator.randint(0, len(other)) :]


def _number(generator: random.Random, data: bytearray, seeds: list[bytes]) -> None:
    edge, width = generator.choice(EDGES), generator.choice((1, 2, 4, 8))
    number = (edge % 256**width).to_bytes(width, generator.choice(("little", "big")))
    place = generator.randint(0, len(data))
    data[place : place + width] = number


def _digits(generator: random.Random, data: bytearray, seeds: list[bytes]) -> None:
    places = [place for place, byte in enumerate(data) if byte in b"0123456789"]
    if places:
        place = generator.choice(places)
        data[place : place + 1] = str(generator.choice((-1, 1)) * generator.choice(EDGES)).encode()


CHANGES: list[Callable[[random.Random, bytearray, list[bytes]], None]] = [
    _flip,
    _replace,
    _insert,
    _delete,
    _truncate,
    _duplicate,
    _splice,
    _cross,
    _number,
    _digits,
]
