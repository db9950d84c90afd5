"""Model cards: how something was trained and how it is used, without a training text or a path."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from helpers.contrastive.decoder_recipes import DecoderRecipe
    from helpers.contrastive.recipes import Recipe

FRONT = "library_name: sentence-transformers\npipeline_tag: sentence-similarity"


def encoder_card(recipe: Recipe, rows: int, seed: int) -> str:
    """Return the card of an encoder that was trained on answers to triplet questions."""
    return (
        f"---\n{FRONT}\ntags: [sentence-transformers, feature-extraction, sentence-similarity]\n---\n\n"
        f"# A sentence encoder, trained on {rows} triplets\n\n"
        "Fine-tuned on answers to triplet questions (which of two texts goes with the query?) with ClusterLLM's loss.\n"
        f"Put the prefix `{recipe.prefix!r}` before every text.\n\n"
        f"{settings_table(recipe, seed)}\n\n"
        f"Numbers of the recipe: {recipe.source or 'chosen by hand'}.\n"
    )


def decoder_card(recipe: DecoderRecipe, rows: int, seed: int) -> str:
    """Return the card of the weights that a decoder's training has left."""
    return (
        f"# Weights of a decoder, trained to embed on {rows} rows\n\n"
        "`weights.safetensors` holds the weights that were trained, and none of those that were not.\n\n"
        f"{settings_table(recipe, seed)}\n\n"
        f"Numbers of the recipe: {recipe.source or 'chosen by hand'}.\n"
    )


def settings_table(recipe: Any, seed: int) -> str:
    """Return a Markdown table of a recipe's settings."""
    settings = {key: value for key, value in dataclasses.asdict(recipe).items() if key != "source"}
    lines = [f"| {key} | `{value!r}` |" for key, value in settings.items()]
    return "\n".join(["| setting | value |", "|---|---|", f"| seed | `{seed}` |", *lines])
