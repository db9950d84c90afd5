import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sentence_transformers.models import Pooling

from helpers import pooling

THEIRS = {"mean": "mean", "weighted_mean": "weightedmean", "last": "lasttoken", "eos": "lasttoken", "first": "cls"}


def masks(counts, side, length=9):
    rows = [[1] * count + [0] * (length - count) for count in counts]
    return torch.tensor([row[::-1] if side == "left" else row for row in rows])


def random_hidden(mask, seed=0):
    return torch.randn(*mask.shape, 5, generator=torch.Generator().manual_seed(seed))


def loop(states, name):
    """Pool the states of one text, padding already taken away."""
    if name == "weighted_mean":
        return sum(t * state for t, state in enumerate(states, start=1)) / sum(range(1, len(states) + 1))
    return {"first": states[0], "last": states[-1], "eos": states[-1]}.get(name, sum(states) / len(states))


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("name", pooling.POOLINGS)
def test_each_pooling_equals_a_plain_loop(name, side):
    mask = masks([1, 4, 9, 6], side)
    hidden = random_hidden(mask)
    expected = torch.stack([loop(list(h[m.bool()]), name) for h, m in zip(hidden, mask, strict=True)])
    torch.testing.assert_close(pooling.pool(hidden, mask, name), expected)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("name", THEIRS)
@pytest.mark.parametrize("seed", range(3))
def test_pooling_equals_sentence_transformers(name, side, seed):
    mask = masks([2, 9, 1, 5], side)
    hidden = random_hidden(mask, seed)
    theirs = Pooling(5, pooling_mode=THEIRS[name])({"token_embeddings": hidden, "attention_mask": mask})
    torch.testing.assert_close(pooling.pool(hidden, mask, name), theirs["sentence_embedding"])


@pytest.mark.parametrize("junk", [1e30, float("inf"), float("nan")])
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("name", pooling.POOLINGS)
def test_what_padding_holds_has_no_influence(name, side, junk):
    mask = masks([3, 9, 1], side)
    hidden = random_hidden(mask)
    spoilt = hidden.masked_fill(mask.unsqueeze(-1) == 0, junk)
    assert torch.equal(pooling.pool(spoilt, mask, name), pooling.pool(hidden, mask, name))


def test_mask_pooling_reads_the_marked_tokens_wherever_they_are():
    hidden = random_hidden(torch.ones(2, 6))
    mask = torch.tensor([[0, 0, 1, 0, 0, 0], [0, 1, 0, 0, 1, 0]])
    expected = torch.stack([hidden[0, 2], (hidden[1, 1] + hidden[1, 4]) / 2])
    torch.testing.assert_close(pooling.pool(hidden, mask, "mask"), expected)


def test_weighted_mean_gives_later_tokens_more():
    weights = pooling.token_weights(torch.tensor([[0, 1, 1, 1], [1, 1, 0, 0]]), "weighted_mean")
    torch.testing.assert_close(weights, torch.tensor([[0, 1 / 6, 2 / 6, 3 / 6], [1 / 3, 2 / 3, 0, 0]]))


@settings(max_examples=60, deadline=None)
@given(
    mask=st.lists(st.lists(st.booleans(), min_size=7, max_size=7).filter(any), min_size=1, max_size=5),
    name=st.sampled_from(pooling.POOLINGS),
)
def test_weights_sum_to_one_and_are_zero_at_padding(mask, name):
    mask = torch.tensor(mask).long()
    weights = pooling.token_weights(mask, name)
    assert weights.dtype == torch.float32
    assert (weights >= 0).all()
    assert (weights[mask == 0] == 0).all()
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(len(mask)))


@settings(max_examples=30, deadline=None)
@given(count=st.integers(1, 9), name=st.sampled_from(pooling.POOLINGS), value=st.floats(-100, 100, width=32))
def test_equal_states_pool_to_that_state(count, name, value):
    pooled = pooling.pool(torch.full((1, 9, 2), value), masks([count], "left"), name)
    torch.testing.assert_close(pooled, torch.full((1, 2), value))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("name", pooling.POOLINGS)
def test_any_precision_is_summed_and_returned_in_float32(name, dtype):
    mask = masks([4, 9], "right")
    hidden = random_hidden(mask).to(dtype)
    pooled = pooling.pool(hidden, mask, name)
    assert pooled.dtype == torch.float32
    assert torch.equal(pooled, pooling.pool(hidden.float(), mask, name))


def test_half_precision_does_not_overflow():
    hidden = torch.full((1, 9, 2), 60_000.0, dtype=torch.float16)
    torch.testing.assert_close(pooling.pool(hidden, torch.ones(1, 9), "mean"), torch.full((1, 2), 60_000.0))


@pytest.mark.parametrize("name", pooling.POOLINGS)
def test_a_row_without_tokens_is_named(name):
    mask = torch.tensor([[1, 1], [0, 0], [1, 0]])
    with pytest.raises(ValueError, match=f"row 1 has no token.*{name}"):
        pooling.pool(torch.zeros(3, 2, 4), mask, name)


def test_an_unknown_pooling_is_refused_with_the_nearest_name():
    with pytest.raises(ValueError, match=r"unknown pooling 'weigthed_mean'; did you mean 'weighted_mean'\?"):
        pooling.check_pooling("weigthed_mean")
    with pytest.raises(ValueError, match=r"unknown pooling 'max'.*eos, first, last, mask, mean, weighted_mean"):
        pooling.token_weights(torch.ones(1, 2), "max")
