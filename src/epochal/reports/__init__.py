"""Report: what is said of runs and of machines."""

from epochal.system.facade import facade

__getattr__, __dir__, __all__ = facade(
    __name__,
    evaluation="evaluate",
    comparison="compare_runs",
    tutorials="",
    roofline="",
    bench="",
)
