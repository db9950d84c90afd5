"""Next-token probabilities of many inputs, where the beginnings that inputs share are run once."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch

from helpers import batching
from helpers.embedding import pad

if TYPE_CHECKING:
    from transformers import DynamicCache, PreTrainedModel

Memory = list[tuple[torch.Tensor, torch.Tensor]]  # keys and values of one beginning, (heads, length, size), by layer
SHORTEST_SHARED = 4  # running fewer tokens once is not worth a pass of its own
CHUNK = 256  # inputs whose beginnings are held in memory together
MOST_LOGITS = 2**26  # values in one output of the head: 256 MB in float32


@dataclasses.dataclass(frozen=True)
class Row:
    """One input of a causal model.

    Attributes:
        ids: Its tokens.
        keep: At how many of its last tokens the next token's logits are wanted, at least 1.
    """

    ids: tuple[int, ...]
    keep: int


@dataclasses.dataclass(frozen=True)
class _Piece:
    """Tokens that are run after a beginning whose keys and values are known, or after nothing."""

    ids: Sequence[int]
    past: Memory


@torch.inference_mode()
def for_each_row(
    model: PreTrainedModel,
    rows: Sequence[Row],
    take: Callable[[int, torch.Tensor], None],
    *,
    batch_tokens: int,
    pad_id: int,
    share: bool = True,
) -> None:
    """Call ``take(index, logits)`` once for each row, with its float32 logits ``(keep, V)``.

    Rows are sorted, so that those with a common beginning are neighbours. What all share (an instruction) is run once;
    what neighbours share beyond it (the query, before two orders of the choices) is run once for these.

    Args:
        model: A causal language model with its head.
        rows: The inputs.
        take: What is done with the logits; they are given row by row so that they need not all be held.
        batch_tokens: Most tokens in one forward pass.
        pad_id: Token for padding.
        share: Reuse beginnings. It is left out where a row is longer than the model's sliding window.
    """
    window = getattr(model.config, "sliding_window", None) or float("inf")
    runner = _Runner(model, batch_tokens, pad_id)
    order = sorted(range(len(rows)), key=lambda index: rows[index].ids)
    for start in range(0, len(order), CHUNK):
        chunk = order[start : start + CHUNK]
        chosen = [rows[index] for index in chunk]
        can_share = share and len(chosen) > 1 and max(len(row.ids) for row in chosen) <= window
        pieces = runner.after_beginnings(chosen) if can_share else [_Piece(row.ids, []) for row in chosen]
        for at, logits in runner.logits(pieces, [row.keep for row in chosen]):
            take(chunk[at], logits)


@torch.inference_mode()
def read_ahead(
    model: PreTrainedModel, inputs: Sequence[Sequence[int]], *, batch_tokens: int, pad_id: int
) -> tuple[DynamicCache | None, torch.Tensor]:
    """Run all tokens of each input but the last, shared beginnings once.

    Args:
        model: A causal language model with its head.
        inputs: ``B`` lists of tokens, none empty; together shorter than the model's sliding window where it has one.
        batch_tokens: Most tokens in one forward pass.
        pad_id: Token for padding.

    Returns:
        Keys and values for what comes next (None where all inputs are single tokens), and the mask ``(B, P)``, int64,
        of those that count.
    """
    runner = _Runner(model, batch_tokens, pad_id)
    order = sorted(range(len(inputs)), key=lambda index: tuple(inputs[index]))
    pieces = runner.after_beginnings([Row(tuple(inputs[index]), 1) for index in order])
    memories = {index: piece.past for index, piece in zip(order, pieces, strict=True)}
    longer = [(index, piece) for index, piece in zip(order, pieces, strict=True) if len(piece.ids) > 1]
    found = runner.remember([_Piece(piece.ids[:-1], piece.past) for _, piece in longer])
    memories |= {index: memory for (index, _), memory in zip(longer, found, strict=True)}
    return _joined([memories[index] for index in range(len(inputs))], model.device)


def common_length(first: Sequence[int], second: Sequence[int]) -> int:
    """Return with how many equal tokens two inputs begin."""
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False)))


def shared_beginnings(rows: Sequence[Row]) -> tuple[int, list[tuple[int, int, int]]]:
    """Find what is worth running once among sorted rows.

    Two neighbours go together where they share at least `SHORTEST_SHARED` tokens beyond what all share, and no less
    than half of what either shares with its other neighbour: one loose cousin does not shorten a group's beginning.

    Returns:
        The length that all rows share, and groups ``(first row, row after the last, length shared by the group)`` that
        cover all rows in order. The tokens whose logits are wanted are never part of a beginning.
    """
    free = [len(row.ids) - row.keep for row in rows]
    root = min(common_length(rows[0].ids, rows[-1].ids), *free)
    root = root if root >= SHORTEST_SHARED else 0
    links = [
        min(common_length(one.ids, two.ids), free[at], free[at + 1]) - root
        for at, (one, two) in enumerate(itertools.pairwise(rows))
    ]
    around = [0, *links, 0]
    tight = [link >= max(SHORTEST_SHARED, around[at] / 2, around[at + 2] / 2) for at, link in enumerate(links)]
    starts = [0, *(at + 1 for at, is_tight in enumerate(tight) if not is_tight), len(rows)]
    return root, [
        (first, end, root + min(links[first : end - 1], default=0)) for first, end in itertools.pairwise(starts)
    ]


class _Runner:
    """Forward passes of one model under a token budget."""

    def __init__(self, model: PreTrainedModel, batch_tokens: int, pad_id: int) -> None:
        self.model = model
        self.pad_id = pad_id
        self.batch_tokens = batch_tokens
        self.keeps_few = "logits_to_keep" in inspect.signature(model.forward).parameters

    def after_beginnings(self, rows: Sequence[Row]) -> list[_Piece]:
        """Run the beginnings that sorted rows share; return what is left of each row."""
        root, groups = shared_beginnings(rows)
        past = self.remember([_Piece(rows[0].ids[:root], [])])[0] if root else []
        larger = [(first, length) for first, _, length in groups if length > root]
        memories = self.remember([_Piece(rows[first].ids[root:length], past) for first, length in larger])
        of_group = dict(zip([first for first, _ in larger], memories, strict=True))
        return [
            _Piece(row.ids[length:], of_group.get(first, past))
            for first, end, length in groups
            for row in rows[first:end]
        ]

    def logits(self, pieces: Sequence[_Piece], keep: Sequence[int]) -> Iterator[tuple[int, torch.Tensor]]:
        """Yield ``(index, logits)`` for each piece, batch by batch."""
        most = MOST_LOGITS // self.model.config.vocab_size if max(keep) > 1 else self.batch_tokens
        budget = max(1, min(self.batch_tokens, most))
        for batch in batching.plan_batches([len(piece.ids) for piece in pieces], budget=budget):
            output = self._forward([pieces[at] for at in batch], "left", max(keep[at] for at in batch))
            for row, at in enumerate(batch):
                yield at, output.logits[row, -keep[at] :].float()

    def remember(self, pieces: Sequence[_Piece]) -> list[Memory]:
        """Run pieces that are beginnings; return the keys and values of each, those of its own beginning included."""
        memories: list[Memory] = [[] for _ in pieces]
        if not pieces:
            return memories
        for batch in batching.plan_batches([len(piece.ids) for piece in pieces], budget=self.batch_tokens):
            # Padding on the right: each row's own keys and values stand together, and no padding is seen by a token.
            cache = self._forward([pieces[at] for at in batch], "right", 1, use_cache=True).past_key_values
            for row, at in enumerate(batch):
                past = pieces[at].past
                length = len(pieces[at].ids) + (past[0][0].shape[1] if past else 0)
                memories[at] = [(layer.keys[row, :, :length], layer.values[row, :, :length]) for layer in cache.layers]
        return memories

    def _forward(self, pieces: Sequence[_Piece], side: str, keep: int, *, use_cache: bool = False) -> object:
        """Run one batch of pieces after their beginnings."""
        device = self.model.device
        ids, mask = (part.to(device) for part in pad([piece.ids for piece in pieces], pad_id=self.pad_id, side=side))
        cache, mask_before = _joined([piece.past for piece in pieces], device)  # (B, P)
        options = {"past_key_values": cache, "use_cache": True} if cache else {"use_cache": use_cache}
        mask = torch.cat([mask_before, mask], dim=1)  # (B, P + L)
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, -ids.shape[1] :]  # (B, L)
        if self.keeps_few:
            options["logits_to_keep"] = keep
        # Without padding the mask says nothing, and leaving it out lets attention use its fast causal kernel.
        is_plain = cache is None and bool(mask.all())
        return self.model(input_ids=ids, attention_mask=None if is_plain else mask, position_ids=positions, **options)


def _joined(pasts: Sequence[Memory], device: torch.device) -> tuple[DynamicCache | None, torch.Tensor]:
    """Return one cache for beginnings of unlike lengths, and its mask ``(B, P)``, int64."""
    from transformers import DynamicCache

    lengths = torch.tensor([past[0][0].shape[1] if past else 0 for past in pasts], device=device)
    longest = int(lengths.max())
    mask = (torch.arange(longest, device=device) < lengths[:, None]).long()
    if not longest:
        return None, mask
    cache = DynamicCache()
    for layer, parts in enumerate(next(past for past in pasts if past)):
        joined = []
        for part, like in enumerate(parts):
            whole = like.new_zeros(len(pasts), like.shape[0], longest, like.shape[2])  # (B, heads, P, size)
            for row, past in enumerate(pasts):
                if past:
                    whole[row, :, : lengths[row]] = past[layer][part]
            joined.append(whole)
        cache.update(*joined, layer)
    return cache, mask
