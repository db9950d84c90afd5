"""What all tests share: no network, a cache that is kept, and models that are loaded once."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GUARD = ROOT / "tests" / "no_network"

# Before anything that opens a connection is imported; child processes (kernels, workers) inherit all of it.
sys.path[:0] = [str(ROOT), str(GUARD)]
os.environ["PYTHONPATH"] = os.pathsep.join([str(GUARD), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
os.environ.pop("EMBEDDING_BOOK_PROFILE", None)

import sitecustomize  # noqa: E402  (Python has imported another module of that name, or none, at its start)

if not hasattr(sitecustomize, "NetworkBlockedError"):
    import runpy

    runpy.run_path(str(GUARD / "sitecustomize.py"))

import pytest  # noqa: E402
import torch  # noqa: E402


@pytest.fixture(scope="session")
def smollm2():
    """The packaged language model and its tokenizer."""
    from helpers import models

    return models.load_decoder("smollm2-135m")


@pytest.fixture(scope="session")
def tiny(smollm2):
    """A random two-layer Llama on SmolLM2's tokenizer: everything that does not need knowledge runs on it."""
    return tiny_llama(), smollm2[1]


def tiny_llama(**changes):
    """Make a random two-layer Llama with SmolLM2's vocabulary."""
    from transformers import LlamaConfig, LlamaModel

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    options = {"vocab_size": 49152, "num_key_value_heads": 2, "max_position_embeddings": 256, **sizes, **changes}
    return LlamaModel(LlamaConfig(**options)).eval()


@pytest.fixture(scope="session")
def causal(smollm2):
    """A random two-layer Llama with a head, on SmolLM2's tokenizer."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = LlamaConfig(
        vocab_size=49152, num_key_value_heads=2, max_position_embeddings=256, initializer_range=0.3, **sizes
    )
    return LlamaForCausalLM(config).eval(), smollm2[1]


@pytest.fixture(scope="session")
def smoke_book(tmp_path_factory):
    """The whole project, copied, executed under the smoke profile, staged and turned into HTML: once a session."""
    import book_copy

    return book_copy.build(tmp_path_factory.mktemp("smoke") / "book")
