"""Your own corpus: a JSON or JSONL file whose objects have a ``text``, checked line by line; sentences and blocks."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from helpers import settings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

FORMATS = (".json", ".jsonl")
ABBREVIATIONS = ("mr", "mrs", "ms", "dr", "prof", "st", "no", "vs", "etc", "e.g", "i.e", "fig", "approx", "jr", "sr")
# An end is a full stop, question or exclamation mark, with closing quotes or brackets, before a space and what can
# begin a sentence.
_END = re.compile(r"""[.!?]+["')\]’”]*(?=\s+["'(\[‘“]?[A-Z0-9])""")
# What stands between rows: nothing but space, and in a list its bracket and commas.
_SPACE = re.compile(r"\s*")
_BETWEEN = re.compile(r"\s*[\[,]?\s*")


def read_corpus(path: str | Path, field: str = "text") -> list[str]:
    """Return the texts of a corpus, in order.

    Args:
        path: A ``.jsonl`` with one object a line, or a ``.json`` with a list of objects or with one object after the
            other (which many tools call JSON as well).
        field: Key of the text; other keys are not looked at.

    Returns:
        The texts, without white space around them; never an empty list.

    Raises:
        FileNotFoundError: Where there is no such file.
        ValueError: With the line (from 1) where a row is not JSON, is no object, lacks the field (with the nearest of
            its keys), or holds in it what is not a text or is empty. Also for another ending, a file that is not
            UTF-8, and a file without rows.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"{path.name} ends in {path.suffix!r}; a corpus ends in {' or '.join(FORMATS)}")
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        content = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name} is not UTF-8 (byte {error.start}); save it again as UTF-8") from error
    rows = _lines(content, path.name) if path.suffix.lower() == ".jsonl" else _objects(content, path.name)
    texts = [_text(row, field, f"{path.name}, line {line}") for line, row in rows]
    if not texts:
        raise ValueError(f"{path.name} holds no rows")
    return texts


def to_sentences(texts: Sequence[str], *, least_words: int = 4, most_words: int = 60) -> list[str]:
    """Cut texts into sentences, simply: at ``.``, ``!`` or ``?`` before a space and a capital letter or a digit.

    A few abbreviations (`ABBREVIATIONS`) and single initials do not end a sentence. It is made for prose in English;
    it does not know other languages' marks, and lists or tables come out as they are.

    Args:
        texts: What to cut.
        least_words: Shorter pieces are left out: they are headings and interjections.
        most_words: Longer ones too; a model would cut them.

    Returns:
        The sentences, each once, in the order in which they first occur.

    Raises:
        ValueError: Where the limits leave no sentence.
    """
    pieces = [piece for text in texts for piece in _split(" ".join(text.split()))]
    kept = [piece for piece in pieces if least_words <= len(piece.split()) <= most_words]
    if not kept:
        raise ValueError(f"no sentence of {len(texts)} texts has from {least_words} to {most_words} words")
    logger.info("%d sentences, %d pieces left out for their length", len(kept), len(pieces) - len(kept))
    return list(dict.fromkeys(kept))


def to_blocks(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, *, length: int) -> list[list[int]]:
    """Return all tokens of texts in blocks of one length: every block full, and no padding anywhere.

    Texts stand one after the other, each with its special tokens (where the tokenizer adds any) and a line end. What
    is left after the last full block is dropped.

    Args:
        texts: Running text.
        tokenizer: Of the model.
        length: Tokens in a block, at least 2.

    Returns:
        ``(N, length)`` token ids as lists, N at least 1.

    Raises:
        ValueError: For a length below 2, or texts with fewer tokens than one block.
    """
    if length < 2:
        raise ValueError(f"length={length} should be at least 2: a token is predicted from the one before it")
    lines = [f"{text.rstrip()}\n" for text in texts]
    tokens = [token for row in tokenizer(lines, verbose=False)["input_ids"] for token in row] if lines else []
    if len(tokens) < length:
        raise ValueError(f"the texts have {len(tokens)} tokens, fewer than one block of {length}")
    return [tokens[start : start + length] for start in range(0, len(tokens) - length + 1, length)]


def _lines(content: str, name: str) -> Iterator[tuple[int, object]]:
    """Yield line numbers and the JSON of each line that is not blank."""
    for number, line in enumerate(content.split("\n"), start=1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"{name}, line {number} is not JSON: {error.msg}: {line[:60]!r}") from error


def _objects(content: str, name: str) -> Iterator[tuple[int, object]]:
    """Yield the rows of a JSON list, or of objects one after the other, with the line on which each begins."""
    listed = content.lstrip().startswith("[")
    decoder = json.JSONDecoder()
    try:
        if listed:
            json.loads(content)  # as a whole first: what follows only looks for the rows in it
        between = _BETWEEN if listed else _SPACE
        place = between.match(content, 0).end()
        while place < len(content) and not (listed and content[place] == "]"):
            line = content.count("\n", 0, place) + 1
            row, place = decoder.raw_decode(content, place)
            yield line, row
            place = between.match(content, place).end()
    except json.JSONDecodeError as error:
        raise ValueError(f"{name}, line {error.lineno} is not JSON: {error.msg}") from error


def _text(row: object, field: str, where: str) -> str:
    """Return the text of a row, or raise a ValueError that says what it has in its place."""
    if not isinstance(row, dict):
        raise ValueError(f"{where} is {type(row).__name__}; every row should be an object with the key {field!r}")
    if field not in row:
        raise ValueError(f"{where} has no {field!r}; {settings.nearest(field, map(str, row))}")
    value = row[field]
    if not isinstance(value, str):
        raise ValueError(f"{where}: {field!r} is {value!r} of type {type(value).__name__}; it should be a text")
    if not value.strip():
        raise ValueError(f"{where}: {field!r} is empty")
    return value.strip()


def _split(text: str) -> Iterator[str]:
    """Yield the sentences of one text in which words are parted by single spaces."""
    start = 0
    for end in _END.finditer(text):
        last = text[start : end.start()].rsplit(" ", 1)[-1].lstrip("\"'([‘“")
        initial = len(last) == 1 and last.isalpha() and last != "I"
        if end.group() == "." and (initial or last.lower() in ABBREVIATIONS):
            continue
        yield text[start : end.end()]
        start = end.end() + 1
    if text[start:].strip():
        yield text[start:]
