"""Vectors kept on disk, so that a long run that was killed goes on where it stopped."""

from __future__ import annotations

import hashlib
import inspect
import io
import json
import logging
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from helpers import batching, embedding, files, pooling, prefixes, settings

if TYPE_CHECKING:
    from helpers.embedding import Embedder

logger = logging.getLogger(__name__)


def encode(
    embedder: Embedder, texts: Sequence[str], *, model_id: str, keep: bool, progress: bool = False
) -> np.ndarray:
    """Return ``embedder.encode(texts)``, read from the cache folder where the same was computed before.

    Args:
        embedder: What turns texts into vectors.
        texts: As for `Embedder.encode`.
        model_id: Name and revision of the weights, which the embedder itself does not know.
        keep: Look in the cache and write to it; a profile's ``keep_vectors``. Where it is False, this only encodes.
        progress: Show a progress bar.

    Returns:
        ``(len(texts), D)``, float32.
    """

    def compute() -> np.ndarray:
        return embedder.encode(texts, progress=progress)

    return kept(vectors_key(embedder, texts, model_id), compute) if keep else compute()


def kept(key: str, compute: Callable[[], np.ndarray]) -> np.ndarray:
    """Return vectors that the cache folder has under a key; compute and keep them where it has none.

    Args:
        key: A checksum of all that the vectors depend on, code included; see `checksum`.
        compute: Called where nothing is kept.
    """
    path = settings.cache_folder() / "vectors" / f"{key}.npy"
    if path.is_file():
        vectors = np.load(path, allow_pickle=False)
        logger.info("read %d vectors from the cache", len(vectors))
        return vectors
    vectors = compute()
    buffer = io.BytesIO()
    np.save(buffer, vectors, allow_pickle=False)
    files.write_whole(path, buffer.getvalue())
    return vectors


def checksum(parts: dict[str, object], *, code: Sequence[ModuleType], texts: Sequence[str]) -> str:
    """Return the SHA-256 of what vectors depend on: parts that JSON can hold, the source of modules, and the texts."""
    whole = {**parts, "code": [inspect.getsource(module) for module in code], "texts": list(texts)}
    return hashlib.sha256(json.dumps(whole, ensure_ascii=False).encode()).hexdigest()


def vectors_key(embedder: Embedder, texts: Sequence[str], model_id: str) -> str:
    """Return the SHA-256 of all that the vectors depend on: weights, precision, template, pooling, code, texts."""
    parts = {
        "model": model_id,
        "precision": str(embedder.model.dtype),
        "template": embedder.template,
        "pooling": embedder.pooling,
        "max_length": embedder.max_length,
    }
    return checksum(parts, code=(embedding, prefixes, pooling, batching), texts=texts)
