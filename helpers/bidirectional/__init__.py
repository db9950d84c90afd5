"""LLM2Vec: a decoder becomes an encoder by a switch, masked next-token prediction, and two contrastive stages.

The contrastive stages are trained by `helpers.contrastive`; here is what they need of a bidirectional decoder.
"""

from helpers.bidirectional.adapters import (
    adapter_checksum,
    add_adapter,
    attach_adapter,
    base_checksum,
    has_adapter,
    merged_adapters,
    write_adapter,
)
from helpers.bidirectional.architectures import REFUSED, REFUSED_LAYERS, RIGHT_PADDING_ONLY
from helpers.bidirectional.collator import MASK_TOKENS, MASKINGS, MNTPCollator, predicted, with_mask_token
from helpers.bidirectional.corpus import read_corpus, to_blocks, to_sentences
from helpers.bidirectional.dropout import set_attention_dropout, view_difference
from helpers.bidirectional.guard import check_bidirectional, decoder_of
from helpers.bidirectional.masks import Inputs, embed_texts, hidden_states, original_embed_mask, prepare
from helpers.bidirectional.merge import merge_adapter, merge_stack
from helpers.bidirectional.mntp import MNTPResult, train_mntp
from helpers.bidirectional.options import TrainingOptions
from helpers.bidirectional.scoring import MNTPScore, score_mntp
from helpers.bidirectional.switch import causal, complete, load_bidirectional, make_bidirectional, make_causal
from helpers.bidirectional.words import Tagging, look_up_tags, probe_tags, word_states

__all__ = [
    "MASKINGS",
    "MASK_TOKENS",
    "REFUSED",
    "REFUSED_LAYERS",
    "RIGHT_PADDING_ONLY",
    "Inputs",
    "MNTPCollator",
    "MNTPResult",
    "MNTPScore",
    "Tagging",
    "TrainingOptions",
    "adapter_checksum",
    "add_adapter",
    "attach_adapter",
    "base_checksum",
    "causal",
    "check_bidirectional",
    "complete",
    "decoder_of",
    "embed_texts",
    "has_adapter",
    "hidden_states",
    "load_bidirectional",
    "look_up_tags",
    "make_bidirectional",
    "make_causal",
    "merge_adapter",
    "merge_stack",
    "merged_adapters",
    "original_embed_mask",
    "predicted",
    "prepare",
    "probe_tags",
    "read_corpus",
    "score_mntp",
    "set_attention_dropout",
    "to_blocks",
    "to_sentences",
    "train_mntp",
    "view_difference",
    "with_mask_token",
    "word_states",
    "write_adapter",
]
