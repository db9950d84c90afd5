"""sentence-transformers' trainer with an order of its own, checkpoints that are known to be whole, and no output."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.base.sampler import DefaultBatchSampler
from torch.utils.data import Sampler
from tqdm import tqdm
from transformers import PrinterCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from helpers.contrastive import processes
from helpers.contrastive.objective import TripletQuestionLoss
from helpers.contrastive.recipes import Recipe
from helpers.contrastive.runs import mark_whole


class EpochOrder(Sampler[int]):
    """Row numbers in the order of an epoch: as they stand, or shuffled anew by seed and epoch.

    A resumed run comes to the same order without going through the epochs before it, which a generator that goes on
    from epoch to epoch would need.

    Args:
        rows: How many there are.
        seed: Of the shuffling, or None to keep the order.
    """

    def __init__(self, rows: int, seed: int | None) -> None:
        self.rows, self.seed, self.epoch = rows, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Take note of the epoch, counted from 0; the data loader calls this."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        if self.seed is None:
            return iter(range(self.rows))
        return iter(np.random.default_rng([self.seed, self.epoch]).permutation(self.rows).tolist())

    def __len__(self) -> int:
        return self.rows


class Checkpoints(TrainerCallback):
    """Marks each checkpoint when it is whole, and makes none at the last step, where the model itself is saved."""

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Decide after the trainer's own rule, which has run by then."""
        if state.global_step >= state.max_steps:
            control.should_save = False
        return control

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Mark what has just been written, when all processes have written their part."""
        processes.wait()
        if processes.is_main():
            mark_whole(Path(args.output_dir), state.global_step)


class Bar(TrainerCallback):
    """One progress bar over the steps; transformers' own also writes tables and a line of numbers."""

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, *rest: Any, **kwargs: Any) -> None:
        """Start where the run starts: a resumed one not at 0."""
        self.bar = tqdm(desc="training", total=state.max_steps, initial=state.global_step, unit="step")

    def on_step_end(self, args: TrainingArguments, state: TrainerState, *rest: Any, **kwargs: Any) -> None:
        """Go on by a step."""
        self.bar.update(state.global_step - self.bar.n)

    def on_train_end(self, args: TrainingArguments, state: TrainerState, *rest: Any, **kwargs: Any) -> None:
        """Close the bar."""
        self.bar.close()


class RecipeTrainer(SentenceTransformerTrainer):
    """sentence-transformers' trainer with the order of the recipe, and without its model card.

    That card holds training texts and takes longer to write than a small checkpoint; `cards` has others.
    """

    shuffle: bool = False

    def get_batch_sampler(
        self, dataset: Dataset, batch_size: int, drop_last: bool, *rest: Any, seed: int = 0, **kwargs: Any
    ) -> DefaultBatchSampler:
        """Cut the order of the epoch into batches; the last one may be smaller."""
        order = EpochOrder(len(dataset), seed if self.shuffle else None)
        return DefaultBatchSampler(order, batch_size=batch_size, drop_last=drop_last, seed=seed)

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """Add none."""

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        """Write the encoder of a checkpoint, tokenizer included, without a card."""
        self.model.save_pretrained(output_dir or self.args.output_dir, create_model_card=False)


def make_trainer(
    model: SentenceTransformer,
    columns: dict[str, list[str]],
    recipe: Recipe,
    *,
    seed: int,
    folder: Path,
    save_steps: int | None,
    progress: bool,
) -> RecipeTrainer:
    """Put a recipe into the trainer's terms.

    Args:
        model: Trained in place.
        columns: ``anchor``, ``positive``, ``negative``, in this order, with the prefix before every text.
        recipe: How to train.
        seed: Of dropout, and of the order where the recipe shuffles.
        folder: For checkpoints.
        save_steps: Steps from one checkpoint to the next; None for no checkpoints.
        progress: Show a progress bar.
    """
    steps = -(-len(columns["anchor"]) // recipe.batch_size) * recipe.epochs
    arguments = make_arguments(
        model,
        folder,
        seed=seed,
        save_steps=save_steps,
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=round(recipe.warmup * steps),
        weight_decay=0.0,
        logging_strategy="no",
    )
    loss = TripletQuestionLoss(model, recipe.temperature, recipe.part)
    trainer = RecipeTrainer(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_dict(columns),
        loss=loss,
        callbacks=make_callbacks(progress),
    )
    trainer.shuffle = recipe.shuffle
    trainer.remove_callback(PrinterCallback)
    return trainer


def make_arguments(
    model: SentenceTransformer, folder: Path, *, seed: int, save_steps: int | None, **numbers: Any
) -> SentenceTransformerTrainingArguments:
    """Return what all trainings have in common, and the numbers of this one.

    Args:
        model: Where it is decides where the training runs.
        folder: For checkpoints.
        seed: Of dropout, and of the order where the recipe shuffles.
        save_steps: Steps from one checkpoint to the next; None for no checkpoints.
        **numbers: More arguments of sentence-transformers' trainer.
    """
    on_cpu = model.device.type == "cpu"
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(folder),
        max_grad_norm=1.0,
        optim="adamw_torch",
        seed=seed,
        save_strategy="steps" if save_steps else "no",
        save_steps=save_steps or 500,
        save_total_limit=2,  # the one before the last goes only when the last is whole
        report_to="none",
        disable_tqdm=True,
        use_cpu=on_cpu,
        dataloader_pin_memory=not on_cpu,
        **numbers,
    )
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1  # the trainer would multiply the batch by the GPUs, and the loss lives on the batch
    return arguments


def make_callbacks(progress: bool) -> list[TrainerCallback]:
    """Return what watches every training."""
    return [Checkpoints(), *([Bar()] if progress and processes.is_main() else [])]
