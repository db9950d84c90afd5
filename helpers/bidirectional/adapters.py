"""Adapters (LoRA) on a decoder: at most one at a time, and each remembers what it was trained on."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from helpers import files
from helpers.bidirectional.guard import decoder_of
from helpers.contrastive.adapters import LoraOptions, add_lora
from helpers.contrastive.surroundings import no_advice_between_libraries

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import Tensor
    from transformers import PreTrainedModel

logger = logging.getLogger(__name__)

TRAINED_ON = "trained_on.json"
WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


def base_checksum(model: PreTrainedModel | PeftModel) -> str:
    """Return a SHA-256 by which a base is known: that of its input embedding, in bfloat16.

    Adapters never touch the embedding, so it stays the same when they are merged; and bfloat16 makes it the same for
    weights that were loaded in float32 and in bfloat16.
    """
    return _digest({"embedding": decoder_of(model).get_input_embeddings().weight})


def adapter_checksum(adapter: PeftModel) -> str:
    """Return the SHA-256 of an adapter's weights in bfloat16, in which adapters are kept."""
    return _digest(adapter_state(adapter))


def adapter_state(adapter: PeftModel) -> dict[str, Tensor]:
    """Return an adapter's weights under the names that PEFT saves them by."""
    from peft import get_peft_model_state_dict

    # Adapters never touch the embedding; to find that out, PEFT would go and look at the base's configuration again.
    return get_peft_model_state_dict(adapter, save_embedding_layers=False)


def merged_adapters(model: PreTrainedModel | PeftModel) -> list[str]:
    """Return the checksums of the adapters that were merged into a model, in order; saved with its configuration."""
    return list(getattr(decoder_of(model).config, "merged_adapters", None) or [])


def has_adapter(model: PreTrainedModel | PeftModel) -> bool:
    """Say whether any layer carries an adapter that is not merged, whichever library put it there."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    return any(isinstance(module, BaseTunerLayer) for module in model.modules())


def check_no_adapter(model: PreTrainedModel | PeftModel) -> None:
    """Raise a ValueError where a model carries an adapter already.

    PEFT would take a second one without a word, and switch the first one off: what it had learned is gone.
    """
    if has_adapter(model):
        raise ValueError(
            "the model carries an adapter already, and a second one would switch it off: merge the first with "
            "merge_adapter, or take it away with unload()"
        )


def add_adapter(
    model: PreTrainedModel, *, rank: int = 16, alpha: int | None = None, dropout: float = 0.05
) -> PeftModel:
    """Put a new adapter on all linear layers of a decoder, and freeze everything else, its output head too.

    The layers are changed in place: a model with a head goes on working, now with the adapter in it.

    Args:
        model: A decoder, with or without output head.
        rank: Of the adapter.
        alpha: Its scale; twice the rank where None.
        dropout: Within the adapter.

    Returns:
        PEFT's wrapper around the decoder without head, so that the adapter fits models with and without one; in the
        mode that the model was in.

    Raises:
        ValueError: For a model that carries an adapter already, or a value out of range.
    """
    check_no_adapter(model)
    options = LoraOptions(rank, alpha or 2 * rank, dropout)
    model.requires_grad_(False)
    with no_advice_between_libraries():
        wrapped = add_lora(decoder_of(model), options)
    return wrapped.train(model.training)  # new layers come in training mode, and their dropout would act


def write_adapter(adapter: PeftModel, folder: str | Path, *, dtype: str | None = "bfloat16") -> Path:
    """Save an adapter, and what it was trained on: the base, and the adapters merged into it before.

    Args:
        adapter: PEFT's wrapper around a decoder without head.
        folder: Where to; what stands there of an earlier one is replaced.
        dtype: In which the weights are kept; that of training where None.

    Returns:
        The folder: stock PEFT with one more file, and no path of this machine in it.
    """
    import torch
    from safetensors.torch import load_file, save_file

    folder = Path(folder)
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    adapter.save_pretrained(str(part), save_embedding_layers=False)
    (part / "README.md").unlink(missing_ok=True)  # PEFT's empty card
    config = json.loads((part / CONFIG).read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = None  # PEFT writes the path that the base was loaded from
    if isinstance(config["target_modules"], list):
        config["target_modules"].sort()  # a set's order is another one in each process
    files.write_whole(part / CONFIG, json.dumps(config, indent=1, sort_keys=True))
    if dtype is not None:
        weights = {name: weight.to(getattr(torch, dtype)) for name, weight in load_file(part / WEIGHTS).items()}
        save_file(weights, part / WEIGHTS, metadata={"format": "pt"})
    trained_on = {"base": base_checksum(adapter), "merged": merged_adapters(adapter)}
    files.write_whole(part / TRAINED_ON, json.dumps(trained_on, indent=1))
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)
    return folder


def attach_adapter(model: PreTrainedModel, folder: str | Path) -> PeftModel:
    """Put a saved adapter on a decoder, in place, for reading or for merging.

    Args:
        model: The base, in the state in which the adapter found it: what was merged into it then, must be now.
        folder: Of `write_adapter`, or any PEFT folder; only the first says what it was trained on.

    Returns:
        PEFT's wrapper around the decoder without head, in evaluation mode.

    Raises:
        FileNotFoundError: For a folder without an adapter.
        ValueError: For a model that carries an adapter already, an adapter that was trained on another base, on other
            adapters than those merged into this one, or one that does not fit the layers.
    """
    from peft import PeftModel

    folder = Path(folder)
    if not (folder / WEIGHTS).is_file():
        raise FileNotFoundError(f"there is no adapter in {folder}: {WEIGHTS} is missing")
    check_no_adapter(model)
    _check_trained_on(model, folder)
    decoder = decoder_of(model)
    with no_advice_between_libraries():
        wrapped = PeftModel.from_pretrained(decoder, str(folder))
    return _check_complete(wrapped, folder).eval()


def _check_trained_on(model: PreTrainedModel, folder: Path) -> None:
    """Raise a ValueError where an adapter's note does not fit the model."""
    if not (folder / TRAINED_ON).is_file():
        logger.warning("adapter %s does not say what it was trained on; nothing was checked", folder.name)
        return
    wanted = json.loads((folder / TRAINED_ON).read_text(encoding="utf-8"))
    if wanted["base"] != base_checksum(model):
        raise ValueError(f"adapter {folder.name} was trained on another base than this model")
    if wanted["merged"] != merged_adapters(model):
        raise ValueError(
            f"adapter {folder.name} was trained on a base with {len(wanted['merged'])} adapters merged into it "
            f"({_short(wanted['merged'])}), and this model has {len(merged_adapters(model))} "
            f"({_short(merged_adapters(model))}): merge the adapters of earlier stages first, in their order"
        )


def _check_complete(wrapped: PeftModel, folder: Path) -> PeftModel:
    """Raise a ValueError where not every weight in the folder found its layer; PEFT only warns, and reads on."""
    from safetensors import safe_open

    with safe_open(folder / WEIGHTS, "pt") as stored:
        names = set(stored.keys())
    if names != set(adapter_state(wrapped)):
        wrapped.unload()
        example = sorted(names ^ set(adapter_state(wrapped)))[:1]
        raise ValueError(f"adapter {folder.name} does not fit the layers of this model, for example {example}")
    return wrapped


def _short(checksums: list[str]) -> str:
    """Return the beginnings of checksums, to read."""
    return ", ".join(checksum[:8] for checksum in checksums) or "none"


def _digest(weights: dict[str, Tensor]) -> str:
    """Return the SHA-256 of named weights in bfloat16."""
    import torch

    checksum = hashlib.sha256()
    for name, weight in sorted(weights.items()):
        checksum.update(f"{name} {tuple(weight.shape)}".encode())
        values = weight.detach().to(torch.bfloat16).cpu().contiguous().reshape(-1)
        checksum.update(values.view(torch.uint8).numpy())
    return checksum.hexdigest()
