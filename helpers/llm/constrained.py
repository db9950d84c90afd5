"""Constrained decoding: at each step, only tokens after which the text can still become JSON of the given schema."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from llguidance import LLMatcher
    from transformers import PreTrainedTokenizerBase

# One layout only: where white space is free, small models write it without end. Of the escapes, those that a text
# needs; a letter spelled as \u and four digits would cost six tokens of a budget that counts it as one.
LAYOUT = {
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
    "json_allowed_escapes": 'n"\\',
}


class Grammars:
    """Schemas turned into matchers for one tokenizer, by llguidance; each schema is compiled once.

    Args:
        tokenizer: A tokenizer of the `tokenizers` library.
        vocabulary: Columns of the model's logits.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, vocabulary: int) -> None:
        import llguidance.hf

        self._tokenizer = llguidance.hf.from_tokenizer(tokenizer, n_vocab=vocabulary)
        self._compiled: dict[str, LLMatcher] = {}

    def matcher(self, schema: Mapping[str, Any]) -> LLMatcher:
        """Return a matcher at the beginning of a text.

        Raises:
            ValueError: For a schema that llguidance cannot follow, with its reason.
        """
        import llguidance

        text = json.dumps({**schema, "x-guidance": LAYOUT})  # the order of keys is that of the answer
        if text not in self._compiled:
            grammar = llguidance.LLMatcher.grammar_from_json_schema(text)
            matcher = llguidance.LLMatcher(self._tokenizer, grammar, log_level=0)
            if matcher.is_error():
                raise ValueError(f"a schema cannot be followed: {matcher.get_error()}")
            self._compiled[text] = matcher
        return self._compiled[text].deep_copy()


def forbid(logits: torch.Tensor, matchers: Sequence[LLMatcher | None]) -> None:
    """Set the logits ``(B, V)`` of tokens that must not follow to minus infinity; None leaves a row as it is."""
    words = -(-logits.shape[1] // 32)
    masks = np.full((len(matchers), words), -1, dtype=np.int32)  # a bit for each token; -1 allows all
    for row, matcher in enumerate(matchers):
        if matcher is not None:
            matcher.unsafe_compute_mask_ptr(masks[row].ctypes.data, masks[row].nbytes)
    allowed = np.unpackbits(masks.view(np.uint8), axis=1, bitorder="little")[:, : logits.shape[1]]
    logits.masked_fill_(torch.from_numpy(allowed == 0).to(logits.device), float("-inf"))
