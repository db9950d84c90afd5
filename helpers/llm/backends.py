"""What answers: the interface of a judge, and a transformers model that fulfils it."""

from __future__ import annotations

import functools
import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import torch

from helpers import batching
from helpers.embedding import pad
from helpers.llm.scoring import Row, for_each_row
from helpers.llm.writing import Order, Writer, Written

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

logger = logging.getLogger(__name__)


@runtime_checkable
class Backend(Protocol):
    """What every judge has; some also have ``write``, ``option_logprobs``, ``text_logprob`` or ``scores``.

    Attributes:
        name: The model's name, for the journal and for records.
        revision: Which weights of that name.
        settings: What else answers depend on, as values that JSON can hold.
    """

    name: str
    revision: str
    settings: Mapping[str, Any]

    def reply(self, prompts: Sequence[str], *, max_tokens: int) -> list[str]:
        """Return what the model writes after each prompt, at most ``max_tokens`` tokens of it."""
        ...


class LocalModel:
    """A causal language model of transformers as a judge.

    Args:
        model: The model with its head, as ``models.load_decoder(name, head=True)`` returns it.
        tokenizer: Its tokenizer.
        name: Name for the journal; the last part of the place it was loaded from where None.
        revision: Revision for the journal; a fingerprint of the weights where None.
        chat: Put prompts for `reply` in the tokenizer's chat template; None does so where it has one. Prompts whose
            probabilities are read are never put in it: they stop in the middle of a sentence.
        temperature: 0 takes the most probable token; above it, tokens are drawn.
        seed: For drawing tokens. The draws of a batch depend on what is in it.
        batch_tokens: Most tokens in one forward pass.
        share_prefix: Run what inputs have in common at their beginning once.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        name: str | None = None,
        revision: str | None = None,
        chat: bool | None = None,
        temperature: float = 0.0,
        seed: int = 0,
        batch_tokens: int = 4096,
        share_prefix: bool = True,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.name = name or model_name(model)
        self.revision = revision or fingerprint(model)
        self.chat = bool(tokenizer.chat_template) if chat is None else chat
        if self.chat and not tokenizer.chat_template:
            raise ValueError(f"chat=True, but the tokenizer of {self.name} has no chat template")
        if temperature < 0:
            raise ValueError(f"temperature={temperature} should be 0 or more")
        self.temperature, self.seed = temperature, seed
        self.batch_tokens, self.share_prefix = batch_tokens, share_prefix
        template = hashlib.sha256(str(tokenizer.chat_template).encode()).hexdigest()[:12] if self.chat else None
        self.settings = {"chat": template, "temperature": temperature, "dtype": str(model.dtype)}
        if temperature:
            self.settings["seed"] = seed

    def reply(self, prompts: Sequence[str], *, max_tokens: int) -> list[str]:
        """Return what the model writes after each prompt, without its end mark."""
        if max_tokens < 1:
            raise ValueError(f"max_tokens={max_tokens} should be at least 1")
        inputs = self._cut([self._prompt_ids(prompt) for prompt in prompts], room=max_tokens)
        replies = [""] * len(prompts)
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            lengths = [len(ids) + max_tokens for ids in inputs]
            for batch in batching.plan_batches(lengths, budget=self.batch_tokens):
                written = self._generate([inputs[index] for index in batch], max_tokens)
                texts = self.tokenizer.batch_decode(written, skip_special_tokens=True)
                for index, text in zip(batch, texts, strict=True):
                    replies[index] = text
        return replies

    def write(self, orders: Sequence[Order]) -> list[Written]:
        """Return a text for each order; where it has a schema, no token is chosen that would break it."""
        inputs = [self._prompt_ids(order.prompt) for order in orders]
        room = max((order.max_tokens for order in orders), default=0)
        return self._writer.write(self._cut(inputs, room=room), orders)

    def option_logprobs(self, prompts: Sequence[str], options: Sequence[str]) -> np.ndarray:
        """Return the log-probability of each option as the continuation of each prompt, ``(N, options)``, float64.

        Options whose tokens differ only in the last one, such as ``" 1"`` and ``" 2"``, cost one input for each prompt.
        """
        endings = [self._ids(option) for option in options]
        if not all(endings):
            raise ValueError(f"an option is empty: {list(options)!r}")
        stems = list(dict.fromkeys(tuple(ids[:-1]) for ids in endings))
        contexts = [self._context_ids(prompt) for prompt in prompts]
        found = np.empty((len(prompts), len(options)))
        rows = [(context, stem) for context in contexts for stem in stems]

        def take(at: int, logits: torch.Tensor) -> None:
            prompt, stem = divmod(at, len(stems))
            for option, ids in enumerate(endings):
                if tuple(ids[:-1]) == stems[stem]:
                    found[prompt, option] = float(_chosen(logits, ids).sum())

        self._read(rows, take)
        return found

    def text_logprob(
        self, contexts: Sequence[str], continuations: Sequence[str], *, per_token: bool = False
    ) -> np.ndarray:
        """Return the log-probability of each continuation after its context, ``(N,)``, float64.

        Context and continuation are turned into tokens separately, so that the border between them is always the same.

        Args:
            contexts: What stands before.
            continuations: What is scored, one for each context.
            per_token: Return the mean over a continuation's tokens in place of their sum.
        """
        endings = [self._ids(text) for text in continuations]
        if not all(endings):
            raise ValueError(f"continuations[{[bool(ids) for ids in endings].index(False)}] is empty")
        before = {context: self._context_ids(context) for context in dict.fromkeys(contexts)}
        rows = [(before[context], ids[:-1]) for context, ids in zip(contexts, endings, strict=True)]
        found = np.empty(len(rows))

        def take(at: int, logits: torch.Tensor) -> None:
            chosen = _chosen(logits, endings[at])
            found[at] = float(chosen.mean() if per_token else chosen.sum())

        self._read(rows, take)
        return found

    def _read(
        self, pairs: Sequence[tuple[list[int], Sequence[int]]], take: Callable[[int, torch.Tensor], None]
    ) -> None:
        """Run each pair of context and continuation (without its last token), and hand on the logits after them."""
        inputs = self._cut([[*context, *ids] for context, ids in pairs], room=0)
        rows = [Row(tuple(ids), len(pair[1]) + 1) for ids, pair in zip(inputs, pairs, strict=True)]
        for row, wanted in zip(rows, pairs, strict=True):
            if len(row.ids) <= len(wanted[1]):
                raise ValueError(f"a continuation of {len(wanted[1])} tokens leaves no room for its context")
        options = {"batch_tokens": self.batch_tokens, "pad_id": self._pad_id, "share": self.share_prefix}
        for_each_row(self.model, rows, take, **options)

    @torch.inference_mode()
    def _generate(self, inputs: Sequence[Sequence[int]], max_tokens: int) -> torch.Tensor:
        """Return new tokens, ``(B, max_tokens)`` or fewer; padding on the left, so that all replies begin together."""
        ids, mask = (part.to(self.model.device) for part in pad(inputs, pad_id=self._pad_id, side="left"))
        drawing = {"do_sample": True, "temperature": self.temperature} if self.temperature else {"do_sample": False}
        plain = {"temperature": None, "top_p": None, "top_k": None}
        output = self.model.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=max_tokens,
            pad_token_id=self._pad_id,
            **(plain | drawing),
        )
        return output[:, ids.shape[1] :]

    @functools.cached_property
    def _writer(self) -> Writer:
        how = {"temperature": self.temperature, "seed": self.seed, "batch_tokens": self.batch_tokens}
        return Writer(self.model, self.tokenizer, pad_id=self._pad_id, **how)

    @property
    def _pad_id(self) -> int:
        return self.tokenizer.pad_token_id or 0

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]

    def _context_ids(self, text: str) -> list[int]:
        """Return a context's tokens, with the mark that begins a text where the tokenizer adds one."""
        ids = self.tokenizer(text, verbose=False)["input_ids"]
        # Some tokenizers also add an end mark; nothing can follow that.
        ids = ids[:-1] if ids and ids[-1] == self.tokenizer.eos_token_id and text else ids
        if not ids:
            raise ValueError(f"the context {text!r} has no tokens; probabilities need something to stand after")
        return ids

    def _prompt_ids(self, prompt: str) -> list[int]:
        """Return a prompt's tokens, in the chat template where there is one (which writes its own marks)."""
        if not self.chat:
            return self._context_ids(prompt)
        turns = [{"role": "user", "content": prompt}]
        return self._ids(self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))

    def _cut(self, inputs: list[list[int]], *, room: int) -> list[list[int]]:
        """Cut inputs at their beginning so that they fit the model's window; a warning counts the cuts."""
        window = getattr(self.model.config, "max_position_embeddings", None) or 10**9
        if window - room < 1:
            raise ValueError(f"max_tokens={room} leaves no room in the model's window of {window} tokens")
        too_long = sum(len(ids) > window - room for ids in inputs)
        if too_long:
            logger.warning("%d of %d inputs were cut to %d tokens", too_long, len(inputs), window - room)
        return [ids[-(window - room) :] for ids in inputs]


def _chosen(logits: torch.Tensor, ids: Sequence[int]) -> torch.Tensor:
    """Return the log-probabilities of tokens, ``(k,)`` float64, from float32 logits ``(k, V)`` before each of them."""
    at = torch.tensor(ids, device=logits.device)[:, None]
    return (logits.gather(1, at)[:, 0] - logits.logsumexp(dim=1)).double()


def model_name(model: PreTrainedModel) -> str:
    """Return a name without the folders of this machine."""
    return Path(getattr(model.config, "name_or_path", "") or type(model).__name__).name


def fingerprint(model: PreTrainedModel) -> str:
    """Return twelve hexadecimal digits that change with the weights: of some 64 values of each tensor."""
    digest = hashlib.sha256()
    for key, weights in model.state_dict().items():
        some = weights.flatten()[:: max(1, weights.numel() // 64)].float().tolist()
        digest.update(repr((key, tuple(weights.shape), some)).encode())
    return f"weights {digest.hexdigest()[:12]}"
