"""Words of any language, for lengths, overlaps and n-grams: cut at white space, or at each character without it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

# Thai, Lao, Burmese, Khmer; kana, Chinese characters: scripts that put no space between words.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\s{_UNSPACED}]+")


def words(text: str) -> list[str]:
    """Return the words of a text in small letters, without the punctuation around them."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return [word for word in map(_bare, _WORD.findall(folded)) if word]


def _bare(word: str) -> str:
    """Return a word without what is neither letter, number nor mark at its ends."""
    kept = [at for at, sign in enumerate(word) if unicodedata.category(sign)[0] in "LNM"]
    return word[kept[0] : kept[-1] + 1] if kept else ""


def contains(whole: Sequence[str], part: Sequence[str]) -> bool:
    """Say whether words stand in other words, next to each other and in order; no words stand in everything."""
    return f" {' '.join(part)} " in f" {' '.join(whole)} " if part else True


def ngrams(sequence: Sequence[str], n: int) -> list[tuple[str, ...]]:
    """Return all runs of n words."""
    return [tuple(sequence[at : at + n]) for at in range(len(sequence) - n + 1)]
