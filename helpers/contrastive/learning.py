"""What an encoder makes of texts after it has learned from triplets: train, encode, and keep the vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from helpers import store
from helpers.contrastive import encoder, encoding, losses, objective, runs
from helpers.contrastive.recipes import Recipe

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def learned_vectors(
    model: SentenceTransformer,
    rows: Sequence[Mapping[str, object]],
    texts: Sequence[str],
    *,
    recipe: Recipe,
    seed: int,
    keep: bool = False,
) -> np.ndarray:
    """Train a copy of an encoder on triplets, and return the vectors that it gives to texts.

    Where many trainings are compared, the vectors are all that is needed of each: a thousand times smaller than the
    weights.

    Args:
        model: The encoder to start from; it is not changed.
        rows: What to train on, as for `train_encoder`.
        texts: What to encode, without the recipe's prefix.
        recipe: How to train and how to read.
        seed: Of the training.
        keep: Look in the cache folder for the vectors of the same training, and keep them there; a profile's
            ``keep_vectors``.

    Returns:
        ``(len(texts), D)``, float32, as `encode_with` returns them.

    Raises:
        ValueError: As `train_encoder` and `encode_with`.
    """

    def compute() -> np.ndarray:
        student = encoder.train_encoder(model, rows, recipe=recipe, seed=seed)
        return encoding.encode_with(student, recipe, texts)

    if not keep:
        return compute()
    from helpers.contrastive import trainer  # it imports sentence-transformers, which is slow

    parts = runs.identity(model, encoder.read_columns(rows, recipe), recipe, seed)
    code = (encoder, encoding, losses, objective, trainer)
    return store.kept(store.checksum(parts, code=code, texts=texts), compute)
