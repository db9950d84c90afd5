"""A copy of the project in a folder of its own, built once a test session under the smoke profile."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LEFT_OUT = (".git", ".venv", "_build", ".pytest_cache", ".ruff_cache", ".hypothesis", "__pycache__")


@dataclasses.dataclass(frozen=True)
class BuiltBook:
    """The copy, and what its first build printed."""

    root: Path
    output: str
    status: int


def copy_project(target: Path) -> Path:
    """Copy what a clone would hold (and what is not committed yet), without anything built."""
    shutil.copytree(ROOT, target, ignore=shutil.ignore_patterns(*LEFT_OUT))
    return target


def run_book(root: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
    """Run the book's command line in the copy, with the copy's own helpers."""
    environment = {name: value for name, value in os.environ.items() if name != "EMBEDDING_BOOK_MIRROR"} | variables
    return subprocess.run(
        [sys.executable, "-m", "helpers.runner", *arguments],
        cwd=root,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def build(target: Path) -> BuiltBook:
    """Copy and build."""
    root = copy_project(target)
    result = run_book(root, "book", "--profile", "smoke")
    return BuiltBook(root, result.stdout, result.returncode)
