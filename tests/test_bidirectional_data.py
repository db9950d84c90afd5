"""A corpus of one's own, checked line by line; sentences and blocks; and options from files of other people's runs."""

import dataclasses
import json
import logging

import pytest
from bidirectional_models import byte_tokenizer
from hypothesis import given
from hypothesis import strategies as st

from helpers import bidirectional, datasets
from helpers.bidirectional import TrainingOptions, options
from helpers.datasets.checks import check_columns

ROWS = [{"text": "One."}, {"text": "Zwei, é and 雪.", "id": 3}, {"text": "Three\nlines\u2028in one."}]
TEXTS = [row["text"] for row in ROWS]


@pytest.fixture
def write(tmp_path):
    def make(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return make


# --- a corpus --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ascii_only", [True, False])
def test_all_forms_of_json_give_the_same_texts(write, ascii_only):
    lines = "\n".join(json.dumps(row, ensure_ascii=ascii_only) for row in ROWS)
    contents = {
        "a.jsonl": lines,
        "b.jsonl": f"\ufeff\n{lines}\n\n",
        "c.json": json.dumps(ROWS, ensure_ascii=ascii_only),
        "d.json": json.dumps(ROWS, ensure_ascii=ascii_only, indent=2),
        "e.json": lines,
        "f.json": "\n\n".join(json.dumps(row, indent=1) for row in ROWS),
        "g.JSONL": lines.replace("\n", "\r\n"),
    }
    for name, content in contents.items():
        assert bidirectional.read_corpus(write(name, content)) == TEXTS, name


def test_another_field_and_white_space_around_texts(write):
    path = write("a.jsonl", '{"body": "  One. "}')
    assert bidirectional.read_corpus(path, field="body") == ["One."]


BAD = [
    ("a.jsonl", '{"text": "One."}\n\n{"text": }\n', "a.jsonl, line 3 is not JSON: Expecting value"),
    ("a.jsonl", '{"text": "One."}\n{"txt": "Two."}', "a.jsonl, line 2 has no 'text'; did you mean 'txt'"),
    ("a.jsonl", '{"text": "One."}\n\n\n{"text": "  "}', "a.jsonl, line 4: 'text' is empty"),
    ("a.jsonl", '{"text": "One."}\n{"text": 7}', "a.jsonl, line 2: 'text' is 7 of type int"),
    ("a.jsonl", '{"text": null}', "a.jsonl, line 1: 'text' is None of type NoneType"),
    ("a.jsonl", '{"text": ["One."]}', "a.jsonl, line 1: .* of type list"),
    ("a.jsonl", '"One."\n', "a.jsonl, line 1 is str; every row should be an object with the key 'text'"),
    ("a.jsonl", "\n\n", "a.jsonl holds no rows"),
    ("a.json", '[\n {"text": "One."},\n {"text": ""}\n]', "a.json, line 3: 'text' is empty"),
    ("a.json", '[\n {"text": "One."},\n {\n "title": "x"}\n]', "a.json, line 3 has no 'text'"),
    ("a.json", '[\n {"text": "One."},\n {"text": "Two"\n]', "a.json, line 4 is not JSON"),
    ("a.json", '[{"text": "One."}\n {"text": "Two."}]', "a.json, line 2 is not JSON: Expecting ',' delimiter"),
    ("a.json", '[{"text": "One."},\n\n', "a.json, line 3 is not JSON"),
    ("a.json", '[{"text": "One."}]\n{"text": "Two."}', "a.json, line 2 is not JSON: Extra data"),
    ("a.json", '[{"text": "One."},\n]', "a.json, line [12] is not JSON"),
    ("a.json", '{"text": "One."}, {"text": "Two."}', "a.json, line 1 is not JSON"),
    ("a.json", "[]", "a.json holds no rows"),
    ("a.json", "", "a.json holds no rows"),
    ("a.json", '{"text": "One."}\n{"text": "Two."', "a.json, line 2 is not JSON"),
    ("a.txt", "One.", r"a.txt ends in '\.txt'; a corpus ends in \.json or \.jsonl"),
    ("a.jsonl", b'{"text": "\xe9"}', "a.jsonl is not UTF-8 .byte 10"),
]


@pytest.mark.parametrize(("name", "content", "message"), BAD)
def test_what_is_wrong_is_named_with_its_line(write, name, content, message):
    with pytest.raises(ValueError, match=message):
        bidirectional.read_corpus(write(name, content))


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        bidirectional.read_corpus(tmp_path / "a.jsonl")


@given(st.lists(st.text(st.characters(exclude_categories=("Cs",))).filter(str.strip), min_size=1, max_size=6))
def test_whatever_was_written_is_read(tmp_path_factory, texts):
    folder = tmp_path_factory.mktemp("corpus")
    rows = [{"text": text} for text in texts]
    (folder / "a.json").write_text(json.dumps(rows), encoding="utf-8")
    (folder / "a.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    for name in ("a.json", "a.jsonl"):
        assert bidirectional.read_corpus(folder / name) == [text.strip() for text in texts]


# --- sentences and blocks --------------------------------------------------------------------------------------------


def test_texts_are_cut_where_a_sentence_ends():
    text = (
        'Dr. J. Venn came at 4.30 p.m. on foot. "Is that so?" she asked. It was! He and I. Then nothing (or so they '
        "said.) 7 days passed... The end came"
    )
    assert bidirectional.to_sentences([text], least_words=1) == [
        "Dr. J. Venn came at 4.30 p.m. on foot.",
        '"Is that so?" she asked.',
        "It was!",
        "He and I.",
        "Then nothing (or so they said.)",
        "7 days passed...",
        "The end came",
    ]


def test_pieces_of_other_lengths_and_repetitions_are_left_out():
    texts = ["Too short. This one has five words. This one has five words.", "One two three four five six seven."]
    assert bidirectional.to_sentences(texts, most_words=6) == ["This one has five words."]
    with pytest.raises(ValueError, match="no sentence of 2 texts has from 9 to 60 words"):
        bidirectional.to_sentences(texts, least_words=9)


def test_sentences_of_the_book_are_what_they_should_be():
    texts = datasets.load("text")["text"]
    found = bidirectional.to_sentences(texts)
    assert len(found) > 3000
    joined = " ".join(" ".join(text.split()) for text in texts)
    assert all(sentence in joined for sentence in found)
    assert sum(sentence[0].isupper() or not sentence[0].isalpha() for sentence in found) > 0.99 * len(found)
    assert sum(sentence.rstrip("\"')")[-1] in ".!?" for sentence in found) > 0.97 * len(found)


@pytest.mark.parametrize("length", [2, 7, 16])
def test_blocks_are_all_tokens_in_order_and_full(length):
    tokenizer = byte_tokenizer()
    blocks = bidirectional.to_blocks(["One two.", "Three\n", "four"], tokenizer, length=length)
    whole = tokenizer("One two.\nThree\nfour\n")["input_ids"]
    assert {len(block) for block in blocks} == {length}
    assert [token for block in blocks for token in block] == whole[: len(whole) // length * length]


def test_too_little_text_for_a_block():
    with pytest.raises(ValueError, match="the texts have 4 tokens, fewer than one block of 5"):
        bidirectional.to_blocks(["One"], byte_tokenizer(), length=5)
    with pytest.raises(ValueError, match="the texts have 0 tokens"):
        bidirectional.to_blocks([], byte_tokenizer(), length=5)
    with pytest.raises(ValueError, match="length=1 should be at least 2"):
        bidirectional.to_blocks(["One"], byte_tokenizer(), length=1)


# --- options ---------------------------------------------------------------------------------------------------------

MNTP = {
    "model_name_or_path": "a/llama",
    "dataset_name": "wikitext",
    "dataset_config_name": "wikitext-103-raw-v1",
    "per_device_train_batch_size": 16,
    "per_device_eval_batch_size": 4,
    "gradient_accumulation_steps": 2,
    "do_train": True,
    "do_eval": True,
    "max_seq_length": 256,
    "mask_token_type": "eos",
    "data_collator_type": "all_mask",
    "mlm_probability": 0.7,
    "overwrite_output_dir": True,
    "output_dir": "out",
    "evaluation_strategy": "steps",
    "eval_steps": 100,
    "save_steps": 200,
    "stop_after_n_steps": 1000,
    "lora_r": 8,
    "gradient_checkpointing": True,
    "torch_dtype": "bfloat16",
    "attn_implementation": "flash_attention_2",
}
SIMCSE = {
    "model_name_or_path": "a/llama",
    "peft_model_name_or_path": "a/mntp",
    "simcse_dropout": 0.3,
    "bidirectional": True,
    "pooling_mode": "weighted_mean",
    "dataset_file_path": "sentences.txt",
    "remove_unused_columns": False,
    "learning_rate": 3e-5,
    "loss_scale": 20,
    "disable_tqdm": True,
    "logging_steps": 50,
    "save_only_model": True,
    "seed": 7,
}
SUPERVISED = {"num_train_epochs": 3, "warmup_steps": 300, "pooling_mode": "eos_token", "learning_rate": 2e-4}
WORD_TASK = {
    "peft_addr": "a",
    "cls_addr": "b",
    "model_class": "custom",
    "classifier_dropout": 0.1,
    "merge_subwords": True,
    "retroactive_labels": "next_token",
    "task": "pos_tags",
    "save_strategy": "steps",
}


def test_files_of_all_stages_are_read(tmp_path, caplog):
    path = tmp_path / "mntp.json"
    path.write_text(json.dumps(MNTP))
    with caplog.at_level(logging.INFO):
        mntp = TrainingOptions.from_json(path)
    assert mntp == TrainingOptions(
        model="a/llama", dataset="wikitext", dataset_config="wikitext-103-raw-v1", batch_size=16, eval_batch_size=4,
        accumulation=2, max_length=256, mask_token="eos", masking="all_mask", share=0.7, eval_steps=100, save_steps=200,
        steps=1000, rank=8, gradient_checkpointing=True, dtype="bfloat16", attention="flash_attention_2",
    )  # fmt: skip
    for key in ("do_train", "do_eval", "overwrite_output_dir", "output_dir", "evaluation_strategy"):
        assert f"{key} (" in caplog.text
    assert "max_seq_length" not in caplog.text
    simcse = TrainingOptions.from_json(SIMCSE)
    assert (simcse.attention_dropout, simcse.pooling, simcse.seed) == (0.3, "weighted_mean", 7)
    assert (simcse.scale, simcse.temperature) == (20, 0.05)
    assert simcse.adapter == "a/mntp"
    supervised = TrainingOptions.from_json(SUPERVISED)
    assert (supervised.epochs, supervised.warmup_steps, supervised.pooling) == (3, 300, "eos")
    assert supervised.temperature == pytest.approx(0.02)
    assert TrainingOptions.from_json(WORD_TASK) == TrainingOptions()


def test_every_known_key_is_a_field_or_has_a_reason():
    fields = {field.name for field in dataclasses.fields(TrainingOptions)}
    assert set(options.KEYS.values()) == fields - {"alpha"}
    assert not set(options.KEYS) & set(options.UNUSED)
    known = set(options.KEYS) | set(options.UNUSED)
    assert set(MNTP) | set(SIMCSE) | set(SUPERVISED) | set(WORD_TASK) <= known


def test_the_options_decide_the_masks():
    own = TrainingOptions.from_json({**MNTP, "mlm_probability": None})
    assert own.mask_share == 0.8
    collator = own.collator(byte_tokenizer(), seed=3)
    batch = collator([list(range(10, 110))])
    chosen = batch["labels"] != -100
    assert (batch["input_ids"][chosen] == byte_tokenizer().eos_token_id).all()
    assert 60 < chosen.sum() < 95
    assert TrainingOptions().mask_share == 0.2
    assert TrainingOptions(rank=4).lora_alpha == 8
    assert TrainingOptions(rank=4, alpha=3).lora_alpha == 3


def test_fields_can_be_set_beside_the_file():
    changed = TrainingOptions.from_json(MNTP, steps=50, alpha=5)
    assert dataclasses.replace(changed, steps=1000, alpha=None) == TrainingOptions.from_json(MNTP)
    with pytest.raises(ValueError, match="unknown option 'step'; did you mean 'steps'"):
        TrainingOptions.from_json(MNTP, step=50)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"mlm_probabilty": 0.2}, "unknown key 'mlm_probabilty' in a run file; did you mean 'mlm_probability'"),
        ({"lora_r": "16"}, "rank='16' should be of type int"),
        ({"lora_r": True}, "rank=True should be of type int"),
        ({"bidirectional": 1}, "bidirectional=1 should be of type bool"),
        ({"lora_r": 0}, "rank=0 should be from 1"),
        ({"mlm_probability": 0}, "share=0 should be from"),
        ({"mlm_probability": 1.5}, "share=1.5 should be from .* to 1"),
        ({"simcse_dropout": 1}, "attention_dropout=1 should be from 0"),
        ({"learning_rate": 0}, "learning_rate=0 should be from"),
        ({"stop_after_n_steps": 2.5}, "steps=2.5 should be of type int or NoneType"),
        ({"seed": -1}, "seed=-1 should be from 0"),
        ({"mask_token_type": "blanc"}, "unknown mask_token 'blanc'; did you mean 'blank'"),
        ({"data_collator_type": "all_masked"}, "unknown masking 'all_masked'; did you mean 'all_mask'"),
        ({"pooling_mode": "median"}, "unknown pooling 'median'"),
        ({"lr_scheduler_type": "lineal"}, "unknown schedule 'lineal'; did you mean 'linear'"),
    ],
)
def test_wrong_keys_and_values_are_named(source, message):
    with pytest.raises(ValueError, match=message):
        TrainingOptions.from_json(source)


def test_files_that_are_no_options(tmp_path):
    for name, content, message in (("a", "{", "a is not JSON"), ("b", "[]", "b should hold one JSON object, got list")):
        (tmp_path / name).write_text(content)
        with pytest.raises(ValueError, match=message):
            TrainingOptions.from_json(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        TrainingOptions.from_json(tmp_path / "c.json")


# --- the tagged set --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ("DET NOUN", "should be one tag for each of 3 words"),
        (None, "should be one tag for each of 3 words"),
        ("DET NOUN VRB", "unknown 'VRB'; allowed: ADJ, "),
    ],
)
def test_tags_that_do_not_fit_their_words_are_refused(tags, message):
    entry = datasets.spec("tagged")
    check_columns({"sentence": ["The bat flew"], "tags": ["DET NOUN VERB"]}, entry, "sentences")
    with pytest.raises(ValueError, match=f"tagged, row 0, tags.*{message}"):
        check_columns({"sentence": ["The bat flew"], "tags": [tags]}, entry, "sentences")


def test_the_tagged_set_is_too_hard_for_a_dictionary_and_not_for_reading():
    rows = datasets.load("tagged")
    tags = [row.split(" ") for row in rows["tags"]]
    found = bidirectional.look_up_tags(rows["sentence"], tags)
    assert 50 < found.accuracy < 80
