"""Text to vectors: template, tokens, batches, pooling, and a shared beginning that is computed once."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from tqdm import tqdm

from helpers import batching, prefixes, prompts
from helpers import pooling as poolings
from helpers.prefixes import sees_the_future

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

logger = logging.getLogger(__name__)


class Embedder:
    """Turns texts into vectors with a language model.

    Args:
        model: A transformers model without a head, whose output has ``last_hidden_state``.
        tokenizer: Its (fast) tokenizer; its ``padding_side`` is used, and both sides give the same vectors.
        template: What the model reads, with ``{text}`` where the text goes.
        pooling: ``mean``, ``weighted_mean``, ``last``, ``eos`` (an end-of-sequence token is added, after truncation,
            and its state taken), ``first``, or ``mask`` (the state of the tokenizer's mask token, for BERT).
        batch_tokens: Most tokens in one forward pass.
        max_length: Longest input in tokens, template included; the model's window where None. It is the text that is
            cut, never the template.
        share_prefix: Run the tokens with which all inputs begin (a demonstration) once; reuse their keys and values,
            also in later calls while the beginning stays the same.

    Raises:
        ValueError: For a template without exactly one ``{text}``, an unknown pooling or one that the tokenizer has no
            token for, or a ``max_length`` beyond the model's window.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        template: str = prompts.SLOT,
        pooling: str = "mean",
        batch_tokens: int = 4096,
        max_length: int | None = None,
        share_prefix: bool = True,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.template = prompts.check_template(template)
        self.pooling = poolings.check_pooling(pooling)
        self.batch_tokens = batch_tokens
        if {"eos": tokenizer.eos_token_id, "mask": tokenizer.mask_token_id}.get(pooling, 0) is None:
            raise ValueError(f"pooling {pooling!r} needs its own token, and this tokenizer has none")
        window = getattr(model.config, "max_position_embeddings", None)
        self.max_length = (window or 512) if max_length is None else max_length
        if not 1 <= self.max_length <= (window or self.max_length):
            raise ValueError(f"max_length should be from 1 to the model's window ({window} tokens), got {max_length}")
        self.share_prefix = share_prefix
        self._kept = prefixes.Kept()

    def with_template(self, template: str) -> Embedder:
        """Return an embedder that differs in its template alone; what is known of the model serves both."""
        other = copy.copy(self)
        other.template = prompts.check_template(template)
        return other

    def encode(self, texts: Sequence[str], *, progress: bool = False) -> np.ndarray:
        """Return one vector for each text.

        Texts that occur more than once are computed once. Batches are made of texts of like length, so the result does
        not depend on the order of the texts beyond rounding.

        Args:
            texts: Texts that are not empty.
            progress: Show a progress bar.

        Returns:
            ``(len(texts), D)``, float32, in the order given.

        Raises:
            ValueError: For an empty list, a value that is not a text, or an empty text, with its row; or a template
                that leaves no room for the text.
        """
        check_texts(texts)
        unique = list(dict.fromkeys(texts))
        inputs = self.token_ids(unique)
        shared = self.shared_prefix(inputs)
        prefix = self._prefix(shared) if shared else None
        vectors = [torch.empty(0)] * len(unique)
        lengths = [len(ids) - len(shared) for ids in inputs]
        with tqdm(total=len(unique), unit="text", disable=not progress) as bar:
            for batch in batching.plan_batches(lengths, budget=self.batch_tokens):
                rows = self._forward([inputs[index][len(shared) :] for index in batch], prefix)
                for index, row in zip(batch, rows, strict=True):
                    vectors[index] = row
                bar.update(len(batch))
        position = {text: index for index, text in enumerate(unique)}
        return torch.stack([vectors[position[text]] for text in texts]).numpy()

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of each text in its template, cut to ``max_length``; a warning counts the cuts."""
        room = self.max_length - (self.pooling == "eos")
        inputs = self._tokenise([prompts.fill(self.template, text) for text in texts])
        too_long = [index for index, ids in enumerate(inputs) if len(ids) > room]
        for index in too_long:
            inputs[index] = self._truncate(texts[index], len(inputs[index]), room)
        if too_long:
            logger.warning("%d of %d texts were cut to %d tokens", len(too_long), len(texts), self.max_length)
        # The end-of-sequence token comes after the cut, or long texts would lose the very token that is read.
        end = [self.tokenizer.eos_token_id] if self.pooling == "eos" else []
        return [ids + end for ids in inputs]

    def _tokenise(self, texts: list[str]) -> list[list[int]]:
        """Return token ids without padding, cutting or the tokenizer's warning about long inputs."""
        return self.tokenizer(texts, padding=False, truncation=False, verbose=False)["input_ids"]

    def _truncate(self, text: str, length: int, room: int) -> list[int]:
        """Cut the text, not the template, so that the filled template has at most ``room`` tokens."""
        marked = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        offsets = marked["offset_mapping"]
        kept = len(offsets) - (length - room)
        while kept > 0:
            ids = self._tokenise([prompts.fill(self.template, text[: offsets[kept - 1][1]])])[0]
            if len(ids) <= room:
                return ids
            kept -= len(ids) - room  # the cut can change how the characters around it are merged
        raise ValueError(f"max_length={self.max_length} leaves no room for the text in the template {self.template!r}")

    def shared_prefix(self, inputs: Sequence[list[int]]) -> list[int]:
        """Return the tokens with which all inputs begin, or nothing where reusing them is not worth it or not right.

        Whether it is right is asked of the model once, and again when its weights, adapters or direction have changed.
        """
        longest = max(len(ids) for ids in inputs)
        window = getattr(self.model.config, "sliding_window", None) or longest
        if not self.share_prefix or self.pooling == "mask" or len(inputs) < 2 or longest > window:
            return []
        shared = prefixes.shared_length(inputs)
        if shared < prefixes.SHORTEST:
            return []
        self._kept.check(self.model)
        if self._kept.looks_ahead is None:
            self._kept.looks_ahead = sees_the_future(self.model, inputs[0][: shared + 1])
        return [] if self._kept.looks_ahead else inputs[0][:shared]

    def _run_prefix(self, ids: list[int]) -> prefixes.Prefix:
        """Return what the model computes for a prefix."""
        return prefixes.read(self.model, ids)

    def _prefix(self, ids: list[int]) -> prefixes.Prefix:
        """Return a prefix from what is kept, or run it and keep it in the other's place."""
        kept = self._kept.get(ids)
        if kept is None:
            kept = self._kept.prefix = self._run_prefix(ids)
        return kept

    @torch.inference_mode()
    def _forward(self, batch: list[list[int]], prefix: prefixes.Prefix | None) -> torch.Tensor:
        """Run one batch, without the tokens of its prefix; return its vectors, ``(B, D)``, float32, on the CPU."""
        ids, mask = pad(batch, pad_id=self.tokenizer.pad_token_id or 0, side=self.tokenizer.padding_side)  # (B, L) both
        ids, mask = ids.to(self.model.device), mask.to(self.model.device)
        options = {}
        if prefix is not None:
            options = {"past_key_values": prefix.cache(len(batch)), "use_cache": True}
            mask = torch.cat([mask.new_ones(len(batch), len(prefix.ids)), mask], dim=1)  # (B, P + L)
        if self.tokenizer.padding_side == "left" and not mask.all():
            positions = (mask.cumsum(dim=1) - 1).clamp(min=0)  # (B, P + L)
            options["position_ids"] = positions[:, -ids.shape[1] :]  # (B, L)
        # Without padding the mask says nothing, and leaving it out lets attention use its fast causal kernel.
        hidden = self.model(
            input_ids=ids, attention_mask=None if mask.all() and prefix is None else mask, **options
        ).last_hidden_state  # (B, L, D)
        if prefix is not None:
            hidden = torch.cat([prefix.hidden.expand(len(batch), -1, -1), hidden], dim=1)  # (B, P + L, D)
        if self.pooling == "mask":
            mask = (ids == self.tokenizer.mask_token_id).long()
        return poolings.pool(hidden, mask, self.pooling).cpu()


def check_texts(texts: Sequence[str]) -> None:
    """Raise a ValueError for an empty list, or the first value (with its row) that is not a text or is empty."""
    if isinstance(texts, str):
        raise ValueError(f"texts should be a list of texts, got the single text {texts[:40]!r}")
    if len(texts) == 0:
        raise ValueError("there are no texts to encode")
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(f"texts[{row}] is {text!r} of type {type(text).__name__}; it should be a text")
        if not text.strip():
            raise ValueError(f"texts[{row}] is empty")


def pad(batch: Sequence[Sequence[int]], *, pad_id: int, side: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return token ids and attention mask, both ``(B, L)`` int64, padded on the ``left`` or the ``right``."""
    longest = max(len(ids) for ids in batch)
    gaps = [longest - len(ids) for ids in batch]
    left = side == "left"
    ids = [
        [pad_id] * gap * left + list(row) + [pad_id] * gap * (not left) for row, gap in zip(batch, gaps, strict=True)
    ]
    mask = [[0] * gap * left + [1] * len(row) + [0] * gap * (not left) for row, gap in zip(batch, gaps, strict=True)]
    return torch.tensor(ids), torch.tensor(mask)


def next_words(
    vectors: np.ndarray, head: torch.Tensor, tokenizer: PreTrainedTokenizerBase, *, top: int = 10
) -> list[list[tuple[str, float]]]:
    """Read last-token vectors through the output head: the most probable next words and their probabilities.

    Args:
        vectors: ``(N, D)``, last-token states after the final norm.
        head: ``(V, D)``, the weight of the output head (that of the input embedding where they are tied).
        tokenizer: The model's tokenizer.
        top: How many words for each vector.

    Returns:
        For each vector a list of ``(word, probability)``, the most probable first.
    """
    logits = torch.from_numpy(np.asarray(vectors, dtype=np.float32)) @ head.detach().float().cpu().T  # (N, V)
    probabilities, indices = logits.softmax(dim=1).topk(top)  # (N, top) both
    return [
        [(tokenizer.decode([token]), float(p)) for token, p in zip(row_ids, row_p, strict=True)]
        for row_ids, row_p in zip(indices.tolist(), probabilities, strict=True)
    ]
