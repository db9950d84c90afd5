"""Masked next-token prediction: which tokens are hidden, and what stands in their place.

The stock collator of transformers draws the masks, the stock causal language model computes the loss. That loss
compares the logits at position i - 1 with the label at position i, which is just what this task wants: a masked token
is predicted from the position before it, where a decoder has learned to say what comes next.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from helpers import settings

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

IGNORED = -100  # the label of a token that is not predicted
# What stands for a masked token; decoders have no token for it. ``eos`` is the tokenizer's own end of sequence, and
# ``mask`` works with the few tokenizers whose vocabulary has it: a new token would need a new row in the embedding.
MASK_TOKENS: dict[str, str | None] = {"blank": "_", "eos": None, "mask": "<mask>"}


@dataclasses.dataclass(frozen=True)
class Masking:
    """A way of masking.

    Attributes:
        share: Of the tokens that are predicted.
        mask_replace: Share of these that become the mask token.
        random_replace: Share of these that become a random token; what is left stays as it is.
    """

    share: float
    mask_replace: float
    random_replace: float


# LLM2Vec's names: BERT's way with a higher share for the Llama family, all masked for Mistral.
MASKINGS = {"default": Masking(0.2, 0.8, 0.1), "all_mask": Masking(0.8, 1.0, 0.0)}


def with_mask_token(tokenizer: PreTrainedTokenizerBase, kind: str = "blank") -> PreTrainedTokenizerBase:
    """Return a copy of a tokenizer that has a mask token.

    The copy is for masking only and must never be saved: after a reload its mask token would be a special token, and
    texts in which it occurs (``_`` in names of variables) would be cut in another way.

    Args:
        tokenizer: Stays as it is.
        kind: A name of `MASK_TOKENS`.

    Raises:
        ValueError: For an unknown name, or a token that is not in the vocabulary.
    """
    if kind not in MASK_TOKENS:
        raise ValueError(f"unknown mask token {kind!r}; {settings.nearest(kind, MASK_TOKENS)}")
    token = {"eos": tokenizer.eos_token, "mask": tokenizer.mask_token}.get(kind) or MASK_TOKENS[kind]
    if token is None or token not in tokenizer.get_vocab():
        others = [name for name in MASK_TOKENS if name != kind]
        raise ValueError(f"the vocabulary has no token {token!r} for mask_token={kind!r}; others: {', '.join(others)}")
    own = copy.deepcopy(tokenizer)
    own.mask_token = token
    return own


class MNTPCollator:
    """Makes batches for masked next-token prediction, with transformers' collator.

    The first token of a row is never chosen, for no position before it could predict it; nor are special tokens and
    padding. Masks are drawn anew for every batch, from the seed and the batch's number, so the same seed gives the same
    masks; rows that bring a number of their own (``draw``) get theirs from these, whatever was drawn before.

    Args:
        tokenizer: Of the model; it is copied, not changed.
        share: Of the tokens that are predicted, above 0 and at most 1.
        mask_replace: Share of these that become the mask token.
        random_replace: Share of these that become a random token; what is left stays as it is.
        mask_token: A name of `MASK_TOKENS`.
        seed: Of the masks.

    Raises:
        ValueError: For a share out of range, two shares that together exceed 1, or as `with_mask_token`.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        *,
        share: float = 0.2,
        mask_replace: float = 0.8,
        random_replace: float = 0.1,
        mask_token: str = "blank",
        seed: int = 0,
    ) -> None:
        from transformers import DataCollatorForLanguageModeling

        if not 0 < share <= 1:
            raise ValueError(f"share={share} should be above 0 and at most 1")
        if min(mask_replace, random_replace) < 0 or mask_replace + random_replace > 1:
            raise ValueError(f"mask_replace={mask_replace} and random_replace={random_replace} should be shares of 1")
        self.seed = seed
        self.drawn = 0
        self._tokenizer = with_mask_token(tokenizer, mask_token)
        self._special = set(self._tokenizer.all_special_ids)
        self._stock = DataCollatorForLanguageModeling(
            self._tokenizer,
            mlm_probability=share,
            mask_replace_prob=mask_replace,
            random_replace_prob=random_replace,
        )

    @property
    def mask_token_id(self) -> int:
        """The token that stands for masked ones."""
        return self._tokenizer.mask_token_id

    def __call__(self, rows: Sequence[Sequence[int] | Mapping[str, object]]) -> dict[str, Tensor]:
        """Mask and pad one batch.

        Args:
            rows: Token ids, or mappings with ``input_ids`` and perhaps ``draw``, a whole number from 0.

        Returns:
            ``input_ids`` with masks, ``attention_mask``, and ``labels`` (`IGNORED` where nothing is predicted), all
            ``(B, L)`` int64.

        Raises:
            ValueError: Where no row has a token that could be predicted.
        """
        examples = [row if isinstance(row, Mapping) else {"input_ids": row} for row in rows]
        own = [int(row["draw"]) for row in examples if "draw" in row]
        number = own if len(own) == len(examples) else [self.drawn]
        self.drawn += 1
        words = np.random.SeedSequence([self.seed, *number]).generate_state(2, np.uint32)
        self._stock.generator = torch.Generator().manual_seed(int(words[0]) << 32 | int(words[1]))
        prepared = [self._prepared([*row["input_ids"]]) for row in examples]
        if all(all(row["special_tokens_mask"]) for row in prepared):
            raise ValueError("no row has a token that could be predicted: special tokens and first ones cannot be")
        batch = dict(self._stock(prepared))
        while (batch["labels"] == IGNORED).all():  # a batch without a label has no loss; short ones need another draw
            batch = dict(self._stock(prepared))
        return batch

    def _prepared(self, ids: list[int]) -> dict[str, list[int]]:
        """Return a row for the stock collator; what it calls special is never chosen."""
        kept = [int(place == 0 or token in self._special) for place, token in enumerate(ids)]
        return {"input_ids": ids, "attention_mask": [1] * len(ids), "special_tokens_mask": kept}


def predicted(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Line up what is predicted with what should be: the logits at i - 1 with the label at i.

    Args:
        logits: ``(B, L, V)``.
        labels: ``(B, L)``.

    Returns:
        ``(N, V)`` and ``(N,)``, one row for each predicted token.
    """
    wanted = labels[:, 1:]  # (B, L - 1)
    chosen = wanted != IGNORED
    return logits[:, :-1][chosen], wanted[chosen]
