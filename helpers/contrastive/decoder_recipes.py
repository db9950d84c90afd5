"""Recipes for decoders: template, pooling, loss, adapter and optimiser of each method, as data with sources."""

from __future__ import annotations

import dataclasses

from helpers import pooling as poolings
from helpers import prompts, settings
from helpers.contrastive.adapters import LoraOptions
from helpers.contrastive.exporting import check_query_template
from helpers.contrastive.losses import check_temperature
from helpers.contrastive.recipes import changed, check_whole

SCHEDULES = ("linear", "cosine", "constant")
E5_QUERY = prompts.with_instruction("{instruction}", prompts.SLOT)


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


_PROMPT_EOL_CODE = DecoderRecipe(
    template=prompts.PROMPT_EOL,
    pooling="last",
    learning_rate=5e-4,
    temperature=0.05,
    batch_size=256,
    epochs=1,
    max_length=32,
    warmup_steps=100,
    lora_rank=64,
    lora_alpha=16,
    lora_dropout=0.05,
    quantization="nf4",
    source="Scaling Sentence Embeddings with LLMs (arXiv 2307.16645), values of the repository's training script on "
    "the NLI triplets of SimCSE; 200 rows a step for 13B models",
)

DECODER_RECIPES: dict[str, DecoderRecipe] = {
    "PromptEOL CSE (published)": _PROMPT_EOL_CODE,
    "PromptEOL CSE (paper)": dataclasses.replace(
        _PROMPT_EOL_CODE,
        temperature=0.5,
        source="as the published recipe, with the temperature that the paper prints; the code that came with it "
        "divides by 0.05",
    ),
    "PromptEOL CSE (laptop)": dataclasses.replace(
        _PROMPT_EOL_CODE,
        batch_size=24,
        epochs=None,
        steps=40,
        warmup_steps=4,
        lora_rank=16,
        lora_alpha=32,
        lora_dropout=0.0,
        quantization=None,
        source="the published recipe cut to 40 steps of 24 triplets without quantisation; a smaller rank with twice "
        "its size as alpha; the same tenth of the steps as warm-up; no dropout, for which each adapter would keep its "
        "own input in memory",
    ),
    "PromptEOL CSE (benchmark)": dataclasses.replace(
        _PROMPT_EOL_CODE,
        batch_size=32,
        epochs=None,
        steps=300,
        warmup_steps=30,
        lora_rank=8,
        lora_alpha=16,
        lora_dropout=0.0,
        quantization=None,
        source="the published recipe cut to 300 steps of 32 triplets without quantisation; rank 8 keeps the adapter "
        "of SmolLM2-135M at 5 MB in bfloat16",
    ),
    "E5-Mistral (published)": DecoderRecipe(
        pooling="eos",
        query_template=E5_QUERY,
        learning_rate=1e-4,
        temperature=0.02,
        batch_size=2048,
        epochs=1,
        max_length=512,
        warmup_steps=100,
        weight_decay=0.1,
        lora_dropout=0.1,
        gradient_checkpointing=True,
        source="Improving Text Embeddings with LLMs (arXiv 2401.00368); alpha 32 and dropout 0.1 from the published "
        "adapter, for the paper has neither; its 512 tokens include the instruction",
    ),
    "LLM2Vec SimCSE (published)": DecoderRecipe(
        learning_rate=3e-5,
        temperature=0.05,
        batch_size=128,
        steps=1000,
        max_length=128,
        schedule="constant",
        lora_dropout=0.05,
        attention_dropout=0.3,
        hard_negatives=False,
        source="LLM2Vec (arXiv 2404.05961), the repository's configurations; each text is its own positive. The "
        "learning rate falls over whole epochs of a million texts there, of which 1000 steps see an eighth",
    ),
    "LLM2Vec supervised (published)": DecoderRecipe(
        query_template="{instruction}:\n{text}",
        pool_instruction=False,
        learning_rate=2e-4,
        temperature=0.02,
        batch_size=512,
        steps=1000,
        max_length=512,
        warmup_steps=300,
        schedule="constant",
        lora_dropout=0.05,
        gradient_checkpointing=True,
        source="LLM2Vec (arXiv 2404.05961), the repository's configurations: 64 rows on each of 8 GPUs, stopped after "
        "1000 steps of a schedule for three epochs; it joins instruction and text by a space",
    ),
}


def decoder_recipe(name: str, **changes: object) -> DecoderRecipe:
    """Return a recipe of `DECODER_RECIPES`, with single values replaced where asked.

    Raises:
        ValueError: For an unknown name or field, with the nearest one, or a value out of range.
    """
    return changed(DECODER_RECIPES, name, changes)
