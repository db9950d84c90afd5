"""The search: each candidate on a development set of sentence pairs, every answer kept, so that it can go on."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from helpers import evaluation, prompts
from helpers.demonstrations.halving import Outcome, Rung, doubling, halve
from helpers.demonstrations.pool import Demonstration
from helpers.demonstrations.replay import spearman_rows
from helpers.llm.journal import Journal, answer_key

if TYPE_CHECKING:
    from helpers.embedding import Embedder


class Search:
    """Scores demonstrations by the Spearman correlation that they give on a development set.

    Pairs are embedded in blocks that end where a round of `halving` ends, so the exhaustive search and the halving one
    share what they know. A candidate's blocks are filed in the journal before the next candidate; a killed search goes
    on there.

    Args:
        embedder: The language model; its template is replaced.
        rows: The development set: ``sentence1``, ``sentence2``, ``score``.
        model_id: Name and revision of the weights, which the embedder does not know.
        rng: Puts the pairs in another order; they stay in the order given where None.
        first: Pairs of the first round.
        journal: Where the similarities are kept; in memory only where None.
        template: What stands after the demonstration.

    Raises:
        ValueError: For fewer pairs than ``first``, or ``first`` below 3.
    """

    def __init__(
        self,
        embedder: Embedder,
        rows: Mapping[str, Sequence],
        *,
        model_id: str,
        rng: np.random.Generator | None = None,
        first: int = 8,
        journal: Journal | None = None,
        template: str = prompts.PROMPT_EOL,
    ) -> None:
        self.embedder = embedder
        self.model_id = model_id
        self.template = template
        self.journal = Journal() if journal is None else journal
        count = len(rows["score"])
        order = np.arange(count) if rng is None else rng.permutation(count)
        self.sides = [
            [prompts.normalise_sentence(rows[side][row]) for row in order] for side in ("sentence1", "sentence2")
        ]
        self.scores = np.asarray(rows["score"], dtype=np.float64)[order]
        self.sizes = doubling(first, count)
        self.blocks = list(itertools.pairwise((0, *self.sizes)))

    def similarities(self, candidate: Demonstration | None, pairs: int | None = None) -> np.ndarray:
        """Return the cosine similarities of the first pairs, all where None; ``None`` for no demonstration.

        Raises:
            ValueError: For a number of pairs at which no round ends.
        """
        blocks = self._blocks_up_to(self.sizes[-1] if pairs is None else pairs)
        return np.concatenate([answer["similarities"] for answer in self._answers(candidate, blocks)])

    def matrix(self, pool: Sequence[Demonstration]) -> np.ndarray:
        """Return the similarities of all pairs under each candidate, ``(C, N)``."""
        return np.stack([self.similarities(candidate) for candidate in pool])

    def score(self, candidate: Demonstration | None, pairs: int | None = None) -> float:
        """Return the Spearman correlation on the first pairs, in percent; 0 where one side has no order there."""
        found = self.similarities(candidate, pairs)
        return float(np.nan_to_num(spearman_rows(found, self.scores[: len(found)])[0]))

    def exhaustive(self, pool: Sequence[Demonstration], *, progress: bool = False) -> Outcome:
        """Score every candidate on all pairs."""
        return self._run(pool, self.sizes[-1:], progress)

    def halving(self, pool: Sequence[Demonstration], *, progress: bool = False) -> Outcome:
        """Score every candidate on few pairs and the better half on twice as many, until all pairs are used."""
        return self._run(pool, self.sizes, progress)

    def regret(self, found: Outcome, best: Outcome, pool: Sequence[Demonstration]) -> float:
        """Return how many points of Spearman, on all pairs, one search's winner stays behind another's."""
        return self.score(pool[best.winner]) - self.score(pool[found.winner])

    def _run(self, pool: Sequence[Demonstration], sizes: Sequence[int], progress: bool) -> Outcome:
        """Run rounds of these sizes, with a bar that counts pairs, those from the journal too."""
        with tqdm(desc="demonstrations", total=0, unit="pair", disable=not progress) as bar:

            def score(candidates: Sequence[int], size: int) -> list[float]:
                new = size - max((earlier for earlier in sizes if earlier < size), default=0)
                bar.total += new * len(candidates)
                found = []
                for place in candidates:
                    found.append(self.score(pool[place], size))
                    bar.update(new)
                return found

            rungs = halve(len(pool), sizes, score)
        return Outcome(rungs, self._tokens(pool, rungs))

    def _tokens(self, pool: Sequence[Demonstration], rungs: Sequence[Rung]) -> int:
        """Return the tokens that these rounds cost: new pairs, and the demonstration once a round."""
        total, seen = 0, 0
        for rung in rungs:
            blocks = [block for block in self._blocks_up_to(rung.pairs) if block[0] >= seen]
            for place in rung.candidates:
                answers = self._answers(pool[place], blocks)
                total += answers[0]["prefix"] + sum(answer["tokens"] for answer in answers)
            seen = rung.pairs
        return total

    def _blocks_up_to(self, pairs: int) -> list[tuple[int, int]]:
        if pairs not in self.sizes:
            raise ValueError(f"pairs={pairs} should be where a round ends: {', '.join(map(str, self.sizes))}")
        return [block for block in self.blocks if block[1] <= pairs]

    def _answers(self, candidate: Demonstration | None, blocks: Sequence[tuple[int, int]]) -> list[dict]:
        """Return similarities and tokens of blocks of pairs; what the journal lacks is embedded in one call."""
        template = self.template if candidate is None else candidate.template(self.template)
        keys = [self._key(template, block) for block in blocks]
        missing = [(key, block) for key, block in zip(keys, blocks, strict=True) if key not in self.journal]
        if missing:
            name = "none" if candidate is None else candidate.name
            answers = self._compute(template, [block for _, block in missing])
            self.journal.put_all(
                (key, answer, {"candidate": name, "pairs": list(block)})
                for (key, block), answer in zip(missing, answers, strict=True)
            )
        return [self.journal.get(key) for key in keys]

    def _key(self, template: str, block: tuple[int, int]) -> str:
        asked = {"template": template, "pooling": self.embedder.pooling, "precision": str(self.embedder.model.dtype)}
        texts = [text for side in self.sides for text in side[slice(*block)]]
        return answer_key(model=self.model_id, revision="", kind="similarities", parameters=asked, text=texts)

    def _compute(self, template: str, blocks: Sequence[tuple[int, int]]) -> list[dict]:
        """Embed blocks of pairs; count the tokens with which all texts begin, and the others, block by block."""
        embedder = self.embedder.with_template(template)
        rows = [range(*block) for block in blocks]
        places = list(itertools.chain(*rows))
        sides = [[side[place] for place in places] for side in self.sides]
        cosines = dict(zip(places, evaluation.pair_similarities(embedder.encode, *sides).tolist(), strict=True))
        inputs = [embedder.token_ids(side) for side in sides]
        prefix = len(embedder.shared_prefix(list(itertools.chain(*inputs))))
        own = {place: len(one) + len(two) - 2 * prefix for place, one, two in zip(places, *inputs, strict=True)}
        return [
            {
                "similarities": [cosines[place] for place in block],
                "tokens": sum(own[place] for place in block),
                "prefix": prefix,
            }
            for block in rows
        ]
