"""A decoder with its template and pooling as a SentenceTransformer of stock modules, which loads without our code."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING

from helpers import pooling as poolings
from helpers import prompts

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

INSTRUCTION_SLOT = "{instruction}"
# Our name of a pooling -> sentence-transformers' name. "eos" is the last token of a template that ends with it.
POOLING_NAMES = {
    "mean": "mean",
    "weighted_mean": "weightedmean",
    "last": "lasttoken",
    "eos": "lasttoken",
    "first": "cls",
}
SAMPLES = ("A lamp.", "two words", '"Why?" she asked')


def as_sentence_transformer(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    template: str = prompts.SLOT,
    pooling: str = "mean",
    max_length: int | None = None,
    query_template: str | None = None,
    instruction: str | None = None,
    pool_instruction: bool = True,
) -> SentenceTransformer:
    """Wrap a decoder into sentence-transformers' own modules; it gives the vectors of `embedding.Embedder`.

    Its folder, written by ``save_pretrained``, holds no code of ours: a template around the text becomes the chat
    template of the tokenizer, bidirectional attention stays in the model's configuration. Vectors agree for all texts
    that are not cut. Where a text is too long, both cut the text and keep the template; sentence-transformers does so
    on tokens, after they were merged, so that the last kept word may differ by a token.

    Args:
        model: A transformers model without a head. It is used, not copied, and not changed.
        tokenizer: Its tokenizer; it is copied. The copy pads on the right, because a model that counts positions from
            the beginning of a row would count padding on the left.
        template: What the model reads, with ``{text}`` where the text goes.
        pooling: As for `embedding.Embedder`, but for ``mask``.
        max_length: Longest input in tokens, template included; the model's window where None.
        query_template: What it reads where there is an instruction, with ``{instruction}`` and later ``{text}``;
            ``encode(texts, prompt=instruction)`` gives one. With the plain template ``{text}``, no end-of-sequence
            token, and nothing behind ``{text}`` here, the prompt is the whole beginning, instruction filled in.
        instruction: The one that ``encode_query`` uses (and that training puts before the anchors).
        pool_instruction: Whether the instruction's tokens count in the mean. Where False, they are read but not
            pooled, as in LLM2Vec; this needs the plain form of ``query_template``.

    Returns:
        The encoder, in evaluation mode, on the model's device.

    Raises:
        ValueError: For a bad template, pooling or length, or a tokenizer that reads the template in another way
            there than here.
    """
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    plain = is_plain(template, pooling, query_template)
    _check(template, pooling, query_template, instruction)
    if not pool_instruction and not (plain and pooling in ("mean", "weighted_mean")):
        raise ValueError(
            "pool_instruction=False needs pooling 'mean' or 'weighted_mean', template='{text}' and a query_template "
            f"that ends with {{text}}; got {pooling!r}, {template!r}, {query_template!r}"
        )
    chat = None if plain else _chat_template(tokenizer, template, query_template, pooling)
    transformer = _transformer(model, tokenizer, chat, _length(model, max_length))
    encoder = SentenceTransformer(
        modules=[transformer, Pooling(_width(model), POOLING_NAMES[pooling], include_prompt=pool_instruction)],
        prompts={} if instruction is None else {"query": _prompt(query_template, instruction, plain)},
        device=str(model.device),
    )
    _check_tokens(encoder, tokenizer, template, pooling)
    if not pool_instruction and instruction is not None:
        _check_prompt(encoder, encoder.prompts["query"])
    return encoder.eval()


def is_plain(template: str, pooling: str, query_template: str | None) -> bool:
    """Say whether tokens of the text, behind a prompt at most, are all that the model reads."""
    plain_query = query_template is None or query_template.endswith(prompts.SLOT)
    return template == prompts.SLOT and pooling != "eos" and plain_query


def fill_query(query_template: str, instruction: str, text: str) -> str:
    """Put an instruction and a text into a query template; braces in them stay as they are."""
    before, between, after = _parts(query_template)
    return f"{before}{instruction}{between}{text}{after}"


def check_query_template(query_template: str) -> str:
    """Return it, or raise a ValueError unless it holds ``{instruction}`` and later ``{text}``, once each."""
    slots = [query_template.find(slot) for slot in (INSTRUCTION_SLOT, prompts.SLOT)]
    once = all(query_template.count(slot) == 1 for slot in (INSTRUCTION_SLOT, prompts.SLOT))
    if not once or slots[0] > slots[1]:
        raise ValueError(
            f"a query template must hold {INSTRUCTION_SLOT} and later {prompts.SLOT}, once each, got {query_template!r}"
        )
    return query_template


def _check(template: str, pooling: str, query_template: str | None, instruction: str | None) -> None:
    """Raise the ValueErrors that need no model."""
    prompts.check_template(template)
    if poolings.check_pooling(pooling) not in POOLING_NAMES:
        raise ValueError(f"pooling {pooling!r} has no stock module; use one of {', '.join(POOLING_NAMES)}")
    if query_template is not None:
        check_query_template(query_template)
    elif instruction is not None:
        raise ValueError(f"instruction={instruction!r} needs a query_template that says where it goes")


def _parts(query_template: str) -> tuple[str, str, str]:
    """Return what stands before the instruction, between it and the text, and behind the text."""
    before, rest = check_query_template(query_template).split(INSTRUCTION_SLOT)
    between, after = rest.split(prompts.SLOT)
    return before, between, after


def _prompt(query_template: str, instruction: str, plain: bool) -> str:
    """Return what sentence-transformers is given as prompt: the chat template's system message, or a beginning."""
    return fill_query(query_template, instruction, "") if plain else instruction


def _length(model: PreTrainedModel, max_length: int | None) -> int:
    """Return the longest input; see `embedding.Embedder`."""
    window = getattr(model.config, "max_position_embeddings", None)
    longest = (window or 512) if max_length is None else max_length
    if not 1 <= longest <= (window or longest):
        raise ValueError(f"max_length should be from 1 to the model's window ({window} tokens), got {max_length}")
    return longest


def _width(model: PreTrainedModel) -> int:
    """Return the width of the last hidden states; OPT-350M projects them to another than its hidden size."""
    return getattr(model.config, "word_embed_proj_dim", None) or model.config.hidden_size


def _chat_template(tokenizer: PreTrainedTokenizerBase, template: str, query_template: str | None, pooling: str) -> str:
    """Write the template in Jinja; an instruction arrives there as the system message."""
    text = '{{ messages[-1]["content"] }}'
    before, after = template.split(prompts.SLOT)
    body = f"{_literal(before)}{text}{_literal(after)}"
    if query_template is not None:
        start, between, end = _parts(query_template)
        asked = f'{_literal(start)}{{{{ messages[0]["content"] }}}}{_literal(between)}{text}{_literal(end)}'
        body = f'{{% if messages[0]["role"] == "system" %}}{asked}{{% else %}}{body}{{% endif %}}'
    # Templates add no special tokens, while a tokenizer by itself may put some around a text.
    first, last = _special_tokens(tokenizer)
    return f"{_literal(first)}{body}{_literal(last + (tokenizer.eos_token if pooling == 'eos' else ''))}"


def _literal(text: str) -> str:
    """Write a text as a Jinja expression, in which neither braces nor line ends mean anything."""
    return f"{{{{ {json.dumps(text, ensure_ascii=False)} }}}}" if text else ""


def _special_tokens(tokenizer: PreTrainedTokenizerBase) -> tuple[str, str]:
    """Return the special tokens that the tokenizer puts before and behind every text."""
    bare = tokenizer("x", add_special_tokens=False)["input_ids"]
    whole = tokenizer("x")["input_ids"]
    start = next(place for place in range(len(whole)) if whole[place : place + len(bare)] == bare)
    first, last = whole[:start], whole[start + len(bare) :]
    return tuple("".join(tokenizer.convert_ids_to_tokens(ids)) for ids in (first, last))


def _transformer(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, chat: str | None, max_length: int
) -> object:
    """Return the stock module around a model that is in memory, where it would read one from a folder."""
    from sentence_transformers.sentence_transformer.modules import Transformer

    class InMemory(Transformer):
        def _load_model(self, *args: object, **kwargs: object) -> PreTrainedModel:
            return model

    with tempfile.TemporaryDirectory() as folder:
        model.config.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        # Without an explicit None, the chat template of an instruction-tuned model would go around every text.
        module = InMemory(folder, processor_kwargs={"chat_template": chat, "model_max_length": max_length})
    module.__class__ = Transformer  # so that a saved folder names the stock class
    module.processor.padding_side = "right"
    return module


def _check_tokens(
    encoder: SentenceTransformer, tokenizer: PreTrainedTokenizerBase, template: str, pooling: str
) -> None:
    """Raise a ValueError where the encoder reads a text in other tokens than `embedding.Embedder` does."""
    end = [tokenizer.eos_token_id] if pooling == "eos" else []
    for text in SAMPLES:
        wanted = tokenizer(prompts.fill(template, text))["input_ids"] + end
        found = tokens_of(encoder, text)
        if len(wanted) <= encoder.max_seq_length and found != wanted:
            raise ValueError(
                f"this tokenizer reads the template {template!r} in other tokens as a chat template: {found}, "
                f"not {wanted}; the folder would give other vectors"
            )


def _check_prompt(encoder: SentenceTransformer, prompt: str) -> None:
    """Raise a ValueError where leaving the prompt out of the mean would leave out a part of the text too."""
    alone = tokens_of(encoder, prompt)
    if any(tokens_of(encoder, prompt + text)[: len(alone)] != alone for text in SAMPLES):
        raise ValueError(
            f"the tokens of the prompt {prompt!r} change with the text behind it, so that they cannot be left out of "
            "the mean; let it end with a colon or a line end, not a space"
        )


def tokens_of(encoder: SentenceTransformer, text: str, prompt: str | None = None) -> Sequence[int]:
    """Return the tokens that an encoder reads for a text."""
    return encoder.preprocess([text], prompt=prompt)["input_ids"][0].tolist()
