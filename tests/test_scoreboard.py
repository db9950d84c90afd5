"""Tables made from records, and the published numbers beside them."""

import json
import re

import pytest

from helpers import datasets, records, scoreboard, settings
from helpers.evaluation import Interval

LLM2VEC = {"causal weighted mean", "switch alone", "switch + MNTP"}
LLM2VEC_STAGES = {
    f"{stage}{way}"
    for stage in ("", "switch, ", "MNTP, ", "SimCSE, ", "causal + SimCSE, ", "switch + SimCSE, ")
    for way in ("EOS token", "mean", "weighted mean")
} | {"supervised, causal, weighted mean", "supervised after MNTP", "supervised after SimCSE"}
LLM2VEC_WORDS = {
    f"tags: {where}"
    for where in ("causal, at the word", "switch, at the word", "MNTP, one before", "SimCSE, one before")
}
METHODS = {
    "PromptEOL",
    "PromptEOL + demonstration",
    "PromptEOL + CSE",
    "mask prompt",
    "mask prompt, no full stop",
    "mean",
    "last token",
    "weighted mean",
    "plain prompt",
    "TF-IDF",
    "sentence encoder",
    *LLM2VEC,
    "SimCSE, mean",
}
TEACHERS = {"no training", "GPT-3.5", "Starling-7B"}
TRANSFER = {"PromptEOL", "PromptEOL + demonstration of the task"}
E5 = {
    f"E5 recipe, {what}"
    for what in (
        *("synthetic", "synthetic and MS-MARCO", "without synthetic", "all data", "MS-MARCO alone", "mean pooling"),
        *("weighted mean pooling", "rank 8", "rank 32", "no instruction", "task-type prefix"),
    )
}
OF_E5 = {"nDCG@10": E5, "average": E5 | LLM2VEC_STAGES, "V-measure": E5 | LLM2VEC}
METHODS_OF = {"spearman": METHODS | E5, "ACC": TEACHERS, "NMI": TEACHERS, "accuracy": TRANSFER | LLM2VEC_WORDS, **OF_E5}
SEVEN_STS = ("sts12", "sts13", "sts14", "sts15", "sts16", "stsb", "sickr")
# Over seven sets each, or over tasks of MTEB, as papers print them; and a set that is not in the registry.
AVERAGES = (
    *("sts-average", "transfer-average", "mteb-average", "mteb-retrieval", "mteb-sts", "mteb-clustering"),
    *("llm2vec-subset-average", "llm2vec-supervised-average", "conll2003-pos"),
)
FIELDS = {
    "method": str,
    "model": str,
    "dataset": str,
    "split": str,
    "metric": str,
    "value": float,
    "where": str,
    "cite": str,
    "comparable": bool,
    "why": str,
}
ROW = {
    "method": "mean",
    "model": "Big | model",
    "dataset": "stsb",
    "split": "test",
    "metric": "spearman",
    "value": 80.94,
    "where": "table | 3",
    "cite": "jiang2024scaling",
    "comparable": False,
    "why": "another | model",
}


def record(method, mean, *, dataset="stsb", split="test", metric="spearman", **options):
    return records.Recorder("02_prompteol", settings.profile("smoke")).add(
        method,
        model=records.model_entry("M"),
        dataset={"name": dataset, "source": "mirror", "revision": "1", "split": split, "rows": 3},
        metric=metric,
        value=Interval(mean, mean - 1, mean + 2),
        **options,
    )


@pytest.fixture
def beside(monkeypatch):
    """Replace the published numbers."""

    def put(*rows):
        monkeypatch.setattr(scoreboard, "published", lambda: list(rows))

    put()
    return put


def cells(table, column=1):
    """Return one column of the first table, without its head."""
    rows = table.split("\n\n")[1].splitlines()[2:]
    return [re.split(r"(?<!\\)\|", row)[column].strip() for row in rows]


@pytest.mark.parametrize(("higher", "expected"), [(True, ["c", "a", "b"]), (False, ["b", "a", "c"])])
def test_best_first(beside, higher, expected):
    rows = [record(name, mean, higher_is_better=higher) for name, mean in (("a", 50.0), ("b", 40.0), ("c", 60.0))]
    assert cells(scoreboard.table(rows)) == expected
    assert cells(scoreboard.table(reversed(rows))) == expected


def test_each_metric_has_its_own_direction(beside):
    rows = [record(name, mean) for name, mean in (("a", 1.0), ("b", 2.0))]
    rows += [record(name, mean, metric="error", higher_is_better=False) for name, mean in (("a", 1.0), ("b", 2.0))]
    error, spearman = scoreboard.table(rows).split("### ")[1:]
    assert cells(error) == ["a", "b"]
    assert cells(spearman) == ["b", "a"]


def test_one_section_for_each_dataset_split_and_metric(beside):
    places = [("stsb", "test"), ("book-sts", "test"), ("stsb", "validation"), ("book-sts", "test")]
    made = scoreboard.table(record(str(i), 5.0, dataset=name, split=part) for i, (name, part) in enumerate(places))
    titles = ["book-sts, test: spearman", "stsb, test: spearman", "stsb, validation: spearman"]
    assert re.findall(r"^### (.*)$", made, re.MULTILINE) == titles
    assert cells(made) == ["1", "3"]


def test_a_row_shows_score_difference_profile_and_chapter(beside):
    row = record("mean", 50.04, control="TF-IDF", difference=Interval(-0.3, -2.0, 1.44))
    line = scoreboard.table([row]).splitlines()[-1]
    assert line == (
        "| mean | M | 50.0 [49.0, 52.0] | -0.3 [-2.0, +1.4] against TF-IDF | smoke, float32 "
        "| [02](../notebooks/02_prompteol.ipynb) |"
    )
    assert cells(scoreboard.table([record("mean", 5.0)]), 4) == ["none"]


def test_bars_are_escaped_everywhere(beside):
    beside(ROW)
    made = scoreboard.table([record("a|b", 5.0)])
    for table, columns in zip(made.split("\n\n")[1:], (6, 5), strict=True):
        for line in table.strip().splitlines():
            assert len(re.findall(r"(?<!\\)\|", line)) == columns + 1
    assert "| a\\|b |" in made
    assert "Big \\| model" in made
    assert "no: another \\| model | table \\| 3 {cite:p}`jiang2024scaling`" in made


def test_published_numbers_stand_below_their_own_section_only(beside):
    beside(ROW, {**ROW, "split": "validation", "model": "Other", "comparable": True, "why": "the same"})
    made = scoreboard.table([record("a", 5.0), record("a", 5.0, split="validation"), record("a", 5.0, dataset="sts12")])
    other, test, validation = made.split("### ")[1:]
    assert "published" not in other
    assert "80.94" in test
    assert "Other" not in test
    assert "| mean | Other | 80.94 | yes: the same |" in validation


def test_the_overview_keeps_the_order_of_methods_and_groups_the_sets():
    rows = [record("b", 50.04), record("b", 3.0, dataset="other"), record("a", 2.0)]
    rows.append(record("a", 4.0, dataset="other", control="b", difference=Interval(1.0, -0.5, 2.5)))
    made = scoreboard.overview(iter(rows))
    places = [("other test, spearman", "b"), ("other test, spearman", "a")]
    places += [("stsb test, spearman", "b"), ("stsb test, spearman", "a")]
    assert list(made.index) == places
    assert list(made["score"]) == ["3.0 [2.0, 5.0]", "4.0 [3.0, 6.0]", "50.0 [49.0, 52.0]", "2.0 [1.0, 4.0]"]
    assert list(made["difference"]) == ["", "+1.0 [-0.5, +2.5] against b", "", ""]


def test_the_overview_names_models_where_there_are_several():
    rows = [record("a", 5.0), {**record("a", 6.0), "model": {"id": "N"}}]
    made = scoreboard.overview(rows)
    assert list(made.index) == [("stsb test, spearman", "M", "a"), ("stsb test, spearman", "N", "a")]
    assert scoreboard.overview([]).empty


def test_no_records():
    assert scoreboard.table([]) == "No records yet: run `make book`.\n"


def test_a_published_number_is_found_for_a_record(beside):
    beside(ROW)
    found = scoreboard.find_published("mean", "Big | model", "stsb", "test")
    assert found == {"value": 80.94, "where": "table | 3", "comparable": False, "why": "another | model"}
    assert record("mean", 5.0, published=found)["published"] == found
    for other in (("mean", "Small", "stsb", "test"), ("mean", "Big | model", "stsb", "validation")):
        assert scoreboard.find_published(*other) is None
    assert scoreboard.find_published("mean", "Big | model", "stsb", "test", metric="pearson") is None


def test_published_numbers_can_be_read_from_another_file(tmp_path):
    (tmp_path / "published.json").write_text(json.dumps([ROW]))
    assert scoreboard.published(tmp_path / "published.json") == [ROW]


class TestPublishedNumbers:
    """data/published.json."""

    ROWS = scoreboard.published()

    def test_fields(self):
        assert self.ROWS
        for row in self.ROWS:
            assert list(row) == list(FIELDS)
            for name, kind in FIELDS.items():
                assert type(row[name]) is kind, (name, row)
                assert row[name] != "", (name, row)

    def test_names(self):
        for row in self.ROWS:
            assert row["method"] in METHODS_OF[row["metric"]], row
            splits = ("test",) if row["dataset"] in AVERAGES else datasets.spec(row["dataset"]).rows
            assert row["split"] in splits, row
            assert -100 <= row["value"] <= 100

    def test_sources_are_in_the_bibliography(self):
        keys = set(re.findall(r"@\w+\{(\w+),", (settings.ROOT / "book" / "refs.bib").read_text(encoding="utf-8")))
        assert {row["cite"] for row in self.ROWS} <= keys

    def test_each_number_is_there_once(self):
        keys = [(row["method"], row["model"], row["dataset"], row["split"], row["metric"]) for row in self.ROWS]
        assert len(set(keys)) == len(keys)

    def test_each_is_found_for_a_record(self):
        for row in self.ROWS:
            place = row["method"], row["model"], row["dataset"], row["split"]
            found = scoreboard.find_published(*place, metric=row["metric"])
            assert found == {name: row[name] for name in ("value", "where", "comparable", "why")}

    def test_stsb_with_a_demonstration_is_there_for_all_eight_opt_models(self):
        sizes = {
            row["model"]: row["value"]
            for row in self.ROWS
            if row["method"] == "PromptEOL + demonstration" and (row["dataset"], row["split"]) == ("stsb", "test")
        }
        expected = dict(
            zip(
                [f"OPT-{size}" for size in ("125M", "350M", "1.3B", "2.7B", "6.7B", "13B", "30B", "66B")],
                [67.80, 70.84, 78.80, 80.94, 81.12, 81.42, 81.45, 81.76],
                strict=True,
            )
        )
        assert sizes == expected

    def test_averages_are_those_of_the_seven_sets(self):
        """To half a unit of the last digit, and a little for the rounding of the seven."""
        found = {(row["method"], row["model"], row["dataset"]): row["value"] for row in self.ROWS}
        whole = [(method, model) for method, model, name in found if name == "sts-average" and method != "PromptEOL"]
        assert len(whole) == 8 + 7
        for method, model in whole:
            mean = sum(found[method, model, name] for name in SEVEN_STS) / 7
            assert abs(mean - found[method, model, "sts-average"]) < 0.0055, (method, model)

    def test_the_gain_of_a_demonstration_is_that_of_the_paper(self):
        found = {(row["method"], row["model"]): row["value"] for row in self.ROWS if row["dataset"] == "sts-average"}
        sizes = ("125M", "350M", "1.3B", "2.7B", "6.7B", "13B", "30B", "66B")
        gains = [found["PromptEOL + demonstration", f"OPT-{n}"] - found["PromptEOL", f"OPT-{n}"] for n in sizes]
        assert [round(gain, 2) for gain in gains] == [0.46, 3.99, 4.34, 8.88, 6.98, 7.18, 6.51, 9.35]
