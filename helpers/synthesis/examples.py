"""A finished example: the row that is filed and trained on, with where it comes from."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping

from helpers.synthesis.asking import Request
from helpers.synthesis.taxonomy import group_named

COLUMNS = (
    "id", "anchor", "positive", "negative", "instruction", "group", "step", "task", "language", "placeholders", "model",
    "revision", "seed",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Example:
    """The fields of one answer that could be read.

    Attributes:
        request: What was asked.
        fields: Key -> text.
        model: Name of the model that wrote it.
        revision: Its revision.
    """

    request: Request
    fields: Mapping[str, str]
    model: str
    revision: str

    @property
    def anchor(self) -> str:
        """The text that the row begins with."""
        return self.fields[group_named(self.request.group).anchor]

    @property
    def positive(self) -> str:
        """The text that goes with it."""
        return self.fields[group_named(self.request.group).positive]

    @property
    def negative(self) -> str:
        """The hard negative; empty where the group has none."""
        key = group_named(self.request.group).negative
        return "" if key is None else self.fields[key]

    @property
    def task(self) -> str:
        """The task, whoever thought of it; empty where the group has none."""
        return self.request.task or self.fields.get("task", "")

    def row(self) -> dict[str, str | int]:
        """Return the columns of `COLUMNS`: texts, and the seed of the model's draws.

        Placeholders are a JSON object in a text, because groups have different ones, and a table has one type a column.
        """
        asked = self.request
        instruction = group_named(asked.group).instruction or self.task
        placeholders = json.dumps(dict(asked.placeholders), ensure_ascii=False)
        values = (
            asked.id, self.anchor, self.positive, self.negative, instruction, asked.group, asked.step, self.task,
            asked.language or "", placeholders, self.model, self.revision, asked.seed,
        )  # fmt: skip
        return dict(zip(COLUMNS, values, strict=True))
