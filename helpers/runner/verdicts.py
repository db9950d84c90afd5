"""Blocks of the claims page: the verdicts that the committed records give, counted and row by row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from helpers import claims, records
from helpers.runner.book import Book
from helpers.runner.pages import table

FILE = "claims.yml"
_HEAD = ("Claim, where it stands, and its scale", "Verdict", "Numbers, or what would run it")
Judged = tuple[claims.Claim, claims.Verdict]


def judged(book: Book) -> list[Judged]:
    """Return every claim with its verdict.

    Only committed records count: a build on another machine, or with a smaller profile, changes no verdict.

    Raises:
        ValueError: For a row of the claims, or a record, that is not as it should be.
    """
    data = book.root / "data"
    folders = sorted((data / "records").glob("*/"))
    found = [record for folder in folders for record in records.load_all(folder)]
    return [(claim, claims.judge(claim, found)) for claim in claims.load(data / FILE)]


def counts(book: Book) -> str:
    """Return the table of verdicts by document."""
    rows = judged(book)
    lines = [
        (f"{letter}: {document.title}", *_counted([row for row in rows if row[0].document == letter]))
        for letter, document in claims.documents(book.root / "data" / FILE).items()
    ]
    return table(("Document", *claims.VERDICTS, "rows"), [*lines, ("all", *_counted(rows))])


def _counted(rows: Sequence[Judged]) -> tuple[int, ...]:
    found = Counter(verdict.word for _, verdict in rows)
    return (*(found[word] for word in claims.VERDICTS), len(rows))


def sections(book: Book) -> str:
    """Return one section a document, with a table of its claims."""
    rows, here = judged(book), set(book.chapters())
    parts = []
    for letter, document in claims.documents(book.root / "data" / FILE).items():
        lines = [_line(*row, here) for row in rows if row[0].document == letter]
        parts.append(f"### {letter}: {document.title}\n\nSource: {{cite:t}}`{document.cite}`.\n\n{table(_HEAD, lines)}")
    return "\n\n".join(parts)


def _line(claim: claims.Claim, verdict: claims.Verdict, here: set[str]) -> tuple[str, ...]:
    """Return one row; ``here`` are the chapters that this book has."""
    chapter = claim.chapter or ""
    number = chapter.partition("_")[0]
    link = f"[chapter {number}](../notebooks/{chapter}.ipynb)" if chapter in here else f"chapter {number}, to come"
    word = f"**{verdict.word}**" if verdict.word != claims.NOT_RUN else verdict.word
    stands = f"*{claim.where}*" + (f"; {claim.scale}" if claim.scale else "")
    return f"{claim.claim}<br>{stands}", f"{word}<br>{link}" if claim.chapter else word, _last(claim, verdict)


def _last(claim: claims.Claim, verdict: claims.Verdict) -> str:
    """Return the numbers, what was left out, what would run the claim, and what to know beside it."""
    restricted = claim.predicate.restricted if claim.predicate else ""
    parts = [
        f"{verdict.numbers.removesuffix('.')}." if verdict.numbers else "",
        f"Other sets are left out: {restricted}." if restricted else "",
        f"To run it: `{claim.command}`." if claim.command else "",
        claim.note,
    ]
    return " ".join(filter(None, parts))
