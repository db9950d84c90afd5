"""Tiny random decoders of many architectures, and a tokenizer of bytes: what the tests of the switch run on."""

import functools

import torch

SIZES = {
    "vocab_size": 272,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
}
OLD = {"vocab_size": 272, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128}
IDS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
OPT = {"ffn_dim": 64, "word_embed_proj_dim": 32, "dropout": 0.0}
CONFIGS = {
    "llama": SIZES,
    "mistral": {**SIZES, "sliding_window": None},
    "qwen2": SIZES,
    "qwen3": SIZES,
    "gemma3_text": {**SIZES, "sliding_window": 64},
    "opt": {**{key: value for key, value in SIZES.items() if key != "intermediate_size"}, **OPT},
    # SmolLM's shape in small: a Llama with tied embeddings and three queries to a key.
    "smollm": {**SIZES, "num_attention_heads": 6, "hidden_size": 48, "tie_word_embeddings": True},
    "gpt2": OLD,
    "falcon": {"vocab_size": 272, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
               "multi_query": False, "max_position_embeddings": 128},
    "stablelm": SIZES,
    "nemotron": SIZES,
    "modernbert-decoder": SIZES,
    "gpt_neo": {"vocab_size": 272, "hidden_size": 32, "num_layers": 2, "num_heads": 4,
                "attention_types": [[["global", "local"], 1]], "max_position_embeddings": 128},
    "openai-gpt": OLD,
    "mpt": {"vocab_size": 272, "d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 128},
    "mamba": {"vocab_size": 272, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 4},
    "lfm2": {**SIZES, "layer_types": ["conv", "full_attention"]},
    "minimax": {**SIZES, "num_local_experts": 2},
    "llama4_text": SIZES,
    "bert": SIZES,
    "t5": {"vocab_size": 272, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 1, "num_heads": 4},
}  # fmt: skip
SUPPORTED = ("llama", "mistral", "qwen2", "qwen3", "gemma3_text", "opt", "smollm")


def make(name, *, head=False, attention=None, seed=0, **changes):
    """Make a random decoder, with weights large enough that a lost token shows."""
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

    torch.manual_seed(seed)
    kind = "llama" if name == "smollm" else name
    config = AutoConfig.for_model(kind, **{**CONFIGS[name], **IDS, "initializer_range": 0.2, **changes})
    factory = AutoModelForCausalLM if head else AutoModel
    options = {"attn_implementation": attention} if attention else {}
    return factory.from_config(config, **options).eval()


@functools.cache
def byte_tokenizer():
    """Make a tokenizer with a token for each byte and four special ones, which adds none of them to texts."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = ["<pad>", "<s>", "</s>", "<unk>"]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*special, *letters])}
    bytes_of_text = Tokenizer(models.BPE(vocabulary, []))
    bytes_of_text.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_of_text.decoder = decoders.ByteLevel()
    names = dict(zip(("pad_token", "bos_token", "eos_token", "unk_token"), special, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=bytes_of_text, **names)


def ids(rows=2, length=10, seed=1):
    """Draw token ids, none of them special."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(4, 260, (rows, length), generator=generator)
