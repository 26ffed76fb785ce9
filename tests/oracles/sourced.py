"""Reading with options as keywords, as most tests want it."""

from typing import Any

from epochal import Reading
from epochal.data import sources
from epochal.data.sources import RawDataset


def read(source: Any, **options: Any) -> RawDataset:
    return sources.read(source, Reading(**options))
