"""Merging: an adapter becomes part of the weights, before the next stage begins, and the vectors stay what they were.

``W' = W + (alpha / rank) · B · A``. Stages are merged in the order in which they were trained: masked next-token
prediction first, then SimCSE or supervised.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from helpers.bidirectional.adapters import adapter_checksum, attach_adapter, has_adapter, merged_adapters
from helpers.bidirectional.guard import decoder_of, evaluating

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import Tensor
    from transformers import PreTrainedModel

logger = logging.getLogger(__name__)

TOLERANCE = 1e-4
PROBES = (5, 11, 24)  # tokens


def merge_adapter(model: PeftModel, *, tolerance: float = TOLERANCE) -> PreTrainedModel:
    """Merge a model's one adapter into its weights, and check that its vectors stay what they were.

    Args:
        model: PEFT's wrapper, as `add_adapter`, `attach_adapter` and `train_mntp` give it; changed in place. A model
            with a head that shares the decoder has the merged weights too.
        tolerance: How far any coordinate of a mean vector of length 1 may move.

    Returns:
        The decoder without wrapper. Its configuration notes the merged adapter, so that an adapter of the next stage
        can tell whether it was trained on these weights (`attach_adapter`).

    Raises:
        ValueError: For a model without an adapter, or with several (of which PEFT reads one); for quantised weights or
            half precision, in which merging moves the vectors by one percent: load the base in float32; and where the
            vectors moved by more than the tolerance.
    """
    if not hasattr(model, "merge_and_unload") or not has_adapter(model):
        raise ValueError("there is no adapter to merge")
    if len(model.peft_config) > 1:
        raise ValueError(
            f"the model carries the adapters {list(model.peft_config)}, of which {model.active_adapters} are read: "
            "merge one before the next is added"
        )
    decoder = decoder_of(model)
    _check_precision(decoder)
    before, checksum = _vectors(decoder), adapter_checksum(model)
    merged = decoder_of(model.merge_and_unload())
    moved = float((_vectors(merged) - before).abs().max())
    if not moved <= tolerance:
        raise ValueError(f"merging moved a vector by {moved:.1e}, more than {tolerance:.0e}")
    merged.config.merged_adapters = [*merged_adapters(merged), checksum]
    logger.info("merged adapter %s; vectors moved by at most %.1e", checksum[:8], moved)
    return merged


def merge_stack(
    model: PreTrainedModel, folders: Sequence[str | Path], *, tolerance: float = TOLERANCE
) -> PreTrainedModel:
    """Merge saved adapters one after the other into a base, each on top of those before it.

    Args:
        model: The base, bidirectional already; changed in place.
        folders: In the order in which they were trained.
        tolerance: As `merge_adapter`.

    Returns:
        The decoder without head.

    Raises:
        ValueError: As `attach_adapter` (an adapter out of order, or of another base) and `merge_adapter`.
    """
    for folder in folders:
        merge_adapter(attach_adapter(model, folder), tolerance=tolerance)
    return decoder_of(model)


def _check_precision(decoder: PreTrainedModel) -> None:
    """Raise a ValueError for weights in which a merge cannot be exact."""
    if getattr(decoder.config, "quantization_config", None) is not None:
        raise ValueError("the base is quantised, and merging would round the adapter away: load it in float32")
    if decoder.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"the base is in {decoder.dtype}, too coarse to merge into: load it in float32")


@torch.inference_mode()
def _vectors(decoder: PreTrainedModel) -> Tensor:
    """Return mean vectors of length 1 for a few rows of tokens, ``(N, D)``."""
    vocabulary = decoder.config.get_text_config().vocab_size
    rows = [torch.linspace(1, vocabulary - 2, length).long().unsqueeze(0) for length in PROBES]
    with evaluating(decoder):
        states = [decoder(input_ids=row.to(decoder.device), use_cache=False).last_hidden_state for row in rows]
    return torch.nn.functional.normalize(torch.cat([hidden.mean(dim=1) for hidden in states]).float(), dim=1)
