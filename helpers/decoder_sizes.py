"""The shapes of decoders, small and large: on PyTorch's meta device, where tensors have sizes and no numbers."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING

from helpers import settings

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def _gated(kind: str, hidden: int, inner: int, layers: int, heads: int, key_heads: int, vocabulary: int) -> dict:
    """Return the configuration of a Llama or of one of its kin."""
    return {
        "model_type": kind, "hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": layers,
        "num_attention_heads": heads, "num_key_value_heads": key_heads, "vocab_size": vocabulary,
    }  # fmt: skip


def _opt(hidden: int, layers: int, heads: int, **changes: object) -> dict:
    """Return the configuration of an OPT."""
    return {
        "model_type": "opt", "hidden_size": hidden, "ffn_dim": 4 * hidden, "num_hidden_layers": layers,
        "num_attention_heads": heads, "vocab_size": 50_272, "word_embed_proj_dim": hidden, **changes,
    }  # fmt: skip


# Sizes as in the papers and the checkpoints' own configurations: OPT (arXiv 2205.01068), LLaMA (2302.13971), Llama 2
# (2307.09288), Llama 3 (2407.21783), Sheared LLaMA (2310.06694), Mistral (2310.06825), Qwen2 (2407.10671), SmolLM2
# (2502.02737).
ARCHITECTURES: dict[str, dict] = {
    "opt-125m": _opt(768, 12, 12),
    "opt-350m": _opt(1024, 24, 16, word_embed_proj_dim=512, do_layer_norm_before=False),
    "opt-1.3b": _opt(2048, 24, 32),
    "opt-2.7b": _opt(2560, 32, 32),
    "opt-6.7b": _opt(4096, 32, 32),
    "opt-13b": _opt(5120, 40, 40),
    "opt-30b": _opt(7168, 48, 56),
    "opt-66b": _opt(9216, 64, 72),
    "llama-7b": _gated("llama", 4096, 11_008, 32, 32, 32, 32_000),
    "llama-13b": _gated("llama", 5120, 13_824, 40, 40, 40, 32_000),
    "llama-30b": _gated("llama", 6656, 17_920, 60, 52, 52, 32_000),
    "llama-65b": _gated("llama", 8192, 22_016, 80, 64, 64, 32_000),
    "llama-2-7b": _gated("llama", 4096, 11_008, 32, 32, 32, 32_000),
    "llama-3-8b": _gated("llama", 4096, 14_336, 32, 32, 8, 128_256),
    "llama-3.2-1b": _gated("llama", 2048, 8192, 16, 32, 8, 128_256),
    "sheared-llama-1.3b": _gated("llama", 2048, 5504, 24, 16, 16, 32_000),
    "mistral-7b": _gated("mistral", 4096, 14_336, 32, 32, 8, 32_000),
    "qwen2-7b": _gated("qwen2", 3584, 18_944, 28, 28, 4, 152_064),
    "smollm2-135m": _gated("llama", 576, 1536, 30, 9, 3, 49_152),
}


@dataclasses.dataclass(frozen=True)
class Sizes:
    """What a decoder is made of, without an output head.

    Attributes:
        parameters: Number of weights.
        linear: Name and shape ``(in, out)`` of each linear layer, in order.
        layers: Number of layers.
        hidden: Hidden size.
        keys: Width of the keys of one token.
        inner: Inner size of the feed-forward layers.
        kind: ``gated`` (Llama and its kin) or ``opt``.
    """

    parameters: int
    linear: tuple[tuple[str, int, int], ...]
    layers: int
    hidden: int
    keys: int
    inner: int
    kind: str

    @property
    def in_linear(self) -> int:
        """Weights of all linear layers: those that NF4 shrinks, and those that a token is multiplied by."""
        return sum(wide * high for _, wide, high in self.linear)

    def lora_parameters(self, rank: int, targets: str = "all-linear") -> int:
        """Return how many numbers adapters of a rank have; ``targets`` as in `contrastive.LoraOptions`."""
        named = [
            (wide, high) for name, wide, high in self.linear if targets == "all-linear" or name in targets.split(",")
        ]
        return rank * sum(wide + high for wide, high in named)


def skeleton(name: str) -> PreTrainedModel:
    """Return a decoder of `ARCHITECTURES` on the meta device, without an output head; about a second.

    Raises:
        ValueError: For an unknown name, with the nearest one.
    """
    import torch
    from transformers import AutoConfig, AutoModel

    if name not in ARCHITECTURES:
        raise ValueError(f"unknown architecture {name!r}; {settings.nearest(name, ARCHITECTURES)}")
    with torch.device("meta"):
        return AutoModel.from_config(AutoConfig.for_model(**ARCHITECTURES[name]))


@functools.cache
def sizes(name: str) -> Sizes:
    """Measure a decoder of `ARCHITECTURES`; errors as `skeleton`."""
    import torch

    model = skeleton(name)
    config = ARCHITECTURES[name]
    linear = tuple(
        (path.rsplit(".", 1)[-1], layer.in_features, layer.out_features)
        for path, layer in model.named_modules()
        if isinstance(layer, torch.nn.Linear)
    )
    keys = next(out for layer, _, out in linear if layer == "k_proj")
    return Sizes(
        parameters=sum(weight.numel() for weight in model.parameters()),
        linear=linear,
        layers=config["num_hidden_layers"],
        hidden=config["hidden_size"],
        keys=keys,
        inner=config.get("intermediate_size") or config["ffn_dim"],
        kind="opt" if config["model_type"] == "opt" else "gated",
    )
