"""A decoder that needs no package: random weights over the 256 bytes, and rows to train it on."""

import random

import torch

WORDS = {"colour": ("red", "blue", "green", "white"), "animal": ("cat", "dog", "horse", "mouse")}
END = "<|im_end|>"


def byte_tokenizer():
    """Make a tokenizer with a token for each byte and one for the end of a sequence."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: number for number, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=END)


def byte_llama(**changes):
    """Make a random two-layer Llama over bytes."""
    from transformers import LlamaConfig, LlamaModel

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    window = {"vocab_size": 257, "num_key_value_heads": 2, "max_position_embeddings": 256, "initializer_range": 0.3}
    return LlamaModel(LlamaConfig(**{**sizes, **window, **changes})).eval()


def triplets(n=18):
    """Make rows whose positive is a word of the same kind."""
    rng = random.Random(0)
    rows = []
    for number in range(n):
        kind, other = ("colour", "animal") if number % 2 else ("animal", "colour")
        anchor, positive = (f"{word} {number % 3}" for word in rng.sample(WORDS[kind], 2))
        rows.append({"anchor": anchor, "positive": positive, "negative": rng.choice(WORDS[other]), "id": number})
    return rows


def pairs(n=18):
    """Make the same rows without negatives."""
    return [{"anchor": row["anchor"], "positive": row["positive"]} for row in triplets(n)]
