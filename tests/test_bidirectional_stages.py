"""What the later stages need: dropout that acts, adapters merged in order, masks that are right, states of words."""

import copy
import dataclasses
import json
import logging

import numpy as np
import pytest
import torch
from bidirectional_models import SUPPORTED, byte_tokenizer, ids, make
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from helpers import bidirectional, embedding, pooling
from helpers.bidirectional import adapters, merge

TEXTS = ["Rain.", "The baker opens the shop before sunrise.", "Two owls", "Is the kettle on? Yes, since noon."]
INSTRUCTION = "Find the weather:"


def adapted(model, *, seed=3, rank=4):
    """Add an adapter with something to say."""
    wrapped = bidirectional.add_adapter(model, rank=rank)
    torch.manual_seed(seed)
    for name, weight in wrapped.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.05)
    return wrapped.eval()


def bidirectional_model(name="smollm", **changes):
    return bidirectional.make_bidirectional(make(name, **changes))


@torch.no_grad()
def states(model):
    return model(input_ids=ids()).last_hidden_state


# --- dropout ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("name", [*SUPPORTED, "gpt2"])
def test_dropout_acts_in_every_layer_and_is_taken_back(name, attention):
    model = bidirectional_model(name, attention=attention, **({"attn_pdrop": 0.0} if name == "gpt2" else {}))
    assert bidirectional.view_difference(model) == 0
    before = states(model)
    assert bidirectional.set_attention_dropout(model, 0.3) == 2
    assert bidirectional.view_difference(model) > 1e-3
    assert not model.training
    assert torch.equal(states(model), before), "in evaluation nothing is dropped"
    model.train()
    assert not torch.equal(states(model), states(model))
    bidirectional.set_attention_dropout(model, 0.0)
    assert bidirectional.view_difference(model) == 0


def test_the_setting_in_the_configuration_does_nothing():
    model = bidirectional_model().train()
    model.config.attention_dropout = 0.3
    assert torch.equal(states(model), states(model))
    bidirectional.set_attention_dropout(model, 0.3)
    assert not torch.equal(states(model), states(model))


def test_the_dropout_of_an_adapter_does_not_hide_that_the_attention_has_none():
    wrapped = adapted(bidirectional_model())
    assert bidirectional.view_difference(wrapped, attention_only=False) > 0
    assert bidirectional.view_difference(wrapped) == 0
    assert bidirectional.set_attention_dropout(wrapped, 0.1) == 2


def test_a_dropout_that_does_not_act_is_an_error():
    """Falcon's attention has one and leaves it out."""
    with pytest.raises(ValueError, match="in 2 layers of FalconModel, and two passes in training mode are equal"):
        bidirectional.set_attention_dropout(bidirectional_model("falcon"), 0.3)


def test_dropout_out_of_range_or_without_a_place_is_refused():
    with pytest.raises(ValueError, match=r"rate=1\.0 should be"):
        bidirectional.set_attention_dropout(bidirectional_model(), 1.0)
    with pytest.raises(ValueError, match="no attention layer of MambaModel"):
        bidirectional.set_attention_dropout(make("mamba"), 0.1)


def test_the_check_leaves_modes_and_random_numbers_alone():
    model = bidirectional_model()
    model.layers[1].train()
    modes = [module.training for module in model.modules()]
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    bidirectional.set_attention_dropout(model, 0.2)
    assert torch.equal(torch.rand(1), expected)
    assert [module.training for module in model.modules()] == modes


# --- adapters and merging --------------------------------------------------------------------------------------------


def test_merging_keeps_the_vectors_and_is_the_formula():
    model = bidirectional_model()
    plain = copy.deepcopy(model.layers[0].mlp.up_proj.weight)
    wrapped = adapted(model)
    before = states(wrapped)
    layer = model.layers[0].mlp.up_proj
    change = layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    checksum = bidirectional.adapter_checksum(wrapped)
    merged = bidirectional.merge_adapter(wrapped)
    torch.testing.assert_close(states(merged), before, atol=1e-4, rtol=1e-4)
    assert (before - states(bidirectional_model())).abs().max() > 0.01
    torch.testing.assert_close(merged.layers[0].mlp.up_proj.weight, plain + 2 * change)
    assert not bidirectional.has_adapter(merged)
    assert not getattr(merged, "peft_config", None), "the next stage takes what this one leaves"
    assert bidirectional.merged_adapters(merged) == [checksum]
    bidirectional.check_bidirectional(merged)


def test_a_head_shares_the_merged_weights():
    head = bidirectional.make_bidirectional(make("smollm", head=True))
    wrapped = adapted(head)
    with torch.no_grad():
        before = head(input_ids=ids()).logits
        merged = bidirectional.merge_adapter(wrapped)
        after = head(input_ids=ids()).logits
    assert head.base_model is merged
    torch.testing.assert_close(after, before, atol=1e-4, rtol=1e-4)


@pytest.fixture
def stages(tmp_path):
    """Train two stages, the second on the merged first; return their folders, the base and the final states."""
    first = adapted(bidirectional_model(), seed=1)
    bidirectional.write_adapter(first, tmp_path / "mntp", dtype=None)
    second = adapted(bidirectional.merge_adapter(first), seed=2)
    bidirectional.write_adapter(second, tmp_path / "simcse", dtype=None)
    return tmp_path, states(second)


def test_stages_are_merged_in_their_order(stages):
    folder, expected = stages
    model = bidirectional.merge_stack(bidirectional_model(), [folder / "mntp", folder / "simcse"])
    torch.testing.assert_close(states(model), expected, atol=1e-4, rtol=1e-4)
    assert len(bidirectional.merged_adapters(model)) == 2


def test_a_stage_out_of_order_is_refused(stages):
    folder, expected = stages
    with pytest.raises(ValueError, match=r"simcse was trained on a base with 1 adapters .*this model has 0 \(none\)"):
        bidirectional.attach_adapter(bidirectional_model(), folder / "simcse")
    with pytest.raises(ValueError, match="merge the adapters of earlier stages first"):
        bidirectional.merge_stack(bidirectional_model(), [folder / "mntp", folder / "mntp"])
    (folder / "simcse" / adapters.TRAINED_ON).unlink()
    wrong = bidirectional.attach_adapter(bidirectional_model(), folder / "simcse")
    assert (states(wrong) - expected).abs().max() > 0.01, "without the note nothing tells"


def test_the_order_is_remembered_by_a_saved_base(stages, tmp_path):
    folder, expected = stages
    model = bidirectional.merge_stack(bidirectional_model(), [folder / "mntp"])
    model.save_pretrained(tmp_path / "base")
    attached = bidirectional.load_bidirectional(tmp_path / "base", adapter=folder / "simcse", device="cpu")
    torch.testing.assert_close(states(attached), expected, atol=1e-4, rtol=1e-4)


def test_another_base_is_refused(stages):
    folder, _ = stages
    with pytest.raises(ValueError, match="mntp was trained on another base"):
        bidirectional.attach_adapter(bidirectional_model(seed=1), folder / "mntp")
    with pytest.raises(FileNotFoundError, match="there is no adapter"):
        bidirectional.attach_adapter(bidirectional_model(), folder / "nothing")


def test_an_adapter_that_does_not_fit_is_refused_and_taken_out(stages):
    folder, _ = stages
    (folder / "mntp" / adapters.TRAINED_ON).unlink()
    model = bidirectional_model(num_hidden_layers=1)
    with pytest.raises(ValueError, match="mntp does not fit the layers of this model"):
        bidirectional.attach_adapter(model, folder / "mntp")
    assert not bidirectional.has_adapter(model)


def test_a_second_adapter_is_refused_whoever_put_the_first():
    from peft import LoraConfig

    model = bidirectional_model()
    wrapped = adapted(model)
    with pytest.raises(ValueError, match="carries an adapter already, and a second one would switch it off"):
        bidirectional.add_adapter(model)
    wrapped.add_adapter("simcse", LoraConfig(r=2, target_modules="all-linear"))
    wrapped.set_adapter("simcse")
    with pytest.raises(ValueError, match=r"carries the adapters \['default', 'simcse'\], of which \['simcse'\] are"):
        bidirectional.merge_adapter(wrapped)
    other = bidirectional_model()
    other.add_adapter(LoraConfig(r=2, target_modules="all-linear"))
    with pytest.raises(ValueError, match="carries an adapter already"):
        bidirectional.add_adapter(other)


def test_merging_what_cannot_be_merged_is_refused(monkeypatch):
    with pytest.raises(ValueError, match="no adapter to merge"):
        bidirectional.merge_adapter(bidirectional_model())
    with pytest.raises(ValueError, match=r"in torch\.bfloat16, too coarse"):
        bidirectional.merge_adapter(adapted(bidirectional_model()).to(torch.bfloat16))
    quantised = adapted(bidirectional_model())
    quantised.get_base_model().config.quantization_config = {"load_in_4bit": True}
    with pytest.raises(ValueError, match="quantised"):
        bidirectional.merge_adapter(quantised)
    vectors = iter([torch.zeros(1), torch.full((1,), 2e-4)])
    monkeypatch.setattr(merge, "_vectors", lambda decoder: next(vectors))
    with pytest.raises(ValueError, match=r"moved a vector by 2\.0e-04, more than 1e-04"):
        bidirectional.merge_adapter(adapted(bidirectional_model()))


def test_adapters_are_kept_in_bfloat16_and_known_by_their_weights(tmp_path):
    from safetensors.torch import load_file

    model = bidirectional_model()
    model.name_or_path = "/home/reader/base"
    wrapped = adapted(model)
    bidirectional.write_adapter(wrapped, tmp_path / "small")
    stored = load_file(tmp_path / "small" / adapters.WEIGHTS)
    assert {weight.dtype for weight in stored.values()} == {torch.bfloat16}
    assert all(name.startswith("base_model.model.layers.") for name in stored), "it fits a model without head"
    loaded = bidirectional.attach_adapter(bidirectional_model(), tmp_path / "small")
    assert bidirectional.adapter_checksum(loaded) == bidirectional.adapter_checksum(wrapped)
    assert bidirectional.adapter_checksum(adapted(bidirectional_model(), seed=4)) != bidirectional.adapter_checksum(
        wrapped
    )
    onto_head = make("smollm", head=True)
    bidirectional.make_bidirectional(onto_head)
    torch.testing.assert_close(states(bidirectional.attach_adapter(onto_head, tmp_path / "small")), states(loaded))
    config = json.loads((tmp_path / "small" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] is None


def test_a_base_is_known_by_its_embedding_in_any_precision():
    model = bidirectional_model()
    checksum = bidirectional.base_checksum(model)
    assert bidirectional.base_checksum(adapted(copy.deepcopy(model))) == checksum
    assert bidirectional.base_checksum(copy.deepcopy(model).to(torch.bfloat16)) == checksum
    assert bidirectional.base_checksum(make("smollm", head=True)) != bidirectional.base_checksum(make("smollm", seed=1))


def test_a_new_adapter_adds_nothing_and_freezes_the_rest():
    head = bidirectional.make_bidirectional(make("llama", head=True))
    before = states(head.base_model)
    wrapped = bidirectional.add_adapter(head, rank=2, alpha=6)
    assert torch.equal(states(wrapped), before)
    assert all(("lora" in name) == weight.requires_grad for name, weight in head.named_parameters())
    assert wrapped.active_peft_config.lora_alpha == 6
    assert not head.lm_head.weight.requires_grad


# --- masks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["left", "right"])
def test_without_instruction_all_tokens_count_and_no_padding(side):
    inputs = bidirectional.prepare(byte_tokenizer(), TEXTS, side=side)
    assert torch.equal(inputs.embed, inputs.attention)
    assert inputs.embed.sum(dim=1).tolist() == [len(text) for text in TEXTS]


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_instruction_is_read_and_not_pooled(side):
    tokenizer = byte_tokenizer()
    inputs = bidirectional.prepare(tokenizer, TEXTS, instruction=INSTRUCTION, side=side)
    for text, row, read, own in zip(TEXTS, *dataclasses.astuple(inputs), strict=True):
        assert tokenizer.decode(row[read.bool()]) == f"{INSTRUCTION} {text}"
        assert tokenizer.decode(row[own.bool()]) == text


def test_a_token_over_the_boundary_belongs_to_the_text(smollm2):
    tokenizer = smollm2[1]
    inputs = bidirectional.prepare(tokenizer, TEXTS, instruction=INSTRUCTION)
    for text, row, own in zip(TEXTS, inputs.ids, inputs.embed, strict=True):
        assert tokenizer.decode(row[own.bool()]) == f" {text}"
    plain = bidirectional.prepare(tokenizer, TEXTS)
    assert torch.equal(plain.embed, plain.attention)


def test_special_tokens_are_read_and_not_pooled():
    from tokenizers.processors import TemplateProcessing

    tokenizer = copy.deepcopy(byte_tokenizer())
    around = TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    tokenizer.backend_tokenizer.post_processor = around
    inputs = bidirectional.prepare(tokenizer, ["abc", "defg"], instruction="In:", max_length=10)
    for row, read, own, text in zip(*dataclasses.astuple(inputs), ["abc", "defg"], strict=True):
        assert row[read.bool()][[0, -1]].tolist() == [1, 2]
        assert tokenizer.decode(row[own.bool()]) == text


def test_long_texts_lose_their_end_and_never_the_instruction(caplog):
    inputs = bidirectional.prepare(byte_tokenizer(), ["abcdefghij"], instruction="In:", max_length=9)
    assert byte_tokenizer().decode(inputs.ids[0]) == "In: abcde"
    assert inputs.embed.sum() == 5
    assert "was cut by 5 tokens" in caplog.text
    with pytest.raises(ValueError, match="max_length=4 leaves nothing of the text 'abcdefghij'"):
        bidirectional.prepare(byte_tokenizer(), ["abcdefghij"], instruction="In:", max_length=4)
    with pytest.raises(ValueError, match=r"texts\[1\] is empty"):
        bidirectional.prepare(byte_tokenizer(), ["a", " "])


@pytest.mark.parametrize("name", ["smollm", "opt", "gpt2"])
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("instruction", ["", INSTRUCTION])
def test_a_vector_does_not_depend_on_its_batch(name, side, instruction):
    model, tokenizer = bidirectional_model(name), copy.deepcopy(byte_tokenizer())
    tokenizer.padding_side = side
    found = bidirectional.embed_texts(model, tokenizer, TEXTS, instruction=instruction)
    for text, vector in zip(TEXTS, found, strict=True):
        whole = f"{instruction} {text}".strip()
        with torch.no_grad():
            hidden = model(input_ids=torch.tensor([tokenizer(whole)["input_ids"]])).last_hidden_state[0]
        np.testing.assert_allclose(vector, hidden[-len(text) :].mean(dim=0), atol=2e-5, rtol=1e-4)


def test_without_instruction_the_vectors_are_those_of_the_embedder():
    model = bidirectional_model()
    for name in ("mean", "weighted_mean", "last"):
        found = bidirectional.embed_texts(model, byte_tokenizer(), TEXTS, pooling=name, batch_tokens=50)
        expected = embedding.Embedder(model, byte_tokenizer(), pooling=name).encode(TEXTS)
        np.testing.assert_allclose(found, expected, atol=2e-5, rtol=1e-4)
    with pytest.raises(ValueError, match="unknown pooling 'men'"):
        bidirectional.embed_texts(model, byte_tokenizer(), TEXTS, pooling="men")


def test_with_instruction_the_vectors_are_those_of_sentence_transformers(tmp_path):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    model = bidirectional_model()
    model.save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    modules = [Transformer(str(tmp_path)), Pooling(48, "mean", include_prompt=False)]
    stock = SentenceTransformer(modules=modules, device="cpu")
    found = bidirectional.embed_texts(model, byte_tokenizer(), TEXTS, instruction=INSTRUCTION)
    # A space at the end of the prompt is safe here, where every byte is a token of its own.
    np.testing.assert_allclose(stock.encode(TEXTS, prompt=f"{INSTRUCTION} "), found, atol=1e-5)


def test_the_original_mask_takes_the_last_columns_or_by_mistake_all_of_them():
    tokenizer = byte_tokenizer()
    width = 50
    separated = bidirectional.original_embed_mask(tokenizer, TEXTS, width, separated=True)
    plain = bidirectional.original_embed_mask(tokenizer, TEXTS, width, separated=False)
    assert plain.all()
    for text, row in zip(TEXTS, separated, strict=True):
        assert row.tolist() == [0] * (width - len(text)) + [1] * len(text)
    with pytest.raises(ValueError, match=r"texts\[1\] has 40 tokens, and the batch 20 columns"):
        bidirectional.original_embed_mask(tokenizer, TEXTS, 20, separated=True)


def test_with_the_original_mask_a_vector_depends_on_its_batch_and_with_ours_it_does_not():
    model, tokenizer = bidirectional_model(), byte_tokenizer()

    def first_vector(texts, original):
        inputs = bidirectional.prepare(tokenizer, texts, side="left")
        width = inputs.ids.shape[1]
        mask = bidirectional.original_embed_mask(tokenizer, texts, width, separated=False) if original else inputs.embed
        return pooling.pool(bidirectional.hidden_states(model, inputs), mask, "mean")[0]

    for original in (True, False):
        moved = (first_vector(TEXTS, original) - first_vector(TEXTS[:1], original)).abs().max()
        assert (moved > 0.05) == original, moved
    one, two = (bidirectional.original_embed_mask(tokenizer, TEXTS[1:2], 60, separated=True),
                bidirectional.prepare(tokenizer, [TEXTS[1], "x" * 60], side="left").embed[:1])  # fmt: skip
    assert torch.equal(one, two), "where the separator was written, both masks agree"


# --- words -----------------------------------------------------------------------------------------------------------

SENTENCES = ["The bat flew off .", "Rain !", "It 's a co-op , she said ."]


@pytest.mark.parametrize("shift", [False, True])
@pytest.mark.parametrize("which", ["bytes", "real"])
def test_the_state_of_a_word_is_the_mean_over_its_tokens(which, shift, smollm2):
    tokenizer = byte_tokenizer() if which == "bytes" else smollm2[1]
    model = bidirectional_model(vocab_size=len(tokenizer) + 12)
    found = bidirectional.word_states(model, tokenizer, SENTENCES, shift=shift)
    for sentence, states_of_words in zip(SENTENCES, found, strict=True):
        words = sentence.split(" ")
        pieces = [tokenizer(word if place == 0 else f" {word}")["input_ids"] for place, word in enumerate(words)]
        row = [tokenizer.bos_token_id, *(token for piece in pieces for token in piece)]
        with torch.no_grad():
            hidden = model(input_ids=torch.tensor([row])).last_hidden_state[0]
        start = 1 - shift
        for place, piece in enumerate(pieces):
            expected = hidden[start : start + len(piece)].mean(dim=0)
            np.testing.assert_allclose(states_of_words[place], expected, atol=2e-5, rtol=1e-4)
            start += len(piece)
        assert len(states_of_words) == len(words)


def test_sentences_that_are_no_words_with_single_spaces_are_refused():
    for sentence in ("two  spaces", " before", "a\ttab"):
        with pytest.raises(ValueError, match="parted by single spaces"):
            bidirectional.word_states(bidirectional_model(), byte_tokenizer(), [sentence], shift=False)


def tagged(sentences=30, seed=0):
    """Make states in which one direction tells the tag."""
    rng = np.random.default_rng(seed)
    tags = [
        [("NOUN", "VERB")[int(value)] for value in rng.integers(0, 2, rng.integers(2, 6))] for _ in range(sentences)
    ]
    states_of_words = [rng.normal(size=(len(row), 8)) for row in tags]
    for matrix, row in zip(states_of_words, tags, strict=True):
        matrix[:, 0] += [6.0 * (tag == "NOUN") for tag in row]
    return states_of_words, tags


def test_the_probe_finds_what_is_linear_and_nothing_else():
    found = bidirectional.probe_tags(*tagged(), strength=1.0)
    assert found.accuracy > 95
    assert found.accuracy == pytest.approx(100 * (found.right * found.words).sum() / found.words.sum())
    assert found.words.tolist() == [len(row) for row in tagged()[1]]
    noise = [np.random.default_rng(1).normal(size=matrix.shape) for matrix in tagged()[0]]
    assert bidirectional.probe_tags(noise, tagged()[1]).accuracy < 70


def test_the_control_looks_words_up_in_the_other_folds_only():
    sentences = ["the cat", "the dog", "the bat", "the owl"]
    tags = [["DET", "NOUN"]] * 4
    found = bidirectional.look_up_tags(sentences, tags, folds=4)
    assert found.accuracy == 50, "every noun is new, and the commonest tag of the others is a tie that DET wins"
    seen = bidirectional.look_up_tags(["The cat", "a cat"] * 3, [["DET", "NOUN"]] * 6, folds=3)
    assert seen.accuracy == 100


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tags": tagged()[1][:-1]}, "30 sentences and the tags of 29"),
        ({"tags": [["NOUN"] * 9, *tagged()[1][1:]]}, "sentence 0 has . words and 9 tags"),
        ({"folds": 31}, "folds=31 should be from 2 to the number of sentences, 30"),
    ],
)
def test_tags_that_do_not_match_are_refused(changes, message):
    states_of_words, tags = tagged()
    options = {"tags": tags, **changes}
    with pytest.raises(ValueError, match=message):
        bidirectional.probe_tags(states_of_words, options.pop("tags"), **options)


# --- texts -----------------------------------------------------------------------------------------------------------


@hypothesis_settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(min_size=1, max_size=40).filter(str.strip), instruction=st.sampled_from(["", "Find:", "日本語"]))
def test_whatever_the_text_its_own_tokens_are_counted(text, instruction):
    logging.disable(logging.WARNING)
    inputs = bidirectional.prepare(byte_tokenizer(), [text, "other"], instruction=instruction)
    logging.disable(logging.NOTSET)
    assert int(inputs.embed[0].sum()) == len(byte_tokenizer()(text)["input_ids"])


# --- all stages ------------------------------------------------------------------------------------------------------


def test_the_stages_follow_each_other_and_the_result_loads_anywhere_bidirectional(tmp_path):
    """Switch, masked prediction, merge, SimCSE with dropout in the attention alone, a folder of stock modules."""
    from sentence_transformers import SentenceTransformer

    from helpers import contrastive

    tokenizer = byte_tokenizer()
    head = bidirectional.make_bidirectional(make("smollm", head=True))
    options = bidirectional.TrainingOptions(batch_size=2, max_length=16, steps=3, learning_rate=1e-2, rank=4)
    result = bidirectional.train_mntp(head, tokenizer, TEXTS * 3, options=options)
    merged = bidirectional.merge_adapter(result.model)
    recipe = contrastive.DecoderRecipe(
        learning_rate=1e-3, temperature=0.05, batch_size=4, steps=2, lora_rank=4, lora_alpha=8, attention_dropout=0.3,
        max_length=32,
    )  # fmt: skip
    rows = [{"anchor": text, "positive": text} for text in TEXTS]
    trained = contrastive.train_decoder(merged, tokenizer, rows, recipe=recipe, seed=1)
    assert trained.losses[0] > 1e-4, "two equal views of each text would be told apart from the others at once"
    trained.encoder.save_pretrained(str(tmp_path / "encoder"), create_model_card=False)
    loaded = SentenceTransformer(str(tmp_path / "encoder"), device="cpu")
    bidirectional.check_bidirectional(loaded[0].model)
    assert bidirectional.merged_adapters(loaded[0].model) == bidirectional.merged_adapters(merged)
    found = bidirectional.embed_texts(loaded[0].model, tokenizer, TEXTS)
    np.testing.assert_allclose(loaded.encode(TEXTS), found, atol=1e-5)
    assert np.abs(found - bidirectional.embed_texts(merged, tokenizer, TEXTS)).max() > 1e-3
