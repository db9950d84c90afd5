"""How much memory a decoder takes, in use and in training: arithmetic, without a weight being loaded."""

from __future__ import annotations

import dataclasses

from helpers import settings
from helpers.decoder_sizes import Sizes, sizes

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
# QLoRA (arXiv 2305.14314): 4 bits a weight, an 8-bit scale for every 64 of them, a 32-bit one for every 256 scales.
NF4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)
OPTIMISERS = {"adamw": 8, "adamw 8-bit": 2, "sgd": 0}  # bytes for each trained number

# Kind of layer, what is trained, bytes of a number -> bytes that one layer keeps of each token for the backward pass,
# for each unit of hidden size, of the width of keys and of the inner size. Adapters are in float32; with dropout, each
# keeps its own input. Counted with hooks on saved tensors (the tests count again); attention keeps no matrix of scores.
_KEPT = {
    ("gated", "all weights", 4): (32, 8, 16),
    ("gated", "all weights", 2): (20, 4, 8),
    ("gated", "adapters", 4): (24, 8, 16),
    ("gated", "adapters", 2): (36, 4, 10),
    ("gated", "adapters with dropout", 4): (64, 8, 20),
    ("gated", "adapters with dropout", 2): (60, 4, 14),
    ("opt", "all weights", 4): (40, 0, 4),
    ("opt", "all weights", 2): (20, 0, 2),
    ("opt", "adapters", 4): (40, 0, 4),
    ("opt", "adapters", 2): (36, 0, 6),
    ("opt", "adapters with dropout", 4): (72, 0, 12),
    ("opt", "adapters with dropout", 2): (56, 0, 10),
}


@dataclasses.dataclass(frozen=True)
class MemoryEstimate:
    """Bytes on one GPU in training; what libraries and the operating system take comes on top.

    Attributes:
        weights: Of the model and of its adapters.
        gradients: Of what is trained.
        optimiser: Its numbers, and float32 copies of weights that are trained in 16 bits.
        activations: What the layers keep for the backward pass.
    """

    weights: float
    gradients: float
    optimiser: float
    activations: float

    @property
    def total(self) -> float:
        """The sum, in bytes."""
        return self.weights + self.gradients + self.optimiser + self.activations


def weight_bytes(name: str, weights: str = "bfloat16") -> float:
    """Return the bytes of a decoder's weights.

    Args:
        name: Of `decoder_sizes.ARCHITECTURES`.
        weights: ``float32``, ``bfloat16``, ``float16``, or ``nf4``: linear layers in 4 bits, the rest in 16.

    Raises:
        ValueError: For an unknown name or precision.
    """
    found = sizes(name)
    if weights == "nf4":
        return NF4_BYTES * found.in_linear + 2 * (found.parameters - found.in_linear)
    if weights not in BYTES:
        raise ValueError(f"unknown precision {weights!r}; {settings.nearest(weights, [*BYTES, 'nf4'])}")
    return float(BYTES[weights] * found.parameters)


def memory_estimate(
    name: str,
    *,
    weights: str = "bfloat16",
    lora_rank: int | None = None,
    lora_dropout: float = 0.0,
    tokens: int = 0,
    optimiser: str = "adamw",
    zero_stage: int = 0,
    gpus: int = 1,
    checkpointing: bool = False,
) -> MemoryEstimate:
    """Estimate what training takes on each GPU.

    Args:
        name: Of `decoder_sizes.ARCHITECTURES`.
        weights: As for `weight_bytes`.
        lora_rank: Rank of float32 adapters on all linear layers; None trains all weights.
        lora_dropout: Of the adapters' inputs; whatever is above 0 makes each adapter keep its own.
        tokens: Tokens that one GPU keeps for the backward pass: those of a batch, or of a mini-batch with gradient
            caching.
        optimiser: ``adamw``, ``adamw 8-bit`` or ``sgd``.
        zero_stage: What ZeRO spreads over the GPUs: 1 the optimiser's numbers, 2 gradients too, 3 (as FSDP) weights
            too; 0 nothing. Source: ZeRO (Rajbhandari et al. 2020, arXiv 1910.02054).
        gpus: How many there are.
        checkpointing: Keep only the input of each layer, and the activations of one at a time.

    Raises:
        ValueError: For an unknown name, precision or optimiser, a stage or number out of range, or weights in 4 bits
            without adapters.
    """
    _check(weights, lora_rank, tokens, optimiser, zero_stage, gpus)
    found, held = sizes(name), weight_bytes(name, weights)
    if lora_rank is None:
        trained, width = found.parameters, BYTES[weights]
        copies = 4 * trained if width == 2 else 0
    else:
        trained, width, copies = found.lora_parameters(lora_rank), 4, 0
        held += width * trained
    shares = [gpus if zero_stage >= stage else 1 for stage in (3, 2, 1)]
    what = "all weights" if lora_rank is None else "adapters with dropout" if lora_dropout else "adapters"
    return MemoryEstimate(
        held / shares[0],
        width * trained / shares[1],
        (OPTIMISERS[optimiser] * trained + copies) / shares[2],
        activation_bytes(found, tokens, trained=what, width=BYTES.get(weights, 2), checkpointing=checkpointing),
    )


def activation_bytes(found: Sizes, tokens: int, *, trained: str, width: int, checkpointing: bool = False) -> float:
    """Return what the layers keep of so many tokens.

    Args:
        found: Of `decoder_sizes.sizes`.
        tokens: How many.
        trained: ``all weights``, ``adapters`` or ``adapters with dropout``.
        width: Bytes of a number, 4 or 2.
        checkpointing: Keep only the input of each layer, and all of one layer at a time.
    """
    factors = _KEPT[found.kind, trained, width]
    layer = sum(factor * size for factor, size in zip(factors, (found.hidden, found.keys, found.inner), strict=True))
    if checkpointing:
        return float(tokens * (width * found.hidden * found.layers + layer))
    return float(tokens * layer * found.layers)


def _check(weights: str, rank: int | None, tokens: int, optimiser: str, stage: int, gpus: int) -> None:
    """Raise a ValueError for what cannot be."""
    if weights == "nf4" and rank is None:
        raise ValueError("weights='nf4' cannot be trained; give a lora_rank")
    if optimiser not in OPTIMISERS:
        raise ValueError(f"unknown optimiser {optimiser!r}; {settings.nearest(optimiser, OPTIMISERS)}")
    if stage not in (0, 1, 2, 3):
        raise ValueError(f"zero_stage={stage} should be 0, 1, 2 or 3")
    limits = {"lora_rank": (rank, 1), "tokens": (tokens, 0), "gpus": (gpus, 1)}
    for label, (value, smallest) in limits.items():
        if value is not None and value < smallest:
            raise ValueError(f"{label}={value} should be at least {smallest}")
