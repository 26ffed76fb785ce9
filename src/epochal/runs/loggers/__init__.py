"""Logging tools beside the run's own history: TensorBoard, MLflow, Weights & Biases, Trackio, each in an extra.

Each tool is one function in a module of its name, imported when it is needed: a generator that takes points.

    training = epochal.train(model, data, recipe)
    with Log("curves", training, ["tensorboard"]) as log:
        for epoch in log.follow(training):
            print(epoch)
        log.test(training.fit().test())
"""

import logging
import uuid
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Self, TypeVar, get_args

from epochal.errors import RecipeError, RunError, StorageError, option
from epochal.runs.loggers.story import Consumer, Curves, Point, Seen, Story, tested
from epochal.runs.schema import ModelRecord
from epochal.system import atomic, extras, json_file, trust
from epochal.system.plain_files import exists, reason
from epochal.system.schema import anything, fields, listed, mapping, matching, one_of, whole
from epochal.training.progress import Epoch, Progress
from epochal.training.score import Score
from epochal.training.training import Training

Tool = Literal["tensorboard", "mlflow", "wandb", "trackio"]
NAME = "logs.json"
Item = TypeVar("Item", Epoch, Progress)
log = logging.getLogger("epochal")


def check(tools: Iterable[str]) -> None:
    """Raise RecipeError for a tool that there is not, or that is not installed. Imports nothing."""
    for tool in tools:
        if tool not in get_args(Tool):
            raise RecipeError(f"--log {tool}: there is no such tool, only {', '.join(get_args(Tool))}")
        if lacking := extras.missing(tool):
            raise RecipeError(
                f"--log {tool}: needs {' and '.join(lacking)}, not installed here; {extras.install(tool)}"
            )


def kept(folder: Path, *, trusted: bool = False) -> list[str]:
    """The tools that the log in `folder` was written to.

    Raises RunError where no run of this user has named them, unless they are `trusted`: they are programs that write
    elsewhere, some of them over the network.
    """
    if not exists(folder / NAME):
        return []
    memory = _memory(folder)
    if memory["tools"] and not trusted and (objection := _objection(memory)):
        raise RunError(
            f"{folder}: to go on with its log, {' and '.join(memory['tools'])} would be written to, which {NAME} "
            f"names; {NAME} {objection}\nnothing was written; {option('trust', True)} writes to them, and without "
            f"{NAME} the run goes on with no log"
        )
    return memory["tools"]


class Log:
    """Sends a training's curves to tools. `folder` keeps what a resumed run needs to go on with the same log.

    Values that a store has already are not sent again, so that a run which repeats some updates after a kill has every
    step once. A tool that fails while training goes on is left out with a warning: no run ends for its log.
    """

    def __init__(self, folder: str | Path, training: Training, tools: Sequence[str]):
        """Open the tools' stores. Raises RecipeError for a tool that is missing, or cannot be opened."""
        check(tools)
        folder = Path(folder)
        self._training, self._folder = training, folder
        self._curves = Curves(training.recipe, training.steps_per_epoch, len(training.data.valid))
        self._memory = _memory(folder)
        if tools and _objection(self._memory):  # whoever has sent it names no tools beside those given now
            self._memory["tools"] = []
        self._memory["tools"] = list(dict.fromkeys([*self._memory["tools"], *tools]))
        self._consumers: dict[str, tuple[Consumer, Seen | None]] = {}
        if not tools:
            return
        folder.mkdir(parents=True, exist_ok=True)
        self._remember()
        name = folder.resolve().name
        parameters = ModelRecord.of(training.model).options | training.recipe.to_dict()
        story = Story(self._memory["id"], name, folder, {"data": training.data.source} | parameters)
        for tool in dict.fromkeys(tools):
            self._open(tool, story)
        for epoch in training.epochs:
            self._tell(epoch)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def follow(self, items: Iterable[Item]) -> Iterator[Item]:
        """Pass on a training, or its progress, and send every epoch to the tools."""
        for item in items:
            epoch = item.epoch if isinstance(item, Progress) else item
            if epoch is not None:
                self._tell(epoch)
            yield item

    def test(self, score: Score) -> None:
        """Tell the tools the final test score."""
        self._send(tested(self._training.step, score))

    def close(self) -> None:
        """End the log; what is in it stays."""
        for tool in list(self._consumers):
            consumer, _ = self._consumers.pop(tool)
            try:
                consumer.close()
            except Exception as error:
                log.warning("--log %s: could not be closed: %s", tool, error)

    def _open(self, tool: str, story: Story) -> None:
        try:
            consumer: Consumer = import_module(f"epochal.runs.loggers.{tool}").consume(story)
            self._consumers[tool] = consumer, next(consumer)
        except Exception as error:
            self.close()
            raise RecipeError(
                f"--log {tool}: cannot be opened: {error}; mend that, or leave --log {tool} out"
            ) from None

    def _tell(self, epoch: Epoch) -> None:
        for point in self._curves.points(epoch) if self._consumers else ():
            self._send(point)

    def _send(self, point: Point) -> None:
        for tool, (consumer, seen) in list(self._consumers.items()):
            new = {name: value for name, value in point.values.items() if not self._has(tool, seen, name, point.step)}
            if not new:
                continue
            try:
                consumer.send(Point(point.step, new))
            except Exception as error:  # of whatever kind a tool's library has; the run is worth more than its log
                log.warning("--log %s: failed at step %s, and is left out from here: %s", tool, point.step, error)
                del self._consumers[tool]
                continue
            if seen is None:
                self._memory["last"].setdefault(tool, {}).update(dict.fromkeys(new, point.step))
                self._remember()

    def _has(self, tool: str, seen: Seen | None, name: str, step: int) -> bool:
        if seen is None:
            return step <= self._memory["last"].get(tool, {}).get(name, 0)
        return (name, step) in seen

    def _remember(self) -> None:
        if _objection(self._memory):
            self._memory["signature"] = trust.signature(_contacted(self._memory))
        try:
            atomic.write_json(self._folder / NAME, self._memory)
        except OSError as error:
            raise StorageError(f"{self._folder / NAME}: cannot be written: {reason(error)}") from None


def _contacted(memory: dict[str, Any]) -> dict[str, Any]:
    """What the signature covers."""
    return {"contacts": {"tools": list(memory["tools"]), "id": memory["id"]}}


def _objection(memory: dict[str, Any]) -> str | None:
    return trust.objection(_contacted(memory), memory.get("signature"))


def _memory(folder: Path) -> dict[str, Any]:
    try:
        return _MEMORY(json_file.read(folder / NAME), "")
    except FileNotFoundError:
        return {"id": uuid.uuid4().hex[:12], "tools": [], "last": {}, "signature": None}
    except (OSError, ValueError) as error:
        raise RecipeError(f"{folder / NAME}: cannot be read: {reason(error)}; remove it to begin a new log") from None


_MEMORY = fields(
    dict, id=matching(r"[\w-]{1,64}", "letters and digits"), tools=lambda value, key: list(_TOOLS(value, key)),
    last=mapping(mapping(whole())), signature=anything,
)  # fmt: skip
_TOOLS = listed(one_of(*get_args(Tool)))
