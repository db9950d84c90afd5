"""The models of the ``paper`` profile for judging and learning, as tiny random stand-ins under the real names."""

import pytest
import torch
import transformers
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

from helpers import contrastive, llm, models, prompts, settings, triplets

PAPER = settings.PROFILES["paper"]
TEXTS = [
    "my card is gone", "where is my card", "i lost the card", "the loan was refused", "can i get a loan",
    "why no loan for me",
]  # fmt: skip
LABELS = [0, 0, 0, 1, 1, 1]
QUESTIONS = triplets.random_triplets(len(TEXTS), n_triplets=12, seed=100)


@pytest.fixture(scope="module")
def paper_mirror(tmp_path_factory, smollm2):
    """A mirror with a tiny Mistral under Starling's name and a tiny BERT under GTE's."""
    root = tmp_path_factory.mktemp("paper")
    torch.manual_seed(0)
    starling = root / "models" / models.spec(PAPER.judge).hub
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = transformers.MistralConfig(vocab_size=49152, num_key_value_heads=2, max_position_embeddings=512, **sizes)
    transformers.MistralForCausalLM(config).save_pretrained(starling)
    smollm2[1].save_pretrained(starling)

    gte = root / "models" / models.spec(PAPER.encoder).hub
    letters = "abcdefghijklmnopqrstuvwxyz:"
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    bert = transformers.BertConfig(vocab_size=len(pieces), **sizes)
    body = root / "body"
    transformers.BertModel(bert).save_pretrained(body)
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    transformers.BertTokenizerFast(vocab=vocabulary).save_pretrained(body)
    modules = [Transformer(str(body)), Pooling(64, "mean")]
    SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(gte), create_model_card=False)
    return root


@pytest.fixture
def judge(paper_mirror, monkeypatch):
    monkeypatch.setenv(models.MIRROR_VARIABLE, str(paper_mirror))
    spec = models.spec(PAPER.judge)
    model, tokenizer = models.load_decoder(PAPER.judge, head=True, quantization=PAPER.judge_quantization, device="cpu")
    return llm.LocalModel(model, tokenizer, name=spec.title, revision=spec.revision)


def test_the_judge_is_held_in_eight_bits(judge):
    kinds = {type(layer).__name__ for layer in judge.model.model.layers.modules()}
    assert PAPER.judge_quantization == "int8"
    assert "Linear8bitLt" in kinds
    assert "Linear" not in kinds


@pytest.mark.parametrize("way", ["reply", "option", "likelihood"])
def test_the_judge_answers_in_all_ways_and_from_both_sides(judge, way):
    questions = [tuple(TEXTS[row] for row in rows) for rows in QUESTIONS[:3]]
    wording = {"instruction": prompts.TRIPLET_INSTRUCTIONS["banking77"], "parse": triplets.parse_choice}
    found = llm.judge(judge, questions, way=way, **wording)
    assert [one.answer in (1, 2, None) for one in found] == [True] * 3
    assert all(len(one.sides) == 2 for one in found)


def test_the_encoder_learns_from_answers_by_the_published_recipe(paper_mirror, monkeypatch):
    monkeypatch.setenv(models.MIRROR_VARIABLE, str(paper_mirror))
    encoder = models.load_encoder(PAPER.encoder, device="cpu")
    recipe = contrastive.recipe_named(PAPER.recipe, learning_rate=1e-3)  # a random encoder needs larger steps
    rows = triplets.to_training(TEXTS, QUESTIONS, triplets.oracle_answers(QUESTIONS, LABELS))
    before = contrastive.encode_with(encoder, recipe, TEXTS)
    after = contrastive.learned_vectors(encoder, rows, TEXTS, recipe=recipe, seed=100)
    right = [
        triplets.accuracy_on_decidable(
            triplets.self_answers(vectors, QUESTIONS), triplets.gold_answers(QUESTIONS, LABELS)
        )
        for vectors in (before, after)
    ]
    assert (recipe.prefix, recipe.batch_size, recipe.epochs) == ("query: ", 2, 8)
    assert right[1] > right[0]
    assert right[1] == 100
