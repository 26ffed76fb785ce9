"""What a machine can do at most, and the least that a work can take on it: ceilings and floors.

A floor is counted, not measured: the FLOPs of a model's matrix products over the rate of the best product, and the
bytes that must move over the rate of the best copy. Elementwise work, softmax and sums are left out, so that no
implementation can be faster, and a fraction of the floor says how much is left to win.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from math import prod

import jax
import jax.numpy as jnp
import numpy as np

from epochal.errors import RecipeError
from epochal.models import Model
from epochal.models.lenet import image_shape

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
class Layer:
    """A matrix product with weights: at `positions` of each row, `inputs` numbers become `outputs`."""

    positions: int
    inputs: int
    outputs: int

    @property
    def flops(self) -> int:
        """FLOPs of the product for one row: a multiplication and an addition for each weight and position."""
        return 2 * self.positions * self.inputs * self.outputs

    @property
    def parameters(self) -> int:
        """Weights and biases."""
        return (self.inputs + 1) * self.outputs


def layers(model: Model, example_shape: tuple[int, ...], classes: int) -> list[Layer]:
    """The products of a built-in model, in order. Raises RecipeError for a model of another kind."""
    settings, name = model.settings, model.name if model.built_in else None
    if name in ("logistic", "mlp"):
        widths = [prod(example_shape), *settings.get("hidden", ()), classes]
        return [Layer(1, width, following) for width, following in pairwise(widths)]
    if name == "lenet":
        return _lenet_layers(example_shape, settings["kernels"], settings["kernel_size"], settings["hidden"], classes)
    raise RecipeError(f"floor: counted for logistic, mlp and lenet, got the model {model.name!r}")


def _lenet_layers(
    example_shape: tuple[int, ...], kernels: Sequence[int], size: int, hidden: int, classes: int
) -> list[Layer]:
    height, width, channels = image_shape(example_shape)
    found = []
    for count in kernels:
        height, width = height - size + 1, width - size + 1
        found.append(Layer(height * width, size * size * channels, count))
        height, width, channels = height // 2, width // 2, count
    return [*found, Layer(1, height * width * channels, hidden), Layer(1, hidden, classes)]


@dataclass(frozen=True)
class Cost:
    """What an epoch of training cannot do without.

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


def cost(products: Sequence[Layer], rows: int, batch_size: int, row_bytes: int) -> Cost:
    """The cost of an epoch of `rows` rows in minibatches of `batch_size`, each row stored in `row_bytes` bytes."""
    steps = -(-rows // batch_size)
    a_row = sum(2 * layer.flops for layer in products) + sum(layer.flops for layer in products[1:])
    weights = 4 * sum(layer.parameters for layer in products)
    return Cost(rows * a_row, rows * row_bytes, 2 * weights * steps)
