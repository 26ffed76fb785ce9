"""Many encoded images as one array: a few processes at once, each with some of the rows, and crashes get a name."""

import os
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np

from epochal.errors import DataError
from epochal.sources import isolated
from epochal.sources.pixels import TRANSIENT, Asked

_FIRST = 64  # rows of the first process, which finds out how large images are
_MOST = 4_096  # rows of one process, and …
_BYTES = 128 << 20  # … bytes that it answers with
_PROCESSES = 8
_WORDS = {
    "turned": "turned as their EXIF orientation says",
    "laid": "laid on white where they are not opaque",
    "resized": "resized",
}

Decode = tuple[Callable[..., dict[str, Any]], Callable[[range], list[Any]]]
"""A function for a child, which answers as `pixels.answer` does; its arguments for some rows, after what is asked."""


def decoded(asked: Asked, decode: Decode, place: Callable[[range], str]) -> tuple[np.ndarray, list[str]]:
    """All images, uint8 [rows, height, width] or [rows, height, width, 3], and what was done to them, in words.

    `place` names rows in messages. Raises DataError, for a crash of the decoder too.
    """
    head = _isolated(range(min(_FIRST, asked.rows)), asked, decode, place)
    asked = replace(asked, first=tuple(head["first"]))
    processes = min(os.cpu_count() or 1, _PROCESSES)
    begin, row_bytes = len(head["x"]), head["x"][:1].nbytes
    each = max(1, min(_MOST, _BYTES // row_bytes, -(-(asked.rows - begin) // processes)))
    pieces = [range(first, min(first + each, asked.rows)) for first in range(begin, asked.rows, each)]
    with ThreadPoolExecutor(processes) as pool:
        try:
            answers = pool.map(lambda rows: _isolated(rows, asked, decode, place), pieces)
            x, done = _joined(chain([head], answers), asked.rows)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    x.flags.writeable = False
    notes = [f"{asked.rows:,} images of {x.shape[1]}×{x.shape[2]} pixels (height × width), {_kind(x)}"]
    return x, notes + [f"{done[key]:,} images were {said}" for key, said in _WORDS.items() if done[key]]


def _kind(x: np.ndarray) -> str:
    return "grey" if x.ndim == 3 else "rgb"


def _joined(answers: Iterable[dict[str, Any]], rows: int) -> tuple[np.ndarray, Counter[str]]:
    """The answers of several processes as one; grey images get three channels once one with colours comes."""
    out, done, end = np.empty((0, 0, 0), np.uint8), Counter[str](), 0
    for answer in answers:
        x = answer["x"]
        if x.ndim > out.ndim or not end:
            room = np.empty((rows, *x.shape[1:]), np.uint8)
            if end:
                room[:end] = out[:end, ..., None]
            out = room
        begin, end = end, end + len(x)
        out[begin:end] = x[..., None] if x.ndim < out.ndim else x
        done += Counter(answer["done"])
    return out, done


def _isolated(rows: range, asked: Asked, decode: Decode, place: Callable[[range], str]) -> dict[str, Any]:
    """The answer of one process; where it crashes, of two for half the rows each, until one row has the blame."""
    function, arguments = decode
    where, memory, seconds = place(rows), asked.limit + asked.most_pixels * TRANSIENT, 60 + 2 * len(rows)
    try:
        told = arguments(rows)
        return isolated.call(function, asked.plain(), *told, where=where, memory_bytes=memory, seconds=seconds)
    except DataError as error:
        if len(rows) == 1 or not str(error).startswith(f"{where}: "):
            raise
    half = len(rows) // 2
    a = _isolated(rows[:half], asked, decode, place)
    b = _isolated(rows[half:], replace(asked, first=tuple(a["first"])), decode, place)
    x, done = _joined([a, b], len(rows))
    return {"x": x, "done": done, "first": a["first"]}
