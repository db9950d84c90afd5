"""The claims of the book's documents, each with a predicate over records and a verdict."""

from helpers.claims.predicates import KINDS, Predicate, parse
from helpers.claims.rows import CLAIM, CLAIMS, CONTRADICTION, Claim, Document, Side, documents, judge, load
from helpers.claims.verdicts import FAILS, HOLDS, NOT_RUN, UNDECIDED, Part, Verdict, evaluate

VERDICTS = (HOLDS, FAILS, UNDECIDED, NOT_RUN, CONTRADICTION)

__all__ = [
    "CLAIM",
    "CLAIMS",
    "CONTRADICTION",
    "FAILS",
    "HOLDS",
    "KINDS",
    "NOT_RUN",
    "UNDECIDED",
    "VERDICTS",
    "Claim",
    "Document",
    "Part",
    "Predicate",
    "Side",
    "Verdict",
    "documents",
    "evaluate",
    "judge",
    "load",
    "parse",
]
