"""What chapter 05 says of its committed records is what they say."""

import pytest

from helpers import records, settings

ROWS = records.load(settings.DATA / "records" / "benchmark" / "05_learning_from_answers.json")
GAINS = {
    (row["dataset"]["name"], row["method"]): row["paired_difference"]["ci95"]
    for row in ROWS
    if row["metric"] == "NMI" and row["control"] == "no training"
}
JUDGE = "SmolLM2 by likelihood"


@pytest.mark.parametrize("name", ["intents", "topics", "entities"])
def test_the_oracle_gains_on_each_of_the_books_sets(name):
    assert GAINS[name, "oracle"][0] > 0


def test_what_a_coin_does_differs_from_set_to_set():
    coin = {name: GAINS[name, "random answers"] for name in ("intents", "topics", "entities")}
    assert coin["topics"][1] < 0
    assert all(low < 0 < high for low, high in (coin["intents"], coin["entities"]))


@pytest.mark.parametrize("teacher", ["self", JUDGE])
def test_self_and_the_small_judge_gain_on_the_entities_only(teacher):
    assert GAINS["entities", teacher][0] > 0
    assert all(GAINS[name, teacher][0] < 0 for name in ("intents", "topics"))


def test_the_curve_leaves_zero_at_seven_right_answers_in_ten():
    above = {share: GAINS["intents", f"labels, {share} % right"][0] > 0 for share in (50, 60, 70, 80, 90, 100)}
    assert above == {50: False, 60: False, 70: True, 80: True, 90: True, 100: True}


def beyond_random(name):
    return {
        row["method"]: row["ci95"]
        for row in ROWS
        if row["metric"] == "NMI beyond random answers" and row["dataset"]["name"] == name
    }


def test_on_banking77_the_coin_has_more_than_half_of_each_gain():
    rows = [row for row in ROWS if row["dataset"]["name"] == "banking77" and row["control"] == "no training"]
    gains = {row["method"]: row["paired_difference"]["mean"] for row in rows if row["metric"] == "NMI"}
    coin = gains.pop("random answers")
    assert set(gains) == {"self", JUDGE, "recorded Starling-7B", "oracle"}
    assert all(0 < gain < 1 and coin > gain / 2 for gain in gains.values())


def test_on_banking77_no_teachers_lead_over_the_coin_excludes_zero():
    leads = beyond_random("banking77")
    assert set(leads) == {"self", JUDGE, "recorded Starling-7B", "oracle"}
    assert all(low < 0 < high for low, high in leads.values())
