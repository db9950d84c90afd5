import itertools

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from helpers import batching

many_lengths = st.lists(st.integers(1, 60), max_size=60)
budgets = st.integers(1, 200)


def cost(lengths, batches):
    return sum(max(lengths[i] for i in batch) * len(batch) + batching.BATCH_OVERHEAD for batch in batches)


def naive(lengths, budget):
    """Sort, longest first, and fill each batch until the budget is reached."""
    batches = []
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if batches and (len(batches[-1]) + 1) * lengths[batches[-1][0]] <= budget:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches


def cheapest(lengths, budget):
    """Try every way of cutting the sorted list."""
    ordered, costs = sorted(lengths, reverse=True), []
    for places in itertools.product([False, True], repeat=len(ordered) - 1):
        bounds = [0, *(place for place, cut in enumerate(places, start=1) if cut), len(ordered)]
        runs = [ordered[start:end] for start, end in itertools.pairwise(bounds)]
        if all(len(run) == 1 or len(run) * run[0] <= budget for run in runs):
            costs.append(sum(len(run) * run[0] + batching.BATCH_OVERHEAD for run in runs))
    return min(costs)


@settings(deadline=None)
@given(lengths=many_lengths, budget=budgets)
def test_every_text_is_in_exactly_one_batch(lengths, budget):
    batches = batching.plan_batches(lengths, budget=budget)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert all(batches)


@settings(deadline=None)
@given(lengths=many_lengths, budget=budgets)
def test_the_budget_is_kept_unless_a_single_text_is_longer(lengths, budget):
    for batch in batching.plan_batches(lengths, budget=budget):
        assert len(batch) == 1 or len(batch) * max(lengths[index] for index in batch) <= budget


@settings(deadline=None)
@given(lengths=many_lengths, budget=budgets)
@example(lengths=[10] * 3 + [5] * 5, budget=20)  # the best cut is inside a group of equal lengths
def test_the_plan_never_costs_more_than_filling_batches_in_order(lengths, budget):
    plan = batching.plan_batches(lengths, budget=budget)
    assert cost(lengths, plan) <= cost(lengths, naive(lengths, budget))


@settings(deadline=None, max_examples=60)
@given(lengths=st.lists(st.integers(1, 90), min_size=1, max_size=9), budget=st.integers(1, 300))
@example(lengths=[10] * 3 + [5] * 5, budget=20)
def test_no_other_cut_of_the_sorted_texts_is_cheaper(lengths, budget):
    assert cost(lengths, batching.plan_batches(lengths, budget=budget)) == cheapest(lengths, budget)


@settings(deadline=None)
@given(count=st.integers(1, 50), length=st.integers(1, 30), budget=budgets)
def test_equal_lengths_need_as_few_passes_as_possible_and_no_padding(count, length, budget):
    batches = batching.plan_batches([length] * count, budget=budget)
    assert len(batches) == -(-count // max(1, budget // length))
    assert cost([length] * count, batches) == count * length + len(batches) * batching.BATCH_OVERHEAD


def test_the_longest_texts_come_first():
    lengths = [3, 80, 5, 200, 41]
    firsts = [lengths[batch[0]] for batch in batching.plan_batches(lengths, budget=100)]
    assert firsts == sorted(firsts, reverse=True)
    assert firsts[0] == 200


def test_equal_lengths_fill_the_first_batches():
    assert [len(batch) for batch in batching.plan_batches([10] * 7, budget=30)] == [3, 3, 1]


def test_far_lengths_are_kept_apart_and_near_ones_together():
    assert batching.plan_batches([100, 99, 4, 3], budget=1_000) == [[0, 1], [2, 3]]


def test_no_texts_make_no_batches():
    assert batching.plan_batches([], budget=10) == []


@pytest.mark.parametrize("budget", [0, -5])
def test_a_budget_below_one_is_refused(budget):
    with pytest.raises(ValueError, match=f"at least 1, got {budget}"):
        batching.plan_batches([3], budget=budget)


@pytest.mark.parametrize("length", [0, -1])
def test_a_text_without_tokens_is_refused_by_its_row(length):
    with pytest.raises(ValueError, match=rf"lengths\[1\] is {length}"):
        batching.plan_batches([3, length], budget=10)
