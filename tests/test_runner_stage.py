"""The stage: prose of today with the outputs of the last run, fit for a page."""

from __future__ import annotations

import json
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

import pytest
from runner_fixtures import (
    FIGURE_WORDS,
    WORDS,
    chapter_cells,
    code,
    edit_chapter,
    fake_result,
    image,
    make_project,
    markdown,
    smoke,
    stream,
    write_chapter,
)

from helpers.runner import outputs, pages, parameters, results, stage
from helpers.runner.book import Book, read_notebook, tags


@pytest.fixture
def book(tmp_path: Path) -> Book:
    made = make_project(tmp_path)
    fake_result(made, "01_two", stream("two\n"))
    return made


def staged(book: Book, chapter: str = "00_one") -> list[dict[str, Any]]:
    """Stage the book and return the cells of a chapter."""
    stage.stage(book, smoke())
    return read_notebook(book.stage / "notebooks" / f"{chapter}.ipynb")["cells"]


def page(book: Book, name: str) -> str:
    stage.stage(book, smoke())
    return (book.stage / "book" / f"{name}.md").read_text()


def last_cell(book: Book, *shown: dict[str, Any]) -> dict[str, Any]:
    """Stage a chapter whose last cell has these outputs; return that cell."""
    fake_result(book, "00_one", *shown)
    return staged(book)[-1]


def test_new_prose_stands_beside_old_outputs(book: Book) -> None:
    fake_result(book, "00_one", stream("alpha says 1\n"))
    edit_chapter(book.root, "00_one", "Some words", "Fresh words")
    cells = staged(book)
    assert cells[-2]["source"].startswith("Fresh words")
    assert cells[-1]["outputs"] == [stream("alpha says 1\n")]
    assert not any("warning" in cell["source"] for cell in cells)


def test_parameters_cell_shows_what_ran(book: Book) -> None:
    fake_result(book, "00_one", size=7, rate=0.5)
    cells = staged(book)
    shown = next(cell["source"] for cell in cells if "parameters" in tags(cell))
    assert shown == 'profile = "smoke"  # which profile\nsize = 7\nrate = 0.5\nquick = False'
    assert not any("injected-parameters" in tags(cell) for cell in cells)


def test_merging_counts_bytes_and_lines_rightly() -> None:
    source = 'a = "é"; b = (\n    1\n)  # two lines\nc: int = -3'
    assert parameters.merged(source, {"a": "ü", "b": 2, "c": 4}) == 'a = "ü"; b = (\n    2\n)  # two lines\nc: int = 4'


def test_no_trace_of_papermill_and_no_times(book: Book) -> None:
    fake_result(book, "00_one", stream("x\n"))
    text = json.dumps(staged(book))
    assert "papermill" not in text
    assert "iopub" not in text
    notebook = json.loads((book.stage / "notebooks" / "00_one.ipynb").read_text())
    assert set(notebook["metadata"]) == {"kernelspec", "language_info"}


def test_bootstrap_is_hidden_and_parameters_are_not(book: Book) -> None:
    fake_result(book, "00_one")
    by_tag = {tag: tags(cell) for cell in staged(book) for tag in tags(cell)}
    assert "remove-cell" in by_tag["bootstrap"]
    assert by_tag["parameters"] == ["parameters"]


def test_caption_and_alt_text_become_the_cells_metadata(book: Book) -> None:
    cell = last_cell(book, image(FIGURE_WORDS))
    figure = {"name": "fig-pixel", "caption": "A pixel, **enlarged**."}
    assert cell["metadata"]["mystnb"] == {"image": {"alt": FIGURE_WORDS["alt"]}, "figure": figure}
    assert "book" not in cell["outputs"][0]["metadata"]


def test_words_may_be_metadata_of_the_image_itself(book: Book) -> None:
    shown = image(None) | {"metadata": {"image/png": {"book": FIGURE_WORDS, "width": 30}}}
    cell = last_cell(book, shown)
    assert cell["metadata"]["mystnb"]["figure"]["name"] == "fig-pixel"
    assert cell["outputs"][0]["metadata"] == {"image/png": {"width": 30}}


@pytest.mark.parametrize(
    ("shown", "message"),
    [
        ([image(None)], "00_one, cell 6: an image has no alt text"),
        ([image(FIGURE_WORDS | {"alt": " "})], "00_one, cell 6: an image has no alt text"),
        ([image(FIGURE_WORDS), image(FIGURE_WORDS)], "one cell may show one figure; this one shows 2"),
        ([image({"alt": "words", "label": "fig-a"})], "needs both label and caption"),
        (
            [image(FIGURE_WORDS), {"output_type": "execute_result", "data": {"text/plain": "1"}, "metadata": {}}],
            "'fig-pixel' may show nothing else",
        ),
        ([stream(f"see {Path.home()}/secret.txt")], "00_one, cell 6: an output names a folder of this machine"),
        ([stream(f"see {tempfile.gettempdir()}/x.bin")], "names a folder of this machine"),
        (
            [{"output_type": "execute_result", "data": {"text/html": [f"<p>{Path.home()}/a</p>"]}, "metadata": {}}],
            "names a folder of this machine",
        ),
    ],
)
def test_outputs_that_may_not_be_on_a_page_are_refused(book: Book, shown: list[dict[str, Any]], message: str) -> None:
    fake_result(book, "00_one")
    staged(book)
    before = (book.stage / "notebooks" / "00_one.ipynb").read_bytes()
    fake_result(book, "00_one", *shown)
    with pytest.raises(ValueError, match=message):
        staged(book)
    assert (book.stage / "notebooks" / "00_one.ipynb").read_bytes() == before
    assert not list(book.build.glob(".stage-*"))


def test_paths_of_project_packages_and_kernel_are_shortened(book: Book) -> None:
    text = f"{book.root}/data/a.csv\n/var/ipykernel_12/345.py:1: note\n/opt/env/lib/site-packages/torch/nn.py:3: note\n"
    cell = last_cell(book, stream(text, "stderr"))
    assert cell["outputs"][0]["text"] == "data/a.csv\ncell:1: note\nsite-packages/torch/nn.py:3: note\n"


def test_progress_bars_keep_their_last_state(book: Book) -> None:
    pieces = [
        stream("\r 0%|  | 0/2", "stderr"),
        stream("\r 50%|# | 1/2", "stderr"),
        stream("\r100%|##| 2/2\n", "stderr"),
    ]
    cell = last_cell(book, *pieces, stream("\r   \r\n", "stdout"))
    assert cell["outputs"] == [stream("100%|##| 2/2\n", "stderr")]


def test_cursor_movements_and_widgets_go() -> None:
    assert outputs.final_lines("a\x1b[A\rb\x1b[31m!\x1b[0m") == "b\x1b[31m!\x1b[0m"
    shown = {"output_type": "display_data", "data": {outputs.WIDGET: {}, "text/plain": "0it"}, "metadata": {}}
    assert outputs.cleaned([shown], Path("/x"), where="here")[0]["data"] == {"text/plain": "0it"}


def test_info_box_shows_runs_of_this_build_then_committed_ones(book: Book) -> None:
    fake_result(book, "00_one")
    known = {"laptop": {"00_one": {"seconds": 61, "peak_memory_mb": 2000, "date": "2026-05-05", "cores": 4}}}
    book.runs.write_text(json.dumps(known))
    box = staged(book)[1]["source"]
    assert "| smoke | 1:23 min | 1.2 GB | 2026-01-02, 2 cores |" in box
    assert "| laptop | 1:01 min | 2.0 GB | 2026-05-05, 4 cores |" in box
    assert "| paper | not run | – | – |" in box
    assert box.endswith("\n:::")


def test_a_chapter_that_never_ran_says_so(book: Book) -> None:
    note = staged(book)[1]["source"]
    assert note.startswith(":::{warning}\nThis page was not executed in this build")
    assert all(cell.get("outputs", []) == [] for cell in staged(book))
    assert "not run" in page(book, "status")


def test_old_results_show_only_in_cells_that_are_the_same(book: Book) -> None:
    write_chapter(book.root, "00_one", chapter_cells("print('first')", "print('last')"))
    fake_result(book, "00_one", stream("last\n"))
    edit_chapter(book.root, "00_one", "print('first')", "print('another')")
    cells = staged(book)
    assert "shows results of 2026-01-02; its code has changed since" in cells[1]["source"]
    assert [cell["outputs"] for cell in cells if cell["cell_type"] == "code"] == [[], [], [], [stream("last\n")]]
    edit_chapter(book.root, "00_one", "print('last')", "print('end')")
    assert staged(book)[-1]["outputs"] == []


def test_a_failure_is_told_on_its_page_without_paths(book: Book) -> None:
    message = f"no file {Path.home()}/x"
    failure = results.Failure("00_one", 4, "x", "OSError", message)
    results.save_failure(book, "smoke", failure)
    note = staged(book)[1]["source"]
    assert "The last run failed: `00_one failed in cell 4: OSError: no file …`" in note
    status = page(book, "status")
    assert "| [One](../notebooks/00_one.ipynb) | failed |" in status
    assert "OSError" in status
    fake_result(book, "00_one")
    assert "OSError" not in page(book, "status")


def test_references_to_figures_that_were_not_made_are_replaced(book: Book) -> None:
    cells = [
        markdown("# One"),
        markdown("See {numref}`fig-pixel` and {numref}`Figure %s <fig-two>`."),
        *chapter_cells()[2:],
    ]
    write_chapter(book.root, "00_one", cells)
    write_chapter(book.root, "01_two", [*chapter_cells(), code("show()")])
    fake_result(book, "01_two", image(FIGURE_WORDS | {"label": "fig-two"}))
    text = staged(book)[2]["source"]
    assert text == f"See {stage.FIGURE_MISSING} and {{numref}}`Figure %s <fig-two>`."
    fake_result(book, "00_one")
    assert "{numref}`fig-pixel`" in staged(book)[1]["source"], "a complete build leaves wrong references to Sphinx"


def test_generated_blocks(book: Book) -> None:
    fake_result(book, "00_one")
    intro = page(book, "intro")
    assert "<!-- generated" not in intro
    assert "| [One](../notebooks/00_one.ipynb) | 1:23 min | 1.2 GB | 2026-01-02, 2 cores |" in intro
    status = page(book, "status")
    assert "| `laptop` | the book as built" in status
    assert "| torch | 2.13 |" in status
    assert "generated: status" in (book.root / "book" / "status.md").read_text()


def test_an_unknown_block_is_refused(book: Book) -> None:
    (book.root / "book" / "intro.md").write_text("# A\n\n<!-- generated: statsu -->\n")
    with pytest.raises(ValueError, match=r"book/intro.md asks for the unknown block 'statsu'; did you mean 'status'\?"):
        stage.stage(book, smoke())


def test_licence_tables_come_from_the_registries(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = types.SimpleNamespace(
        name="book-sts",
        title="A | set",
        licence="CC0",
        source="bundled",
        revision="0123456789abcdef",
        rows={"test": 1200, "dev": 3},
    )
    monkeypatch.setitem(sys.modules, "helpers.datasets", types.SimpleNamespace(REGISTRY={"book-sts": entry}))
    monkeypatch.setitem(sys.modules, "helpers.models", None)
    (book.root / "book" / "intro.md").write_text("# A\n\n<!-- generated: datasets -->\n\n<!-- generated: models -->\n")
    assert page(book, "intro").endswith(
        "| `book-sts` | A \\| set | CC0 | bundled | `0123456789ab` | test 1,200, dev 3 |\n\n\n"
    )


def test_the_scoreboard_is_made_of_committed_and_new_records(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    read = types.SimpleNamespace(load_all=lambda folder: [folder.relative_to(book.root).as_posix()])
    monkeypatch.setitem(sys.modules, "helpers.records", read)
    monkeypatch.setitem(sys.modules, "helpers.scoreboard", types.SimpleNamespace(table="\n".join))
    for folder in ("data/records/benchmark", "_build/records/smoke", "_build/records/laptop"):
        (book.root / folder).mkdir(parents=True)
    assert pages.scoreboard(book, "smoke") == "data/records/benchmark\n_build/records/smoke"


def test_readme_blocks_are_renewed_from_committed_runs(book: Book) -> None:
    fake_result(book, "00_one")
    known = {"laptop": {"01_two": {"seconds": 9, "peak_memory_mb": 900, "date": "2026-05-05", "cores": 2}}}
    book.runs.write_text(json.dumps(known))
    text = "# T\n\n<!-- generated: chapters -->\nold\n<!-- end generated -->\n\nafter\n"
    once = pages.fill_readme(text, book)
    assert "old" not in once
    assert "| [One](notebooks/00_one.ipynb) | not run |" in once
    assert "| [Two](notebooks/01_two.ipynb) | 0:09 min | 0.9 GB | 2026-05-05, 2 cores |" in once
    assert once.endswith("<!-- end generated -->\n\nafter\n")
    assert pages.fill_readme(once, book) == once


def test_files_that_did_not_change_keep_their_time(book: Book) -> None:
    fake_result(book, "00_one")
    stage.stage(book, smoke())
    times = {path: path.stat().st_mtime_ns for path in book.stage.rglob("*") if path.is_file()}
    (book.stage / "book" / "stray.md").write_text("gone tomorrow")
    (book.root / "book" / "intro.md").write_text(f"# Other\n\n{WORDS}\n")
    stage.stage(book, smoke())
    after = {path: path.stat().st_mtime_ns for path in book.stage.rglob("*") if path.is_file()}
    assert {path.name for path in times if after[path] != times[path]} == {"intro.md"}
    assert after.keys() == times.keys()


def test_mathjax_with_fonts_and_licence_is_in_the_stage(book: Book) -> None:
    stage.stage(book, smoke())
    folder = book.stage / "book" / "_static" / "mathjax"
    assert (folder / "tex-mml-chtml.js").stat().st_size > 500_000
    assert list((folder / "output" / "chtml" / "fonts" / "woff-v2").glob("*.woff"))
    assert "Apache License" in (folder / "LICENSE").read_text()
