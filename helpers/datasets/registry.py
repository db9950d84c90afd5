"""The registry: what is known of each dataset before it is read."""

from __future__ import annotations

from helpers import settings
from helpers.datasets.bundled import BUNDLED
from helpers.datasets.public import PUBLIC
from helpers.datasets.spec import DatasetSpec

__all__ = ["REGISTRY", "spec"]

REGISTRY: dict[str, DatasetSpec] = {entry.name: entry for entry in (*BUNDLED, *PUBLIC)}


def spec(name: str) -> DatasetSpec:
    """Return a dataset's entry, or raise a ValueError with the nearest name."""
    if name not in REGISTRY:
        raise ValueError(f"unknown dataset {name!r}; {settings.nearest(name, REGISTRY)}")
    return REGISTRY[name]
