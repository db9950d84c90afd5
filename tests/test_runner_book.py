"""A miniature book, from notebooks to checked HTML."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from runner_fixtures import (
    FIGURE_WORDS,
    WORDS,
    chapter_cells,
    edit_chapter,
    fake_result,
    make_project,
    markdown,
    show_figure,
    smoke,
    stream,
    write_chapter,
    write_toc,
)

from helpers.runner import checks, html, stage
from helpers.runner.__main__ import main
from helpers.runner.book import Book

PAGE = """<html><head><link rel="stylesheet" href="_static/a.css"/>{head}</head>
<body><article>{article}<img src="a.png" alt="A curve that rises."/></article></body></html>"""


def build(book: Book, *options: str) -> int:
    return main(["--root", str(book.root), "book", "--profile", "smoke", *options])


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Book:
    """A book of two pages and one notebook with a figure, built once for all tests of this file."""
    book = make_project(tmp_path_factory.mktemp("book"))
    write_toc(book.root, ["00_one"])
    cells = chapter_cells(show_figure(), title="One")
    write_chapter(book.root, "00_one", [*cells, markdown("The figure {numref}`fig-pixel` shows $a^2$.")])
    assert build(book) == 0
    return book


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder that passes the checks."""
    (tmp_path / "_static").mkdir()
    (tmp_path / "_static" / "a.css").write_text("p { color: red; background: url(b.png) }")
    write_page(tmp_path)
    return tmp_path


def write_page(site: Path, *, head: str = "", article: str = WORDS) -> None:
    (site / "index.html").write_text(PAGE.format(head=head, article=article))


def test_the_book_is_built_and_its_place_is_the_last_line(built: Book, capsys: pytest.CaptureFixture[str]) -> None:
    assert build(built) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == str(built.root / "_build" / "html" / "index.html")
    assert Path(lines[-1]).is_file()
    for page in ("book/intro", "notebooks/00_one", "book/status"):
        assert (built.html / f"{page}.html").stat().st_size > 1000


def test_a_second_build_executes_nothing_and_makes_no_html(
    built: Book, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(html, "_run_jupyter_book", lambda book: pytest.fail("Jupyter Book was called"))
    assert build(built) == 0
    out = capsys.readouterr().out
    assert "[00_one] reused" in out
    assert "runs:" not in out
    assert "the book is unchanged" in out


def test_figure_is_numbered_captioned_described_and_referenced(built: Book) -> None:
    text = (built.html / "notebooks" / "00_one.html").read_text()
    assert f'alt="{FIGURE_WORDS["alt"]}"' in text
    assert '<span class="caption-number">Fig. 1 </span>' in text
    assert "<strong>enlarged</strong>" in text
    assert 'The figure <a class="reference internal" href="#fig-pixel">' in text
    assert "ready = True" not in text, "the bootstrap cell is hidden"
    assert "smoke" in text, "the parameters cell shows what ran"


def test_pages_need_no_other_host(built: Book) -> None:
    assert checks.check(built.html, built.pages()) == []
    text = (built.html / "notebooks" / "00_one.html").read_text()
    assert 'src="../_static/mathjax/tex-mml-chtml.js' in text
    assert "unpkg.com" not in text
    assert (built.html / "_static" / "mathjax" / "output" / "chtml" / "fonts" / "woff-v2").is_dir()


@pytest.fixture
def copy(built: Book, tmp_path: Path) -> Book:
    """A copy of the built book, to be spoilt; results and stage come along."""
    shutil.copytree(built.root, tmp_path / "copy")
    return Book(tmp_path / "copy")


def test_a_warning_fails_the_build_again_and_again(copy: Book, capsys: pytest.CaptureFixture[str]) -> None:
    intro = copy.root / "book" / "intro.md"
    intro.write_text(intro.read_text() + "\nSee {ref}`nowhere`.\n")
    assert build(copy) == 1
    assert "nowhere" in capsys.readouterr().err
    # Sphinx has read the page now, and would not warn again of its own accord.
    assert build(copy) == 1
    assert "book/intro.md" in capsys.readouterr().err


def test_prose_edits_reach_the_page_without_execution(copy: Book, capsys: pytest.CaptureFixture[str]) -> None:
    edit_chapter(copy.root, "00_one", "The figure ", "This very figure ")
    assert build(copy) == 0
    assert "[00_one] reused" in capsys.readouterr().out
    assert "This very figure" in (copy.html / "notebooks" / "00_one.html").read_text()


def test_one_chapter_of_a_fresh_clone_can_be_built(tmp_path: Path) -> None:
    book = make_project(tmp_path)
    write_chapter(book.root, "00_one", [*chapter_cells(show_figure()), markdown("See {numref}`fig-pixel`.")])
    fake_result(book, "01_two", stream("two\n"))
    assert build(book, "--only", "01") == 0
    assert "was not executed in this build" in (book.html / "notebooks" / "00_one.html").read_text()


def test_a_failed_chapter_leaves_a_readable_book_and_a_status(
    copy: Book, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(html, "build", lambda book: True)
    edit_chapter(copy.root, "00_one", "from IPython", "missing_name\nfrom IPython")
    assert build(copy) == 1
    assert not capsys.readouterr().out.rstrip().endswith("index.html")
    assert "NameError" in (copy.stage / "book" / "status.md").read_text()


def test_a_sound_page_passes(site: Path) -> None:
    assert checks.check(site, ["index"]) == []


@pytest.mark.parametrize(
    ("head", "article", "problem"),
    [
        ('<script src="https://cdn.example/x.js"></script>', WORDS, "<script> asks another host"),
        ('<link rel="stylesheet" href="//cdn.example/x.css">', WORDS, "<link> asks another host"),
        ('<link rel="preload icon" href="http://cdn.example/x.png">', WORDS, "<link> asks another host"),
        ("<style>@import 'https://cdn.example/x.css';</style>", WORDS, "a style asks another host"),
        ('<script>const x = "https://cdn.example/x.js"</script>', WORDS, "an inline script may ask another host"),
        ("", f'{WORDS}<p style="background: url(//a.example/b.png)">', "a style asks another host"),
        ("", f'{WORDS}<img alt="A dot" src="https://a.example/b.png">', "<img> asks another host"),
        ("", f'{WORDS}<iframe src="https://a.example/"></iframe>', "<iframe> asks another host"),
        ("", f'{WORDS}<img src="b.png">', "the image b.png has no alt text"),
        ("", f'{WORDS}<img src="b.png" alt=" ">', "the image b.png has no alt text"),
        ("", f'{WORDS}<img src="../_images/b.png" alt="_images/b.png">', "the image b.png has no alt text"),
        ("", "<h1>Title</h1>", "is empty: 1 words"),
        ("", f"{WORDS}<pre>Traceback (most recent call last)\n…</pre>", "shows a traceback"),
        ("", f'{WORDS}<div class="output traceback">Error</div>', "shows a traceback"),
    ],
)
def test_checks_catch(site: Path, head: str, article: str, problem: str) -> None:
    write_page(site, head=head, article=article)
    found = checks.check(site, ["index"])
    assert len(found) == 1
    assert found[0].startswith(f"index: {problem}")


def test_links_are_no_requests(site: Path) -> None:
    write_page(site, article=f'{WORDS} <a href="https://example.org">a paper</a>')
    assert checks.check(site, ["index"]) == []


def test_stylesheets_are_read_too(site: Path) -> None:
    (site / "_static" / "a.css").write_text('@import url("https://fonts.example/f.css");')
    assert checks.check(site, ["index"]) == ["_static/a.css: a style asks another host for https://fonts.example/f.css"]


def test_a_missing_page_is_named(site: Path) -> None:
    assert checks.check(site, ["index", "book/lost"]) == ["book/lost: has no HTML"]


def test_failed_checks_fail_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    book = make_project(tmp_path)
    stage.stage(book, smoke())
    monkeypatch.setattr(html, "_run_jupyter_book", lambda book: None)
    for _ in range(2):
        with pytest.raises(html.BookError, match="book/intro: has no HTML"):
            html.build(book)
