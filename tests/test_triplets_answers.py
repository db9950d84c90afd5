"""Answers: reading them, making them, training on them, and the audit of those that were recorded."""

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import datasets, prompts, triplets

MIRROR = os.environ.get(datasets.MIRROR_VARIABLE)
needs_mirror = pytest.mark.skipif(not MIRROR, reason=f"{datasets.MIRROR_VARIABLE} is not set: no public data here")
LABELS = ["red", "red", "blue", "blue", "green"]
#                    1          2          both       neither    1
TRIPLETS = np.array([[0, 1, 2], [2, 0, 3], [0, 1, 1], [4, 0, 2], [3, 2, 4]])
ANSWERS = st.lists(st.sampled_from([1, 2, None]), min_size=1, max_size=30)


@pytest.mark.parametrize(
    ("reply", "choice"),
    [
        ("Choice 1", 1),
        (" Choice 2", 2),
        ("choice 2.", 2),
        ("CHOICE 1", 1),
        ("choice: 2", 2),
        ("Choice #1", 1),
        ("Choice **2**", 2),
        ("Choice (1)", 1),
        ("The answer is Choice 2, because both speak of rain.", 2),
        ("Choice 1\nChoice 1 is about cards.", 1),
        ("Choice\n2", 2),
        ("I would pick choice 1 of the 2.", 1),
        ("1", 1),
        ("2.", 2),
        (" (1) ", 1),
        ('"2"', 2),
        ("**1**", 1),
        ("2\n", 2),
        ("", None),
        ("Neither choice.", None),
        ("Both choices are right", None),
        ("Choice 1 or Choice 2", None),
        ("Choice 1 and 2", None),
        ("Choices 1 and 2", None),
        ("choice 1/2", None),
        ("Choice 2 is better than Choice 1", None),
        ("Choice 3", None),
        ("Choice 12", None),
        ("Choice 1st", None),
        ("1 2", None),
        ("12", None),
        ("3", None),
        ("I have 2 cards", None),
        ("the first one", None),
        ("multiplechoice 1", None),
    ],
)
def test_parse_choice(reply, choice):
    assert triplets.parse_choice(reply) == choice


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ("Yes", True),
        (" yes.", True),
        ("NO", False),
        ("No, they differ.", False),
        ("Yes and no", None),
        ("", None),
        ("Not sure", None),
        ("I know nothing, yesterday", None),
    ],
)
def test_parse_yes_no(reply, said):
    assert triplets.parse_yes_no(reply) is said


@pytest.mark.parametrize("parse", [triplets.parse_choice, triplets.parse_yes_no])
def test_a_reply_is_a_text(parse):
    with pytest.raises(ValueError, match="a reply should be a text, got None of type NoneType"):
        parse(None)


class TestTeachers:
    def test_gold(self):
        assert triplets.gold_answers(TRIPLETS, LABELS).tolist() == [1, 2, 0, -1, 1]
        assert triplets.gold_answers(TRIPLETS, [7, 7, 3, 3, 5]).tolist() == [1, 2, 0, -1, 1]

    def test_the_oracle_is_silent_where_labels_do_not_decide(self):
        assert triplets.oracle_answers(TRIPLETS, LABELS) == [1, 2, None, None, 1]

    def test_self_takes_the_nearer_and_the_second_of_equals(self):
        x = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, -1.0], [3.0, 3.0]])
        asked = np.array([[0, 1, 3], [0, 3, 1], [0, 1, 2], [0, 2, 1]])
        assert triplets.self_answers(x, asked) == [1, 2, 2, 2]

    def test_self_measures_lengths_too(self):
        """By cosine, the first choice would win."""
        assert triplets.self_answers(np.array([[1.0, 0.0], [9.0, 0.0], [1.0, 1.0]]), np.array([[0, 1, 2]])) == [2]

    @pytest.mark.parametrize("answers", [[1, 2, None, 1], np.array([1, 2, 0, 1]), np.array([1, 2, -1, 1])])
    def test_perfect_and_worst_noise(self, answers):
        assert triplets.noisy_oracle(answers, 1.0, np.random.default_rng(0)) == [1, 2, None, 1]
        assert triplets.noisy_oracle(answers, 0.0, np.random.default_rng(0)) == [2, 1, None, 2]

    def test_noise_is_as_asked_and_mistakes_are_nested(self):
        right = [1, 2, None, 2] * 2500
        wrong = {}
        for accuracy in (0.9, 0.7, 0.5):
            made = triplets.noisy_oracle(right, accuracy, np.random.default_rng(5))
            wrong[accuracy] = {i for i, (a, b) in enumerate(zip(right, made, strict=True)) if a != b}
            assert 1 - len(wrong[accuracy]) / 7500 == pytest.approx(accuracy, abs=0.02)
        assert wrong[0.9] < wrong[0.7] < wrong[0.5]

    @pytest.mark.parametrize("accuracy", [-0.1, 1.01, float("nan"), 73.9])
    def test_accuracy_is_a_share(self, accuracy):
        with pytest.raises(ValueError, match="accuracy="):
            triplets.noisy_oracle([1], accuracy, np.random.default_rng(0))

    def test_a_coin(self):
        thrown = triplets.random_answers(4000, np.random.default_rng(1))
        assert set(thrown) == {1, 2}
        assert 0.47 < np.mean(np.array(thrown) == 1) < 0.53

    @pytest.mark.parametrize(
        ("asked", "message"),
        [
            (np.array([[0, 1, 5]]), "triplet 0 names row 5; rows are from 0 to 4"),
            (np.array([[0, 1, 2], [-1, 1, 2]]), "triplet 1 names row -1"),
            (np.array([[0, 1]]), r"shape \(n, 3\), got shape \(1, 2\)"),
            (np.array([[0.0, 1.0, 2.0]]), "whole numbers .* float64"),
        ],
    )
    def test_bad_triplets(self, asked, message):
        with pytest.raises(ValueError, match=message):
            triplets.gold_answers(asked, LABELS)
        with pytest.raises(ValueError, match=message):
            triplets.self_answers(np.zeros((5, 2)), asked)


class TestToTraining:
    TEXTS = ("a", "b", "c", "d", "e")

    def test_the_answer_becomes_the_positive_and_none_gives_none(self):
        made = triplets.to_training(self.TEXTS, TRIPLETS, [1, 2, None, 2, 1], prefix="query: ")
        assert made[1] == {
            "anchor": "query: c", "positive": "query: d", "negative": "query: a",
            "anchor_row": 2, "positive_row": 3, "negative_row": 0,
        }  # fmt: skip
        assert [(row["anchor_row"], row["positive_row"], row["negative_row"]) for row in made] == [
            (0, 1, 2), (2, 3, 0), (4, 2, 0), (3, 2, 4),
        ]  # fmt: skip

    @given(ANSWERS)
    def test_one_row_for_each_answer(self, answers):
        asked = np.array([[0, 1, 2]] * len(answers))
        made = triplets.to_training(self.TEXTS, asked, answers)
        assert [row["positive"] for row in made] == [self.TEXTS[a] for a in answers if a]

    @pytest.mark.parametrize(
        ("answers", "message"),
        [([1], "1 answers do not match 5 triplets"), ([1, 2, 0, 1, 1], "answer 2 is 0; it should be 1, 2 or None")],
    )
    def test_bad_answers(self, answers, message):
        with pytest.raises(ValueError, match=message):
            triplets.to_training(self.TEXTS, TRIPLETS, answers)


class TestAudit:
    GOLD = np.array([1, 2, 0, -1, 1])

    def test_counts_by_hand(self):
        found = triplets.audit(TRIPLETS, [1, 1, 2, None, None], self.GOLD, other=[1, 2, 2, 1, None])
        assert (found.triplets, found.decidable, found.both, found.neither, found.answered) == (5, 3, 1, 1, 3)
        assert (found.accuracy, found.accuracy_when_1, found.accuracy_when_2) == (50.0, 100.0, 0.0)
        assert found.share_1 == pytest.approx(200 / 3)
        assert found.agreement == pytest.approx(200 / 3)
        assert found.queries == 4

    def test_nothing_to_take_a_share_of_is_not_a_number(self):
        found = triplets.audit(TRIPLETS[2:4], [None, None], np.array([0, -1]))
        assert all(map(math.isnan, (found.accuracy, found.accuracy_when_1, found.accuracy_when_2, found.share_1)))
        assert found.agreement is None

    @given(ANSWERS, st.randoms(use_true_random=False))
    def test_accuracy_on_decidable(self, answers, random):
        gold = [random.choice([1, 2, 0, -1]) for _ in answers]
        hits = [a == g for a, g in zip(answers, gold, strict=True) if g > 0 and a]
        found = triplets.accuracy_on_decidable(answers, np.array(gold))
        assert found == pytest.approx(100 * np.mean(hits)) if hits else math.isnan(found)

    def test_the_oracle_is_right(self):
        assert triplets.accuracy_on_decidable(triplets.oracle_answers(TRIPLETS, LABELS), self.GOLD) == 100

    @pytest.mark.parametrize(
        ("answers", "gold", "message"),
        [([1], [1, 2], "gold has shape"), ([1], [3], "gold holds .*3"), ([3], [1], "answer 0 is 3")],
    )
    def test_bad_values(self, answers, gold, message):
        with pytest.raises(ValueError, match=message):
            triplets.accuracy_on_decidable(answers, np.array(gold))


class TestRecorded:
    def write(self, path, *predictions):
        rows = {"query_idx": 4, "choice1_idx": 0, "choice2_idx": 2}
        path.write_text(json.dumps([rows | prediction for prediction in predictions]), encoding="utf-8")
        return path

    def test_every_spelling(self, tmp_path):
        spelled = [["1"], [" 2"], [], [" 1", " 2"], "2", 1, None]
        path = self.write(tmp_path / "p.json", *({"prediction": value} for value in spelled), {})
        asked, answers = triplets.recorded_answers(path)
        assert answers == [1, 2, None, None, 2, 1, None, None]
        assert asked.tolist() == [[4, 0, 2]] * 8

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("[{", "p.json is not JSON"),
            ("[]", "list of records"),
            ("{}", "list of records"),
            ("[3]", "record 0: should be an object"),
            ('[{"query_idx": 1, "choice1_idx": 2}]', "record 0: choice2_idx=None"),
            ('[{"query_idx": 1, "choice1_idx": -2, "choice2_idx": 3}]', "record 0: choice1_idx=-2"),
            (
                '[{"query_idx": 1, "choice1_idx": 2, "choice2_idx": 3, "prediction": ["3"]}]',
                "record 0: prediction=..3.. should name 1, 2",
            ),
        ],
    )
    def test_bad_files(self, tmp_path, content, message):
        (tmp_path / "p.json").write_text(content)
        with pytest.raises(ValueError, match=message):
            triplets.recorded_answers(tmp_path / "p.json")


def test_the_file_of_recorded_answers_is_found_in_a_mirror_alone(tmp_path, monkeypatch):
    entry = datasets.spec("banking77")
    folder = tmp_path / "datasets" / entry.mirror / "perspective" / "1_predict_triplet" / "predicted_triplet_results"
    folder.mkdir(parents=True)
    monkeypatch.setenv(datasets.MIRROR_VARIABLE, str(tmp_path))
    assert triplets.recorded_file("banking77") is None
    (folder / "banking77_embed=gte-pred.json").write_text("[]")
    assert triplets.recorded_file("banking77").name == "banking77_embed=gte-pred.json"
    assert triplets.recorded_file("intents") is None
    monkeypatch.delenv(datasets.MIRROR_VARIABLE)
    assert triplets.recorded_file("banking77") is None
    with pytest.raises(ValueError, match="did you mean 'banking77'"):
        triplets.recorded_file("banking7")


#   set: decidable, both, neither, accuracy, answers 1, accuracy when gold is 1 and 2, queries
PUBLISHED = {
    "banking77": (506, 72, 446, 73.9, 495, 69.4, 78.3, 612),
    "fewnerd": (374, 68, 582, 65.5, 284, 42.4, 83.7, 744),
    "stackexchange": (190, 5, 829, 54.2, 628, 68.9, 41.0, 824),
    "mtop-domain": (223, 714, 87, 65.5, 565, 72.4, 59.3, 865),
}


@needs_mirror
@pytest.mark.parametrize("name", PUBLISHED)
class TestStarling:
    """The answers of Starling-LM-7B that EMBwithLLM publishes: 1,024 for each of four sets."""

    def file(self, name, folder="predicted_triplet_results"):
        entry = datasets.spec(name)
        key = Path(entry.mirror_path("test")).parts[-2]
        base = Path(MIRROR) / "datasets" / entry.mirror / "perspective" / "1_predict_triplet"
        (found,) = (base / folder).glob(f"{key}_*.json")
        return found

    @pytest.fixture
    def rows(self, monkeypatch, name):
        monkeypatch.setenv(datasets.MIRROR_VARIABLE, MIRROR)
        return datasets.load(name, source="mirror")

    def test_the_audit(self, name, rows):
        decidable, both, neither, accuracy, ones, when_1, when_2, queries = PUBLISHED[name]
        asked, answers = triplets.recorded_answers(self.file(name))
        found = triplets.audit(asked, answers, triplets.gold_answers(asked, rows["label"]))
        assert (found.triplets, found.answered, found.queries) == (1024, 1024, queries)
        assert (found.decidable, found.both, found.neither) == (decidable, both, neither)
        assert found.accuracy == pytest.approx(accuracy, abs=0.05)
        assert found.share_1 == pytest.approx(100 * ones / 1024)
        assert (found.accuracy_when_1, found.accuracy_when_2) == pytest.approx((when_1, when_2), abs=0.06)

    def test_row_numbers_are_those_of_our_rows(self, name, rows):
        ours = list(rows["text"])
        for record in json.loads(self.file(name).read_text(encoding="utf-8")):
            texts = [ours[record[key]] for key in ("query_idx", "choice1_idx", "choice2_idx")]
            assert record["input"] == "Query: {}\nChoice 1: {}\nChoice 2: {}\nChoice".format(*texts)

    def test_our_gold_and_our_parser_agree_with_theirs(self, name, rows):
        records = json.loads(self.file(name).read_text(encoding="utf-8"))
        asked, answers = triplets.recorded_answers(self.file(name))
        assert [triplets.parse_choice(record["content"]) for record in records] == answers
        spelled = {" 1": 1, " 2": 2, "both": 0, None: -1, "None": -1}
        assert [spelled[record["output"]] for record in records] == triplets.gold_answers(asked, rows["label"]).tolist()

    def test_sampled_files_have_no_answers(self, name):
        asked, answers = triplets.recorded_answers(self.file(name, "sampled_triplet_results"))
        np.testing.assert_array_equal(asked, triplets.recorded_answers(self.file(name))[0])
        assert set(answers) == {None}


class TestQuestions:
    @pytest.mark.parametrize("name", [*PUBLISHED, "intents", "topics", "entities"])
    def test_every_clustering_set_has_an_instruction(self, name):
        for table in (prompts.TRIPLET_INSTRUCTIONS, prompts.PAIR_INSTRUCTIONS):
            assert prompts.KINDS[name][1] in table[name]
            assert table[name].endswith("?")

    def test_every_clustering_set_is_covered(self):
        assert set(prompts.KINDS) == {name for name, e in datasets.REGISTRY.items() if e.task == "clustering"}

    def test_the_instruction_stands_before_or_after(self):
        texts = ("Where is my {card}?", "Card lost", "Weather")
        lines = "Query: Where is my {card}?\nChoice 1: Card lost\nChoice 2: Weather"
        assert prompts.triplet_question("Which?", *texts) == f"Which?\n\n{lines}\n\n{prompts.TRIPLET_REQUEST}"
        after = prompts.triplet_question("Which?", *texts, order="after")
        assert after == f"{lines}\n\nWhich? {prompts.TRIPLET_REQUEST}"
        with pytest.raises(ValueError, match="order='behind' should be 'before' or 'after'"):
            prompts.triplet_question("Which?", *texts, order="behind")

    def test_a_question_names_both_choices_and_so_is_no_answer(self):
        assert triplets.parse_choice(prompts.triplet_question("Which?", "a", "b", "c")) is None

    def test_pairs_with_solved_examples(self):
        plain = f"Same?\n\nSentence 1: a\nSentence 2: b\n\n{prompts.PAIR_REQUEST}"
        assert prompts.pair_question("Same?", "a", "b") == plain
        assert prompts.pair_question("Same?", "a", "b", demonstrations=["x", "y"]) == (
            f"[Example 1]\nx\n\n[Example 2]\ny\n\n{plain}"
        )
