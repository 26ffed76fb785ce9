"""What is compared: the works, and the peers that do them."""

from dataclasses import dataclass
from pathlib import Path

from epochal.models import lenet, mlp
from epochal.reports.bench import WORKS, Work

PEERS_FOLDER = Path(__file__).parent / "peers"


@dataclass(frozen=True)
class Task:
    """A work as the peers get it.

    `kind` is what is measured: steady epochs; a whole process of `epochs` epochs; the time until at most `target`
    percent of the validation rows are wrong, in `epochs` epochs at most. `epochs` of the first kind come after one to
    warm up.
    """

    work: Work
    epochs: int
    kind: str = "epochs"
    data: str = "images"
    target: float | None = None


TASKS = {
    "W1": Task(WORKS["W1"], 10),
    "W2": Task(WORKS["W2"], 2),
    "W3": Task(WORKS["W3"], 5),
    "W4": Task(WORKS["W4"], 1),
    "W5": Task(Work("digits, MLP 64-500-10, batch 20, 30 epochs", mlp(500), 20, 0.1), 30, "process", "digits"),
    "W6": Task(Work("LeNet, batch 100, to 1.0 % on MNIST", lenet((20, 50), 500), 100, 0.1), 30, "target", "mnist", 1.0),
}


@dataclass(frozen=True)
class Peer:
    """A peer: `group` is epochal, resident (PyTorch, tensors resident), usual (the usual way) or other."""

    title: str
    group: str
    cannot: tuple[str, ...] = ()  # models

    def file(self, name: str) -> Path:
        """The peer's program."""
        return PEERS_FOLDER / f"{name}.py"


PEERS = {
    "epochal_": Peer("epochal", "epochal"),
    "torch_eager": Peer("PyTorch, resident, eager", "resident"),
    "torch_compiled": Peer("PyTorch, resident, torch.compile", "resident"),
    "torch_slices": Peer("PyTorch, resident, eager, slices in order (no shuffle)", "other"),
    "torch_loader": Peer("PyTorch, DataLoader", "usual"),
    "lightning_": Peer("Lightning, DataLoader", "usual"),
    "keras_fit": Peer("Keras on JAX, fit", "usual"),
    "keras_steps": Peer("Keras on JAX, steps_per_execution, no metrics", "other"),
    "sklearn_": Peer("scikit-learn, MLPClassifier", "other", ("lenet",)),
    "nnx_step": Peer("Flax NNX, jitted step, NumPy batches", "other"),
    "nnx_cached": Peer("Flax NNX, cached_partial, NumPy batches", "other"),
    "skorch_": Peer("skorch", "other"),
}
