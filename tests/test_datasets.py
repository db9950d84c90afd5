"""The registry of datasets, the three places, and what a bad row is called."""

import dataclasses
import json
import os
import re

import datasets as hub_datasets
import pytest

from helpers import datasets, settings

MIRROR = os.environ.get(datasets.MIRROR_VARIABLE)
needs_mirror = pytest.mark.skipif(not MIRROR, reason=f"{datasets.MIRROR_VARIABLE} is not set: no public data here")
ROWS = [
    {"sentence1": "A kettle sings.", "sentence2": "Water is boiling.", "score": 3.2},
    {"sentence1": "Two goats climb.", "sentence2": "The bank is closed.", "score": 0},
    {"sentence1": "It snows.", "sentence2": "Snow is falling.", "score": 5.0},
]
NAN = float("nan")


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
        assert bool(entry.folder) != bool(entry.hub)
        assert entry.licence
        assert entry.title
        if entry.hub:
            assert re.fullmatch(r"[0-9a-f]{40}", entry.revision)
            assert entry.source == f"hub {entry.hub}"


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
