"""Training options as one value, readable from the files in which LLM2Vec keeps its runs."""

from __future__ import annotations

import dataclasses
import json
import logging
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from helpers import settings
from helpers.bidirectional.collator import MASK_TOKENS, MASKINGS, MNTPCollator

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

SCHEDULES = ("linear", "constant")
POOLINGS = {
    "mean": "mean",
    "weighted_mean": "weighted_mean",
    "eos_token": "eos",
    "last_token": "last",
    "bos_token": "first",
}
# Key of a run file -> our field.
KEYS = {
    "model_name_or_path": "model",
    "peft_model_name_or_path": "adapter",
    "dataset_name": "dataset",
    "dataset_config_name": "dataset_config",
    "dataset_file_path": "corpus",
    "per_device_train_batch_size": "batch_size",
    "per_device_eval_batch_size": "eval_batch_size",
    "gradient_accumulation_steps": "accumulation",
    "max_seq_length": "max_length",
    "mask_token_type": "mask_token",
    "data_collator_type": "masking",
    "mlm_probability": "share",
    "learning_rate": "learning_rate",
    "lr_scheduler_type": "schedule",
    "warmup_steps": "warmup_steps",
    "num_train_epochs": "epochs",
    "stop_after_n_steps": "steps",
    "lora_r": "rank",
    "lora_dropout": "lora_dropout",
    "gradient_checkpointing": "gradient_checkpointing",
    "torch_dtype": "dtype",
    "attn_implementation": "attention",
    "simcse_dropout": "attention_dropout",
    "bidirectional": "bidirectional",
    "pooling_mode": "pooling",
    "loss_scale": "scale",
    "seed": "seed",
    "eval_steps": "eval_steps",
    "save_steps": "save_steps",
}
# Keys that those files have and that mean nothing here.
UNUSED = {
    **dict.fromkeys(("do_train", "do_eval"), "a function is called for the one and for the other"),
    **dict.fromkeys(("output_dir", "overwrite_output_dir"), "output_dir and resume are arguments of the training"),
    **dict.fromkeys(("evaluation_strategy", "eval_strategy", "save_strategy"), "eval_steps and save_steps say it"),
    **dict.fromkeys(("logging_steps", "disable_tqdm"), "every step is noted, and progress is an argument"),
    "save_only_model": "a checkpoint keeps what resuming needs",
    "remove_unused_columns": "texts are read, not tables",
    **dict.fromkeys(
        ("peft_addr", "cls_addr", "model_class", "classifier_dropout", "merge_subwords", "retroactive_labels", "task"),
        "a word task's; see word_states",
    ),
}

ALMOST_0, ALMOST_1, MANY = 1e-12, 1 - 1e-12, 2**32 - 1
RANGES = (
    *((name, 1, MANY) for name in ("batch_size", "eval_batch_size", "accumulation", "max_length", "rank", "alpha")),
    *((name, 1, MANY) for name in ("steps", "eval_steps", "save_steps")),
    *((name, 0, MANY) for name in ("warmup_steps", "seed")),
    *((name, ALMOST_0, 1) for name in ("share", "learning_rate")),
    *((name, ALMOST_0, MANY) for name in ("epochs", "scale")),
    *((name, 0, ALMOST_1) for name in ("lora_dropout", "attention_dropout")),
)
NAMES = {"mask_token": MASK_TOKENS, "masking": MASKINGS, "schedule": SCHEDULES, "pooling": tuple(POOLINGS.values())}


@dataclasses.dataclass(frozen=True)
class TrainingOptions:
    """How one stage is trained: masked next-token prediction, SimCSE, or supervised.

    The defaults are LLM2Vec's (BehnamGhader et al. 2024) where its stages agree. Three of them its files leave to
    their library and the paper does not name: the learning rate of 5e-5, the linear schedule, three epochs.

    Attributes:
        model: Name of the decoder to start from.
        adapter: An adapter to merge before the stage begins; empty for none.
        dataset: Name of a public set.
        dataset_config: Its configuration.
        corpus: File of a corpus.
        batch_size: Rows in one pass.
        eval_batch_size: Rows in one pass of an evaluation.
        accumulation: Passes in one step.
        max_length: Most tokens of a row; for masked next-token prediction, the length of every block.
        mask_token: A name of `MASK_TOKENS`.
        masking: A name of `MASKINGS`: what becomes of the tokens that are predicted.
        share: Of the tokens that are predicted; that of the masking where None.
        learning_rate: The highest one.
        schedule: ``linear`` (to 0 at the end of all epochs) or ``constant``.
        warmup_steps: Steps in which the learning rate rises from 0.
        epochs: Passes over the data: with ``steps``, only what the schedule is made for.
        steps: Where to stop, before the epochs are over or after; None for the end of the epochs.
        rank: Of the adapters (LoRA).
        alpha: Scale of the adapters; twice the rank where None.
        lora_dropout: Dropout in the adapters.
        gradient_checkpointing: Compute states again rather than keep them.
        dtype: Of the weights.
        attention: Implementation of attention.
        attention_dropout: For SimCSE (see `set_attention_dropout`).
        bidirectional: Whether attention looks both ways.
        pooling: For SimCSE and supervised, in the book's names.
        scale: The cosine's factor in the contrastive loss, ``1 / temperature``.
        seed: Of order, masks, dropout and new adapters.
        eval_steps: Steps from one evaluation to the next; None for the first and the last only.
        save_steps: Steps from one checkpoint to the next; None for none.

    Raises:
        ValueError: For a value out of range, or an unknown name; the message names it.
    """

    model: str = ""
    adapter: str = ""
    dataset: str = ""
    dataset_config: str = ""
    corpus: str = ""
    batch_size: int = 32
    eval_batch_size: int = 8
    accumulation: int = 1
    max_length: int = 512
    mask_token: str = "blank"
    masking: str = "default"
    share: float | None = None
    learning_rate: float = 5e-5
    schedule: str = "linear"
    warmup_steps: int = 0
    epochs: float = 3.0
    steps: int | None = None
    rank: int = 16
    alpha: int | None = None
    lora_dropout: float = 0.05
    gradient_checkpointing: bool = False
    dtype: str = "float32"
    attention: str = "sdpa"
    attention_dropout: float = 0.0
    bidirectional: bool = True
    pooling: str = "mean"
    scale: float = 50.0
    seed: int = 42
    eval_steps: int | None = None
    save_steps: int | None = None

    def __post_init__(self) -> None:
        for name, hint in typing.get_type_hints(type(self)).items():
            _check_type(name, getattr(self, name), hint)
        for name, low, high in RANGES:
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise ValueError(f"{name}={value} should be from {low:g} to {high:g}")
        for name, names in NAMES.items():
            value = getattr(self, name)
            if value not in names:
                raise ValueError(f"unknown {name} {value!r}; {settings.nearest(value, names)}")

    @property
    def temperature(self) -> float:
        """τ of the contrastive loss: ``1 / scale``."""
        return 1.0 / self.scale

    @property
    def mask_share(self) -> float:
        """The share of tokens that are predicted: ``share``, or that of the masking."""
        return self.share or MASKINGS[self.masking].share

    @property
    def lora_alpha(self) -> int:
        """The scale of the adapters: ``alpha``, or twice the rank."""
        return self.alpha or 2 * self.rank

    def collator(self, tokenizer: PreTrainedTokenizerBase, *, seed: int) -> MNTPCollator:
        """Return the collator that these options speak of."""
        masking = MASKINGS[self.masking]
        return MNTPCollator(
            tokenizer,
            share=self.mask_share,
            mask_replace=masking.mask_replace,
            random_replace=masking.random_replace,
            mask_token=self.mask_token,
            seed=seed,
        )

    @classmethod
    def from_json(cls, source: str | Path | Mapping[str, object], **changes: object) -> TrainingOptions:
        """Read the options of a run file.

        Args:
            source: Path of a JSON file, or what such a file holds.
            **changes: Fields of ours to set in place of what the file says.

        Returns:
            The options; keys that are known and mean nothing here are listed in the log.

        Raises:
            FileNotFoundError: Where there is no such file.
            ValueError: For a file that is not a JSON object, an unknown key or field (with the nearest), or a value
                that does not fit.
        """
        given = dict(source) if isinstance(source, Mapping) else _read(Path(source))
        fields = {field.name for field in dataclasses.fields(cls)}
        if unknown := [name for name in changes if name not in fields]:
            raise ValueError(f"unknown option {unknown[0]!r}; {settings.nearest(unknown[0], fields)}")
        for key in given:
            if key not in KEYS and key not in UNUSED:
                raise ValueError(f"unknown key {key!r} in a run file; {settings.nearest(key, [*KEYS, *UNUSED])}")
        if left := [f"{key} ({UNUSED[key]})" for key in given if key in UNUSED]:
            logger.info("known keys that are not used here: %s", "; ".join(left))
        values = {KEYS[key]: value for key, value in given.items() if key in KEYS and value is not None}
        if "pooling" in values:
            values["pooling"] = POOLINGS.get(str(values["pooling"]), values["pooling"])
        return cls(**{**values, **changes})


def _check_type(name: str, value: object, hint: object) -> None:
    """Refuse a value that does not fit the annotation; whole numbers are floats too, True and False no numbers."""
    kinds = typing.get_args(hint) or (hint,)
    fits = isinstance(value, (*kinds, int) if float in kinds else kinds)
    if not fits or (isinstance(value, bool) and bool not in kinds):
        wanted = " or ".join(kind.__name__ for kind in kinds)
        raise ValueError(f"{name}={value!r} should be of type {wanted}")


def _read(path: Path) -> dict[str, object]:
    """Return the object in a JSON file."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path.name} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path.name} should hold one JSON object, got {type(found).__name__}")
    return found
