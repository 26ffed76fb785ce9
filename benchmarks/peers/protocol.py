"""What every peer has in common: the job that it is given, the data, and the one JSON line that it prints.

Nothing here is timed or trained. A peer is started as `python PEER.py JOB`, JOB being a JSON object.
"""

import json
import sys
import time
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Job:
    """What to train: plain SGD on the cross-entropy, a new order of the rows each epoch, no penalty."""

    data: str  # .npz with x_train, y_train, x_valid, y_valid (and test): uint8 images, labels 0 …
    divisor: float
    model: str  # logistic, mlp or lenet
    hidden: int
    batch_size: int
    learning_rate: float
    epochs: int
    seed: int = 0
    target: int = -1  # stop as soon as no more validation rows than this are wrong

    @classmethod
    def given(cls) -> "Job":
        """The job on the command line."""
        return cls(**json.loads(sys.argv[1]))

    def splits(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Train and validation rows, float32 features from 0 to 1 and int64 labels, as most users have them."""
        with np.load(self.data) as file:
            x_train, x_valid = (
                file[name].astype(np.float32) / np.float32(self.divisor) for name in ("x_train", "x_valid")
            )
            return x_train, file["y_train"].astype(np.int64), x_valid, file["y_valid"].astype(np.int64)


@dataclass(frozen=True)
class Epoch:
    """Seconds of the updates and of the validation pass, mean loss over the epoch's minibatches, wrong rows."""

    train: float
    valid: float
    loss: float
    wrong: int
    ended: float  # time.time()


class Report:
    """Collects the epochs. `ready` is when imports are done and the data are read."""

    def __init__(self, job: Job):
        self.job, self.ready, self.epochs = job, time.time(), list[Epoch]()

    def epoch(self, train: float, valid: float, loss: float, wrong: int) -> bool:
        """Note an epoch; says whether it was the last one."""
        self.epochs.append(Epoch(float(train), float(valid), float(loss), int(wrong), time.time()))
        return self.reached or len(self.epochs) == self.job.epochs

    @property
    def reached(self) -> bool:
        """Whether the target has been reached."""
        return self.epochs[-1].wrong <= self.job.target

    def print(self, *packages: str, **versions: str) -> None:
        """The JSON line, with the versions of `packages`, and those given."""
        told = {
            "ready": self.ready,
            "epochs": [asdict(epoch) for epoch in self.epochs],
            "reached": self.reached,
            "peak_bytes": peak_bytes(),
            "versions": {"python": sys.version.split()[0]} | {name: version(name) for name in packages} | versions,
        }
        print(json.dumps(told), flush=True)


def peak_bytes() -> int:
    """The most memory that this process has had resident."""
    # Not getrusage: its peak is that of the parent where the parent, larger, forked this process.
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0
