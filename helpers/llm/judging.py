"""Which of two choices goes with a query? Four ways of reading a model's opinion, each from both sides."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from helpers import prompts, settings
from helpers.llm.journal import Journal
from helpers.llm.replay import Journalled

Parse = Callable[[str], int | None]
REPLY_TOKENS = 20
BATCH = 32  # questions whose answers are filed together: the most that a killed run asks again


@dataclasses.dataclass(frozen=True)
class Question:
    """A query with two choices, none of them empty."""

    query: str
    choice1: str
    choice2: str

    @property
    def swapped(self) -> Question:
        """The same question with the choices in the other order."""
        return Question(self.query, self.choice2, self.choice1)


@dataclasses.dataclass(frozen=True)
class Judgement:
    """What a judge thinks of one question.

    Attributes:
        answer: 1 or 2, or None where the margin is 0: the judge does not know, or contradicts itself.
        margin: How much it prefers choice 1 to choice 2, negative where it prefers choice 2. Its unit is that of the
            way: votes from -1 to 1 (``reply``), a difference of log-probabilities (``option``), of mean
            log-probabilities of a token (``likelihood``), or of rewards (``reward``).
        consistent: Whether the two sides it was asked from agree on a choice (for ``likelihood``: the query after the
            choice, and the choice after the query); None where it was asked from one side only.
        sides: The preference for choice 1 of each side, of which the margin is the mean.
        facts: What the model said, by name.
    """

    answer: int | None
    margin: float
    consistent: bool | None
    sides: tuple[float, ...]
    facts: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class _Wording:
    """How questions are put, and how replies are read."""

    instruction: str
    order: str
    template: str
    parse: Parse | None
    max_tokens: int
    both_orders: bool


def judge(
    backend: Any,
    questions: Sequence[Question | tuple[str, str, str]],
    *,
    way: str = "option",
    instruction: str = "",
    order: str = "before",
    template: str = prompts.SAME_MEANING,
    parse: Parse | None = None,
    max_tokens: int = REPLY_TOKENS,
    both_orders: bool = True,
    journal: Journal | None = None,
    progress: bool = False,
) -> list[Judgement]:
    """Ask a model about each question.

    The ways:

    - ``reply``: the model writes, and ``parse`` reads 1, 2 or None from what it wrote.
    - ``option``: the log-probabilities of the two numbers where the answer would begin; nothing is written.
    - ``likelihood``: how probable the query's words are after each choice in ``template``, and the choice's words after
      the query, as means over tokens.
    - ``reward``: a reward model scores each choice as the response to the instruction and the query.

    Args:
        backend: `LocalModel`, `OpenAIServer`, `Replay`, `RewardModel`, or another with the method that the way needs.
        questions: The questions, as `Question` or as ``(query, choice 1, choice 2)``.
        way: One of the four.
        instruction: What to look at; for all ways but ``likelihood``.
        order: For ``reply``: the instruction stands ``before`` or ``after`` the texts.
        template: For ``likelihood``: two texts that mean the same; see `prompts.same_meaning`.
        parse: For ``reply``: reads the choice from a reply; ``triplets.parse_choice`` is one.
        max_tokens: For ``reply``: most tokens of a reply.
        both_orders: For ``reply`` and ``option``: ask with the choices in both orders and take the mean, so that a
            preference for a place cancels.
        journal: Where answers are filed and looked up; None keeps them for this call.
        progress: Show a progress bar.

    Returns:
        A judgement for each question, in order.

    Raises:
        ValueError: For an unknown way, a backend that cannot judge this way, a question with an empty text (with its
            row), or a way ``reply`` without ``parse``.
    """
    if way not in WAYS:
        raise ValueError(f"unknown way of judging {way!r}; {settings.nearest(way, WAYS)}")
    if way == "reply" and parse is None:
        raise ValueError("way='reply' needs parse, which reads 1, 2 or None from a reply")
    asked = [_checked(question, row) for row, question in enumerate(questions)]
    wording = _Wording(instruction, order, template, parse, max_tokens, both_orders)
    filed = Journalled(backend, Journal() if journal is None else journal)
    judgements: list[Judgement] = []
    with tqdm(total=len(asked), unit="question", disable=not progress) as bar:
        for start in range(0, len(asked), BATCH):
            judgements += WAYS[way](filed, asked[start : start + BATCH], wording)
            bar.update(len(judgements) - start)
    return judgements


def _checked(question: Question | tuple[str, str, str], row: int) -> Question:
    """Return a question whose three texts are texts."""
    if not isinstance(question, Question):
        if isinstance(question, str) or len(question) != 3:
            raise ValueError(f"questions[{row}] should be a query and two choices, got {question!r:.80}")
        question = Question(*question)
    for name, text in dataclasses.asdict(question).items():
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"questions[{row}].{name} is {text!r}; it should be a text that is not empty")
    return question


def _judgement(sides: Sequence[float], **facts: Any) -> Judgement:
    """Make a judgement of the preferences for choice 1 of one or two sides."""
    margin = float(np.mean(sides))
    signs = {int(np.sign(side)) for side in sides}
    consistent = len(signs) == 1 and signs != {0} if len(sides) > 1 else None
    answer = None if margin == 0 else 1 if margin > 0 else 2
    return Judgement(answer, margin, consistent, tuple(float(side) for side in sides), facts)


def _both_orders(questions: Sequence[Question], wording: _Wording) -> list[list[Question]]:
    """Return for each question the orders to ask in."""
    return [[question, question.swapped] if wording.both_orders else [question] for question in questions]


def _by_reply(filed: Journalled, questions: Sequence[Question], wording: _Wording) -> list[Judgement]:
    """Judge by what the model writes: each order has one vote."""
    texts = [
        [
            prompts.triplet_question(wording.instruction, *dataclasses.astuple(one), order=wording.order)
            for one in orders
        ]
        for orders in _both_orders(questions, wording)
    ]
    replies = filed.reply([text for pair in texts for text in pair], max_tokens=wording.max_tokens)
    judgements = []
    for at, pair in enumerate(texts):
        said = replies[at * len(pair) : (at + 1) * len(pair)]
        read = [wording.parse(reply) for reply in said]
        sides = [_vote(number) * sign for number, sign in zip(read, (1, -1), strict=False)]
        judgements.append(_judgement(sides, replies=tuple(said), read=tuple(read)))
    return judgements


def _vote(number: int | None) -> int:
    """Return +1 for the first choice, -1 for the second, 0 for none."""
    return {1: 1, 2: -1}.get(number, 0)


def _by_option(filed: Journalled, questions: Sequence[Question], wording: _Wording) -> list[Judgement]:
    """Judge by the probabilities of the two numbers."""
    orders = _both_orders(questions, wording)
    texts = [prompts.option_question(wording.instruction, *dataclasses.astuple(one)) for pair in orders for one in pair]
    found = filed.option_logprobs(texts, prompts.OPTIONS).reshape(len(questions), -1, 2)  # (N, orders, 2)
    signs = np.array([1, -1])[: found.shape[1]]
    sides = (found[:, :, 0] - found[:, :, 1]) * signs  # (N, orders)
    return [_judgement(row, logprobs=numbers.tolist()) for row, numbers in zip(sides, found, strict=True)]


def _by_likelihood(filed: Journalled, questions: Sequence[Question], wording: _Wording) -> list[Judgement]:
    """Judge by how probable the query is after each choice, and each choice after the query."""
    pairs = []
    for question in questions:
        for choice in (question.choice1, question.choice2):
            pairs += [(choice, question.query), (question.query, choice)]
    texts = [prompts.same_meaning(first, second, template=wording.template) for first, second in pairs]
    found = filed.text_logprob(*zip(*texts, strict=True), per_token=True).reshape(-1, 2, 2)  # (N, choice, direction)
    sides = found[:, 0] - found[:, 1]  # (N, direction)
    return [_judgement(row, logprobs=numbers.tolist()) for row, numbers in zip(sides, found, strict=True)]


def _by_reward(filed: Journalled, questions: Sequence[Question], wording: _Wording) -> list[Judgement]:
    """Judge by the reward of each choice as a response; the two never stand in one text, so there is no order."""
    asked = [f"{wording.instruction}\n\n{question.query}".strip() for question in questions for _ in range(2)]
    choices = [choice for question in questions for choice in (question.choice1, question.choice2)]
    found = filed.scores(asked, choices).reshape(-1, 2)  # (N, choice)
    return [_judgement([row[0] - row[1]], rewards=row.tolist()) for row in found]


WAYS: dict[str, Callable[[Journalled, Sequence[Question], _Wording], list[Judgement]]] = {
    "reply": _by_reply,
    "option": _by_option,
    "likelihood": _by_likelihood,
    "reward": _by_reward,
}
