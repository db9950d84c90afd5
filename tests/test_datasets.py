"""The registry of datasets, the three places, and what a bad row is called."""

import dataclasses
import functools
import hashlib
import http.server
import json
import os
import re
import shutil
import threading

import datasets as hub_datasets
import pytest

from helpers import datasets, settings
from helpers.datasets.spec import PARTS, TASKS

MIRROR = os.environ.get(datasets.MIRROR_VARIABLE)
needs_mirror = pytest.mark.skipif(not MIRROR, reason=f"{datasets.MIRROR_VARIABLE} is not set: no public data here")
ROWS = [
    {"sentence1": "A kettle sings.", "sentence2": "Water is boiling.", "score": 3.2},
    {"sentence1": "Two goats climb.", "sentence2": "The bank is closed.", "score": 0},
    {"sentence1": "It snows.", "sentence2": "Snow is falling.", "score": 5.0},
]
NAN = float("nan")
BUNDLED = [(name, split) for name, entry in datasets.REGISTRY.items() if entry.folder for split in entry.rows]
LABELLED = [{"text": "A heron waits.", "label": "bird"}, {"text": "A vole hides.", "label": "mammal"}]


@pytest.fixture(autouse=True)
def _no_mirror(monkeypatch):
    monkeypatch.delenv(datasets.MIRROR_VARIABLE, raising=False)


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


@pytest.fixture
def register(monkeypatch):
    """Give stsb another place or another number of rows."""

    def change(**changes):
        entry = dataclasses.replace(datasets.REGISTRY["stsb"], **{"rows": {"test": len(ROWS)}, **changes})
        monkeypatch.setitem(datasets.REGISTRY, "stsb", entry)
        return entry

    return change


@pytest.fixture
def mirror(register, monkeypatch, tmp_path):
    """A mirror folder in the hub's layout; call it with rows."""
    entry = register()
    monkeypatch.setenv(datasets.MIRROR_VARIABLE, str(tmp_path / "mirror"))

    def fill(rows):
        write(tmp_path / "mirror" / "datasets" / entry.hub / "test.jsonl", rows)

    return fill


@pytest.fixture
def hub(monkeypatch):
    """A hub that answers with ROWS and keeps what it was asked."""
    calls = []

    def load_dataset(*names, **options):
        calls.append((names, options))
        return hub_datasets.Dataset.from_list(ROWS)

    monkeypatch.setattr(hub_datasets, "load_dataset", load_dataset)
    return calls


def test_entries_are_complete():
    for name, entry in datasets.REGISTRY.items():
        assert entry.name == name
        assert entry.default_split in entry.rows
        assert entry.task in TASKS
        assert entry.licence
        assert entry.title
        assert all(rows > 0 for rows in entry.rows.values())
        assert all(entry.columns(split) for split in entry.rows)
        places = bool(entry.folder) + bool(entry.hub) + bool(entry.files)
        assert places == 1 or (places == 0 and entry.mirror)
        if entry.folder:
            assert entry.source == f"data/{entry.folder}"
            assert entry.mirror_path(entry.default_split) is None
            assert entry.citation == ""
        else:
            paths = [entry.mirror_path(split) for split in entry.rows]
            assert all(path.startswith("datasets/") for path in paths)
            assert len(set(paths)) == len(paths)
            assert entry.citation
        if entry.hub:
            assert re.fullmatch(r"[0-9a-f]{40}|main", entry.revision)
            assert entry.source == f"hub {entry.hub}"
        for split, file in entry.files.items():
            assert split in entry.rows
            assert file.url.startswith("https://")
            assert entry.revision in file.url
            assert re.fullmatch(r"[0-9a-f]{64}", file.sha256)
            assert set(entry.files) == set(entry.rows)
        for part in (entry.sha256, entry.hub_splits, entry.hub_files, entry.mirror_files):
            assert set(part) <= set(entry.rows)


def test_there_are_sets_for_every_task():
    assert {entry.task for entry in datasets.REGISTRY.values()} == set(TASKS)
    assert all(set(entry.rows) == set(PARTS) for entry in datasets.REGISTRY.values() if entry.task == "retrieval")


@pytest.mark.parametrize(("name", "split"), BUNDLED)
def test_every_bundled_file_is_the_one_that_the_registry_knows(hub, name, split):
    entry = datasets.spec(name)
    content = (settings.DATA / entry.folder / f"{split}.jsonl").read_bytes()
    assert hashlib.sha256(content).hexdigest() == entry.sha256[split]
    rows = datasets.load(name, split)
    assert rows.num_rows == entry.rows[split]
    assert rows.info.description == "bundled"
    assert set(entry.columns(split)) <= set(rows.column_names)
    assert not hub


def test_a_changed_bundled_file_is_refused(monkeypatch, tmp_path):
    shutil.copytree(settings.DATA / "paraphrase", tmp_path / "paraphrase")
    monkeypatch.setattr(settings, "DATA", tmp_path)
    path = tmp_path / "paraphrase" / "test.jsonl"
    assert datasets.load("paraphrase").num_rows == 200
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(ValueError, match=r"data/paraphrase/test.jsonl is not the file that the registry knows"):
        datasets.load("paraphrase")


def test_cited_works_are_in_the_bibliography():
    keys = set(re.findall(r"@\w+\{(\w+),", (settings.ROOT / "book" / "refs.bib").read_text(encoding="utf-8")))
    assert {entry.citation for entry in datasets.REGISTRY.values()} - {""} <= keys


@pytest.mark.parametrize("split", ["validation", "test"])
@pytest.mark.parametrize("source", ["auto", "bundled"])
def test_the_bundled_set_loads_without_anything(hub, split, source):
    rows = datasets.load("book-sts", split, source=source)
    lines = (settings.DATA / "sts" / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    assert rows.to_list() == [json.loads(line) for line in lines]
    assert rows.info.description == "bundled"
    assert not hub


def test_the_default_split_is_the_test_split():
    assert datasets.load("book-sts")["id"][0].startswith("test-")


def test_a_mirror_is_read_in_the_hubs_layout(mirror, hub, caplog):
    mirror(ROWS)
    with caplog.at_level("INFO", "helpers.datasets"):
        rows = datasets.load("stsb")
    assert rows.to_list() == [{**row, "score": float(row["score"])} for row in ROWS]
    assert rows.info.description == "mirror"
    assert "stsb/test: 3 rows from mirror" in caplog.text
    assert not hub


def test_the_mirror_is_read_again_after_a_change(mirror):
    mirror(ROWS)
    datasets.load("stsb")
    mirror([*ROWS[:2], {**ROWS[2], "score": 4.4}])
    assert datasets.load("stsb")["score"][2] == 4.4


def test_line_separators_inside_a_text_do_not_end_a_line(mirror):
    odd = {**ROWS[0], "sentence1": "One\u2028two\x85three\x0bfour é 雪."}
    mirror([odd, *ROWS[1:]])
    assert datasets.load("stsb")["sentence1"][0] == odd["sentence1"]


def test_the_hub_is_asked_for_the_pinned_revision(register, hub):
    entry = register()
    rows = datasets.load("stsb", "test")
    assert hub == [(("mteb/stsbenchmark-sts",), {"revision": entry.revision, "split": "test"})]
    assert rows.info.description == "hub"
    assert rows.num_rows == len(ROWS)


def test_a_folder_in_the_hubs_own_layout_loads_for_real(register, monkeypatch, tmp_path):
    write(tmp_path / "set" / "test.jsonl", ROWS)
    card = "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: test\n    path: test.jsonl\n---\n# Pairs\n"
    (tmp_path / "set" / "README.md").write_text(card)
    monkeypatch.setattr(hub_datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    register(hub=str(tmp_path / "set"))
    rows = datasets.load("stsb", source="hub")
    assert rows["sentence2"][:] == [row["sentence2"] for row in ROWS]
    assert rows.info.description == "hub"


def test_places_are_tried_in_order(register, hub, monkeypatch, tmp_path):
    register(folder="sts")
    monkeypatch.setattr(settings, "DATA", tmp_path / "data")
    monkeypatch.setenv(datasets.MIRROR_VARIABLE, str(tmp_path))
    write(tmp_path / "data" / "sts" / "test.jsonl", ROWS)
    write(tmp_path / "datasets" / "mteb" / "stsbenchmark-sts" / "test.jsonl", ROWS)
    assert datasets.load("stsb").info.description == "bundled"
    register(folder=None)
    assert datasets.load("stsb").info.description == "mirror"
    (tmp_path / "datasets" / "mteb" / "stsbenchmark-sts" / "test.jsonl").unlink()
    assert datasets.load("stsb").info.description == "hub"


@pytest.mark.parametrize("source", ["bundled", "mirror", "hub"])
def test_a_forced_source_is_used_though_others_have_the_set(register, hub, monkeypatch, tmp_path, source):
    register(folder="sts")
    monkeypatch.setattr(settings, "DATA", tmp_path / "data")
    monkeypatch.setenv(datasets.MIRROR_VARIABLE, str(tmp_path))
    write(tmp_path / "data" / "sts" / "test.jsonl", ROWS)
    write(tmp_path / "datasets" / "mteb" / "stsbenchmark-sts" / "test.jsonl", ROWS)
    assert datasets.load("stsb", source=source).info.description == source
    assert bool(hub) == (source == "hub")


@pytest.mark.parametrize("source", ["auto", "bundled", "mirror", "hub"])
def test_nothing_anywhere_names_the_three_places(monkeypatch, tmp_path, source):
    monkeypatch.setenv(datasets.MIRROR_VARIABLE, str(tmp_path))
    monkeypatch.setattr(hub_datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    with pytest.raises(FileNotFoundError) as caught:
        datasets.load("stsb", "validation", source=source)
    message = str(caught.value)
    for part in (
        f"'stsb', split 'validation', is not here (asked for: {source})",
        "(1) bundled: not bundled",
        "(2) mirror: set EMBEDDING_BOOK_MIRROR (now set) to a folder that holds "
        "datasets/mteb/stsbenchmark-sts/validation.jsonl",
        "(3) the public hub: mteb/stsbenchmark-sts at b0fddb56, with a network",
    ):
        assert part in message
    assert (caught.value.__cause__ is not None) == (source in ("auto", "hub"))


def test_the_bundled_set_is_neither_in_a_mirror_nor_on_the_hub():
    with pytest.raises(FileNotFoundError, match=r"bundled: data/sts.*now not set.*not a public set.*not a public set"):
        datasets.load("book-sts", source="hub")


def test_a_bundled_file_that_was_deleted_is_said_to_be_missing(monkeypatch, tmp_path):
    monkeypatch.setattr(settings, "DATA", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"test.jsonl is missing from sts; get the repository again"):
        datasets.load("book-sts")


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("stsB",), {}, "unknown dataset 'stsB'; did you mean 'stsb'"),
        (("book-sts", "tset"), {}, "dataset 'book-sts' has no split 'tset'; did you mean 'test'"),
        (("sts12", "train"), {}, "dataset 'sts12' has no split 'train'; allowed: test"),
        (("book-sts",), {"source": "mirrored"}, "unknown source 'mirrored'; did you mean 'mirror'"),
        (("book-sts",), {"limit": 0}, "limit=0 should be at least 1"),
        (("book-sts",), {"limit": -3}, "limit=-3 should be at least 1"),
    ],
)
def test_bad_arguments(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        datasets.load(*arguments, **options)


@pytest.mark.parametrize("limit", [1, 24, 250, 1000])
def test_a_limit_keeps_the_first_rows(limit):
    rows = datasets.load("book-sts", limit=limit)
    assert rows["id"][:] == [f"test-{row:03d}" for row in range(min(limit, 250))]
    assert rows.info.description == "bundled"


def test_a_bad_row_beyond_the_limit_is_still_found(mirror):
    mirror([*ROWS[:2], {**ROWS[2], "score": 7}])
    with pytest.raises(ValueError, match=r"row 2, score=7"):
        datasets.load("stsb", limit=1)


@pytest.mark.parametrize("rows", [[], ROWS[:2], [*ROWS, *ROWS]])
def test_a_wrong_number_of_rows(mirror, rows):
    mirror(rows)
    with pytest.raises(ValueError, match=f"stsb/test from mirror has {len(rows)} rows, expected 3"):
        datasets.load("stsb")


@pytest.mark.parametrize("column", ["sentence1", "sentence2", "score"])
def test_a_missing_column(mirror, column):
    mirror([{name: value for name, value in row.items() if name != column} for row in ROWS])
    with pytest.raises(ValueError, match=rf"stsb lacks the columns \['{column}'\]; it has \["):
        datasets.load("stsb")


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *[(side, value) for side in ("sentence1", "sentence2") for value in ("", "  \t", None, 5, ["A."], True)],
        *[("score", value) for value in (NAN, float("inf"), 5.01, -0.2, None, "3.2", True, [3.2])],
    ],
)
@pytest.mark.parametrize("row", range(3))
def test_a_bad_value_is_named_with_its_row(mirror, column, value, row):
    mirror([{**good, column: value} if number == row else good for number, good in enumerate(ROWS)])
    with pytest.raises(ValueError, match=re.escape(f"stsb, row {row}, {column}={value!r}: should be a ")):
        datasets.load("stsb")


@pytest.mark.parametrize("column", ["sentence1", "sentence2", "score"])
def test_a_row_that_lacks_a_column_is_named(mirror, column):
    mirror([*ROWS[:2], {name: value for name, value in ROWS[2].items() if name != column}])
    with pytest.raises(ValueError, match=f"row 2, {column}=None"):
        datasets.load("stsb")


def test_a_bad_value_from_the_hub_is_named_too(register, monkeypatch):
    register()
    bad = hub_datasets.Dataset.from_list([*ROWS[:2], {**ROWS[2], "score": NAN}])
    monkeypatch.setattr(hub_datasets, "load_dataset", lambda *_, **__: bad)
    with pytest.raises(ValueError, match=r"stsb, row 2, score=nan: should be a number from 0\.0 to 5\.0"):
        datasets.load("stsb")


@pytest.mark.parametrize(
    ("line", "what"), [('{"sentence1": "cut', "JSON: "), ("", "JSON: "), ("[1, 2]", "a JSON object"), ("3", "a JSON")]
)
def test_a_bad_line_is_named(mirror, line, what):
    mirror([ROWS[0], line, ROWS[2]])
    with pytest.raises(ValueError, match=f"test.jsonl, line 2, is not {what}"):
        datasets.load("stsb")


@pytest.fixture
def made(monkeypatch, tmp_path):
    """Register a set of two labelled texts; write its files under the mirror's folder."""
    monkeypatch.setenv(datasets.MIRROR_VARIABLE, str(tmp_path / "mirror"))

    def register(mirrored, **options):
        defaults = {"task": "classification", "rows": {"test": 2}, "hub": "someone/made"}
        fixed = {"name": "made", "title": "Made up", "licence": "none", "citation": "", "revision": "main"}
        entry = datasets.DatasetSpec(**fixed | defaults | options)
        monkeypatch.setitem(datasets.REGISTRY, "made", entry)
        for path, rows in mirrored.items():
            write(tmp_path / "mirror" / "datasets" / path, rows)
        return entry

    return register


@pytest.fixture
def hub_of(monkeypatch):
    """A hub that answers with rows by split, and keeps the splits and options that it was asked for."""

    def answer(rows_by_split):
        calls = []

        def load_dataset(_, *, split, **options):
            calls.append((split, options))
            return hub_datasets.Dataset.from_list(rows_by_split[split])

        monkeypatch.setattr(hub_datasets, "load_dataset", load_dataset)
        return calls

    return answer


class TestLabels:
    @pytest.mark.parametrize("labels", [("bird", "mammal"), (0, 1), (3, 0), ("é", "雪")])
    def test_names_and_whole_numbers_are_labels(self, made, labels):
        made({"someone/made/test.jsonl": [{**row, "label": x} for row, x in zip(LABELLED, labels, strict=True)]})
        assert tuple(datasets.load("made")["label"]) == labels

    @pytest.mark.parametrize("label", [None, "", "  ", NAN, True, False, -1, 1.0, ["bird"]])
    @pytest.mark.parametrize("row", [0, 1])
    def test_anything_else_is_named_with_its_row(self, made, label, row):
        rows = [{**good, "label": label} if number == row else good for number, good in enumerate(LABELLED)]
        made({"someone/made/test.jsonl": rows})
        message = f"made, row {row}, label={label!r}: should be a name or a number from 0"
        with pytest.raises(ValueError, match=re.escape(message)):
            datasets.load("made")

    def test_a_row_without_a_label_is_named(self, made):
        made({"someone/made/test.jsonl": [LABELLED[0], {"text": "A vole hides."}]})
        with pytest.raises(ValueError, match="made, row 1, label=None"):
            datasets.load("made")

    def test_no_labels_at_all(self, made):
        made({"someone/made/test.jsonl": [{"text": row["text"]} for row in LABELLED]})
        with pytest.raises(ValueError, match=r"made lacks the columns \['label'\]; it has \['text'\]"):
            datasets.load("made")

    @pytest.mark.parametrize("label", ["bird", 0])
    def test_a_single_label_is_refused(self, made, label):
        made({"someone/made/test.jsonl": [{**row, "label": label} for row in LABELLED]})
        with pytest.raises(ValueError, match=f"made has the single label {label!r}; at least two classes"):
            datasets.load("made")

    def test_pairs_are_checked_on_both_sides(self, made):
        rows = [{"text1": "One.", "text2": "Two.", "label": 0}, {"text1": "One.", "text2": " ", "label": 1}]
        made({"someone/made/test.jsonl": rows}, task="pair classification")
        with pytest.raises(ValueError, match="made, row 1, text2=' '"):
            datasets.load("made")


class TestRenamedColumns:
    ROWS = (
        {"label": 7, "sentence": "A heron waits.", "label_text": "bird"},
        {"label": 8, "sentence": "A vole hides.", "label_text": "mammal"},
    )
    RENAMED = {"sentence": "text", "label_text": "label"}  # noqa: RUF012

    @pytest.mark.parametrize("order", [("label", "sentence", "label_text"), ("label_text", "sentence", "label")])
    @pytest.mark.parametrize("place", ["mirror", "hub"])
    def test_the_renamed_column_takes_the_place_of_one_of_that_name(self, made, hub_of, place, order):
        rows = [{name: row[name] for name in order} for row in self.ROWS]
        made({"someone/made/test.jsonl": rows} if place == "mirror" else {}, renamed=self.RENAMED)
        hub_of({"test": rows})
        found = datasets.load("made", source=place)
        assert set(found.column_names) == {"text", "label"}
        assert found.select_columns(["text", "label"]).to_list() == LABELLED

    @pytest.mark.parametrize("place", ["mirror", "hub"])
    def test_of_two_sources_of_a_column_the_last_of_the_entry_counts(self, made, hub_of, place):
        rows = [{**row, "label_coarse_text": "animal" if n else "plant"} for n, row in enumerate(self.ROWS)]
        renamed = {**self.RENAMED, "label_coarse_text": "label"}
        made({"someone/made/test.jsonl": rows} if place == "mirror" else {}, renamed=renamed)
        hub_of({"test": rows})
        found = datasets.load("made", source=place)
        assert found["label"][:] == ["plant", "animal"]
        assert found["text"][:] == [row["text"] for row in LABELLED]

    def test_our_own_names_are_read_as_they_are(self, made):
        made({"someone/made/test.jsonl": LABELLED}, renamed=self.RENAMED)
        assert datasets.load("made").to_list() == LABELLED


class TestHub:
    def test_splits_are_joined_in_order(self, made, hub_of):
        made({}, rows={"all": 4}, default_split="all", hub_splits={"all": ("train", "test")})
        later = [{**row, "text": f"Later: {row['text']}"} for row in LABELLED]
        calls = hub_of({"test": later, "train": LABELLED})
        assert datasets.load("made").to_list() == [*LABELLED, *later]
        assert calls == [("train", {"revision": "main"}), ("test", {"revision": "main"})]

    @pytest.mark.parametrize("source", ["auto", "hub"])
    def test_a_split_that_the_hub_hides_names_the_three_places(self, made, hub_of, source):
        made({}, hub_splits={"test": ()})
        calls = hub_of({})
        with pytest.raises(
            FileNotFoundError, match=r"\(1\) bundled: not .*\(2\) mirror: .*\(3\) the public hub"
        ) as caught:
            datasets.load("made", source=source)
        assert "datasets/someone/made/test.jsonl" in str(caught.value)
        assert "someone/made does not hold the split 'test'" in str(caught.value.__cause__)
        assert calls == []

    def test_such_a_split_is_still_read_from_a_mirror(self, made):
        made({"someone/made/test.jsonl": LABELLED}, hub_splits={"test": ()})
        assert datasets.load("made").info.description == "mirror"

    def test_a_configuration_for_all_splits_or_for_each(self, made, hub_of):
        calls = hub_of({"test": LABELLED, "train": LABELLED})
        entry = made({"someone/made/pairs/test.jsonl": LABELLED}, rows={"train": 2, "test": 2}, config="pairs")
        assert entry.mirror_path("test") == "datasets/someone/made/pairs/test.jsonl"
        assert datasets.load("made", "test").info.description == "mirror"
        assert datasets.load("made", "train").info.description == "hub"
        entry = made({}, rows={"train": 2, "test": 2}, config={"train": "raw"})
        assert entry.mirror_path("train") == "datasets/someone/made/raw/train.jsonl"
        assert entry.mirror_path("test") == "datasets/someone/made/test.jsonl"
        datasets.load("made", "train", source="hub")
        datasets.load("made", "test", source="hub")
        assert [options.get("name") for _, options in calls] == ["pairs", "raw", None]

    def test_a_file_of_the_hub_is_asked_for_by_name(self, made, hub_of):
        made({}, task="text", hub_files={"test": "lines.txt"})
        calls = hub_of({"test": LABELLED})
        datasets.load("made", source="hub")
        assert calls == [("test", {"revision": "main", "data_files": {"test": "lines.txt"}})]


class TestRetrievalLayout:
    FILES = {  # noqa: RUF012
        "corpus/corpus.jsonl": [
            {"_id": "p1", "title": "Herons", "text": "They wait."},
            {"_id": "p2", "title": "", "text": "Voles hide."},
        ],
        "queries/queries.jsonl": [{"_id": "q1", "text": "who waits?"}],
        "test.jsonl": [{"query-id": "q1", "corpus-id": "p1", "score": 1}],
    }
    OPTIONS = {  # noqa: RUF012
        "task": "retrieval",
        "rows": {"corpus": 2, "queries": 1, "test": 1},
        "config": {"corpus": "corpus", "queries": "queries"},
        "score_range": (0, 1),
    }

    def test_the_three_parts_are_read_from_a_mirror(self, made):
        made({f"someone/made/{path}": rows for path, rows in self.FILES.items()}, **self.OPTIONS)
        for split, rows in zip(("corpus", "queries", "test"), self.FILES.values(), strict=True):
            assert datasets.load("made", split).to_list() == rows

    def test_the_hubs_own_layout_loads_for_real(self, made, monkeypatch, tmp_path):
        for path, rows in self.FILES.items():
            write(tmp_path / "set" / path, rows)
        card = "".join(
            f"- config_name: {name}\n  data_files:\n  - split: {split}\n    path: {path}\n"
            for name, split, path in zip(
                ("corpus", "queries", "default"), ("corpus", "queries", "test"), self.FILES, strict=True
            )
        )
        (tmp_path / "set" / "README.md").write_text(f"---\nconfigs:\n{card}---\n# Birds\n")
        monkeypatch.setattr(hub_datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
        made({}, **self.OPTIONS | {"hub": str(tmp_path / "set")})
        for split, rows in zip(("corpus", "queries", "test"), self.FILES.values(), strict=True):
            loaded = datasets.load("made", split, source="hub")
            assert loaded.to_list() == rows
            assert loaded.info.description == "hub"

    def test_a_judgement_out_of_range_and_a_passage_without_text(self, made):
        bad = {**self.FILES, "test.jsonl": [{"query-id": "q1", "corpus-id": "p1", "score": 2}]}
        bad["corpus/corpus.jsonl"] = [
            {"_id": "p1", "title": "Herons", "text": ""},
            self.FILES["corpus/corpus.jsonl"][1],
        ]
        made({f"someone/made/{path}": rows for path, rows in bad.items()}, **self.OPTIONS)
        with pytest.raises(ValueError, match="made, row 0, score=2: should be a number from 0 to 1"):
            datasets.load("made", "test")
        with pytest.raises(ValueError, match="made, row 0, text=''"):
            datasets.load("made", "corpus")


class TestRunningText:
    LINES = [{"text": ""}, {"text": "A heron waits."}, {"text": " \n"}, {"text": "A vole hides."}]  # noqa: RUF012

    @pytest.mark.parametrize("place", ["mirror", "hub"])
    def test_blank_lines_are_left_out_where_the_entry_says_so(self, made, hub_of, place):
        options = {"task": "text", "drop_empty": True, "rows": {"test": 2}}
        made({"someone/made/test.jsonl": self.LINES} if place == "mirror" else {}, **options)
        hub_of({"test": self.LINES})
        assert datasets.load("made", source=place)["text"][:] == ["A heron waits.", "A vole hides."]

    def test_a_blank_line_is_an_error_elsewhere(self, made):
        made({"someone/made/test.jsonl": self.LINES}, task="text", rows={"test": 4})
        with pytest.raises(ValueError, match="made, row 0, text=''"):
            datasets.load("made")

    @pytest.mark.parametrize("value", [None, 5])
    def test_what_is_no_text_is_not_taken_for_a_blank_line(self, made, value):
        lines = [*self.LINES, {"text": value}]
        made({"someone/made/test.jsonl": lines}, task="text", drop_empty=True, rows={"test": 3})
        with pytest.raises(ValueError, match=f"made, row 2, text={value}: should be a text"):
            datasets.load("made")

    def test_a_part_of_a_large_set_may_be_less_but_not_more(self, made):
        options = {"task": "text", "in_part": True}
        made({"someone/made/test.jsonl": LABELLED}, rows={"test": 500}, **options)
        assert datasets.load("made").num_rows == 2
        made({}, rows={"test": 1}, **options)
        with pytest.raises(ValueError, match="made/test from mirror has 2 rows, expected 1"):
            datasets.load("made")


class TestPlainFiles:
    @pytest.fixture
    def server(self, tmp_path):
        """A server on this machine that counts what it is asked for."""
        asked = []

        class Handler(http.server.SimpleHTTPRequestHandler):
            def log_message(self, *_):
                asked.append(self.path)

        folder = tmp_path / "served"
        folder.mkdir()
        handler = functools.partial(Handler, directory=str(folder))
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
            threading.Thread(target=running.serve_forever, args=(0.05,), daemon=True).start()
            yield folder, f"http://127.0.0.1:{running.server_port}", asked
            running.shutdown()

    @pytest.fixture
    def plain(self, made, server, monkeypatch, tmp_path):
        """A set whose only place is that server, with an empty cache and leave to use it."""
        folder, address, _ = server
        write(folder / "small.jsonl", [{"input": row["text"], "label": row["label"]} for row in LABELLED])
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        monkeypatch.setenv(settings.CACHE_VARIABLE, str(tmp_path / "cache"))
        digest = hashlib.sha256((folder / "small.jsonl").read_bytes()).hexdigest()

        def register(url=f"{address}/small.jsonl", sha256=digest):
            options = {"hub": None, "mirror": "someone/files", "mirror_files": {"test": "data/small.jsonl"}}
            file = datasets.RemoteFile(url, sha256)
            return made({}, files={"test": file}, renamed={"input": "text"}, **options)

        return register

    def test_a_file_is_fetched_once(self, plain, server):
        entry = plain()
        for _ in range(2):
            rows = datasets.load("made")
            assert rows.select_columns(["text", "label"]).to_list() == LABELLED
            assert rows.info.description == "hub"
        assert server[2] == ["/small.jsonl"]
        assert entry.source == "files of someone/files"

    def test_a_file_of_another_content_is_refused(self, plain):
        plain(sha256="0" * 64)
        with pytest.raises(ValueError, match=r"SHA256 hash of downloaded file .* does not match"):
            datasets.load("made")

    def test_a_mirror_comes_before_the_network(self, plain, server, tmp_path):
        plain()
        write(tmp_path / "mirror" / "datasets" / "someone" / "files" / "data" / "small.jsonl", LABELLED)
        assert datasets.load("made").info.description == "mirror"
        assert server[2] == []

    @pytest.mark.parametrize("offline", ["1", "true", "YES"])
    def test_offline_nothing_is_fetched_and_the_three_places_are_named(self, plain, server, monkeypatch, offline):
        entry = plain()
        monkeypatch.setenv("HF_HUB_OFFLINE", offline)
        with pytest.raises(FileNotFoundError) as caught:
            datasets.load("made")
        for part in (
            "(1) bundled: not bundled with the book",
            "(2) mirror: set EMBEDDING_BOOK_MIRROR (now set) to a folder that holds datasets/someone/files/data/small",
            f"(3) the public hub: {entry.files['test'].url}, with a network and without HF_HUB_OFFLINE",
        ):
            assert part in str(caught.value)
        assert "HF_HUB_OFFLINE is set" in str(caught.value.__cause__)
        assert server[2] == []

    def test_a_file_that_is_gone_names_the_three_places(self, plain, server):
        plain(url=f"{server[1]}/gone.jsonl")
        with pytest.raises(FileNotFoundError, match=r"the public hub: http://127.0.0.1:\d+/gone.jsonl"):
            datasets.load("made")

    def test_a_set_without_a_public_place_says_so(self, made):
        made({}, hub=None, mirror="someone/made")
        with pytest.raises(FileNotFoundError, match=r"\(3\) the public hub: no public place is known"):
            datasets.load("made")


@needs_mirror
@pytest.mark.parametrize(
    ("name", "split", "rows"),
    [
        ("stsb", "validation", 1500),
        ("stsb", "test", 1379),
        ("sts12", "test", 3108),
        ("sts13", "test", 1500),
        ("sts14", "test", 3750),
        ("sts15", "test", 3000),
    ],
)
def test_real_public_sets_load_from_the_mirror(monkeypatch, name, split, rows):
    monkeypatch.setenv(datasets.MIRROR_VARIABLE, MIRROR)
    loaded = datasets.load(name, split, source="mirror")
    assert loaded.num_rows == rows
    assert 0 <= min(loaded["score"]) < max(loaded["score"]) <= 5
