"""epochal.Classifier beside scikit-learn's estimators: accuracy on four data sets, and seconds a fit of the same work.

    python benchmarks/estimators.py [--seeds 5] [--rows 20000] [--json FILE]

Accuracy: columns standardised, 70 % of the rows to train with, stratified; the mean over the seeds of split and fit.
Seconds: an MLP with one hidden layer by plain SGD without a penalty, the same rows, minibatches and epochs, for both;
the median of repeats, taken in turn. The first fit of epochal, which compiles, is told apart.
"""

import argparse
import json
import os
import platform
import statistics
import time
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import sklearn.datasets
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import epochal

DATA = ("iris", "wine", "breast_cancer", "digits")
REPEATS = 5


def peers(seed: int) -> dict[str, Any]:
    """Estimators with their defaults, but for the hidden width, which is MLPClassifier's."""
    return {
        "epochal.Classifier": epochal.Classifier(hidden=100, random_state=seed),
        "MLPClassifier": MLPClassifier(random_state=seed),
        "LogisticRegression": LogisticRegression(),
    }


def accuracy(name: str, seed: int) -> dict[str, float]:
    """Test accuracy of each on one split."""
    x, y = getattr(sklearn.datasets, f"load_{name}")(return_X_y=True)
    x, x_test, y, y_test = train_test_split(x, y, test_size=0.3, random_state=seed, stratify=y)
    made = {peer: make_pipeline(StandardScaler(), estimator) for peer, estimator in peers(seed).items()}
    return {peer: pipeline.fit(x, y).score(x_test, y_test) for peer, pipeline in made.items()}


def same_work(batch_size: int, epochs: int, hidden: int) -> dict[str, Any]:
    """The two networks with everything set alike."""
    return {
        "epochal.Classifier": epochal.Classifier(
            hidden=hidden, batch_size=batch_size, epochs=epochs, validation_fraction=None, random_state=0
        ),
        "MLPClassifier": MLPClassifier(
            hidden, solver="sgd", momentum=0, nesterovs_momentum=False, alpha=0, learning_rate_init=0.1,
            batch_size=batch_size, max_iter=epochs, tol=0, n_iter_no_change=epochs + 1, random_state=0,
        ),
    }  # fmt: skip


def seconds(x: np.ndarray, y: np.ndarray, **told: int) -> dict[str, float]:
    """Median seconds of a fit, and those of the first one of epochal."""
    taken: dict[str, list[float]] = {}
    for _ in range(1 + REPEATS):
        for name, estimator in same_work(**told).items():
            begun = time.perf_counter()
            estimator.fit(x, y)
            taken.setdefault(name, []).append(time.perf_counter() - begun)
            assert estimator.n_iter_ == told["epochs"], f"{name} did {estimator.n_iter_} epochs"
    medians = {name: statistics.median(values[1:]) for name, values in taken.items()}
    return medians | {"first fit of epochal": taken["epochal.Classifier"][0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="splits for the accuracies")
    parser.add_argument("--rows", type=int, default=20_000, help="rows of 784 features for the seconds")
    parser.add_argument("--json", help="write the figures to this file")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    versions = {name: version(name) for name in ("epochal", "jax", "scikit-learn", "numpy")}
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"{machine}, " + ", ".join(f"{name} {number}" for name, number in versions.items()))
    told: dict[str, Any] = {"machine": machine, "versions": versions, "accuracy": {}, "seconds": {}}
    for name in DATA:
        found = [accuracy(name, seed) for seed in range(arguments.seeds)]
        told["accuracy"][name] = {peer: statistics.mean(one[peer] for one in found) for peer in found[0]}
        means = "   ".join(f"{peer} {mean:.3f}" for peer, mean in told["accuracy"][name].items())
        print(f"{name:<15}{means}   (mean of {arguments.seeds})")
    digits = sklearn.datasets.load_digits()
    generator = np.random.default_rng(0)
    y = np.arange(arguments.rows) % 10
    large = (generator.normal(size=(10, 784))[y] + generator.normal(size=(len(y), 784))).astype(np.float32)
    works = {
        "digits, 1,797 x 64, hidden 100, batch 20, 20 epochs": (
            (digits.data / 16).astype(np.float32), digits.target, {"batch_size": 20, "epochs": 20, "hidden": 100},
        ),
        f"{len(y):,} x 784, hidden 100, batch 200, 3 epochs": (
            large, y, {"batch_size": 200, "epochs": 3, "hidden": 100},
        ),
        f"{len(y):,} x 784, hidden 500, batch 20, 1 epoch": (large, y, {"batch_size": 20, "epochs": 1, "hidden": 500}),
    }  # fmt: skip
    for work, (x, labels, settings) in works.items():
        told["seconds"][work] = found = seconds(x, labels, **settings)
        print(f"{work}: " + "   ".join(f"{name} {value:.3f} s" for name, value in found.items()))
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    main()
