"""Free text from a local model: many texts at a time, each with its own schema, length and draws."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import inspect
import json
import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from helpers.embedding import pad
from helpers.llm.constrained import Grammars, forbid
from helpers.llm.scoring import read_ahead

if TYPE_CHECKING:
    from llguidance import LLMatcher
    from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

ROWS = 32


@dataclasses.dataclass(frozen=True)
class Order:
    """A text to be written.

    Attributes:
        prompt: What the model reads.
        max_tokens: Most tokens of the text.
        schema: JSON schema that the text should follow; None leaves it free.
        seed: For draws; the model's own where None. Orders that are alike but for the seed are answered differently
            (above temperature 0).
    """

    prompt: str
    max_tokens: int
    schema: Mapping[str, Any] | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise ValueError(f"max_tokens={self.max_tokens} should be at least 1")

    @property
    def parts(self) -> list[str]:
        """All that the text depends on, as texts: the schema as a checksum."""
        schema = hashlib.sha256(json.dumps(self.schema).encode()).hexdigest()[:12] if self.schema else ""
        return [self.prompt, str(self.max_tokens), schema, str(self.seed)]


@dataclasses.dataclass(frozen=True)
class Written:
    """What was written.

    Attributes:
        text: The text, without its end mark.
        finished: False where it was cut at ``max_tokens``.
        prompt_tokens: Tokens read; None where a server does not count.
        tokens: Tokens written, likewise.
    """

    text: str
    finished: bool = True
    prompt_tokens: int | None = None
    tokens: int | None = None


class _Row:
    """One text on its way."""

    def __init__(self, order: Order, matcher: LLMatcher | None, seed: int) -> None:
        self.matcher = matcher
        self.left = order.max_tokens
        self.rng = random.Random(
            seed if order.seed is None else order.seed
        )  # its own, so that its draws do not depend on its neighbours
        self.tokens: list[int] = []
        self.finished = False

    def take(self, token: int, ends: frozenset[int]) -> bool:
        """Add a token; return whether the text goes on."""
        if token in ends:
            self.finished = True
            return False
        self.tokens.append(token)
        self.left -= 1
        if self.matcher is not None:
            self.matcher.consume_token(token)
            self.finished = self.matcher.is_stopped()
        return not self.finished and self.left > 0


class Writer:
    """Writes texts with a causal model.

    Texts that are done leave the batch, so a long one does not keep the others' rows busy. A text's draws come from
    its own seed: which texts stand beside it, and whether a run was stopped before it, changes nothing but rounding.

    Args:
        model: The model with its head.
        tokenizer: Its tokenizer.
        temperature: 0 takes the most probable token; above it, tokens are drawn.
        seed: For orders that have none.
        batch_tokens: Most prompt tokens in one forward pass, padding included.
        pad_id: Token for padding.
        rows: Most texts at a time, whose keys and values are held together.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        temperature: float,
        seed: int,
        batch_tokens: int,
        pad_id: int,
        rows: int = ROWS,
    ) -> None:
        self.rows = rows
        self.model, self.tokenizer, self.pad_id = model, tokenizer, pad_id
        self.temperature, self.seed, self.batch_tokens = temperature, seed, batch_tokens
        ends = getattr(model.generation_config, "eos_token_id", None)
        ends = [tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])]
        self.ends = frozenset(end for end in ends if end is not None)
        self.options = {"use_cache": True}
        if "logits_to_keep" in inspect.signature(model.forward).parameters:
            self.options["logits_to_keep"] = 1

    @functools.cached_property
    def grammars(self) -> Grammars:
        """Matchers of schemas, made at the first schema."""
        return Grammars(self.tokenizer, self.model.config.vocab_size)

    def write(self, inputs: Sequence[Sequence[int]], orders: Sequence[Order]) -> list[Written]:
        """Return a text for each order, whose prompt's tokens are ``inputs``."""
        matchers = [None if order.schema is None else self.grammars.matcher(order.schema) for order in orders]
        rows = [_Row(order, matcher, self.seed) for order, matcher in zip(orders, matchers, strict=True)]
        for batch in self._batches(inputs, orders):
            self._run([inputs[at] for at in batch], [rows[at] for at in batch])
        return [
            Written(
                self.tokenizer.decode(row.tokens, skip_special_tokens=True), row.finished, len(ids), len(row.tokens)
            )
            for row, ids in zip(rows, inputs, strict=True)
        ]

    def _batches(self, inputs: Sequence[Sequence[int]], orders: Sequence[Order]) -> list[list[int]]:
        """Group orders of like lengths; the batch that may last longest comes first, so that a lack of memory shows."""
        order = sorted(range(len(orders)), key=lambda at: (-orders[at].max_tokens, -len(inputs[at])))
        return [order[start : start + self.rows] for start in range(0, len(order), self.rows)]

    @torch.inference_mode()
    def _run(self, inputs: Sequence[Sequence[int]], rows: list[_Row]) -> None:
        """Write the texts of one batch."""
        device = self.model.device
        ids, mask, cache = self._begun(inputs, rows)
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, -ids.shape[1] :]  # (B, L)
        while True:
            # Without padding the mask says nothing, and leaving it out spares copies of all keys and values.
            where = {"attention_mask": None if bool(mask.all()) else mask, "position_ids": positions}
            output = self.model(input_ids=ids, past_key_values=cache, **where, **self.options)
            cache = output.past_key_values
            tokens = self._chosen(output.logits[:, -1].float(), rows)
            going = [at for at, (row, token) in enumerate(zip(rows, tokens, strict=True)) if row.take(token, self.ends)]
            if not going:
                return
            if len(going) < len(rows):
                at = torch.tensor(going, device=device)
                cache.batch_select_indices(at)
                rows, mask, positions = [rows[row] for row in going], mask[at], positions[at]
            ids = torch.tensor([[tokens[row]] for row in going], device=device)  # (B, 1)
            mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
            positions = positions[:, -1:] + 1

    def _begun(
        self, inputs: Sequence[Sequence[int]], rows: Sequence[_Row]
    ) -> tuple[torch.Tensor, torch.Tensor, DynamicCache | None]:
        """Return tokens to go on with ``(B, L)``, the mask over all so far, and keys and values of what was read."""
        window = getattr(self.model.config, "sliding_window", None) or float("inf")
        if max(len(ids) + row.left for ids, row in zip(inputs, rows, strict=True)) > window:
            ids, mask = (part.to(self.model.device) for part in pad(inputs, pad_id=self.pad_id, side="left"))
            return ids, mask, None
        cache, mask = read_ahead(self.model, inputs, batch_tokens=self.batch_tokens, pad_id=self.pad_id)
        ids = torch.tensor([[tokens[-1]] for tokens in inputs], device=mask.device)  # (B, 1)
        return ids, torch.cat([mask, torch.ones_like(ids)], dim=1), cache

    def _chosen(self, logits: torch.Tensor, rows: Sequence[_Row]) -> list[int]:
        """Return the next token of each row, from its logits ``(B, V)``."""
        if any(row.matcher is not None for row in rows):
            forbid(logits, [row.matcher for row in rows])
        if not self.temperature:
            return logits.argmax(dim=1).tolist()
        sums = (logits / self.temperature).softmax(dim=1).double().cumsum(dim=1)  # (B, V)
        draws = torch.tensor([[row.rng.random()] for row in rows], dtype=sums.dtype, device=sums.device) * sums[:, -1:]
        # To the right of equal sums: a token of probability 0 is never drawn.
        return torch.searchsorted(sums, draws, right=True)[:, 0].tolist()
