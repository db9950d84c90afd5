"""The claims of the book's documents: one row each, read from ``data/claims.yml`` and checked."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from helpers import settings
from helpers.claims.predicates import Predicate, check_keys, parse
from helpers.claims.verdicts import NOT_RUN, Verdict, evaluate

CLAIMS = settings.DATA / "claims.yml"
CLAIM, CONTRADICTION = "claim", "contradiction"
_TOP = ("documents", "chapters", "claims")
_SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_SIDE = ("says", "source")


@dataclasses.dataclass(frozen=True)
class Document:
    """A document that the book follows: its title, and the bibliography's key of the work that it is about."""

    title: str
    cite: str


@dataclasses.dataclass(frozen=True)
class Side:
    """One side of a contradiction: what is said, and where."""

    says: str
    source: str


@dataclasses.dataclass(frozen=True)
class Claim:
    """One row.

    Attributes:
        id: Its name, in lower case with hyphens.
        document: Letter of the document that makes the claim, or whose source does.
        claim: One sentence, in our words.
        where: Section or table of the document or its source.
        scale: Model and data of the claim, as it was made.
        kind: ``claim``, or ``contradiction`` where the sources disagree with one another: no run decides those.
        chapter: Name of the chapter that tests it, or None.
        predicate: What it says about records, or None where no record can answer.
        command: What would run it at its own scale, or the nearest to it; None where this book cannot.
        note: What keeps our setting apart from the claim's, or why there is no command.
        sides: Of a contradiction, two or more.
    """

    id: str
    document: str
    claim: str
    where: str
    scale: str = ""
    kind: str = CLAIM
    chapter: str | None = None
    predicate: Predicate | None = None
    command: str | None = None
    note: str = ""
    sides: tuple[Side, ...] = ()


_FIELDS = tuple(field.name for field in dataclasses.fields(Claim))


def load(path: Path = CLAIMS) -> list[Claim]:
    """Return all claims, in the order of the file.

    Raises:
        ValueError: For an unknown key, document, chapter or predicate, a missing field, or an id that is used twice;
            the message names the row.
    """
    content = _content(path)
    names = documents(path)
    claims: dict[str, Claim] = {}
    for number, row in enumerate(content["claims"], start=1):
        name = row.get("id", number) if isinstance(row, dict) else number
        try:
            claim = _claim(row, names, content["chapters"])
            if claim.id in claims:
                raise ValueError("this id is used twice")
        except ValueError as error:
            raise ValueError(f"claim {name!r}: {error}") from error
        claims[claim.id] = claim
    return list(claims.values())


def documents(path: Path = CLAIMS) -> dict[str, Document]:
    """Return the documents by letter.

    Raises:
        ValueError: For an unknown or missing field of one.
    """
    try:
        return {letter: Document(**fields) for letter, fields in _content(path)["documents"].items()}
    except TypeError as error:
        raise ValueError(f"{path.name}: a document has a title and a cite key: {error}") from error


def _content(path: Path) -> dict:
    """Read the file as plain data."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path.name} is not YAML: {error}") from error
    if not isinstance(content, dict) or set(content) != set(_TOP):
        raise ValueError(f"{path.name} should hold {', '.join(_TOP)}")
    return content


def _claim(row: Mapping[str, object], names: Mapping[str, Document], chapters: Sequence[str]) -> Claim:
    """Check one row and return it as a claim."""
    check_keys(row, _FIELDS)
    needed = ("id", "document", "claim", "where", *(("sides",) if row.get("kind") == CONTRADICTION else ("scale",)))
    if missing := [name for name in needed if not row.get(name)]:
        raise ValueError(f"lacks {', '.join(missing)}")
    for name, allowed in (("document", [*names]), ("chapter", [*chapters, None]), ("kind", (CLAIM, CONTRADICTION))):
        if (value := row.get(name, CLAIM if name == "kind" else None)) not in allowed:
            raise ValueError(f"unknown {name} {value!r}; {settings.nearest(value, filter(None, allowed))}")
    for name in set(row) - {"predicate", "sides"}:
        if not isinstance(row[name], str | None):
            raise ValueError(f"{name}={row[name]!r} should be a text")
    if not _SLUG.fullmatch(row["id"]):
        raise ValueError("an id has lower-case letters, digits and single hyphens")
    sides, predicate = _sides(row), None
    if "predicate" in row and row["predicate"] is not None:
        predicate = parse(row["predicate"], chapter=row.get("chapter"))
        if predicate.chapter not in chapters:
            raise ValueError(f"unknown chapter {predicate.chapter!r}; {settings.nearest(predicate.chapter, chapters)}")
    return Claim(**{**row, "sides": sides, "predicate": predicate})


def _sides(row: Mapping[str, object]) -> tuple[Side, ...]:
    """Read the sides of a contradiction; a claim has none, and a contradiction no predicate."""
    sides = row.get("sides") or []
    if row.get("kind", CLAIM) == CLAIM:
        if sides:
            raise ValueError("only a contradiction has sides")
        if not any(row.get(name) for name in ("predicate", "command", "note")):
            raise ValueError("a claim needs a predicate, a command, or a note that says why it has neither")
        return ()
    if row.get("predicate"):
        raise ValueError("a contradiction has no predicate: no run decides it")
    for side in sides:
        check_keys(side, _SIDE)
    texts = [side.get(name) for side in sides for name in _SIDE]
    if len(sides) < 2 or not all(text and isinstance(text, str) for text in texts):
        raise ValueError("a contradiction needs two sides or more, each with two texts: says and source")
    return tuple(Side(**side) for side in sides)


def judge(claim: Claim, records: Sequence[Mapping]) -> Verdict:
    """Return the verdict on a claim, by the rules of `helpers.claims.verdicts`; a contradiction's is fixed.

    Args:
        claim: Of `load`.
        records: Of `records.load`, of any chapters and profiles.

    Raises:
        ValueError: Where records of several models fit the predicate; names the row.
    """
    if claim.kind == CONTRADICTION:
        return Verdict(CONTRADICTION, " Against that: ".join(f"{side.says} ({side.source})." for side in claim.sides))
    if claim.predicate is None:
        return Verdict(NOT_RUN, "")
    try:
        return evaluate(claim.predicate, records)
    except ValueError as error:
        raise ValueError(f"claim {claim.id!r}: {error}") from error
