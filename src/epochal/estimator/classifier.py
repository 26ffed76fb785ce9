"""The door for scikit-learn: an estimator whose parameters are the recipe's, and which does what `epochal.fit` does."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data  # pyrefly: ignore  # its stubs are of 1.5

from epochal.data import checks
from epochal.data.dataset import Split
from epochal.errors import DataWarning
from epochal.estimator import inputs
from epochal.estimator.parameters import Settings, checked, signature
from epochal.estimator.partial_fit import PartialFit
from epochal.training.progress import Epoch
from epochal.training.tracker import Tracker
from epochal.training.training import Training

SIGNATURE = signature()
_ENDLESS = 2**62  # a patience that never runs out
_SEEDS = 2**31 - 1


class Classifier(ClassifierMixin, BaseEstimator):
    """A classifier in scikit-learn's conventions, trained on the device with early stopping on validation rows.

    `model` is "mlp", "logistic", "lenet", or what `epochal.train` takes; `hidden` and `activation` are the width or
    widths (None: 500) and the activation (None: relu) of mlp and lenet, `kernels` and `kernel_size` the feature maps
    (None: (20, 50)) and the side (None: 5) of lenet's kernels. The other parameters are the fields of
    `Recipe`, with its defaults (None: the default of `Recipe` where it is read; what is given and not read is
    refused), except that scikit-learn's name for `seed` is `random_state` (None: another in every fit), and these.
    Where `fit` is given no validation rows, the `validation_fraction` of the train rows is held out, stratified by
    class; None holds nothing out, trains all epochs and keeps the last parameters; "auto" is 0.1 from 10,000 rows on,
    else None. Features are divided by `divisor` on the device: 255 for pixels kept as uint8. `memory` is what rows may
    take on the device, bytes or text like "2GB".

    X is [rows, features], for lenet also [rows, h, w(, channels)]; float32, or float64 where `dtype` is that; uint8
    stays uint8. `class_weight` is "balanced" or weights by class. Nothing is checked before `fit`.

    Attributes of a fitted one: `classes_`; `n_features_in_` (of images their height: `X.shape[1]`) and
    `feature_names_in_`; `n_iter_`, the epochs done; `loss_curve_` and `validation_curve_`, after each epoch the mean
    loss and the rate of wrong validation rows (NaN where there was none); `best_epoch_` and `best_validation_`, the
    `Score` that chose the parameters (None without validation rows); `stopped_`, "patience", "epochs" or None;
    `params_`, the parameters as host arrays.
    """

    class_weight: Any
    divisor: float
    dtype: str
    random_state: Any
    validation_fraction: Any

    def __init__(self, model: Any = "mlp", **parameters: Any):
        given = SIGNATURE.bind(self, model, **parameters)
        given.apply_defaults()
        vars(self).update({name: value for name, value in given.arguments.items() if name != "self"})

    # scikit-learn finds the parameters of an estimator by the names in the signature of its constructor.
    __init__.__signature__ = SIGNATURE  # pyrefly: ignore

    def fit(self, X: Any, y: Any, sample_weight: Any = None, X_valid: Any = None, y_valid: Any = None) -> "Classifier":
        """Train from the start, and keep the parameters with the fewest wrong validation rows.

        X is [rows, ...], y [rows]: whole numbers, text, booleans. `sample_weight` [rows] times the weight of the row's
        class is what a row counts in the loss, scaled to a mean of 1 over the train rows; rows of weight 0 are left
        out. Validation counts rows whole.
        Raises ValueError or TypeError for input that cannot be used, RecipeError for parameters, CapacityError, and
        DivergedError where the loss becomes NaN or infinite.
        """
        settings = self._settings()
        x, y = self._labelled(X, y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        train = inputs.portion(x, codes.astype(np.int32), sample_weight, self.divisor)
        train = inputs.class_weighed(train, self.class_weight, self.classes_, self._names)
        inputs.check_two_classes(train.y, self.classes_)
        valid, recipe = self._valid(X_valid, y_valid, train), settings.recipe
        if valid is None:
            train, valid = inputs.hold_out(train, self.validation_fraction, recipe.seed)
        if valid is None:
            recipe = replace(recipe, patience_steps=_ENDLESS)
        if note := checks.unscaled(train.x, train.divisor, "X"):
            warnings.warn(note, DataWarning, stacklevel=2)
        data = inputs.dataset(inputs.normalised(train), valid, self._names)
        training = Training(settings.model, data, recipe, settings.memory_bytes)
        for _ in training:
            pass
        self.params_ = training.variables() if valid is None else training.fit().params
        self._program, self._divisor, self._partial_fit = training.loop.program, train.divisor, None
        self.n_iter_, self.loss_curve_, self.validation_curve_ = 0, [], []
        self._note(training.tracker, training.epochs, valid is not None)
        self.stopped_ = training.stopped
        return self

    def partial_fit(
        self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None, X_valid: Any = None, y_valid: Any = None
    ) -> "Classifier":
        """Train one epoch over these rows, on from where the last call, or `fit`, has ended.

        The first call needs all `classes`. Where validation rows are given, the error on them is noted, the best
        parameters are kept, and the patience counts on over the calls: once it has run out, `stopped_` is "patience"
        and a call changes nothing. Else the last parameters are kept. Weights are not scaled, and `epochs` and
        `validation_fraction` are not read; the other parameters are read by the first call.
        Raises what `fit` raises; nothing is then learned from the rows.
        """
        fitted, state = self.__sklearn_is_fitted__(), self._partial_state()
        x, y = self._labelled(X, y, self._program.example_shape if fitted else None)
        if not fitted or classes is not None:
            self.classes_ = inputs.same_classes(classes, self.classes_ if fitted else None)
        train = inputs.portion(x, inputs.numbered(y, self.classes_, "y"), sample_weight, self.divisor)
        inputs.refuse_balanced(self.class_weight)
        train = inputs.class_weighed(train, self.class_weight, self.classes_, self._names)
        valid = self._valid(X_valid, y_valid, train)
        if not state.exhausted:
            epoch = state.update(inputs.dataset(train, valid, self._names), validates=valid is not None)
            if not fitted:
                self.n_iter_, self.loss_curve_, self.validation_curve_ = 0, [], []
            self.params_, self._program, self._divisor = state.variables, state.program, train.divisor
            self._note(state.member, [epoch], valid is not None)
        self._partial_fit, self.stopped_ = state, "patience" if state.exhausted else None
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """p(class | x) of every row, in the order of `classes_`: [rows, classes] in the compute dtype."""
        check_is_fitted(self)
        x = self._checked(X, "no_validation", self._program.example_shape)
        padded = inputs.padded(x)
        placed = self._program.place(Split(padded, np.zeros(len(padded), np.int32), self._divisor))
        return self._program.probabilities(self.params_, placed)[: len(x)]

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of every row, one of `classes_`; of equally probable ones the first."""
        p_y_given_x = self.predict_proba(X)
        return self.classes_[p_y_given_x.argmax(axis=1)]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # pyrefly: ignore
        tags.input_tags.three_d_array = True
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_program")

    @property
    def _names(self) -> tuple[str, ...]:
        return tuple(map(str, self.classes_))

    def _settings(self) -> Settings:
        """The parameters, checked. Raises RecipeError, ValueError."""
        generator = check_random_state(self.random_state)
        # A whole number is the recipe's seed, so that the run can be had without the estimator too.
        seed = self.random_state if isinstance(self.random_state, Integral) else generator.randint(_SEEDS)
        return checked(self.get_params(deep=False), int(seed))

    def _partial_state(self) -> PartialFit:
        """The state of `partial_fit`: of earlier calls, or a new one, with the parameters of `fit` if there was one."""
        if (state := getattr(self, "_partial_fit", None)) is not None:
            return state
        settings = self._settings()
        if not self.__sklearn_is_fitted__():
            return PartialFit(*settings)
        return PartialFit(self._program.step.model, settings.recipe, settings.memory_bytes, self.params_)

    def _labelled(self, X: Any, y: Any, shape: tuple[int, ...] | None = None) -> tuple[np.ndarray, np.ndarray]:
        """X and y as `_checked`. Raises ValueError too for y that is no classification's."""
        x, y = self._checked(X, y, shape)
        check_classification_targets(y)
        return x, y

    def _checked(self, X: Any, y: Any, shape: tuple[int, ...] | None) -> Any:
        """X in its storage dtype, with y if given: of examples of `shape`, or of any, whose names are remembered."""
        dtype = np.dtype(self._program.recipe.dtype if self.__sklearn_is_fitted__() and shape else self.dtype)
        with np.errstate(over="ignore", invalid="ignore"):  # what becomes infinite is refused
            checked = validate_data(self, X, y, reset=shape is None, dtype=[dtype, np.uint8], allow_nd=True)
        inputs.check_shape(checked[0] if isinstance(checked, tuple) else checked, shape)
        return checked

    def _valid(self, X_valid: Any, y_valid: Any, train: Split) -> Split | None:
        """The validation rows that were given. Raises ValueError."""
        if (X_valid is None) != (y_valid is None):
            raise ValueError("X_valid, y_valid: only one of them was given; give both, or neither")
        if X_valid is None:
            return None
        x, y = self._labelled(X_valid, y_valid, train.example_shape)
        return Split(x, inputs.numbered(y, self.classes_, "y_valid"), train.divisor)

    def _note(self, member: Tracker, epochs: Sequence[Epoch], validated: bool) -> None:
        """Add the records of new epochs, the last of `member`, to the curves."""
        best = member.best if validated else None
        self.n_iter_ += len(epochs)
        self.loss_curve_ += [epoch.loss for epoch in epochs]
        self.validation_curve_ += [
            epoch.valid.wrong / epoch.valid.of if validated and epoch.valid else np.nan for epoch in epochs
        ]
        # The member counts its own epochs; there may have been others before.
        self.best_epoch_ = best.epoch + self.n_iter_ - len(member.epochs) if best else None
        self.best_validation_ = best.valid if best else None
