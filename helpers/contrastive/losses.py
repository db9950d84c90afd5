"""Contrastive losses on embeddings: InfoNCE, and ClusterLLM's loss for triplet questions with its two parts.

All of them are cross-entropies over cosines that are divided by a temperature τ. In the formulas below, ``s⁺_ij`` is
the cosine of query i and positive j, ``s⁻_ij`` that of query i and hard negative j, and ``e(s)`` is ``exp(s / τ)``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from helpers import settings

PARTS = ("both", "own triplet", "in batch")


def info_nce(query: Tensor, positive: Tensor, negative: Tensor | None = None, *, temperature: float) -> Tensor:
    """Return InfoNCE (van den Oord et al. 2018): find the own positive among all positives and all hard negatives.

    ``mean_i −log( e(s⁺_ii) / (Σ_j e(s⁺_ij) + Σ_j e(s⁻_ij)) )``

    Args:
        query: ``(B, D)``, one row an example; lengths do not matter, for the similarity is the cosine.
        positive: ``(B, D)``.
        negative: ``(B, D)``, or None where there are none.
        temperature: τ, above 0. Libraries that speak of a scale mean ``1 / τ``.

    Returns:
        A scalar, in nats.

    Raises:
        ValueError: For other shapes, values that are not finite, or a temperature that is not above 0.
    """
    _check({"query": query, "positive": positive, "negative": negative}, temperature)
    logits = _cosines(query, positive) / temperature  # (B, B): rows are queries
    if negative is not None:
        logits = torch.cat([logits, _cosines(query, negative) / temperature], dim=1)  # (B, 2B)
    return functional.cross_entropy(logits, _own(query))


def triplet_question_loss(query: Tensor, positive: Tensor, negative: Tensor, *, temperature: float) -> Tensor:
    """Return the loss of ClusterLLM (Zhang et al. 2023, and its code): ``mean_i L1_i + mean_i L2_i``.

    ``L1_i = −log( e(s⁺_ii) / (e(s⁺_ii) + Σ_j e(s⁻_ij)) )`` asks the query for its positive. The candidates are the own
    positive and the hard negatives of all rows. The positives of other rows are no candidates: nobody said that they
    do not belong to the query.

    ``L2_i = −log( e(s⁺_ii) / Σ_j e(s⁺_ji) )`` asks the positive for its query among the queries of all rows.

    Args:
        query: ``(B, D)``, one row a triplet.
        positive: ``(B, D)``, the choice that was answered.
        negative: ``(B, D)``, the other choice.
        temperature: τ, above 0.

    Returns:
        A scalar, in nats.

    Raises:
        ValueError: As `info_nce`.
    """
    _check({"query": query, "positive": positive, "negative": negative}, temperature)
    to_positives, to_negatives = _logits(query, positive, negative, temperature)
    return _first_of(to_positives, to_negatives) + _query_of_positive(to_positives)


def triplet_question_parts(
    query: Tensor, positive: Tensor, negative: Tensor, *, temperature: float
) -> tuple[Tensor, Tensor]:
    """Take `triplet_question_loss` apart: what the answer to the own triplet teaches, and what the batch teaches.

    ``own_triplet = mean_i O_i`` with ``O_i = −log( e(s⁺_ii) / (e(s⁺_ii) + e(s⁻_ii)) )``: the own positive against the
    own negative and nothing else.

    ``in_batch = mean_i (R_i + L2_i)`` with ``R_i = −log( e(s⁺_ii) / (e(s⁺_ii) + Σ_{j≠i} e(s⁻_ij)) )``: L1 with the
    negatives of the other rows only, and all of L2. The own negative is nowhere in it.

    The parts do not simply add up, for O and R share the sum inside one logarithm of L1. Row by row, exactly,
    ``L1_i = log( exp(O_i) + exp(R_i) − 1 )``; hence ``max(O_i, R_i) ≤ L1_i ≤ O_i + R_i``, and the whole loss is at most
    ``own_triplet + in_batch``. With a batch of one row, ``in_batch`` is 0 and ``own_triplet`` is the whole loss.

    Args:
        query: ``(B, D)``, one row a triplet.
        positive: ``(B, D)``.
        negative: ``(B, D)``.
        temperature: τ, above 0.

    Returns:
        ``(own_triplet, in_batch)``, two scalars, in nats.

    Raises:
        ValueError: As `info_nce`.
    """
    _check({"query": query, "positive": positive, "negative": negative}, temperature)
    to_positives, to_negatives = _logits(query, positive, negative, temperature)
    own = torch.eye(len(query), dtype=torch.bool, device=query.device)  # (B, B)
    own_triplet = _first_of(to_positives, to_negatives.diagonal().unsqueeze(1))
    others = to_negatives.masked_fill(own, -math.inf)  # (B, B): e(−∞) = 0 takes the own negative out of the sum
    return own_triplet, _first_of(to_positives, others) + _query_of_positive(to_positives)


def check_temperature(temperature: float) -> float:
    """Return the temperature, or raise a ValueError where it is not a finite number above 0."""
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature={temperature} should be a finite number above 0")
    return temperature


def check_part(part: str) -> str:
    """Return the name of a part of the loss, or raise a ValueError with the names that exist."""
    if part not in PARTS:
        raise ValueError(f"unknown part {part!r}; {settings.nearest(part, PARTS)}")
    return part


def _cosines(rows: Tensor, columns: Tensor) -> Tensor:
    """Return the cosine of each row of one with each row of the other, ``(B, B)``; half precision is raised to float32.

    Divided by a small temperature, the two or three digits of a bfloat16 cosine would be noise.
    """
    left, right = (t.float() if t.dtype in (torch.float16, torch.bfloat16) else t for t in (rows, columns))
    return functional.normalize(left, dim=1) @ functional.normalize(right, dim=1).T


def _logits(query: Tensor, positive: Tensor, negative: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Return ``s⁺ / τ`` and ``s⁻ / τ``, ``(B, B)`` each, rows are queries."""
    return _cosines(query, positive) / temperature, _cosines(query, negative) / temperature


def _first_of(to_positives: Tensor, others: Tensor) -> Tensor:
    """Return the mean cross-entropy of the own positive against ``others``, ``(B, any)``."""
    logits = torch.cat([to_positives.diagonal().unsqueeze(1), others], dim=1)  # (B, 1 + any): the target is column 0
    return functional.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device))


def _query_of_positive(to_positives: Tensor) -> Tensor:
    """Return the mean of L2: transposed, rows are positives and columns are queries."""
    return functional.cross_entropy(to_positives.T, _own(to_positives))


def _own(rows: Tensor) -> Tensor:
    """Return the targets of a square table: row i belongs to column i, ``(B,)``."""
    return torch.arange(len(rows), device=rows.device)


def _check(embeddings: dict[str, Tensor | None], temperature: float) -> None:
    """Raise a ValueError that names the tensor, or the temperature, and what is wrong with it."""
    check_temperature(temperature)
    shape = embeddings["query"].shape
    for name, rows in embeddings.items():
        if rows is None:
            continue
        if rows.ndim != 2 or 0 in rows.shape or rows.shape != shape:
            raise ValueError(f"{name} has shape {tuple(rows.shape)}; all should be (B, D), as query: {tuple(shape)}")
        if not rows.isfinite().all():
            row = int((~rows.isfinite()).any(dim=1).nonzero()[0, 0])
            raise ValueError(f"{name} has a value that is not finite in row {row}")
