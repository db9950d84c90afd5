"""Contrastive learning: the losses, and training an encoder on triplets with them."""

from helpers.contrastive.encoder import train_encoder
from helpers.contrastive.encoding import encode_with
from helpers.contrastive.learning import learned_vectors
from helpers.contrastive.losses import PARTS, info_nce, triplet_question_loss, triplet_question_parts
from helpers.contrastive.objective import TripletQuestionLoss
from helpers.contrastive.recipes import RECIPES, Recipe, recipe_named

__all__ = [
    "PARTS",
    "RECIPES",
    "Recipe",
    "TripletQuestionLoss",
    "encode_with",
    "info_nce",
    "learned_vectors",
    "recipe_named",
    "train_encoder",
    "triplet_question_loss",
    "triplet_question_parts",
]
