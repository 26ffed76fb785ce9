"""A model's logits as a flat list of array operations, for formats that are not JAX's own.

The model is traced once, for any number of rows. Calls inside it are opened, `lax.platform_dependent` takes its branch
for other platforms, and whatever does not depend on the rows is computed by JAX here and becomes a constant. A few
dozen primitives of `jax.lax` remain, which each format translates one by one.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export
from jax.extend.core import Jaxpr, Literal

from epochal.device import scaling
from epochal.device.placement import precision
from epochal.errors import RunError
from epochal.export.operations import ROWS, Constant, Operand, Operation, Value, is_rows
from epochal.models import parameters
from epochal.models.jaxpr import called
from epochal.training.fitted import Fit

_ALIASES = {"stop_gradient", "copy", "copy_p", "optimization_barrier", "reduce_precision", "sharding_constraint"}


@dataclass(frozen=True)
class Traced:
    """Logits from stored rows: `rows` are [n, *example_shape] in the storage dtype."""

    rows: Value
    operations: tuple[Operation, ...]
    logits: Operand

    def constants(self) -> Iterator[Constant]:
        """Every constant in use, once each."""
        seen = set()
        for operand in (*(each for operation in self.operations for each in operation.inputs), self.logits):
            if isinstance(operand, Constant) and operand.name not in seen:
                seen.add(operand.name)
                yield operand


def stored_dtype(fit: Fit, stored: str) -> np.dtype:
    """The dtype in which an exported model takes rows: integers as they are stored, floats in the compute dtype."""
    try:
        dtype = np.dtype(stored)
    except TypeError:  # bfloat16 and the like
        return np.dtype(fit.recipe.dtype)
    if dtype.kind == "b":
        return np.dtype(np.uint8)
    return np.dtype(fit.recipe.dtype) if dtype.kind == "f" else jax.dtypes.canonicalize_dtype(dtype)


def row_shape(fit: Fit, dtype: np.dtype) -> jax.ShapeDtypeStruct:
    """Stored rows of any number, as JAX's tracing takes them."""
    (rows,) = export.symbolic_shape("n")
    return jax.ShapeDtypeStruct((rows, *fit.program.example_shape), dtype)


def logits_of(fit: Fit, dtype: np.dtype) -> Any:
    """The function (params, stored rows) → logits of a fit, preprocessing in the compiled step included."""
    scale = scaling.terms(fit.divisor, dtype, fit.recipe.dtype)

    def logits(params: Any, stored: jax.Array) -> jax.Array:
        return fit.model.logits(params, scaling.features(stored, jnp.asarray(scale)))

    return logits


def trace(fit: Fit, dtype: np.dtype) -> Traced:
    """The operations of a fit's logits. Raises RunError where a model cannot be traced for any number of rows."""
    with precision(fit.recipe.dtype):
        try:
            return _trace(fit, dtype, row_shape(fit, dtype))
        except RunError:
            raise
        except Exception as error:  # JAX raises several kinds for a shape that it cannot follow; len(x) is one
            first = error
        try:
            traced = _trace(fit, dtype, jax.ShapeDtypeStruct((ROWS, *fit.program.example_shape), dtype))
        except RunError:
            raise
        except Exception:
            raise _no_shape(fit, first) from None
        if any(_counts_rows(each) for each in traced.constants()):
            raise RunError(
                f"export: the model {fit.model.name!r} cannot be traced for any number of rows: it computes with that "
                f"number, as x.mean(axis=0) does; a row's answer must not depend on other rows: take means over rows "
                f"in training only (forward=), and keep them as statistics"
            )
        return traced


def _trace(fit: Fit, dtype: np.dtype, shape: jax.ShapeDtypeStruct) -> Traced:
    closed = jax.make_jaxpr(logits_of(fit, dtype))(fit.params, shape)
    flat = _Flat()
    leaves = [Constant(name, array) for name, array in _in_tree_order(fit.params)]
    rows = Value("x", tuple(closed.in_avals[-1].shape), dtype)  # pyrefly: ignore
    (logits,) = flat.run(closed.jaxpr, closed.consts, [*leaves, rows])
    return Traced(rows, tuple(flat.operations), flat.operand(logits))


def _counts_rows(constant: Constant) -> bool:
    return bool(np.any(constant.array.astype(np.float64) == ROWS)) if constant.dtype.kind in "iuf" else False


def _no_shape(fit: Fit, error: Exception) -> RunError:
    """The error for a model that JAX cannot trace without knowing the number of rows."""
    return RunError(
        f"export: the model {fit.model.name!r} cannot be traced for any number of rows: {str(error).splitlines()[0]}; "
        f"let its shapes depend on x.shape[0] in no other way than as their first dimension"
    )


def _in_tree_order(params: Any) -> list[tuple[str, np.ndarray]]:
    """The parameters by name, in the order in which JAX flattens them."""
    named = parameters.flatten(params)
    places = parameters.unflatten(named, params)
    by_place = {id(array): name for name, array in named.items()}
    return [(by_place[id(leaf)], leaf) for leaf in jax.tree.leaves(places)]


@dataclass
class _Flat:
    """Collects operations. What does not depend on the rows is a Constant, or an array of JAX without a name."""

    operations: list[Operation] = field(default_factory=list)
    count: int = 0
    names: set[str] = field(default_factory=set)

    def run(self, jaxpr: Jaxpr, consts: Any, arguments: list[Any]) -> list[Any]:
        known: dict[Any, Any] = {}
        known.update(zip(jaxpr.constvars, consts, strict=True))
        known.update(zip(jaxpr.invars, arguments, strict=True))
        for equation in jaxpr.eqns:
            inputs = [each.val if isinstance(each, Literal) else known[each] for each in equation.invars]
            outputs = self.equation(equation, inputs)
            known.update(zip(equation.outvars, outputs, strict=True))
        return [each.val if isinstance(each, Literal) else known[each] for each in jaxpr.outvars]

    def equation(self, equation: Any, inputs: list[Any]) -> list[Any]:
        name, params = equation.primitive.name, equation.params
        if name in _ALIASES:
            return inputs
        if name == "platform_index":
            return [np.int32(_other_platform(params["platforms"]))]
        if name == "cond" and not isinstance(inputs[0], Value):
            branch = params["branches"][int(_array(inputs[0]))]
            return self.run(branch.jaxpr, branch.consts, inputs[1:])
        if body := called(equation):
            return self.run(body.jaxpr, body.consts, inputs)
        fixed = not any(isinstance(each, Value) for each in inputs)
        symbolic = any(is_rows(d) for out in equation.outvars for d in getattr(out.aval, "shape", ()))
        if fixed and not symbolic:
            return self.constants(equation, inputs)
        outputs = tuple(self.value(each.aval) for each in equation.outvars)
        self.operations.append(Operation(name, tuple(self.operand(each) for each in inputs), outputs, dict(params)))
        return list(outputs)

    def constants(self, equation: Any, inputs: list[Any]) -> list[Any]:
        """The outputs of an operation that does not depend on the rows, computed here."""
        arrays = [each.array if isinstance(each, Constant) else each for each in inputs]
        outputs = equation.primitive.bind(*arrays, **equation.params)
        outputs = outputs if equation.primitive.multiple_results else [outputs]
        named = [each.name for each in inputs if isinstance(each, Constant)]
        if len(named) == 1 and len(outputs) == 1:
            return [self.named(f"{named[0]}.{equation.primitive.name}", np.asarray(outputs[0]))]
        return list(outputs)

    def named(self, name: str, array: np.ndarray) -> Constant:
        """A constant of that name, with a number behind it where the name is taken."""
        self.count += name in self.names
        name = f"{name}{self.count}" if name in self.names else name
        self.names.add(name)
        return Constant(name, array)

    def value(self, aval: Any) -> Value:
        self.count += 1
        return Value(f"v{self.count}", tuple(aval.shape), np.dtype(aval.dtype))

    def operand(self, each: Any) -> Operand:
        if isinstance(each, Value | Constant):
            return each
        self.count += 1
        return Constant(f"c{self.count}", _array(each))


def _array(each: Any) -> np.ndarray:
    return np.asarray(each.array if isinstance(each, Constant) else each)


def _other_platform(platforms: Any) -> int:
    """The branch of `platform_dependent` for a platform that it does not name, else its last."""
    for index, names in enumerate(platforms):
        if names is None:
            return index
    return len(platforms) - 1
