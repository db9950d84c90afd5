"""The adapters that ship with the book: small, whole, on the pinned base, and as good as their cards say."""

import pytest

from helpers import bidirectional, contrastive, embedding, models, tasks
from helpers.contrastive.adapter_files import ADAPTERS, read_card

MEGABYTE = 1_000_000
NAMES = contrastive.adapter_names()


def test_the_book_has_adapters_and_they_are_small():
    sizes = {name: sum(path.stat().st_size for path in (ADAPTERS / name).iterdir()) for name in NAMES}
    assert sizes
    assert max(sizes.values()) < 6 * MEGABYTE
    assert sum(sizes.values()) < 30 * MEGABYTE
    assert {path.name for path in ADAPTERS.iterdir()} == set(NAMES), "nothing else lies there"


@pytest.mark.parametrize("name", NAMES)
def test_the_card_says_what_a_reader_has_to_know(name):
    card = read_card(ADAPTERS / name)
    assert card.revision == models.spec(card.base, "decoder").revision
    assert card.lora.rank == 8
    assert {"steps", "batch_size", "learning_rate", "seed"} <= set(card.training)
    assert card.scores
    assert card.data
    assert "Licence: " in (ADAPTERS / name / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_it_loads_on_its_base_and_gives_its_recorded_score(name):
    loaded = contrastive.load_adapter(name)
    if loaded.card.bidirectional:
        bidirectional.check_bidirectional(loaded.model)
    embedder = embedding.Embedder(
        loaded.model, loaded.tokenizer, template=loaded.card.template, pooling=loaded.card.pooling
    )
    task = tasks.load("book-sts", tasks.Options(), split="validation")
    score = task.run(embedder.encode(task.texts))[task.metric].interval.value
    assert score == pytest.approx(loaded.card.scores["book-sts validation, spearman"], abs=0.1)
