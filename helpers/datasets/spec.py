"""What an entry of the registry of datasets says, and the columns that each task needs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

# Task -> columns. A retrieval set has three parts with columns of their own, in the names that BEIR gave them.
COLUMNS: dict[str, tuple[str, ...]] = {
    "sts": ("sentence1", "sentence2", "score"),
    "clustering": ("text", "label"),
    "classification": ("text", "label"),
    "pair classification": ("text1", "text2", "label"),
    "triplets": ("anchor", "positive", "negative"),
    "instructed pairs": ("anchor", "positive", "negative", "instruction"),
    "text": ("text",),
    "definitions": ("word", "definition"),
    "sentence words": ("sentence", "word"),
    "word tags": ("sentence", "tags"),
}
PARTS: dict[str, tuple[str, ...]] = {
    "corpus": ("_id", "title", "text"),
    "queries": ("_id", "text"),
    "test": ("query-id", "corpus-id", "score"),
}
TASKS = (*COLUMNS, "retrieval")
# Columns whose values are texts that a model will read; the others are labels, scores and names.
TEXTS = (
    "text", "text1", "text2", "sentence1", "sentence2", "sentence", "anchor", "positive", "negative", "word",
    "definition",
)  # fmt: skip
# Texts that some rows have not: groups of synthetic data without hard negatives.
OPTIONAL = {"instructed pairs": ("negative",)}
# Universal part-of-speech tags (Petrov et al. 2012; de Marneffe et al. 2021).
TAGS = (
    "ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM", "PART", "PRON", "PROPN", "PUNCT", "SCONJ",
    "SYM", "VERB", "X",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class RemoteFile:
    """A plain file at a fixed address.

    Attributes:
        url: Where it is.
        sha256: What it must be.
    """

    url: str
    sha256: str


@dataclasses.dataclass(frozen=True)
class DatasetSpec:
    """One dataset of the book.

    Attributes:
        name: The name that chapters and records use.
        title: The name that readers know.
        task: What it measures or is for, one of `TASKS`.
        rows: Rows of each split (``corpus``, ``queries`` and ``test`` for retrieval).
        licence: Licence or terms of the texts.
        citation: Key in the bibliography, empty for the book's own data.
        revision: Commit on the hub, ``main`` where none could be named, or the release of the book's own data.
        extra: Columns beyond those of the task.
        folder: Folder under ``data/`` for bundled sets, else None.
        sha256: For bundled sets, the SHA-256 of each split's file.
        hub: Repository on the public hub, else None.
        mirror: Folder in a mirror; that of the hub where None.
        config: Configuration on the hub (a folder of the same name in a mirror), or one for each split.
        hub_splits: Splits of the hub that make up one of ours, where the names differ; empty where it has none.
        hub_files: Files of the hub to read, where it holds plain text.
        mirror_files: Name of a split's file in a mirror, where it is not ``SPLIT.jsonl``.
        files: Plain files, for sets that no hub holds.
        renamed: Column of the source -> our column.
        in_part: Whether a source may hold fewer rows (large training sets, of which a mirror has the first ones).
        drop_empty: Leave out rows without text (running text with blank lines).
        only: A column and the value that rows must have in it, for a part of a set under a name of its own.
        default_split: The split loaded when none is named.
        score_range: Lowest and highest gold score.
    """

    name: str
    title: str
    task: str
    rows: dict[str, int]
    licence: str
    citation: str
    revision: str
    extra: tuple[str, ...] = ()
    folder: str | None = None
    sha256: Mapping[str, str] = dataclasses.field(default_factory=dict)
    hub: str | None = None
    mirror: str | None = None
    config: str | Mapping[str, str] = ""
    hub_splits: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    hub_files: Mapping[str, str] = dataclasses.field(default_factory=dict)
    mirror_files: Mapping[str, str] = dataclasses.field(default_factory=dict)
    files: Mapping[str, RemoteFile] = dataclasses.field(default_factory=dict)
    renamed: Mapping[str, str] = dataclasses.field(default_factory=dict)
    in_part: bool = False
    drop_empty: bool = False
    only: tuple[str, str] | None = None
    default_split: str = "test"
    score_range: tuple[float, float] = (0.0, 5.0)

    @property
    def source(self) -> str:
        """Where the texts come from, for tables."""
        if self.folder:
            return f"data/{self.folder}"
        return f"hub {self.hub}" if self.hub else f"files of {self.mirror}"

    def columns(self, split: str) -> tuple[str, ...]:
        """Return the columns that every row of a split must have."""
        needed = PARTS[split] if self.task == "retrieval" else COLUMNS[self.task]
        return (*needed, *self.extra)

    def mirror_path(self, split: str) -> str | None:
        """Return the file of a split inside a mirror folder, or None for the book's own sets."""
        base = self.mirror or self.hub
        if base is None:
            return None
        name = self.mirror_files.get(split, f"{split}.jsonl")
        return "/".join(["datasets", *(part for part in (base, self.config_of(split), name) if part)])

    def config_of(self, split: str) -> str:
        """Return the configuration that holds a split; empty for the hub's default."""
        return self.config if isinstance(self.config, str) else self.config.get(split, "")
