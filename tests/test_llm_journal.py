"""The journal: what was asked once is never asked again, whatever kills the run."""

import json
import logging
import multiprocessing
import os
import signal
import time
from pathlib import Path
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import llm
from helpers.llm import journal as journal_module

PARTS = {"model": "m", "revision": "1", "kind": "reply", "parameters": {"max_tokens": 5}, "text": "a"}


def filed(path, count=3):
    journal = llm.Journal(path)
    journal.put_all([(f"k{n}", n, {"model": "m"}) for n in range(count)])
    return journal


@pytest.mark.parametrize(
    "change", [{"model": "n"}, {"revision": "2"}, {"kind": "option"}, {"parameters": {"max_tokens": 6}}, {"text": "b"}]
)
def test_a_key_changes_with_everything_that_the_answer_depends_on(change):
    assert llm.answer_key(**PARTS) != llm.answer_key(**PARTS | change)
    assert llm.answer_key(**PARTS) == llm.answer_key(**dict(reversed(PARTS.items())))


def test_answers_come_back_from_the_file_with_their_facts(tmp_path):
    path = tmp_path / "deep" / "answers.jsonl"
    filed(path)
    again = llm.Journal(path)
    assert len(again) == 3
    assert [again.get(f"k{n}") for n in range(3)] == [0, 1, 2]
    assert again.get("absent") is None
    assert "k1" in again
    assert again.facts()[0] == {"key": "k0", "model": "m"}


def test_the_first_answer_to_a_key_stays(tmp_path):
    journal = filed(tmp_path / "j.jsonl")
    size = journal.path.stat().st_size
    journal.put("k0", "another")
    assert journal.get("k0") == 0
    assert journal.path.stat().st_size == size


@settings(max_examples=40, deadline=None)
@given(text=st.text(alphabet=st.characters(exclude_categories=[]), max_size=30))
def test_any_text_survives_as_one_line(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("j") / "j.jsonl"
    llm.Journal(path).put(llm.answer_key(**PARTS | {"text": text}), text, note=text)
    assert path.read_bytes().count(b"\n") == 1
    assert llm.Journal(path).get(llm.answer_key(**PARTS | {"text": text})) == text


@pytest.mark.parametrize("answer", [float("nan"), object(), {1, 2}])
def test_an_answer_that_json_cannot_hold_writes_nothing(tmp_path, answer):
    journal = filed(tmp_path / "j.jsonl")
    before = journal.path.read_bytes()
    with pytest.raises(ValueError, match="JSON cannot hold the answer"):
        journal.put_all([("fine", 1, {}), ("bad", answer, {})])
    assert journal.path.read_bytes() == before
    assert "fine" not in journal


@pytest.mark.parametrize("torn", [b'{"key": "k9", "ans', b"\x00" * 20, b'{"key": "\xc3', b"{}"])
def test_a_torn_last_line_is_cut_off_and_logged(tmp_path, caplog, torn):
    journal = filed(tmp_path / "j.jsonl")
    whole = journal.path.read_bytes()
    journal.path.write_bytes(whole + torn)
    with caplog.at_level(logging.WARNING):
        again = llm.Journal(journal.path)
    assert "cut off a torn last line" in caplog.text
    assert len(again) == 3
    assert journal.path.read_bytes() == whole
    again.put("k9", 9)
    assert llm.Journal(journal.path).get("k9") == 9


def test_a_last_line_that_only_lacks_its_break_is_kept(tmp_path):
    journal = filed(tmp_path / "j.jsonl")
    whole = journal.path.read_bytes()
    journal.path.write_bytes(whole[:-1])
    again = llm.Journal(journal.path)
    again.put("k9", 9)
    assert journal.path.read_bytes().startswith(whole)
    assert len(llm.Journal(journal.path)) == 4


def test_every_place_where_the_file_can_end_keeps_all_whole_lines(tmp_path):
    journal = filed(tmp_path / "j.jsonl", count=4)
    whole = journal.path.read_bytes()
    for end in range(len(whole) + 1):
        journal.path.write_bytes(whole[:end])
        assert len(llm.Journal(journal.path)) >= whole[:end].count(b"\n")


@pytest.mark.parametrize("damage", [b"not json", b'{"answer": 1}', b"[1]", b'{"key": "a"}', b"\xff\xfe", b""])
def test_a_damaged_line_in_the_middle_is_named(tmp_path, damage):
    journal = filed(tmp_path / "j.jsonl")
    lines = journal.path.read_bytes().splitlines()
    journal.path.write_bytes(b"\n".join([lines[0], damage, lines[2]]) + b"\n")
    with pytest.raises(ValueError, match=r"j\.jsonl, line 2, is damaged"):
        llm.Journal(journal.path)


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    journal = filed(tmp_path / "j.jsonl")
    before = journal.path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(journal_module.os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            journal.put("k9", 9)
    assert journal.path.read_bytes() == before
    journal.put("k9", 9)
    assert llm.Journal(journal.path).get("k9") == 9


def test_lines_of_one_call_are_flushed_once(tmp_path, monkeypatch):
    journal = filed(tmp_path / "j.jsonl")
    calls = []
    monkeypatch.setattr(journal_module.os, "fsync", calls.append)
    journal.put_all([(f"n{n}", n, {}) for n in range(50)])
    assert len(calls) == 1


def test_two_journals_of_one_file_see_each_other(tmp_path):
    one, two = filed(tmp_path / "j.jsonl"), llm.Journal(tmp_path / "j.jsonl")
    one.put("x", 1)
    two.put("x", 2)
    assert two.get("x") == 1
    two.put("y", 2)
    one.refresh()
    assert one.get("y") == 2
    one.path.unlink()
    one.put("z", 3)
    assert llm.Journal(one.path).get("z") == 3


def test_a_journal_without_a_file_stays_in_memory():
    journal = llm.Journal()
    journal.put("a", 1)
    assert (journal.get("a"), len(journal)) == (1, 1)


def write(path, name):
    journal = llm.Journal(path)
    for n in range(150):
        journal.put_all([(f"{name}-{n}-{m}", "x" * (50 * m), {}) for m in range(3)])


def start(function, *arguments):
    """Run a function in a process of its own; forked, because a fresh one would import for seconds."""
    process = multiprocessing.get_context("fork").Process(target=function, args=arguments)
    process.start()
    return process


def finish(process):
    process.join(timeout=100)
    return process.exitcode


def test_two_processes_do_not_tear_each_others_lines(tmp_path):
    writers = [start(write, tmp_path / "j.jsonl", name) for name in "ab"]
    assert [finish(writer) for writer in writers] == [0, 0]
    lines = (tmp_path / "j.jsonl").read_text().splitlines()
    assert len({json.loads(line)["key"] for line in lines}) == len(lines) == 2 * 150 * 3


class Slow:
    name, revision, settings = "slow", "1", MappingProxyType({})

    def __init__(self, asked):
        self.asked = asked

    def reply(self, prompts, *, max_tokens):
        with self.asked.open("a") as file:
            file.write("".join(f"{prompt}\n" for prompt in prompts))
            file.flush()
            os.fsync(file.fileno())
        time.sleep(0.005)
        return [f"Choice {1 + len(prompt) % 2}" for prompt in prompts]


def ask_all(path, asked):
    filed = llm.Journalled(Slow(asked), llm.Journal(path))
    for first in range(0, 600, 3):
        filed.reply([f"p{n}" for n in range(first, first + 3)], max_tokens=5)


def keys(path):
    return {facts["key"] for facts in llm.Journal(path).facts()}


def key_of(prompt):
    return llm.answer_key(model="slow", revision="1", kind="reply", parameters={"max_tokens": 5}, text=prompt)


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is a signal of POSIX systems")
def test_a_run_killed_again_and_again_asks_nothing_twice_and_loses_nothing(tmp_path):
    path, asked = tmp_path / "j.jsonl", tmp_path / "asked.txt"
    asked.touch()
    for kill in range(7):
        known, before = keys(path), asked.read_text().splitlines()
        run = start(ask_all, path, asked)
        while kill < 6 and run.is_alive() and len(asked.read_text().splitlines()) < len(before) + 30 + 9 * kill:
            time.sleep(0.001)
        if kill < 6:
            time.sleep(0.0015 * kill)  # each time at another point between asking and filing
            os.kill(run.pid, signal.SIGKILL)
        assert finish(run) == (-signal.SIGKILL if kill < 6 else 0)
        new = asked.read_text().splitlines()[len(before) :]
        assert not {key_of(prompt) for prompt in new} & known
        assert known <= keys(path)
    journal = llm.Journal(path)
    assert len(journal) == 600
    assert all(journal.get(key_of(f"p{n}")) == f"Choice {1 + len(f'p{n}') % 2}" for n in range(600))
    # Only what was on its way when a kill came may have been asked again: at most one batch for each kill.
    assert len(asked.read_text().splitlines()) <= 600 + 3 * 6


ROWS = [
    {
        "input": f"Query: where is it {n}?\nChoice 1: near\nby\nChoice 2: far\nChoice",
        "prepared": f"asked {n}",
        "content": f" Choice {n}",
        "prediction": [str(n)],
    }
    for n in (1, 2)
]


def recorded(tmp_path, rows):
    path = tmp_path / "pred.json"
    path.write_text(rows if isinstance(rows, str) else json.dumps(rows))
    return path


def test_recorded_answers_replay_in_their_words_and_in_ours(tmp_path):
    path = recorded(tmp_path, ROWS)
    assert llm.Replay(llm.from_recorded(path)).reply(["asked 2", "asked 1"], max_tokens=20) == [
        " Choice 2",
        " Choice 1",
    ]
    ours = llm.from_recorded(path, prompt=lambda *texts: "|".join(texts))
    replay = llm.Replay(ours)
    assert replay.name == "berkeley-nest/Starling-LM-7B-alpha"
    assert replay.reply(["where is it 2?|near\nby|far"], max_tokens=20) == [" Choice 2"]
    with pytest.raises(ValueError, match=r"1 of 1 answers .* are missing"):
        replay.reply(["asked 2"], max_tokens=20)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("{", "is not a JSON file"),
        ({"a": 1}, "should hold a list of answers, got dict"),
        ([ROWS[0], {"input": "x"}], "row 2, has no text under 'prepared'"),
        ([ROWS[0] | {"input": "Query: a"}], "row 1, is not a query with two choices"),
        ([7], "row 1, has no text under 'input'"),
    ],
)
def test_a_file_of_another_form_is_refused_with_its_row(tmp_path, rows, message):
    with pytest.raises(ValueError, match=message):
        llm.from_recorded(recorded(tmp_path, rows))


def test_a_missing_file_of_recorded_answers_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file x\.json"):
        llm.from_recorded(tmp_path / "x.json")


def test_the_public_recorded_answers_can_be_read():
    mirror = os.environ.get("EMBEDDING_BOOK_MIRROR", "")
    folder = Path(mirror) / "datasets/EMBwithLLM/EMBwithLLM/perspective/1_predict_triplet/predicted_triplet_results"
    if not mirror or not folder.is_dir():
        pytest.skip("needs the recorded answers in the folder that EMBEDDING_BOOK_MIRROR names")
    files = sorted(folder.glob("*-pred.json"))
    assert len(files) == 4
    for path in files:
        assert len(llm.from_recorded(path)) == 1024
        rows = json.loads(path.read_text(encoding="utf-8"))
        replies = llm.Replay(llm.from_recorded(path)).reply([row["prepared"] for row in rows], max_tokens=20)
        assert replies == [row["content"] for row in rows]
