"""The registry of datasets, and finding one: bundled with the book, in a mirror folder, or on the public hub."""

from helpers.datasets.checks import check_rows
from helpers.datasets.finding import MIRROR_VARIABLE, SOURCES, load
from helpers.datasets.own import read_texts
from helpers.datasets.registry import REGISTRY, spec
from helpers.datasets.spec import DatasetSpec, RemoteFile

__all__ = [
    "MIRROR_VARIABLE",
    "REGISTRY",
    "SOURCES",
    "DatasetSpec",
    "RemoteFile",
    "check_rows",
    "load",
    "read_texts",
    "spec",
]
