"""Where everything of the book lies: its pages, its chapters, and the folders that a build fills."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from helpers import settings

Cell = dict[str, Any]
Notebook = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Book:
    """A project folder, read as a book.

    Attributes:
        root: The folder that holds ``_toc.yml``, ``book/``, ``notebooks/``, ``helpers/`` and ``data/``.
    """

    root: Path

    @property
    def build(self) -> Path:
        """The folder of everything that can be made again."""
        return self.root / "_build"

    @property
    def stage(self) -> Path:
        """The folder that Jupyter Book reads."""
        return self.build / "stage"

    @property
    def html(self) -> Path:
        """The folder of the finished book."""
        return self.build / "html"

    @property
    def runs(self) -> Path:
        """The committed file of times and memory, quoted where nothing was run here."""
        return self.root / "data" / "runs.json"

    def executed(self, profile: str) -> Path:
        """The folder of executed notebooks of one profile."""
        return self.build / "executed" / profile

    def source(self, chapter: str) -> Path:
        """The notebook of a chapter, as committed."""
        return self.root / "notebooks" / f"{chapter}.ipynb"

    def pages(self) -> list[str]:
        """Return the pages in reading order, as paths from the root without suffix.

        Raises:
            FileNotFoundError: Where there is no ``_toc.yml``, or a page that it lists is missing.
        """
        toc = yaml.safe_load((self.root / "_toc.yml").read_text(encoding="utf-8"))
        pages = list(_files_of(toc))
        for page in pages:
            if not any((self.root / f"{page}{suffix}").is_file() for suffix in (".md", ".ipynb")):
                raise FileNotFoundError(f"_toc.yml lists {page!r}, but there is no {page}.md and no {page}.ipynb")
        return pages

    def chapters(self) -> list[str]:
        """Return the names of the chapters (the pages in ``notebooks/``) in reading order."""
        return [Path(page).name for page in self.pages() if Path(page).parent.as_posix() == "notebooks"]

    def select(self, only: Sequence[str] = ()) -> list[str]:
        """Return the chapters asked for, by number or name; all of them where none is named.

        Raises:
            ValueError: For a chapter that is not in ``_toc.yml``, with the nearest name.
        """
        chapters = self.chapters()
        chosen = {self._chapter(wanted, chapters) for wanted in only}
        return [chapter for chapter in chapters if chapter in chosen or not only]

    @staticmethod
    def _chapter(wanted: str, chapters: Sequence[str]) -> str:
        name = Path(wanted).stem
        for chapter in chapters:
            if name in (chapter, chapter.split("_")[0]):
                return chapter
        raise ValueError(f"unknown chapter {wanted!r}; {settings.nearest(name, chapters)}")


def _files_of(node: object) -> Iterator[str]:
    """Walk a table of contents of Jupyter Book and yield its files, the root first."""
    if isinstance(node, dict):
        yield from (Path(str(node[key])).as_posix() for key in ("root", "file") if key in node)
        yield from _files_of([node.get(key, []) for key in ("parts", "chapters", "sections")])
    elif isinstance(node, list):
        for child in node:
            yield from _files_of(child)


def read_notebook(path: Path) -> Notebook:
    """Read a notebook as plain JSON, each cell's source as one string.

    Raises:
        ValueError: For a file that is not a notebook of format 4.
    """
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        for cell in notebook["cells"]:
            cell["source"] = joined(cell["source"])
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path.name} is not a notebook of format 4: {error!r}") from error
    return notebook


def joined(text: str | list[str]) -> str:
    """Join a notebook's multi-line text, which may be stored as a list of lines."""
    return text if isinstance(text, str) else "".join(text)


def code_cells(notebook: Notebook) -> list[Cell]:
    """Return the code cells, in order, without the cell that papermill injects."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code" and not is_injected(cell)]


def tags(cell: Cell) -> list[str]:
    """Return the tags of a cell."""
    return list(cell.get("metadata", {}).get("tags", []))


def is_injected(cell: Cell) -> bool:
    """Say whether papermill put this cell in."""
    return "injected-parameters" in tags(cell)


def title(notebook: Notebook, default: str) -> str:
    """Return the first heading of a notebook."""
    for cell in notebook["cells"]:
        for line in cell["source"].splitlines():
            if cell["cell_type"] == "markdown" and line.startswith("# "):
                return line[2:].strip()
    return default
