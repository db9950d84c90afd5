"""Demonstrations: the pool, the search that goes on after a kill, what halving costs, and the winner's curse."""

import copy
import dataclasses
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import tiny_llama
from scipy.stats import spearmanr

from helpers import datasets, demonstrations, embedding, evaluation, prompts
from helpers.demonstrations import Demonstration, Outcome, Search
from helpers.llm.journal import Journal

PAIRS = 16


@pytest.fixture(scope="module")
def rows():
    return datasets.load("book-sts", "validation", limit=PAIRS)


@pytest.fixture(scope="module")
def pool():
    return demonstrations.own_pool()[96:104]


def make(tiny, rows, *, side="right", **options):
    tokenizer = copy.copy(tiny[1])
    tokenizer.padding_side = side
    embedder = embedding.Embedder(tiny[0], tokenizer, pooling="last")
    return Search(embedder, rows, model_id="tiny 1", **{"first": 4, **options})


@pytest.fixture(scope="module")
def done(tiny, rows, pool):
    """A search that has scored every candidate, and its outcome."""
    search = make(tiny, rows)
    return search, search.exhaustive(pool)


class Counting(embedding.Embedder):
    """An embedder that counts the texts that it embeds, with all templates, and may die after so many calls."""

    def __init__(self, like, *, calls_until_death=None):
        super().__init__(like.model, like.tokenizer, pooling=like.pooling)
        self.texts, self.calls_until_death = [], calls_until_death
        self.calls = []

    def encode(self, texts, **options):
        if len(self.calls) == self.calls_until_death:
            raise KeyboardInterrupt
        self.calls.append(len(texts))
        self.texts += texts
        return super().encode(texts, **options)


# --- the pool --------------------------------------------------------------------------------------------------------


def test_the_own_pool_has_a_hundred_sentences_and_two_hundred_definitions_ready_for_the_template():
    pool = demonstrations.own_pool()
    kinds = [one.kind for one in pool]
    assert (kinds.count("sentence"), kinds.count("definition")) == (100, 200)
    assert len({one.name for one in pool}) == len({one.template() for one in pool}) == 300
    for one in pool:
        assert one.sentence == prompts.normalise_sentence(one.sentence)
        assert one.word[0].isupper()
        assert one.template().endswith(f'{one.sentence}" means in one word:"{one.word}".{prompts.PROMPT_EOL}')
        assert prompts.check_template(one.template())


def test_published_demonstrations_are_read_from_a_mirror_alone(tmp_path, monkeypatch):
    monkeypatch.delenv(datasets.MIRROR_VARIABLE, raising=False)
    with pytest.raises(FileNotFoundError, match=r"not here: EMBEDDING_BOOK_MIRROR \(now not set\)"):
        demonstrations.published_pool()
    monkeypatch.setenv(datasets.MIRROR_VARIABLE, str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"\(now set\) should name a folder that holds datasets/kongds"):
        demonstrations.published_pool()
    path = tmp_path / "datasets" / "kongds" / "scaling_sentemb" / "icl.jsonl"
    path.parent.mkdir(parents=True)
    made = [Demonstration("", f"A goat said '{number}'.", "Count: one", "") for number in range(102)]
    lines = [json.dumps({"template": one.template().replace(prompts.SLOT, "*sent 0*")}) for one in made]
    path.write_text("\n".join(lines) + "\n")
    found = demonstrations.published_pool()
    assert [(one.sentence, one.word) for one in found] == [(one.sentence, one.word) for one in made]
    assert (found[0].name, found[101].name) == ("published 0", "published 101")
    assert [one.kind for one in found] == ["sentence"] * 100 + ["definition"] * 2
    assert not any(one.quotable for one in found)
    path.write_text(lines[0] + "\n" + json.dumps({"template": "A goat."}) + "\n")
    with pytest.raises(ValueError, match="published demonstration 1 is not PromptEOL"):
        demonstrations.published_pool()


def test_the_three_hundred_published_ones_of_a_mirror(monkeypatch):
    try:
        pool = demonstrations.published_pool()
    except FileNotFoundError:
        pytest.skip("no mirror with the published demonstrations")
    assert len(pool) == 300
    # The paper's table of chosen demonstrations, by line.
    assert [pool[line].word for line in (15, 58, 123, 160)] == ["Smoking", "Equestrian", "Swiss", "Venison"]


def test_a_pool_of_your_own(tmp_path):
    path = tmp_path / "pool.csv"
    path.write_text("sentence,word\nIs the kettle on?,tea\nTwo owls,Birds\n")
    (first, second) = demonstrations.read_pool(path)
    assert (first.name, first.sentence, first.word) == ("own 1", "Is the kettle on.", "Tea")
    assert second.template().startswith('This sentence : "Two owls." means in one word:"Birds".This')
    path.write_text("sentence\nTwo owls\n")
    with pytest.raises(ValueError, match="no column 'word'"):
        demonstrations.read_pool(path)
    (tmp_path / "pool.txt").write_text("Two owls\n")
    with pytest.raises(ValueError, match=r"pool.txt has no columns; .*'sentence' and 'word'"):
        demonstrations.read_pool(tmp_path / "pool.txt")


def test_sentences_without_a_licence_are_not_printed():
    one = Demonstration("published 3", "Two owls.", "Birds", quotable=False)
    assert str(one) == "published 3 -> Birds"
    assert str(dataclasses.replace(one, quotable=True)) == "Two owls. -> Birds"


def test_examples_of_a_task_are_about_registered_sets_and_ready_for_the_template():
    named = [name for names in demonstrations.ABOUT.values() for name in names]
    assert len(set(named)) == len(named)
    assert set(demonstrations.ABOUT) == set(demonstrations.EXAMPLES)
    for name in named:
        examples = demonstrations.of_task(name)
        assert len(examples) == 2
        assert all(text == prompts.normalise_sentence(text) for text, _ in examples)
    assert demonstrations.of_task("paraphrase") == ()
    with pytest.raises(ValueError, match="unknown dataset 'sentimant'; did you mean 'sentiment'"):
        demonstrations.of_task("sentimant")


# --- one score -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_score_is_that_of_the_template_with_the_example_one_text_at_a_time(tiny, rows, pool, side):
    search = make(tiny, rows, side=side)
    for candidate in (pool[0], pool[7], None):
        template = prompts.PROMPT_EOL if candidate is None else candidate.template()
        cosines = []
        for one, two in zip(rows["sentence1"], rows["sentence2"], strict=True):
            states = []
            for text in (one, two):
                filled = template.replace("{text}", prompts.normalise_sentence(text))
                with torch.inference_mode():
                    ids = torch.tensor([tiny[1](filled)["input_ids"]])
                    states.append(tiny[0](input_ids=ids).last_hidden_state[0, -1].double())
            cosines.append(float(torch.cosine_similarity(*states, dim=0)))
        np.testing.assert_allclose(search.similarities(candidate), cosines, atol=1e-5)
        assert search.score(candidate) == pytest.approx(100 * spearmanr(cosines, rows["score"]).statistic, abs=1.0)


@pytest.mark.parametrize("side", ["left", "right"])
def test_sharing_the_demonstration_changes_no_similarity(tiny, rows, pool, side):
    shared, alone = make(tiny, rows, side=side), make(tiny, rows, side=side)
    alone.embedder.share_prefix = False
    np.testing.assert_allclose(shared.matrix(pool[:3]), alone.matrix(pool[:3]), atol=1e-5)
    costs = [search.exhaustive(pool[:3]).tokens for search in (shared, alone)]
    assert costs[0] < 0.7 * costs[1]


def test_rounds_end_at_doublings_and_other_numbers_of_pairs_are_refused(tiny, rows, pool):
    search = make(tiny, rows)
    assert search.sizes == (4, 8, 16)
    np.testing.assert_allclose(search.similarities(pool[0], 8), search.similarities(pool[0])[:8], atol=1e-5)
    with pytest.raises(ValueError, match="pairs=5 should be where a round ends: 4, 8, 16"):
        search.score(pool[0], 5)
    for first in (2, PAIRS + 1):
        with pytest.raises(ValueError, match=rf"first={first} should be from 3 to the number of pairs, {PAIRS}"):
            make(tiny, rows, first=first)
    assert demonstrations.doubling(8, 50) == (8, 16, 32, 50)
    assert demonstrations.doubling(8, 8) == (8,)


def test_the_generator_orders_the_pairs_and_only_them(tiny, rows, pool):
    plain, mixed = make(tiny, rows), make(tiny, rows, rng=np.random.default_rng(3))
    order = np.random.default_rng(3).permutation(PAIRS)
    assert mixed.scores.tolist() == [rows["score"][place] for place in order]
    np.testing.assert_allclose(mixed.similarities(pool[0]), plain.similarities(pool[0])[order], atol=1e-5)
    assert mixed.score(pool[0]) == pytest.approx(plain.score(pool[0]))


# --- the two searches ------------------------------------------------------------------------------------------------


def test_the_exhaustive_search_finds_the_best_of_all(done, pool):
    search, outcome = done
    scores = [search.score(candidate) for candidate in pool]
    assert outcome.winner == int(np.argmax(scores))
    assert outcome.rungs[0].scores == tuple(scores)
    assert outcome.evaluations == len(pool) * PAIRS


def test_halving_keeps_the_better_half_of_each_round(done, pool):
    search, best = done
    outcome = search.halving(pool)
    assert [(rung.pairs, len(rung.candidates)) for rung in outcome.rungs] == [(4, 8), (8, 4), (16, 2)]
    for rung, later in zip(outcome.rungs, outcome.rungs[1:], strict=False):
        scores = dict(zip(rung.candidates, rung.scores, strict=True))
        assert scores == {place: search.score(pool[place], rung.pairs) for place in rung.candidates}
        left_out = set(rung.candidates) - set(later.candidates)
        assert min(scores[place] for place in later.candidates) >= max(scores[place] for place in left_out)
        assert list(later.candidates) == sorted(later.candidates)
    assert outcome.evaluations == 8 * 4 + 4 * 4 + 2 * 8
    assert search.regret(outcome, best, pool) == max(best.rungs[0].scores) - search.score(pool[outcome.winner])
    assert search.regret(outcome, best, pool) >= 0 == search.regret(best, best, pool)


def test_tokens_are_those_that_the_model_would_have_to_read_from_the_start(done, pool, tiny, rows):
    search, exhaustive = done
    halving = search.halving(pool)

    def own(candidate, start, stop):
        filled = [
            candidate.template().replace("{text}", prompts.normalise_sentence(text))
            for side in ("sentence1", "sentence2")
            for text in rows[side][:PAIRS]
        ]
        ids = tiny[1](filled)["input_ids"]
        prefix = next(place for place, column in enumerate(zip(*ids, strict=False)) if len(set(column)) > 1)
        chosen = [*ids[start:stop], *ids[PAIRS + start : PAIRS + stop]]
        return prefix, sum(len(row) - prefix for row in chosen)

    whole = [own(candidate, 0, PAIRS) for candidate in pool]
    assert exhaustive.tokens == sum(prefix + tokens for prefix, tokens in whole)
    cost, seen = 0, 0
    for rung in halving.rungs:
        cost += sum(sum(own(pool[place], seen, rung.pairs)) for place in rung.candidates)
        seen = rung.pairs
    assert halving.tokens == cost
    assert make(tiny, rows).halving(pool).tokens == cost, "cost is counted as if nothing had been known"
    assert halving.tokens < 0.7 * exhaustive.tokens


def test_what_one_search_knows_the_other_does_not_embed_again(tiny, rows, pool):
    search = make(tiny, rows)
    search.embedder = Counting(search.embedder)
    search.halving(pool)
    assert len(search.embedder.texts) == 2 * (8 * 4 + 4 * 4 + 2 * 8)
    search.exhaustive(pool)
    assert len(search.embedder.texts) == 2 * len(pool) * PAIRS
    search.halving(pool)
    assert len(search.embedder.texts) == 2 * len(pool) * PAIRS


def test_a_broken_search_goes_on_from_its_journal(tiny, rows, pool, tmp_path, done):
    path = tmp_path / "search.jsonl"
    broken = make(tiny, rows, journal=Journal(path))
    broken.embedder = Counting(broken.embedder, calls_until_death=5)
    with pytest.raises(KeyboardInterrupt):
        broken.exhaustive(pool)
    content = path.read_bytes()
    path.write_bytes(content[:-40])  # torn, too
    again = make(tiny, rows, journal=Journal(path))
    again.embedder = Counting(again.embedder)
    outcome = again.exhaustive(pool)
    # Five candidates of eight were done, save for the last block of the fifth.
    assert len(again.embedder.texts) == 2 * (3 * PAIRS + 8)
    assert outcome.winner == done[1].winner
    assert outcome.tokens == done[1].tokens
    np.testing.assert_allclose(outcome.rungs[0].scores, done[1].rungs[0].scores, atol=1.0)


KILLED = """
import os, signal, sys
sys.path[:0] = [{tests!r}]
import conftest
from helpers import datasets, demonstrations, embedding, models
from helpers.llm.journal import Journal
from transformers import AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(models.locate(models.spec("smollm2-135m"))[0])
rows = datasets.load("book-sts", "validation", limit=16)
journal = Journal({path!r})
put = journal.put_all
def put_and_die(entries):
    put(entries)
    if len(journal) >= 6:
        os.kill(os.getpid(), signal.SIGKILL)
journal.put_all = put_and_die
embedder = embedding.Embedder(conftest.tiny_llama(), tokenizer, pooling="last")
search = demonstrations.Search(embedder, rows, model_id="tiny 1", first=4, journal=journal)
search.exhaustive(demonstrations.own_pool()[96:104])
"""


def test_a_killed_process_leaves_what_the_next_one_needs(tiny, rows, pool, tmp_path, done):
    path = tmp_path / "search.jsonl"
    code = KILLED.format(tests=os.path.dirname(__file__), path=str(path))
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert process.returncode == -signal.SIGKILL, process.stderr
    search = make((tiny_llama(), tiny[1]), rows, journal=Journal(path))
    search.embedder = Counting(search.embedder)
    assert search.exhaustive(pool).winner == done[1].winner
    assert len(search.embedder.texts) == 2 * 6 * PAIRS, "the first two candidates came from the journal"


@pytest.mark.parametrize("change", [{"model_id": "tiny 2"}, {"template": prompts.PROMPT_PLAIN}])
def test_another_model_or_template_finds_nothing_in_the_journal(tiny, rows, pool, change):
    journal = Journal()
    make(tiny, rows, journal=journal).score(pool[0])
    before = len(journal)
    search = make(tiny, rows, journal=journal)
    for name, value in change.items():
        setattr(search, name, value)
    search.score(pool[0])
    assert len(journal) == 2 * before


def test_the_bar_counts_every_pair(tiny, rows, pool, capsys):
    make(tiny, rows).halving(pool, progress=True)
    assert "64/64" in capsys.readouterr().err


# --- without a model -------------------------------------------------------------------------------------------------


def test_halving_by_hand():
    values = {0: [5, 1, 1], 1: [4, 4, 9], 2: [4, 6, 8], 3: [1, 9, 9], 4: [0, 9, 9]}
    sizes = (3, 6, 12)
    rungs = demonstrations.halve(5, sizes, lambda alive, size: [values[c][sizes.index(size)] for c in alive])
    assert [rung.candidates for rung in rungs] == [(0, 1, 2, 3, 4), (0, 1, 2), (1, 2)]
    assert Outcome(rungs).winner == 1
    assert Outcome(rungs).evaluations == 5 * 3 + 3 * 3 + 2 * 6
    assert len(demonstrations.halve(1, sizes, lambda alive, size: [1.0])) == 1
    for count, bad, message in ((0, (3,), "at least one"), (2, (3, 3), r"sizes=\(3, 3\) should grow"), (2, (), "grow")):
        with pytest.raises(ValueError, match=message):
            demonstrations.halve(count, bad, lambda alive, size: [0.0] * len(alive))


def noisy(candidates, pairs, noise, rng):
    """Similarities of candidates whose quality grows with their number."""
    gold = rng.uniform(0, 5, size=pairs)
    quality = np.linspace(0.2, 0.8, candidates)[:, None]
    return quality * gold + noise * rng.normal(size=(candidates, pairs)), gold


def test_rows_correlate_as_scipy_says():
    similarities, gold = noisy(6, 30, 1.0, np.random.default_rng(0))
    similarities = similarities.round(0)  # ties
    expected = [100 * spearmanr(row, gold).statistic for row in similarities]
    np.testing.assert_allclose(demonstrations.spearman_rows(similarities, gold), expected)
    assert demonstrations.spearman_rows(similarities[0], gold) == pytest.approx(
        evaluation.spearman(similarities[0], gold)
    )
    assert np.isnan(demonstrations.spearman_rows(np.ones((1, 30)), gold)[0])


def test_regret_is_none_for_a_full_search_and_falls_with_the_cost():
    rng = np.random.default_rng(1)
    similarities, gold = noisy(16, 64, 1.5, rng)
    full, cost = demonstrations.regrets(similarities, gold, (64,), draws=20, rng=rng)
    assert (full == 0).all()
    assert cost == 16 * 64
    few, _ = demonstrations.regrets(similarities, gold, (4,), draws=200, rng=rng)
    halving, cost = demonstrations.regrets(similarities, gold, (8, 16, 32, 64), draws=200, rng=rng)
    assert cost == 16 * 8 + 8 * 8 + 4 * 16 + 2 * 32
    assert 0 <= halving.mean() < few.mean()
    uniform, same = demonstrations.regrets(similarities, gold, (cost // 16,), draws=200, rng=rng)
    assert same == cost
    assert halving.mean() < uniform.mean(), "halving spends the same pairs better"


def test_the_winner_of_equal_candidates_looks_better_than_it_is():
    rng = np.random.default_rng(2)
    gold = rng.uniform(0, 5, size=60)
    similarities = gold + 3.0 * rng.normal(size=(40, 60))  # all candidates are equally good
    baseline = gold + 3.0 * rng.normal(size=60)
    halves = demonstrations.split_halves(similarities, baseline, gold, draws=200, rng=rng)
    assert halves.chosen.shape == halves.other.shape == halves.average.shape == (200,)
    assert halves.chosen.mean() > halves.other.mean() + 5
    best = np.vstack([gold, similarities])
    real = demonstrations.split_halves(best, baseline, gold, draws=50, rng=rng)
    assert real.other.mean() > real.average.mean() + 10, "a candidate that is better stays better"
