"""Place rows on the device, and run compiled loops over them: the only `device_put`, `jit` and fetch."""

from epochal.system.facade import facade

__getattr__, __dir__, __all__ = facade(
    __name__,
    plan="Plan Plans",
    compiled="run_steps sum_rows map_rows",
    placement="put fetch agree",
    chunked="",
    residency="Residency",
    scaling="",
    shared="shared_dataset",
)
