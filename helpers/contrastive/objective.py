"""The loss for triplet questions as a module that sentence-transformers' trainer takes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from helpers.contrastive.losses import check_part, check_temperature, triplet_question_loss, triplet_question_parts

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


class TripletQuestionLoss(nn.Module):
    """`triplet_question_loss`, or one of its parts, on columns of tokens: anchor, positive, negative.

    Args:
        model: The encoder to train.
        temperature: τ, above 0.
        part: ``both`` (the loss as published), ``own triplet`` or ``in batch`` (see `triplet_question_parts`).

    Raises:
        ValueError: For an unknown part, or a temperature that is not above 0.
    """

    def __init__(self, model: SentenceTransformer, temperature: float, part: str = "both") -> None:
        super().__init__()
        self.model = model
        self.temperature = check_temperature(temperature)
        self.part = check_part(part)

    def forward(self, features: Iterable[dict[str, Tensor]], labels: Tensor | None = None) -> Tensor:
        """Return the loss of one batch.

        Args:
            features: Tokens of the three columns, in the order anchor, positive, negative.
            labels: Not used: the place in the triplet is the label.

        Raises:
            ValueError: For another number of columns than three.
        """
        columns = list(features)
        if len(columns) != 3:
            raise ValueError(f"got {len(columns)} columns of texts; there should be three: anchor, positive, negative")
        vectors = [self.model(column)["sentence_embedding"] for column in columns]  # 3 × (B, D)
        if self.part == "both":
            return triplet_question_loss(*vectors, temperature=self.temperature)
        own_triplet, in_batch = triplet_question_parts(*vectors, temperature=self.temperature)
        return own_triplet if self.part == "own triplet" else in_batch

    def get_config_dict(self) -> dict[str, Any]:
        """Return the settings, which sentence-transformers puts into model cards."""
        return {"temperature": self.temperature, "part": self.part}
