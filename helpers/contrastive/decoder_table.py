"""Recipes for decoders, as data with sources: how each method was trained when published, and cut to two cores."""

from __future__ import annotations

import dataclasses

from helpers import prompts
from helpers.contrastive.decoder_recipes import DecoderRecipe
from helpers.contrastive.recipes import changed

E5_QUERY = prompts.with_instruction("{instruction}", prompts.SLOT)

_PROMPT_EOL_CODE = DecoderRecipe(
    template=prompts.PROMPT_EOL,
    pooling="last",
    learning_rate=5e-4,
    temperature=0.05,
    batch_size=256,
    epochs=1,
    max_length=32,
    warmup_steps=100,
    lora_rank=64,
    lora_alpha=16,
    lora_dropout=0.05,
    quantization="nf4",
    source="Scaling Sentence Embeddings with LLMs (arXiv 2307.16645), values of the repository's training script on "
    "the NLI triplets of SimCSE; 200 rows a step for 13B models",
)

_LLM2VEC_SIMCSE = DecoderRecipe(
    learning_rate=3e-5,
    temperature=0.05,
    batch_size=128,
    steps=1000,
    max_length=128,
    schedule="constant",
    lora_dropout=0.05,
    attention_dropout=0.3,
    hard_negatives=False,
    source="LLM2Vec (arXiv 2404.05961), the repository's configurations; each text is its own positive. The "
    "learning rate falls over whole epochs of a million texts there, of which 1000 steps see an eighth",
)

_LLM2VEC_SUPERVISED = DecoderRecipe(
    query_template="{instruction}:\n{text}",
    pool_instruction=False,
    learning_rate=2e-4,
    temperature=0.02,
    batch_size=512,
    steps=1000,
    max_length=512,
    warmup_steps=300,
    schedule="constant",
    lora_dropout=0.05,
    gradient_checkpointing=True,
    source="LLM2Vec (arXiv 2404.05961), the repository's configurations: 64 rows on each of 8 GPUs, stopped after "
    "1000 steps of a schedule for three epochs; it joins instruction and text by a space",
)

DECODER_RECIPES: dict[str, DecoderRecipe] = {
    "PromptEOL CSE (published)": _PROMPT_EOL_CODE,
    "PromptEOL CSE (paper)": dataclasses.replace(
        _PROMPT_EOL_CODE,
        temperature=0.5,
        source="as the published recipe, with the temperature that the paper prints; the code that came with it "
        "divides by 0.05",
    ),
    "PromptEOL CSE (laptop)": dataclasses.replace(
        _PROMPT_EOL_CODE,
        batch_size=24,
        epochs=None,
        steps=40,
        warmup_steps=4,
        lora_rank=16,
        lora_alpha=32,
        lora_dropout=0.0,
        quantization=None,
        source="the published recipe cut to 40 steps of 24 triplets without quantisation; a smaller rank with twice "
        "its size as alpha; the same tenth of the steps as warm-up; no dropout, for which each adapter would keep its "
        "own input in memory",
    ),
    "PromptEOL CSE (benchmark)": dataclasses.replace(
        _PROMPT_EOL_CODE,
        batch_size=32,
        epochs=None,
        steps=300,
        warmup_steps=30,
        lora_rank=8,
        lora_alpha=16,
        lora_dropout=0.0,
        quantization=None,
        source="the published recipe cut to 300 steps of 32 triplets without quantisation; rank 8 keeps the adapter "
        "of SmolLM2-135M at 5 MB in bfloat16",
    ),
    "E5-Mistral (published)": DecoderRecipe(
        pooling="eos",
        query_template=E5_QUERY,
        learning_rate=1e-4,
        temperature=0.02,
        batch_size=2048,
        epochs=1,
        max_length=512,
        warmup_steps=100,
        weight_decay=0.1,
        lora_dropout=0.1,
        gradient_checkpointing=True,
        source="Improving Text Embeddings with LLMs (arXiv 2401.00368); alpha 32 and dropout 0.1 from the published "
        "adapter, for the paper has neither; its 512 tokens include the instruction",
    ),
    "E5 (laptop)": DecoderRecipe(
        pooling="eos",
        query_template=E5_QUERY,
        learning_rate=5e-4,
        temperature=0.02,
        batch_size=12,
        steps=14,
        max_length=48,
        warmup_steps=3,
        weight_decay=0.1,
        lora_rank=8,
        lora_alpha=16,
        source="the published recipe cut to 14 steps of 12 rows and 48 tokens a text, at half its rank (alpha stays "
        "twice the rank), without dropout, for which each adapter would keep its own input in memory, and without "
        "gradient checkpointing. Of 5e-4 and 1e-3, which were tried on three quarters of the written examples, this "
        "learning rate was the better one on the rest; neither helped there after so few steps",
    ),
    "E5 (benchmark)": DecoderRecipe(
        pooling="eos",
        query_template=E5_QUERY,
        learning_rate=5e-4,
        temperature=0.02,
        batch_size=32,
        epochs=2,
        mini_batch_size=8,
        max_length=96,
        warmup_steps=4,
        weight_decay=0.1,
        lora_rank=8,
        lora_alpha=16,
        source="as the laptop's recipe, with two epochs of 32 rows (in pieces of 8, by gradient caching) and 96 tokens "
        "a text; the published one has one epoch of 2048 rows",
    ),
    "LLM2Vec SimCSE (published)": _LLM2VEC_SIMCSE,
    "LLM2Vec SimCSE (laptop)": dataclasses.replace(
        _LLM2VEC_SIMCSE,
        learning_rate=2e-3,
        batch_size=24,
        steps=12,
        max_length=64,
        lora_rank=8,
        lora_alpha=16,
        lora_dropout=0.0,
        source="the published recipe cut to 12 steps of 24 sentences; rank 8 with twice its size as alpha; no dropout "
        "in the adapters, so that the attention's makes the views alone; a learning rate for so few steps, the best of "
        "3e-4, 1e-3 and 2e-3 in a trial on the validation half of the book's STS pairs",
    ),
    "LLM2Vec supervised (published)": _LLM2VEC_SUPERVISED,
    "LLM2Vec supervised (laptop)": dataclasses.replace(
        _LLM2VEC_SUPERVISED,
        learning_rate=1e-3,
        batch_size=12,
        steps=10,
        max_length=64,
        warmup_steps=2,
        lora_rank=8,
        lora_alpha=16,
        lora_dropout=0.0,
        gradient_checkpointing=False,
        source="the published recipe cut to 10 steps of 12 triplets of one set, so that every batch is of one kind "
        "there as here; rank 8 with twice its size as alpha, no dropout, a shorter warm-up; a learning rate for so few "
        "steps, the better of 3e-4 and 1e-3 in a trial on the validation half of the book's STS pairs",
    ),
}


def decoder_recipe(name: str, **changes: object) -> DecoderRecipe:
    """Return a recipe of `DECODER_RECIPES`, with single values replaced where asked.

    Raises:
        ValueError: For an unknown name or field, with the nearest one, or a value out of range.
    """
    return changed(DECODER_RECIPES, name, changes)
