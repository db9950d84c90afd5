"""Training an encoder on triplets: anchor, positive, negative."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from helpers import files
from helpers.contrastive import cards, runs
from helpers.contrastive.encoding import check_text, token_limit, warn_of_long_texts
from helpers.contrastive.recipes import Recipe
from helpers.contrastive.surroundings import no_loading_bars, own_random_numbers

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

logger = logging.getLogger(__name__)

COLUMNS = ("anchor", "positive", "negative")


def train_encoder(
    model: SentenceTransformer,
    rows: Sequence[Mapping[str, object]],
    *,
    recipe: Recipe,
    seed: int,
    output_dir: str | Path | None = None,
    resume: bool = True,
    progress: bool = False,
    save_steps: int | None = None,
) -> SentenceTransformer:
    """Train a copy of an encoder on triplets, with `TripletQuestionLoss`.

    On one machine and with one number of threads, the same rows, recipe, seed and starting weights give the same
    weights, whether the run was killed on the way or not. The random numbers of the caller stay as they were.

    Args:
        model: The encoder to start from; it is not changed. The copy is trained on the device that it is on.
        rows: Each with the texts ``anchor``, ``positive`` and ``negative``, without the recipe's prefix; other keys
            are not looked at.
        recipe: How to train; see `RECIPES`.
        seed: Of dropout, and of the order where the recipe shuffles.
        output_dir: A folder for this training alone. The trained model goes to its ``final``, a stock
            sentence-transformers folder; checkpoints stand beside it until then. None keeps nothing.
        resume: Go on from the last checkpoint in ``output_dir``, or load ``final`` where it is done. False deletes
            both and begins anew.
        progress: Show a progress bar.
        save_steps: Steps from one checkpoint to the next; an epoch's where None.

    Returns:
        The trained encoder, in evaluation mode.

    Raises:
        ValueError: For no rows, a missing column, a text that is empty or no string, texts that have the prefix
            already, a seed out of range, or an ``output_dir`` that holds another training.
    """
    columns = read_columns(rows, recipe)
    runs.check_numbers(seed, save_steps)
    steps = save_steps or -(-len(rows) // recipe.batch_size)

    def save(trained: SentenceTransformer, folder: Path) -> None:
        trained.save_pretrained(str(folder), create_model_card=False)
        files.write_whole(folder / "README.md", cards.encoder_card(recipe, len(rows), seed))

    with own_random_numbers(), no_loading_bars():
        return runs.carry_out(
            output_dir,
            wanted=lambda: runs.identity(model, columns, recipe, seed),
            resume=resume,
            fit=lambda folder, keep: _fit(model, columns, recipe, seed, folder, steps if keep else None, progress),
            save=save,
            load=lambda folder: _load(folder, model),
        )


def read_columns(rows: Sequence[Mapping[str, object]], recipe: Recipe) -> dict[str, list[str]]:
    """Return the three columns with the recipe's prefix before every text, or raise the ValueErrors of the rows."""
    if len(rows) == 0:
        raise ValueError("there are no rows to train on; at least one triplet with an answer is needed")
    for number, row in enumerate(rows):
        for column in COLUMNS:
            if column not in row:
                raise ValueError(f"row {number} has no {column!r}; it has {', '.join(map(repr, row))}")
            check_text(row[column], f"{column} of row {number}")
    if recipe.prefix and all(str(row[column]).startswith(recipe.prefix) for row in rows for column in COLUMNS):
        raise ValueError(
            f"all texts begin with the prefix {recipe.prefix!r} already, and the recipe would add it again"
        )
    return {column: [recipe.prefix + str(row[column]) for row in rows] for column in COLUMNS}


def _fit(
    model: SentenceTransformer,
    columns: dict[str, list[str]],
    recipe: Recipe,
    seed: int,
    folder: Path,
    save_steps: int | None,
    progress: bool,
) -> SentenceTransformer:
    """Train a copy, from the last checkpoint where there is one."""
    from helpers.contrastive.trainer import make_trainer

    student = copy.deepcopy(model)
    student.max_seq_length = token_limit(model, recipe)
    warn_of_long_texts(student, [text for column in columns.values() for text in column], student.max_seq_length)
    trainer = make_trainer(student, columns, recipe, seed=seed, folder=folder, save_steps=save_steps, progress=progress)
    checkpoint = runs.last_checkpoint(folder) if save_steps else None
    started = time.perf_counter()
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    done = f"after {checkpoint.name}" if checkpoint else "from the beginning"
    logger.info("%d steps, %s, in %.0f s", trainer.state.global_step, done, time.perf_counter() - started)
    return student.eval()


def _load(folder: Path, model: SentenceTransformer) -> SentenceTransformer:
    """Load a trained model onto the device of the one that it came from."""
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(
        str(folder), device=str(model.device), local_files_only=True, model_kwargs={"use_safetensors": True}
    ).eval()
