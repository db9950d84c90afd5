"""An append-only journal of answers: what was asked once is never asked again, whatever kills the run."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import filelock

logger = logging.getLogger(__name__)


def answer_key(
    *, model: str, revision: str, kind: str, parameters: Mapping[str, Any], text: str | list[str]
) -> str:  # fmt: skip
    """Return the SHA-256 of all that an answer depends on.

    Args:
        model: Name of the model.
        revision: Its revision.
        kind: The kind of judging: ``reply``, ``option``, ``likelihood`` or ``reward``.
        parameters: What else the answer depends on: the longest reply, the options, the temperature, ...
        text: All that the model reads, template included.
    """
    parts = {"model": model, "revision": revision, "kind": kind, "parameters": dict(parameters), "text": text}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class Journal:
    """Answers by key, in memory and, a JSON object a line, in a file.

    A line is on the disk before `put` returns. Lines of one call are written at once and flushed once. Appending and
    repairing take a file lock (`filelock`, which the system releases when a process dies), so two processes do not
    tear each other's lines; each sees the lines of the other at its next `put` or `refresh`.

    Args:
        path: The file, made where it is absent; None keeps the answers in memory only.

    Raises:
        ValueError: For a damaged line, with its number. A torn last line is no damage: it is completed where only its
            line break is missing, else cut off, and logged.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = None if path is None else Path(path)
        self._entries: dict[str, dict[str, Any]] = {}
        self._read_to = 0  # bytes of the file that are in memory
        self._lines = 0
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        self.refresh()

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    def get(self, key: str, default: Any = None) -> Any:
        """Return the answer that was filed under a key, or the default."""
        return self._entries[key]["answer"] if key in self._entries else default

    def facts(self) -> list[dict[str, Any]]:
        """Return what was filed with each answer, in the order of filing."""
        return [{name: value for name, value in entry.items() if name != "answer"} for entry in self._entries.values()]

    def put(self, key: str, answer: Any, **facts: Any) -> None:
        """File one answer with facts about it; see `put_all`."""
        self.put_all([(key, answer, facts)])

    def put_all(self, entries: Iterable[tuple[str, Any, Mapping[str, Any]]]) -> None:
        """File answers, on the disk when this returns. Where a key has an answer already, the first one stays.

        Args:
            entries: Triples ``(key, answer, facts)`` of values that JSON can hold.

        Raises:
            ValueError: For an answer that JSON cannot hold (nan among them); nothing is written then.
            OSError: Where the disk is full; the file is as it was before.
        """
        fresh = {key: {"key": key, "answer": answer, **facts} for key, answer, facts in entries}
        lines = {key: _line(entry) for key, entry in fresh.items()}
        with self._locked():
            self._take_in()
            fresh = {key: entry for key, entry in fresh.items() if key not in self._entries}
            if self.path is not None and fresh:
                self._append(b"".join(lines[key] for key in fresh))
                self._lines += len(fresh)
            self._entries |= fresh

    def refresh(self) -> None:
        """Take in the lines that other processes have written, and repair a torn last line."""
        with self._locked():
            self._take_in()

    def _locked(self) -> AbstractContextManager:
        """Return the lock of the file; none where there is no file."""
        return nullcontext() if self.path is None else filelock.FileLock(f"{self.path}.lock")

    def _take_in(self) -> None:
        """Read on from where reading stopped; call it under the lock."""
        if self.path is None:
            return
        size = self.path.stat().st_size if self.path.exists() else 0
        if size < self._read_to:  # somebody removed or emptied it: begin again, and keep what is known
            self._read_to = self._lines = 0
        if not size:
            return
        with self.path.open("rb") as file:
            file.seek(self._read_to)
            content = file.read()
        whole, tail = content[: content.rfind(b"\n") + 1], content[content.rfind(b"\n") + 1 :]
        for line in whole.splitlines(keepends=True):
            self._lines += 1
            entry = _parsed(line)
            if entry is None:
                raise ValueError(f"{self.path.name}, line {self._lines}, is damaged: {line[:60]!r}")
            self._entries.setdefault(entry["key"], entry)
        self._read_to += len(whole)
        if tail:
            self._repair(tail)

    def _repair(self, tail: bytes) -> None:
        """Complete or cut off a last line without its line break: what a killed process leaves."""
        entry = _parsed(tail)
        if entry is not None:
            self._append(b"\n", already=len(tail))
            self._lines += 1
            self._entries.setdefault(entry["key"], entry)
            return
        logger.warning("%s: cut off a torn last line (%d bytes)", self.path.name, len(tail))
        with self.path.open("r+b") as file:
            file.truncate(self._read_to)
            os.fsync(file.fileno())

    def _append(self, content: bytes, *, already: int = 0) -> None:
        """Write at the end of the file and wait for the disk; ``already`` bytes of it stand there."""
        size = self._read_to + already
        is_new = not self.path.exists()
        with self.path.open("ab", buffering=0) as file:
            try:
                written = 0
                while written < len(content):
                    written += file.write(content[written:])
                os.fsync(file.fileno())
            except BaseException:  # a full disk, or an interrupt: no half line stays
                file.truncate(size)
                raise
        if is_new:
            _sync_folder(self.path.parent)
        self._read_to = size + len(content)


def _line(entry: dict[str, Any]) -> bytes:
    """Return an entry as a line; characters beyond ASCII are escaped, so that no text can break it."""
    try:
        return json.dumps(entry, allow_nan=False).encode("ascii") + b"\n"
    except (TypeError, ValueError) as error:
        raise ValueError(f"JSON cannot hold the answer {entry['answer']!r:.60} or its facts: {error}") from error


def _parsed(line: bytes) -> dict[str, Any] | None:
    """Return the entry of a line, or None where it is none."""
    try:
        entry = json.loads(line)
    except ValueError:  # not JSON, or not even text
        return None
    is_entry = isinstance(entry, dict) and isinstance(entry.get("key"), str) and "answer" in entry
    return entry if is_entry else None


def _sync_folder(folder: Path) -> None:
    """Make a new file's name last: it belongs to the folder, which has a flush of its own."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
