"""A chapter in an empty folder: it fetches the helpers and leaves torch and numpy alone."""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys

import book_copy
import pytest
from conftest import GUARD, ROOT


def git(*arguments, cwd):
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=cwd, check=True, capture_output=True)


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """The project as a git repository of its own: what a reader's Colab would clone."""
    root = book_copy.copy_project(tmp_path_factory.mktemp("source") / "book")
    git("init", "--quiet", cwd=root)
    git("add", "--all", cwd=root)
    git("commit", "--quiet", "--message", "all", cwd=root)
    return root


def fingerprint(package):
    """Version and time of installation: a reinstallation changes the second, whatever version it brings."""
    distribution = importlib.metadata.distribution(package)
    return distribution.version, os.stat(distribution.locate_file(f"{package}/__init__.py")).st_mtime_ns


def run_in(folder, **variables):
    """Execute the first chapter there, without the project on the path of Python."""
    environment = os.environ | {"PYTHONPATH": str(GUARD), "HF_HUB_OFFLINE": "1"} | variables
    command = [sys.executable, "-m", "papermill", "00_setup.ipynb", "out.ipynb", "-p", "profile", "smoke"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_a_chapter_fetches_its_helpers_and_touches_neither_torch_nor_numpy(repository, tmp_path):
    shutil.copy(ROOT / "notebooks" / "00_setup.ipynb", tmp_path)
    before = {package: fingerprint(package) for package in ("torch", "numpy")}
    result = run_in(tmp_path, EMBEDDING_BOOK_REPOSITORY=str(repository))
    assert result.returncode == 0, result.stderr[-3000:]
    assert (tmp_path / "embedding-book" / "helpers" / "settings.py").is_file()
    assert {package: fingerprint(package) for package in before} == before
    cells = json.loads((tmp_path / "out.ipynb").read_text())["cells"]
    assert all(cell["execution_count"] for cell in cells if cell["cell_type"] == "code")


def test_without_an_address_the_first_cell_says_what_to_set(tmp_path):
    shutil.copy(ROOT / "notebooks" / "00_setup.ipynb", tmp_path)
    result = run_in(tmp_path, EMBEDDING_BOOK_REPOSITORY="")
    assert result.returncode != 0
    assert "EMBEDDING_BOOK_REPOSITORY" in result.stderr
