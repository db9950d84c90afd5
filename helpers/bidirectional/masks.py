"""Which tokens count in the vector of a text: all of its own, none of its instruction, and never padding."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from helpers import batching, embedding
from helpers import pooling as poolings

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Inputs:
    """A batch with its two masks.

    Attributes:
        ids: ``(B, L)`` int64.
        attention: ``(B, L)``, 1 at tokens, 0 at padding: what the model reads.
        embed: ``(B, L)``, 1 at the tokens of the text itself: what is pooled.
    """

    ids: Tensor
    attention: Tensor
    embed: Tensor


def prepare(
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    *,
    instruction: str = "",
    max_length: int = 512,
    side: str | None = None,
) -> Inputs:
    """Tokenise texts, with an instruction before each where one is given, and mark which tokens are the text's own.

    The instruction is read (it shapes the states of the text) and not pooled, nor are special tokens. What belongs to
    the text is read off the characters that a token covers, in context; a token that covers the space between
    instruction and text belongs to the text. So a text without instruction has all its tokens pooled, and no padding.

    Args:
        tokenizer: A fast tokenizer.
        texts: Not empty.
        instruction: Put before each text, with one space between.
        max_length: Most tokens of a row; it is the end of the text that is cut.
        side: Where padding goes; the tokenizer's own side where None.

    Raises:
        ValueError: For a text that is empty or no string, or a ``max_length`` that leaves nothing of a text.
    """
    embedding.check_texts(texts)
    rows = [_row(tokenizer, text, instruction.strip(), max_length) for text in texts]
    return _padded(rows, tokenizer, side or tokenizer.padding_side)


def original_embed_mask(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], width: int, *, separated: bool
) -> Tensor:
    """Return the mask that LLM2Vec's code really averages over, to show what it does to vectors.

    There, a text is told from its instruction by a separator; the tokens of what stands behind it are counted by
    tokenising it alone, and the last n columns of the row, padded on the left, are averaged. In the stage that trains
    on texts without instruction (SimCSE), no separator is written, n is 0, and "the last 0 columns" is in Python the
    whole row: padding is averaged too, so the vector of a text depends on the longest text of its batch.

    Args:
        tokenizer: Of the model.
        texts: ``(B,)``, without instruction.
        width: Columns of the padded batch, L.
        separated: Whether the separator was written.

    Returns:
        ``(B, L)``, 1 at columns that are averaged.

    Raises:
        ValueError: For a text of more tokens than the row has columns.
    """
    mask = torch.zeros(len(texts), width, dtype=torch.long)
    for row, text in enumerate(texts):
        length = len(tokenizer(text, add_special_tokens=False)["input_ids"]) if separated else 0
        if length > width:
            raise ValueError(f"texts[{row}] has {length} tokens, and the batch {width} columns")
        mask[row, -length:] = 1  # with length 0 the whole row, as there
    return mask


def embed_texts(
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    *,
    instruction: str = "",
    pooling: str = "mean",
    max_length: int = 512,
    batch_tokens: int = 4096,
) -> np.ndarray:
    """Return one vector for each text, pooled over the text's own tokens; see `prepare`.

    Args:
        model: A decoder without head, with or without adapter; in evaluation mode.
        tokenizer: Its tokenizer.
        texts: Not empty.
        instruction: Read before each text, not pooled.
        pooling: ``mean``, ``weighted_mean``, ``last`` or ``first``.
        max_length: Most tokens of a row.
        batch_tokens: Most tokens in one forward pass.

    Returns:
        ``(len(texts), D)``, float32, in the order given.

    Raises:
        ValueError: As `prepare`, and for an unknown pooling.
    """
    poolings.check_pooling(pooling)
    embedding.check_texts(texts)
    rows = [_row(tokenizer, text, instruction.strip(), max_length) for text in texts]
    vectors = [torch.empty(0)] * len(rows)
    for batch in batching.plan_batches([len(ids) for ids, _ in rows], budget=batch_tokens):
        inputs = _padded([rows[index] for index in batch], tokenizer, tokenizer.padding_side)
        pooled = poolings.pool(hidden_states(model, inputs), inputs.embed, pooling)  # (B, D)
        for index, vector in zip(batch, pooled, strict=True):
            vectors[index] = vector
    return torch.stack(vectors).numpy()


@torch.inference_mode()
def hidden_states(model: PreTrainedModel | PeftModel, inputs: Inputs) -> Tensor:
    """Return the last hidden states of a batch, ``(B, L, D)`` float32 on the CPU; rows at padding mean nothing."""
    ids, mask = inputs.ids.to(model.device), inputs.attention.to(model.device)
    options = {}
    if not mask[:, 0].all():  # padding on the left: models with learned positions need to be told where a text begins
        options["position_ids"] = (mask.cumsum(dim=1) - 1).clamp(min=0)
    return model(input_ids=ids, attention_mask=mask, use_cache=False, **options).last_hidden_state.float().cpu()


def _row(
    tokenizer: PreTrainedTokenizerBase, text: str, instruction: str, max_length: int
) -> tuple[list[int], list[int]]:
    """Return the tokens of one row, and 1 at each that is the text's own."""
    start = len(instruction) + 1 if instruction else 0
    read = f"{instruction} {text}" if instruction else text
    found = tokenizer(read, return_offsets_mapping=True, return_special_tokens_mask=True, verbose=False)
    ids, special = found["input_ids"], found["special_tokens_mask"]
    own = [int(end > start and not mark) for (_, end), mark in zip(found["offset_mapping"], special, strict=True)]
    too_many = len(ids) - max_length
    if too_many > 0:
        places = [place for place, mine in enumerate(own) if mine]
        if too_many >= len(places):
            raise ValueError(f"max_length={max_length} leaves nothing of the text {text[:40]!r}")
        dropped = set(places[-too_many:])
        kept = [place for place in range(len(ids)) if place not in dropped]
        ids, own = [ids[place] for place in kept], [own[place] for place in kept]
        logger.warning("the text %r was cut by %d tokens", text[:40], too_many)
    return ids, own


def _padded(rows: Sequence[tuple[list[int], list[int]]], tokenizer: PreTrainedTokenizerBase, side: str) -> Inputs:
    """Put rows into one batch."""
    ids, attention = embedding.pad([ids for ids, _ in rows], pad_id=tokenizer.pad_token_id or 0, side=side)
    embed, _ = embedding.pad([own for _, own in rows], pad_id=0, side=side)
    return Inputs(ids, attention, embed)
