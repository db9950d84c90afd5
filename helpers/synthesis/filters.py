"""Which answers become examples: eight filters in a fixed order, each counted.

The order of `FILTERS` goes from cheap to dear; an answer is counted under the first filter that it does not pass.
Near-duplicates are looked for among what has passed until there, and the encoder reads only what is left.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from helpers.llm import Order, Written
from helpers.synthesis.asking import Request
from helpers.synthesis.detecting import is_wrong_language
from helpers.synthesis.duplicates import Seen
from helpers.synthesis.examples import Example
from helpers.synthesis.parsing import ParseError, parse
from helpers.synthesis.taxonomy import group_named
from helpers.synthesis.words import contains, ngrams, words

FILTERS = (
    "truncated", "invalid", "copied from the prompt", "query copied", "label in the text", "wrong language",
    "near-duplicate", "no closer than the negative",
)  # fmt: skip
COPIED = 8  # words in a row that no text has in common with its prompt by chance
QUERY = 3  # words of an anchor from which on its presence in a document counts as copied

Encode = Callable[[Sequence[str]], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Dropped:
    """An answer that did not pass.

    Attributes:
        request: What was asked.
        text: What was written.
        filter: Which filter it did not pass.
        why: What was found.
    """

    request: Request
    text: str
    filter: str
    why: str


@dataclasses.dataclass
class Toll:
    """How many answers each filter took.

    Attributes:
        asked: Group -> answers looked at.
        taken: Group -> filter -> answers that it took.
        tokens: ``prompt`` and ``reply`` -> tokens read and written, as far as they were counted.
    """

    asked: Counter[str] = dataclasses.field(default_factory=Counter)
    taken: dict[str, Counter[str]] = dataclasses.field(default_factory=dict)
    tokens: Counter[str] = dataclasses.field(default_factory=Counter)

    def ask(self, answer: Answer) -> None:
        """Count an answer that is looked at."""
        self.asked[answer.request.group] += 1
        self.tokens["prompt"] += answer.written.prompt_tokens or 0
        self.tokens["reply"] += answer.written.tokens or 0

    def take(self, group: str, name: str) -> None:
        """Count an answer that a filter took."""
        self.taken.setdefault(group, Counter())[name] += 1

    def add(self, other: Toll) -> None:
        """Add another toll to this one."""
        self.asked += other.asked
        self.tokens += other.tokens
        for group, counts in other.taken.items():
            self.taken[group] = self.taken.get(group, Counter()) + counts

    def table(self) -> list[dict[str, str | int | float]]:
        """Return a row for each filter, in order: what it took of each group and of all, and the share that is left."""
        groups, asked = list(self.asked), sum(self.asked.values())
        left, rows = asked, []
        for name in FILTERS:
            counts = {group: self.taken.get(group, Counter())[name] for group in groups}
            left -= sum(counts.values())
            rows.append({"filter": name, **counts, "all": sum(counts.values()), "left": left / asked if asked else 0.0})
        return rows

    @property
    def kept(self) -> int:
        """How many answers passed all filters."""
        return sum(self.asked.values()) - sum(sum(counts.values()) for counts in self.taken.values())

    def as_json(self) -> dict[str, Any]:
        """Return the toll as values that JSON can hold."""
        taken = {group: dict(counts) for group, counts in self.taken.items()}
        return {"asked": dict(self.asked), "taken": taken, "tokens": dict(self.tokens)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Toll:
        """Return the toll that `as_json` turned into values."""
        taken = {group: Counter(counts) for group, counts in values["taken"].items()}
        return cls(Counter(values["asked"]), taken, Counter(values["tokens"]))


@dataclasses.dataclass(frozen=True)
class Answer:
    """A request, the order that was sent for it, and what was written."""

    request: Request
    order: Order
    written: Written


def sift(
    answers: Iterable[Answer], *, model: str, revision: str, seen: Seen, encode: Encode | None = None
) -> tuple[list[Example], list[Dropped], Toll]:
    """Return the examples that pass all filters, what was dropped and why, and the toll.

    Args:
        answers: What was written, in the order in which near-duplicates are decided: the first one stays.
        model: Name of the model that wrote it.
        revision: Its revision.
        seen: Earlier texts, among which near-duplicates are looked for; what passes is added.
        encode: Turns texts into vectors ``(N, D)`` for the last filter, which is left out where it is None.
    """
    dropped: list[Dropped] = []
    passed: list[tuple[Example, str]] = []
    toll = Toll()
    for answer in answers:
        toll.ask(answer)
        found = _first_problem(answer, model, revision, seen)
        if isinstance(found, Example):
            passed.append((found, answer.written.text))
        else:
            dropped.append(Dropped(answer.request, answer.written.text, *found))
    far = _not_closer([example for example, _ in passed], encode) if encode else {}
    kept = [example for at, (example, _) in enumerate(passed) if at not in far]
    dropped += [Dropped(passed[at][0].request, passed[at][1], FILTERS[-1], why) for at, why in far.items()]
    for one in dropped:
        toll.take(one.request.group, one.filter)
    return kept, dropped, toll


def _first_problem(answer: Answer, model: str, revision: str, seen: Seen) -> Example | tuple[str, str]:
    """Return the example, or the first filter before the encoder that it does not pass, and why."""
    if not answer.written.finished:
        return "truncated", f"cut after {answer.order.max_tokens} tokens"
    try:
        fields = parse(answer.written.text, answer.request.keys)
    except ParseError as error:
        return "invalid", str(error)
    example = Example(answer.request, fields, model, revision)
    for name, problem in (
        ("truncated", _at_its_limit(fields, answer.order.schema)),
        ("copied from the prompt", _copied_from_prompt(example)),
        ("query copied", _copied_query(example)),
        ("label in the text", _told_label(example)),
        ("wrong language", _wrong_language(example)),
    ):
        if problem:
            return name, problem
    near = seen.add(answer.request.id, f"{example.anchor}\n{example.positive}")
    return ("near-duplicate", f"of {near}") if near else example


def _at_its_limit(fields: Mapping[str, str], schema: Mapping[str, Any] | None) -> str:
    """Say which field is exactly as long as its schema permits: it was cut (a last space may have been stripped)."""
    for key, text in fields.items():
        limit = schema["properties"].get(key, {}).get("maxLength") if schema else None
        if limit is not None and len(text) in (limit - 1, limit):
            return f"{key!r} ends at its longest, {limit} characters"
    return ""


def _copied_from_prompt(example: Example) -> str:
    """Say which field has eight words in a row from the prompt, or consists of four or more of its words."""
    prompt = words(example.request.prompt)
    runs = set(ngrams(prompt, COPIED))
    for key in group_named(example.request.group).keys:
        own = words(example.fields[key])
        if runs.intersection(ngrams(own, COPIED)) or (len(own) > QUERY and contains(prompt, own)):
            return f"{key!r} repeats the prompt"
    return ""


def _copied_query(example: Example) -> str:
    """Say which texts are the same, or which document holds the anchor."""
    anchor, positive, negative = (words(text) for text in (example.anchor, example.positive, example.negative))
    for name, text in {"positive": positive, "negative": negative}.items():
        if text and (text == anchor or (len(anchor) >= QUERY and contains(text, anchor))):
            return f"the {name} holds the anchor"
    return "positive and negative are the same" if positive == negative else ""


def _told_label(example: Example) -> str:
    """Say whether the text of a classification holds its label."""
    if example.request.group != "long-short":
        return ""
    return "the label stands in the text" if contains(words(example.anchor), words(example.positive)) else ""


def _wrong_language(example: Example) -> str:
    """Say which field is not in the language that it should be in."""
    for key, language in example.request.languages.items():
        if is_wrong_language(example.fields[key], language):
            return f"{key!r} is not in {language}"
    return ""


def _not_closer(examples: Sequence[Example], encode: Encode) -> dict[int, str]:
    """Return the examples whose positive is no closer to the anchor than their negative, by cosine similarity."""
    rows = [at for at, example in enumerate(examples) if example.negative]
    if not rows:
        return {}
    texts = [text for at in rows for text in (examples[at].anchor, examples[at].positive, examples[at].negative)]
    vectors = np.asarray(encode(texts), dtype=np.float64)
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).reshape(len(rows), 3, -1)  # (n, 3, D)
    to_positive, to_negative = np.einsum("nd,nkd->kn", vectors[:, 0], vectors[:, 1:])
    return {
        at: f"positive at {near:.3f}, negative at {far:.3f}"
        for at, near, far in zip(rows, to_positive, to_negative, strict=True)
        if near <= far
    }
