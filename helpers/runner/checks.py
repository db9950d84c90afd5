"""What must hold of the finished HTML: words on every page, alt texts, no traceback, nothing from another host."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

import bs4

FEWEST_WORDS = 10
_ELSEWHERE = re.compile(r"^\s*(?:https?:)?//", re.IGNORECASE)
_CSS_ADDRESS = re.compile(r"""(?:url\(\s*|@import\s+)["']?((?:https?:)?//[^"')\s;]+)""", re.IGNORECASE)
_SCRIPT_ADDRESS = re.compile(r"""["'`](https?://[^"'`\s]+\.(?:m?js|css)[^"'`\s]*)["'`]""")
_LOADING_RELATIONS = {"stylesheet", "preload", "prefetch", "modulepreload", "icon", "preconnect", "dns-prefetch"}
_LOADING_TAGS = {"script": "src", "img": "src", "source": "src", "iframe": "src", "video": "src", "audio": "src"}


def check(html: Path, pages: Sequence[str]) -> list[str]:
    """Return what is wrong with a built book, each line beginning with the page or file.

    Args:
        html: The folder of the book.
        pages: Its pages, as paths without suffix.
    """
    problems = [] if (html / "index.html").is_file() else ["index.html: is missing"]
    styles: set[Path] = set()
    for page in pages:
        path = html / f"{page}.html"
        if not path.is_file():
            problems.append(f"{page}: has no HTML")
            continue
        soup = bs4.BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
        problems += [f"{page}: {problem}" for problem in _page_problems(soup)]
        styles |= set(_local_styles(soup, path))
    for style in sorted(styles):
        problems += [f"{style.relative_to(html)}: {problem}" for problem in _style_problems(style.read_text())]
    return problems


def _page_problems(soup: bs4.BeautifulSoup) -> Iterator[str]:
    yield from _requests_elsewhere(soup)
    article = soup.find("article") or soup.find(attrs={"role": "main"})
    if not isinstance(article, bs4.Tag):
        yield "has no article"
        return
    words = len(article.get_text(" ").split())
    if words < FEWEST_WORDS:
        yield f"is empty: {words} words"
    if article.select(".traceback") or "Traceback (most recent call last)" in article.get_text():
        yield "shows a traceback"
    yield from _images_without_alt(article)


def _images_without_alt(article: bs4.Tag) -> Iterator[str]:
    """Find images without alt text; Sphinx puts the file's name where there is none."""
    for image in article.find_all("img"):
        alt, source = str(image.get("alt") or "").strip(), str(image.get("src") or "")
        if not alt or PurePosixPath(alt).name == PurePosixPath(unquote(source)).name:
            yield f"the image {PurePosixPath(source).name} has no alt text"


def _requests_elsewhere(soup: bs4.BeautifulSoup) -> Iterator[str]:
    for name, attribute in _LOADING_TAGS.items():
        for tag in soup.find_all(name):
            if _ELSEWHERE.match(str(tag.get(attribute) or "")):
                yield f"<{name}> asks another host for {tag[attribute]}"
    for link in soup.find_all("link"):
        relations = set(link.get_attribute_list("rel"))
        if relations & _LOADING_RELATIONS and _ELSEWHERE.match(str(link.get("href") or "")):
            yield f"<link> asks another host for {link['href']}"
    for style in soup.find_all("style"):
        yield from _style_problems(style.get_text())
    for tag in soup.find_all(style=True):
        yield from _style_problems(str(tag["style"]))
    for script in soup.find_all("script", src=False):
        for address in _SCRIPT_ADDRESS.findall(script.get_text()):
            yield f"an inline script may ask another host for {address}"


def _style_problems(text: str) -> Iterator[str]:
    for address in _CSS_ADDRESS.findall(text):
        yield f"a style asks another host for {address}"


def _local_styles(soup: bs4.BeautifulSoup, page: Path) -> Iterator[Path]:
    """Yield the stylesheets of a page that are files of the book."""
    for link in soup.find_all("link", rel="stylesheet"):
        address = str(link.get("href") or "").split("?")[0]
        path = (page.parent / unquote(address)).resolve()
        if address and not _ELSEWHERE.match(address) and path.is_file():
            yield path
