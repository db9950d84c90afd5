"""The key of a result: what changes it, and what does not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from runner_fixtures import chapter_cells, edit_chapter, make_project, smoke, write_chapter

from helpers.runner import keys
from helpers.runner.book import Book


@pytest.fixture
def book(tmp_path: Path) -> Book:
    return make_project(tmp_path)


def parts(book: Book, chapter: str = "00_one", **parameters: object) -> dict[str, str]:
    return keys.explain(book, chapter, smoke(), parameters=parameters)


def test_parts_name_everything_a_chapter_depends_on(book: Book) -> None:
    helpers = {"helpers/__init__.py", "helpers/alpha.py", "helpers/base.py"}
    other = {"code", "profile", "parameters", "requirements.lock", "data/texts.jsonl"}
    assert set(parts(book)) == helpers | other


def test_prose_tags_metadata_and_outputs_keep_the_key(book: Book) -> None:
    before = keys.key(parts(book))
    edit_chapter(book.root, "00_one", "Some words", "Other words")
    path = book.source("00_one")
    notebook = json.loads(path.read_text())
    for cell in notebook["cells"]:
        cell["metadata"]["tags"] = [*cell["metadata"].get("tags", []), "hide-input"]
    notebook["cells"][-1]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": ["old"]}]
    path.write_text(json.dumps(notebook))
    assert keys.key(parts(book)) == before


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("helpers/alpha.py", "def value():\n    return 7\n"),
        ("helpers/base.py", "VALUE = 2\n"),
        ("helpers/__init__.py", "NAME = 1\n"),
        ("data/texts.jsonl", '{"text": "b"}\n'),
        ("requirements.lock", "numpy==3\n"),
    ],
)
def test_a_changed_dependency_changes_the_key_and_is_named(book: Book, file: str, text: str) -> None:
    before = parts(book)
    (book.root / file).write_text(text)
    after = parts(book)
    assert keys.key(after) != keys.key(before)
    assert f"{file} changed" in keys.changes(before, after)


def test_a_helper_that_is_not_imported_keeps_the_key(book: Book) -> None:
    before = keys.key(parts(book))
    for name in ("unused", "beta"):
        (book.root / "helpers" / f"{name}.py").write_text("VALUE = 0\n")
    assert keys.key(parts(book)) == before


def test_code_parameters_and_profile_change_the_key(book: Book) -> None:
    before = parts(book)
    assert keys.changes(before, parts(book, size=3)) == ["parameters changed"]
    other_profile = keys.explain(book, "00_one", smoke(rows=7), parameters={})
    assert keys.changes(before, other_profile) == ["profile changed"]
    edit_chapter(book.root, "00_one", "alpha says", "alpha said")
    assert keys.changes(before, parts(book)) == ["code changed"]


def test_why_a_profile_was_chosen_is_not_part_of_the_key(book: Book) -> None:
    asked, chosen = smoke(), smoke(reason="the machine has no GPU")
    assert keys.explain(book, "00_one", asked) == keys.explain(book, "00_one", chosen)


def test_new_and_lost_files_are_named(book: Book) -> None:
    before = parts(book)
    (book.root / "data" / "more.jsonl").write_text("{}\n")
    assert keys.changes(before, parts(book)) == ["data/more.jsonl is new"]
    assert keys.changes(parts(book), before) == ["data/more.jsonl is used no more"]


def test_declared_data_that_is_missing_is_an_error(book: Book) -> None:
    write_chapter(book.root, "00_one", chapter_cells("pass"), data=["data/nothing/*.csv"])
    with pytest.raises(FileNotFoundError, match=r"00_one declares the data 'data/nothing/\*\.csv'"):
        parts(book)


@pytest.mark.parametrize(
    "source",
    [
        "from helpers.alpha import value",
        "import helpers.alpha as a",
        "def later():\n    from helpers import alpha",
        "!ls\nx = !pwd\n%matplotlib inline\nif True:\n    %time pass\nfrom helpers import alpha",
        "%%time\nfrom helpers import alpha",
    ],
)
def test_every_way_to_import_is_found(book: Book, source: str) -> None:
    found = {path.name for path in keys.modules_of(book.root, [source])}
    assert found == {"__init__.py", "alpha.py", "base.py"}


def test_a_cell_of_another_language_imports_nothing(book: Book) -> None:
    found = keys.modules_of(book.root, ["%%bash\nfor f in *; do echo $f; done"])
    assert {path.name for path in found} == {"__init__.py"}


def test_imports_among_packages_are_followed(book: Book) -> None:
    package = book.root / "helpers" / "sub"
    package.mkdir()
    (package / "__init__.py").write_text("from .inner import thing\n")
    (package / "inner.py").write_text("from ..beta import VALUE as thing\nfrom .. import sub\n")
    found = {path.relative_to(book.root).as_posix() for path in keys.modules_of(book.root, ["import helpers.sub"])}
    expected = {"helpers/__init__.py", "helpers/sub/__init__.py", "helpers/sub/inner.py", "helpers/beta.py"}
    assert found == expected
