"""Which decoders the switch works for: what fails is written down as data, with the reason, and refused by name.

All of it was tried with small random models in transformers 5.23, with both kinds of attention, with padding on either
side and without. What is not listed here is not trusted either: the guard (`check_bidirectional`) decides.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel


@dataclasses.dataclass(frozen=True)
class Refusal:
    """Why an architecture cannot be switched.

    Attributes:
        reason: What goes wrong.
        attention: The implementation of attention (``sdpa``, ``eager``) that it is about; all of them where None.
        instead: What to do, empty where nothing helps.
    """

    reason: str
    attention: str | None = None
    instead: str = ""


_UNPADDED = "without padding it stays causal in silence, and with padding it does not: vectors depend on the batch"
_BUFFER = "its causal mask is a constant inside each layer, which the switch does not reach: it stays causal in silence"
_RECURRENT = "its layers carry a state from left to right, and no attention mask changes that"

REFUSED: dict[str, Refusal] = {
    "stablelm": Refusal(_UNPADDED, "sdpa", "load it with attn_implementation='eager'"),
    "nemotron": Refusal(_UNPADDED, "sdpa", "load it with attn_implementation='eager'"),
    "gpt_neo": Refusal(_BUFFER),
    "openai-gpt": Refusal(_BUFFER),
    "mpt": Refusal("its attention fails without a causal mask"),
    "modernbert-decoder": Refusal(
        "its eager attention fails without a causal mask", "eager", "load it with attn_implementation='sdpa'"
    ),
    **{name: Refusal(_RECURRENT) for name in ("mamba", "mamba2", "falcon_mamba", "rwkv", "recurrent_gemma", "xlstm")},
}

# Kinds of layers (`config.layer_types`) that keep reading from left to right in a model whose attention is switched.
REFUSED_LAYERS: dict[str, Refusal] = {
    "linear_attention": Refusal(_RECURRENT),
    "hybrid": Refusal(_RECURRENT),
    "conv": Refusal("its convolutions see earlier tokens only, and no attention mask changes that"),
    "chunked_attention": Refusal("its chunks keep a causal mask in silence, or lose it only without padding"),
}

# Positions are counted from the first column, padding included, so a text has other states with padding on its left.
RIGHT_PADDING_ONLY = ("gpt2", "gpt_bigcode", "biogpt", "ctrl", "xglm")


def refusal(config: PreTrainedConfig, attention: str | None) -> Refusal | None:
    """Return why a decoder is refused, or None where nothing is known against it.

    Args:
        config: Of the decoder.
        attention: The implementation of attention that it is loaded with.
    """
    known = REFUSED.get(config.model_type)
    if known is not None and known.attention in (None, attention):
        return known
    if getattr(config, "is_encoder_decoder", False):
        return Refusal("it has an encoder, which is bidirectional already, and a decoder that has to stay causal")
    kinds = getattr(config, "layer_types", None) or ()
    return next((REFUSED_LAYERS[kind] for kind in kinds if kind in REFUSED_LAYERS), None)


def check_supported(model: PreTrainedModel) -> None:
    """Raise a ValueError that names the architecture and the reason, where the switch is known not to work."""
    config = model.config.get_text_config()
    attention = getattr(config, "_attn_implementation", None)
    found = refusal(config, attention)
    if found is not None:
        which = f" with {found.attention} attention" if found.attention else ""
        advice = f"; {found.instead}" if found.instead else ""
        raise ValueError(f"{config.model_type}{which} cannot be made bidirectional: {found.reason}{advice}")
