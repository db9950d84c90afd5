"""Is a text in the language that was asked for? By py3langid, whose model comes with it."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from helpers import settings
from helpers.synthesis.languages import CODES

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

LEAST_BYTES = 20  # a shorter text says too little
RATIO = 500  # how many times more probable than the wanted language another one should be


@functools.cache
def _identifier() -> LanguageIdentifier:
    """Return the identifier, which chooses among our languages only: dialects beside them would split their votes."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(set(CODES.values()) & set(identifier.labels))
    return identifier


def probabilities(text: str) -> dict[str, float]:
    """Return language -> probability, the most probable first; languages that the model does not know are missing."""
    names = {code: name for name, code in CODES.items()}
    return {names[code]: float(value) for code, value in _identifier().rank(text)}


def is_wrong_language(text: str, wanted: str) -> bool:
    """Say whether a text is surely in another language than the wanted one.

    A text of fewer than 20 UTF-8 bytes, one that the model is not sure of, and one that should be in a language which
    it does not know (Sindhi, Sundanese, Yiddish) all pass: this finds what is wrong, it does not prove what is right.

    Raises:
        ValueError: For an unknown language, with the nearest name.
    """
    if wanted not in CODES:
        raise ValueError(f"unknown language {wanted!r}; {settings.nearest(wanted, CODES)}")
    if len(text.encode("utf-8", "replace")) < LEAST_BYTES:
        return False
    found = probabilities(text)
    return wanted in found and next(iter(found.values())) > RATIO * found[wanted]
