"""Reading texts the way a recipe says, so that what is trained and what is measured get the same input."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from helpers.contrastive.recipes import Recipe

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

logger = logging.getLogger(__name__)

SPECIAL_TOKENS = 4  # more than any encoder of the book puts around a text


def encode_with(
    model: SentenceTransformer, recipe: Recipe, texts: Sequence[str], *, batch_size: int = 32, progress: bool = False
) -> np.ndarray:
    """Encode texts with the prefix and the length that the recipe trains with.

    Args:
        model: The encoder, before or after training; it is not changed.
        recipe: Its prefix goes before every text; its ``max_length`` cuts long ones.
        texts: ``(N,)``, without the prefix.
        batch_size: Texts in one forward pass.
        progress: Show a progress bar.

    Returns:
        ``(N, D)``, float32, in the order given; as the model gives them, neither scaled nor normalised.

    Raises:
        ValueError: For no texts, or a text that is empty or no string.
    """
    if isinstance(texts, str) or len(texts) == 0:
        raise ValueError(f"texts should be a list with at least one text, got {texts!r}")
    for row, text in enumerate(texts):
        check_text(text, f"text {row}")
    read = [recipe.prefix + text for text in texts]
    limit = token_limit(model, recipe)
    warn_of_long_texts(model, read, limit)
    vectors = model.encode(
        read,
        prompt="",  # the prefix is there already, and a default prompt of the model must not come before it
        batch_size=batch_size,
        show_progress_bar=progress,
        processing_kwargs={"text": {"max_length": limit, "truncation": True}},
    )
    return np.asarray(vectors, dtype=np.float32)


def token_limit(model: SentenceTransformer, recipe: Recipe) -> int:
    """Return the most tokens that the model reads of a text under a recipe: the shorter of their limits."""
    return min(recipe.max_length, model.max_seq_length or recipe.max_length)


def warn_of_long_texts(model: SentenceTransformer, texts: Sequence[str], limit: int) -> None:
    """Log how many texts are longer than the limit, special tokens included, and so will be cut."""
    # No tokenizer makes more tokens than there are bytes, so most texts need no counting.
    candidates = [text for text in texts if len(text.encode()) + SPECIAL_TOKENS > limit]
    if candidates:
        tokens = model.tokenizer(candidates, add_special_tokens=True, truncation=False, verbose=False)["input_ids"]
        if cut := sum(len(row) > limit for row in tokens):
            logger.warning("%d of %d texts are longer than %d tokens and are cut", cut, len(texts), limit)


def check_text(text: object, what: str) -> None:
    """Raise a ValueError for a text that is no string, or has nothing in it."""
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"{what} should be a text with something in it, got {text!r}")
