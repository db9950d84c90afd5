"""The benchmark compares like with like."""

import re

import numpy as np
import torch

from helpers import bench, embedding, llm, prompts

TEXTS = ["A kettle is on.", "Who left the gate open, and why did nobody close it before the goats came?", "Rain."]


def test_the_stock_encoder_gives_the_same_vectors(tiny, tmp_path):
    model, tokenizer = tiny
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    stock = bench.stock_encoder(str(tmp_path), prompts.PROMPT_EOL).encode(TEXTS, batch_size=2)
    ours = embedding.Embedder(model, tokenizer, template=prompts.PROMPT_EOL, pooling="last").encode(TEXTS)
    np.testing.assert_allclose(ours, stock, rtol=1e-4, atol=1e-5)


def test_both_sides_run_equally_often_and_the_ratio_is_theirs_by_ours():
    calls = {"ours": 0, "theirs": 0}

    def ours():
        calls["ours"] += 1
        sum(range(200_000))

    def theirs():
        calls["theirs"] += 1
        sum(range(2_000_000))

    own, other, ratio = bench.paired(ours, theirs)
    assert calls["ours"] == calls["theirs"] == bench.ROUNDS + 1
    assert other > own
    assert ratio > 2


def test_the_simpler_ways_give_the_same_vectors_and_are_slower(tiny, capsys, monkeypatch):
    monkeypatch.setattr(bench, "ROUNDS", 1)
    monkeypatch.setattr(bench, "BATCH", 2)
    monkeypatch.setattr(bench.models, "load_decoder", lambda name: tiny)
    template = prompts.with_demonstration("Two owls sit in the old barn and wait for the rain to stop.", "Birds")
    embedder = embedding.Embedder(*tiny, template=template, pooling="last")
    np.testing.assert_allclose(bench.plain_encode(embedder, TEXTS), embedder.encode(TEXTS), rtol=1e-4, atol=1e-5)
    ratios = bench.against_simpler("tiny", template, TEXTS)
    assert set(ratios) == {"the same without prefix sharing", "a plain loop"}
    assert all(ratio > 0 for ratio in ratios.values())
    printed = capsys.readouterr().out
    assert printed.count("texts/s") == 4
    assert all(float(value) < 1e-4 for value in re.findall(r"entry ([\d.e+-]+)\)", printed))


def test_the_matrix_rate_is_that_of_a_machine():
    assert 0.1 < bench.matrix_rate(torch.float32) < 1_000_000


def test_generating_is_compared_on_the_same_questions(causal, capsys, monkeypatch):
    monkeypatch.setattr(bench, "ROUNDS", 1)
    asked = []

    class Watched(llm.LocalModel):
        def reply(self, texts, *, max_tokens):
            asked.append(len(texts))
            return super().reply(texts, max_tokens=max_tokens)

    questions = [tuple(TEXTS), tuple(reversed(TEXTS))]
    ratios = bench.against_generating(Watched(*causal, chat=False), questions)
    assert set(ratios) == {"option", "likelihood"}
    assert all(ratio > 0 for ratio in ratios.values())
    # Two runs of each: one question at a time in both orders, and all questions at once.
    assert sorted(asked) == [2] * 8 + [4] * 4
    assert capsys.readouterr().out.count("questions/s") == 2


def test_writing_is_compared_on_the_same_texts(causal, capsys, monkeypatch):
    monkeypatch.setattr(bench, "ROUNDS", 1)
    assert bench.against_writing_singly(llm.LocalModel(*causal, chat=False), TEXTS, max_tokens=5) > 0
    assert "(100% texts equal)" in capsys.readouterr().out
