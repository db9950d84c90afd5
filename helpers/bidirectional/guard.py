"""The guard: change later tokens and see whether the states of earlier ones move, with padding and without."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch

from helpers import embedding
from helpers.bidirectional.architectures import RIGHT_PADDING_ONLY

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import Tensor, nn
    from transformers import PreTrainedModel

logger = logging.getLogger(__name__)

SIDES = ("left", "right")
LENGTHS = (12, 7)  # tokens of the two probes: unequal, so that the shorter one is padded
# A causal model moves by exactly 0, for the two passes differ in nothing else.
LEAST_MOVEMENT = 1e-6
# How far padding may move the states of a text: rounding, in the precision of the weights.
PADDING_TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-3}
COARSE_TOLERANCE = 0.05


def decoder_of(model: PreTrainedModel | PeftModel) -> PreTrainedModel:
    """Return the decoder itself: without output head, and out of PEFT's wrapper (its adapters stay inside)."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    return inner.base_model


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model in evaluation mode, and give every module its own mode back afterwards."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def check_bidirectional(model: PreTrainedModel | PeftModel, *, sides: Sequence[str] | None = None) -> dict[str, float]:
    """Raise unless later tokens change the states of earlier ones, and padding does not.

    Run it after every conversion and every load: what fails here fails in silence everywhere else. It takes a dozen
    short forward passes.

    Args:
        model: A decoder, with or without output head and adapters; it is not changed.
        sides: Where padding may stand, of `SIDES`. None for both, save for architectures that are known to be wrong
            with padding on the left; a warning names them.

    Returns:
        How far the states of the first half of a text move when its second half is another one, as a share of their
        mean size: ``alone`` (one text, no mask), ``batch`` (two, a mask of ones), and ``left`` and ``right`` (padded).

    Raises:
        ValueError: Naming the architecture and the case: nothing moved, or a padded text has other states than
            without padding.
    """
    decoder = decoder_of(model)
    kind = decoder.config.model_type
    if sides is None:
        sides = ("right",) if kind in RIGHT_PADDING_ONLY else SIDES
        if sides != SIDES:
            logger.warning("%s is right with padding on the right only: set tokenizer.padding_side", kind)
    with evaluating(decoder):
        moved = {"alone": _movement(decoder, LENGTHS[:1], None), "batch": _movement(decoder, LENGTHS[:1] * 2, "right")}
        moved |= {side: _movement(decoder, LENGTHS, side) for side in sides}
        shifted = {side: _shift_by_padding(decoder, side) for side in sides}
    for case, value in moved.items():
        if not value > LEAST_MOVEMENT:  # NaN counts as not moved
            raise ValueError(
                f"{kind} still reads from left to right ({case}): other tokens in the second half of a text do not "
                f"move the states of the first half (movement {value:.1e}). Its vectors would be those of a causal "
                "model; see make_bidirectional and load_bidirectional"
            )
    limit = PADDING_TOLERANCE.get(decoder.dtype, COARSE_TOLERANCE)
    for side, value in shifted.items():
        if not value <= limit:
            raise ValueError(f"{kind}: padding on the {side} changes the states of a text by {value:.1e} of their size")
    return moved


def _probe(decoder: PreTrainedModel, length: int, *, changed: bool) -> list[int]:
    """Return token ids spread over the vocabulary; where changed, the second half holds others."""
    config = decoder.config.get_text_config()
    spread = torch.linspace(1, config.vocab_size - 2, 3 * length).long().tolist()
    usable = [token for token in spread if token != config.pad_token_id]
    first, later = usable[0 : 2 * length : 2], usable[1 : 2 * length : 2]
    return [*first[: length // 2], *(later if changed else first)[length // 2 : length]]


def _movement(decoder: PreTrainedModel, lengths: Sequence[int], side: str | None) -> float:
    """Return the smallest movement over texts of the given lengths, run together."""
    before, after = (
        _states(decoder, [_probe(decoder, length, changed=changed) for length in lengths], side)
        for changed in (False, True)
    )
    halves = [length // 2 for length in lengths]
    return min(_distance(old[:half], new[:half]) for old, new, half in zip(before, after, halves, strict=True))


def _shift_by_padding(decoder: PreTrainedModel, side: str) -> float:
    """Return how far the states of the shorter probe are from those that it has alone."""
    rows = [_probe(decoder, length, changed=False) for length in LENGTHS]
    return _distance(_states(decoder, rows[1:], None)[0], _states(decoder, rows, side)[1])


def _distance(old: Tensor, new: Tensor) -> float:
    """Return the mean difference of two ``(L, D)`` as a share of the mean size."""
    return float((old - new).abs().mean() / old.abs().mean())


@torch.inference_mode()
def _states(decoder: PreTrainedModel, rows: list[list[int]], side: str | None) -> list[Tensor]:
    """Return the states of each row, ``(L, D)`` float32 without padding; no mask is given where the side is None."""
    pad_id = decoder.config.get_text_config().pad_token_id or 0
    ids, mask = (part.to(decoder.device) for part in embedding.pad(rows, pad_id=pad_id, side=side or "right"))
    options = {} if side is None else {"attention_mask": mask}
    hidden = decoder(input_ids=ids, use_cache=False, **options).last_hidden_state.float()  # (B, L, D)
    return [states[keep.bool()] for states, keep in zip(hidden, mask, strict=True)]
