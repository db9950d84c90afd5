"""Training a bidirectional decoder by masked next-token prediction."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from helpers import files
from helpers.bidirectional import adapters
from helpers.bidirectional.corpus import to_blocks
from helpers.bidirectional.guard import check_bidirectional
from helpers.bidirectional.job import Job
from helpers.bidirectional.options import TrainingOptions
from helpers.contrastive import processes, runs
from helpers.contrastive.surroundings import no_advice_between_libraries, no_loading_bars, own_random_numbers

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

LOG = "log.json"
# Options that do not decide the weights of a training on texts and a model that are at hand already.
NOT_IDENTITY = ("model", "adapter", "dataset", "dataset_config", "corpus", "eval_batch_size", "dtype", "attention",
                "attention_dropout", "pooling", "scale", "seed", "save_steps")  # fmt: skip


@dataclasses.dataclass(frozen=True)
class MNTPResult:
    """A finished training.

    Attributes:
        model: The decoder with its adapter, in PEFT's wrapper: for vectors, and for `merge_adapter`.
        head: The causal language model that was given; its decoder is the same one.
        losses: ``(step, loss)`` of every step, on its own batch, before the step.
        held_out: ``(step, loss, accuracy)`` on held-out texts; empty where there were none.
        seconds: What this call took to train; a resumed run counts only what was left.
        trainable: Number of weights that were trained.
    """

    model: PeftModel
    head: PreTrainedModel
    losses: tuple[tuple[int, float], ...]
    held_out: tuple[tuple[int, float, float], ...]
    seconds: float
    trainable: int


def train_mntp(
    head: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    *,
    options: TrainingOptions,
    seed: int | None = None,
    held_out: Sequence[str] = (),
    output_dir: str | Path | None = None,
    resume: bool = True,
    progress: bool = False,
) -> MNTPResult:
    """Train an adapter on masked next-token prediction.

    The loss is the stock one of the causal language model. On one machine and with one number of threads, the same
    texts, options, seed and starting weights give the same adapter, whether the run was killed on the way or not. The
    random numbers of the caller stay as they were. Where training is interrupted, the model is given back without
    adapter.

    Args:
        head: A causal language model, made bidirectional (unless the options say otherwise). Its weights stay, and an
            adapter is put into its layers: ``result.model.unload()`` takes it out, `merge_adapter` merges it.
        tokenizer: Its tokenizer.
        texts: Running text; it is cut into blocks of ``options.max_length`` tokens.
        options: How to train; `TrainingOptions.from_json` reads LLM2Vec's files.
        seed: Of order, masks, dropout and the new adapter; ``options.seed`` where None.
        held_out: Texts to score before, on the way (``options.eval_steps``) and after.
        output_dir: A folder for this training alone. The adapter goes to its ``final``; checkpoints (every
            ``options.save_steps``) stand beside it until then. None keeps nothing.
        resume: Go on from the last checkpoint in ``output_dir``, or load ``final`` where it is done. False deletes
            both and begins anew.
        progress: Show a progress bar.

    Raises:
        ValueError: For a model without output head, a causal one, or one that carries an adapter already; for too
            little text; for an ``output_dir`` that holds another training; and as `check_bidirectional`.
    """
    _check_head(head, options)
    seed = options.seed if seed is None else seed
    runs.check_numbers(seed, options.save_steps)
    blocks = to_blocks(texts, tokenizer, length=options.max_length)
    others = to_blocks(held_out, tokenizer, length=options.max_length) if held_out else []
    job = Job(head, tokenizer, blocks, others, options, seed, progress)
    with own_random_numbers(), no_loading_bars(), no_advice_between_libraries():
        processes.join(head.device)
        return runs.carry_out(
            output_dir,
            wanted=lambda: _identity(job),
            resume=resume,
            fit=lambda folder, keep: _fit(job, folder, options.save_steps if keep else None),
            save=_save,
            load=lambda folder: _load(head, folder),
        )


def _check_head(head: PreTrainedModel, options: TrainingOptions) -> None:
    """Raise the ValueErrors of the model."""
    if head.get_output_embeddings() is None:
        raise ValueError(f"{type(head).__name__} has no output head to predict tokens with; load it with head=True")
    adapters.check_no_adapter(head)
    if options.bidirectional:
        check_bidirectional(head, sides=())


def _identity(job: Job) -> dict[str, object]:
    """Return what decides the trained weights: two runs of one identity are the same run."""
    numbers = {name: value for name, value in dataclasses.asdict(job.options).items() if name not in NOT_IDENTITY}
    return {
        "options": numbers,
        "blocks": hashlib.sha256(json.dumps([job.blocks, job.held_out]).encode()).hexdigest(),
        "seed": job.seed,
        "causal": getattr(job.head.config, "is_causal", True),
        "starting weights": runs.weights_checksum(job.head),
    }


def _fit(job: Job, folder: Path, save_steps: int | None) -> MNTPResult:
    """Train, from the last checkpoint where there is one; whatever stops it takes the adapter out again."""
    from helpers.bidirectional.trainer import make_trainer

    options = job.options
    torch.manual_seed(job.seed)
    adapter = adapters.add_adapter(job.head, rank=options.rank, alpha=options.alpha, dropout=options.lora_dropout)
    try:
        trainer = make_trainer(job, adapter, folder, save_steps)
        checkpoint = runs.last_checkpoint(folder)
        started = time.perf_counter()
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        seconds = time.perf_counter() - started
    except BaseException:
        adapter.unload()
        raise
    finally:
        _settle(job.head, options)
    logger.info("%d steps in %.0f s", trainer.state.global_step, seconds)
    return _result(adapter, job.head, trainer.state.log_history, seconds)


def _settle(head: PreTrainedModel, options: TrainingOptions) -> None:
    """Leave the model as it came: the trainer leaves its own forward pass on it, in its own precision."""
    from accelerate.utils import extract_model_from_parallel

    extract_model_from_parallel(head, keep_fp32_wrapper=False)
    head.eval()
    if options.gradient_checkpointing:
        head.gradient_checkpointing_disable()


def _result(adapter: PeftModel, head: PreTrainedModel, log: list[dict[str, float]], seconds: float) -> MNTPResult:
    """Read the trainer's log."""
    losses = tuple((int(entry["step"]), entry["loss"]) for entry in log if "loss" in entry)
    held_out = tuple(
        (int(entry["step"]), entry["held_out_loss"], entry["held_out_accuracy"])
        for entry in log
        if "held_out_loss" in entry
    )
    trainable = sum(weight.numel() for weight in adapters.adapter_state(adapter).values())
    return MNTPResult(adapter.eval(), head, losses, held_out, seconds, trainable)


def _save(result: MNTPResult, folder: Path) -> None:
    """Write the adapter, in the precision of training, and the curves."""
    adapters.write_adapter(result.model, folder, dtype=None)
    log = [{"step": step, "loss": loss} for step, loss in result.losses]
    log += [{"step": step, "held_out_loss": a, "held_out_accuracy": b} for step, a, b in result.held_out]
    files.write_whole(folder / LOG, json.dumps(log))


def _load(head: PreTrainedModel, folder: Path) -> MNTPResult:
    """Put a finished training's adapter on the model again."""
    log = json.loads((folder / LOG).read_text(encoding="utf-8"))
    return _result(adapters.attach_adapter(head, folder), head, log, 0.0)
