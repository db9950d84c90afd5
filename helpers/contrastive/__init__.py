"""Contrastive learning: the losses, and training encoders and decoders with them."""

from helpers.contrastive.adapter_files import AdapterCard, LoadedAdapter, adapter_names, load_adapter, save_adapter
from helpers.contrastive.adapters import (
    LoraOptions,
    adapter_weights,
    add_lora,
    merge,
    set_adapter,
    trainable_parameters,
)
from helpers.contrastive.decoder import TrainedDecoder, train_decoder
from helpers.contrastive.decoder_recipes import DecoderRecipe
from helpers.contrastive.decoder_table import DECODER_RECIPES, decoder_recipe
from helpers.contrastive.encoder import train_encoder
from helpers.contrastive.encoding import encode_with
from helpers.contrastive.exporting import as_sentence_transformer, fill_query
from helpers.contrastive.learning import learned_vectors
from helpers.contrastive.losses import PARTS, info_nce, triplet_question_loss, triplet_question_parts
from helpers.contrastive.objective import TripletQuestionLoss
from helpers.contrastive.recipes import RECIPES, Recipe, recipe_named

__all__ = [
    "DECODER_RECIPES",
    "PARTS",
    "RECIPES",
    "AdapterCard",
    "DecoderRecipe",
    "LoadedAdapter",
    "LoraOptions",
    "Recipe",
    "TrainedDecoder",
    "TripletQuestionLoss",
    "adapter_names",
    "adapter_weights",
    "add_lora",
    "as_sentence_transformer",
    "decoder_recipe",
    "encode_with",
    "fill_query",
    "info_nce",
    "learned_vectors",
    "load_adapter",
    "merge",
    "recipe_named",
    "save_adapter",
    "set_adapter",
    "train_decoder",
    "train_encoder",
    "trainable_parameters",
    "triplet_question_loss",
    "triplet_question_parts",
]
