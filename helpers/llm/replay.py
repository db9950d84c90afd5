"""Backends that stand between a judge and its journal: one asks what is not filed yet, one never asks."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from helpers.llm.journal import Journal, answer_key
from helpers.llm.writing import Order, Written

Ask = Callable[[list[Any]], list[Any]]


class AskingError(ValueError):
    """Asking stopped before its end.

    Attributes:
        answered: What was answered until then: index of the prompt -> reply (or what was written).
    """

    def __init__(self, message: str, answered: Mapping[int, Any] | None = None) -> None:
        super().__init__(message)
        self.answered = dict(answered or {})


class _Filed:
    """The five ways of asking, each through `_answers`."""

    name: str
    revision: str
    settings: Mapping[str, Any]

    def reply(self, prompts: Sequence[str], *, max_tokens: int) -> list[str]:
        """Return the reply to each prompt."""

        def ask(texts: list[str]) -> list[str]:
            return self._backend("reply").reply(texts, max_tokens=max_tokens)

        return self._answers("reply", list(prompts), {"max_tokens": max_tokens}, ask)

    def write(self, orders: Sequence[Order]) -> list[Written]:
        """Return what was written for each order."""
        by_parts = {tuple(order.parts): order for order in orders}

        def ask(rows: list[list[str]]) -> list[dict[str, Any]]:
            try:
                written = self._backend("write").write([by_parts[tuple(row)] for row in rows])
            except AskingError as error:
                error.answered = {at: dataclasses.asdict(text) for at, text in error.answered.items()}
                raise
            return [dataclasses.asdict(text) for text in written]

        return [Written(**answer) for answer in self._answers("write", [order.parts for order in orders], {}, ask)]

    def option_logprobs(self, prompts: Sequence[str], options: Sequence[str]) -> np.ndarray:
        """Return the log-probability of each option after each prompt, ``(N, options)``."""

        def ask(texts: list[str]) -> list[list[float]]:
            return self._backend("option_logprobs").option_logprobs(texts, options).tolist()

        return np.array(self._answers("option", list(prompts), {"options": list(options)}, ask))

    def text_logprob(
        self, contexts: Sequence[str], continuations: Sequence[str], *, per_token: bool = False
    ) -> np.ndarray:
        """Return the log-probability of each continuation after its context, ``(N,)``."""

        def ask(pairs: list[list[str]]) -> list[float]:
            before, after = zip(*pairs, strict=True)
            return self._backend("text_logprob").text_logprob(before, after, per_token=per_token).tolist()

        pairs = [list(pair) for pair in zip(contexts, continuations, strict=True)]
        return np.array(self._answers("likelihood", pairs, {"per_token": per_token}, ask))

    def scores(self, prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        """Return the reward of each response to its prompt, ``(N,)``."""

        def ask(pairs: list[list[str]]) -> list[float]:
            return self._backend("scores").scores(*zip(*pairs, strict=True)).tolist()

        pairs = [list(pair) for pair in zip(prompts, responses, strict=True)]
        return np.array(self._answers("reward", pairs, {}, ask))

    def _keys(self, kind: str, texts: Sequence[Any], parameters: Mapping[str, Any]) -> list[str]:
        """Return the key of each text."""
        known = {"model": self.name, "revision": self.revision, "kind": kind}
        return [answer_key(**known, parameters={**self.settings, **parameters}, text=text) for text in texts]

    def _backend(self, method: str) -> Any:
        raise NotImplementedError

    def _answers(self, kind: str, texts: list[Any], parameters: Mapping[str, Any], ask: Ask) -> list[Any]:
        raise NotImplementedError


class Journalled(_Filed):
    """A backend whose answers go through a journal: filed ones are read, the others asked once and filed.

    Each call files what it was answered before it returns or raises, so the caller chooses how much a killed run can
    lose: the answers of one call.
    """

    def __init__(self, backend: Any, journal: Journal) -> None:
        self.backend, self.journal = backend, journal
        self.name, self.revision, self.settings = backend.name, backend.revision, backend.settings

    def _backend(self, method: str) -> Any:
        if not hasattr(self.backend, method):
            raise ValueError(f"{type(self.backend).__name__} {self.name!r} cannot judge this way: it has no {method}")
        return self.backend

    def _answers(self, kind: str, texts: list[Any], parameters: Mapping[str, Any], ask: Ask) -> list[Any]:
        """Read, ask and file."""
        self.journal.refresh()
        keys = self._keys(kind, texts, parameters)
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in self.journal}
        facts = {"kind": kind, "model": self.name, "revision": self.revision}
        facts |= {"settings": dict(self.settings), "parameters": dict(parameters)}

        def file(answers: Mapping[int, Any]) -> None:
            asked = list(missing)
            self.journal.put_all([(asked[at], answer, facts) for at, answer in answers.items()])

        if missing:
            try:
                file(dict(enumerate(ask(list(missing.values())))))
            except AskingError as error:
                file(error.answered)
                raise
        return [self.journal.get(key) for key in keys]


class Replay(_Filed):
    """Answers from a journal only, without a model.

    Args:
        journal: The journal.
        model: Whose answers to read; may be left out where the journal holds those of one model only.
        revision: Of which revision, likewise.

    Raises:
        ValueError: Where the journal holds no answers of this kind, or those of several models, with their names.
    """

    def __init__(self, journal: Journal, *, model: str | None = None, revision: str | None = None) -> None:
        sources = {
            json.dumps([facts["model"], facts["revision"], facts["settings"]], sort_keys=True)
            for facts in journal.facts()
            if {"model", "revision", "settings"} <= set(facts)
            and model in (None, facts["model"])
            and revision in (None, facts["revision"])
        }
        if len(sources) != 1:
            wanted = f"model={model!r}, revision={revision!r}"
            held = ", ".join(sorted(sources)) or "none"
            raise ValueError(f"{wanted} should name one source of answers in the journal; it holds: {held}")
        self.journal = journal
        self.name, self.revision, self.settings = json.loads(sources.pop())

    def _backend(self, method: str) -> Any:
        raise ValueError(f"a replay has no model that could be asked ({method})")

    def _answers(self, kind: str, texts: list[Any], parameters: Mapping[str, Any], ask: Ask) -> list[Any]:
        """Read; a missing answer is an error that counts."""
        keys = self._keys(kind, texts, parameters)
        missing = [text for key, text in zip(keys, texts, strict=True) if key not in self.journal]
        if missing:
            raise ValueError(
                f"{len(missing)} of {len(texts)} answers ({kind}, {dict(parameters)}) of {self.name} are missing from "
                f"the journal; the first: {str(missing[0])[:80]!r}"
            )
        return [self.journal.get(key) for key in keys]
