"""A reward model as a judge: it does not write, it says how good an answer to a prompt is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from helpers import batching, prompts
from helpers.embedding import pad
from helpers.llm.backends import fingerprint, model_name

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class RewardModel:
    """A sequence classifier with one output: a scalar for each text, read at its last token.

    Args:
        model: ``AutoModelForSequenceClassification`` with one output; `load_reward` also makes one of the layout of
            Starling-RM-7B-alpha.
        tokenizer: Its tokenizer, with a padding token that the model's configuration knows.
        name: Name for the journal; the last part of the place it was loaded from where None.
        revision: Revision for the journal; a fingerprint of the weights where None.
        template: How prompt and response are put together; marks in it are read as tokens.
        batch_tokens: Most tokens in one forward pass.

    Raises:
        ValueError: For a model with another number of outputs, or without a padding token.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        name: str | None = None,
        revision: str | None = None,
        template: str = prompts.STARLING_REWARD,
        batch_tokens: int = 4096,
    ) -> None:
        if model.config.num_labels != 1:
            raise ValueError(f"a reward model has 1 output, this one has {model.config.num_labels}")
        if tokenizer.pad_token_id is None or model.config.pad_token_id != tokenizer.pad_token_id:
            raise ValueError(
                f"the model's pad_token_id={model.config.pad_token_id} should be the tokenizer's, "
                f"{tokenizer.pad_token_id}: the score is read at the last token that is not padding"
            )
        self.model, self.tokenizer = model, tokenizer
        self.name = name or model_name(model)
        self.revision = revision or fingerprint(model)
        self.template, self.batch_tokens = template, batch_tokens
        self.settings = {"template": template, "dtype": str(model.dtype)}

    @torch.inference_mode()
    def scores(self, prompts_asked: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        """Return the reward of each response to its prompt, ``(N,)``, float64; only differences have a meaning."""
        pairs = zip(prompts_asked, responses, strict=True)
        texts = [prompts.reward_text(prompt, response, template=self.template) for prompt, response in pairs]
        window = getattr(self.model.config, "max_position_embeddings", None)
        inputs = [
            ids[-window:] if window else ids
            for ids in self.tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
        ]
        found = np.empty(len(texts))
        for batch in batching.plan_batches([len(ids) for ids in inputs], budget=self.batch_tokens):
            chosen = [inputs[index] for index in batch]
            ids, mask = (part.to(self.model.device) for part in pad(chosen, pad_id=self._pad_id, side="right"))
            found[batch] = self.model(input_ids=ids, attention_mask=mask).logits[:, 0].double().cpu().numpy()
        return found

    @property
    def _pad_id(self) -> int:
        return self.tokenizer.pad_token_id


def load_reward(folder: str | Path) -> PreTrainedModel:
    """Load a reward model from a folder with ``config.json`` and safetensors, in float32.

    Starling-RM-7B-alpha is a Llama-2 whose head is a linear layer ``v_head`` without bias beside the body
    ``transformer``: the same weights as those of a Llama with one class, under other names. Both are read.

    Raises:
        FileNotFoundError: Where the folder holds no safetensors.
        ValueError: Where weights are missing or unknown, with their names.
    """
    from safetensors.torch import load_file
    from transformers import AutoConfig, AutoModelForSequenceClassification

    folder = Path(folder)
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise FileNotFoundError(f"there are no *.safetensors in {folder.name}; weights of other formats are not read")
    config = AutoConfig.from_pretrained(folder, num_labels=1, trust_remote_code=False)
    model = AutoModelForSequenceClassification.from_config(config, dtype=torch.float32)
    weights = {key: value for file in files for key, value in load_file(file).items()}
    result = model.load_state_dict(classifier_names(weights), strict=False)
    if result.missing_keys or result.unexpected_keys:
        raise ValueError(
            f"{folder.name} is no reward model of this layout: missing {result.missing_keys[:3]}, "
            f"unknown {result.unexpected_keys[:3]}"
        )
    return model.eval()


def classifier_names(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Give the weights of Starling-RM's layout the names of a sequence classifier; others keep theirs."""
    if "v_head.weight" not in weights:
        return dict(weights)
    renamed = {"score.weight": weights["v_head.weight"]}
    for key, value in weights.items():
        if key.startswith("transformer."):
            renamed["model." + key.removeprefix("transformer.")] = value
    return renamed
