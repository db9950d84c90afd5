"""The pool: sentences and definitions, each with one word that stands for it."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from pathlib import Path

from helpers import datasets, prompts

# The 300 demonstrations that came with PromptEOL's code (arXiv 2307.16645), where a mirror has them.
PUBLISHED_FILE = "datasets/kongds/scaling_sentemb/icl.jsonl"
PUBLISHED_SENTENCES = 100  # the first ones are sentences of STS-B's training part; the others are definitions
_PUBLISHED_LINE = re.compile(
    r'This sentence : "(.+)" means in one word:"(.+)"\.This sentence : "[^"]*" means in one word:"'
)


@dataclasses.dataclass(frozen=True)
class Demonstration:
    """A solved example.

    Attributes:
        name: Unique in its pool.
        sentence: The text, as it stands in the template.
        word: The word that stands for it.
        kind: ``sentence``, ``definition``, or whatever the pool tells apart.
        quotable: Whether its sentence may be printed; not for those that nobody has stated a licence for.
    """

    name: str
    sentence: str
    word: str
    kind: str = "sentence"
    quotable: bool = True

    def __str__(self) -> str:
        """Print the sentence, or the name where the sentence may not be printed, and the word."""
        return f"{self.sentence if self.quotable else self.name} -> {self.word}"

    def template(self, template: str = prompts.PROMPT_EOL) -> str:
        """Return the template with this example before it."""
        return prompts.with_demonstration(self.sentence, self.word, template=template)


def own_pool() -> list[Demonstration]:
    """Return the book's own pool: 100 sentences and 200 definitions, each prepared like a sentence to be embedded."""
    sentences = [
        _made(f"sentence {row['id']}", row["sentence"], row["word"], "sentence")
        for row in datasets.load("sentence-words")
    ]
    definitions = [
        _made(f"definition {row['id']}", row["definition"], row["word"], "definition")
        for row in datasets.load("definitions")
    ]
    return [*sentences, *definitions]


def published_pool() -> list[Demonstration]:
    """Return the 300 published demonstrations from the mirror folder; their names count from 0, as the paper's do.

    Raises:
        FileNotFoundError: Where there is no mirror, or the mirror does not hold them. No other place is tried: nobody
            has stated a licence for them.
        ValueError: For a line that is not the template with one solved example.
    """
    mirror = os.environ.get(datasets.MIRROR_VARIABLE)
    path = Path(mirror or "") / PUBLISHED_FILE
    if not mirror or not path.is_file():
        raise FileNotFoundError(
            f"the published demonstrations are not here: {datasets.MIRROR_VARIABLE} "
            f"(now {'set' if mirror else 'not set'}) should name a folder that holds {PUBLISHED_FILE}; "
            "the book's own pool needs nothing"
        )
    lines = path.read_text(encoding="utf-8").splitlines()
    return [_published(number, json.loads(line)["template"]) for number, line in enumerate(lines)]


def read_pool(path: str | Path) -> list[Demonstration]:
    """Return a pool of your own from a file with the columns ``sentence`` and ``word``.

    Raises:
        FileNotFoundError: As `datasets.read_texts`.
        ValueError: As there, and for a file without columns (``.txt``).
    """
    if Path(path).suffix == ".txt":
        raise ValueError(f"{Path(path).name} has no columns; a pool needs the columns 'sentence' and 'word'")
    sentences, words = (datasets.read_texts(path, column) for column in ("sentence", "word"))
    rows = enumerate(zip(sentences, words, strict=True), start=1)
    return [_made(f"own {number}", sentence, word, "own") for number, (sentence, word) in rows]


def _made(name: str, sentence: str, word: str, kind: str) -> Demonstration:
    """Prepare the sentence as texts are prepared, and begin the word with a capital, as published ones do."""
    return Demonstration(name, prompts.normalise_sentence(sentence), word[:1].upper() + word[1:], kind)


def _published(number: int, line: str) -> Demonstration:
    """Take a published line apart."""
    found = _PUBLISHED_LINE.fullmatch(line)
    if not found:
        raise ValueError(f"published demonstration {number} is not PromptEOL with one solved example: {line[:80]!r}")
    kind = "sentence" if number < PUBLISHED_SENTENCES else "definition"
    return Demonstration(f"published {number}", found[1], found[2], kind, quotable=False)
