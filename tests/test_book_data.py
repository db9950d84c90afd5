"""The book's own sets are what their cards say, hold no text twice, and are neither trivial nor hopeless."""

import hashlib
import json
import re
from collections import Counter

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from helpers import baselines, datasets, settings, tasks
from helpers.datasets.spec import TAGS, TEXTS

SETS = [entry for entry in datasets.REGISTRY.values() if entry.folder and entry.folder != "sts"]
FILES = [(entry, split) for entry in SETS for split in entry.rows]
WITH_TEXTS = [(entry, split) for entry, split in FILES if set(entry.columns(split)) & set(TEXTS)]
# The written examples have many alphabets and labels that repeat; tests/test_synthetic_data.py looks at them.
PLAIN = [(entry, split) for entry, split in WITH_TEXTS if entry.task != "instructed pairs"]
MEASURED = [entry.name for entry in SETS if entry.task in tasks.METRICS]
BALANCED = {"intents": (24, 25), "topics": (20, 20), "entities": (15, 20), "sentiment": (2, 225),
            "subjectivity": (2, 150), "question-type": (6, 50), "paraphrase": (2, 100)}  # fmt: skip


def rows(name, split=None):
    entry = datasets.spec(name)
    path = settings.DATA / entry.folder / f"{split or entry.default_split}.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def texts(name, split=None):
    return [value for row in rows(name, split) for key, value in row.items() if key in TEXTS]


def names(pair):
    return f"{pair[0].name}-{pair[1]}"


@pytest.mark.parametrize("pair", FILES, ids=names)
def test_the_card_names_each_file_with_its_checksum(pair):
    entry, split = pair
    card = (settings.DATA / entry.folder / "README.md").read_text(encoding="utf-8")
    digest = hashlib.sha256((settings.DATA / entry.folder / f"{split}.jsonl").read_bytes()).hexdigest()
    assert entry.sha256[split] == digest
    assert f"`{split}.jsonl` `{digest}`" in card
    for heading in ("## Purpose", "## How it was written", "## Fields", "## Limits", "## Licence", "## Checksums"):
        assert heading in card
    assert "A large language model wrote all texts" in card
    assert "CC BY 4.0" in card


@pytest.mark.parametrize("pair", PLAIN, ids=names)
def test_texts_are_plain_and_there_once(pair):
    entry, split = pair
    found = texts(entry.name, split)
    for text in found:
        assert text.isascii(), text
        assert text == " ".join(text.split()), text
    folded = Counter(" ".join(re.findall(r"[a-z0-9']+", text.lower())) for text in found)
    assert not [text for text, count in folded.items() if count > 1]


@pytest.mark.parametrize("pair", PLAIN, ids=names)
def test_no_text_is_nearly_another(pair):
    entry, split = pair
    found = rows(entry.name, split)
    owner = np.array([number for number, row in enumerate(found) for key in row if key in TEXTS])
    grams = TfidfVectorizer(analyzer="char_wb", ngram_range=(4, 4)).fit_transform(texts(entry.name, split))
    cosines = (grams @ grams.T).toarray()
    cosines[owner[:, None] == owner] = 0  # the texts of one row may be alike: that is their point
    one, two = np.unravel_index(cosines.argmax(), cosines.shape)
    # Very short texts share most of their letters with some other one by chance.
    limit = 0.72 if entry.task not in ("definitions", "sentence words") else 0.8
    assert cosines.max() < limit, (texts(entry.name, split)[one], texts(entry.name, split)[two])


@pytest.mark.parametrize("name", BALANCED)
def test_classes_are_equally_frequent_and_dealt_out_evenly(name):
    classes, each = BALANCED[name]
    labels = [row["label"] for row in rows(name)]
    assert Counter(Counter(labels).values()) == {each: classes}
    for start in range(0, len(labels), classes):
        assert len(set(labels[start : start + classes])) == classes


@pytest.mark.parametrize("name", ["intents", "topics", "entities", "sentiment", "subjectivity", "question-type"])
def test_texts_do_not_follow_a_pattern(name):
    openings = Counter(tuple(text.lower().split()[:3]) for text in texts(name))
    assert openings.most_common(1)[0][1] <= max(4, 0.025 * len(texts(name)))
    lengths = [len(text.split()) for text in texts(name)]
    assert np.percentile(lengths, 90) >= 1.4 * np.percentile(lengths, 10)


def test_entities_are_named_and_marked():
    for row in rows("entities"):
        assert row["text"].endswith(f" The entity type of {row['entity']}.")
        assert row["entity"] in row["text"].removesuffix(f" The entity type of {row['entity']}.")


def test_passages_queries_and_judgements():
    corpus, queries, judged = (rows("retrieval", part) for part in ("corpus", "queries", "test"))
    assert len({row["_id"] for row in corpus}) == 240
    assert len({row["_id"] for row in queries}) == 160
    assert all(60 <= len(row["text"].split()) <= 120 for row in corpus)
    assert Counter(row["kind"] for row in queries) == {"question": 80, "claim": 48, "keywords": 32}
    assert len({(row["query-id"], row["corpus-id"]) for row in judged}) == len(judged)
    for query in queries:
        scores = [row["score"] for row in judged if row["query-id"] == query["_id"]]
        assert 2 in scores
        assert scores.count(0) >= 2, "near-topic distractors"


def test_the_number_of_rows():
    assert len(rows("nli")) == 600
    assert len(rows("definitions")) == 200
    assert len(rows("sentence-words")) == 100
    assert len(rows("tagged")) == 274
    assert sum(len(row["text"].split()) for row in rows("text")) >= 60_000


def test_definitions_hide_their_word_and_sentences_too():
    for row in rows("definitions"):
        assert not re.search(rf"\b{row['word'][:5]}", row["definition"]), row
    for row in rows("sentence-words"):
        assert not re.search(rf"\b{row['word']}\b", row["sentence"], re.IGNORECASE), row


def test_words_have_tags_and_many_words_several():
    seen, counts = {}, Counter()
    for row in rows("tagged"):
        words, tags = row["sentence"].split(" "), row["tags"].split(" ")
        assert len(words) == len(tags)
        assert 6 <= sum(tag != "PUNCT" for tag in tags) <= 14
        for word, tag in zip(words, tags, strict=True):
            assert (tag == "PUNCT") == bool(re.fullmatch(r"[.,?!\"]", word)) or word == "-"
            seen.setdefault(word.lower(), set()).add(tag)
            counts[tag] += 1
    assert set(counts) == set(TAGS)
    assert sum(len(tags) > 1 for tags in seen.values()) == 162
    card = (settings.DATA / "tagged" / "README.md").read_text(encoding="utf-8")
    assert f"{counts.total():,} words and marks" in card
    assert all(f"| `{tag}` | {count} |" in card for tag, count in counts.items())


def test_word_overlap_does_not_give_triplets_away():
    def shared(one, two):
        one, two = set(one.lower().split()), set(two.lower().split())
        return len(one & two) / len(one | two)

    found = rows("nli")
    nearer = [shared(row["anchor"], row["positive"]) > shared(row["anchor"], row["negative"]) for row in found]
    assert 0.3 < np.mean(nearer) < 0.65
    denied = [bool(re.search(r"\b(?:not|no|never|nobody)\b|n't", row["negative"].lower())) for row in found]
    assert np.mean(denied) < 0.2


@pytest.fixture(scope="module")
def methods():
    return baselines.load(["TF-IDF", "sentence encoder"], settings.profile("laptop"))


@pytest.mark.parametrize("name", MEASURED)
def test_counting_words_is_clearly_worse_than_an_encoder_and_the_encoder_not_perfect(name, methods):
    task = tasks.load(name, tasks.Options(seeds=(100,), resamples=200, folds=5))
    words, encoder = (task.score(method.encode)[task.metric] for method in methods.values())
    assert encoder.interval.value < 95
    assert encoder.interval.value > words.interval.value + 5
