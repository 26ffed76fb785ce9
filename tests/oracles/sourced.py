"""Reading with options as keywords, as most tests want it."""

from typing import Any

from epochal import Reading
from epochal.data import sources
from epochal.data.sources import Raw


def read(source: Any, **options: Any) -> Raw:
    return sources.read(source, Reading(**options))
