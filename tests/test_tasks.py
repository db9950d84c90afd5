"""Tasks: what is encoded, in which order, and that the metrics are those of the evaluation helpers."""

import dataclasses
import json

import numpy as np
import pytest

from helpers import baselines, datasets, evaluation, settings, tasks

WORDS = ["heron", "vole", "reed", "pond", "otter", "marsh", "willow", "newt", "perch", "crane"]
COLUMNS = {"sts": ("sentence1", "sentence2"), "pair classification": ("text1", "text2")}
QUICK = tasks.Options(seeds=(100, 13), resamples=50, folds=2)


def encode(texts):
    """Vectors that know nothing but the text itself."""
    return baselines.random_vectors(texts, seed=1, dimensions=16)


def letters(texts):
    """Count letters: an encoder that knows a little."""
    return np.array([[1 + text.lower().count(letter) for letter in "abcdefghijklmnopqrstuvwxyz"] for text in texts])


def few(texts):
    return baselines.random_vectors(texts, seed=1, dimensions=2)


def sentence(n, word=""):
    return f"Text {n}: {word} {WORDS[n % 10]} {WORDS[(3 * n + 1) % 10]}.".replace("  ", " ")


def labelled(n, classes=2, start=0):
    """Rows whose first word of a class gives a probe something to learn."""
    return [
        {"text": sentence(start + row, WORDS[row % classes] * (row % 5 > 0)), "label": f"class {row % classes}"}
        for row in range(n)
    ]


def paired(n, start=0):
    rows = [(sentence(start + row), sentence(start + row + row % 3), int(row % 3 > 0)) for row in range(n)]
    return [dict(zip(("text1", "text2", "label"), row, strict=True)) for row in rows]


def birds(passages=30, queries=4):
    """A retrieval set: query n is answered by passage n and, less so, by n + 10; the third query nobody judged."""
    corpus = [{"_id": f"p{n}", "title": f"Title {n}", "text": sentence(n, "in the")} for n in range(passages)]
    asked = [{"_id": f"q{n}", "text": f"Query {n} {WORDS[n]}?"} for n in range(queries)]
    judged = [
        {"query-id": f"q{n}", "corpus-id": f"p{n + gap}", "score": score}
        for n in range(queries)
        for gap, score in ((10, 1), (0, 2), (5, 0))
        if n != 2
    ]
    return {"corpus": corpus, "queries": asked, "test": judged}


@pytest.fixture
def register(monkeypatch, tmp_path):
    """Register a made-up set and write its splits to a mirror."""
    monkeypatch.setenv(datasets.MIRROR_VARIABLE, str(tmp_path))

    def make(task, splits, **options):
        rows = {split: len(found) for split, found in splits.items()}
        fixed = {"name": "made", "title": "Made up", "licence": "none", "citation": "", "revision": "made 3"}
        entry = datasets.DatasetSpec(task=task, rows=rows, mirror="made/up", score_range=(0, 5), **fixed, **options)
        monkeypatch.setitem(datasets.REGISTRY, "made", entry)
        for split, found in splits.items():
            path = tmp_path / "datasets" / "made" / "up" / f"{split}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(f"{json.dumps(row)}\n" for row in found), encoding="utf-8")

    return make


def assert_interval_of_items(score, options=QUICK):
    """Check a mean over items and its bootstrap interval."""
    expected = evaluation.mean_interval(score.items, resamples=options.resamples, rng=options.rng())
    assert (score.interval.value, score.interval.low, score.interval.high) == (
        expected.value,
        expected.low,
        expected.high,
    )


class TestSts:
    @pytest.fixture
    def task(self):
        return tasks.load("book-sts", tasks.Options(rows=60, resamples=50))

    def test_spearman_is_that_of_the_same_rows(self, task):
        rows = datasets.load("book-sts", "test", limit=60)
        vectors = encode([*rows["sentence1"], *rows["sentence2"]])
        found = task.score(encode)
        assert list(found) == ["spearman"]
        assert found["spearman"].interval.value == evaluation.sts(vectors[:60], vectors[60:], rows["score"])
        np.testing.assert_array_equal(found["spearman"].items, evaluation.cosine_pairs(vectors[:60], vectors[60:]))

    def test_the_interval_is_the_bootstrap_of_the_options(self, task):
        found = task.score(encode)["spearman"]
        gold = datasets.load("book-sts", "test", limit=60)["score"]
        rng = np.random.default_rng(100)
        assert found.interval == evaluation.spearman_interval(found.items, gold, resamples=50, rng=rng)

    def test_texts_are_encoded_in_one_call_first_sides_first(self, task):
        rows = datasets.load("book-sts", "test", limit=60)
        calls = []
        task.score(lambda texts: calls.append(texts) or encode(texts))
        assert calls == [[*rows["sentence1"], *rows["sentence2"]]]

    def test_a_score_differs_from_itself_by_nothing(self, task):
        found = task.score(letters)["spearman"]
        assert task.compare(found, found) == evaluation.Interval(0.0, 0.0, 0.0)

    def test_compare_is_the_paired_difference(self, task):
        one, other = task.score(letters)["spearman"], task.score(encode)["spearman"]
        gold = datasets.load("book-sts", "test", limit=60)["score"]
        rng = np.random.default_rng(100)
        expected = evaluation.paired_difference(one.items, other.items, gold, resamples=50, rng=rng)
        assert task.compare(one, other) == expected
        assert expected.value == pytest.approx(one.interval.value - other.interval.value)

    def test_describes_itself(self, task):
        assert (task.kind, task.metric, task.rows, len(task.texts)) == ("sts", "spearman", 60, 120)
        expected = {"name": "book-sts", "source": "bundled", "revision": "1", "split": "test", "rows": 60}
        assert task.entry() == expected
        assert tasks.load("book-sts", QUICK, split="validation").entry() == expected | {
            "split": "validation",
            "rows": 250,
        }


class TestClustering:
    def test_equals_the_helpers_own_numbers(self, register):
        rows = labelled(40, classes=4)
        register("clustering", {"test": rows})
        task = tasks.load("made", QUICK)
        expected = evaluation.clustering(letters(task.texts), [row["label"] for row in rows], seeds=(100, 13))
        found = task.score(letters)
        assert list(found) == ["NMI", "ACC", "ARI"]
        assert task.metric == "NMI"
        for metric, score in found.items():
            assert score.items.tolist() == expected[metric]
            assert score.interval == evaluation.over_seeds(expected[metric], (100, 13))
            assert score.interval.noise == "k-means"

    def test_compare_pairs_the_seeds(self, register):
        register("clustering", {"test": labelled(40, classes=4)})
        task = tasks.load("made", QUICK)
        one, other = task.score(letters)["NMI"], task.score(encode)["NMI"]
        expected = evaluation.difference_over_seeds(one.items, other.items, (100, 13))
        assert task.compare(one, other) == expected
        same = task.compare(one, one)
        assert (same.value, same.low, same.high) == (0, 0, 0)


class TestRows:
    @pytest.mark.parametrize("task", ["sts", "clustering", "classification", "pair classification"])
    def test_rows_of_a_public_set_are_drawn_without_repetition_in_their_old_order(self, register, task):
        rows = {"sts": [{"sentence1": sentence(n), "sentence2": sentence(n + 1), "score": n % 6} for n in range(50)]}
        rows |= dict.fromkeys(("clustering", "classification"), labelled(50)) | {"pair classification": paired(50)}
        register(task, {"test": rows[task]})
        options = dataclasses.replace(QUICK, rows=20, probe_rows=20)
        columns = COLUMNS.get(task, ("text",))
        chosen = np.sort(np.random.default_rng(100).choice(50, size=20, replace=False))
        found = tasks.load("made", options)
        assert found.texts == [rows[task][n][column] for column in columns for n in chosen]
        assert (found.rows, found.source) == (20, "mirror")
        assert len(set(chosen)) == 20
        assert tasks.load("made", options).texts == found.texts
        assert tasks.load("made", dataclasses.replace(options, seed=7)).texts != found.texts

    @pytest.mark.parametrize("name", ["book-sts", "intents", "sentiment", "paraphrase"])
    def test_of_a_bundled_set_the_first_rows_are_taken(self, name):
        options = dataclasses.replace(QUICK, rows=30, probe_rows=30)
        rows = datasets.load(name, limit=30)
        columns = COLUMNS.get(datasets.spec(name).task, ("text",))
        assert tasks.load(name, options).texts == [text for column in columns for text in rows[column]]

    @pytest.mark.parametrize("most", [None, 50, 51])
    def test_no_more_rows_than_there_are(self, register, most):
        register("classification", {"test": labelled(50)})
        task = tasks.load("made", dataclasses.replace(QUICK, probe_rows=most))
        assert task.texts == [row["text"] for row in labelled(50)]

    def test_rows_do_not_shorten_a_probe_nor_probe_rows_a_clustering(self, register):
        register("classification", {"test": labelled(50)})
        assert tasks.load("made", dataclasses.replace(QUICK, rows=20)).rows == 50
        register("clustering", {"test": labelled(50)})
        assert tasks.load("made", dataclasses.replace(QUICK, probe_rows=20)).rows == 50


class TestRetrieval:
    def test_equals_the_helpers_own_numbers(self, register):
        splits = birds()
        register("retrieval", splits)
        task = tasks.load("made", QUICK)
        queries = [row for row in splits["queries"] if row["_id"] != "q2"]
        vectors = letters(task.texts)
        expected = evaluation.retrieval(
            vectors[:3],
            vectors[3:],
            query_ids=[row["_id"] for row in queries],
            corpus_ids=[row["_id"] for row in splits["corpus"]],
            judgements=evaluation.judgements_of(splits["test"]),
        )
        found = task.score(letters)
        assert list(found) == ["nDCG@10", "recall@10", "MRR"]
        for metric, score in found.items():
            assert score.items.tolist() == expected[metric]
            assert_interval_of_items(score)
        assert task.metric == "nDCG@10"
        assert task.entry()["rows"] == 3

    def test_judged_queries_are_encoded_first_then_titles_and_texts(self, register):
        splits = birds(passages=30)
        register("retrieval", splits)
        asked = [row["text"] for row in splits["queries"] if row["_id"] != "q2"]
        assert tasks.load("made", QUICK).texts == [
            *asked,
            *(f"{row['title']} {row['text']}" for row in splits["corpus"]),
        ]

    def test_a_passage_without_a_title_begins_with_its_text(self, register):
        splits = birds()
        splits["corpus"][0]["title"] = ""
        register("retrieval", splits)
        assert tasks.load("made", QUICK).texts[3] == splits["corpus"][0]["text"]

    @pytest.mark.parametrize("words", [1, 3, 100])
    def test_passages_are_cut_to_words_and_queries_are_not(self, register, words):
        register("retrieval", birds())
        whole = tasks.load("made", QUICK).texts
        cut = tasks.load("made", dataclasses.replace(QUICK, words=words)).texts
        assert cut[:3] == whole[:3]
        assert cut[3:] == [" ".join(text.split()[:words]) for text in whole[3:]]

    @pytest.mark.parametrize(("passages", "kept"), [(None, 30), (30, 30), (99, 30), (20, 20), (9, 9), (4, 9)])
    def test_a_smaller_corpus_keeps_the_judged_passages_and_its_order(self, register, passages, kept):
        splits = birds()
        register("retrieval", splits)
        options = dataclasses.replace(QUICK, passages=passages)
        titles = [" ".join(text.split()[:2]) for text in tasks.load("made", options).texts[3:]]
        numbers = [int(title.split()[1]) for title in titles]
        judged = {int(row["corpus-id"][1:]) for row in splits["test"]}
        assert len(numbers) == kept
        assert numbers == sorted(numbers)
        assert judged <= set(numbers)
        assert len(judged) == 9
        assert tasks.load("made", options).texts == tasks.load("made", options).texts

    def test_other_passages_are_drawn_with_the_seed(self, register):
        register("retrieval", birds())
        options = dataclasses.replace(QUICK, passages=15)
        found = [tasks.load("made", dataclasses.replace(options, seed=seed)).texts for seed in (100, 7)]
        assert found[0] != found[1]

    def test_all_passages_judged_and_a_smaller_limit(self, register):
        splits = birds(passages=14)
        splits["corpus"] = [row for row in splits["corpus"] if int(row["_id"][1:]) not in (2, 4, 7, 9, 12)]
        register("retrieval", splits)
        assert len(tasks.load("made", dataclasses.replace(QUICK, passages=3)).texts) == 3 + 9

    def test_the_first_judged_queries_are_taken(self, register):
        register("retrieval", birds(queries=6))
        task = tasks.load("made", dataclasses.replace(QUICK, rows=3))
        assert task.rows == 3
        assert [text.split()[1] for text in task.texts[:3]] == ["0", "1", "3"]
        assert len(task.score(encode)["MRR"].items) == 3

    def test_compare_pairs_the_queries(self, register):
        register("retrieval", birds())
        task = tasks.load("made", QUICK)
        one, other = task.score(letters)["MRR"], task.score(encode)["MRR"]
        expected = evaluation.mean_difference(one.items, other.items, resamples=50, rng=np.random.default_rng(100))
        assert task.compare(one, other) == expected
        assert task.compare(one, one) == evaluation.Interval(0.0, 0.0, 0.0)


class TestProbe:
    def test_without_a_training_part_folds_are_nested(self, register):
        rows = labelled(40)
        register("classification", {"test": rows})
        task = tasks.load("made", QUICK)
        expected = evaluation.transfer(letters(task.texts), [row["label"] for row in rows], folds=2)
        found = task.score(letters)["accuracy"]
        assert task.texts == [row["text"] for row in rows]
        np.testing.assert_array_equal(found.items, 100.0 * expected.right)
        assert found.interval.value == pytest.approx(expected.accuracy)
        assert found.interval.values == expected.folds
        assert found.interval.seeds == ()
        assert_interval_of_items(found)

    def test_with_a_training_part_the_test_part_is_scored(self, register):
        train, test = labelled(40), labelled(15, start=40)
        register("classification", {"train": train, "test": test})
        task = tasks.load("made", QUICK)
        vectors = letters(task.texts)
        labels = [[row["label"] for row in part] for part in (train, test)]
        expected = evaluation.transfer_split(vectors[:40], labels[0], vectors[40:], labels[1], folds=2)
        found = task.score(letters)["accuracy"]
        assert task.texts == [row["text"] for row in (*train, *test)]
        np.testing.assert_array_equal(found.items, 100.0 * expected.right)
        assert found.interval.values == ()
        assert task.rows == 15

    def test_of_a_training_part_rows_are_drawn_and_the_test_part_stays_whole(self, register):
        train, test = labelled(40), labelled(30, start=40)
        register("classification", {"train": train, "test": test})
        task = tasks.load("made", dataclasses.replace(QUICK, probe_rows=20))
        chosen = np.sort(np.random.default_rng(100).choice(40, size=20, replace=False))
        assert task.texts == [train[n]["text"] for n in chosen] + [row["text"] for row in test]
        assert task.rows == 30

    def test_asked_for_the_training_part_itself_folds_are_nested_within_it(self, register):
        register("classification", {"train": labelled(40), "test": labelled(15, start=40)})
        task = tasks.load("made", QUICK, split="train")
        assert (task.rows, len(task.texts), task.entry()["split"]) == (40, 40, "train")

    @pytest.mark.parametrize("with_train", [False, True])
    def test_pairs_are_probed_by_their_features(self, register, with_train):
        train, test = paired(36), paired(30, start=36)
        register("pair classification", {"train": train, "test": test} if with_train else {"test": test})
        task = tasks.load("made", QUICK)
        parts = [train, test] if with_train else [test]
        assert task.texts == [row[side] for part in parts for side in ("text1", "text2") for row in part]
        features = [
            evaluation.pair_features(*(letters([row[side] for row in part]) for side in ("text1", "text2")))
            for part in parts
        ]
        labels = [[row["label"] for row in part] for part in parts]
        if with_train:
            expected = evaluation.transfer_split(features[0], labels[0], features[1], labels[1], folds=2)
        else:
            expected = evaluation.transfer(features[0], labels[0], folds=2)
        np.testing.assert_array_equal(task.score(letters)["accuracy"].items, 100.0 * expected.right)

    def test_compare_pairs_the_texts(self, register):
        register("classification", {"test": labelled(40)})
        task = tasks.load("made", QUICK)
        one, other = task.score(letters)["accuracy"], task.score(encode)["accuracy"]
        expected = evaluation.mean_difference(one.items, other.items, resamples=50, rng=np.random.default_rng(100))
        assert task.compare(one, other) == expected
        assert task.compare(one, one) == evaluation.Interval(0.0, 0.0, 0.0)


class TestNames:
    def test_an_unknown_name_comes_with_the_nearest(self):
        with pytest.raises(ValueError, match="unknown dataset 'intent'; did you mean 'intents'"):
            tasks.load("intent", QUICK)

    def test_an_unknown_split_comes_with_those_that_exist(self):
        with pytest.raises(ValueError, match=r"dataset 'book-sts' has no split 'train'; .*allowed: test, validation"):
            tasks.load("book-sts", QUICK, split="train")

    @pytest.mark.parametrize("name", ["allnli", "wiki1m", "wikitext2", "definitions", "sentence-words"])
    def test_a_set_that_measures_nothing_is_refused_with_those_that_do(self, name):
        kind = datasets.spec(name).task
        with pytest.raises(
            ValueError, match=f"dataset '{name}' is for {kind}, not a task; tasks: .*book-sts.*retrieval"
        ):
            tasks.load(name, QUICK)

    def test_a_set_that_is_nowhere_names_the_three_places(self, monkeypatch):
        monkeypatch.delenv(datasets.MIRROR_VARIABLE, raising=False)
        with pytest.raises(FileNotFoundError, match=r"\(1\) bundled.*\(2\) mirror.*\(3\) the public hub"):
            tasks.load("mpqa", QUICK)

    @pytest.mark.parametrize("name", settings.profile("laptop").tasks)
    def test_every_set_of_the_book_is_a_task(self, name):
        task = tasks.load(name, QUICK)
        assert task.source == "bundled"
        assert task.rows > 100
        assert all(isinstance(text, str) and text.strip() for text in task.texts)

    @pytest.mark.parametrize("name", settings.profile("smoke").tasks)
    def test_the_smoke_profile_leaves_enough_of_every_class(self, name):
        options = tasks.options(settings.profile("smoke"))
        found = tasks.load(name, dataclasses.replace(options, resamples=5)).score(few)
        assert all(np.isfinite(score.interval.value) for score in found.values())


def test_the_options_of_a_profile():
    laptop, smoke = (settings.profile(name) for name in ("laptop", "smoke"))
    found = tasks.options(laptop, seed=5)
    assert (found.seeds, found.resamples, found.folds, found.rows) == (
        laptop.seeds,
        laptop.resamples,
        laptop.folds,
        None,
    )
    assert (found.probe_rows, found.passages, found.words) == (laptop.probe_rows, laptop.passages, laptop.passage_words)
    assert found.seed == 5
    few = tasks.options(smoke)
    assert few.rows == few.probe_rows == few.passages == 6 * smoke.rows
