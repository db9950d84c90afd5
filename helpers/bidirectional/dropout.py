"""Attention dropout that acts: decoders of the Llama family have none, and two views of a sentence would be equal."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import nn

from helpers.bidirectional.guard import decoder_of

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

# What attention layers call it: a number or an nn.Dropout. OPT's attention calls it just ``dropout``.
NAMES = ("attention_dropout", "attn_dropout", "dropout")
PROBE = 16  # tokens


def set_attention_dropout(model: PreTrainedModel | PeftModel, rate: float) -> int:
    """Set the attention dropout of every layer, and check that it acts.

    The setting in the configuration is read once, when a layer is made; changing it later does nothing. So it is
    written into each layer, and into the configuration for the sake of a reload. Undo it with a rate of 0 before the
    model is used for another stage or saved.

    Args:
        model: A decoder, with or without output head and adapters; changed in place.
        rate: Share of attention weights that are dropped in training, from 0 up to but not including 1.

    Returns:
        How many layers were set.

    Raises:
        ValueError: For a rate out of range, a model in which no attention layer has a dropout to set, and where two
            passes in training mode are equal all the same.
    """
    if not 0 <= rate < 1:
        raise ValueError(f"rate={rate} should be a share from 0 up to but not including 1")
    decoder = decoder_of(model)
    layers = [(module, name) for module in decoder.modules() for name in _names(module)]
    if not layers:
        raise ValueError(f"no attention layer of {type(decoder).__name__} has a dropout that can be set")
    for module, name in layers:
        if isinstance(getattr(module, name), nn.Dropout):
            getattr(module, name).p = rate
        else:
            setattr(module, name, rate)
    if hasattr(decoder.config, "attention_dropout"):
        decoder.config.attention_dropout = rate
    if (view_difference(model) > 0) != (rate > 0):
        raise ValueError(
            f"attention dropout of {rate} was set in {len(layers)} layers of {type(decoder).__name__}, and two passes "
            f"in training mode are {'equal' if rate else 'different'} all the same"
        )
    return len(layers)


def view_difference(model: PreTrainedModel | PeftModel, *, attention_only: bool = True) -> float:
    """Return how far two passes of one text in training mode are apart: 0 where no dropout acts.

    Args:
        model: A decoder; its modes and the caller's random numbers stay as they are.
        attention_only: Leave out all other dropout (that of adapters, of residuals), which would hide that the
            attention's does nothing.

    Returns:
        The mean absolute difference of the states, as a share of their mean size.
    """
    decoder = decoder_of(model)
    vocabulary = decoder.config.get_text_config().vocab_size
    ids = torch.linspace(1, vocabulary - 2, PROBE).long().unsqueeze(0).to(decoder.device)  # (1, PROBE)
    devices = [decoder.device] if decoder.device.type == "cuda" else []
    with _training(decoder, attention_only), torch.random.fork_rng(devices=devices), torch.no_grad():
        torch.manual_seed(0)
        one, two = (decoder(input_ids=ids, use_cache=False).last_hidden_state.float() for _ in range(2))
    return float((one - two).abs().mean() / one.abs().mean())


def _names(module: nn.Module) -> list[str]:
    """Return the attributes of an attention layer that hold its dropout."""
    if not type(module).__name__.endswith("Attention"):
        return []
    found = [name for name in NAMES if isinstance(getattr(module, name, None), float | int | nn.Dropout)]
    return found[:1]


@contextlib.contextmanager
def _training(decoder: PreTrainedModel, attention_only: bool) -> Iterator[None]:
    """Put a decoder in training mode for a while, or its attention layers alone with the dropout that is theirs."""
    modes = {module: module.training for module in decoder.modules()}
    decoder.train(not attention_only)
    for module in decoder.modules() if attention_only else ():
        for name in _names(module):
            module.training = True  # its sub-modules, among them adapters with a dropout of their own, stay as they are
            if isinstance(getattr(module, name), nn.Dropout):
                getattr(module, name).training = True
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
