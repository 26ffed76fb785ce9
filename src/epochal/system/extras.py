"""Optional dependencies (extras), and whether they are installed. Imports none of them."""

from importlib.util import find_spec

EXTRAS: dict[str, tuple[str, ...]] = {
    "cuda": ("jax_cuda13_plugin",),
    "onnx": ("onnx", "onnxruntime"),
    "optuna": ("optuna",),
    "tensorboard": ("tensorboard",),
    "mlflow": ("mlflow", "sqlalchemy", "alembic"),
    "wandb": ("wandb",),
    "trackio": ("trackio",),
    "flax": ("flax",),
    "equinox": ("equinox",),
}
"""What must be importable for each extra of the package."""

_PACKAGES = {"cuda": "jax[cuda13]", "mlflow": "mlflow-skinny sqlalchemy alembic"}


def install(extra: str) -> str:
    """The command that installs what an extra needs, wherever epochal itself was installed from.

    >>> install("onnx"), install("cuda")
    ('pip install onnx onnxruntime', "pip install 'jax[cuda13]'")
    """
    packages = _PACKAGES.get(extra, " ".join(EXTRAS[extra]))
    return f"pip install '{packages}'" if "[" in packages else f"pip install {packages}"


def missing(extra: str) -> list[str]:
    """The modules of an extra that cannot be imported."""
    return [name for name in EXTRAS[extra] if find_spec(name) is None]
