"""The real book, built: every page there, nothing executed twice, nothing asked of another host."""

import json
import re
import shutil
import time

import book_copy
import pytest
from bs4 import BeautifulSoup


@pytest.fixture(scope="module")
def pages(smoke_book):
    assert smoke_book.status == 0, smoke_book.output[-3000:]
    html = smoke_book.root / "_build" / "html"
    return {
        path.relative_to(html).as_posix(): BeautifulSoup(path.read_text(), "html.parser")
        for path in html.rglob("*.html")
    }


def documents(smoke_book):
    contents = (smoke_book.root / "_toc.yml").read_text()
    return re.findall(r"(?:root|file): (\S+)", contents)


def test_the_build_ends_with_the_path_of_the_book(smoke_book):
    assert smoke_book.status == 0, smoke_book.output[-3000:]
    last = smoke_book.output.strip().splitlines()[-1]
    assert last.endswith("_build/html/index.html")
    assert (smoke_book.root / "_build" / "html" / "index.html").is_file()


def test_every_page_of_the_contents_is_there_and_has_text(smoke_book, pages):
    for document in documents(smoke_book):
        article = pages[f"{document}.html"].find("article")
        assert len(article.get_text().split()) > 30, document


def test_no_page_shows_a_traceback(pages):
    for name, page in pages.items():
        assert "Traceback (most recent call last)" not in page.get_text(), name


def test_no_page_asks_another_host(pages):
    for name, page in pages.items():
        sources = [tag.get("src") for tag in page.find_all(["script", "img", "iframe"])]
        sources += [tag.get("href") for tag in page.find_all("link") if "stylesheet" in tag.get("rel", [])]
        for source in filter(None, sources):
            assert not re.match(r"(https?:)?//", source), (name, source)


def test_every_picture_has_an_alternative_text(pages):
    for name, page in pages.items():
        for picture in page.select("article img"):
            assert picture.get("alt", "").strip(), (name, picture.get("src"))


def test_figures_are_numbered_and_captioned(pages):
    captions = [caption for page in pages.values() for caption in page.select("figure figcaption")]
    assert len(captions) >= 6
    assert all(re.match(r"Fig\. \d+", caption.get_text().strip()) for caption in captions)


def test_links_inside_the_book_lead_somewhere(smoke_book, pages):
    html = smoke_book.root / "_build" / "html"
    for name, page in pages.items():
        for link in page.select("article a[href]"):
            target, _, anchor = link["href"].partition("#")
            if re.match(r"[a-z]+:", target):
                continue
            path = (html / name).parent / target if target else html / name
            assert path.exists(), (name, link["href"])
            if anchor and path.suffix == ".html":
                other = pages[path.resolve().relative_to(html.resolve()).as_posix()]
                assert other.find(id=anchor), (name, link["href"])


def test_generated_blocks_are_filled(pages):
    assert "smollm2-135m" in pages["book/setup.html"].get_text()
    assert "02_prompteol" in str(pages["book/scoreboard.html"])
    assert "Executed" in pages["book/status.html"].get_text() or "executed" in pages["book/status.html"].get_text()
    for name, page in pages.items():
        assert "generated:" not in page.get_text(), name


def test_the_info_box_shows_the_time_of_this_run(pages):
    assert "smoke" in pages["notebooks/02_prompteol.html"].select_one(".admonition").get_text()


def test_mathematics_comes_from_the_book_itself(smoke_book, pages):
    html = smoke_book.root / "_build" / "html"
    scripts = [
        tag["src"] for tag in pages["book/notation.html"].find_all("script", src=True) if "mathjax" in tag["src"]
    ]
    assert scripts
    assert ((html / "book") / scripts[0].split("?")[0]).resolve().is_file()


@pytest.fixture(scope="module")
def second_root(smoke_book, tmp_path_factory):
    """The built copy once more, to be changed."""
    root = tmp_path_factory.mktemp("second") / "book"
    shutil.copytree(smoke_book.root, root, symlinks=True)
    return root


def runs(output):
    return sorted(re.findall(r"\[(\w+)\] runs:", output))


def test_a_second_build_executes_nothing_and_is_quick(second_root):
    start = time.monotonic()
    result = book_copy.run_book(second_root, "book", "--profile", "smoke")
    assert result.returncode == 0, result.stdout[-2000:]
    assert runs(result.stdout) == []
    assert time.monotonic() - start < 60


def test_an_edit_of_prose_executes_nothing_and_shows(second_root):
    path = second_root / "notebooks" / "02_prompteol.ipynb"
    notebook = json.loads(path.read_text())
    notebook["cells"][0]["source"].append("\n\nA line that was not there before.")
    path.write_text(json.dumps(notebook))
    result = book_copy.run_book(second_root, "book", "--profile", "smoke")
    assert result.returncode == 0, result.stdout[-2000:]
    assert runs(result.stdout) == []
    page = (second_root / "_build" / "html" / "notebooks" / "02_prompteol.html").read_text()
    assert "A line that was not there before." in page


def test_a_change_of_one_helper_is_a_reason_for_the_chapters_that_import_it_and_for_no_others(second_root):
    """Asked of the runner's plan: executing the changed chapters again would only cost time."""
    from helpers import settings
    from helpers.runner import execute, keys, parameters
    from helpers.runner.book import Book

    path = second_root / "helpers" / "store.py"
    path.write_text(path.read_text() + "\n# changed\n")
    book, profile = Book(second_root), settings.profile("smoke")
    values = parameters.for_chapters(book, book.chapters(), "smoke", {})
    reasons = {}
    for chapter in book.chapters():
        parts = keys.explain(book, chapter, profile, parameters=values[chapter])
        reasons[chapter] = execute.reason_to_run(book, chapter, profile, parts, force=False)
    importing = {
        chapter
        for chapter in book.chapters()
        # The baselines and trained encoders keep their vectors in the store: whoever imports them imports it too.
        if re.search(
            r"from helpers import [^\\]*\b(?:store|baselines|contrastive)\b",
            (second_root / "notebooks" / f"{chapter}.ipynb").read_text(),
        )
    }
    assert {chapter for chapter, reason in reasons.items() if reason} == importing
    assert importing
    assert importing != set(book.chapters())
    assert all("store.py" in reasons[chapter] for chapter in importing)
