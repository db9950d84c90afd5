"""Every chapter, executed by papermill on two dozen texts: its records, and what they must say even there."""

import json
import math
import os

import book_copy
import pytest
from conftest import ROOT

from helpers import records

CHAPTERS = sorted(path.stem for path in (ROOT / "notebooks").glob("[0-9]*.ipynb"))
WITHOUT_RECORDS = {"01d_your_own_texts"}  # a page about the reader's file measures nothing of ours
METHODS = {
    "00_setup": {"shared words", "random vectors", "mean", "PromptEOL", "sentence encoder"},
    "01_measuring": {"random vectors", "TF-IDF", "static mean", "mean", "sentence encoder"},
    "01b_four_tasks": {"random vectors", "TF-IDF", "mean", "PromptEOL", "sentence encoder"},
    "01c_small_data": {"random vectors", "TF-IDF", "static mean", "sentence encoder"},
    "02_prompteol": {
        "last token",
        "mean",
        "weighted mean",
        "unrelated prompt",
        "plain prompt",
        "PromptEOL",
        "PromptEOL + demonstration",
    },
    "03_demonstrations_and_scale": {
        "PromptEOL",
        "PromptEOL + demonstration",
        "PromptEOL + wrong word",
        "PromptEOL + best demonstration",
        "PromptEOL + demonstration of the task",
    },
    "04_asking_an_llm": {"random answers", "SmolLM2 by reply", "SmolLM2 by option", "SmolLM2 by likelihood", "self"},
    "05_learning_from_answers": {"no training", "random answers", "self", "SmolLM2 by likelihood", "oracle"},
    "06_synthetic_data": {
        "strong generator",
        "strong generator, positives of other rows",
        "SmolLM2, constrained",
        "SmolLM2, unconstrained",
        "SmolLM2, one step",
        "shuffled words",
    },
    "07_contrastive": {
        "PromptEOL",
        "PromptEOL + demonstration",
        "PromptEOL + CSE",
        "PromptEOL + CSE, wrong pairs",
    },
    "09_bidirectional_mntp": {
        "causal mean",
        "switch alone",
        "switch + MNTP",
        "switch + MNTP, shuffled words",
        "switch + MNTP, longer",
    },
}


def rows(book, chapter):
    return records.load(book.root / "_build" / "records" / "smoke" / f"{chapter}.json")


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_the_chapter_runs_within_its_budget(smoke_book, chapter):
    run = json.loads((smoke_book.root / "_build" / "executed" / "smoke" / f"{chapter}.json").read_text())
    assert run["seconds"] < 600, "a minute or two on a quiet machine, with room for a busy one"
    assert run["peak_memory_mb"] < 6_000


@pytest.mark.parametrize("chapter", METHODS)
def test_the_records_are_whole_and_finite(smoke_book, chapter):
    found = rows(smoke_book, chapter)
    assert {row["method"] for row in found} >= METHODS[chapter]
    for row in found:
        assert row["chapter"] == chapter
        assert row["profile"] == "smoke"
        assert row["precision"] == "float32"
        assert len(row["key"]) == 64, "made by the runner, so it belongs to a key"
        assert math.isfinite(row["mean"])
        assert row["ci95"][0] <= row["mean"] <= row["ci95"][1]
        assert -100 <= row["mean"] <= 100


def test_every_chapter_has_records_or_says_why_not():
    assert {*METHODS, *WITHOUT_RECORDS} == set(CHAPTERS)


@pytest.mark.parametrize("chapter", METHODS)
def test_every_method_but_the_control_is_compared_with_one(smoke_book, chapter):
    for row in rows(smoke_book, chapter):
        assert (row["control"] is None) == (row["paired_difference"] is None)


def test_a_sentence_encoder_beats_counting_words_even_on_few_pairs(smoke_book):
    means = {row["method"]: row["mean"] for row in rows(smoke_book, "01_measuring")}
    assert means["sentence encoder"] > means["TF-IDF"] + 10


def test_every_piece_of_the_template_has_a_record(smoke_book):
    from helpers import prompts

    found = {row["method"] for row in rows(smoke_book, "02_prompteol") if row["control"] == "PromptEOL"}
    assert found == {f"PromptEOL without {piece}" for piece in prompts.PROMPT_EOL_WITHOUT}


@pytest.fixture(scope="module")
def tiny_bert_mirror(tmp_path_factory):
    """A mirror that holds a random two-layer BERT under the real one's name."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("mirror") / "models" / "google-bert" / "bert-base-uncased"
    folder.mkdir(parents=True)
    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,:;!?'\"()-"
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=len(pieces), **sizes)).save_pretrained(folder)
    BertTokenizerFast(vocab={piece: number for number, piece in enumerate(pieces)}).save_pretrained(folder)
    return folder.parents[2]


def test_the_full_stop_experiment_runs_where_a_bert_is_at_hand(tiny_bert_mirror, monkeypatch):
    """Only the cells that the experiment needs, in order: the rest of the chapter has run already."""
    monkeypatch.setenv("EMBEDDING_BOOK_MIRROR", str(tiny_bert_mirror))
    cells = json.loads((ROOT / "notebooks" / "02_prompteol.ipynb").read_text())["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    scope = _names_of_the_chapter()
    exec(next(text for text in sources if "def similarities(" in text), scope)
    printed = []
    scope["print"] = lambda *parts: printed.append(" ".join(map(str, parts)))
    exec(next(text for text in sources if "PROMPT_MASK_NO_STOP" in text), scope)
    assert [line.split(":")[0] for line in printed] == ["mask prompt", "mask prompt, no full stop"]
    values = [float(line.split(":")[1].split()[0]) for line in printed]
    assert all(-100 <= value <= 100 for value in values)
    with_stop, without = (_mask_states(scope, template) for template in ("PROMPT_MASK", "PROMPT_MASK_NO_STOP"))
    assert with_stop.shape == without.shape == (1, 32)
    assert abs(with_stop - without).max() > 1e-6, "the full stop must reach the state of the mask"


def _mask_states(scope, template):
    """Embed one sentence by the mask token, as the chapter's cell does."""
    embedder = scope["embedding"].Embedder(
        scope["bert"], scope["bert_tokenizer"], template=getattr(scope["prompts"], template), pooling="mask"
    )
    return embedder.encode(["The kettle is on."])


def _names_of_the_chapter():
    import numpy as np

    from helpers import datasets, embedding, evaluation, models, prompts, settings, store

    first = ("book-sts", "test")
    data = {first: datasets.load(*first, limit=12)}
    modules = {"embedding": embedding, "evaluation": evaluation, "models": models, "prompts": prompts, "store": store}
    named = {"masked_model": "bert-base-uncased", "working": settings.profile("smoke"), "first": first, "DATA": data}
    return {"np": np, **modules, **named}


def test_an_unknown_parameter_is_refused_with_the_nearest_name(smoke_book):
    result = book_copy.run_book(smoke_book.root, "execute", "--profile", "smoke", "--only", "02", "--set", "sed=1")
    assert result.returncode == 2
    assert "seed" in result.stdout


def test_an_ill_typed_parameter_is_refused(smoke_book):
    result = book_copy.run_book(smoke_book.root, "execute", "--profile", "smoke", "--only", "02", "--set", "seed=many")
    assert result.returncode == 2
    assert "seed" in result.stdout
    assert "int" in result.stdout


def test_nothing_of_the_environment_leaked_into_the_run():
    assert "EMBEDDING_BOOK_PROFILE" not in os.environ
