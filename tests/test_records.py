"""The schema of a record, collecting records, and files that are whole or absent."""

import copy
import datetime
import json
import re
from pathlib import Path

import numpy as np
import pytest

from helpers import datasets, models, records, settings
from helpers.evaluation import Interval

ABSOLUTE_PATH = re.compile(r"(?<![\w.:/-])(?:/[\w.-]+){2,}|\b[A-Za-z]:\\")
COMMITTED = sorted((settings.DATA / "records").glob("*/*.json"))
TFIDF = records.model_entry("TF-IDF")
PAIRS = {"name": "book-sts", "source": "bundled", "revision": "1", "split": "test", "rows": 250}
PUBLISHED = {"value": 70, "where": "table 1", "comparable": False, "why": "another model"}


def new_recorder():
    return records.Recorder("01_measuring", settings.profile("smoke"))


@pytest.fixture
def record():
    """A full record: every nested object is there."""
    full = new_recorder().add(
        "mean",
        model=TFIDF,
        dataset=PAIRS,
        metric="spearman",
        value=Interval(50.0, 45.0, 55.0),
        control="TF-IDF",
        difference=Interval(-1.0, -2.5, 0.5),
        published=PUBLISHED,
    )
    full |= {"teacher": {"id": "none", "calls": 0, "tokens": 0}, "seeds": [100, 13], "sd": 0.5}
    return copy.deepcopy(full)


NESTED = [(name, field) for name, (_, nested) in records.SCHEMA.items() for field in nested or ()]
WRONG = {str: 5, dict: "text", list: "text", int: "1", float: "1.0", bool: 1}


class TestSchema:
    def test_a_full_record_passes_unchanged(self, record):
        before = copy.deepcopy(record)
        assert records.check(record) is record
        assert record == before

    @pytest.mark.parametrize("name", records.SCHEMA)
    def test_a_missing_field_is_named(self, record, name):
        del record[name]
        with pytest.raises(ValueError, match=f"lacks the field '{name}'"):
            records.check(record)

    def test_an_unknown_field_is_named_with_the_nearest(self, record):
        with pytest.raises(ValueError, match="unknown record field 'methud'; did you mean 'method'"):
            records.check({**record, "methud": "mean"})

    @pytest.mark.parametrize("name", records.SCHEMA)
    def test_an_ill_typed_field_is_named_with_its_value(self, record, name):
        record[name] = WRONG[records.SCHEMA[name][0][0]]
        with pytest.raises(ValueError, match=f"record field {name}={record[name]!r} should be of type"):
            records.check(record)

    @pytest.mark.parametrize("name", records.SCHEMA)
    def test_none_is_taken_only_where_the_schema_says_so(self, record, name):
        record[name] = None
        if type(None) in records.SCHEMA[name][0]:
            assert records.check(record)[name] is None
        else:
            with pytest.raises(ValueError, match=f"record field {name}=None"):
                records.check(record)

    @pytest.mark.parametrize(("name", "field"), NESTED)
    def test_nested_fields_are_checked(self, record, name, field):
        good = record[name]
        for wrong in ({key: value for key, value in good.items() if key != field}, {**good, "more": 1}):
            with pytest.raises(ValueError, match=f"record field '{name}' has .* expected"):
                records.check({**record, name: wrong})
        bad = WRONG[records.SCHEMA[name][1][field][0]]
        with pytest.raises(ValueError, match=re.escape(f"record field {name}.{field}={bad!r} should be of type")):
            records.check({**record, name: {**good, field: bad}})

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("mean", True),
            ("mean", 50),
            ("sd", False),
            ("seconds", True),
            ("values", [50.0, True]),
            ("values", ["50"]),
            ("values", [50.0, None]),
            ("seeds", [100, True]),
            ("seeds", [1.5]),
            ("ci95", ["a", "b"]),
            ("ci95", [False, True]),
            ("model", {**TFIDF, "parameters": True}),
            ("dataset", {**PAIRS, "rows": 250.0}),
            ("published", {**PUBLISHED, "value": True}),
            ("paired_difference", {"mean": 0.0, "ci95": ["low", "high"]}),
        ],
    )
    def test_true_false_and_text_are_no_numbers(self, record, name, value):
        with pytest.raises(ValueError, match=f"record field {name}.* should be of type"):
            records.check({**record, name: value})

    @pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
    @pytest.mark.parametrize("name", ["mean", "sd", "seconds", "values", "ci95"])
    def test_numbers_that_json_does_not_know_are_refused(self, record, name, bad):
        value = [bad, bad] if isinstance(record[name], list) else bad
        with pytest.raises(ValueError, match=rf"record field {name}.*={bad} should be finite"):
            records.check({**record, name: value})

    @pytest.mark.parametrize("interval", [[2.0, 1.0], [1.0], [], [1.0, 2.0, 3.0]])
    def test_intervals_are_low_and_high(self, record, interval):
        with pytest.raises(ValueError, match=re.escape(f"ci95={interval} should be [low, high]")):
            records.check({**record, "ci95": interval})
        with pytest.raises(ValueError, match=re.escape(f"ci95={interval} should be [low, high]")):
            records.check({**record, "paired_difference": {"mean": 1.0, "ci95": interval}})

    def test_a_point_is_an_interval(self, record):
        records.check({**record, "ci95": [50.0, 50.0]})

    def test_unknown_noise(self, record):
        with pytest.raises(ValueError, match="unknown noise 'bootstraps'; did you mean 'bootstrap'"):
            records.check({**record, "noise": "bootstraps"})

    def test_double_precision_numpy_numbers_are_floats_and_others_are_refused(self, record, tmp_path):
        record |= {"mean": np.float64(50.5), "values": [np.float64(50.5)], "ci95": [np.float64(1), np.float64(2)]}
        records.write_json(tmp_path / "a.json", [records.check(record)])
        assert records.load(tmp_path / "a.json") == [record]
        for wrong in (np.float32(50.5), np.int64(50), np.array(50.5)):
            for name, value in (("mean", wrong), ("values", [wrong])):
                with pytest.raises(ValueError, match=f"record field {name}"):
                    records.check({**record, name: value})


class TestRecorder:
    def test_add_save_load_round_trip(self, monkeypatch, tmp_path):
        monkeypatch.setenv(settings.RECORDS_VARIABLE, str(tmp_path))
        recorder = new_recorder()
        for method, value in (("mean", 41.5), ("PromptEOL é", 62.25)):
            recorder.add(
                method, model=TFIDF, dataset=PAIRS, metric="spearman", value=Interval(value, value - 5, value + 5)
            )
        path = recorder.save()
        assert path == tmp_path / "smoke" / "01_measuring.json"
        assert [path] == list(path.parent.iterdir())
        assert records.load(path) == recorder.records == records.load_all(path.parent)
        assert recorder.save() == path
        assert [row["method"] for row in records.load(path)] == ["mean", "PromptEOL é"]

    def test_fills_in_what_it_knows(self, monkeypatch):
        monkeypatch.setenv("EMBEDDING_BOOK_KEY", "abc")
        value, difference = Interval(50.0, 45.0, 55.0), Interval(-1.0, -2.0, 0.5)
        row = new_recorder().add(
            "mean",
            model=TFIDF,
            dataset=PAIRS,
            metric="error",
            value=value,
            control="TF-IDF",
            difference=difference,
            higher_is_better=False,
            teacher=records.teacher_entry("SmolLM2", calls=3, tokens=40),
        )
        assert row["teacher"] == {"id": "SmolLM2", "calls": 3, "tokens": 40}
        assert (row["mean"], row["values"], row["ci95"], row["noise"]) == (50.0, [50.0], [45.0, 55.0], "bootstrap")
        assert row["paired_difference"] == {"mean": -1.0, "ci95": [-2.0, 0.5]}
        assert (row["chapter"], row["profile"], row["key"]) == ("01_measuring", "smoke", "abc")
        assert (row["control"], row["higher_is_better"], row["published"]) == ("TF-IDF", False, None)
        assert row["versions"] == settings.versions()
        assert abs(datetime.date.fromisoformat(row["date"]) - datetime.datetime.now(datetime.UTC).date()).days <= 1
        assert row["peak_memory_mb"] > 50

    def test_outside_a_run_the_key_is_interactive_and_there_is_no_difference(self, monkeypatch):
        monkeypatch.delenv("EMBEDDING_BOOK_KEY", raising=False)
        row = new_recorder().add("mean", model=TFIDF, dataset=PAIRS, metric="spearman", value=Interval(5.0, 4.0, 6.0))
        assert (row["key"], row["paired_difference"], row["control"]) == ("interactive", None, None)

    def test_seconds_run_from_the_last_record(self, monkeypatch):
        clock = iter([100.0, 102.5, 103.0])
        monkeypatch.setattr(records.time, "perf_counter", lambda: next(clock))
        recorder = new_recorder()
        same = {"model": TFIDF, "dataset": PAIRS, "metric": "spearman", "value": Interval(5.0, 4.0, 6.0)}
        assert [recorder.add(name, **same)["seconds"] for name in ("one", "two")] == [2.5, 0.5]

    def test_a_bad_record_is_refused_and_those_before_are_kept(self):
        recorder = new_recorder()
        same = {"model": TFIDF, "dataset": PAIRS, "metric": "spearman"}
        recorder.add("good", value=Interval(5.0, 4.0, 6.0), **same)
        with pytest.raises(ValueError, match=r"record field values\[0\]=nan should be finite"):
            recorder.add("bad", value=Interval(float("nan"), 4.0, 6.0), **same)
        assert [row["method"] for row in recorder.records] == ["good"]

    @pytest.mark.parametrize("name", models.REGISTRY)
    def test_registered_models_make_entries(self, record, name):
        entry = records.registry_entry(models.REGISTRY[name])
        records.check({**record, "model": entry})
        assert (entry["id"], entry["parameters"]) == (models.REGISTRY[name].title, models.REGISTRY[name].parameters)
        assert bool(entry["sha256"]) == bool(models.REGISTRY[name].package)

    def test_loaded_sets_make_entries(self, record):
        rows = datasets.load("book-sts", "validation", limit=24)
        entry = records.dataset_entry(datasets.spec("book-sts"), "validation", rows)
        assert entry == {**PAIRS, "split": "validation", "rows": 24}
        records.check({**record, "dataset": entry})


class TestFiles:
    @pytest.mark.parametrize("content", [[1, object()], [float("nan")]])
    def test_a_failed_write_leaves_the_old_file_and_no_part(self, tmp_path, content):
        records.write_json(tmp_path / "a.json", ["old"])
        with pytest.raises((TypeError, ValueError)):
            records.write_json(tmp_path / "a.json", content)
        assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
        assert json.loads((tmp_path / "a.json").read_text()) == ["old"]

    @pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
    def test_a_crash_while_writing_leaves_the_old_file_and_no_part(self, tmp_path, monkeypatch, error):
        records.write_json(tmp_path / "a.json", ["old"])

        def half(path, content):
            with path.open("wb") as file:
                file.write(content[:3])
            raise error

        monkeypatch.setattr(Path, "write_bytes", half)
        with pytest.raises(type(error)):
            records.write_json(tmp_path / "a.json", ["new"])
        assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
        assert json.loads((tmp_path / "a.json").read_text()) == ["old"]

    def test_text_is_kept_as_it_is_and_folders_are_made(self, tmp_path):
        records.write_json(tmp_path / "x" / "y" / "a.json", {"é": "雪"})
        assert (tmp_path / "x" / "y" / "a.json").read_text(encoding="utf-8") == '{\n "é": "雪"\n}\n'

    def test_files_are_read_in_order_of_their_names(self, tmp_path, record):
        for name in ("02_b", "01_a", "10_c"):
            records.write_json(tmp_path / f"{name}.json", [{**record, "chapter": name}])
        (tmp_path / "note.txt").write_text("not a record")
        assert [row["chapter"] for row in records.load_all(tmp_path)] == ["01_a", "02_b", "10_c"]

    def test_no_folder_no_records(self, tmp_path):
        assert records.load_all(tmp_path / "nothing") == []
        assert records.load_all(tmp_path) == []

    def test_a_file_that_is_not_json_is_named(self, tmp_path):
        (tmp_path / "a.json").write_text("[{")
        with pytest.raises(ValueError, match=r"a\.json is not JSON"):
            records.load_all(tmp_path)

    def test_a_bad_record_in_a_file_is_found(self, tmp_path, record):
        records.write_json(tmp_path / "a.json", [record, {**record, "mean": None}])
        with pytest.raises(ValueError, match="record field mean=None"):
            records.load(tmp_path / "a.json")


class TestCommitted:
    """What is under data/records; there may be none yet."""

    def test_pass_the_check_and_lie_in_their_profiles_folder(self):
        for path in COMMITTED:
            for row in records.load(path):
                assert row["profile"] == path.parent.name, path
                assert row["profile"] in settings.PROFILES, path
                assert row["chapter"] == path.stem, path

    def test_name_registered_datasets_and_models(self):
        titles = {entry.title: entry for entry in models.REGISTRY.values()}
        for row in (row for path in COMMITTED for row in records.load(path)):
            entry = datasets.spec(row["dataset"]["name"])
            assert row["dataset"]["revision"] == entry.revision
            assert 0 < row["dataset"]["rows"] <= entry.rows[row["dataset"]["split"]]
            assert row["model"]["id"] in titles or row["model"]["parameters"] == 0

    def test_hold_no_path_of_a_machine(self):
        for path in COMMITTED:
            assert not ABSOLUTE_PATH.search(path.read_text(encoding="utf-8")), path

    @pytest.mark.parametrize("text", ['"/usr/share/a"', "'C:\\\\x'", " /var/lib", "=/opt/env/x"])
    def test_the_pattern_finds_paths(self, text):
        assert ABSOLUTE_PATH.search(text)

    @pytest.mark.parametrize(
        "text", ["https://a.org/b/c", "hub mteb/sts12-sts", "data/sts/x", "1/2", "a / b", "../x/y"]
    )
    def test_the_pattern_leaves_other_slashes(self, text):
        assert not ABSOLUTE_PATH.search(text)


def test_the_schema_is_the_one_of_the_book(record):
    assert list(record) == list(records.SCHEMA)
    assert Interval(0, 0, 0).noise in records.NOISES
