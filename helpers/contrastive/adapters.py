"""LoRA (Hu et al. 2021, arXiv 2106.09685): small matrices that are trained in place of a model's own weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

from helpers.contrastive.surroundings import no_advice_between_libraries

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import Tensor, nn
    from transformers import PreTrainedModel


@dataclasses.dataclass(frozen=True)
class LoraOptions:
    """Which matrices get an adapter ``W + (alpha / rank) B A``, and how large it is.

    Attributes:
        rank: Rows of A and columns of B.
        alpha: Its ratio to the rank scales what the adapter adds.
        dropout: Share of the adapter's inputs that is dropped in training.
        targets: ``all-linear`` (all but an output head), or names of layers with commas, such as ``q_proj,v_proj``.

    Raises:
        ValueError: For a value out of range; the message names it.
    """

    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0
    targets: str = "all-linear"

    def __post_init__(self) -> None:
        for name in ("rank", "alpha"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"lora {name}={value!r} should be a whole number from 1")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"lora dropout={self.dropout} should be from 0 to below 1")
        if not self.targets:
            raise ValueError("lora targets should be 'all-linear' or names of layers, got nothing")


def add_lora(model: PreTrainedModel, options: LoraOptions) -> PeftModel:
    """Put untrained adapters into a model, which is changed: only they can be trained from now on.

    They add nothing yet, for B begins at zero; A is drawn from PyTorch's random numbers. In a 4-bit model, norms and
    embeddings are raised to float32, as QLoRA (Dettmers et al. 2023, arXiv 2305.14314) does.

    Args:
        model: A decoder without a head.
        options: See `LoraOptions`.

    Returns:
        peft's model around it.

    Raises:
        ValueError: Where no layer has one of the names.
    """
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training

    if is_quantised(model):
        with no_advice_between_libraries():
            model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
        keep_gradients(model)
    targets = options.targets if options.targets == "all-linear" else options.targets.split(",")
    config = LoraConfig(
        r=options.rank,
        lora_alpha=options.alpha,
        lora_dropout=options.dropout,
        target_modules=targets,
        task_type="FEATURE_EXTRACTION",
    )
    with no_advice_between_libraries():
        return get_peft_model(model, config)


def is_quantised(model: PreTrainedModel) -> bool:
    """Say whether bitsandbytes holds the weights in 4 or 8 bits."""
    return bool(getattr(model, "is_loaded_in_4bit", False) or getattr(model, "is_loaded_in_8bit", False))


def keep_gradients(model: nn.Module) -> None:
    """Keep 4-bit layers away from a kernel without gradients.

    On CPUs with AVX512-BF16, bitsandbytes repacks them at the first evaluation, and adapters get zero or wrong
    gradients from then on, while the loss may still fall. `models.load_decoder` does this too.

    Raises:
        ValueError: Where that has happened already: packing rounds, so it cannot be undone.
    """
    for layer in model.modules():
        if hasattr(layer, "support_avx512bf16_for_cpu"):
            if getattr(layer.weight.quant_state, "packing_format_for_cpu", False):
                raise ValueError(
                    "the 4-bit weights were repacked by an evaluation, and adapters on them would get wrong gradients; "
                    "load the model again, with models.load_decoder"
                )
            layer.support_avx512bf16_for_cpu = False


def trainable_parameters(model: nn.Module) -> int:
    """Return how many numbers training would change."""
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad)


def adapter_weights(model: PeftModel) -> dict[str, Tensor]:
    """Return copies of the adapters' weights, in float32 on the CPU, under peft's names."""
    from peft import get_peft_model_state_dict

    return {name: weight.detach().float().cpu().clone() for name, weight in get_peft_model_state_dict(model).items()}


def set_adapter(model: PeftModel, weights: Mapping[str, Tensor]) -> None:
    """Give adapters their weights.

    Raises:
        ValueError: Where names or shapes are not those of the model's adapters.
    """
    from peft import get_peft_model_state_dict, set_peft_model_state_dict

    shapes = {name: tuple(weight.shape) for name, weight in get_peft_model_state_dict(model).items()}
    given = {name: tuple(weight.shape) for name, weight in weights.items()}
    if different := sorted(name for name in shapes.keys() | given.keys() if shapes.get(name) != given.get(name)):
        raise ValueError(f"the adapter does not fit the model: {len(different)} weights differ, such as {different[0]}")
    set_peft_model_state_dict(model, dict(weights))


def merge(model: PeftModel) -> PreTrainedModel:
    """Add the adapters to the weights that they belong to, and return the model without them.

    Raises:
        ValueError: For a quantised model: its weights have too few values for that.
    """
    base = model.get_base_model()
    if is_quantised(base):
        raise ValueError(
            "an adapter cannot be merged into quantised weights; put it on the float model and merge there"
        )
    return model.merge_and_unload()
