import copy
import functools
import logging
import random

import numpy as np
import pytest
import torch
from conftest import tiny_llama
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizer,
    GPT2Config,
    GPT2Model,
    MistralConfig,
    MistralModel,
    OPTConfig,
    OPTModel,
)

from helpers import embedding, prompts
from helpers.embedding import Embedder

CAUSAL_POOLINGS = ("mean", "weighted_mean", "last", "eos", "first")
TEXTS = [
    "Rain.",
    "The baker opens the shop before sunrise.",
    "Two owls",
    "A very long train of goods waggons crossed the old iron bridge while we waited at the gate with our bicycles.",
    "Is the kettle on?",
    "The baker opens the shop after sunrise.",
]
DEMONSTRATION = prompts.with_demonstration("A man is slicing bread on a wooden board.", "Cooking")
SIZES = {"num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 256, "vocab_size": 49152}
IDS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}
ODD = [
    *(
        "{}",
        "{text}",
        "{0} {{x}}",
        "naïve café",
        "日本語のテキスト",
        "a\u200bb\u0301",
        "tab\tand\nline",
        "<|endoftext|>?",
    ),
    "\N{WOMAN}\u200d\N{WOMAN}\u200d\N{GIRL} and \N{REGIONAL INDICATOR SYMBOL LETTER C}",
]


def opt(**changes):
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "ffn_dim": 64, "word_embed_proj_dim": 32, **SIZES}
    return OPTModel(OPTConfig(**{**sizes, **IDS, **changes})).eval()


def gpt2(**changes):
    torch.manual_seed(0)
    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256, "vocab_size": 49152}
    return GPT2Model(GPT2Config(**sizes, **IDS, **changes)).eval()


def mistral(sliding_window):
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_key_value_heads": 2}
    return MistralModel(MistralConfig(sliding_window=sliding_window, **sizes, **SIZES)).eval()


CAUSAL = {
    "llama": tiny_llama,
    "opt": opt,
    "opt with a narrower embedding": lambda: opt(word_embed_proj_dim=16, do_layer_norm_before=False),
    "gpt2": gpt2,
    "mistral": lambda: mistral(sliding_window=200),
}
BIDIRECTIONAL = {
    "llama": lambda: tiny_llama(is_causal=False),
    "gpt2": lambda: gpt2(is_causal=False),
}


@pytest.fixture(scope="module")
def causal(tiny):
    return {name: make() for name, make in CAUSAL.items()}, tiny[1]


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """A tiny random BERT, whose tokenizer knows the words of the template, letters and little else."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "this", "sentence", "means", *':".', *"abcdefghij"]
    vocab = tmp_path_factory.mktemp("bert") / "vocab.txt"
    vocab.write_text("\n".join([*words, *(f"##{letter}" for letter in "abcdefghij")]))
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, **SIZES, "vocab_size": 32, "max_position_embeddings": 64}
    return BertModel(BertConfig(**sizes)).eval(), BertTokenizer(str(vocab))


@functools.cache  # copying a tokenizer takes a second
def padded(tokenizer, side):
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.padding_side = side
    return tokenizer


@torch.inference_mode()
def reference(model, tokenizer, text, pooling="mean", template="{text}"):
    """Run one text through the model as it is, and pool by hand."""
    end = [tokenizer.eos_token_id] if pooling == "eos" else []
    ids = torch.tensor([tokenizer(template.replace("{text}", text))["input_ids"] + end])
    states = model(input_ids=ids).last_hidden_state[0]
    weights = torch.arange(1, len(states) + 1).unsqueeze(1) / (len(states) * (len(states) + 1) / 2)
    masked = states[ids[0] == tokenizer.mask_token_id].sum(0) if pooling == "mask" else None
    pooled = {"mean": states.mean(0), "weighted_mean": (weights * states).sum(0), "first": states[0], "mask": masked}
    return pooled.get(pooling, states[-1]).numpy()


def references(model, tokenizer, texts, pooling="mean", template="{text}"):
    return np.stack([reference(model, tokenizer, text, pooling, template) for text in texts])


def close(found, expected):
    np.testing.assert_allclose(found, expected, atol=2e-5, rtol=1e-4)


def spy_on_prefix(embedder, monkeypatch):
    """Record the prefixes that an embedder runs."""
    prefixes, run = [], embedder._run_prefix
    monkeypatch.setattr(embedder, "_run_prefix", lambda prefix: prefixes.append(prefix) or run(prefix))
    return prefixes


# --- the vectors are those of the model, one text at a time ----------------------------------------------------------


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("pooling", CAUSAL_POOLINGS)
@pytest.mark.parametrize("name", CAUSAL)
def test_batches_equal_one_text_at_a_time(causal, name, pooling, side):
    model, tokenizer = causal[0][name], causal[1]
    embedder = Embedder(model, padded(tokenizer, side), pooling=pooling, template="<{text}>", batch_tokens=60)
    found = embedder.encode(TEXTS)
    assert found.dtype == np.float32
    assert found.shape == (len(TEXTS), found.shape[1])
    close(found, references(model, tokenizer, TEXTS, pooling, "<{text}>"))


@pytest.mark.parametrize("batch_tokens", [1, 17, 10_000])
def test_the_size_of_batches_does_not_matter(tiny, batch_tokens):
    close(Embedder(*tiny, batch_tokens=batch_tokens).encode(TEXTS), references(*tiny, TEXTS))


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("pooling", ["mask", "mean", "first", "last"])
def test_bert_batches_equal_one_text_at_a_time(bert, pooling, side):
    model, tokenizer = bert
    texts = ["a", "b c d", "abc ad", "this is a j", "a b c d e f g h i j"]
    embedder = Embedder(model, padded(tokenizer, side), template=prompts.PROMPT_MASK, pooling=pooling, batch_tokens=80)
    close(embedder.encode(texts), references(model, tokenizer, texts, pooling, prompts.PROMPT_MASK))


def test_mask_pooling_without_a_mask_in_the_template_is_an_error(bert):
    with pytest.raises(ValueError, match="no token to pool with 'mask'"):
        Embedder(*bert, pooling="mask").encode(["a b"])


@pytest.mark.parametrize("pooling", ["eos", "mask"])
def test_a_pooling_whose_token_the_tokenizer_lacks_is_refused(tiny, bert, pooling):
    model, tokenizer = bert if pooling == "eos" else tiny
    with pytest.raises(ValueError, match=f"pooling '{pooling}' needs its own token"):
        Embedder(model, tokenizer, pooling=pooling)


def test_bfloat16_models_give_float32_vectors_near_the_exact_ones(tiny):
    model, tokenizer = copy.deepcopy(tiny[0]).to(torch.bfloat16), tiny[1]
    found = Embedder(model, tokenizer, template=DEMONSTRATION).encode(TEXTS)
    expected = references(*tiny, TEXTS, template=DEMONSTRATION)
    assert found.dtype == np.float32
    cosines = (found * expected).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)
    assert cosines.min() > 0.99


# --- order, copies, neighbours ---------------------------------------------------------------------------------------


def test_a_shuffled_list_gives_shuffled_vectors(tiny):
    order = random.Random(1).sample(range(len(TEXTS)), len(TEXTS))
    embedder = Embedder(*tiny, batch_tokens=40)
    close(embedder.encode([TEXTS[i] for i in order]), embedder.encode(TEXTS)[order])


def test_texts_that_occur_twice_have_the_same_vector_and_are_computed_once(tiny, monkeypatch):
    embedder = Embedder(*tiny)
    rows, forward = [], embedder._forward
    monkeypatch.setattr(embedder, "_forward", lambda batch, cache: rows.extend(batch) or forward(batch, cache))
    found = embedder.encode([TEXTS[1], TEXTS[0], TEXTS[1], TEXTS[1]])
    assert len(rows) == 2
    assert (found[[2, 3]] == found[0]).all()
    close(found[:2], references(*tiny, [TEXTS[1], TEXTS[0]]))


@pytest.mark.parametrize("template", ["{text}", DEMONSTRATION])
def test_one_text_alone_equals_the_same_text_among_others(tiny, template):
    embedder = Embedder(*tiny, template=template, pooling="last")
    close(np.concatenate([embedder.encode([text]) for text in TEXTS]), embedder.encode(TEXTS))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(later=st.lists(st.text(min_size=1, max_size=60).filter(str.strip), min_size=1, max_size=4))
def test_later_texts_never_change_an_earlier_vector(tiny, later):
    embedder = Embedder(*tiny, template=DEMONSTRATION, pooling="last", max_length=128, batch_tokens=200)
    close(embedder.encode([*TEXTS[:2], *later])[:2], references(*tiny, TEXTS[:2], "last", DEMONSTRATION))


def test_the_progress_bar_changes_nothing_and_counts_the_texts(tiny, capsys):
    close(Embedder(*tiny).encode(TEXTS, progress=True), Embedder(*tiny).encode(TEXTS))
    assert f"{len(TEXTS)}/{len(TEXTS)}" in capsys.readouterr().err


# --- the shared beginning --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("pooling", CAUSAL_POOLINGS)
@pytest.mark.parametrize("name", CAUSAL)
def test_a_shared_beginning_is_run_once_and_changes_nothing(causal, name, pooling, side, monkeypatch):
    model, tokenizer = causal[0][name], causal[1]
    options = {"template": DEMONSTRATION, "pooling": pooling, "batch_tokens": 60}
    embedder = Embedder(model, padded(tokenizer, side), **options)
    prefixes = spy_on_prefix(embedder, monkeypatch)
    found = embedder.encode(TEXTS)
    assert len(prefixes) == 1
    assert tokenizer.decode(prefixes[0]).startswith(DEMONSTRATION[:60])
    close(found, Embedder(model, padded(tokenizer, side), share_prefix=False, **options).encode(TEXTS))
    close(found, references(model, tokenizer, TEXTS, pooling, DEMONSTRATION))


def test_a_text_that_is_the_beginning_of_another_is_shared_up_to_its_last_token(tiny, monkeypatch):
    beginning = "one two three four five six seven eight nine ten"
    texts = [beginning, f"{beginning} eleven"]
    embedder = Embedder(*tiny, pooling="last")
    prefixes = spy_on_prefix(embedder, monkeypatch)
    found = embedder.encode(texts)
    assert len(prefixes[0]) == len(tiny[1](texts[0])["input_ids"]) - 1
    close(found, references(*tiny, texts, "last"))


@pytest.mark.parametrize("template", ["{text}", "{text} means in one word, which is the longest of all tails:"])
def test_without_a_shared_beginning_nothing_is_run_twice(tiny, template, monkeypatch):
    embedder = Embedder(*tiny, template=template)
    prefixes = spy_on_prefix(embedder, monkeypatch)
    close(embedder.encode(TEXTS), references(*tiny, TEXTS, template=template))
    assert prefixes == []


@pytest.mark.parametrize("off", [{"share_prefix": False}, {}])
def test_sharing_can_be_turned_off_and_needs_two_texts(tiny, off, monkeypatch):
    embedder = Embedder(*tiny, template=DEMONSTRATION, **off)
    prefixes = spy_on_prefix(embedder, monkeypatch)
    embedder.encode(TEXTS if off else TEXTS[:1] * 3)
    assert prefixes == []


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("name", BIDIRECTIONAL)
def test_a_model_that_sees_the_future_is_not_shared_and_is_right(tiny, name, side, monkeypatch):
    model, tokenizer = BIDIRECTIONAL[name](), padded(tiny[1], side)
    embedder = Embedder(model, tokenizer, template=DEMONSTRATION, batch_tokens=120)
    prefixes = spy_on_prefix(embedder, monkeypatch)
    found = embedder.encode(TEXTS)
    assert prefixes == []
    close(found, references(model, tokenizer, TEXTS, template=DEMONSTRATION))


def test_bert_is_not_shared(bert, monkeypatch):
    embedder = Embedder(*bert, template="a b c d e f g h i j a b c d {text}")
    prefixes = spy_on_prefix(embedder, monkeypatch)
    close(embedder.encode(["a", "b c"]), references(*bert, ["a", "b c"], template=embedder.template))
    assert prefixes == []


def test_mask_pooling_of_a_causal_model_is_right_with_a_shared_beginning(tiny):
    tokenizer = copy.deepcopy(tiny[1])
    tokenizer.mask_token = "<|im_start|>"
    template = DEMONSTRATION + "<|im_start|>"
    found = Embedder(tiny[0], tokenizer, template=template, pooling="mask").encode(TEXTS)
    close(found, references(tiny[0], tokenizer, TEXTS, "mask", template))


@pytest.mark.parametrize("length", [9, 40, 200])
def test_sees_the_future_tells_the_two_kinds_apart(causal, bert, length):
    ids = [7 + i for i in range(length)]
    assert not any(embedding.sees_the_future(model, ids) for model in causal[0].values())
    assert all(embedding.sees_the_future(make(), ids) for make in BIDIRECTIONAL.values())
    assert embedding.sees_the_future(bert[0], [5 + i % 20 for i in range(min(length, 64))])


@pytest.mark.parametrize("last", [0, 1, 5])
def test_sees_the_future_works_for_any_last_token(last):
    assert not embedding.sees_the_future(tiny_llama(), [3, 4, 5, last])
    assert embedding.sees_the_future(tiny_llama(is_causal=False), [3, 4, 5, last])


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_inputs_longer_than_a_sliding_window_are_not_shared_and_are_right(tiny, pooling, side, monkeypatch):
    model, tokenizer = mistral(sliding_window=24), padded(tiny[1], side)
    embedder = Embedder(model, tokenizer, template=DEMONSTRATION, pooling=pooling, batch_tokens=120)
    prefixes = spy_on_prefix(embedder, monkeypatch)
    found = embedder.encode(TEXTS)
    assert prefixes == []
    close(found, references(model, tokenizer, TEXTS, pooling, DEMONSTRATION))


def test_the_sliding_window_of_the_test_model_matters(tiny):
    wide, narrow = (references(mistral(window), tiny[1], TEXTS, "last", DEMONSTRATION) for window in (200, 24))
    assert np.abs(wide - narrow).max() > 0.01


# --- what is kept between calls ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("pooling", CAUSAL_POOLINGS)
def test_a_demonstration_is_run_once_however_often_texts_are_encoded(tiny, pooling, side, monkeypatch):
    model, tokenizer = tiny[0], padded(tiny[1], side)
    embedder = Embedder(model, tokenizer, template=DEMONSTRATION, pooling=pooling, batch_tokens=60)
    prefixes = spy_on_prefix(embedder, monkeypatch)
    asked = []
    monkeypatch.setattr(embedding, "sees_the_future", lambda *_: bool(asked.append(1)))
    found = [embedder.encode(texts) for texts in (TEXTS[:3], TEXTS[3:], TEXTS)]
    assert len(prefixes) == len(asked) == 1
    close(found[2], references(model, tokenizer, TEXTS, pooling, DEMONSTRATION))
    close(np.concatenate(found[:2]), found[2])


def test_a_beginning_that_grows_is_run_again_and_one_that_shrinks_is_cut(tiny, monkeypatch):
    embedder = Embedder(*tiny, template=DEMONSTRATION, pooling="last")
    prefixes = spy_on_prefix(embedder, monkeypatch)
    alike = ["The baker sings.", "The baker sleeps.", "The baker swims."]
    for texts in (TEXTS, alike, TEXTS, alike):
        close(embedder.encode(texts), references(*tiny, texts, "last", DEMONSTRATION))
    assert [len(ids) > len(prefixes[0]) for ids in prefixes] == [False, True], "the longer one serves both"


def test_another_template_takes_the_place_of_the_last_and_asks_the_model_nothing(tiny, monkeypatch):
    first = Embedder(*tiny, template=DEMONSTRATION, pooling="last")
    asked = []
    monkeypatch.setattr(embedding, "sees_the_future", lambda *_: bool(asked.append(1)))
    first.encode(TEXTS)
    second = first.with_template(prompts.with_demonstration("Two owls.", "Birds"))
    assert first.template == DEMONSTRATION
    for embedder in (second, first, second):
        close(embedder.encode(TEXTS), references(*tiny, TEXTS, "last", embedder.template))
    assert len(asked) == 1
    assert first._kept is second._kept, "one prefix is kept, not one an embedder"
    with pytest.raises(ValueError, match="exactly once"):
        first.with_template("no slot")


def add_adapter(model):
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(1)
    return get_peft_model(model, LoraConfig(target_modules=["q_proj", "v_proj"], init_lora_weights=False)).eval()


def step(model):
    optimiser = torch.optim.SGD(model.parameters(), lr=0.5)
    model(input_ids=torch.tensor([[3, 4, 5]])).last_hidden_state.square().mean().backward()
    optimiser.step()
    optimiser.zero_grad()


def scale_in_silence(model):
    for weights in model.parameters():
        weights.data *= 1.5


def look_both_ways(model):
    model.config.is_causal = False


def other_weights(model):
    torch.manual_seed(7)
    model.load_state_dict(type(model)(model.config).state_dict())


@pytest.mark.parametrize("change", [step, scale_in_silence, look_both_ways, other_weights])
def test_what_was_kept_is_forgotten_when_the_model_changes(tiny, change):
    model, tokenizer = tiny_llama(), tiny[1]
    embedder = Embedder(model, tokenizer, template=DEMONSTRATION, pooling="last")
    before = embedder.encode(TEXTS)
    change(model)
    after = embedder.encode(TEXTS)
    assert np.abs(after - before).max() > 1e-3
    close(after, references(model, tokenizer, TEXTS, "last", DEMONSTRATION))


def test_an_adapter_that_is_switched_off_and_on_is_noticed(tiny):
    model, tokenizer = add_adapter(tiny_llama()), tiny[1]
    embedder = Embedder(model, tokenizer, template=DEMONSTRATION, pooling="last")
    on = embedder.encode(TEXTS)
    with model.disable_adapter():
        off = embedder.encode(TEXTS)
        close(off, references(model, tokenizer, TEXTS, "last", DEMONSTRATION))
    assert np.abs(on - off).max() > 1e-3
    close(embedder.encode(TEXTS), on)


# --- cutting ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("max_length", [20, 25, 40])
@pytest.mark.parametrize("pooling", ["last", "eos"])
def test_long_texts_are_cut_but_never_the_template(tiny, pooling, max_length, caplog):
    tokenizer = tiny[1]
    long_text = "All day the ferry carried pilgrims over the brown river. " * 10
    embedder = Embedder(*tiny, template=prompts.PROMPT_EOL, pooling=pooling, max_length=max_length)
    with caplog.at_level(logging.WARNING):
        ids = embedder.token_ids(["Rain.", long_text, "é日本👩‍👧" * 30])
    assert f"2 of 3 texts were cut to {max_length} tokens" in caplog.text
    end = tokenizer(' means in one word:"')["input_ids"] + [tokenizer.eos_token_id] * (pooling == "eos")
    for row in ids:
        assert len(row) <= max_length
        assert row[-len(end) + 1 :] == end[1:]
        assert tokenizer.decode(row).startswith('This sentence : "')
    assert max_length - 2 <= len(ids[1])
    kept = tokenizer.decode(ids[1])[len('This sentence : "') :].split('" means')[0]
    assert kept
    assert long_text.startswith(kept)


def test_the_end_of_sequence_token_is_last_also_where_nothing_is_cut(tiny, caplog):
    ids = Embedder(*tiny, pooling="eos").token_ids(TEXTS)
    assert [row[-1] for row in ids] == [tiny[1].eos_token_id] * len(TEXTS)
    assert [row[:-1] for row in ids] == tiny[1](TEXTS)["input_ids"]
    assert caplog.text == ""


def test_a_text_that_just_fits_is_not_cut(tiny, caplog):
    length = len(tiny[1](TEXTS[1])["input_ids"])
    whole, cut = (Embedder(*tiny, max_length=limit).token_ids([TEXTS[1]])[0] for limit in (length, length - 1))
    assert whole == tiny[1](TEXTS[1])["input_ids"]
    assert cut == whole[:-1]
    assert "1 of 1 texts were cut" in caplog.text


def test_the_vector_of_a_cut_text_is_that_of_what_is_left(tiny):
    embedder = Embedder(*tiny, template=prompts.PROMPT_EOL, pooling="last", max_length=20)
    left = tiny[1].decode(embedder.token_ids(["red green blue " * 20])[0])
    close(embedder.encode(["red green blue " * 20]), references(*tiny, [left], "last"))


def test_the_window_of_the_model_is_the_default_limit(tiny, bert):
    assert Embedder(*tiny).max_length == 256
    found = Embedder(bert[0], bert[1], pooling="last")
    assert len(found.token_ids(["a " * 200])[0]) == 64
    assert found.token_ids(["a " * 200])[0][-1] == bert[1].sep_token_id
    assert found.encode(["a " * 200]).shape == (1, 32)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(min_size=1, max_size=120).filter(str.strip), max_length=st.integers(18, 40))
def test_any_text_is_cut_to_the_limit_and_keeps_the_last_quote(tiny, text, max_length):
    (ids,) = Embedder(*tiny, template=prompts.PROMPT_EOL, max_length=max_length).token_ids([text])
    assert len(ids) <= max_length
    assert tiny[1].decode(ids).endswith(' means in one word:"')


@pytest.mark.parametrize("max_length", [1, 5, 10])
def test_a_template_that_leaves_no_room_is_an_error(tiny, max_length):
    with pytest.raises(ValueError, match=f"max_length={max_length} leaves no room for the text in the template 'This"):
        Embedder(*tiny, template=prompts.PROMPT_EOL, max_length=max_length).encode(TEXTS)


@pytest.mark.parametrize("max_length", [0, -3, 257])
def test_a_limit_that_the_model_cannot_keep_is_refused(tiny, max_length):
    with pytest.raises(ValueError, match=rf"from 1 to the model's window \(256 tokens\), got {max_length}"):
        Embedder(*tiny, max_length=max_length)


# --- texts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["left", "right"])
def test_braces_and_odd_characters_are_read_as_they_are(tiny, side):
    model, tokenizer = tiny[0], padded(tiny[1], side)
    found = Embedder(model, tokenizer, template=prompts.PROMPT_EOL, pooling="last").encode(ODD)
    close(found, references(model, tokenizer, ODD, "last", prompts.PROMPT_EOL))


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([], "there are no texts"),
        (["a", ""], r"texts\[1\] is empty"),
        (["a", "b", " \n\t"], r"texts\[2\] is empty"),
        (["a", None], r"texts\[1\] is None of type NoneType"),
        ([7, "a"], r"texts\[0\] is 7 of type int"),
        (["a", float("nan")], r"texts\[1\] is nan of type float"),
        (["a", b"b"], r"texts\[1\] is b'b' of type bytes"),
        ("one text", "got the single text 'one text'"),
    ],
)
def test_what_is_not_a_list_of_texts_is_refused_by_its_row(tiny, texts, message):
    with pytest.raises(ValueError, match=message):
        Embedder(*tiny).encode(texts)


@pytest.mark.parametrize("texts", [tuple(TEXTS), np.array(TEXTS)])
def test_tuples_and_arrays_of_texts_are_lists_of_texts(tiny, texts):
    assert (Embedder(*tiny).encode(texts) == Embedder(*tiny).encode(TEXTS)).all()


@pytest.mark.parametrize(
    ("option", "value"), [("template", "no slot"), ("template", "{text}{text}"), ("pooling", "max")]
)
def test_a_wrong_template_or_pooling_is_refused_at_once(tiny, option, value):
    with pytest.raises(ValueError, match=value):
        Embedder(*tiny, **{option: value})


@pytest.mark.parametrize("side", ["left", "right"])
@given(batch=st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=6), min_size=1, max_size=5))
def test_padding_is_undone_by_its_mask(side, batch):
    ids, mask = embedding.pad(batch, pad_id=0, side=side)
    assert ids.shape == mask.shape == (len(batch), max(map(len, batch)))
    assert [row[keep.bool()].tolist() for row, keep in zip(ids, mask, strict=True)] == batch
    edge = -1 if side == "left" else 0
    assert mask[:, edge].all()
    assert (ids[mask == 0] == 0).all()


# --- the next word ---------------------------------------------------------------------------------------------------


def test_next_words_are_the_softmax_of_the_head_sorted(tiny):
    vectors, head = Embedder(*tiny, pooling="last").encode(TEXTS), torch.randn(49152, 32) / 4
    found = embedding.next_words(vectors, head, tiny[1], top=7)
    assert len(found) == len(TEXTS)
    for vector, row in zip(vectors, found, strict=True):
        scores = np.exp((head @ torch.tensor(vector)).double().numpy())
        best = np.argsort(-scores)[:7]
        assert [word for word, _ in row] == [tiny[1].decode([token]) for token in best]
        np.testing.assert_allclose([p for _, p in row], scores[best] / scores.sum(), rtol=1e-4)
        assert [p for _, p in row] == sorted((p for _, p in row), reverse=True)


def test_next_words_take_any_precision(tiny):
    vectors, head = np.ones((1, 32)), torch.randn(49152, 32)
    exact = embedding.next_words(vectors.astype(np.float32), head.bfloat16().float(), tiny[1])
    assert embedding.next_words(vectors, head.bfloat16(), tiny[1]) == exact


# --- the real model --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def prompt_eol(smollm2):
    return Embedder(*smollm2, template=prompts.PROMPT_EOL, pooling="last")


def test_the_vector_is_read_at_the_open_quote(prompt_eol):
    for ids in prompt_eol.token_ids(TEXTS):
        assert '"' in prompt_eol.tokenizer.decode(ids[-1:])


def test_the_real_model_puts_a_paraphrase_nearer_than_another_subject(prompt_eol):
    vectors = prompt_eol.encode(
        ["A dog is running across the beach.", "On the beach, a dog runs.", "The bank raised its interest rates."]
    )
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]


def test_the_real_model_shares_a_demonstration_and_stays_right(smollm2, monkeypatch):
    embedder = Embedder(*smollm2, template=DEMONSTRATION, pooling="last")
    prefixes = spy_on_prefix(embedder, monkeypatch)
    found = embedder.encode(TEXTS[:3])
    assert len(prefixes) == 1
    expected = references(*smollm2, TEXTS[:3], "last", DEMONSTRATION)
    np.testing.assert_allclose(found, expected, atol=2e-3 * np.abs(expected).max())


def test_the_real_model_answers_the_prompt_with_words(prompt_eol):
    vectors = prompt_eol.encode(["The chef fries an egg in the kitchen."])
    words = embedding.next_words(vectors, prompt_eol.model.get_input_embeddings().weight, prompt_eol.tokenizer)[0]
    assert len(words) == 10
    assert any(word.strip().isalpha() for word, _ in words)
    assert 0 < sum(p for _, p in words) <= 1
