"""Many encoded images as one array: a few processes at once, each with some of the rows, and crashes get a name."""

import os
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.metadata import version
from itertools import islice
from typing import Any

import numpy as np

from epochal.data.rows import Rows
from epochal.data.sources.images.buffer import ImageBuffer, with_channels
from epochal.data.sources.images.decoder import TRANSIENT, ImageSpec
from epochal.errors import DataError
from epochal.system import isolated

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


def decoded(
    spec: ImageSpec, decode: Decode, place: Callable[[range], str], key: Callable[[], Any] | None = None
) -> tuple[Rows, list[str]]:
    """All images, uint8 [rows, height, width] or [rows, height, width, 3], and what was done to them, in words.

    `place` names rows in messages. `key` tells the images from all others: rows that take more than the limit are then
    kept in a file of the cache. Raises DataError, for a crash of the decoder too.
    """
    spec = replace(spec, may_overflow=key is not None)
    head = _isolated(range(min(_FIRST, spec.rows)), spec, decode, place)
    spec = replace(spec, first=tuple(head["first"]))
    with ImageBuffer(spec.rows, spec.limit, key and _with_version(key, spec)) as room:
        if not room.add(head):
            _fill(room, spec, decode, place, head["x"])
        x, done, notes = room.closed()
    said = [f"{spec.rows:,} images of {x.shape[1]}×{x.shape[2]} pixels (height × width), {_kind(x)}"]
    return x, said + [f"{done[key]:,} images were {what}" for key, what in _WORDS.items() if done[key]] + notes


def _fill(room: ImageBuffer, spec: ImageSpec, decode: Decode, place: Callable[[range], str], head: np.ndarray) -> None:
    """Decode the images behind the head, as many processes at once as there are cores, never far ahead."""
    processes = min(os.cpu_count() or 1, _PROCESSES)
    begin, row_bytes = len(head), head[:1].nbytes
    most = min(_BYTES, spec.limit // (4 * processes)) if spec.rows * row_bytes > spec.limit else _BYTES
    each = max(1, min(_MOST, most // row_bytes, -(-(spec.rows - begin) // processes)))
    pieces = iter([range(first, min(first + each, spec.rows)) for first in range(begin, spec.rows, each)])
    with ThreadPoolExecutor(processes) as pool:
        try:
            ahead = deque(pool.submit(_isolated, rows, spec, decode, place) for rows in islice(pieces, processes))
            while ahead:
                answer = ahead.popleft().result()
                ahead.extend(pool.submit(_isolated, rows, spec, decode, place) for rows in islice(pieces, 1))
                if room.add(answer):
                    break
        finally:
            pool.shutdown(cancel_futures=True)


def _with_version(key: Callable[[], Any], spec: ImageSpec) -> Callable[[], Any]:
    """Another version of Pillow may decode or resize to other pixels."""
    return lambda: [key(), spec.size, spec.color, version("pillow")]


def _kind(x: Rows) -> str:
    return "grey" if x.ndim == 3 else "rgb"


def _isolated(rows: range, spec: ImageSpec, decode: Decode, place: Callable[[range], str]) -> dict[str, Any]:
    """The answer of one process; where it crashes, of two for half the rows each, until one row has the blame."""
    function, arguments = decode
    where, memory, seconds = place(rows), spec.limit + spec.most_pixels * TRANSIENT, 60 + 2 * len(rows)
    try:
        more = arguments(rows)
        return isolated.call(function, spec.plain(), *more, where=where, memory_bytes=memory, seconds=seconds)
    except DataError as error:
        if len(rows) == 1 or not str(error).startswith(f"{where}: "):
            raise
    half = len(rows) // 2
    a = _isolated(rows[:half], spec, decode, place)
    b = _isolated(rows[half:], replace(spec, first=tuple(a["first"])), decode, place)
    x, y = with_channels(a["x"], b["x"].ndim), with_channels(b["x"], a["x"].ndim)
    return {"x": np.concatenate([x, y]), "done": Counter(a["done"]) + Counter(b["done"]), "first": a["first"]}
