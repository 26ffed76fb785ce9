"""The roofline of a machine: the ceilings of its arithmetic and memory, and the least time that a workload can take.

A floor is counted, not measured: the FLOPs of a model's matrix products over the rate of the best product, and the
bytes that must move over the rate of the best copy. Elementwise work, softmax and sums are left out, so that no
implementation can be faster, and a fraction of the floor says how much is left to win.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from epochal.errors import RecipeError
from epochal.models.base import Model
from epochal.models.jaxpr import operations

PRODUCTS = ((512, 512, 512), (1024, 1024, 1024), (2048, 2048, 2048), (4096, 784, 512))
"""Shapes m, k, n of the products that the peak is looked for among."""

COPIES = {"cache": 4 << 20, "memory": 256 << 20}
"""Bytes of the arrays copied: one that stays in the last cache of most machines, one that does not."""


@dataclass(frozen=True)
class Ceilings:
    """The best of a machine: float32 products in FLOP/s, copies in bytes read and written a second."""

    flops: float
    cache_bytes: float
    memory_bytes: float

    def best(self, other: "Ceilings") -> "Ceilings":
        """The higher of both, ceiling by ceiling: load from elsewhere only ever lowers one."""
        return Ceilings(*(max(pair) for pair in zip(asdict(self).values(), asdict(other).values(), strict=True)))


def measure(seconds: float = 0.3) -> Ceilings:
    """The ceilings of the default device, each the best of repeats that take about `seconds` a shape."""
    generator = np.random.default_rng(0)
    flops = 0.0
    for m, k, n in PRODUCTS:
        a, b = (generator.standard_normal(shape, np.float32) for shape in ((m, k), (k, n)))
        on_device = jnp.asarray(a), jnp.asarray(b)
        ways: list[Callable[[], object]] = [lambda p=on_device: jnp.matmul(*p).block_until_ready()]
        if jax.default_backend() == "cpu":
            ways.append(lambda p=(a, b): np.matmul(*p))
        flops = max(flops, 2 * m * k * n / min(_fastest(way, seconds) for way in ways))
    copies = []
    for size in COPIES.values():
        host = np.ones(size // 4, np.float32)
        device, target = jnp.asarray(host), np.empty_like(host)
        ways = [lambda x=device: jnp.negative(x).block_until_ready()]  # XLA copies with one core, but negates with all
        if jax.default_backend() == "cpu":
            ways.append(lambda t=target, s=host: np.copyto(t, s))
        copies.append(2 * size / min(_fastest(way, seconds) for way in ways))
    return Ceilings(flops, *copies)


def _fastest(work: Callable[[], object], seconds: float) -> float:
    """Seconds of the fastest of repeats within `seconds`, three at least, after one to warm up."""
    work()
    best, begun, repeats = float("inf"), time.perf_counter(), 0
    while repeats < 3 or time.perf_counter() - begun < seconds:
        start = time.perf_counter()
        work()
        best, repeats = min(best, time.perf_counter() - start), repeats + 1
    return best


@dataclass(frozen=True)
class Cost:
    """The least work of an epoch of training.

    `flops` are those of the products: for each row one product forward, one for the gradient of the weights, and, but
    for the first layer, one for the gradient of the layer's input. `row_bytes` are the stored rows, read once, and
    `weight_bytes` the float32 parameters, read once and written once in each step.
    """

    flops: int
    row_bytes: int
    weight_bytes: int

    def floor(self, ceilings: Ceilings) -> float:
        """Seconds: the longer of arithmetic and traffic, as if each hid behind the other.

        Rows come from memory. Weights come from the cache, the faster of the two: the floor may only be too low.
        """
        traffic = self.row_bytes / ceilings.memory_bytes + self.weight_bytes / ceilings.cache_bytes
        return max(self.flops / ceilings.flops, traffic)


def cost(
    model: Model, example_shape: tuple[int, ...], classes: int, rows: int, batch_size: int, row_bytes: int
) -> Cost:
    """The cost of an epoch of `rows` rows in minibatches of `batch_size`, each row stored in `row_bytes` bytes.

    Raises RecipeError for a model that is not built in: it may have products without weights.
    """
    if not model.built_in:
        raise RecipeError(f"floor: counted for logistic, mlp and lenet, got the model {model.name!r}")
    params = jax.eval_shape(lambda: model.init(jax.random.key(0), example_shape, classes))
    products = _product_flops(model, params, example_shape)
    weights = sum(prod(leaf.shape) for leaf in jax.tree.leaves(params))
    return Cost(rows * (3 * sum(products) - products[0]), rows * row_bytes, 2 * 4 * weights * -(-rows // batch_size))


def _product_flops(model: Model, params: Any, example_shape: tuple[int, ...]) -> list[int]:
    """FLOPs of each product and convolution for one row, in order: two for each multiplication of a sum."""
    (rows,) = export.symbolic_shape("n")
    x = jax.ShapeDtypeStruct((rows, *example_shape), jnp.float32)
    flops = []
    for operation in operations(jax.make_jaxpr(model.logits)(params, x).jaxpr):
        numbers, shapes = operation.params.get("dimension_numbers"), [each.aval.shape for each in operation.invars]
        if operation.primitive.name == "dot_general":
            terms = prod(shapes[0][axis] for axis in numbers[0][0])
        elif operation.primitive.name == "conv_general_dilated":
            terms = prod(shapes[1]) // shapes[1][numbers.rhs_spec[0]]
        else:
            continue
        flops.append(2 * terms * prod(operation.outvars[0].aval.shape[1:]))
    return flops
