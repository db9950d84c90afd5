"""Baselines: vectors without training, and each reading of a model against doing it by hand."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from helpers import baselines, embedding, models, prompts, records, settings

TEXTS = ["Two goats climb a wall.", 'The bank is closed on Mondays; "why?"']
LAPTOP = settings.profile("laptop")
WORDS = st.lists(st.text(min_size=1).filter(str.strip), min_size=1, max_size=5)


def refuse(*_, **__):
    raise AssertionError("this model is not needed")


@pytest.fixture
def no_models(monkeypatch):
    monkeypatch.setattr(models, "load_decoder", refuse)
    monkeypatch.setattr(models, "load_encoder", refuse)


@pytest.fixture(scope="module")
def encoders():
    """The whole sentence encoder, and both cut ones, loaded in one go."""
    return baselines.load(list(baselines.CUTS), LAPTOP)


@pytest.fixture(scope="module")
def untouched():
    return models.load_encoder(LAPTOP.encoder)


@pytest.fixture
def reading(tiny, monkeypatch):
    """Load methods of the language model on a tiny model; count how often it is loaded."""
    loaded = []
    monkeypatch.setattr(models, "load_decoder", lambda name, **options: loaded.append((name, options)) or tiny)
    monkeypatch.setattr(models, "load_encoder", refuse)

    def load(names, profile=LAPTOP, **options):
        return baselines.load(names, profile, **options), loaded

    return load


class TestRandomVectors:
    def test_equal_texts_have_equal_vectors_wherever_they_stand(self):
        found = baselines.random_vectors(["a", "b", "a"], seed=3)
        np.testing.assert_array_equal(found[0], found[2])
        np.testing.assert_array_equal(baselines.random_vectors(["b"], seed=3)[0], found[1])
        assert found.shape == (3, 384)

    def test_other_texts_and_other_seeds_have_other_vectors(self):
        found = [baselines.random_vectors([text], seed=seed)[0] for text in ("a", "b", "a ") for seed in (3, 4)]
        cosines = np.corrcoef(found) - np.eye(6)
        assert np.abs(cosines).max() < 0.3

    def test_they_are_standard_normal(self):
        found = baselines.random_vectors([f"text {n}" for n in range(200)], seed=0)
        assert found.mean() == pytest.approx(0, abs=0.02)
        assert found.std() == pytest.approx(1, abs=0.02)

    def test_the_seed_of_the_call_counts(self, no_models):
        one, two = (baselines.load(["random vectors"], LAPTOP, seed=seed)["random vectors"] for seed in (1, 2))
        np.testing.assert_array_equal(one.encode(["x"]), baselines.random_vectors(["x"], seed=1))
        assert not np.allclose(one.encode(["x"]), two.encode(["x"]))
        assert one.entry == records.model_entry("random numbers")


class TestTfIdf:
    def test_equals_the_formula(self):
        found = baselines.tf_idf(["a goat", "A goat, a wall"])
        rarity = {"a": 1, "goat": 1, "wall": 1 + np.log(3 / 2)}
        rows = [[rarity["a"], rarity["goat"], 0], [2 * rarity["a"], rarity["goat"], rarity["wall"]]]
        expected = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        np.testing.assert_allclose(found, expected, rtol=1e-6)
        assert found.dtype == np.float32

    @given(WORDS)
    @limits(deadline=None)
    def test_every_row_has_length_1_whatever_the_text(self, texts):
        np.testing.assert_allclose(np.linalg.norm(baselines.tf_idf(texts), axis=1), 1, rtol=1e-5)

    @pytest.mark.parametrize("texts", [["?!", "a"], ["a"], ["?!"], ["…", "b c", "?\n!"]])
    def test_signs_and_single_letters_are_texts_too(self, no_models, texts):
        method = baselines.load(["TF-IDF"], LAPTOP)["TF-IDF"]
        np.testing.assert_allclose(np.linalg.norm(method.encode(texts), axis=1), 1, rtol=1e-5)
        assert method.entry == records.model_entry("TF-IDF")

    def test_texts_without_a_common_word_have_nothing_in_common(self):
        found = baselines.tf_idf(["goats climb", "banks close", "?!"])
        np.testing.assert_allclose(found @ found.T, np.eye(3), atol=1e-6)


class TestLoad:
    def test_no_model_is_loaded_for_methods_without_one(self, no_models):
        assert list(baselines.load(["TF-IDF", "random vectors"], LAPTOP)) == ["TF-IDF", "random vectors"]
        assert baselines.load([], LAPTOP) == {}

    @pytest.mark.parametrize("name", ["static mean", *baselines.READINGS])
    def test_the_language_model_is_loaded_once_and_the_encoder_not(self, reading, name):
        found, loaded = reading([name, "TF-IDF"])
        assert list(found) == [name, "TF-IDF"]
        assert loaded == [("smollm2-135m", {"dtype": "float32"})]
        assert found[name].entry == records.registry_entry(models.spec("smollm2-135m"))

    @pytest.mark.parametrize("name", baselines.CUTS)
    def test_the_encoder_is_loaded_without_the_language_model(self, monkeypatch, untouched, name):
        monkeypatch.setattr(models, "load_decoder", refuse)
        found = baselines.load([name], LAPTOP)
        assert list(found) == [name]
        assert found[name].entry == records.registry_entry(models.spec("minilm"))

    def test_methods_come_in_the_order_asked_for(self, reading):
        names = ["PromptEOL", "random vectors", "static mean", "mean"]
        found, loaded = reading(names)
        assert list(found) == names
        assert len(loaded) == 1

    @pytest.mark.parametrize(("name", "nearest"), [("TF-IFD", "TF-IDF"), ("PromptEoL", "PromptEOL"), ("means", "mean")])
    def test_an_unknown_method_comes_with_the_nearest(self, no_models, name, nearest):
        with pytest.raises(ValueError, match=f"unknown method '{name}'; did you mean '{nearest}'"):
            baselines.load(["TF-IDF", name], LAPTOP)

    def test_all_methods_are_named(self):
        assert set(baselines.METHODS) == {
            "random vectors",
            "TF-IDF",
            "static mean",
            *baselines.READINGS,
            *baselines.CUTS,
        }


class TestLanguageModel:
    @pytest.mark.parametrize("name", baselines.READINGS)
    def test_a_reading_equals_an_embedder_with_its_template(self, tiny, reading, name):
        template, pooling = baselines.READINGS[name]
        embedder = embedding.Embedder(*tiny, template=template, pooling=pooling)
        expected = embedder.encode([prompts.normalise_sentence(text) for text in TEXTS])
        np.testing.assert_array_equal(reading([name])[0][name].encode(TEXTS), expected)

    def test_the_readings_are_the_four_of_the_book(self):
        assert baselines.READINGS == {
            "mean": ("{text}", "mean"),
            "last token": ("{text}", "last"),
            "plain prompt": ('This sentence : "{text}" means', "last"),
            "PromptEOL": ('This sentence : "{text}" means in one word:"', "last"),
        }

    def test_the_static_mean_averages_rows_of_the_embedding_table(self, tiny, reading):
        model, tokenizer = tiny
        table = model.get_input_embeddings().weight.detach().numpy()
        expected = [table[tokenizer(prompts.normalise_sentence(text))["input_ids"]].mean(axis=0) for text in TEXTS]
        np.testing.assert_allclose(reading(["static mean"])[0]["static mean"].encode(TEXTS), expected, atol=1e-6)

    def test_the_longest_input_is_passed_on(self, tiny, reading):
        long = ["goat " * 60, "goat " * 40]
        found = reading(["last token"], max_length=8)[0]["last token"].encode(long)
        np.testing.assert_allclose(found[0], found[1], atol=1e-6)
        embedder = embedding.Embedder(*tiny, pooling="last", max_length=8)
        np.testing.assert_array_equal(found, embedder.encode([prompts.normalise_sentence(text) for text in long]))

    def test_vectors_are_kept_where_the_profile_says_so(self, reading, monkeypatch, tmp_path):
        monkeypatch.setenv(settings.CACHE_VARIABLE, str(tmp_path))
        plain = reading(["mean"])[0]["mean"].encode(TEXTS)
        assert not list(tmp_path.rglob("*.npy"))
        keeping = dataclasses.replace(LAPTOP, keep_vectors=True)
        for _ in range(2):
            np.testing.assert_array_equal(reading(["mean"], keeping)[0]["mean"].encode(TEXTS), plain)
            assert len(list(tmp_path.rglob("*.npy"))) == 1


class TestCutEncoders:
    def test_32_dimensions_are_the_first_of_the_whole(self, encoders):
        cut = encoders["sentence encoder, 32 dimensions"].encode(TEXTS)
        assert cut.shape == (2, 32)
        np.testing.assert_allclose(cut, encoders["sentence encoder"].encode(TEXTS)[:, :32], atol=1e-6)

    def test_two_layers_equal_the_first_two_by_hand(self, encoders, untouched):
        tokens = untouched.tokenizer(TEXTS, padding=True, return_tensors="pt").to(untouched.device)
        with torch.inference_mode():
            states = untouched[0].auto_model(**tokens, output_hidden_states=True).hidden_states
        mask = tokens["attention_mask"].unsqueeze(-1).float()
        means = (states[2] * mask).sum(dim=1) / mask.sum(dim=1)
        expected = torch.nn.functional.normalize(means, dim=1).cpu().numpy()
        assert len(states) == 7
        np.testing.assert_allclose(encoders["sentence encoder, 2 layers"].encode(TEXTS), expected, atol=1e-5)

    def test_the_whole_encoder_is_not_touched_by_the_cut_ones(self, encoders, untouched):
        expected = untouched.encode(TEXTS)
        np.testing.assert_allclose(encoders["sentence encoder"].encode(TEXTS), expected, atol=1e-6)
        assert not np.allclose(encoders["sentence encoder, 2 layers"].encode(TEXTS), expected, atol=1e-2)

    def test_the_order_of_texts_does_not_matter(self, encoders):
        for method in encoders.values():
            np.testing.assert_allclose(method.encode(TEXTS[::-1]), method.encode(TEXTS)[::-1], atol=1e-5)
