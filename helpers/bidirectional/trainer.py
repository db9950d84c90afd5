"""transformers' trainer for masked next-token prediction: rows in an order of their own, adapters alone on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import (
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerState,
    TrainingArguments,
    get_scheduler,
)

from helpers import settings
from helpers.bidirectional import adapters
from helpers.bidirectional.job import Job
from helpers.bidirectional.options import TrainingOptions
from helpers.contrastive import processes
from helpers.contrastive.trainer import make_callbacks

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


# The other kind needs inputs with gradients, which frozen embeddings do not have.
CHECKPOINTING = {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": False}}


class Stream(Dataset):
    """Blocks in the order of training, as one long list: all of them in a new order, again and again.

    A resumed run skips to its place without going through what came before, and each row's masks hang on its place
    (``draw``), so they too are what they would have been.

    Args:
        blocks: ``(N, L)`` token ids.
        length: Rows of the whole training.
        seed: Of the orders.
    """

    def __init__(self, blocks: Sequence[Sequence[int]], length: int, seed: int) -> None:
        self.blocks, self.length, self.seed = blocks, length, seed
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0))

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, place: int) -> dict[str, object]:
        """Return the row at a place of the training."""
        epoch, row = divmod(place, len(self.blocks))
        if self._order[0] != epoch:
            self._order = (epoch, np.random.default_rng([self.seed, epoch]).permutation(len(self.blocks)))
        return {"input_ids": list(self.blocks[self._order[1][row]]), "draw": place}


class HeldOut(TrainerCallback):
    """Scores held-out blocks before the first step, every so many steps, and after the last."""

    def __init__(self, score: Callable[[], dict[str, float]], every: int | None) -> None:
        self.score, self.every = score, every

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, *rest: Any, **kwargs: Any) -> None:
        """Score the start, unless the run is a resumed one."""
        if state.global_step == 0:
            state.log_history.append({"step": 0, **self.score()})

    def on_step_end(self, args: TrainingArguments, state: TrainerState, *rest: Any, **kwargs: Any) -> None:
        """Score at this step, before its checkpoint is written."""
        due = self.every is not None and state.global_step % self.every == 0
        if due or state.global_step == state.max_steps:
            state.log_history.append({"step": state.global_step, **self.score()})


class MNTPTrainer(Trainer):
    """Trains a causal language model whose decoder carries an adapter; only the adapter goes into checkpoints."""

    adapter: PeftModel
    horizon: int

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> torch.optim.lr_scheduler.LRScheduler:
        """Let the learning rate fall to 0 at the end of all epochs, wherever the run stops."""
        if self.lr_scheduler is None:
            name = "constant_with_warmup" if self.args.lr_scheduler_type == "constant" else "linear"
            self.lr_scheduler = get_scheduler(
                name,
                optimizer=optimizer or self.optimizer,
                num_warmup_steps=int(self.args.warmup_steps),
                num_training_steps=max(self.horizon, num_training_steps),
            )
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        """Write the adapter of a checkpoint, in the precision of training."""
        from safetensors.torch import save_file

        folder = Path(output_dir or self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        weights = {name: weight.contiguous() for name, weight in adapters.adapter_state(self.adapter).items()}
        save_file(weights, folder / adapters.WEIGHTS)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: PreTrainedModel | None = None) -> None:
        """Read what `_save` has written."""
        from peft import set_peft_model_state_dict
        from safetensors.torch import load_file

        set_peft_model_state_dict(self.adapter, load_file(Path(resume_from_checkpoint) / adapters.WEIGHTS))


def make_trainer(job: Job, adapter: PeftModel, folder: Path, save_steps: int | None) -> MNTPTrainer:
    """Put a job into the trainer's terms.

    Args:
        job: Its model carries the adapter already.
        adapter: The wrapper around the decoder.
        folder: For checkpoints.
        save_steps: Steps from one checkpoint to the next; None for none.
    """
    steps, horizon = planned_steps(len(job.blocks), job.options)
    watching = [HeldOut(job.score, job.options.eval_steps)] if job.held_out else []
    trainer = MNTPTrainer(
        model=job.head,
        args=_arguments(job, steps, folder, save_steps),
        data_collator=job.options.collator(job.tokenizer, seed=job.seed),
        train_dataset=Stream(job.blocks, steps * rows_in_step(job.options), job.seed),
        callbacks=[*watching, *make_callbacks(job.progress)],
    )
    trainer.adapter, trainer.horizon = adapter, horizon
    trainer.remove_callback(PrinterCallback)
    return trainer


def _arguments(job: Job, steps: int, folder: Path, save_steps: int | None) -> TrainingArguments:
    """Return the arguments of transformers' trainer."""
    options, on_cpu = job.options, job.head.device.type == "cpu"
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=options.batch_size,
        gradient_accumulation_steps=options.accumulation,
        learning_rate=options.learning_rate,
        lr_scheduler_type=options.schedule,
        warmup_steps=options.warmup_steps,
        weight_decay=0.0,
        max_grad_norm=1.0,
        optim="adamw_torch",
        seed=job.seed,
        bf16=settings.has_fast_bfloat16() and job.head.dtype == torch.float32,
        train_sampling_strategy="sequential",
        remove_unused_columns=False,
        save_strategy="steps" if save_steps else "no",
        save_steps=save_steps or steps,
        save_total_limit=2,  # the one before the last goes only when the last is whole
        logging_strategy="steps",
        logging_steps=1,
        report_to="none",
        disable_tqdm=True,
        use_cpu=on_cpu,
        dataloader_pin_memory=not on_cpu,
        **(CHECKPOINTING if options.gradient_checkpointing else {}),
    )
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1  # the trainer would multiply the batch by the GPUs
    return arguments


def rows_in_step(options: TrainingOptions) -> int:
    """Return the blocks of one step, over all processes."""
    return options.batch_size * options.accumulation * processes.count()


def planned_steps(blocks: int, options: TrainingOptions) -> tuple[int, int]:
    """Return the steps of a run, and those for which its schedule is made (never fewer).

    LLM2Vec plans three epochs and stops after 1,000 steps, before the learning rate has fallen much. Where there are
    fewer blocks than that, we go round again until the steps are done.
    """
    epochs = -(-round(blocks * options.epochs) // rows_in_step(options))
    steps = options.steps or max(epochs, 1)
    return steps, max(epochs, steps)
