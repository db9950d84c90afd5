"""Answers to triplets: read from a reply, or made by labels, distances and dice; and training data made of them.

An answer is 1 or 2, the choice that goes with the query, or None where there is none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from helpers import evaluation
from helpers.triplets.partition import check_embeddings

BOTH, NEITHER = 0, -1  # what `gold_answers` says where labels decide nothing

_BETWEEN = r"[\s:#*_\"'(\[=-]*"
_MENTION = re.compile(rf"\bchoices?{_BETWEEN}([12])\b(?:(?:\s|[,/&*\"']|\band\b|\bor\b)+([12])\b)?", re.IGNORECASE)
_NUMBER_ALONE = re.compile(r"[\s\"'*(\[]*([12])[\s\"'*)\].:,!]*")
_YES_NO = re.compile(r"\b(yes|no)\b", re.IGNORECASE)


def parse_choice(reply: str) -> int | None:
    """Return the choice that a reply names: 1, 2, or None.

    A choice is named by the word and its number, in any case and with marks between them (``Choice 1``, ``choice: 2``,
    ``Choice **2**``), wherever in the reply; or by a reply that is nothing but the number (``1``, ``2.``, ``(1)``).
    A reply that names both (``Choice 1 or Choice 2``, ``Choices 1 and 2``) or neither gives None: nobody guesses.
    The reply is what the model wrote, without the prompt, which names both.

    Raises:
        ValueError: For a reply that is no text.
    """
    _check_reply(reply)
    named = {number for mention in _MENTION.findall(reply) for number in mention if number}
    if not named:
        alone = _NUMBER_ALONE.fullmatch(reply)
        return int(alone[1]) if alone else None
    return int(named.pop()) if len(named) == 1 else None


def parse_yes_no(reply: str) -> bool | None:
    """Return True for a reply that says yes, False for no, None for both or neither; as whole words, in any case.

    Raises:
        ValueError: For a reply that is no text.
    """
    _check_reply(reply)
    said = {word.lower() for word in _YES_NO.findall(reply)}
    return said == {"yes"} if len(said) == 1 else None


def gold_answers(triplets: np.ndarray, labels: Sequence[object]) -> np.ndarray:
    """Return what the labels answer, ``(n,)``: 1 or 2, 0 where both choices have the query's label, -1 where neither.

    Raises:
        ValueError: For triplets that are not an ``(n, 3)`` array of rows that have labels.
    """
    rows = check_triplets(triplets, len(labels))
    query, first, second = evaluation.encode_labels(labels)[rows].T
    return np.select(
        [(query == first) & (query == second), query == first, query == second], [BOTH, 1, 2], default=NEITHER
    )


def oracle_answers(triplets: np.ndarray, labels: Sequence[object]) -> list[int | None]:
    """Return the labels' answers where they decide, and None where both choices are right or neither is."""
    return [int(answer) if answer in (1, 2) else None for answer in gold_answers(triplets, labels)]


def self_answers(embeddings: np.ndarray, triplets: np.ndarray) -> list[int | None]:
    """Return the encoder's own answers: the choice at the smaller Euclidean distance, as the embeddings stand.

    Where both are equally far, the answer is 2, as in ClusterLLM's control.

    Raises:
        ValueError: For embeddings that are not a matrix of finite numbers, or triplets of other rows.
    """
    matrix = check_embeddings(embeddings, least=1).astype(np.float64)
    query, first, second = check_triplets(triplets, len(matrix)).T
    to_first = ((matrix[query] - matrix[first]) ** 2).sum(axis=1)
    to_second = ((matrix[query] - matrix[second]) ** 2).sum(axis=1)
    return np.where(to_first < to_second, 1, 2).tolist()


def noisy_oracle(
    answers: Sequence[int | None] | np.ndarray, accuracy: float, rng: np.random.Generator
) -> list[int | None]:
    """Return right answers of which each is turned round with probability ``1 - accuracy``.

    One number is drawn for every triplet, decidable or not. So the same seed at a lower accuracy makes the same
    mistakes and some more, and two points of a curve differ by nothing else.

    Args:
        answers: From `oracle_answers` or `gold_answers`; whatever is not 1 or 2 becomes None.
        accuracy: From 0 to 1.
        rng: Draws the mistakes.

    Raises:
        ValueError: For an accuracy out of range.
    """
    if not 0 <= accuracy <= 1:
        raise ValueError(f"accuracy={accuracy} should be from 0 to 1")
    wrong = rng.random(len(answers)) >= accuracy
    return [
        (3 - int(answer) if turned else int(answer)) if answer in (1, 2) else None
        for answer, turned in zip(answers, wrong, strict=True)
    ]


def random_answers(n: int, rng: np.random.Generator) -> list[int | None]:
    """Return n answers of a coin."""
    return rng.integers(1, 3, size=n).tolist()


def to_training(
    texts: Sequence[str], triplets: np.ndarray, answers: Sequence[int | None], *, prefix: str = ""
) -> list[dict[str, str | int]]:
    """Turn answered triplets into rows to train on; a triplet without an answer gives none.

    Args:
        texts: ``(N,)``.
        triplets: ``(n, 3)`` row numbers.
        answers: ``(n,)``: the choice that becomes the positive.
        prefix: Put before every text, the same as when the encoder is measured.

    Returns:
        ``anchor``, ``positive``, ``negative``, and the rows they came from, ``anchor_row`` and so on.

    Raises:
        ValueError: For another number of answers than triplets, an answer that is not 1, 2 or None, or rows without a
            text.
    """
    rows = check_triplets(triplets, len(texts))
    check_answers(answers, len(rows))
    made = []
    for (query, first, second), answer in zip(rows.tolist(), answers, strict=True):
        if answer is not None:
            positive, negative = (first, second) if answer == 1 else (second, first)
            parts = {"anchor": query, "positive": positive, "negative": negative}
            made.append(
                {name: prefix + texts[row] for name, row in parts.items()}
                | {f"{name}_row": row for name, row in parts.items()}
            )
    return made


def check_triplets(triplets: np.ndarray, rows: int) -> np.ndarray:
    """Return triplets as an ``(n, 3)`` array of row numbers below ``rows``, or raise a ValueError."""
    array = np.asarray(triplets)
    if array.ndim != 2 or array.shape[1] != 3 or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"triplets should be whole numbers of shape (n, 3), got shape {array.shape}, {array.dtype}")
    outside = np.argwhere((array < 0) | (array >= rows))
    if len(outside):
        number, place = outside[0]
        raise ValueError(f"triplet {number} names row {array[number, place]}; rows are from 0 to {rows - 1}")
    return array


def check_answers(answers: Sequence[int | None], triplets: int) -> None:
    """Raise a ValueError where answers are not 1, 2 or None, or not as many as the triplets."""
    if len(answers) != triplets:
        raise ValueError(f"{len(answers)} answers do not match {triplets} triplets")
    for number, answer in enumerate(answers):
        if answer is not None and answer not in (1, 2):
            raise ValueError(f"answer {number} is {answer!r}; it should be 1, 2 or None")


def _check_reply(reply: str) -> None:
    if not isinstance(reply, str):
        raise ValueError(f"a reply should be a text, got {reply!r} of type {type(reply).__name__}")
