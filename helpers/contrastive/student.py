"""The model in training: a copy with adapters, inside a SentenceTransformer; and what is left of it afterwards."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from helpers.contrastive import adapters
from helpers.contrastive.decoder_recipes import DecoderRecipe
from helpers.contrastive.exporting import as_sentence_transformer, tokens_of

if TYPE_CHECKING:
    from peft import PeftModel
    from sentence_transformers import SentenceTransformer
    from torch import Tensor, nn
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

WEIGHTS = "weights.safetensors"


@dataclasses.dataclass
class Student:
    """A decoder ready to be trained.

    Attributes:
        encoder: What sentence-transformers trains.
        tokenizer: As the caller gave it.
        recipe: How it is trained.
        peft: peft's model around the decoder, or None where all weights are trained.
    """

    encoder: SentenceTransformer
    tokenizer: PreTrainedTokenizerBase
    recipe: DecoderRecipe
    peft: PeftModel | None

    @property
    def prompts(self) -> dict[str, str]:
        """What sentence-transformers puts before a column: the recipe's instruction before the anchors."""
        return {"anchor": self.encoder.prompts["query"]} if self.recipe.instruction is not None else {}

    def finish(self) -> tuple[SentenceTransformer, dict[str, Tensor] | None]:
        """Return the trained encoder and its adapter (None without one).

        The adapter is merged; in a quantised model it stays beside the weights. The encoder is put together anew, for
        the trainer leaves its own forward pass, in its own precision, on the one that it trained.
        """
        decoder, weights = self.encoder[0].model, None
        if self.peft is not None:
            weights = adapters.adapter_weights(self.peft)
            if not adapters.is_quantised(decoder):
                decoder = adapters.merge(self.peft)
        if self.recipe.gradient_checkpointing:
            decoder.gradient_checkpointing_disable()
        decoder.eval()
        return wrapped(decoder, self.tokenizer, self.recipe), weights


def wrapped(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, recipe: DecoderRecipe) -> SentenceTransformer:
    """Return a decoder as a SentenceTransformer that reads texts as a recipe says; see `as_sentence_transformer`."""
    return as_sentence_transformer(
        model,
        tokenizer,
        template=recipe.template,
        pooling=recipe.pooling,
        query_template=recipe.query_template,
        instruction=recipe.instruction,
        pool_instruction=recipe.pool_instruction,
    )


def make_student(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, recipe: DecoderRecipe, *, seed: int, in_place: bool
) -> Student:
    """Copy a decoder, put adapters into it and a SentenceTransformer around it.

    Args:
        model: The decoder to start from.
        tokenizer: Its tokenizer.
        recipe: How it will be trained.
        seed: Of the adapters; PyTorch's generator is seeded with it.
        in_place: Put the adapters into the model itself.

    Raises:
        ValueError: As `check_model`.
    """
    check_model(model, recipe)
    decoder = model if in_place else copy.deepcopy(model)
    for name in ("pad_token_id", "bos_token_id", "eos_token_id"):  # the trainer would do so, with a warning
        setattr(decoder.config, name, getattr(tokenizer, name))
    peft = None
    if recipe.lora is not None:
        torch.manual_seed(seed)
        peft = adapters.add_lora(decoder, recipe.lora)
    else:
        decoder.requires_grad_(True)
    encoder = wrapped(decoder, tokenizer, recipe)
    encoder.max_seq_length = _limit(encoder, recipe)
    return Student(encoder, tokenizer, recipe, peft)


@contextlib.contextmanager
def attention_dropout(model: nn.Module, share: float) -> Iterator[None]:
    """Let attention layers drop a share of their weights in training; they read it when built, not from the config.

    Raises:
        ValueError: For a share above 0 where no layer drops attention weights.
    """
    layers = [layer for layer in model.modules() if isinstance(getattr(layer, "attention_dropout", None), float)]
    if share and not layers:
        raise ValueError(f"attention_dropout={share} does nothing in a {type(model).__name__}: no layer has it")
    before = [layer.attention_dropout for layer in layers]
    for layer, own in zip(layers, before, strict=True):
        layer.attention_dropout = share or own
    try:
        yield
    finally:
        for layer, own in zip(layers, before, strict=True):
            layer.attention_dropout = own


def trained_weights(model: nn.Module, state: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """Return the weights that training changes, by name.

    Args:
        model: The encoder in training.
        state: All its weights, where they had to be gathered from several processes; else its own are taken.
    """
    own = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    return {name: (state or own)[name].detach().cpu().contiguous() for name in own}


def load_trained_weights(model: nn.Module, path: Path) -> None:
    """Give a model the weights that `trained_weights` returned, from a safetensors file.

    Raises:
        ValueError: Where the file has other weights than the model trains.
    """
    from safetensors.torch import load_file

    found, own = load_file(path), trained_weights(model)
    if found.keys() != own.keys() or any(found[name].shape != weight.shape for name, weight in own.items()):
        raise ValueError(f"{path.name} in {path.parent.name!r} does not hold the weights that this recipe trains")
    model.load_state_dict(found, strict=False)


def check_model(model: PreTrainedModel, recipe: DecoderRecipe) -> None:
    """Raise a ValueError where a model cannot be trained by a recipe.

    That is: it is held in another precision than the recipe says, it has adapters already, or its 4-bit weights no
    longer give gradients.
    """
    held = "nf4" if getattr(model, "is_loaded_in_4bit", False) else None
    if held is None and adapters.is_quantised(model):
        raise ValueError("a model in 8 bits cannot be trained here; load it with quantization='nf4' or None")
    if held != recipe.quantization:
        raise ValueError(
            f"the recipe has quantization={recipe.quantization!r}, and the model was loaded with {held!r}: load it "
            "as the recipe says, or change the recipe"
        )
    if getattr(model, "peft_config", None):
        raise ValueError("the model has adapters already; merge them first, for new ones would switch them off")
    adapters.keep_gradients(model)


def _limit(encoder: SentenceTransformer, recipe: DecoderRecipe) -> int:
    """Return the longest input in training: the recipe's tokens of a text, and what stands around them."""
    text = "a"
    prompt = encoder.prompts["query"] if recipe.instruction is not None else None
    around = max(len(tokens_of(encoder, text)), len(tokens_of(encoder, text, prompt))) - 1
    return min(encoder.max_seq_length, recipe.max_length + around)
