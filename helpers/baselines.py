"""Ways of turning texts into vectors that need no training: what every method of the book is compared with."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence

import numpy as np
import torch
from sklearn.feature_extraction.text import TfidfVectorizer

from helpers import embedding, models, prompts, records, settings, store

RANDOM_DIMENSIONS = 384

# Method of the language model -> template and pooling.
READINGS: dict[str, tuple[str, str]] = {
    "mean": (prompts.SLOT, "mean"),
    "last token": (prompts.SLOT, "last"),
    "plain prompt": (prompts.PROMPT_PLAIN, "last"),
    "PromptEOL": (prompts.PROMPT_EOL, "last"),
}
# Method of the sentence encoder -> layers that run and dimensions that are kept, None for all.
CUTS: dict[str, tuple[int | None, int | None]] = {
    "sentence encoder, 32 dimensions": (None, 32),
    "sentence encoder, 2 layers": (2, None),
    "sentence encoder": (None, None),
}
METHODS = ("random vectors", "TF-IDF", "static mean", *READINGS, *CUTS)


@dataclasses.dataclass(frozen=True)
class Baseline:
    """A way of turning texts into vectors.

    Attributes:
        encode: Texts in, ``(len(texts), D)`` out. TF-IDF counts words over the texts of one call, so whatever is to be
            compared belongs in the same call.
        entry: The model, as records describe it.
    """

    encode: Callable[[Sequence[str]], np.ndarray]
    entry: dict


def load(
    names: Sequence[str], profile: settings.Profile, *, seed: int = 100, max_length: int | None = None
) -> dict[str, Baseline]:
    """Return methods by name; each model is loaded once, and only where one of its methods is asked for.

    Args:
        names: Out of `METHODS`.
        profile: Says which language model and encoder, in which precision, and whether vectors are kept.
        seed: Of the random vectors.
        max_length: Longest input of the language model in tokens, template included; its window where None.

    Raises:
        ValueError: For an unknown name, with the nearest.
    """
    for name in names:
        if name not in METHODS:
            raise ValueError(f"unknown method {name!r}; {settings.nearest(name, METHODS)}")
    found: dict[str, Baseline] = {}
    if "random vectors" in names:
        found["random vectors"] = Baseline(
            lambda texts: random_vectors(texts, seed=seed), records.model_entry("random numbers")
        )
    if "TF-IDF" in names:
        found["TF-IDF"] = Baseline(tf_idf, records.model_entry("TF-IDF"))
    if {"static mean", *READINGS} & set(names):
        found |= _of_language_model(profile, max_length)
    if set(CUTS) & set(names):
        found |= _of_encoder(profile, [name for name in names if name in CUTS])
    return {name: found[name] for name in names}


def random_vectors(texts: Sequence[str], *, seed: int, dimensions: int = RANDOM_DIMENSIONS) -> np.ndarray:
    """Return a standard normal vector for each text, the same one wherever the same text occurs, ``(N, D)``."""
    digests = [hashlib.sha256(text.encode()).digest() for text in texts]
    return np.stack([np.random.default_rng([seed, *digest]).standard_normal(dimensions) for digest in digests])


def tf_idf(texts: Sequence[str]) -> np.ndarray:
    """Return word counts weighted by rarity among these texts, ``(N, words)``, float32 (Salton and Buckley 1988).

    One-letter words count, which the library's default drops, and a text without any word is taken whole: so no text
    gets a vector of zeros, which has no direction.
    """
    return TfidfVectorizer(token_pattern=r"\w+|^\W+$", dtype=np.float32).fit_transform(texts).toarray()


def _of_language_model(profile: settings.Profile, max_length: int | None) -> dict[str, Baseline]:
    """Return the methods of the profile's language model."""
    model, tokenizer = models.load_decoder(profile.decoder, dtype=profile.precision)
    spec = models.spec(profile.decoder)
    entry = records.registry_entry(spec)
    table = model.get_input_embeddings().weight.detach().float().cpu()  # (V, D)

    def static_mean(texts: Sequence[str]) -> np.ndarray:
        lists = tokenizer([prompts.normalise_sentence(text) for text in texts], verbose=False)["input_ids"]
        return torch.stack([table[ids].mean(dim=0) for ids in lists]).numpy()

    def reading(template: str, pooling: str) -> Callable[[Sequence[str]], np.ndarray]:
        embedder = embedding.Embedder(model, tokenizer, template=template, pooling=pooling, max_length=max_length)

        def encode(texts: Sequence[str]) -> np.ndarray:
            return store.encode(
                embedder,
                [prompts.normalise_sentence(text) for text in texts],
                model_id=f"{profile.decoder} {spec.revision}",
                keep=profile.keep_vectors,
            )

        return encode

    return {"static mean": Baseline(static_mean, entry)} | {
        name: Baseline(reading(*how), entry) for name, how in READINGS.items()
    }


def _of_encoder(profile: settings.Profile, names: Sequence[str]) -> dict[str, Baseline]:
    """Return the profile's sentence encoder, whole or cut."""
    return {name: _cut_encoder(profile.encoder, *CUTS[name]) for name in names}


def _cut_encoder(name: str, layers: int | None, dimensions: int | None) -> Baseline:
    """Return an encoder of which only the first layers run, or only the first dimensions are kept."""
    encoder = models.load_encoder(name)
    if layers is not None:
        stack = encoder[0].auto_model.encoder
        stack.layer = stack.layer[:layers]

    def encode(texts: Sequence[str]) -> np.ndarray:
        return encoder.encode(list(texts), show_progress_bar=False)[:, :dimensions]

    return Baseline(encode, records.registry_entry(models.spec(name)))
