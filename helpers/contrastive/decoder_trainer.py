"""The trainer for decoders: small checkpoints, a loss curve that survives a kill, and batches over processes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from datasets import Dataset
from safetensors.torch import save_file
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from helpers import settings
from helpers.contrastive import in_batch, processes
from helpers.contrastive.decoder_recipes import DecoderRecipe
from helpers.contrastive.student import WEIGHTS, Student, load_trained_weights, trained_weights
from helpers.contrastive.trainer import RecipeTrainer, make_arguments, make_callbacks

SCHEDULE_NAMES = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}

# The reentrant kind needs inputs with gradients, which frozen embeddings do not give.
CHECKPOINTING = {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": False}}


class StepTimes(TrainerCallback):
    """Writes the seconds of each step beside its loss."""

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, *rest: Any, **kwargs: Any) -> None:
        """Start the clock."""
        self.started = time.perf_counter()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, *rest: Any, **kwargs: Any) -> None:
        """Stop it."""
        self.seconds = time.perf_counter() - self.started

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Keep the time in the trainer's history, which each checkpoint holds."""
        if "loss" in state.log_history[-1]:
            state.log_history[-1]["seconds"] = self.seconds


class DecoderTrainer(RecipeTrainer):
    """The trainer with checkpoints that hold the trained weights alone: of a decoder with adapters, a few megabytes."""

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        """Write the trained weights; ``state_dict`` is given where they are spread over processes."""
        if self.args.should_save:
            folder = Path(output_dir or self.args.output_dir)
            folder.mkdir(parents=True, exist_ok=True)
            save_file(trained_weights(self.model, state_dict), folder / WEIGHTS)

    def _load_from_checkpoint(self, checkpoint_path: str, model: Any = None) -> None:
        """Read them again; what FSDP has spread, its own checkpoint beside them puts back."""
        if self.is_fsdp_enabled:
            Trainer._load_from_checkpoint(self, checkpoint_path, model)
        else:
            load_trained_weights(self.model, Path(checkpoint_path) / WEIGHTS)

    def curve(self) -> tuple[list[float], list[float]]:
        """Return the loss and the seconds of every step, those before a resumption included."""
        steps = [entry for entry in self.state.log_history if "loss" in entry]
        return [entry["loss"] for entry in steps], [entry["seconds"] for entry in steps]


def make_decoder_trainer(
    student: Student,
    columns: dict[str, list[str]],
    *,
    seed: int,
    folder: Path,
    save_steps: int | None,
    progress: bool,
) -> DecoderTrainer:
    """Put a decoder's recipe into the trainer's terms.

    Args:
        student: Trained in place.
        columns: ``anchor``, ``positive`` and perhaps ``negative``, in this order.
        seed: Of dropout, and of the order where the recipe shuffles.
        folder: For checkpoints.
        save_steps: Steps from one checkpoint to the next; None for no checkpoints.
        progress: Show a progress bar.

    Raises:
        ValueError: Where the batch cannot be divided among the processes.
    """
    recipe = student.recipe
    trainer = DecoderTrainer(
        model=student.encoder,
        args=make_arguments(
            student.encoder,
            folder,
            seed=seed,
            save_steps=save_steps,
            prompts=student.prompts or None,
            max_steps=recipe.total_steps(len(columns["anchor"])),
            **_numbers(recipe),
        ),
        train_dataset=Dataset.from_dict(columns),
        loss=in_batch.loss_of(student.encoder, recipe),
        callbacks=[StepTimes(), *make_callbacks(progress)],
    )
    trainer.shuffle = recipe.shuffle
    trainer.remove_callback(PrinterCallback)
    return trainer


def _numbers(recipe: DecoderRecipe) -> dict[str, Any]:
    """Return a recipe's numbers under the trainer's names."""
    return {
        "per_device_train_batch_size": _share_of_batch(recipe),
        "dataloader_drop_last": True,
        "learning_rate": recipe.learning_rate,
        "lr_scheduler_type": SCHEDULE_NAMES[recipe.schedule],
        "warmup_steps": recipe.warmup_steps,
        "weight_decay": recipe.weight_decay,
        "bf16": settings.precision(recipe.precision) == "bfloat16",
        "ddp_find_unused_parameters": False,
        "logging_strategy": "steps",
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        **(CHECKPOINTING if recipe.gradient_checkpointing else {}),
    }


def _share_of_batch(recipe: DecoderRecipe) -> int:
    """Return the rows of a step that one process encodes."""
    share, left = divmod(recipe.batch_size, processes.count())
    if left:
        raise ValueError(f"batch_size={recipe.batch_size} cannot be shared evenly by {processes.count()} processes")
    return share
