"""InfoNCE as a module that sentence-transformers' trainer takes: on a batch, over all processes, or in pieces."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from sentence_transformers.sentence_transformer.losses import CachedMultipleNegativesRankingLoss
from sentence_transformers.util import all_gather_with_grad, cos_sim
from torch import Tensor, nn

from helpers.contrastive import processes
from helpers.contrastive.losses import check_temperature, info_nce

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from helpers.contrastive.decoder_recipes import DecoderRecipe


class InfoNCELoss(nn.Module):
    """`info_nce` on columns of tokens: anchor, positive, and the hard negative where there is one.

    Where several processes train together, each has a part of the batch. Their vectors are gathered with gradients, so
    that every process has the loss of the whole batch and the average of their gradients is its gradient.

    Args:
        model: The encoder to train.
        temperature: τ, above 0.
        symmetric: Take the mean with the other direction: find the own anchor of each positive among all anchors.

    Raises:
        ValueError: For a temperature that is not above 0.
    """

    def __init__(self, model: SentenceTransformer, temperature: float, *, symmetric: bool = False) -> None:
        super().__init__()
        self.model = model
        self.temperature = check_temperature(temperature)
        self.symmetric = symmetric

    def forward(self, features: Iterable[dict[str, Tensor]], labels: Tensor | None = None) -> Tensor:
        """Return the loss of one batch.

        Args:
            features: Tokens of two or three columns: anchor, positive, perhaps negative.
            labels: Not used: the place in the row is the label.

        Raises:
            ValueError: For another number of columns.
        """
        columns = list(features)
        if len(columns) not in (2, 3):
            raise ValueError(f"got {len(columns)} columns of texts; there should be anchor, positive, perhaps negative")
        vectors = [self.model(column)["sentence_embedding"] for column in columns]  # 2 or 3 × (B, D)
        if processes.count() > 1:
            vectors = [all_gather_with_grad(rows) for rows in vectors]  # (processes · B, D) each
        loss = info_nce(*vectors, temperature=self.temperature)
        if self.symmetric:
            loss = (loss + info_nce(vectors[1], vectors[0], temperature=self.temperature)) / 2
        return loss

    def get_config_dict(self) -> dict[str, Any]:
        """Return the settings, which sentence-transformers puts into model cards."""
        return {"temperature": self.temperature, "symmetric": self.symmetric}


def loss_of(model: SentenceTransformer, recipe: DecoderRecipe) -> nn.Module:
    """Return the loss of a recipe: `InfoNCELoss`, or the same with gradient caching where it has small batches.

    Gradient caching (Gao et al. 2021, arXiv 2101.06983) encodes the batch in pieces without gradients, keeps the
    gradient of the loss with respect to each vector, and encodes each piece once more to hand it on. The memory is
    that of one piece; the gradient is that of the whole batch.
    """
    if recipe.mini_batch_size is None:
        return InfoNCELoss(model, recipe.temperature, symmetric=recipe.symmetric)
    return CachedMultipleNegativesRankingLoss(
        model,
        scale=1 / recipe.temperature,
        similarity_fct=_cosines,
        mini_batch_size=recipe.mini_batch_size,
        gather_across_devices=processes.count() > 1,
        directions=("query_to_doc", "doc_to_query") if recipe.symmetric else ("query_to_doc",),
        partition_mode="per_direction" if recipe.symmetric else "joint",
    )


def _cosines(left: Tensor, right: Tensor) -> Tensor:
    """Return the cosine of each row with each row, in float32: half precision is noise under a small temperature."""
    return cos_sim(left.float(), right.float())
