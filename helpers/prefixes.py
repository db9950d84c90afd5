"""The tokens with which many inputs begin: what a causal model computes for them, computed once and kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from transformers import DynamicCache, PreTrainedModel

# Reusing fewer tokens than these is not worth the attention masks it needs; the four that begin PromptEOL are.
SHORTEST = 4


@dataclasses.dataclass(frozen=True)
class Prefix:
    """A shared beginning that a model has read.

    Attributes:
        ids: Its tokens, P of them.
        pairs: Keys and values of each layer, ``(1, heads, P, d)`` both.
        hidden: Its last hidden states, ``(1, P, D)``.
    """

    ids: list[int]
    pairs: list[tuple[torch.Tensor, torch.Tensor]]
    hidden: torch.Tensor

    def cut(self, length: int) -> Prefix:
        """Return the first ``length`` tokens of the prefix: what a causal model computes for them does not change."""
        pairs = [(keys[:, :, :length], values[:, :, :length]) for keys, values in self.pairs]
        return Prefix(self.ids[:length], pairs, self.hidden[:, :length])

    def cache(self, size: int) -> DynamicCache:
        """Return a fresh key/value cache in which each of ``size`` rows begins with the prefix."""
        from transformers import DynamicCache

        cache = DynamicCache()
        for layer, (keys, values) in enumerate(self.pairs):
            cache.update(keys.expand(size, -1, -1, -1), values.expand(size, -1, -1, -1), layer)  # (B, heads, P, d)
        return cache


@dataclasses.dataclass
class Kept:
    """What was learnt of a model and holds until the model changes: its last prefix, and which way it looks.

    Attributes:
        prefix: The last prefix that was read, or None.
        looks_ahead: Whether later tokens change the states of earlier ones, or None where nobody has looked yet.
    """

    prefix: Prefix | None = None
    looks_ahead: bool | None = None
    _state: tuple = ()

    def check(self, model: PreTrainedModel) -> None:
        """Forget everything where the model is not what it was."""
        state = state_of(model)
        if state != self._state:
            self.prefix, self.looks_ahead, self._state = None, None, state

    def get(self, ids: list[int]) -> Prefix | None:
        """Return the prefix of these tokens, or None where what is kept begins otherwise or is shorter."""
        if self.prefix is None or self.prefix.ids[: len(ids)] != ids:
            return None
        return self.prefix.cut(len(ids))


def shared_length(inputs: Sequence[Sequence[int]]) -> int:
    """Return how many tokens all inputs begin with, less than the shortest of them has."""
    shared = 0
    for column in zip(*inputs, strict=False):
        if len(set(column)) > 1:
            break
        shared += 1
    return min(shared, min(len(ids) for ids in inputs) - 1)


@torch.inference_mode()
def read(model: PreTrainedModel, ids: list[int]) -> Prefix:
    """Run a causal model on the tokens of a prefix."""
    output = model(input_ids=torch.tensor([ids], device=model.device), use_cache=True)
    pairs = [(layer.keys, layer.values) for layer in output.past_key_values.layers]
    return Prefix(list(ids), pairs, output.last_hidden_state)


@torch.inference_mode()
def sees_the_future(model: PreTrainedModel, ids: Sequence[int]) -> bool:
    """Say whether later tokens change the states of earlier ones: false for a causal model.

    Two inputs with different second halves are run, and the states of their first half compared (one other token among
    hundreds moves the states too little). Keys and values of a prefix can be reused only where the answer is no.
    """
    half = len(ids) // 2
    other = [1 if token == 0 else 0 for token in ids[half:]]
    pair = torch.tensor([list(ids), [*ids[:half], *other]], device=model.device)  # (2, L)
    hidden = model(input_ids=pair).last_hidden_state[:, :half].float()  # (2, L // 2, D)
    return not torch.allclose(hidden[0], hidden[1], rtol=1e-4, atol=1e-4 * float(hidden.abs().mean()))


def state_of(model: PreTrainedModel) -> tuple:
    """Return what tells whether a model still computes what it did: weights, adapters that are on, direction.

    Weights are known by their place, PyTorch's count of changes and one value each, so that training, loading, moving,
    merging and quantising all show. An adapter that is switched on or off changes no weight, so switches count too.
    """
    weights = [(p.data_ptr(), 0 if p.is_inference() else p._version, _first(p)) for p in model.parameters()]
    switches = [
        (module.disable_adapters, *module.active_adapters)
        for module in model.modules()
        if isinstance(getattr(module, "disable_adapters", None), bool)
    ]
    return tuple(weights), tuple(switches), getattr(model.config, "is_causal", None), model.training


def _first(weights: torch.Tensor) -> float:
    """Return the first value of a matrix or vector; 0 where it is empty or not in memory."""
    return float(weights.detach()[(0,) * weights.dim()]) if weights.numel() and not weights.is_meta else 0.0
