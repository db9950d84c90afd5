"""The book's own sentence pairs are what their card says."""

import hashlib
import json
import re
from collections import Counter

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from helpers import settings

FOLDER = settings.DATA / "sts"
SPLITS = {
    split: [json.loads(line) for line in (FOLDER / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()]
    for split in ("validation", "test")
}
PAIRS = [row for rows in SPLITS.values() for row in rows]
GENRES = ("captions", "how-to", "news", "questions")
KINDS = ("plain", "overlap", "no_shared", "negation", "number", "role")
CARD = (FOLDER / "README.md").read_text(encoding="utf-8")
LEVELS = [round(step / 5, 1) for step in range(26)]
COUNTED = r"\b(?:\d[\d.,:]*|one|two|six|nine|ten|eleven|twelve|fifteen|half|quarter|single|fourth|march|may)\b"
DENIED = (
    r"\b(?:not?|none|never|nobody|nothing|without|cannot|no one|impossible|unlikely|unfriendly|no harm)\b|n't\b|\bfail"
)


def words(text):
    return re.findall(r"[a-z0-9']+", text.lower())


def overlap(row):
    one, two = set(words(row["sentence1"])), set(words(row["sentence2"]))
    return len(one & two) / len(one | two)


def of_kind(kind):
    return [row for row in PAIRS if row["kind"] == kind]


def texts(rows):
    return [row[side] for row in rows for side in ("sentence1", "sentence2")]


def test_fields_and_ids():
    for split, rows in SPLITS.items():
        assert [row["id"] for row in rows] == [f"{split}-{number:03d}" for number in range(250)]
        assert {tuple(row) for row in rows} == {("id", "genre", "kind", "sentence1", "sentence2", "score")}


@pytest.mark.parametrize("split", SPLITS)
def test_genres_are_balanced(split):
    counts = Counter(row["genre"] for row in SPLITS[split])
    assert sorted(counts) == list(GENRES)
    assert set(counts.values()) <= {62, 63}


@pytest.mark.parametrize("split", SPLITS)
def test_every_kind_is_there(split):
    counts = Counter(row["kind"] for row in SPLITS[split])
    assert sorted(counts) == sorted(KINDS)
    assert min(counts.values()) >= 10


def test_scores_are_steps_of_a_fifth_and_flat():
    counts = Counter(row["score"] for row in PAIRS)
    assert sorted(counts) == LEVELS
    assert 16 <= min(counts.values()) <= max(counts.values()) <= 22


@pytest.mark.parametrize("split", SPLITS)
def test_each_split_is_flat(split):
    bins = np.histogram([row["score"] for row in SPLITS[split]], bins=5, range=(0, 5))[0]
    assert 40 <= bins.min() <= bins.max() <= 60


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("genre", GENRES)
def test_each_genre_of_a_split_covers_the_scale(split, genre):
    scores = [row["score"] for row in SPLITS[split] if row["genre"] == genre]
    assert np.histogram(scores, bins=5, range=(0, 5))[0].min() >= 8


def test_every_sentence_is_there_once():
    repeated = [text for text, count in Counter(" ".join(words(text)) for text in texts(PAIRS)).items() if count > 1]
    assert not repeated


def test_no_pair_is_nearly_another():
    sentences = texts(PAIRS)
    grams = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5)).fit_transform(sentences)
    cosines = (grams @ grams.T).toarray()
    pair = np.arange(len(sentences)) // 2
    cosines[pair[:, None] == pair] = 0
    first, second = np.unravel_index(cosines.argmax(), cosines.shape)
    assert cosines.max() < 0.6, (sentences[first], sentences[second])


def test_sentences_are_plain_ascii_and_end_as_sentences_do():
    for row in PAIRS:
        for text in texts([row]):
            assert text.isascii(), row["id"]
            assert text == " ".join(text.split()), row["id"]
            assert text[-1] in ".?!", row["id"]
            assert 4 <= len(text.split()) <= 28, row["id"]
            assert text[0].isupper() or text[0].isdigit(), row["id"]


def test_pairs_of_high_overlap_and_another_meaning():
    rows = of_kind("overlap")
    assert np.mean([overlap(row) for row in rows]) > 0.45
    assert np.mean([row["score"] for row in rows]) < 2.5


def test_pairs_of_the_same_meaning_without_shared_words():
    rows = of_kind("no_shared")
    assert np.mean([overlap(row) for row in rows]) < 0.15
    assert max(overlap(row) for row in rows) <= 0.25
    assert min(row["score"] for row in rows) >= 3


def test_negation_pairs_have_something_that_denies_on_one_side():
    for row in of_kind("negation"):
        assert re.search(DENIED, " ".join(texts([row])).lower()), row["id"]


def test_a_denied_sentence_is_not_scored_as_the_same():
    plain = [row for row in of_kind("negation") if overlap(row) > 0.75]
    assert plain
    assert max(row["score"] for row in plain) < 3


def test_number_pairs_name_numbers_on_both_sides_and_differ_in_them():
    for row in of_kind("number"):
        one, two = (re.findall(COUNTED, text.lower()) for text in texts([row]))
        assert one, row["id"]
        assert two, row["id"]
        assert sorted(one) != sorted(two), row["id"]


def test_role_pairs_share_their_words():
    rows = of_kind("role")
    assert np.mean([overlap(row) for row in rows]) > 0.6
    assert np.mean([row["score"] for row in rows]) < 3


def test_overlap_alone_does_not_give_the_scores_away():
    """The hard pairs do their work: among them, more shared words mean a lower score."""
    hard = [row for row in PAIRS if row["kind"] in ("overlap", "no_shared", "role")]
    assert np.corrcoef([overlap(row) for row in hard], [row["score"] for row in hard])[0, 1] < 0


@pytest.mark.parametrize("split", SPLITS)
def test_the_card_gives_the_checksum(split):
    digest = hashlib.sha256((FOLDER / f"{split}.jsonl").read_bytes()).hexdigest()
    assert f"SHA-256 `{split}.jsonl` `{digest}`" in CARD


@pytest.mark.parametrize(("field", "names"), [("genre", GENRES), ("kind", KINDS)])
def test_the_card_counts_right(field, names):
    for name in names:
        counts = [sum(row[field] == name for row in SPLITS[split]) for split in SPLITS]
        assert f"| `{name}` | {counts[0]} | {counts[1]} | {sum(counts)} |" in CARD


def test_the_card_says_how_the_pairs_came_to_be():
    for part in ("language model", "no human", "520", "500", "CC BY 4.0", "annotator"):
        assert part in CARD
