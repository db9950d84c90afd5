"""Training a decoder to embed: pairs or triplets of texts go in, a SentenceTransformer and its adapter come out."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from helpers import files
from helpers.contrastive import cards, runs
from helpers.contrastive.decoder_recipes import DecoderRecipe
from helpers.contrastive.encoding import check_text, warn_of_long_texts
from helpers.contrastive.processes import join
from helpers.contrastive.student import (
    WEIGHTS,
    Student,
    attention_dropout,
    check_model,
    load_trained_weights,
    make_student,
)
from helpers.contrastive.surroundings import no_advice_between_libraries, no_loading_bars, own_random_numbers

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

LOG = "log.json"
LAST = "checkpoint-last"  # goes with the checkpoints
CHECKPOINTS = 10  # of a training, where nobody says how many


@dataclasses.dataclass(frozen=True)
class TrainedDecoder:
    """What a training leaves.

    Attributes:
        encoder: The trained decoder as a stock SentenceTransformer, in evaluation mode; its adapter is merged, but for
            a quantised model. ``encoder[0].model`` is the decoder, for `embedding.Embedder`. None where FSDP or ZeRO
            spread the weights over processes: the same call in one process then loads what they have left.
        adapter: The adapter's weights in float32, for `save_adapter`; None where all weights were trained.
        losses: The loss of each step, in nats.
        seconds: The time of each step.
    """

    encoder: SentenceTransformer | None
    adapter: dict[str, Tensor] | None
    losses: list[float]
    seconds: list[float]


def train_decoder(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Mapping[str, object]],
    *,
    recipe: DecoderRecipe,
    seed: int,
    output_dir: str | Path | None = None,
    resume: bool = True,
    progress: bool = False,
    save_steps: int | None = None,
    in_place: bool = False,
) -> TrainedDecoder:
    """Train a decoder on rows of texts that belong together, by `info_nce`.

    On one machine and with one number of threads and processes, the same rows, recipe, seed and starting weights give
    the same weights, whether the run was killed on the way or not. The random numbers of the caller stay as they were.
    Started by ``torchrun``, each process calls this with the same arguments and trains on its part of every batch.

    Args:
        model: A decoder without a head, from `models.load_decoder`; bidirectional where its ``config.is_causal`` is
            False. It is not changed, and trained on the device that it is on.
        tokenizer: Its tokenizer.
        rows: Each with the texts ``anchor``, ``positive`` and, in all rows or in none, ``negative``; other keys are
            not looked at. Texts are taken as they are: `prompts.normalise_sentence` is the caller's.
        recipe: How to train; see `DECODER_RECIPES`.
        seed: Of adapters, dropout, and the order where the recipe shuffles.
        output_dir: A folder for this training alone. The trained weights go to its ``final``; checkpoints stand beside
            it until then. None keeps nothing.
        resume: Go on from the last checkpoint in ``output_dir``, or load ``final`` where it is done. False deletes
            both and begins anew.
        progress: Show a progress bar.
        save_steps: Steps from one checkpoint to the next; a tenth of the training where None.
        in_place: Train the model itself and no copy, where there is no room for two. A quantised model's own weights
            stay as they were, and the adapter is left beside them.

    Raises:
        ValueError: For fewer rows than a batch, a missing column, a text that is empty or no string, a seed out of
            range, a model held in another precision than the recipe says or with adapters already, or an
            ``output_dir`` that holds another training.
    """
    check_model(model, recipe)
    columns = read_rows(rows, recipe)
    runs.check_numbers(seed, save_steps)
    save_steps = save_steps or max(1, recipe.total_steps(len(rows)) // CHECKPOINTS)

    def student() -> Student:
        return make_student(model, tokenizer, recipe, seed=seed, in_place=in_place)

    with own_random_numbers(), no_loading_bars(), no_advice_between_libraries():
        join(model.device)
        return runs.carry_out(
            output_dir,
            wanted=lambda: _identity(model, columns, recipe, seed),
            resume=resume,
            fit=lambda folder, keep: _fit(student(), columns, seed, folder, save_steps if keep else None, progress),
            save=lambda trained, folder: _save(trained, folder, recipe, len(rows), seed),
            load=lambda folder: _load(student(), folder),
        )


def read_rows(rows: Sequence[Mapping[str, object]], recipe: DecoderRecipe) -> dict[str, list[str]]:
    """Return the columns that a recipe trains on, or raise the ValueErrors of the rows."""
    if len(rows) == 0:
        raise ValueError("there are no rows to train on; at least one batch is needed")
    names = ["anchor", "positive"]
    if recipe.hard_negatives and "negative" in rows[0]:
        names.append("negative")
    for number, row in enumerate(rows):
        for name in names:
            if name not in row:
                raise ValueError(f"row {number} has no {name!r}; it has {', '.join(map(repr, row))}")
            check_text(row[name], f"{name} of row {number}")
        if recipe.hard_negatives and ("negative" in row) != ("negative" in names):
            raise ValueError(f"row {number} has a 'negative', and rows before it have none")
    recipe.total_steps(len(rows))
    return {name: [str(row[name]) for row in rows] for name in names}


def _identity(
    model: PreTrainedModel, columns: dict[str, list[str]], recipe: DecoderRecipe, seed: int
) -> dict[str, object]:
    """Return what decides the trained weights."""
    causal = getattr(model.config, "is_causal", True)
    return {**runs.identity(model, columns, recipe, seed), "causal": causal}


def _fit(
    student: Student, columns: dict[str, list[str]], seed: int, folder: Path, save_steps: int | None, progress: bool
) -> TrainedDecoder:
    """Train, from the last checkpoint where there is one."""
    from helpers.contrastive.decoder_trainer import make_decoder_trainer

    recipe = student.recipe
    warn_of_long_texts(student.encoder, [text for column in columns.values() for text in column], recipe.max_length)
    checkpoint = runs.last_checkpoint(folder) if save_steps else None
    trainer = make_decoder_trainer(student, columns, seed=seed, folder=folder, save_steps=save_steps, progress=progress)
    sharded = trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled
    if sharded and not save_steps:
        raise ValueError("output_dir=None keeps nothing, and weights that are spread over processes have to be kept")
    with attention_dropout(student.encoder, recipe.attention_dropout):
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    losses, seconds = trainer.curve()
    logger.info("%d steps, the last with loss %.3f, in %.0f s", len(losses), losses[-1], sum(seconds))
    if save_steps:
        trainer.save_model(str(folder / LAST))  # all processes take part where they share the weights
    return TrainedDecoder(*((None, None) if sharded else student.finish()), losses, seconds)


def _save(trained: TrainedDecoder, folder: Path, recipe: DecoderRecipe, rows: int, seed: int) -> None:
    """Keep the trained weights, the curve and a card."""
    (folder.parent / LAST / WEIGHTS).rename(folder / WEIGHTS)
    curve = {"losses": trained.losses, "seconds": trained.seconds}
    files.write_whole(folder / LOG, json.dumps(curve, indent=1))
    files.write_whole(folder / "README.md", cards.decoder_card(recipe, rows, seed))


def _load(student: Student, folder: Path) -> TrainedDecoder:
    """Give a student the weights that a training has left."""
    load_trained_weights(student.encoder, folder / WEIGHTS)
    curve = json.loads((folder / LOG).read_text(encoding="utf-8"))
    return TrainedDecoder(*student.finish(), **curve)
