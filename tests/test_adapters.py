"""Adapters: what they add, how large they are, and the small folders that they travel in."""

import copy
import dataclasses
import json
import os

import numpy as np
import pytest
import torch
from tiny_decoders import byte_llama, byte_tokenizer, triplets

from helpers import contrastive, embedding, models, prompts
from helpers.contrastive import adapter_files, adapters

OPTIONS = contrastive.LoraOptions(rank=4, alpha=8)
TEXTS = ["red 1", "a horse on the hill"]
CARD = contrastive.AdapterCard(
    title="Colours and animals",
    base="tiny",
    lora=OPTIONS,
    template=prompts.PROMPT_EOL,
    pooling="last",
    data="Eighteen triplets of colours and animals (CC BY 4.0)",
    training={"steps": 40, "seed": 7},
    scores={"Spearman on book-sts": 0.5},
    licence="Apache-2.0",
)


@pytest.fixture
def base(tmp_path, monkeypatch):
    """A tiny decoder that the registry knows and finds in a mirror folder."""
    folder = tmp_path / "mirror" / "models" / "book" / "tiny"
    byte_llama().save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    monkeypatch.setenv(models.MIRROR_VARIABLE, str(tmp_path / "mirror"))
    monkeypatch.setitem(
        models.REGISTRY, "tiny", models.ModelSpec("tiny", "Tiny", "decoder", 1, "none", "book/tiny", "r1")
    )
    monkeypatch.setattr(adapter_files, "ADAPTERS", tmp_path / "adapters")
    return models.load_decoder("tiny")


def random_adapter(model, seed=1, options=OPTIONS):
    """Put an adapter with random numbers into a copy of a model."""
    peft = adapters.add_lora(copy.deepcopy(model), options)
    torch.manual_seed(seed)
    drawn = {name: torch.randn_like(weight) * 0.2 for name, weight in adapters.adapter_weights(peft).items()}
    adapters.set_adapter(peft, drawn)
    return peft.eval(), drawn


def vectors(model, tokenizer, **options):
    how = {"template": prompts.PROMPT_EOL, "pooling": "last"} | options
    return embedding.Embedder(model, tokenizer, **how).encode(TEXTS)


def close(left, right, tolerance=1e-5):
    np.testing.assert_allclose(left, right, atol=tolerance * np.abs(right).max())


# --- what an adapter adds --------------------------------------------------------------------------------------------


def test_an_adapter_adds_alpha_by_rank_times_b_a_to_each_matrix():
    model = byte_llama()
    peft, drawn = random_adapter(model)
    by_hand = copy.deepcopy(model)
    for name, weight in by_hand.named_parameters():
        key = f"base_model.model.{name.removesuffix('.weight')}"
        if f"{key}.lora_A.weight" in drawn:
            weight.data += OPTIONS.alpha / OPTIONS.rank * drawn[f"{key}.lora_B.weight"] @ drawn[f"{key}.lora_A.weight"]
    tokenizer = byte_tokenizer()
    expected = vectors(by_hand, tokenizer)
    assert np.abs(expected - vectors(model, tokenizer)).max() > 0.1
    close(vectors(peft, tokenizer), expected)
    merged = contrastive.merge(peft)
    close(vectors(merged, tokenizer), expected)
    assert not [name for name, _ in merged.named_parameters() if "lora" in name]


def test_an_untrained_adapter_adds_nothing_and_is_all_that_can_be_trained():
    model = byte_llama()
    peft = contrastive.add_lora(copy.deepcopy(model), OPTIONS)
    close(vectors(peft.eval(), byte_tokenizer()), vectors(model, byte_tokenizer()))
    linear = [layer for layer in model.modules() if isinstance(layer, torch.nn.Linear)]
    numbers = sum(OPTIONS.rank * (layer.in_features + layer.out_features) for layer in linear)
    assert contrastive.trainable_parameters(peft) == numbers
    assert all("lora" in name for name, weight in peft.named_parameters() if weight.requires_grad)


def test_single_layers_can_be_named():
    peft = contrastive.add_lora(byte_llama(), dataclasses.replace(OPTIONS, targets="q_proj,v_proj"))
    assert {name.split(".")[-3] for name in adapters.adapter_weights(peft)} == {"q_proj", "v_proj"}
    with pytest.raises(ValueError, match="not found in the base model"):
        contrastive.add_lora(byte_llama(), dataclasses.replace(OPTIONS, targets="nothing"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rank": 0}, "rank=0"),
        ({"alpha": 1.5}, "alpha=1.5"),
        ({"dropout": 1.0}, "dropout=1.0"),
        ({"targets": ""}, "targets"),
    ],
)
def test_options_out_of_range(changes, message):
    with pytest.raises(ValueError, match=message):
        contrastive.LoraOptions(**changes)


def test_an_adapter_of_another_shape_does_not_fit():
    peft, drawn = random_adapter(byte_llama())
    other = contrastive.add_lora(byte_llama(), dataclasses.replace(OPTIONS, rank=2))
    with pytest.raises(ValueError, match="does not fit the model: 28 weights differ"):
        contrastive.set_adapter(other, drawn)
    with pytest.raises(ValueError, match="1 weights differ"):
        contrastive.set_adapter(peft, {name: drawn[name] for name in list(drawn)[1:]})


def test_the_adapter_of_the_benchmark_stays_below_six_megabytes(smollm2):
    """Rank 8 on all linear layers of SmolLM2, two bytes a number, and the names and shapes before them."""
    linear = [layer for layer in smollm2[0].modules() if isinstance(layer, torch.nn.Linear)]
    rank = contrastive.decoder_recipe("PromptEOL CSE (benchmark)").lora_rank
    numbers = sum(rank * (layer.in_features + layer.out_features) for layer in linear)
    assert (rank, numbers) == (8, 2_442_240)
    assert 2 * numbers + 2 * len(linear) * 200 < 6_000_000


# --- folders ---------------------------------------------------------------------------------------------------------


def test_a_saved_adapter_comes_back_on_its_base(base, tmp_path):
    peft, drawn = random_adapter(base[0])
    folder = contrastive.save_adapter(tmp_path / "adapters" / "colours", drawn, card=CARD)
    assert contrastive.adapter_names() == ["colours"]
    loaded = contrastive.load_adapter("colours", base="tiny")
    half = {name: weight.to(torch.bfloat16).float() for name, weight in drawn.items()}
    adapters.set_adapter(peft, half)
    expected = vectors(peft, base[1])
    close(vectors(loaded.model, loaded.tokenizer), expected)
    beside = contrastive.load_adapter(folder, merged=False)
    close(vectors(beside.model, beside.tokenizer), expected)
    assert loaded.card == dataclasses.replace(CARD, revision="r1")
    assert not loaded.model.training


def test_peft_reads_the_folder_without_us(base, tmp_path):
    from peft import PeftModel

    _, drawn = random_adapter(base[0])
    folder = contrastive.save_adapter(tmp_path / "colours", drawn, card=CARD)
    theirs = PeftModel.from_pretrained(byte_llama(), str(folder)).eval()
    close(vectors(theirs, base[1]), vectors(contrastive.load_adapter(folder).model, base[1]))


def test_the_folder_names_no_machine_and_says_what_it_is(base, tmp_path):
    _, drawn = random_adapter(base[0])
    folder = contrastive.save_adapter(tmp_path / "colours", drawn, card=CARD)
    assert sorted(os.listdir(folder)) == [
        "README.md",
        "adapter.json",
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    texts = [path.read_text() for path in folder.iterdir() if path.suffix != ".safetensors"]
    assert not [text for text in texts if str(tmp_path) in text]
    assert json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"] == "tiny"
    card = (folder / "README.md").read_text()
    for part in ("# Colours and animals", "`tiny` (r1)", "Eighteen triplets", "| steps | 40 |", "Apache-2.0",
                 "| Spearman on book-sts | 0.5 |", "causally", "`last` pooling"):  # fmt: skip
        assert part in card
    assert json.loads((folder / "adapter.json").read_text())["sha256"]["adapter_model.safetensors"] in card
    with pytest.raises(ValueError, match="exists already"):
        contrastive.save_adapter(folder, drawn, card=CARD)


def test_an_adapter_for_both_directions_makes_its_base_bidirectional(base, tmp_path):
    model = copy.deepcopy(base[0])
    model.config.is_causal = False
    peft, drawn = random_adapter(model)
    card = dataclasses.replace(CARD, bidirectional=True, template="{text}", pooling="mean")
    loaded = contrastive.load_adapter(contrastive.save_adapter(tmp_path / "both", drawn, card=card))
    assert loaded.model.config.is_causal is False
    expected = vectors(peft, base[1], template="{text}", pooling="mean")
    close(vectors(loaded.model, loaded.tokenizer, template="{text}", pooling="mean"), expected, 1e-2)
    causal = contrastive.load_adapter(
        contrastive.save_adapter(tmp_path / "causal", drawn, card=dataclasses.replace(card, bidirectional=False))
    )
    far = vectors(causal.model, base[1], template="{text}", pooling="mean")
    assert np.abs(far - expected).max() > 0.1 * np.abs(expected).max()


def test_an_adapter_on_top_of_another_needs_it_merged_first(base, tmp_path):
    _, below = random_adapter(base[0], seed=2)
    _, above = random_adapter(base[0], seed=3)
    contrastive.save_adapter(tmp_path / "adapters" / "below", below, card=CARD)
    second = dataclasses.replace(CARD, after=("below",))
    folder = contrastive.save_adapter(tmp_path / "adapters" / "above", above, card=second)
    one = contrastive.load_adapter("below").model
    both = contrastive.add_lora(one, OPTIONS)
    contrastive.set_adapter(both, {name: weight.to(torch.bfloat16).float() for name, weight in above.items()})
    close(vectors(contrastive.load_adapter(folder).model, base[1]), vectors(both.eval(), base[1]))
    (tmp_path / "adapters" / "below" / "adapter.json").unlink()
    with pytest.raises(ValueError, match="unknown adapter 'below'; allowed: above"):
        contrastive.load_adapter(folder)


def test_another_base_is_refused(base, tmp_path, monkeypatch):
    _, drawn = random_adapter(base[0])
    folder = contrastive.save_adapter(tmp_path / "colours", drawn, card=CARD)
    with pytest.raises(ValueError, match="trained on 'tiny', not on 'smollm2-135m'"):
        contrastive.load_adapter(folder, base="smollm2-135m")
    monkeypatch.setitem(models.REGISTRY, "tiny", dataclasses.replace(models.REGISTRY["tiny"], revision="r2"))
    with pytest.raises(ValueError, match="on 'tiny' at 'r1'; the registry has 'r2'"):
        contrastive.load_adapter(folder)
    with pytest.raises(ValueError, match="unknown model 'huge'"):
        contrastive.save_adapter(tmp_path / "other", drawn, card=dataclasses.replace(CARD, base="huge"))


@pytest.mark.parametrize("file", ["adapter_model.safetensors", "adapter_config.json", "adapter.json"])
@pytest.mark.parametrize("how", ["changed", "absent"])
def test_a_damaged_folder_is_refused(base, tmp_path, file, how):
    _, drawn = random_adapter(base[0])
    folder = contrastive.save_adapter(tmp_path / "colours", drawn, card=CARD)
    if how == "absent":
        (folder / file).unlink()
    else:
        content = bytearray((folder / file).read_bytes())
        content[-2] ^= 1
        (folder / file).write_bytes(content)
    with pytest.raises(ValueError, match="damaged"):
        contrastive.load_adapter(folder)


def test_unknown_names(base, tmp_path):
    with pytest.raises(ValueError, match="unknown adapter 'colour'; the book has none yet"):
        contrastive.load_adapter("colour")
    contrastive.save_adapter(tmp_path / "adapters" / "colours", random_adapter(base[0])[1], card=CARD)
    with pytest.raises(ValueError, match="did you mean 'colours'"):
        contrastive.load_adapter("colour")
    with pytest.raises(ValueError, match="'nowhere' holds no adapter"):
        contrastive.load_adapter(tmp_path / "nowhere")


def test_every_adapter_of_the_book_is_whole_small_and_licensed():
    for name in contrastive.adapter_names():
        card = adapter_files.read_card(adapter_files.ADAPTERS / name)
        assert card.licence
        assert card.scores
        assert models.spec(card.base, "decoder").revision == card.revision
        assert sum(path.stat().st_size for path in (adapter_files.ADAPTERS / name).iterdir()) <= 6_000_000


def test_what_a_training_leaves_can_be_kept(base, tmp_path):
    recipe = contrastive.decoder_recipe(
        "PromptEOL CSE (laptop)", batch_size=8, steps=3, warmup_steps=1, lora_rank=4, lora_alpha=8, precision="float32"
    )
    trained = contrastive.train_decoder(*base, triplets(), recipe=recipe, seed=1)
    folder = contrastive.save_adapter(
        tmp_path / "trained", trained.adapter, card=dataclasses.replace(CARD, lora=recipe.lora)
    )
    loaded = contrastive.load_adapter(folder)
    close(vectors(loaded.model, base[1]), trained.encoder.encode(TEXTS, show_progress_bar=False), 1e-2)
