"""From a plan to a folder of examples: stop and go on, servers that fail, what it costs."""

import json
import multiprocessing
import os
import random
import signal
import threading
import time
from types import MappingProxyType

import numpy as np
import pytest
from test_llm_server import completion, error, no_proxies, stub  # noqa: F401 (stub is a fixture)

from helpers import llm, synthesis

TASKS = {name: ["Given a bird, find its nest", "Given a nest, find its bird"] for name in synthesis.TWO_STEP}
PLAN = synthesis.Plan(3, tasks=TASKS, languages={"English": 1}, groups={"short-long": 2, "short-short": 1, "sts": 1})
OPTIONS = synthesis.Options(piece=20)
LETTERS = "abcdefghijklmnopqrstuvwxyz"


class Author:
    """Writes random words: an answer that is right mostly, and cut, broken or copied now and then."""

    name, revision = "author", "1"
    settings = MappingProxyType({"temperature": 1.0})

    def __init__(self, asked=None, pause=0.0):
        self.asked, self.pause = asked, pause

    def write(self, orders):
        if self.asked is not None:
            with self.asked.open("a") as file:
                file.write("".join(f"{order.seed}\n" for order in orders))
                file.flush()
                os.fsync(file.fileno())
            time.sleep(self.pause)
        return [self.answer(order) for order in orders]

    def answer(self, order):
        rng = random.Random(order.seed)
        keys = list(order.schema["properties"])
        if keys == ["tasks"]:
            return llm.Written(json.dumps({"tasks": [text_of(rng, 6) for _ in range(3)] + ["Find  it", "find it"]}))
        texts = [text_of(rng, 10) for _ in keys]
        fault = order.seed % 7
        if fault == 1:
            texts[1] = texts[0]
        if fault == 2:
            texts = ["the same text in every such answer", "which is a near duplicate", "and stays one"][: len(keys)]
        text = json.dumps(dict(zip(keys, texts, strict=True)))
        return llm.Written(text[:-4] if fault == 3 else text, fault != 4, 100, 50)


def text_of(rng, count):
    """Return words that no language identifier is sure of."""
    return " ".join("".join(rng.choices(LETTERS, k=rng.randint(1, 12))) for _ in range(count))


@pytest.fixture(autouse=True)
def _any_language(monkeypatch):
    """Random letters are of no language."""
    monkeypatch.setattr("helpers.synthesis.filters.is_wrong_language", lambda text, language: False)


def rows_of(folder):
    return [json.loads(line) for path in sorted((folder / "rows").glob("*")) for line in path.open(encoding="utf-8")]


def test_a_run_files_examples_that_datasets_opens(tmp_path):
    toll = synthesis.run(Author(), PLAN, 90, tmp_path / "run", options=OPTIONS)
    rows = rows_of(tmp_path / "run")
    assert len(rows) == toll.kept > 40
    table = {row["filter"]: row["all"] for row in toll.table()}
    assert min(table[name] for name in ("truncated", "invalid", "query copied", "near-duplicate")) > 0
    assert table["label in the text"] == table["wrong language"] == 0
    assert toll.tokens == {"prompt": 9000, "reply": 4500}
    dataset = synthesis.load(tmp_path / "run")
    assert tuple(dataset.column_names) == synthesis.COLUMNS
    assert dataset.to_list() == rows
    assert {row["instruction"] for row in rows} == {*TASKS["short-long"], "Retrieve semantically similar text."}
    asked = {request.id: request for request in synthesis.requests(PLAN, 90)}
    for row in rows:
        request = asked[row["id"]]
        assert (row["group"], row["task"], row["seed"]) == (request.group, request.task or "", request.seed)
        assert json.loads(row["placeholders"]) == request.placeholders


def test_the_rows_train_an_encoder(tmp_path):
    """The columns are those that a contrastive trainer reads, and none of the three is empty in groups of three."""
    from helpers.contrastive.encoder import COLUMNS

    synthesis.run(Author(), PLAN, 30, tmp_path / "run", options=OPTIONS)
    rows = [row for row in rows_of(tmp_path / "run") if row["group"] != "short-short"]
    assert rows
    assert all(row[column].strip() for row in rows for column in (*COLUMNS, "instruction"))


def test_a_finished_run_asks_nothing_and_a_larger_one_only_the_rest(tmp_path):
    asked = tmp_path / "asked.txt"
    asked.touch()
    first = synthesis.run(Author(asked), PLAN, 50, tmp_path / "run", options=OPTIONS)
    assert len(asked.read_text().splitlines()) == 50
    assert synthesis.run(Author(asked), PLAN, 50, tmp_path / "run", options=OPTIONS) == first
    assert len(asked.read_text().splitlines()) == 50
    synthesis.run(Author(asked), PLAN, 90, tmp_path / "run", options=OPTIONS)
    assert len(asked.read_text().splitlines()) == 90
    synthesis.run(Author(), PLAN, 90, tmp_path / "whole", options=OPTIONS)
    assert rows_of(tmp_path / "run") == rows_of(tmp_path / "whole")


def test_the_journals_of_a_run_replay_without_a_model(tmp_path):
    toll = synthesis.run(Author(), PLAN, 20, tmp_path / "run", options=OPTIONS)
    replay = llm.Replay(llm.Journal(tmp_path / "run" / "answers" / "00000.jsonl"))
    assert synthesis.run(replay, PLAN, 20, tmp_path / "again", options=OPTIONS) == toll
    assert rows_of(tmp_path / "again") == rows_of(tmp_path / "run")


@pytest.mark.parametrize(
    ("plan", "options", "message"),
    [
        (synthesis.Plan(4, tasks=TASKS), OPTIONS, "what differs: plan"),
        (PLAN, synthesis.Options(piece=10), "what differs: options"),
        (synthesis.Plan(3, tasks={}, languages=PLAN.languages, groups=PLAN.groups), OPTIONS, "what differs: texts"),
    ],
)
def test_a_folder_holds_one_run(tmp_path, plan, options, message):
    synthesis.run(Author(), PLAN, 20, tmp_path / "run", options=OPTIONS)
    with pytest.raises(ValueError, match=message):
        synthesis.run(Author(), plan, 20, tmp_path / "run", options=options)


def test_an_encoder_is_the_last_filter(tmp_path):
    def encode(texts):
        return np.array([[1.0, len(text)] for text in texts])

    with_it = synthesis.run(Author(), PLAN, 60, tmp_path / "with", options=OPTIONS, encode=encode)
    without = synthesis.run(Author(), PLAN, 60, tmp_path / "without", options=OPTIONS)
    last = with_it.table()[-1]
    assert last["all"] > 0
    assert last["short-short"] == 0  # has no negatives
    assert with_it.kept == without.kept - last["all"]


def test_nothing_to_load_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="no examples in the folder run"):
        synthesis.load(tmp_path / "run")
    with pytest.raises(ValueError, match="piece=0"):
        synthesis.Options(piece=0)


def test_orders_hold_what_the_options_say():
    request = next(synthesis.requests(PLAN, 1))
    plain = synthesis.order_for(request)
    assert (plain.prompt, plain.seed, plain.max_tokens) == (
        request.prompt,
        request.seed,
        synthesis.token_budget(request),
    )
    assert synthesis.order_for(request, synthesis.Options(constrained=False)).schema is None
    assert "maxLength" not in json.dumps(synthesis.order_for(request, synthesis.Options(bounded=False)).schema)
    assert synthesis.order_for(request, synthesis.Options(max_tokens=300)).max_tokens == 300


def work(folder, asked):
    synthesis.run(Author(asked, 0.01), PLAN, 300, folder, options=synthesis.Options(piece=50))


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is a signal of POSIX systems")
def test_a_run_killed_again_and_again_asks_nothing_twice_and_gives_the_same_rows(tmp_path):
    folder, asked = tmp_path / "run", tmp_path / "asked.txt"
    asked.touch()
    kills = 5
    for kill in range(kills + 1):
        # Forked, because a fresh process would import for seconds.
        process = multiprocessing.get_context("fork").Process(target=work, args=(folder, asked))
        before = len(asked.read_text().splitlines())
        process.start()
        while kill < kills and process.is_alive() and len(asked.read_text().splitlines()) <= before + 40:
            time.sleep(0.001)
        if kill < kills:
            time.sleep(0.004 * kill)  # each time at another point between asking, filtering and filing
            os.kill(process.pid, signal.SIGKILL)
        process.join(timeout=100)
        assert process.exitcode == (0 if kill == kills else -signal.SIGKILL)
    seeds = asked.read_text().splitlines()
    assert set(seeds) == {str(request.seed) for request in synthesis.requests(PLAN, 300)}
    assert len(seeds) <= 300 + 32 * kills  # at most the batch that was on its way
    synthesis.run(Author(), PLAN, 300, tmp_path / "whole", options=synthesis.Options(piece=50))
    assert rows_of(folder) == rows_of(tmp_path / "whole")
    journals = sorted((folder / "answers").glob("*.jsonl"))
    assert sum(len(llm.Journal(path)) for path in journals) == 300


def test_a_server_that_fails_costs_nothing_that_was_answered(stub, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    lock, count = threading.Lock(), iter(range(10**6))

    def moody(prompt):
        with lock:
            number = next(count)
        if number in (10, 25):
            return error(400, "out of order")
        rng = random.Random(number)
        keys = [
            key
            for key in ("user_query", "positive_document", "hard_negative_document", "input")
            if f'"{key}"' in prompt
        ]
        keys = keys or ["S1", "S2", "S3"]
        return 200, completion(json.dumps({key: text_of(rng, 9) for key in sorted(keys, key=prompt.index)})), {}

    server, author = stub(moody, workers=1, temperature=1.0)
    for _ in range(2):
        with pytest.raises(llm.ServerError, match="out of order"):
            synthesis.run(author, PLAN, 40, tmp_path / "run", options=OPTIONS)
    toll = synthesis.run(author, PLAN, 40, tmp_path / "run", options=OPTIONS)
    assert len(server.seen) == 40 + 2
    assert toll.kept > 30


# --- Brainstorming ----------------------------------------------------------------------------------------------------


def test_a_brainstorm_gives_each_task_once_and_is_asked_once(tmp_path):
    asked = tmp_path / "asked.txt"
    asked.touch()
    journal = llm.Journal(tmp_path / "j.jsonl")
    found = synthesis.brainstorm(Author(asked), 8, seed=1, journal=journal)
    assert list(found) == list(synthesis.TWO_STEP)
    assert all(len(tasks) == len(set(tasks)) == 2 * 3 + 1 for tasks in found.values())
    assert all("Find  it" in tasks for tasks in found.values())
    assert synthesis.brainstorm(Author(asked), 8, seed=1, journal=journal) == found
    assert len(asked.read_text().splitlines()) == 8
    synthesis.Plan(1, tasks=found)


def test_a_brainstorm_without_an_answer_that_can_be_read_is_an_error(caplog):
    class Silent(Author):
        def answer(self, order):
            return llm.Written("I would rather not.") if order.seed % 2 else super().answer(order)

    seeds = [request.seed % 2 for request in synthesis.brainstorms(5, 12, groups=["short-long"])]
    assert 0 < sum(seeds) < 12
    assert synthesis.brainstorm(Silent(), 12, seed=5, groups=["short-long"])["short-long"]
    assert f"{sum(seeds)} of 12 brainstorms could not be read" in caplog.text
    silent = next(seed for seed in range(50) if next(synthesis.brainstorms(seed, 1)).seed % 2)
    with pytest.raises(ValueError, match="no answer to a brainstorm of 'short-long' could be read"):
        synthesis.brainstorm(Silent(), 1, seed=silent)


# --- Cost -------------------------------------------------------------------------------------------------------------


def test_an_estimate_adds_up_and_grows_with_the_run():
    small, large = (synthesis.estimate(PLAN, count, sample=400) for count in (1000, 500_000))
    assert sum(large.requests.values()) == pytest.approx(500_000, abs=3)
    assert large.sampled == small.sampled == 400
    for group in PLAN.groups:
        assert large.tokens_out[group] == pytest.approx(500 * small.tokens_out[group], rel=0.01)
    total = large.table()[-1]
    assert (total["group"], total["tokens in"]) == ("all", sum(large.tokens_in.values()))
    counted = synthesis.estimate(PLAN, 1000, count_tokens=lambda text: 7, sample=400)
    assert sum(counted.tokens_in.values()) == pytest.approx(7000, abs=3)


def test_the_published_run_is_estimated_within_a_factor_of_two():
    """The paper counts 180 million tokens for 500,000 examples; models write less than they are asked for."""
    table = synthesis.estimate(synthesis.Plan(1, tasks=TASKS), 500_000, sample=1000).table()
    assert 180e6 / 2 < table[-1]["tokens in"] + table[-1]["tokens out"] < 180e6 * 2


def test_costs_are_those_by_hand():
    estimate = synthesis.Estimate({"sts": 10}, {"sts": 2_000_000}, {"sts": 1_000_000}, 10)
    rates = [
        synthesis.Rate("laptop", tokens_per_second=100),
        synthesis.Rate("own server", tokens_per_second=1000, per_hour=2),
        synthesis.Rate("paid by token", per_million=(3, 15), tokens_per_second=500),
    ]
    rows = estimate.costs(rates)
    assert [row["backend"] for row in rows] == ["laptop", "own server", "paid by token"]
    assert [row["hours"] for row in rows] == pytest.approx([1e4 / 3600, 1e3 / 3600, 2e3 / 3600])
    assert [row["cost"] for row in rows] == pytest.approx([0, 2e3 / 3600, 21])


def test_rates_are_measured_and_checked():
    assert synthesis.measured_rate([llm.Written("", True, 1, 30), llm.Written("", True, 1, 20)], 4) == 12.5
    with pytest.raises(ValueError, match="seconds=0"):
        synthesis.measured_rate([], 0)
    with pytest.raises(ValueError, match="did not count"):
        synthesis.measured_rate([llm.Written("")], 1)
    for bad in ({"per_million": (-1, 0)}, {"tokens_per_second": 0}, {"per_hour": -1}):
        with pytest.raises(ValueError, match="x: prices should be 0 or more"):
            synthesis.Rate("x", **bad)
    with pytest.raises(ValueError, match="count=0"):
        synthesis.estimate(PLAN, 0)
