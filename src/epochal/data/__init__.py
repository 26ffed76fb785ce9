"""Read: from a path, a name or objects to three checked, disjoint splits on the host."""

from epochal.system.facade import facade

__getattr__, __dir__, __all__ = facade(
    __name__,
    loading="load",
    options="Reading",
    dataset="Dataset Split",
    sources="",
    rows="Rows",
    table="Table",
    checks="",
    holdout="",
    known_rows="",
    preprocessing="Preprocessing",
    preparation="Preparation",
)
