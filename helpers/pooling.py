"""From the hidden states of a text's tokens to one vector."""

from __future__ import annotations

import torch

from helpers import settings

POOLINGS = ("mean", "weighted_mean", "last", "eos", "first", "mask")


def check_pooling(pooling: str) -> str:
    """Return the name, or raise a ValueError with the names that exist."""
    if pooling not in POOLINGS:
        raise ValueError(f"unknown pooling {pooling!r}; {settings.nearest(pooling, POOLINGS)}")
    return pooling


def token_weights(mask: torch.Tensor, pooling: str) -> torch.Tensor:
    """Return the weight of each token in the vector of its text; each row sums to 1.

    Args:
        mask: ``(B, L)``, 1 at tokens that count and 0 at padding, on either side. For ``mask`` pooling, 1 at the
            mask token only.
        pooling: ``mean``; ``weighted_mean`` (token t of n gets t / (1 + … + n), as SGPT, arXiv 2202.08904); ``last``
            or ``eos`` (the last token that counts); ``first``; ``mask``.

    Returns:
        ``(B, L)``, float32.

    Raises:
        ValueError: For an unknown pooling, or a row without a token.
    """
    check_pooling(pooling)
    mask = mask.float()  # (B, L)
    position = mask.cumsum(dim=1) * mask  # (B, L): 1, 2, …, n over the tokens that count, 0 at padding
    count = mask.sum(dim=1, keepdim=True)  # (B, 1)
    if (count == 0).any():
        raise ValueError(f"row {int((count == 0).nonzero()[0, 0])} has no token to pool with {pooling!r}")
    if pooling == "weighted_mean":
        return position / position.sum(dim=1, keepdim=True)
    if pooling in ("last", "eos"):
        return (position == count).float()
    if pooling == "first":
        return (position == 1).float()
    return mask / count


def pool(hidden: torch.Tensor, mask: torch.Tensor, pooling: str) -> torch.Tensor:
    """Return one float32 vector for each text: the weighted sum of its tokens' hidden states.

    Args:
        hidden: ``(B, L, D)``, any floating type.
        mask: ``(B, L)``, as for `token_weights`.
        pooling: As for `token_weights`.

    Returns:
        ``(B, D)``, float32.
    """
    weights = token_weights(mask, pooling)  # (B, L)
    # Padding may hold anything, even NaN (a row of attention without a key), and 0 * NaN is NaN.
    hidden = hidden.float().masked_fill(weights.unsqueeze(-1) == 0, 0.0)  # (B, L, D)
    return torch.einsum("bl,bld->bd", weights, hidden)
