"""Trained adapters as small folders: what is in one, which base it belongs to, and whether it is intact."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from helpers import files, models, settings, weights
from helpers.contrastive import adapters
from helpers.contrastive.adapters import LoraOptions

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

ADAPTERS = settings.DATA / "adapters"
WEIGHTS, CONFIG, FACTS, CARD = "adapter_model.safetensors", "adapter_config.json", "adapter.json", "README.md"


@dataclasses.dataclass(frozen=True)
class AdapterCard:
    """What an adapter is, for readers and for `load_adapter`.

    Attributes:
        title: What it was trained for, in a few words.
        base: Registry name of the decoder that it belongs to.
        lora: Its options.
        template: What the model reads.
        pooling: How its states become a vector.
        data: What it was trained on, with its licence.
        training: How: the settings that matter, such as steps, batch size, learning rate, temperature and seed.
        scores: What was measured with it, as it is in the folder; name and number.
        licence: Of the adapter.
        bidirectional: Whether the model attended in both directions (``config.is_causal`` False).
        after: Names of adapters that were merged into the base before this one was trained.
        revision: Of the base; filled in from the registry where it is empty.
    """

    title: str
    base: str
    lora: LoraOptions
    template: str
    pooling: str
    data: str
    training: Mapping[str, object]
    scores: Mapping[str, float]
    licence: str
    bidirectional: bool = False
    after: tuple[str, ...] = ()
    revision: str = ""


@dataclasses.dataclass(frozen=True)
class LoadedAdapter:
    """A decoder with a trained adapter.

    Attributes:
        model: In evaluation mode; bidirectional where the adapter was trained so.
        tokenizer: Its tokenizer.
        card: What the adapter is.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    card: AdapterCard


def save_adapter(folder: str | Path, adapter: Mapping[str, Tensor], *, card: AdapterCard) -> Path:
    """Write an adapter as a folder that peft can read: bfloat16 weights, options, facts with checksums, and a card.

    Args:
        folder: A new folder; its name is the adapter's.
        adapter: From `train_decoder`.
        card: What it is.

    Returns:
        The folder.

    Raises:
        ValueError: For a folder that exists, or a base that the registry does not have.
    """
    import torch
    from safetensors.torch import save

    folder = Path(folder)
    if folder.exists():
        raise ValueError(f"folder={folder.name!r} exists already; an adapter is written to a new one")
    card = dataclasses.replace(card, revision=models.spec(card.base, "decoder").revision)
    half = {name: weight.to(torch.bfloat16).contiguous() for name, weight in adapter.items()}
    files.write_whole(folder / WEIGHTS, save(half, metadata={"format": "pt"}))
    files.write_whole(folder / CONFIG, json.dumps(_peft_options(card), indent=1))
    sums = {name: weights.sha256(folder / name) for name in (WEIGHTS, CONFIG)}
    files.write_whole(folder / FACTS, json.dumps({**dataclasses.asdict(card), "sha256": sums}, indent=1))
    files.write_whole(folder / CARD, _readme(card, sum(weight.numel() for weight in half.values()), sums))
    return folder


def load_adapter(
    name: str | Path,
    *,
    base: str | None = None,
    merged: bool = True,
    quantization: str | None = None,
    dtype: str | None = None,
    device: str | None = None,
) -> LoadedAdapter:
    """Load the decoder that an adapter belongs to, and put the adapter on it.

    Args:
        name: A name under ``data/adapters``, or the path of a folder.
        base: Registry name of the decoder that the caller means, to be told if it is another; None takes the adapter's.
        merged: Add the adapter to the weights. Where False, peft keeps it beside them.
        quantization: See `models.load_decoder`; needs ``merged=False``.
        dtype: See `models.load_decoder`.
        device: See `models.load_decoder`.

    Raises:
        ValueError: For an unknown name, damaged files, or another base than the adapter was trained on.
        FileNotFoundError: Where the base is not here.
    """
    folder = name if isinstance(name, Path) else _bundled(name)
    card = read_card(folder)
    _check_base(folder, card, base)
    model, tokenizer = models.load_decoder(card.base, quantization=quantization, dtype=dtype, device=device)
    if card.bidirectional:
        model.config.is_causal = False
    for earlier in card.after:
        model = adapters.merge(_with_adapter(model, _bundled(earlier)))
    peft = _with_adapter(model, folder)
    return LoadedAdapter((adapters.merge(peft) if merged else peft).eval(), tokenizer, card)


def adapter_names() -> list[str]:
    """Return the names of the adapters that ship with the book."""
    return sorted(path.parent.name for path in ADAPTERS.glob(f"*/{FACTS}"))


def read_card(folder: Path) -> AdapterCard:
    """Return what a folder says of its adapter, after comparing its files with their checksums.

    Raises:
        ValueError: For a folder without an adapter, or one that is damaged.
    """
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        sums = facts.pop("sha256")
        facts["lora"], facts["after"] = LoraOptions(**facts["lora"]), tuple(facts["after"])
        card = AdapterCard(**facts)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{folder.name!r} holds no adapter, or a damaged one: {FACTS} cannot be read") from error
    for name, wanted in sums.items():
        found = weights.sha256(folder / name) if (folder / name).is_file() else "no such file"
        if found != wanted:
            raise ValueError(f"the adapter is damaged: {folder.name}/{name} has SHA-256 {found}, expected {wanted}")
    return card


def _bundled(name: str) -> Path:
    """Return the folder of an adapter of the book."""
    names = adapter_names()
    if name not in names:
        known = settings.nearest(name, names) if names else "the book has none yet"
        raise ValueError(f"unknown adapter {name!r}; {known}")
    return ADAPTERS / name


def _check_base(folder: Path, card: AdapterCard, base: str | None) -> None:
    """Raise a ValueError where the adapter belongs to other weights than those that would be loaded."""
    if base not in (None, card.base):
        raise ValueError(f"adapter {folder.name!r} was trained on {card.base!r}, not on {base!r}")
    revision = models.spec(card.base, "decoder").revision
    if revision != card.revision:
        raise ValueError(
            f"adapter {folder.name!r} was trained on {card.base!r} at {card.revision!r}; the registry has {revision!r}"
        )


def _with_adapter(model: PreTrainedModel, folder: Path) -> object:
    """Put the adapter of a folder on a model, which is changed."""
    from safetensors.torch import load_file

    card = read_card(folder)
    peft = adapters.add_lora(model, card.lora)
    adapters.set_adapter(peft, {key: weight.float() for key, weight in load_file(folder / WEIGHTS).items()})
    return peft


def _peft_options(card: AdapterCard) -> dict[str, object]:
    """Return the options in peft's own form; the base is named as in the registry."""
    targets = card.lora.targets if card.lora.targets == "all-linear" else card.lora.targets.split(",")
    return {
        "peft_type": "LORA",
        "task_type": "FEATURE_EXTRACTION",
        "base_model_name_or_path": card.base,
        "revision": card.revision,
        "r": card.lora.rank,
        "lora_alpha": card.lora.alpha,
        "lora_dropout": card.lora.dropout,
        "target_modules": targets,
        "inference_mode": True,
    }


def _readme(card: AdapterCard, numbers: int, sums: Mapping[str, str]) -> str:
    """Return the card that readers see."""
    how = {**card.training, "LoRA rank": card.lora.rank, "LoRA alpha": card.lora.alpha, "layers": card.lora.targets}
    return "\n\n".join(
        [
            f"# {card.title}",
            f"A LoRA adapter for `{card.base}` ({card.revision}): {numbers:,} numbers in bfloat16. Licence: "
            f"{card.licence}. `helpers.contrastive.load_adapter` puts it on its base.",
            f"The model reads `{card.template}`, attends {'in both directions' if card.bidirectional else 'causally'}, "
            f"and its vector is made by `{card.pooling}` pooling.",
            f"## Data\n\n{card.data}",
            "## Training\n\n" + _table("setting", "value", how),
            "## Scores\n\n" + _table("measured", "score", card.scores),
            "## Checksums\n\n" + _table("file", "SHA-256", sums),
        ]
    ) + "\n"  # fmt: skip


def _table(left: str, right: str, rows: Mapping[str, object]) -> str:
    """Return a Markdown table of two columns."""
    return "\n".join([f"| {left} | {right} |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows.items())])
