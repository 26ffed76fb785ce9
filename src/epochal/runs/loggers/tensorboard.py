"""TensorBoard: event files in the folder `tensorboard` of the run; needs neither TensorFlow nor PyTorch."""

import time
from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.plugins.hparams import metadata, plugin_data_pb2
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from epochal.runs.loggers.story import Consumer, Seen, Story
from epochal.system.plain_files import check_folder, is_plain


def consume(story: Story) -> Consumer:
    """Write points as scalars, and the parameters for the HPARAMS view."""
    folder = story.folder / "tensorboard"
    check_folder(folder)
    folder.mkdir(exist_ok=True)
    seen = _seen(folder)
    writer = EventFileWriter(str(folder), flush_secs=2)
    try:
        if not seen:
            writer.add_event(_event(_parameters(story.parameters), 0))
        point = yield seen
        while True:
            values = [summary_pb2.Summary.Value(tag=tag, simple_value=value) for tag, value in point.values.items()]
            writer.add_event(_event(summary_pb2.Summary(value=values), point.step))
            point = yield None
    finally:
        writer.close()


def _event(summary: Any, step: int) -> Any:
    return event_pb2.Event(wall_time=time.time(), step=step, summary=summary)


def _parameters(parameters: dict[str, Any]) -> Any:
    start = plugin_data_pb2.SessionStartInfo(start_time_secs=time.time())
    for name, value in parameters.items():
        if isinstance(value, bool):
            start.hparams[name].bool_value = value
        elif isinstance(value, (int, float)):
            start.hparams[name].number_value = value
        else:
            start.hparams[name].string_value = str(value)
    summary = metadata.create_summary_metadata(plugin_data_pb2.HParamsPluginData(session_start_info=start))
    value = summary_pb2.Summary.Value(
        tag=metadata.SESSION_START_INFO_TAG, metadata=summary, tensor=metadata.NULL_TENSOR
    )
    return summary_pb2.Summary(value=[value])


def _seen(folder: Path) -> Seen:
    """What the event files hold. One that was cut by a kill is read up to the cut."""
    return {
        (value.tag, event.step)
        for path in sorted(folder.glob("events.out.tfevents.*"))
        if is_plain(path)
        for event in EventFileLoader(str(path)).Load()
        for value in event.summary.value
        if value.tag != metadata.SESSION_START_INFO_TAG
    }
