"""The convolution of this library against the library form and plain patches, in a loop, on one shape after another.

    taskset -c 1 python benchmarks/convolution.py [--rows 500] [--repeats 9]

Times are processor seconds of this process, the least of repeats that are interleaved, so that other work on the
machine disturbs them little; on one core they are what the work takes. Each stands beside the peak of a square product
measured in the same run, and counts only the arithmetic that a convolution needs.
"""

import argparse
import time
from collections.abc import Callable
from importlib.metadata import version
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from epochal.models import conv_pool
from epochal.models.convolution import _by_library
from epochal.models.convolution.geometry import Geometry, geometry

# image, channels, kernel, kernels, stride, padding, pool, whether x wants a gradient
SHAPES = {
    "LeNet's first, 5×5, 1 to 20": (28, 1, 5, 20, 1, "VALID", 2, False),
    "LeNet's second, 5×5, 20 to 50": (12, 20, 5, 50, 1, "VALID", 2, True),
    "3×3, 64 to 64 on 32×32": (32, 64, 3, 64, 1, "SAME", 1, True),
    "3×3, 64 to 128, stride 2": (32, 64, 3, 128, 2, "SAME", 1, True),
    "1×1, 64 to 128 on 16×16": (16, 64, 1, 128, 1, "VALID", 1, True),
}
LOOP = 2


def plain_patches(x: Array, kernel: Array, found: Geometry) -> Array:
    """Patches of all rows as one array, by concatenation, and the library's gradients of that."""
    (kh, kw, channels, out), (h, w), (sh, sw) = kernel.shape, found.convolved, found.stride
    x = jnp.pad(x, ((0, 0), *found.padding, (0, 0)))
    tall, wide = (h - 1) * sh + 1, (w - 1) * sw + 1
    seen = [x[:, i : i + tall : sh, j : j + wide : sw] for i in range(kh) for j in range(kw)]
    y = jnp.concatenate(seen, axis=-1).reshape(-1, kh * kw * channels) @ kernel.reshape(-1, out)
    (ph, pw), (oh, ow) = found.pool, found.out
    return y.reshape(-1, h, w, out)[:, : oh * ph, : ow * pw].reshape(-1, oh, ph, ow, pw, out).max((2, 4))


def processor_seconds(function: Callable[..., Any], *arguments: Any) -> float:
    begun = time.process_time()
    jax.block_until_ready(function(*arguments))
    return time.process_time() - begun


def peak(repeats: int = 5) -> float:
    """Operations a second of a square product in single precision."""
    square, size = jnp.ones((1024, 1024)), 1024
    product = jax.jit(lambda a: a @ a)
    product(square)
    return 2 * size**3 / min(processor_seconds(product, square) for _ in range(repeats))


def loops(function: Callable[[Array, Array], Array], wanted: bool) -> tuple[Callable, Callable]:
    """Forward, and forward and backward, some times in a compiled loop."""

    def forward(x: Array, kernel: Array) -> Array:
        return lax.fori_loop(0, LOOP, lambda i, k: k + 1e-9 * function(x, k).sum(), kernel)

    def both(x: Array, kernel: Array) -> Any:
        def step(i: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
            x, kernel = carry
            y, back = jax.vjp(function, x, kernel)
            to_x, to_kernel = back(y)
            return (x - 1e-9 * to_x if wanted else x), kernel - 1e-9 * to_kernel

        return lax.fori_loop(0, LOOP, step, (x, kernel))

    return jax.jit(forward), jax.jit(both)


def measure(name: str, rows: int, repeats: int) -> None:
    size, channels, taps, out, stride, padding, pool, wanted = SHAPES[name]
    found = geometry((size, size), (taps, taps), stride, padding, 1, pool)
    generator = np.random.default_rng(0)
    x = jnp.asarray(generator.normal(size=(rows, size, size, channels)), jnp.float32)
    kernel = jnp.asarray(generator.normal(size=(taps, taps, channels, out)) / taps, jnp.float32)
    ways = {
        "epochal": loops(lambda x, k: conv_pool(x, k, pool, stride, padding), wanted),
        "patches": loops(lambda x, k: plain_patches(x, k, found), wanted),
        "lax.conv": loops(lambda x, k: _by_library(x, k, found, 1), wanted),
    }
    operations = 2 * rows * prod(found.convolved) * prod(kernel.shape)
    best: dict[tuple[str, int], float] = {}
    limit = 0.0
    for repeat in range(repeats + 1):
        limit = max(limit, peak())
        for way, pair in ways.items():
            for which, function in enumerate(pair):
                if way == "lax.conv" and repeat > 2:
                    continue  # up to a hundred times as long as the others
                seconds = processor_seconds(function, x, kernel) / LOOP
                if repeat:
                    best[way, which] = min(seconds, best.get((way, which), seconds))
    print(f"{name}, {rows} rows; peak {limit / 1e9:.0f} GFLOP/s")
    for way in ways:
        for which, (pass_, count) in enumerate((("forward", 1), ("forward and backward", 3 if wanted else 2))):
            seconds = best[way, which]
            ratio, part = seconds / best["epochal", which], count * operations / seconds / limit
            took = f"{seconds * 1e6 / rows:9.2f} µs a row {ratio:7.2f} × epochal"
            print(f"  {way:<9} {pass_:<21} {took} {part:4.0%} of the peak")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=9)
    arguments = parser.parse_args()
    print(f"jax {version('jax')}, backend {jax.default_backend()}")
    for name in SHAPES:
        measure(name, arguments.rows, arguments.repeats)


if __name__ == "__main__":
    main()
