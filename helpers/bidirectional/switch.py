"""The switch: attention that looks both ways, by the one setting that transformers supports for it, and back again."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from helpers import settings
from helpers.bidirectional.architectures import check_supported
from helpers.bidirectional.guard import check_bidirectional, decoder_of

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

WINDOWS = ("keep", "lift")
_ABSENT = object()


def make_bidirectional(model: PreTrainedModel, *, window: str = "keep") -> PreTrainedModel:
    """Let every token of a decoder attend to every other, before and after it.

    No weight changes and no class is replaced: ``config.is_causal`` becomes False, from which transformers makes its
    masks. ``save_pretrained`` writes it to ``config.json``, so a reload stays bidirectional. An adapter saved alone
    has no ``config.json`` and does not: load it with `load_bidirectional`.

    Args:
        model: A decoder, with or without output head and adapters; changed in place.
        window: What becomes of sliding windows, which some models have in some or all layers: ``keep`` (attention
            then reaches as far ahead as back; a warning names the distance) or ``lift`` (to the model's whole
            context). Texts shorter than the window are the same either way.

    Returns:
        The model given.

    Raises:
        ValueError: For an architecture that is known not to work (`REFUSED`), by name and reason; where the guard
            finds that nothing moved (the model is then causal as before); for an unknown ``window``.
    """
    if window not in WINDOWS:
        raise ValueError(f"unknown window {window!r}; {settings.nearest(window, WINDOWS)}")
    check_supported(decoder_of(model))
    before = _set_causal(model, False)
    try:
        check_bidirectional(model)
    except Exception:
        _restore(before)
        raise
    if window == "lift":
        _lift_windows(model)
    elif reach := _window(decoder_of(model).config):
        logger.warning(
            "some or all layers see %d tokens back and %d ahead, no farther: it is the model's own window, and "
            "window='lift' lifts it",
            reach,
            reach,
        )
    return model


def make_causal(model: PreTrainedModel) -> PreTrainedModel:
    """Let every token attend to itself and what stands before it, as in a language model; changed in place."""
    _set_causal(model, True)
    return model


@contextlib.contextmanager
def causal(model: PreTrainedModel) -> Iterator[PreTrainedModel]:
    """Switch a model back for a while, to generate with it; afterwards it is as it was."""
    before = _set_causal(model, True)
    try:
        yield model
    finally:
        _restore(before)


def load_bidirectional(
    path: str | Path,
    *,
    adapter: str | Path | None = None,
    head: bool = False,
    dtype: str = "float32",
    device: str | None = None,
) -> PreTrainedModel | PeftModel:
    """Load a decoder from a folder, switch it, and run the guard.

    Args:
        path: Folder with ``config.json`` and safetensors, saved causal or bidirectional.
        adapter: Folder of an adapter to put on it (`attach_adapter`).
        head: Load the output head too.
        dtype: ``float32``, ``bfloat16`` or ``fast`` (see `settings.precision`).
        device: ``cpu`` or ``cuda``; found by itself where None.

    Returns:
        The model in evaluation mode, in PEFT's wrapper where there is an adapter.

    Raises:
        FileNotFoundError: Where the folder has no ``config.json``.
        ValueError: For a folder that holds an adapter only, and as `make_bidirectional`.
    """
    import torch
    from transformers import AutoModel, AutoModelForCausalLM

    folder = Path(path)
    if not (folder / "config.json").is_file():
        if (folder / "adapter_config.json").is_file():
            raise ValueError(f"{folder.name} is an adapter: give its base as path, and this folder as adapter")
        raise FileNotFoundError(f"there is no model in {folder}: config.json is missing")
    factory = AutoModelForCausalLM if head else AutoModel
    options = {"dtype": getattr(torch, settings.precision(dtype)), "use_safetensors": True, "trust_remote_code": False}
    model = factory.from_pretrained(str(folder), local_files_only=True, **options)
    model = model.to(device or settings.device()).eval()
    make_bidirectional(model)
    if adapter is None:
        return model
    from helpers.bidirectional.adapters import attach_adapter

    attached = attach_adapter(model, adapter)
    check_bidirectional(attached)
    return attached


def complete(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompt: str,
    *,
    max_new_tokens: int = 30,
    as_it_is: bool = False,
) -> str:
    """Continue a prompt greedily, with the switch off unless asked otherwise.

    Args:
        model: A decoder with its output head.
        tokenizer: Its tokenizer.
        prompt: What to continue.
        max_new_tokens: Most tokens to add.
        as_it_is: Leave the switch as it stands, to see what bidirectional attention does to generation.

    Returns:
        The new text alone.
    """
    inputs = tokenizer(prompt, return_tensors="pt").to(model.device)
    with contextlib.nullcontext() if as_it_is else causal(model):
        ids = model.generate(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            max_new_tokens=max_new_tokens,
            do_sample=False,
            pad_token_id=tokenizer.pad_token_id,
        )
    return tokenizer.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)


def _configs(model: PreTrainedModel) -> list[PreTrainedConfig]:
    """Return the configurations that the attention of a model reads; usually one, shared by all of its parts."""
    from transformers import PreTrainedModel

    parts = [module.config for module in model.modules() if isinstance(module, PreTrainedModel)]
    return list({id(config): config for config in parts}.values())


def _set_causal(model: PreTrainedModel, value: bool) -> list[tuple[PreTrainedConfig, object]]:
    """Set the switch; return what stood there, for `_restore`."""
    before = [(config, config.__dict__.get("is_causal", _ABSENT)) for config in _configs(model)]
    for config, _ in before:
        config.is_causal = value
    return before


def _restore(before: list[tuple[PreTrainedConfig, object]]) -> None:
    """Put the switch back to what it was, absent where it was absent."""
    for config, value in before:
        if value is _ABSENT:
            del config.is_causal
        else:
            config.is_causal = value


def _window(config: PreTrainedConfig) -> int | None:
    """Return the sliding window that some layer has, in tokens; None where all layers see everything."""
    kinds = getattr(config, "layer_types", None)
    if kinds is not None and "sliding_attention" not in kinds:
        return None
    return getattr(config, "sliding_window", None) or None


def _lift_windows(model: PreTrainedModel) -> None:
    """Let windows reach over the whole context.

    Kinds of layers stay as they are, for in some models (Gemma 3) a layer's kind also decides its positions; so the
    window becomes as long as the context where a model has kinds, and goes away where it has none.
    """
    config = decoder_of(model).config
    if _window(config) is None:
        return
    config.sliding_window = config.max_position_embeddings if getattr(config, "layer_types", None) else None
    for module in model.modules():
        if getattr(module, "sliding_window", None) is not None:  # read once, when the layer was made
            module.sliding_window = config.sliding_window
