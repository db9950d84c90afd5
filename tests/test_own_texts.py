"""Reading the reader's own texts: every format, and what a bad row is called."""

import csv
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import datasets

ODD = [
    'She said "no, thanks".',
    "One line,\nand another.",
    "Ein Café in Zürich, 雪.",
    "tab\there",
    "One\u2028two\x85three\x0bfour\x0cfive",
]
# No carriage return: reading a file turns it into a line feed. No surrogates: they cannot be written as UTF-8.
TEXTS = st.lists(
    st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\r\x00")).filter(str.strip), min_size=1
)


@pytest.fixture
def file(tmp_path):
    """Write a file; bytes as they are, text as UTF-8, other things as JSON."""

    def make(name, content):
        path = tmp_path / name
        if not isinstance(content, str | bytes):
            content = json.dumps(content, ensure_ascii=False)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return make


def as_csv(path, rows, **options):
    with path.open("w", encoding="utf-8", newline="") as handle:
        csv.writer(handle, **options).writerows(rows)
    return path


class TestTables:
    @pytest.mark.parametrize(("ending", "delimiter"), [("csv", ","), ("tsv", "\t"), ("CSV", ",")])
    def test_quotes_commas_and_lines_inside_a_cell(self, tmp_path, ending, delimiter):
        path = as_csv(tmp_path / f"a.{ending}", [["id", "text"], *enumerate(ODD)], delimiter=delimiter)
        assert datasets.read_texts(path) == ODD

    @given(TEXTS)
    def test_whatever_was_written_is_read(self, tmp_path_factory, texts):
        path = as_csv(tmp_path_factory.mktemp("own") / "a.csv", [["text"], *([text] for text in texts)])
        assert datasets.read_texts(path) == [text.strip() for text in texts]

    def test_a_byte_order_mark_and_windows_lines(self, file):
        path = file("a.csv", b"\xef\xbb\xbf" + "text,id\r\nCafé,1\r\nTee,2\r\n".encode())
        assert datasets.read_texts(path) == ["Café", "Tee"]

    def test_another_column_and_white_space_around_texts(self, file):
        path = file("a.csv", "text,note\nno,  yes \nnor,\tindeed\n")
        assert datasets.read_texts(path, "note") == ["yes", "indeed"]
        assert datasets.read_texts(str(path), column="note") == ["yes", "indeed"]

    def test_a_last_line_without_an_end_and_blank_lines(self, file):
        assert datasets.read_texts(file("a.csv", "text\none\n\n\ntwo")) == ["one", "two"]

    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            ("text,id\none,1\n,2\n", r"a.csv, row 2: 'text' is ''; it should be a text that is not empty"),
            ("id,text\n1,one\n2,two\n3\n", r"a.csv, row 3: 'text' is None"),
            ("text\none\n' '\n  \n", r"a.csv, row 3: 'text' is '  '"),
            ("text\none\nfirst, second\n", r"row 2: 'text' is \['first', ' second'\]; it should be a text"),
            ("id,text\n1,one\n2,first, second, third\n", r"row 2: 'text' is \['first', ' second', ' third'\]"),
        ],
    )
    def test_a_bad_row_is_named_or_left_out(self, file, rows, message):
        path = file("a.csv", rows)
        with pytest.raises(ValueError, match=message):
            datasets.read_texts(path)
        assert "one" in datasets.read_texts(path, skip_bad=True)
        assert not {"first", "", None} & set(datasets.read_texts(path, skip_bad=True))

    @pytest.mark.parametrize("skip_bad", [False, True])
    def test_an_unknown_column_comes_with_the_nearest(self, file, skip_bad):
        with pytest.raises(ValueError, match=r"a.csv has no column 'text'; did you mean 'texts'. allowed: id, texts"):
            datasets.read_texts(file("a.csv", "id,texts\n1,one\n"), skip_bad=skip_bad)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ('text\none\n"two\nthree\n', r"a.csv is not CSV after line 2: unexpected end of data"),
            ('text\n"one" two\n', r"a.csv is not CSV after line 1: ',' expected after '\"'"),
            ("text\n" + "a" * 200_000, r"a.csv is not CSV after line 1: field larger than field limit"),
        ],
    )
    def test_a_broken_table_is_named_with_its_line(self, file, content, message):
        with pytest.raises(ValueError, match=message):
            datasets.read_texts(file("a.csv", content))


class TestJson:
    def test_lines_of_objects(self, file):
        lines = [json.dumps({"id": row, "text": text}, ensure_ascii=row % 2 > 0) for row, text in enumerate(ODD)]
        assert datasets.read_texts(file("a.jsonl", "\n".join(lines) + "\n\n")) == ODD

    def test_a_list_of_objects_of_texts_or_of_both(self, file):
        objects = [{"id": row, "text": text} for row, text in enumerate(ODD)]
        assert datasets.read_texts(file("a.json", objects)) == ODD
        assert datasets.read_texts(file("a.json", ODD)) == ODD
        assert datasets.read_texts(file("a.json", [*objects[:2], *ODD[2:]])) == ODD
        assert datasets.read_texts(file("a.jsonl", "\n".join(map(json.dumps, ODD)))) == ODD

    def test_a_byte_order_mark(self, file):
        assert datasets.read_texts(file("a.json", b'\xef\xbb\xbf["one"]')) == ["one"]

    @pytest.mark.parametrize("value", ["", "  \n", None, 5, 2.5, True, ["one"], {"a": "b"}])
    @pytest.mark.parametrize("ending", ["json", "jsonl"])
    def test_a_value_that_is_no_text_is_named_or_left_out(self, file, ending, value):
        rows = [{"text": "one"}, {"text": "two"}, {"text": value}, {"text": "four"}]
        path = file(f"a.{ending}", rows if ending == "json" else "\n".join(map(json.dumps, rows)))
        with pytest.raises(ValueError, match=f"a.{ending}, row 3: 'text' is .*; it should be a text that is not empty"):
            datasets.read_texts(path)
        assert datasets.read_texts(path, skip_bad=True) == ["one", "two", "four"]

    @pytest.mark.parametrize("ending", ["json", "jsonl"])
    def test_a_row_without_the_column_is_named_with_the_nearest_or_left_out(self, file, ending):
        rows = [{"text": "one"}, {"Text": "two", "id": 2}, {"text": "three"}]
        path = file(f"a.{ending}", rows if ending == "json" else "\n".join(map(json.dumps, rows)))
        message = f"a.{ending}, row 2 has no column 'text'; did you mean 'Text'. allowed: Text, id"
        with pytest.raises(ValueError, match=message):
            datasets.read_texts(path)
        assert datasets.read_texts(path, skip_bad=True) == ["one", "three"]

    @pytest.mark.parametrize("value", [None, 3, [], "  "])
    def test_a_list_item_that_is_no_text_is_named(self, file, value):
        with pytest.raises(ValueError, match=r"a.json, row 2: "):
            datasets.read_texts(file("a.json", ["one", value]))

    def test_a_line_that_is_not_json_is_named_by_its_place_in_the_file(self, file):
        with pytest.raises(ValueError, match=r"a.jsonl, line 3, is not JSON: .*: '\{\"text\": \"cut'"):
            datasets.read_texts(file("a.jsonl", '{"text": "one"}\n\n{"text": "cut\n'))

    @pytest.mark.parametrize(("content", "kind"), [({"text": "one"}, "dict"), (b'"one"', "str"), (b"3", "int")])
    def test_anything_but_a_list_is_refused(self, file, content, kind):
        with pytest.raises(ValueError, match=f"a.json should hold a list of objects or texts, got {kind}"):
            datasets.read_texts(file("a.json", content))

    def test_json_that_is_cut_off(self, file):
        with pytest.raises(ValueError, match=r"a.json is not JSON: .*: '\[\"one\", '"):
            datasets.read_texts(file("a.json", '["one", '))


class TestPlainText:
    def test_a_text_a_line_without_the_blank_ones(self, file):
        assert datasets.read_texts(file("a.txt", "one\n\n  two \r\n\t\nthree, four")) == ["one", "two", "three, four"]

    def test_only_line_ends_end_a_text(self, file):
        assert datasets.read_texts(file("a.txt", f"{ODD[-1]}\nanother")) == [ODD[-1], "another"]

    def test_the_column_is_not_used(self, file):
        assert datasets.read_texts(file("a.TXT", "one"), "nothing") == ["one"]


class TestFiles:
    @pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "json", "txt"])
    def test_latin_1_is_refused_with_the_place(self, file, ending):
        with pytest.raises(ValueError, match=f"a.{ending} is not UTF-8 .byte 8.; save it again as UTF-8"):
            datasets.read_texts(file(f"a.{ending}", "text\nCafé\n".encode("latin-1")))

    @pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.txt", "folder.txt"])
    def test_a_file_that_is_not_there(self, tmp_path, name):
        (tmp_path / "folder.txt").mkdir()
        with pytest.raises(FileNotFoundError, match=f"there is no file .*{name}"):
            datasets.read_texts(tmp_path / name)

    @pytest.mark.parametrize("skip_bad", [False, True])
    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("a.csv", "", "a.csv has no column 'text'"),
            ("a.csv", "text,id\n", "a.csv holds no text"),
            ("a.jsonl", "", "a.jsonl holds no text"),
            ("a.jsonl", "\n \n", "a.jsonl holds no text"),
            ("a.json", "", "a.json is not JSON"),
            ("a.json", [], "a.json holds no text"),
            ("a.txt", "", "a.txt holds no text"),
            ("a.txt", " \n\t\n", "a.txt holds no text"),
        ],
    )
    def test_an_empty_file(self, file, name, content, message, skip_bad):
        with pytest.raises(ValueError, match=message):
            datasets.read_texts(file(name, content), skip_bad=skip_bad)

    def test_nothing_but_bad_rows(self, file):
        with pytest.raises(ValueError, match=r"a.json holds no text"):
            datasets.read_texts(file("a.json", [None, "", 3]), skip_bad=True)

    @pytest.mark.parametrize(
        ("name", "ending"), [("a.xlsx", ".xlsx"), ("a.docx", ".docx"), ("a", ""), ("a.csv.gz", ".gz")]
    )
    def test_another_ending_is_refused_with_those_that_can_be_read(self, file, name, ending):
        with pytest.raises(ValueError, match=f"{name} ends in '{ending}'; files that can be read: .csv, .tsv, .jsonl"):
            datasets.read_texts(file(name, "text\none\n"))
