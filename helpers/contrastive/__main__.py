"""``python -m helpers.contrastive``: train a decoder by a recipe, in one process or in many.

The same command starts under ``torchrun`` and ``accelerate launch``; see the folder ``configs``.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from helpers import datasets, models, settings
from helpers.contrastive import processes
from helpers.contrastive.decoder import TrainedDecoder, train_decoder
from helpers.contrastive.decoder_recipes import DecoderRecipe
from helpers.contrastive.decoder_table import DECODER_RECIPES, decoder_recipe

logger = logging.getLogger("helpers.contrastive")


def main(arguments: Sequence[str] | None = None) -> TrainedDecoder:
    """Train as the command line says."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO if processes.is_main() else logging.WARNING, format="%(message)s")
    try:
        return run(options)
    except (ValueError, FileNotFoundError) as error:
        parser.error(str(error))


def make_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m helpers.contrastive",
        description="Train a decoder to embed texts.",
        epilog=f"Recipes: {'; '.join(DECODER_RECIPES)}.",
    )
    parser.add_argument("--model", required=True, help="registry name of a decoder")
    parser.add_argument("--data", required=True, help="registry name of a set of triplets, or a .json or .jsonl file")
    parser.add_argument("--recipe", required=True, help="name of a recipe")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="replace a recipe's setting")
    parser.add_argument("--rows", type=int, help="use the first rows only")
    parser.add_argument("--seed", type=int, default=100)
    parser.add_argument("--dtype", default="float32", help="of the frozen weights: float32, bfloat16 or fast")
    parser.add_argument("--bidirectional", action="store_true", help="let the decoder attend in both directions")
    parser.add_argument("--output", required=True, type=Path, help="folder of this training; it resumes there")
    parser.add_argument("--anew", action="store_true", help="delete what that folder holds and begin anew")
    parser.add_argument("--export", type=Path, help="folder for the encoder as sentence-transformers reads it")
    return parser


def run(options: argparse.Namespace) -> TrainedDecoder:
    """Load, train, and export where asked."""
    recipe = decoder_recipe(options.recipe, **read_settings(options.set))
    rows = read_triplets(options.data, options.rows)
    model, tokenizer = models.load_decoder(
        options.model, quantization=recipe.quantization, dtype=options.dtype, device=own_device()
    )
    if options.bidirectional:
        model.config.is_causal = False
    trained = train_decoder(
        model,
        tokenizer,
        rows,
        recipe=recipe,
        seed=options.seed,
        output_dir=options.output,
        resume=not options.anew,
        progress=True,
        in_place=True,  # the model was loaded for this alone
    )
    if options.export and processes.is_main():
        export(trained, options.export, recipe)
    return trained


def read_settings(pairs: Sequence[str]) -> dict[str, object]:
    """Turn ``name=value`` into settings; a value is read as JSON where it is JSON, else as text.

    Raises:
        ValueError: For an argument without an equals sign.
    """
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"--set {pair!r} should be NAME=VALUE")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def read_triplets(data: str, limit: int | None) -> list[Mapping[str, object]]:
    """Read rows from a file (a JSON list, or a JSON object in each line), or from a registered set.

    Raises:
        ValueError: For a file that holds no rows, or an unknown set.
        FileNotFoundError: For a file that is not there, or a set that no source has.
    """
    if not data.endswith((".json", ".jsonl")):
        return list(datasets.load(data, limit=limit))
    text = Path(data).read_text(encoding="utf-8")
    try:
        rows = json.loads(text) if data.endswith(".json") else [json.loads(line) for line in text.splitlines() if line]
    except ValueError as error:
        raise ValueError(f"{Path(data).name} cannot be read as JSON: {error}") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{Path(data).name} should hold a list of objects with anchor, positive, perhaps negative")
    return rows[:limit]


def own_device() -> str:
    """Return the device of this process: its own GPU where there are GPUs."""
    device = settings.device()
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if device == "cuda" else device


def export(trained: TrainedDecoder, folder: Path, recipe: DecoderRecipe) -> None:
    """Write the encoder as a stock folder.

    Raises:
        ValueError: Where the encoder is not in one piece, with what to do.
    """
    if trained.encoder is None:
        raise ValueError("the weights are spread over processes; run the same command once more in a single one")
    if recipe.quantization:
        raise ValueError("a quantised encoder has no stock folder; put its adapter on the float model")
    trained.encoder.save_pretrained(str(folder), create_model_card=False)
    logger.info("wrote the encoder to %s", folder.name)


if __name__ == "__main__":
    main()
