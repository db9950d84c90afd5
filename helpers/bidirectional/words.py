"""The states of words, for tasks that label each of them, and a linear tagger that reads them.

A model trained by masked next-token prediction tells what stands at position i in its state at i - 1. So what it knows
about a word is read one position earlier than the word itself; that of the first word, at the token before the text.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from helpers import batching, embedding
from helpers.bidirectional import masks

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclasses.dataclass(frozen=True)
class Tagging:
    """What a tagger did, every word tagged by one that had not seen its sentence.

    Attributes:
        accuracy: Share of words with the right tag, in percent.
        right: For each sentence the share of its words that are right, ``(S,)``: what a bootstrap over sentences needs.
        words: For each sentence its number of words, ``(S,)``.
    """

    accuracy: float
    right: np.ndarray
    words: np.ndarray


def word_states(
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    sentences: Sequence[str],
    *,
    shift: bool,
    batch_tokens: int = 4096,
) -> list[np.ndarray]:
    """Return the states of words: the mean over each word's tokens.

    Every sentence is read behind one special token (the tokenizer's first or last one), so that the first word has a
    position before it; and the model reads the same, with the shift and without.

    Args:
        model: A decoder without head, with or without adapter; in evaluation mode.
        tokenizer: A fast tokenizer.
        sentences: Words, punctuation included, with single spaces between.
        shift: Read each token one position earlier: for models trained by masked next-token prediction.
        batch_tokens: Most tokens in one forward pass.

    Returns:
        For each sentence ``(words, D)``, float32.

    Raises:
        ValueError: For a sentence that is empty or has other white space than single spaces.
    """
    embedding.check_texts(sentences)
    rows = [_tokens_of_words(tokenizer, sentence) for sentence in sentences]
    states: list[np.ndarray] = [np.empty(0)] * len(rows)
    for batch in batching.plan_batches([len(ids) for ids, _ in rows], budget=batch_tokens):
        ids, mask = embedding.pad([rows[index][0] for index in batch], pad_id=tokenizer.pad_token_id or 0, side="right")
        hidden = masks.hidden_states(model, masks.Inputs(ids, mask, mask)).numpy()  # (B, L, D)
        for index, found in zip(batch, hidden, strict=True):
            owners = rows[index][1]
            places = [np.flatnonzero(np.equal(owners, word)) - shift for word in range(max(owners) + 1)]
            states[index] = np.stack([found[place].mean(axis=0) for place in places])
    return states


def _tokens_of_words(tokenizer: PreTrainedTokenizerBase, sentence: str) -> tuple[list[int], list[int]]:
    """Return token ids behind a special token, and for each the number of its word (-1 for the special one)."""
    words = sentence.split(" ")
    if any(not word or word.split() != [word] for word in words):
        raise ValueError(f"the words of {sentence[:40]!r} should be parted by single spaces")
    found = tokenizer(sentence, add_special_tokens=False, return_offsets_mapping=True)
    ends = np.cumsum([len(word) + 1 for word in words]) - 1  # the place behind each word
    # A token may be, or begin with, the space before its word; so its last character tells whose it is.
    owners = [int(np.searchsorted(ends, end - 1, side="right")) for _, end in found["offset_mapping"]]
    missing = set(range(len(words))) - set(owners)
    if missing:
        raise ValueError(f"the tokenizer makes no token of its own for {words[min(missing)]!r} in {sentence[:40]!r}")
    first = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    return [first, *found["input_ids"]], [-1, *owners]


def probe_tags(
    states: Sequence[np.ndarray],
    tags: Sequence[Sequence[str]],
    *,
    folds: int = 5,
    seed: int = 0,
    strength: float = 0.01,
) -> Tagging:
    """Score a linear tagger on frozen states, by cross-validation over sentences.

    Args:
        states: For each sentence ``(words, D)``, of `word_states`.
        tags: For each sentence its tags.
        folds: No sentence is in two of them.
        seed: Of the folds.
        strength: scikit-learn's C: the inverse of the penalty, on standardised states.

    Raises:
        ValueError: For sentences whose states and tags differ in number, or fewer sentences than folds.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    _check_lengths(states, tags)

    def fit_predict(train: list[int], test: list[int]) -> np.ndarray:
        tagger = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=300))
        tagger.fit(np.concatenate([states[i] for i in train]), np.concatenate([list(tags[i]) for i in train]))
        return tagger.predict(np.concatenate([states[i] for i in test]))

    return _cross_validate(fit_predict, tags, folds, seed)


def look_up_tags(sentences: Sequence[str], tags: Sequence[Sequence[str]], *, folds: int = 5, seed: int = 0) -> Tagging:
    """Score the control: each word gets its most frequent tag in the other folds, and a new word the commonest tag.

    Args:
        sentences: As for `word_states`; case is ignored.
        tags: For each sentence its tags.
        folds: As for `probe_tags`, and the same ones for the same seed.
        seed: Of the folds.
    """
    words = [sentence.lower().split(" ") for sentence in sentences]
    _check_lengths(words, tags)

    def fit_predict(train: list[int], test: list[int]) -> np.ndarray:
        seen: dict[str, Counter] = {}
        for index in train:
            for word, tag in zip(words[index], tags[index], strict=True):
                seen.setdefault(word, Counter())[tag] += 1
        commonest = sum(seen.values(), Counter()).most_common(1)[0][0]
        found = [seen[word].most_common(1)[0][0] if word in seen else commonest for i in test for word in words[i]]
        return np.asarray(found)

    return _cross_validate(fit_predict, tags, folds, seed)


def _cross_validate(
    fit_predict: Callable[[list[int], list[int]], np.ndarray], tags: Sequence[Sequence[str]], folds: int, seed: int
) -> Tagging:
    """Tag the sentences of each fold with what was learnt from the others."""
    if not 2 <= folds <= len(tags):
        raise ValueError(f"folds={folds} should be from 2 to the number of sentences, {len(tags)}")
    right = np.empty(len(tags))
    order = np.random.default_rng(seed).permutation(len(tags))
    for fold in np.array_split(order, folds):
        test = fold.tolist()
        found = fit_predict(sorted(set(range(len(tags))) - set(test)), test)
        hits = found == np.concatenate([list(tags[index]) for index in test])
        cuts = np.cumsum([len(tags[index]) for index in test])[:-1]
        right[test] = [part.mean() for part in np.split(hits, cuts)]
    lengths = np.array([len(row) for row in tags])
    return Tagging(100.0 * float((right * lengths).sum() / lengths.sum()), right, lengths)


def _check_lengths(states: Sequence[Sequence], tags: Sequence[Sequence[str]]) -> None:
    """Raise a ValueError for the first sentence whose words and tags differ in number."""
    if len(states) != len(tags):
        raise ValueError(f"{len(states)} sentences and the tags of {len(tags)} do not match")
    for row, (words, own) in enumerate(zip(states, tags, strict=True)):
        if len(words) != len(own):
            raise ValueError(f"sentence {row} has {len(words)} words and {len(own)} tags")
