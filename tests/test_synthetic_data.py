"""The written examples that ship with the book are what their card says, and came from the prompts of the helpers."""

import json
from collections import Counter

import pytest

from helpers import datasets, llm, settings, synthesis
from helpers.synthesis.taxonomy import TWO_STEP, group_named

ROWS = list(datasets.load("synthetic"))
SEED = 20240


def request_of(row):
    number = int(row["id"].split("-")[1])
    given = json.loads(row["placeholders"])
    return synthesis.request(synthesis.Plan(SEED), row["group"], number, task=row["task"] or None, given=given)


def filed():
    path = settings.DATA / "synthetic" / "train.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_groups_are_equally_frequent_and_dealt_out_evenly():
    assert Counter(row["group"] for row in ROWS) == dict.fromkeys(synthesis.GROUPS, 50)
    for start in range(0, 300, 6):
        assert len({row["group"] for row in ROWS[start : start + 6]}) == 6


def test_there_are_at_least_eight_languages_and_as_many_pairs_of_them():
    found = Counter(row["language"] for row in ROWS)
    assert len([language for language in found if " to " not in language]) >= 8
    assert len([language for language in found if " to " in language]) >= 8


@pytest.mark.parametrize("group", synthesis.GROUPS)
def test_tasks_and_hard_negatives_are_there_where_the_group_has_them(group):
    for row in [row for row in ROWS if row["group"] == group]:
        assert bool(row["task"]) == (group in TWO_STEP)
        assert bool(row["negative"]) == (group_named(group).negative is not None)
        assert row["instruction"].strip()


def test_each_row_makes_its_prompt_again():
    rows = filed()
    assert [request_of(row).id for row in rows] == [row["id"] for row in rows]
    assert len({row["id"] for row in rows}) == 300


def test_all_rows_pass_the_filters_that_read_text():
    answers = []
    for row in filed():
        asked, group = request_of(row), group_named(row["group"])
        fields = {group.anchor: row["anchor"], group.positive: row["positive"], group.negative: row["negative"]}
        text = json.dumps({key: fields[key] for key in asked.keys}, ensure_ascii=False)
        answers.append(synthesis.Answer(asked, synthesis.order_for(asked), llm.Written(text)))
    kept, dropped, toll = synthesis.sift(answers, model="", revision="", seen=synthesis.Seen())
    assert not [(one.request.id, one.filter, one.why) for one in dropped]
    assert toll.kept == len(kept) == 300
