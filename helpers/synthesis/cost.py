"""What a run will cost, before it starts: tokens by group, and money and hours for each kind of backend."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Callable, Sequence

from helpers.llm import Written
from helpers.synthesis import languages
from helpers.synthesis.asking import Plan, Request, requests
from helpers.synthesis.schema import expected_words

SAMPLE = 2_000
LETTERS_A_TOKEN = 4.0  # of English, for a tokenizer of 50,000 to 100,000 entries
TOKENS_A_WORD = {1: 1.35, 2: 2.5, 3: 3.0}  # by the bytes of a language's letters; tokenizers differ by a factor of two


@dataclasses.dataclass(frozen=True)
class Rate:
    """What one kind of backend takes.

    Attributes:
        name: Its name for the table.
        per_million: Price of a million prompt tokens and of a million written tokens.
        tokens_per_second: Written tokens a second, of all requests under way together; measure it (`measured_rate`).
        per_hour: Price of an hour of the machine.
    """

    name: str
    per_million: tuple[float, float] = (0.0, 0.0)
    tokens_per_second: float = 1.0
    per_hour: float = 0.0

    def __post_init__(self) -> None:
        if min(*self.per_million, self.per_hour) < 0 or self.tokens_per_second <= 0:
            raise ValueError(f"{self.name}: prices should be 0 or more, and tokens_per_second above 0, got {self}")


@dataclasses.dataclass(frozen=True)
class Estimate:
    """How many tokens a run will take.

    Attributes:
        requests: Group -> requests.
        tokens_in: Group -> prompt tokens.
        tokens_out: Group -> written tokens.
        sampled: From how many requests this was reckoned.
    """

    requests: dict[str, int]
    tokens_in: dict[str, int]
    tokens_out: dict[str, int]
    sampled: int

    def table(self) -> list[dict[str, str | int]]:
        """Return a row for each group, and one for all."""
        parts = (self.requests, self.tokens_in, self.tokens_out)
        names = [*self.requests, "all"]
        values = [[part[name] if name != "all" else sum(part.values()) for part in parts] for name in names]
        return [
            {"group": name, "requests": count, "tokens in": read, "tokens out": written}
            for name, (count, read, written) in zip(names, values, strict=True)
        ]

    def costs(self, rates: Sequence[Rate]) -> list[dict[str, str | float]]:
        """Return hours and money for each kind of backend."""
        read, written = sum(self.tokens_in.values()), sum(self.tokens_out.values())
        rows = []
        for rate in rates:
            hours = written / rate.tokens_per_second / 3600
            tokens = (read * rate.per_million[0] + written * rate.per_million[1]) / 1e6
            rows.append({"backend": rate.name, "hours": hours, "cost": tokens + hours * rate.per_hour})
        return rows


def estimate(
    plan: Plan, count: int, *, count_tokens: Callable[[str], int] | None = None, sample: int = SAMPLE
) -> Estimate:
    """Reckon a run from a sample of its requests.

    Args:
        plan: What is drawn from.
        count: How many requests.
        count_tokens: Tokens of a prompt; a token for every four letters where None.
        sample: How many of the requests to look at: the first ones, which are as random as any.

    Raises:
        ValueError: For no requests or no sample.
    """
    if count < 1 or sample < 1:
        raise ValueError(f"count={count} and sample={sample} should be at least 1")
    seen, read, written = Counter(), Counter(), Counter()
    sample = min(count, sample)
    for one in itertools.islice(requests(plan, count), sample):
        seen[one.group] += 1
        read[one.group] += count_tokens(one.prompt) if count_tokens else len(one.prompt) / LETTERS_A_TOKEN
        written[one.group] += expected_tokens(one)
    totals = ({group: round(part[group] * count / sample) for group in seen} for part in (seen, read, written))
    return Estimate(*totals, sample)


def expected_tokens(request: Request) -> float:
    """Return about how many tokens an answer will have, its keys and braces included."""
    texts = sum(
        size * TOKENS_A_WORD[languages.character_bytes(request.languages.get(key, "English"))]
        for key, size in expected_words(request).items()
    )
    return texts + 8 * len(request.keys)


def measured_rate(written: Sequence[Written], seconds: float) -> float:
    """Return written tokens a second of a trial.

    Raises:
        ValueError: For a time that is not above 0, or answers whose tokens were not counted.
    """
    if not seconds > 0:
        raise ValueError(f"seconds={seconds} should be above 0")
    if any(text.tokens is None for text in written):
        raise ValueError("the server did not count the tokens of all answers")
    return sum(text.tokens for text in written) / seconds
