"""Near-duplicates: texts that share most of their letter sequences, found among any number of earlier ones."""

from __future__ import annotations

import sqlite3
import zlib
from pathlib import Path
from types import TracebackType

import numpy as np

from helpers.synthesis.words import words

SHINGLE = 5  # letters in a shingle
HASHES = 64
BANDS = 16  # texts that agree in all hashes of one band are compared: those of likeness 0.5 mostly are
_PRIME = np.uint64(4_294_967_311)  # the first above 2**32
_rng = np.random.default_rng(0)
_FACTOR = _rng.integers(1, 2**31, HASHES, dtype=np.uint64)[:, None]
_SHIFT = _rng.integers(0, 2**31, HASHES, dtype=np.uint64)[:, None]


def shingles(text: str) -> set[str]:
    """Return all runs of five letters of a text's words; of a shorter text, the text."""
    plain = " ".join(words(text))
    return {plain[at : at + SHINGLE] for at in range(max(1, len(plain) - SHINGLE + 1))}


def signature(text: str) -> np.ndarray:
    """Return the MinHash of a text, ``(64,)`` uint64: two texts agree in about as many places as shingles are common.

    Source: Broder 1997, "On the resemblance and containment of documents".
    """
    hashes = np.array([zlib.crc32(part.encode("utf-8", "replace")) for part in shingles(text)], dtype=np.uint64)
    return ((_FACTOR * hashes + _SHIFT) % _PRIME).min(axis=1)  # (64, n) -> (64,)


def likeness(first: np.ndarray, second: np.ndarray) -> float:
    """Return an estimate of the share of common shingles (Jaccard) of two texts from their signatures."""
    return float(np.mean(first == second))


class Seen:
    """The signatures of all texts so far, in a file of SQLite, so that memory does not grow with them.

    A text that is asked about again under the same id is no duplicate of itself: a run that was killed between adding
    a text and filing it finds the same when it goes on.

    Args:
        path: The file; None keeps all in memory.
        threshold: From which likeness on, 0 to 1, a text is a near-duplicate.

    Raises:
        ValueError: For a threshold out of range.
    """

    def __init__(self, path: str | Path | None = None, *, threshold: float = 0.7) -> None:
        if not 0 < threshold <= 1:
            raise ValueError(f"threshold={threshold} should be above 0 and at most 1")
        self.threshold = threshold
        self._db = sqlite3.connect(":memory:" if path is None else str(path))
        self._db.execute("CREATE TABLE IF NOT EXISTS texts (id TEXT PRIMARY KEY, signature BLOB) WITHOUT ROWID")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS bands (band INTEGER, id TEXT, PRIMARY KEY (band, id)) WITHOUT ROWID"
        )

    def __enter__(self) -> Seen:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()

    def __len__(self) -> int:
        return self._db.execute("SELECT count(*) FROM texts").fetchone()[0]

    def add(self, name: str, text: str) -> str | None:
        """Return the id of an earlier near-duplicate; where there is none, remember the text and return None."""
        own = signature(text)
        bands = _bands(own)
        marks = ",".join("?" * BANDS)
        rows = self._db.execute(
            f"SELECT DISTINCT id, signature FROM bands JOIN texts USING (id) WHERE band IN ({marks}) AND id != ?",
            (*bands, name),
        )
        near = [(likeness(own, np.frombuffer(blob, dtype=np.uint64)), other) for other, blob in rows]
        best = max(near, default=(0.0, ""))
        if best[0] >= self.threshold:
            return best[1]
        self._db.execute("INSERT OR REPLACE INTO texts VALUES (?, ?)", (name, own.tobytes()))
        self._db.executemany("INSERT OR REPLACE INTO bands VALUES (?, ?)", [(band, name) for band in bands])
        return None

    def commit(self) -> None:
        """Put what was added on the disk."""
        self._db.commit()


def _bands(values: np.ndarray) -> list[int]:
    """Return a number for each band of a signature."""
    parts = values.reshape(BANDS, -1)
    return [(zlib.crc32(part.tobytes()) << 8) | number for number, part in enumerate(parts)]
