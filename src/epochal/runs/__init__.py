"""Keep: the run folder, written so that nothing in it is ever half there; resume it, open it."""

from epochal.system.facade import facade

__getattr__, __dir__, __all__ = facade(
    __name__,
    run="fit resume load_run training_data",
    options="CheckpointOptions",
    schema="Run RunRecord read_record read_run",
    versions="",
    checkpoint="",
    kept_code="",
    code_keeper="",
    writer="RunWriter",
    testing="Opening open_once",
    loggers="",
)
