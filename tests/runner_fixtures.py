"""A miniature project for the tests of the runner: two tiny chapters, fake helpers, two pages."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from helpers import settings
from helpers.runner import keys, results
from helpers.runner.book import Book, code_cells, read_notebook

ROOT = Path(__file__).resolve().parents[1]
# One white pixel.
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8/5+hHgAHggJ/PchI7wAAAABJRU5ErkJggg=="
FIGURE_WORDS = {"label": "fig-pixel", "caption": "A pixel, **enlarged**.", "alt": "One white pixel on white."}
PARAMETERS = 'profile = "laptop"  # which profile\nsize = 2\nrate = 0.5\nquick = False'
INFO_BOX = ":::{admonition} About this chapter\n<!-- runs -->\n:::"
WORDS = "Some words of prose, so that nobody takes this small page of the book for an empty one."


def markdown(text: str, *tags: str) -> dict[str, Any]:
    """A cell of prose."""
    return {"cell_type": "markdown", "metadata": {"tags": list(tags)}, "source": text}


def code(text: str, *tags: str, outputs: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """A cell of code."""
    metadata = {"tags": list(tags)} if tags else {}
    return {
        "cell_type": "code", "metadata": metadata, "source": text, "outputs": outputs or [], "execution_count": None,
    }  # fmt: skip


def show_figure(words: dict[str, str] | None = None) -> str:
    """Source of a cell that shows an image with label, caption and alt text."""
    metadata = {"book": FIGURE_WORDS if words is None else words}
    return f"from IPython.display import display\ndisplay({{'image/png': {PNG!r}}}, raw=True, metadata={metadata!r})"


def chapter_cells(*code_sources: str, title: str = "A chapter") -> list[dict[str, Any]]:
    """The cells that every chapter has, then prose and code in turn."""
    cells = [markdown(f"# {title}"), markdown(INFO_BOX, "info-box"), code("ready = True", "bootstrap")]
    cells.append(code(PARAMETERS, "parameters"))
    for source in code_sources:
        cells += [markdown(WORDS), code(source)]
    return cells


def write_chapter(root: Path, name: str, cells: list[dict[str, Any]], *, data: list[str] | None = None) -> None:
    """Write a notebook."""
    numbered = [cell | {"id": f"cell-{number}"} for number, cell in enumerate(cells)]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    metadata = {"kernelspec": kernel, "book": {"data": data or []}}
    notebook = {"cells": numbered, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    path = root / "notebooks" / f"{name}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(notebook))


def edit_chapter(root: Path, name: str, old: str, new: str) -> None:
    """Replace text in a notebook's sources."""
    path = root / "notebooks" / f"{name}.ipynb"
    notebook = json.loads(path.read_text())
    changed = 0
    for cell in notebook["cells"]:
        changed += old in cell["source"]
        cell["source"] = cell["source"].replace(old, new)
    assert changed, f"{old!r} is nowhere in {name}"
    path.write_text(json.dumps(notebook))


def write_toc(root: Path, chapters: list[str]) -> None:
    """Write a table of contents: an introduction, the chapters, a status page."""
    files = "\n".join(f"      - file: notebooks/{name}" for name in chapters)
    head = "format: jb-book\nroot: book/intro\nparts:\n  - caption: All\n    chapters:"
    text = f"{head}\n{files}\n      - file: book/status\n"
    (root / "_toc.yml").write_text(text)


def make_project(root: Path) -> Book:
    """Write a project with the chapters ``00_one`` (imports alpha, thus base) and ``01_two`` (imports beta)."""
    helpers = {
        "__init__": "", "base": "VALUE = 1\n", "beta": "VALUE = 20\n", "unused": "VALUE = 300\n",
        "alpha": "def value():\n    from . import base\n    return base.VALUE\n",
    }  # fmt: skip
    for name, text in helpers.items():
        path = root / "helpers" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (root / "requirements.lock").write_text("numpy==2\n")
    (root / "data").mkdir()
    (root / "data" / "texts.jsonl").write_text('{"text": "a"}\n')
    one = chapter_cells("%precision 3\nfrom helpers import alpha\nprint('alpha says', alpha.value())", title="One")
    two = chapter_cells("import helpers.beta\nprint('beta says', helpers.beta.VALUE, 'size', size)", title="Two")
    write_chapter(root, "00_one", one, data=["data/*.jsonl"])
    write_chapter(root, "01_two", two)
    write_toc(root, ["00_one", "01_two"])
    write_pages(root)
    return Book(root)


def write_pages(root: Path) -> None:
    """Write the prose pages, with the project's own configuration and style."""
    shutil.copyfile(ROOT / "_config.yml", root / "_config.yml")
    shutil.copytree(ROOT / "book" / "_static", root / "book" / "_static")
    intro = f"# Introduction\n\n{WORDS} With $x^2$ inside.\n\n<!-- generated: chapters -->\n"
    (root / "book" / "intro.md").write_text(intro)
    (root / "book" / "status.md").write_text("# Status\n\n<!-- generated: status -->\n\n<!-- generated: profiles -->\n")
    (root / "book" / "refs.bib").write_text("")


def smoke(**values: object) -> settings.Profile:
    """The smoke profile, with other limits."""
    return settings.profile("smoke", **values)


def stream(text: str, name: str = "stdout") -> dict[str, Any]:
    """An output of printed text."""
    return {"output_type": "stream", "name": name, "text": text}


def image(words: dict[str, str] | None) -> dict[str, Any]:
    """An output that is an image, described by words."""
    metadata = {"book": words} if words else {}
    return {"output_type": "display_data", "data": {"image/png": PNG, "text/plain": "<Figure>"}, "metadata": metadata}


def fake_result(book: Book, chapter: str, *last_outputs: dict[str, Any], **given: Any) -> None:
    """Write the result of a run that never was; the last code cell has these outputs. Saves the tests minutes."""
    profile, values = smoke(), {"profile": "smoke", **given}
    notebook = read_notebook(book.source(chapter))
    for count, cell in enumerate(code_cells(notebook), start=1):
        cell["execution_count"] = count
        cell["metadata"] |= {"papermill": {"duration": 0.1}, "execution": {"iopub.execute_input": "2026"}}
    code_cells(notebook)[-1]["outputs"] = list(last_outputs)
    place = 1 + next(i for i, cell in enumerate(notebook["cells"]) if "parameters" in cell["metadata"].get("tags", []))
    notebook["cells"].insert(place, code("profile = 'smoke'", "injected-parameters"))
    notebook["metadata"]["papermill"] = {"input_path": str(book.source(chapter))}
    parts = keys.explain(book, chapter, profile, parameters=values)
    facts = {"key": keys.key(parts), "parts": parts, "parameters": values, "seconds": 83.4, "peak_memory_mb": 1234}
    facts |= {"started": "2026-01-02T03:04:05+00:00", "python": "3.11", "device": "cpu", "cores": 2}
    folder = book.executed("smoke")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "new.ipynb").write_text(json.dumps(notebook))
    facts["versions"] = {"python": "3.11", "torch": "2.13"}
    results.save(book, "smoke", chapter, notebook=folder / "new.ipynb", run=facts)
