"""A decoder as a folder that sentence-transformers alone can load: the same vectors, here and in a fresh process."""

import copy
import json
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from conftest import ROOT, tiny_llama
from sentence_transformers import SentenceTransformer
from transformers import AddedToken

from helpers import contrastive, embedding, prompts
from helpers.contrastive import exporting

TEXTS = [
    "A kettle is on.",
    "Who left the gate open, and why did nobody close it before the goats came?",
    'She said "no" {twice}; ünïcode, 日本, 😀.',
    "Rain.",
]
LONG = "one lamp after another went out " * 20
WAYS = {
    "PromptEOL": {"template": prompts.PROMPT_EOL, "pooling": "last"},
    "mean": {"pooling": "mean"},
    "weighted mean": {"pooling": "weighted_mean"},
    "first": {"template": "Say: {text}", "pooling": "first"},
    "end of sequence": {"pooling": "eos"},
    "template and mean": {"template": 'A {{ "brace" }} {% if %}\n{text}\n', "pooling": "mean"},
}
QUERY = "Instruct: {instruction}\nQuery: {text}"
TASK = "Find the weather."


@pytest.fixture(scope="module")
def decoder(tiny):
    """A random Llama whose vectors differ well from text to text."""
    return tiny_llama(initializer_range=0.3), tiny[1]


def close(left, right):
    np.testing.assert_allclose(left, right, atol=1e-5 * np.abs(right).max())


def encode(encoder, texts, **options):
    return encoder.encode(texts, batch_size=2, show_progress_bar=False, **options)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("way", WAYS)
def test_the_vectors_are_those_of_the_embedder(decoder, way, side):
    model, tokenizer = decoder[0], copy.deepcopy(decoder[1])
    tokenizer.padding_side = side
    encoder = contrastive.as_sentence_transformer(model, tokenizer, **WAYS[way])
    expected = embedding.Embedder(model, tokenizer, **WAYS[way]).encode(TEXTS)
    close(encode(encoder, TEXTS), expected)
    encoder.tokenizer.padding_side = side
    close(encode(encoder, TEXTS), expected)
    assert tokenizer.padding_side == side


@pytest.mark.parametrize("way", WAYS)
def test_long_texts_are_cut_and_the_template_is_not(decoder, way):
    model, tokenizer = decoder
    encoder = contrastive.as_sentence_transformer(model, tokenizer, max_length=40, **WAYS[way])
    ours = embedding.Embedder(model, tokenizer, max_length=40, **WAYS[way])
    assert exporting.tokens_of(encoder, LONG) == ours.token_ids([LONG])[0]
    close(encode(encoder, [LONG, *TEXTS]), ours.encode([LONG, *TEXTS]))


def test_a_cut_text_still_ends_with_the_end_of_the_template(decoder):
    encoder = contrastive.as_sentence_transformer(*decoder, max_length=30, **WAYS["PromptEOL"])
    for text in (LONG, "Stop. " * 60, "x" * 500, "9" * 100):
        tokens = exporting.tokens_of(encoder, text)
        assert len(tokens) == 30
        assert encoder.tokenizer.decode(tokens).endswith('means in one word:"')


@pytest.mark.parametrize("way", ["first", "weighted mean", "template and mean"])
def test_a_saved_folder_gives_the_same_vectors(decoder, tmp_path, way):
    encoder = contrastive.as_sentence_transformer(*decoder, **WAYS[way])
    encoder.save_pretrained(str(tmp_path), create_model_card=False)
    loaded = SentenceTransformer(str(tmp_path), device="cpu")
    close(encode(loaded, TEXTS), embedding.Embedder(*decoder, **WAYS[way]).encode(TEXTS))


def write_folders(decoder, folder):
    """Write a causal, a bidirectional and an instructed encoder; return the vectors that each should give."""
    both_ways = tiny_llama(initializer_range=0.3)
    both_ways.config.is_causal = False
    ways = {
        "causal": (decoder[0], WAYS["PromptEOL"]),
        "bidirectional": (both_ways, WAYS["mean"]),
        "instructed": (decoder[0], {"pooling": "eos", "query_template": QUERY, "instruction": TASK}),
    }
    expected = {}
    for name, (model, options) in ways.items():
        encoder = contrastive.as_sentence_transformer(model, decoder[1], **options)
        encoder.save_pretrained(str(folder / name), create_model_card=False)
        plain = {key: value for key, value in options.items() if key in ("template", "pooling")}
        if name == "instructed":
            plain["template"] = prompts.with_instruction(TASK, prompts.SLOT)
        expected[name] = embedding.Embedder(model, decoder[1], **plain).encode(TEXTS)
    return expected


def test_folders_give_the_same_vectors_in_a_fresh_process_without_our_code(decoder, tmp_path):
    expected = write_folders(decoder, tmp_path)
    source = """
        import json, sys
        import numpy as np
        from sentence_transformers import SentenceTransformer
        texts = json.loads(sys.argv[1])
        for name in ("causal", "bidirectional", "instructed"):
            encoder = SentenceTransformer(name, device="cpu")
            method = encoder.encode_query if name == "instructed" else encoder.encode
            np.save(name + ".npy", method(texts, show_progress_bar=False))
        assert not [module for module in sys.modules if module.startswith("helpers")]
    """
    guard = os.environ["PYTHONPATH"].split(os.pathsep)[0]
    environment = os.environ | {"PYTHONPATH": guard, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    command = [sys.executable, "-c", textwrap.dedent(source), json.dumps(TEXTS)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    for name, vectors in expected.items():
        close(np.load(tmp_path / f"{name}.npy"), vectors)
    causal = embedding.Embedder(*decoder, pooling="mean").encode(TEXTS)
    assert np.abs(causal - expected["bidirectional"]).max() > 0.1, "attention in both directions makes a difference"
    written = [path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.json")]
    assert not [text for text in written if str(tmp_path) in text or str(ROOT) in text]
    assert not list(tmp_path.rglob("*.py"))


def test_an_instruction_can_be_given_with_every_call(decoder):
    encoder = contrastive.as_sentence_transformer(*decoder, pooling="eos", query_template=QUERY)
    filled = [contrastive.fill_query(QUERY, TASK, text) for text in TEXTS]
    assert filled[0] == prompts.with_instruction(TASK, TEXTS[0])
    plain = embedding.Embedder(*decoder, pooling="eos")
    close(encode(encoder, TEXTS, prompt=TASK), plain.encode(filled))
    close(encode(encoder, TEXTS), plain.encode(TEXTS))
    close(encode(encoder, filled), plain.encode(filled))


def test_an_instruction_can_be_left_out_of_the_mean(decoder):
    model, tokenizer = decoder
    query = "{instruction}:\n{text}"
    options = {"query_template": query, "instruction": TASK}
    encoder = contrastive.as_sentence_transformer(model, tokenizer, pool_instruction=False, **options)
    before = len(tokenizer(f"{TASK}:\n")["input_ids"])
    for text in TEXTS:
        ids = torch.tensor([tokenizer(f"{TASK}:\n{text}")["input_ids"]])
        with torch.inference_mode():
            expected = model(input_ids=ids).last_hidden_state[0, before:].mean(dim=0)
        close(encoder.encode_query([text], show_progress_bar=False)[0], expected.numpy())
    close(encode(encoder, TEXTS), embedding.Embedder(model, tokenizer).encode(TEXTS))
    pooled = contrastive.as_sentence_transformer(model, tokenizer, **options)
    filled = [contrastive.fill_query(query, TASK, text) for text in TEXTS]
    close(pooled.encode_query(TEXTS, show_progress_bar=False), embedding.Embedder(model, tokenizer).encode(filled))


def with_beginning(tokenizer, token):
    """Return a copy of a tokenizer that puts a token before every text."""
    from tokenizers.processors import TemplateProcessing

    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.add_special_tokens({"bos_token": token})
    start = (tokenizer.bos_token, tokenizer.bos_token_id)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=f"{start[0]} $A", special_tokens=[start])
    assert tokenizer("a")["input_ids"][0] == start[1]
    return tokenizer


def test_tokens_that_a_tokenizer_adds_by_itself_are_there_too(decoder):
    model, tokenizer = decoder[0], with_beginning(decoder[1], "<|im_start|>")
    for options in (WAYS["PromptEOL"], WAYS["mean"], WAYS["end of sequence"]):
        encoder = contrastive.as_sentence_transformer(model, tokenizer, **options)
        close(encode(encoder, TEXTS), embedding.Embedder(model, tokenizer, **options).encode(TEXTS))


def test_a_tokenizer_that_reads_a_chat_template_differently_is_refused(decoder):
    """This one's first token swallows the space behind it, which is there only in the chat template."""
    tokenizer = with_beginning(decoder[1], AddedToken("<|im_start|>", rstrip=True, special=True))
    contrastive.as_sentence_transformer(decoder[0], tokenizer, template="The {text} means", pooling="last")
    with pytest.raises(ValueError, match="in other tokens as a chat template"):
        contrastive.as_sentence_transformer(decoder[0], tokenizer, template=" {text} means", pooling="last")


def test_the_model_and_the_tokenizer_given_stay_as_they_were(decoder):
    model, tokenizer = decoder
    before = (tokenizer.chat_template, tokenizer.model_max_length, tokenizer.padding_side, model.config.to_dict())
    encoder = contrastive.as_sentence_transformer(model, tokenizer, max_length=20, **WAYS["PromptEOL"])
    assert (tokenizer.chat_template, tokenizer.model_max_length, tokenizer.padding_side) == before[:3]
    assert model.config.to_dict() == before[3]
    assert encoder[0].model is model
    assert type(encoder[0]).__module__.startswith("sentence_transformers.")


def test_states_that_are_projected(tiny):
    from transformers import OPTConfig, OPTModel

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "word_embed_proj_dim": 16, "ffn_dim": 64, "num_hidden_layers": 2}
    config = OPTConfig(vocab_size=49152, num_attention_heads=4, max_position_embeddings=128, init_std=0.3, **sizes)
    model = OPTModel(config).eval()
    encoder = contrastive.as_sentence_transformer(model, tiny[1], **WAYS["PromptEOL"])
    assert encoder.get_embedding_dimension() == 16
    close(encode(encoder, TEXTS), embedding.Embedder(model, tiny[1], **WAYS["PromptEOL"]).encode(TEXTS))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"template": "no slot"}, "exactly once"),
        ({"pooling": "mask"}, "no stock module"),
        ({"pooling": "lost"}, "did you mean 'last'"),
        ({"max_length": 1000}, "max_length should be from 1"),
        ({"instruction": TASK}, "needs a query_template"),
        ({"query_template": "{text} {instruction}"}, "and later"),
        ({"query_template": "{text}"}, "and later"),
        ({"query_template": QUERY, "pool_instruction": False, "pooling": "eos"}, "pool_instruction=False needs"),
        (
            {"query_template": "{instruction} {text}", "instruction": TASK, "pool_instruction": False},
            "not a space",
        ),
    ],
)
def test_what_is_refused(decoder, options, message):
    with pytest.raises(ValueError, match=message):
        contrastive.as_sentence_transformer(*decoder, **options)
