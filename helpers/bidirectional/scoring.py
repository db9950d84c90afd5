"""How well masked tokens of held-out texts are predicted."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from helpers.bidirectional.collator import MNTPCollator, predicted
from helpers.bidirectional.guard import evaluating

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclasses.dataclass(frozen=True)
class MNTPScore:
    """How well masked tokens are predicted.

    Attributes:
        loss: Mean cross-entropy, in nats.
        accuracy: Share of masked tokens whose most probable token is the right one, in percent.
        tokens: How many were predicted.
    """

    loss: float
    accuracy: float
    tokens: int


def score_mntp(
    head: PreTrainedModel, blocks: Sequence[Sequence[int]], collator: MNTPCollator, *, batch_size: int = 8
) -> MNTPScore:
    """Score blocks with fixed masks: block i has the same ones in every call, whatever the batches.

    Args:
        head: A causal language model, switched or not.
        blocks: ``(N, L)`` token ids, all of one length.
        collator: Its seed decides the masks.
        batch_size: Blocks in one pass.

    Raises:
        ValueError: For no blocks.
    """
    if len(blocks) == 0:
        raise ValueError("there are no blocks to score")
    loss, right, tokens = 0.0, 0, 0
    masked = [collator([{"input_ids": block, "draw": number}]) for number, block in enumerate(blocks)]
    with evaluating(head), torch.inference_mode():
        for start in range(0, len(masked), batch_size):
            rows = masked[start : start + batch_size]
            batch = {name: torch.cat([row[name] for row in rows]).to(head.device) for name in rows[0]}  # (B, L) each
            labels = batch.pop("labels")
            logits, wanted = predicted(head(**batch, use_cache=False).logits.float(), labels)  # (N, V), (N,)
            loss += float(torch.nn.functional.cross_entropy(logits, wanted, reduction="sum"))
            right += int((logits.argmax(dim=1) == wanted).sum())
            tokens += len(wanted)
    return MNTPScore(loss / tokens, 100.0 * right / tokens, tokens)
