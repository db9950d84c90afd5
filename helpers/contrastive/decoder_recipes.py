"""What a recipe for a decoder says: template, pooling, loss, adapter and optimiser."""

from __future__ import annotations

import dataclasses

from helpers import pooling as poolings
from helpers import prompts, settings
from helpers.contrastive.adapters import LoraOptions
from helpers.contrastive.exporting import check_query_template
from helpers.contrastive.losses import check_temperature
from helpers.contrastive.recipes import check_whole

SCHEDULES = ("linear", "cosine", "constant")


@dataclasses.dataclass(frozen=True)
class DecoderRecipe:
    """How a decoder is trained to embed, and what it reads then and later.

    The loss is `info_nce`, the optimiser AdamW with gradients clipped at norm 1. Rows that do not fill the last batch
    of an epoch are left out of that epoch, so that every step has the same number of candidates.

    Attributes:
        learning_rate: The highest one.
        temperature: τ of the loss.
        batch_size: Rows in a step, over all processes.
        epochs: Passes over the rows; None where ``steps`` says when to stop.
        steps: Steps of training; None where ``epochs`` says it.
        template: What the model reads, with ``{text}``.
        pooling: See `embedding.Embedder`.
        query_template: What it reads for an anchor with an instruction, with ``{instruction}`` and ``{text}``, or None.
        instruction: Put before all anchors, and kept for ``encode_query``; None where there is none, or where the
            rows' anchors hold their own already (`exporting.fill_query`).
        pool_instruction: Whether its tokens count in the mean; see `as_sentence_transformer`.
        mini_batch_size: Rows encoded at once, with gradient caching; None encodes the batch as a whole.
        max_length: Most tokens of a text in training; template and instruction come on top. The trained encoder reads
            up to the model's window again.
        warmup_steps: Steps in which the learning rate rises from 0.
        schedule: How it goes on: ``linear`` and ``cosine`` fall to 0, ``constant`` stays.
        weight_decay: Of AdamW.
        lora_rank: Rank of the adapters, or None to train all weights.
        lora_alpha: See `LoraOptions`.
        lora_dropout: See `LoraOptions`.
        lora_targets: See `LoraOptions`.
        attention_dropout: Share of attention weights dropped in training: what makes two views of a text differ.
        quantization: ``nf4`` for QLoRA, where the model has to be loaded in 4 bits; else None.
        hard_negatives: Use the rows' negatives, where they have any.
        symmetric: Take the mean of both directions of the loss.
        shuffle: Draw a new order in every epoch, from the seed.
        precision: ``fast`` computes in bfloat16 where the hardware has it (`settings.precision`); or ``float32``.
        gradient_checkpointing: Compute the states of a layer again in the backward pass and keep only its input.
        source: Where the numbers come from.

    Raises:
        ValueError: For a value out of range; the message names it.
    """

    learning_rate: float
    temperature: float
    batch_size: int
    epochs: int | None = None
    steps: int | None = None
    template: str = prompts.SLOT
    pooling: str = "mean"
    query_template: str | None = None
    instruction: str | None = None
    pool_instruction: bool = True
    mini_batch_size: int | None = None
    max_length: int = 512
    warmup_steps: int = 0
    schedule: str = "linear"
    weight_decay: float = 0.0
    lora_rank: int | None = 16
    lora_alpha: int = 32
    lora_dropout: float = 0.0
    lora_targets: str = "all-linear"
    attention_dropout: float = 0.0
    quantization: str | None = None
    hard_negatives: bool = True
    symmetric: bool = False
    shuffle: bool = True
    precision: str = "fast"
    gradient_checkpointing: bool = False
    source: str = ""

    def __post_init__(self) -> None:
        check_temperature(self.temperature)
        prompts.check_template(self.template)
        poolings.check_pooling(self.pooling)
        settings.precision(self.precision)
        if self.query_template is not None:
            check_query_template(self.query_template)
        if (self.epochs is None) == (self.steps is None):
            raise ValueError(f"one of epochs={self.epochs} and steps={self.steps} should be a number, the other None")
        counts = [name for name in ("epochs", "steps", "mini_batch_size") if getattr(self, name) is not None]
        check_whole(self, "batch_size", "max_length", *counts)
        check_whole(self, "warmup_steps", least=0)
        self._check_shares()
        if self.quantization is not None and (self.quantization != "nf4" or self.lora is None):
            raise ValueError(f"quantization={self.quantization!r} should be 'nf4', with a lora_rank, or None")

    def _check_shares(self) -> None:
        """Raise a ValueError for a rate out of range or an unknown schedule."""
        if not 0 < self.learning_rate < 1:
            raise ValueError(f"learning_rate={self.learning_rate} should be above 0 and below 1")
        for name in ("weight_decay", "attention_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} should be from 0 to below 1")
        if self.schedule not in SCHEDULES:
            raise ValueError(f"unknown schedule {self.schedule!r}; {settings.nearest(self.schedule, SCHEDULES)}")

    @property
    def lora(self) -> LoraOptions | None:
        """The adapters' options, or None where all weights are trained."""
        if self.lora_rank is None:
            return None
        return LoraOptions(self.lora_rank, self.lora_alpha, self.lora_dropout, self.lora_targets)

    def total_steps(self, rows: int) -> int:
        """Return how many steps a training on that many rows has.

        Raises:
            ValueError: For fewer rows than a batch needs.
        """
        if rows < self.batch_size:
            raise ValueError(f"{rows} rows do not fill one batch of batch_size={self.batch_size}; take a smaller batch")
        return self.steps if self.steps is not None else rows // self.batch_size * self.epochs
