"""Which texts go through the model together: batches under a token budget, with little padding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# What one more forward pass costs beside its tokens, in tokens: measured with a 135M decoder on two CPU cores, where a
# pass of 24 tokens takes as long as 65 tokens of a large batch. Too small a value only makes more, smaller batches.
BATCH_OVERHEAD = 40


def plan_batches(lengths: Sequence[int], *, budget: int) -> list[list[int]]:
    """Group texts into batches so that padded tokens plus a fixed cost for each batch are as few as possible.

    Texts are sorted by length, longest first (so that a lack of memory shows at once). Neighbouring lengths are then
    merged into one batch where the padding costs less than another pass would: the cheapest way of cutting the sorted
    list, found by dynamic programming over all places where it can be cut.

    Args:
        lengths: Tokens of each text.
        budget: Most tokens in a batch, padding included; a single longer text gets a batch of its own.

    Returns:
        Batches of indices into ``lengths``; every index occurs once.

    Raises:
        ValueError: For a budget below 1, or a text without tokens, with its row.
    """
    if budget < 1:
        raise ValueError(f"the token budget should be at least 1, got {budget}")
    for row, length in enumerate(lengths):
        if length < 1:
            raise ValueError(f"lengths[{row}] is {length}; a text should have at least 1 token")
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    return [order[start:end] for start, end in _cheapest_cuts([lengths[index] for index in order], budget)]


def _cheapest_cuts(lengths: Sequence[int], budget: int) -> list[tuple[int, int]]:
    """Cut lengths, longest first, into runs within the budget and of least total cost; return their bounds."""
    best = np.full(len(lengths) + 1, np.inf)  # best[j]: least cost of the first j texts
    best[0] = 0.0
    cut = np.zeros(len(lengths) + 1, dtype=int)  # cut[j]: where the last batch of those j texts begins
    sizes = np.arange(1, len(lengths) + 1)
    for start, longest in enumerate(lengths):
        most = min(max(1, budget // longest), len(lengths) - start)
        costs = best[start] + BATCH_OVERHEAD + sizes[:most] * longest  # (most,)
        ends = slice(start + 1, start + most + 1)
        better = costs <= best[ends]  # of equal costs the later cut, which fills the first batches
        cut[ends][better] = start
        best[ends][better] = costs[better]
    runs, end = [], len(lengths)
    while end:
        runs.append((int(cut[end]), end))
        end = int(cut[end])
    return runs[::-1]
