"""What one training by masked next-token prediction is about."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from helpers.bidirectional.options import TrainingOptions
from helpers.bidirectional.scoring import score_mntp

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclasses.dataclass(frozen=True)
class Job:
    """A training before it is run.

    Attributes:
        head: The causal language model.
        tokenizer: Its tokenizer.
        blocks: ``(N, L)`` token ids to train on.
        held_out: ``(M, L)`` token ids to score; may be empty.
        options: How to train.
        seed: Of order, masks, dropout and the new adapter.
        progress: Show a progress bar.
    """

    head: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    blocks: list[list[int]]
    held_out: list[list[int]]
    options: TrainingOptions
    seed: int
    progress: bool

    def score(self) -> dict[str, float]:
        """Score the held-out blocks; their masks are the same whatever the seed."""
        fixed = self.options.collator(self.tokenizer, seed=0)
        found = score_mntp(self.head, self.held_out, fixed, batch_size=self.options.eval_batch_size)
        return {"held_out_loss": found.loss, "held_out_accuracy": found.accuracy}
