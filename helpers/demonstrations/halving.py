"""Successive halving: all candidates on few pairs, the better half on twice as many, and so on (Karnin et al. 2013)."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence

import numpy as np

# Candidates and a number of pairs -> the score of each candidate on that many first pairs.
Score = Callable[[Sequence[int], int], Sequence[float]]


@dataclasses.dataclass(frozen=True)
class Rung:
    """One round of a search.

    Attributes:
        pairs: How many pairs the candidates were scored on; those of the rung before are among them.
        candidates: Their places in the pool.
        scores: One for each.
    """

    pairs: int
    candidates: tuple[int, ...]
    scores: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a search found and what it cost, counted as if nothing had been known before.

    Attributes:
        rungs: Its rounds; an exhaustive search has one.
        tokens: Tokens that the model had to read.
    """

    rungs: tuple[Rung, ...]
    tokens: int = 0

    @property
    def winner(self) -> int:
        """The best candidate of the last round; of equal ones the first in the pool."""
        last = self.rungs[-1]
        return last.candidates[int(np.argmax(last.scores))]

    @property
    def evaluations(self) -> int:
        """How many pairs were embedded, once for each candidate that saw them."""
        before = (0, *(rung.pairs for rung in self.rungs))
        return sum(len(rung.candidates) * (rung.pairs - seen) for rung, seen in zip(self.rungs, before, strict=False))


def doubling(first: int, total: int) -> tuple[int, ...]:
    """Return the sizes of the rounds: ``first`` pairs, twice as many, …, and at last all.

    Raises:
        ValueError: For a first round of fewer than three pairs, which have no rank correlation to speak of, or of more
            than there are.
    """
    if not 3 <= first <= total:
        raise ValueError(f"first={first} should be from 3 to the number of pairs, {total}")
    sizes = [first]
    while sizes[-1] < total:
        sizes.append(min(2 * sizes[-1], total))
    return tuple(sizes)


def halve(count: int, sizes: Sequence[int], score: Score) -> tuple[Rung, ...]:
    """Score all candidates on the first size, the better half of them on the next, and so on.

    With a single size this is the exhaustive search. The candidates of a round stay in the order of the pool; of equal
    ones the earlier go on. Rounds end where one candidate is left.

    Args:
        count: How many candidates there are.
        sizes: Pairs of each round, growing.
        score: Called once a round.

    Raises:
        ValueError: For no candidate, or sizes that do not grow.
    """
    if count < 1:
        raise ValueError("a search needs at least one candidate")
    if not sizes or any(later <= earlier for earlier, later in itertools.pairwise(sizes)):
        raise ValueError(f"sizes={tuple(sizes)} should grow from round to round")
    alive, rungs = list(range(count)), []
    for size in sizes:
        scores = np.asarray(score(alive, size), dtype=np.float64)
        rungs.append(Rung(size, tuple(alive), tuple(scores.tolist())))
        best = np.argsort(-scores, kind="stable")[: (len(alive) + 1) // 2]
        alive = [alive[place] for place in sorted(best)]
        if len(rungs[-1].candidates) == 1:
            break
    return tuple(rungs)
