"""Recipes: all that decides how an encoder is trained, as data, with the source of each number."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from helpers import settings
from helpers.contrastive.losses import check_part, check_temperature


def check_whole(recipe: Any, *names: str, least: int = 1) -> None:
    """Raise a ValueError for a field that is no whole number, or too small."""
    for name in names:
        value = getattr(recipe, name)
        if not isinstance(value, int) or value < least:
            raise ValueError(f"{name}={value!r} should be a whole number from {least}")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How an encoder is trained on triplets, and how it reads texts then and later.

    What is the same in all recipes: full fine-tuning in float32 by AdamW without weight decay, gradients clipped at
    norm 1, and a learning rate that falls linearly to 0.

    Attributes:
        learning_rate: The highest one.
        temperature: τ of the loss.
        epochs: Passes over the triplets.
        batch_size: Triplets in a step.
        prefix: Put before every text, in training and in `encode_with` alike.
        part: ``both``, ``own triplet`` or ``in batch`` (see `triplet_question_parts`).
        warmup: Share of all steps in which the learning rate rises from 0; from 0 to 1.
        max_length: Most tokens of a text; an encoder with a shorter window keeps its own. Batches are padded to their
            longest text, so short texts stay cheap.
        shuffle: Draw a new order in every epoch, from the seed; else the order of the rows is kept.
        source: Where the numbers come from.

    Raises:
        ValueError: For a value out of range; the message names it.
    """

    learning_rate: float
    temperature: float
    epochs: int
    batch_size: int
    prefix: str = ""
    part: str = "both"
    warmup: float = 0.0
    max_length: int = 512
    shuffle: bool = False
    source: str = ""

    def __post_init__(self) -> None:
        check_temperature(self.temperature)
        check_part(self.part)
        if not 0 < self.learning_rate < 1:
            raise ValueError(f"learning_rate={self.learning_rate} should be above 0 and below 1")
        if not 0 <= self.warmup <= 1:
            raise ValueError(f"warmup={self.warmup} should be a share of the steps, from 0 to 1")
        check_whole(self, "epochs", "batch_size", "max_length")


RECIPES: dict[str, Recipe] = {
    "e5 (ClusterLLM)": Recipe(
        learning_rate=2e-6,
        temperature=0.01,
        epochs=5,
        batch_size=4,
        prefix="query: ",
        source="ClusterLLM (Zhang et al. 2023), the repository's script for e5-large; the paper is said to have "
        "used 2e-7",
    ),
    "gte (EMBwithLLM)": Recipe(
        learning_rate=5e-7,
        temperature=0.1,
        epochs=8,
        batch_size=2,
        prefix="query: ",
        source="EMBwithLLM, the repository's script for gte-large; it trains with another prefix than it measures "
        "with, and this is the one it measures with",
    ),
    "minilm": Recipe(
        learning_rate=2e-5,
        temperature=0.05,
        epochs=1,
        batch_size=16,
        max_length=256,
        shuffle=True,
        source="trials with all-MiniLM-L6-v2, one training seed each: two epochs at 1e-5 on Banking77; on the book's "
        "intents, half the steps at twice the rate gained as much from random answers; nobody published them",
    ),
}


def recipe_named(name: str, **changes: object) -> Recipe:
    """Return a recipe of `RECIPES`, with single values replaced where asked.

    Raises:
        ValueError: For an unknown name or field, with the nearest one, or a value out of range.
    """
    return changed(RECIPES, name, changes)


def changed(recipes: Mapping[str, Any], name: str, changes: Mapping[str, object]) -> Any:
    """Return the recipe of that name with single values replaced; errors as `recipe_named`."""
    if name not in recipes:
        raise ValueError(f"unknown recipe {name!r}; {settings.nearest(name, recipes)}")
    fields = [field.name for field in dataclasses.fields(recipes[name])]
    for key in changes:
        if key not in fields:
            raise ValueError(f"unknown recipe setting {key!r}; {settings.nearest(key, fields)}")
    return dataclasses.replace(recipes[name], **changes)
