"""The contrastive losses, each against loops that spell its formula out."""

import math

import pytest
import torch
from torch.nn.functional import cosine_similarity

from helpers import contrastive

B, D, TEMPERATURE = 5, 8, 0.1
LOSSES = {
    "info_nce": lambda q, p, n, t: contrastive.info_nce(q, p, n, temperature=t),
    "info_nce without negatives": lambda q, p, n, t: contrastive.info_nce(q, p, temperature=t),
    "triplet question": lambda q, p, n, t: contrastive.triplet_question_loss(q, p, n, temperature=t),
    "own triplet": lambda q, p, n, t: contrastive.triplet_question_parts(q, p, n, temperature=t)[0],
    "in batch": lambda q, p, n, t: contrastive.triplet_question_parts(q, p, n, temperature=t)[1],
}


def e(a, b, t):
    return torch.exp(cosine_similarity(a, b, dim=0) / t)


def among(right, *others):
    return -torch.log(right / sum(others, right))


def slow_info_nce(q, p, n, t):
    rows = range(len(q))
    hard = [] if n is None else [[e(q[i], n[j], t) for j in rows] for i in rows]
    other = [[e(q[i], p[j], t) for j in rows if j != i] for i in rows]
    terms = [among(e(q[i], p[i], t), *other[i], *(hard[i] if hard else [])) for i in rows]
    return sum(terms) / len(q)


def slow_rows(q, p, n, t):
    """Return L1, L2, O and R of every row."""
    rows = range(len(q))
    hit = [e(q[i], p[i], t) for i in rows]
    first = [among(hit[i], *(e(q[i], n[j], t) for j in rows)) for i in rows]
    second = [among(hit[i], *(e(p[i], q[j], t) for j in rows if j != i)) for i in rows]
    own = [among(hit[i], e(q[i], n[i], t)) for i in rows]
    rest = [among(hit[i], *(e(q[i], n[j], t) for j in rows if j != i)) for i in rows]
    return torch.stack([torch.stack(part) for part in (first, second, own, rest)])  # (4, B)


SLOW = {
    "info_nce": slow_info_nce,
    "info_nce without negatives": lambda q, p, n, t: slow_info_nce(q, p, None, t),
    "triplet question": lambda *args: (slow_rows(*args)[0] + slow_rows(*args)[1]).mean(),
    "own triplet": lambda *args: slow_rows(*args)[2].mean(),
    "in batch": lambda *args: (slow_rows(*args)[3] + slow_rows(*args)[1]).mean(),
}


def vectors(rows=B, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(rows, D, generator=generator, dtype=torch.float64).requires_grad_() for _ in range(3)]


def value(name, rows, temperature):
    return LOSSES[name](*rows, temperature).item()


@pytest.mark.parametrize("rows", [1, 2, B])
@pytest.mark.parametrize("name", LOSSES)
def test_values_and_gradients_are_those_of_the_loops(name, rows):
    fast, slow = vectors(rows), vectors(rows)
    loss, reference = LOSSES[name](*fast, TEMPERATURE), SLOW[name](*slow, TEMPERATURE)
    torch.testing.assert_close(loss, reference)
    gradients = torch.autograd.grad(loss, fast, materialize_grads=True, allow_unused=True)
    expected = torch.autograd.grad(reference, slow, materialize_grads=True, allow_unused=True)
    assert all(gradient.isfinite().all() for gradient in gradients)
    for gradient, wanted in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, wanted, atol=1e-10, rtol=1e-7)


@pytest.mark.parametrize("name", LOSSES)
def test_the_order_of_the_rows_changes_nothing(name):
    rows = vectors()
    order = torch.tensor([3, 0, 4, 1, 2])
    shuffled = [vector[order] for vector in rows]
    torch.testing.assert_close(LOSSES[name](*shuffled, TEMPERATURE), LOSSES[name](*rows, TEMPERATURE))


@pytest.mark.parametrize("name", LOSSES)
def test_lengths_of_vectors_change_nothing(name):
    rows = vectors()
    longer = [vector * scale for vector, scale in zip(rows, (2.0, 0.1, 30.0), strict=True)]
    torch.testing.assert_close(LOSSES[name](*longer, TEMPERATURE), LOSSES[name](*rows, TEMPERATURE))


def test_one_row_alone():
    query, positive, negative = vectors(1)
    whole = contrastive.triplet_question_loss(query, positive, negative, temperature=TEMPERATURE)
    own, in_batch = contrastive.triplet_question_parts(query, positive, negative, temperature=TEMPERATURE)
    torch.testing.assert_close(own, whole)
    assert in_batch == 0, "a batch of one has no other rows"
    assert contrastive.info_nce(query, positive, temperature=TEMPERATURE) == 0


def test_a_hot_temperature_makes_all_candidates_alike():
    rows = vectors()
    first, second = math.log(1 + B), math.log(B)
    assert value("triplet question", rows, 1e6) == pytest.approx(first + second, abs=1e-4)
    assert value("info_nce", rows, 1e6) == pytest.approx(math.log(2 * B), abs=1e-4)
    assert value("own triplet", rows, 1e6) == pytest.approx(math.log(2), abs=1e-4)
    assert value("in batch", rows, 1e6) == pytest.approx(math.log(B) + second, abs=1e-4)


def test_a_cold_temperature_makes_right_answers_free_and_wrong_ones_dear():
    query, _, negative = vectors()
    for name in LOSSES:
        losses = [value(name, (query, query, negative), temperature) for temperature in (1.0, 0.1, 0.01)]
        assert losses[0] > losses[1] > losses[2] >= 0, name
        assert losses[2] < 1e-6
    wrong = [value("own triplet", (query, negative, query), temperature) for temperature in (1.0, 0.1, 0.01)]
    assert wrong[0] < wrong[1] < wrong[2]


def test_published_temperatures_do_not_overflow_in_single_precision():
    rows = [vector.detach().float() for vector in vectors()]
    for name, loss in LOSSES.items():
        assert loss(*rows, 0.001).isfinite(), name


def test_another_rows_positive_is_no_negative_for_the_query():
    """L2 sees the other positives, L1 does not: with L2 taken off, moving one changes nothing in other rows."""
    query, positive, negative = (vector.detach() for vector in vectors())
    moved = positive.clone()
    moved[0] = torch.arange(D, dtype=torch.float64)
    before, after = slow_rows(query, positive, negative, 0.1), slow_rows(query, moved, negative, 0.1)

    def first(positives):
        """Take the row-wise L2, computed apart, off the loss."""
        similar = torch.stack([cosine_similarity(row.expand_as(query), query) for row in positives]) / 0.1
        second = torch.nn.functional.cross_entropy(similar, torch.arange(B))
        return contrastive.triplet_question_loss(query, positives, negative, temperature=0.1) - second

    torch.testing.assert_close(first(positive), before[0].mean())
    torch.testing.assert_close(before[0, 1:], after[0, 1:])
    torch.testing.assert_close((first(moved) - first(positive)) * B, after[0, 0] - before[0, 0])
    infos = [contrastive.info_nce(query[1:], rows[1:], temperature=0.1) for rows in (positive, moved)]
    torch.testing.assert_close(*infos)
    whole = [contrastive.info_nce(query, rows, negative, temperature=0.1) for rows in (positive, moved)]
    change = slow_info_nce(query, moved, negative, 0.1) - slow_info_nce(query, positive, negative, 0.1)
    torch.testing.assert_close(whole[1] - whole[0], change)


def test_the_own_triplet_part_learns_nothing_from_other_rows():
    query, positive, negative = vectors()
    own, _ = contrastive.triplet_question_parts(query, positive, negative, temperature=TEMPERATURE)
    alone = contrastive.triplet_question_parts(query[:1], positive[:1], negative[:1], temperature=TEMPERATURE)[0]
    gradient = torch.autograd.grad(own, query)[0][0]
    torch.testing.assert_close(gradient, torch.autograd.grad(alone, query)[0][0] / B)


@pytest.mark.parametrize("seed", range(5))
def test_the_parts_add_up_as_documented(seed):
    rows = vectors(seed=seed)
    first, second, own, rest = slow_rows(*rows, TEMPERATURE)
    torch.testing.assert_close(first, torch.log(own.exp() + rest.exp() - 1))
    assert (torch.maximum(own, rest) <= first + 1e-9).all()
    whole = contrastive.triplet_question_loss(*rows, temperature=TEMPERATURE)
    parts = contrastive.triplet_question_parts(*rows, temperature=TEMPERATURE)
    torch.testing.assert_close(parts, (own.mean(), (rest + second).mean()))
    assert whole <= parts[0] + parts[1]
    assert whole >= max(own.mean(), rest.mean()) + second.mean() - 1e-9


def test_the_in_batch_part_does_not_know_the_own_negative():
    """What a query learns from the in-batch part stays the same, whatever its own negative is."""
    query, positive, negative = vectors(2)
    in_batch = contrastive.triplet_question_parts(query, positive, negative, temperature=TEMPERATURE)[1]
    gradient = torch.autograd.grad(in_batch, query, retain_graph=True)[0]
    swapped = contrastive.triplet_question_parts(
        query, positive, torch.stack([-negative[0], negative[1]]), temperature=TEMPERATURE
    )[1]
    torch.testing.assert_close(torch.autograd.grad(swapped, query)[0][0], gradient[0])


def test_half_precision_is_raised_before_the_temperature_divides():
    rows = [vector.detach().bfloat16() for vector in vectors()]
    exact = LOSSES["triplet question"](*[row.double() for row in rows], 0.01)
    loss = LOSSES["triplet question"](*rows, 0.01)
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(float(exact), rel=1e-4)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("temperature", [0, -0.1, math.nan, math.inf])
def test_temperatures_that_are_none(name, temperature):
    with pytest.raises(ValueError, match="temperature="):
        LOSSES[name](*vectors(), temperature)


@pytest.mark.parametrize("name", [name for name in LOSSES if "without" not in name])
def test_shapes_that_do_not_fit(name):
    query, positive, negative = (vector.detach() for vector in vectors())
    loss = LOSSES[name]
    with pytest.raises(ValueError, match=r"positive has shape \(4, 8\)"):
        loss(query, positive[:4], negative, 0.1)
    with pytest.raises(ValueError, match=r"negative has shape \(5, 7\)"):
        loss(query, positive, negative[:, :7], 0.1)
    with pytest.raises(ValueError, match=r"query has shape \(8,\)"):
        loss(query[0], positive[0], negative[0], 0.1)
    with pytest.raises(ValueError, match=r"query has shape \(0, 8\)"):
        loss(query[:0], positive[:0], negative[:0], 0.1)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("name", LOSSES)
def test_values_that_are_not_finite(name, bad):
    query, positive, negative = (vector.detach().clone() for vector in vectors())
    positive[3, 2] = bad
    with pytest.raises(ValueError, match="positive has a value that is not finite in row 3"):
        LOSSES[name](query, positive, negative, 0.1)


class Stub(torch.nn.Module):
    """An encoder that gives back what it gets."""

    def forward(self, features):
        return {"sentence_embedding": features["rows"]}


@pytest.mark.parametrize(
    ("part", "name"), [("both", "triplet question"), *((p, p) for p in ("own triplet", "in batch"))]
)
def test_the_module_is_the_loss(part, name):
    rows = vectors()
    module = contrastive.TripletQuestionLoss(Stub(), 0.1, part)
    torch.testing.assert_close(module([{"rows": row} for row in rows]), LOSSES[name](*rows, 0.1))
    assert module.get_config_dict() == {"temperature": 0.1, "part": part}


def test_what_the_module_refuses():
    with pytest.raises(ValueError, match="did you mean 'in batch'"):
        contrastive.TripletQuestionLoss(Stub(), 0.1, "in-batch")
    with pytest.raises(ValueError, match="temperature=0"):
        contrastive.TripletQuestionLoss(Stub(), 0)
    with pytest.raises(ValueError, match="got 2 columns"):
        contrastive.TripletQuestionLoss(Stub(), 0.1)([{"rows": row} for row in vectors()[:2]])
