"""Masked next-token prediction: the masks, the loss against one computed by hand, and the same weights after a kill."""

import copy
import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from bidirectional_models import byte_tokenizer, make
from conftest import ROOT

from helpers import bidirectional, settings
from helpers.bidirectional import MNTPCollator, TrainingOptions, collator, mntp, scoring
from helpers.bidirectional import trainer as mntp_trainer
from helpers.contrastive import runs

OPTIONS = TrainingOptions(
    batch_size=4, max_length=24, steps=9, learning_rate=3e-2, rank=4, epochs=1.0, lora_dropout=0.1, save_steps=2
)
WORDS = ["red", "green", "blue", "white", "black", "brown", "pink", "grey"]
SEED = 7


def sentences(number=60, seed=0):
    """Write lines in which every word is written twice, so that a masked byte can be known from those around it."""
    rng = random.Random(seed)
    return [" ".join(word for _ in range(3) for word in [rng.choice(WORDS)] * 2) for _ in range(number)]


def model(**changes):
    return bidirectional.make_bidirectional(make("smollm", head=True, **changes))


def train(head=None, *, options=OPTIONS, texts=None, seed=SEED, **more):
    texts = sentences() if texts is None else texts
    return bidirectional.train_mntp(head or model(), byte_tokenizer(), texts, options=options, seed=seed, **more)


def weights(adapter):
    from peft import get_peft_model_state_dict

    return {name: weight.detach().clone() for name, weight in get_peft_model_state_dict(adapter).items()}


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(weight, right[name]) for name, weight in left.items())


@pytest.fixture(scope="module")
def blocks():
    return bidirectional.to_blocks(sentences(), byte_tokenizer(), length=24)


@pytest.fixture(scope="module")
def trained():
    return train()


# --- masks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "share"), [("default", 0.2), ("all_mask", 0.8)])
def test_shares_are_those_asked_for(name, share):
    masking = bidirectional.MASKINGS[name]
    assert masking.share == share
    rows = [[4 + (place * 7 + row) % 250 for place in range(101)] for row in range(300)]
    own = TrainingOptions(masking=name).collator(byte_tokenizer(), seed=1)
    batch = own(rows)
    original, chosen = torch.tensor(rows), batch["labels"] != collator.IGNORED
    assert not chosen[:, 0].any(), "no position before it could predict the first token"
    candidates = 300 * 100 - int((original[:, 1:] == own.mask_token_id).sum())
    assert abs(chosen.sum() / candidates - share) < 0.01
    assert (batch["labels"][chosen] == original[chosen]).all()
    assert (batch["input_ids"][~chosen] == original[~chosen]).all()
    masked = batch["input_ids"][chosen] == own.mask_token_id
    kept = batch["input_ids"][chosen] == original[chosen]
    assert abs(masked.float().mean() - masking.mask_replace) < 0.02
    assert abs(kept.float().mean() - (1 - masking.mask_replace - masking.random_replace)) < 0.02
    assert batch["attention_mask"].all()


def test_masks_come_from_the_seed_and_the_place_in_the_training():
    rows = [{"input_ids": list(range(10, 60)), "draw": draw} for draw in (3, 4)]
    first, again, other = (MNTPCollator(byte_tokenizer(), seed=seed) for seed in (1, 1, 2))
    batch = first(rows)
    again([[5] * 30])  # whatever was drawn before
    assert torch.equal(again(rows)["labels"], batch["labels"])
    assert not torch.equal(other(rows)["labels"], batch["labels"])
    later = [{**row, "draw": row["draw"] + 2} for row in rows]
    assert not torch.equal(first(later)["labels"], batch["labels"])
    plain = [row["input_ids"] for row in rows]
    one, two = (MNTPCollator(byte_tokenizer(), seed=1) for _ in range(2))
    for _ in range(2):
        assert torch.equal(one(plain)["labels"], two(plain)["labels"])
    assert not torch.equal(one(plain)["labels"], one(plain)["labels"]), "a new mask every time"


@pytest.mark.parametrize("side", ["left", "right"])
def test_special_tokens_padding_and_first_tokens_are_never_chosen(side):
    tokenizer = copy.deepcopy(byte_tokenizer())
    tokenizer.padding_side = side
    rows = [[1, 50, 60, 2], [70, 80, 90, 91, 92, 93], [77, 78]]
    chosen = set()
    own = MNTPCollator(tokenizer, share=0.9)
    for _ in range(60):
        batch = own(rows)
        real = batch["attention_mask"].bool()
        assert [row[keep].shape[0] for row, keep in zip(batch["input_ids"], real, strict=True)] == [4, 6, 2]
        assert (batch["labels"][~real] == collator.IGNORED).all()
        chosen |= set(batch["labels"].unique().tolist())
    assert chosen == {collator.IGNORED, 50, 60, 80, 90, 91, 92, 93, 78}


def test_a_batch_always_has_something_to_predict():
    own = MNTPCollator(byte_tokenizer(), share=0.01)
    assert all((own([[50, 60]])["labels"] != collator.IGNORED).any() for _ in range(5))
    with pytest.raises(ValueError, match="no row has a token that could be predicted"):
        own([[50], [1, 2]])


def test_the_mask_token_lives_on_a_copy_that_reads_alike():
    tokenizer = byte_tokenizer()
    before = tokenizer("__init__ a_b _")["input_ids"]
    own = bidirectional.with_mask_token(tokenizer, "blank")
    assert tokenizer.mask_token is None
    assert own.decode([own.mask_token_id]) == "_"
    assert own("__init__ a_b _")["input_ids"] == before
    assert bidirectional.with_mask_token(tokenizer, "eos").mask_token == "</s>"
    with pytest.raises(ValueError, match="no token '<mask>' for mask_token='mask'; others: blank, eos"):
        bidirectional.with_mask_token(tokenizer, "mask")
    with pytest.raises(ValueError, match="unknown mask token 'blanc'; did you mean 'blank'"):
        MNTPCollator(tokenizer, mask_token="blanc")


def test_the_mask_token_of_the_real_tokenizer(smollm2):
    tokenizer = smollm2[1]
    own = MNTPCollator(tokenizer)
    assert own.mask_token_id == tokenizer("_")["input_ids"][0]
    assert tokenizer.mask_token is None


@pytest.mark.parametrize("changes", [{"share": 0}, {"share": 1.1}, {"mask_replace": 0.8, "random_replace": 0.3}])
def test_shares_out_of_range_are_refused(changes):
    with pytest.raises(ValueError, match="share"):
        MNTPCollator(byte_tokenizer(), **changes)


# --- the loss --------------------------------------------------------------------------------------------------------


def by_hand(head, batch):
    """Compute the loss from scratch: predict each masked token from the state of the position before it."""
    with torch.no_grad():
        hidden = head.base_model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
    table = head.get_output_embeddings().weight.detach()
    losses = []
    for row, labels in enumerate(batch["labels"].tolist()):
        for place, label in enumerate(labels):
            if label != -100:
                scores = table @ hidden[row, place - 1]
                losses.append(float(torch.logsumexp(scores, 0) - scores[label]))
    return np.array(losses)


@pytest.mark.parametrize("name", ["smollm", "mistral", "opt", "gemma3_text"])
def test_the_stock_loss_is_the_one_by_hand(name, blocks):
    head = bidirectional.make_bidirectional(make(name, head=True))
    batch = MNTPCollator(byte_tokenizer(), share=0.3)(blocks[:6])
    with torch.no_grad():
        output = head(**batch)
    expected = by_hand(head, batch)
    assert float(output.loss) == pytest.approx(expected.mean(), abs=1e-5)
    logits, wanted = bidirectional.predicted(output.logits, batch["labels"])
    assert len(wanted) == len(expected)
    found = torch.nn.functional.cross_entropy(logits, wanted, reduction="none")
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


def test_the_score_has_fixed_masks_whatever_the_batches(blocks):
    head, own = model(), MNTPCollator(byte_tokenizer(), seed=3)
    scores = [bidirectional.score_mntp(head, blocks[:7], own, batch_size=size) for size in (1, 3, 7)]
    batch = {
        key: torch.cat([own([{"input_ids": row, "draw": i}])[key] for i, row in enumerate(blocks[:7])])
        for key in ("input_ids", "attention_mask", "labels")
    }
    expected = by_hand(head, batch)
    for score in scores:
        assert score.loss == pytest.approx(expected.mean(), abs=1e-5)
        assert score.tokens == len(expected)
    assert scores[0].accuracy == scores[1].accuracy == scores[2].accuracy
    with pytest.raises(ValueError, match="no blocks"):
        bidirectional.score_mntp(head, [], own)


def test_accuracy_counts_the_right_ones(blocks, monkeypatch):
    own = MNTPCollator(byte_tokenizer(), seed=3)

    class Oracle(torch.nn.Module):
        device = torch.device("cpu")

        def forward(self, input_ids, attention_mask, use_cache):
            return type("Output", (), {"logits": torch.nn.functional.one_hot(input_ids.roll(-1, 1), 272).float()})

    score = scoring.score_mntp(Oracle(), blocks[:9], own)
    kept = [own([{"input_ids": row, "draw": i}]) for i, row in enumerate(blocks[:9])]
    unmasked = sum(int((batch["input_ids"] == batch["labels"]).sum()) for batch in kept)
    assert score.accuracy == pytest.approx(100 * unmasked / score.tokens)
    assert unmasked > 0


# --- training --------------------------------------------------------------------------------------------------------


def test_the_loss_falls_and_only_the_adapter_changes(trained):
    assert [step for step, _ in trained.losses] == list(range(1, 10))
    assert trained.losses[-1][1] < trained.losses[0][1] - 0.5
    head = model()
    before = copy.deepcopy(head.state_dict())
    result = train(head)
    assert result.head is head
    assert not head.training
    assert not result.model.training
    assert result.trainable == sum(weight.numel() for weight in weights(result.model).values())
    assert not any(parameter.requires_grad for name, parameter in head.named_parameters() if "lora" not in name)
    bidirectional.check_bidirectional(result.model)
    result.model.unload()
    assert same(dict(head.state_dict()), before)


def test_the_first_loss_is_that_of_the_untrained_model_on_the_first_batch(trained, blocks):
    stream = mntp_trainer.Stream(blocks, 36, SEED)
    batch = OPTIONS.collator(byte_tokenizer(), seed=SEED)([stream[place] for place in range(4)])
    assert trained.losses[0][1] == pytest.approx(by_hand(model(), batch).mean(), abs=1e-4)


def test_accumulated_batches_weigh_every_predicted_token_alike(blocks):
    halves = dataclasses.replace(OPTIONS, batch_size=2, accumulation=2, lora_dropout=0.0, steps=1)
    result = train(options=halves)
    stream, own = mntp_trainer.Stream(blocks, 36, SEED), halves.collator(byte_tokenizer(), seed=SEED)
    losses = [by_hand(model(), own([stream[place], stream[place + 1]])) for place in (0, 2)]
    assert result.losses[0][1] == pytest.approx(np.concatenate(losses).mean(), abs=1e-4)


def test_a_seed_decides_the_weights(trained):
    assert same(weights(train().model), weights(trained.model))
    assert not same(weights(train(seed=8).model), weights(trained.model))
    seeded = dataclasses.replace(OPTIONS, seed=SEED)
    assert same(weights(train(options=seeded, seed=None).model), weights(trained.model))


def test_held_out_texts_are_scored_before_on_the_way_and_after(trained, tmp_path):
    options = dataclasses.replace(OPTIONS, eval_steps=4, eval_batch_size=3)
    result = train(options=options, held_out=sentences(20, seed=9), output_dir=tmp_path)
    assert [step for step, *_ in result.held_out] == [0, 4, 8, 9]
    assert result.held_out[-1][1] < result.held_out[0][1] - 0.5
    assert result.held_out[-1][2] > result.held_out[0][2]
    assert same(weights(result.model), weights(trained.model)), "looking changes nothing"
    blocks = bidirectional.to_blocks(sentences(20, seed=9), byte_tokenizer(), length=24)
    score = bidirectional.score_mntp(result.head, blocks, OPTIONS.collator(byte_tokenizer(), seed=0))
    assert result.held_out[-1][1:] == pytest.approx((score.loss, score.accuracy), abs=1e-4)
    again = train(options=options, held_out=sentences(20, seed=9), output_dir=tmp_path)
    assert again.held_out == result.held_out
    assert again.losses == result.losses


def test_the_random_numbers_of_the_caller_go_on(tmp_path):
    def draw():
        return random.random(), np.random.rand(), torch.rand(1).item()

    heads = [model(), model()]
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    expected = draw()
    for head in heads:
        random.seed(1), np.random.seed(1), torch.manual_seed(1)
        train(head, output_dir=tmp_path)
        assert draw() == expected


def test_nothing_is_shown_unless_asked_for(capfd):
    head = model()
    train(head).model.unload()
    assert capfd.readouterr() == ("", "")
    train(head, progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "9/9" in err


def test_gradient_checkpointing_computes_the_same(trained):
    result = train(options=dataclasses.replace(OPTIONS, gradient_checkpointing=True))
    for name, weight in weights(result.model).items():
        torch.testing.assert_close(weight, weights(trained.model)[name], atol=1e-4, rtol=1e-3)
    assert not result.head.base_model.gradient_checkpointing


def test_autocast_is_used_where_it_is_fast_and_nowhere_else(trained, monkeypatch):
    monkeypatch.setattr(settings, "has_fast_bfloat16", lambda: True)
    result = train()
    assert not same(weights(result.model), weights(trained.model))
    assert result.losses[0][1] == pytest.approx(trained.losses[0][1], abs=0.05)
    with torch.no_grad():
        logits = result.head(input_ids=torch.tensor([[5, 6, 7]])).logits
    assert logits.dtype == torch.float32
    assert not torch.equal(logits, logits.bfloat16().float()), "the model computes in its own precision afterwards"


def test_steps_and_schedule():
    def planned(**changes):
        return mntp_trainer.planned_steps(100, dataclasses.replace(OPTIONS, **changes))

    assert planned(steps=None, epochs=3.0) == (75, 75)
    assert planned(steps=10, epochs=3.0) == (10, 75), "stopped early, the schedule has hardly begun to fall"
    assert planned(steps=200, epochs=3.0) == (200, 200), "more steps than the epochs have: round again"
    assert planned(steps=None, epochs=3.0, accumulation=5) == (15, 15)
    assert planned(steps=None, epochs=0.01) == (1, 1)


@pytest.mark.parametrize(
    ("changes", "rates"),
    [
        ({"steps": 4, "epochs": 0.1}, [1.0, 0.75, 0.5, 0.25]),
        ({"steps": 4, "epochs": 0.1, "schedule": "constant", "warmup_steps": 2}, [0, 0.5, 1.0, 1.0]),
    ],
)
def test_the_learning_rate_follows_the_schedule(changes, rates, monkeypatch):
    seen = []
    log = mntp_trainer.MNTPTrainer.log

    def watching(self, logs, *rest, **more):
        seen.append(logs.get("learning_rate"))
        return log(self, logs, *rest, **more)

    monkeypatch.setattr(mntp_trainer.MNTPTrainer, "log", watching)
    train(options=dataclasses.replace(OPTIONS, **changes))
    np.testing.assert_allclose(seen[:4], np.array(rates) * OPTIONS.learning_rate, rtol=1e-6)


def test_the_stream_goes_round_and_round(blocks):
    stream = mntp_trainer.Stream(blocks, 3 * len(blocks), 5)
    rounds = [[tuple(stream[start + place]["input_ids"]) for place in range(len(blocks))]
              for start in (0, len(blocks), 2 * len(blocks))]  # fmt: skip
    assert all(sorted(found) == sorted(map(tuple, blocks)) for found in rounds)
    assert rounds[0] != rounds[1] != rounds[2]
    assert [stream[place]["draw"] for place in (0, 50)] == [0, 50]


# --- stopped and gone on ---------------------------------------------------------------------------------------------


class StoppedError(Exception):
    """What a killed run looks like from inside."""


def stop_at(monkeypatch, call):
    """Let the collator of the training fail at its n-th batch, counted from 1."""
    calls = iter(range(1, 10_000))
    make_batch = MNTPCollator.__call__

    def failing(self, rows):
        if next(calls) == call:
            raise StoppedError
        return make_batch(self, rows)

    monkeypatch.setattr(MNTPCollator, "__call__", failing)


@pytest.mark.parametrize("call", [4, 9])
def test_a_stopped_run_ends_with_the_same_weights_and_curve(trained, tmp_path, monkeypatch, call):
    head = model()
    with monkeypatch.context() as patch:
        stop_at(patch, call)
        with pytest.raises(StoppedError):
            train(head, output_dir=tmp_path)
    assert not bidirectional.has_adapter(head), "the model is given back without adapter"
    kept = sorted(int(path.name.split("-")[1]) for path in tmp_path.glob("checkpoint-*"))
    assert 1 <= len(kept) <= 2
    resumed = train(head, output_dir=tmp_path)
    assert same(weights(resumed.model), weights(trained.model))
    assert resumed.losses == trained.losses
    assert sorted(path.name for path in tmp_path.iterdir()) == [runs.FINAL, runs.RUN]


def test_a_killed_process_ends_with_the_same_weights(trained, tmp_path):
    """SIGKILL within the seventh step, in a process of its own."""
    source = """
        import dataclasses, json, os, signal, sys
        import test_bidirectional_mntp as test
        batches = iter(range(1, 100))
        make_batch = test.MNTPCollator.__call__
        def killing(self, rows):
            if next(batches) == 8:
                os.kill(os.getpid(), signal.SIGKILL)
            return make_batch(self, rows)
        test.MNTPCollator.__call__ = killing
        test.train(output_dir=sys.argv[1])
    """
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ["PYTHONPATH"]]),
        "OMP_NUM_THREADS": str(torch.get_num_threads()),
    }
    command = [sys.executable, "-c", textwrap.dedent(source), str(tmp_path)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert (tmp_path / "checkpoint-6" / runs.MARK).exists()
    assert not (tmp_path / runs.FINAL).exists()
    resumed = train(output_dir=tmp_path)
    assert same(weights(resumed.model), weights(trained.model))
    assert resumed.losses == trained.losses


def test_a_finished_run_is_loaded_and_not_done_again(trained, tmp_path, monkeypatch):
    train(output_dir=tmp_path)
    stop_at(monkeypatch, 1)
    again = train(output_dir=tmp_path)
    assert same(weights(again.model), weights(trained.model))
    assert again.losses == trained.losses
    assert again.seconds == 0
    assert again.trainable == trained.trainable
    with pytest.raises(StoppedError):
        train(output_dir=tmp_path, resume=False)


def test_the_folder_names_no_machine_and_loads_with_stock_peft(trained, tmp_path):
    from peft import PeftModel

    head = model()
    head.base_model.name_or_path = "/home/reader/model"
    train(head, output_dir=tmp_path)
    folder = tmp_path / runs.FINAL
    written = "".join(path.read_text() for path in folder.iterdir() if path.suffix in (".json", ".md"))
    assert "/home/reader" not in written
    assert str(tmp_path) not in written
    assert json.loads((folder / "trained_on.json").read_text())["merged"] == []
    stock = PeftModel.from_pretrained(model().base_model, folder).eval()
    assert same(weights(stock), weights(trained.model))


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"seed": 8}, "seed differ"),
        ({"texts": sentences(59)}, "blocks differ"),
        ({"held_out": sentences(20)}, "blocks differ"),
        ({"options": dataclasses.replace(OPTIONS, rank=2)}, "options differ"),
        ({"head": "other"}, "starting weights differ"),
    ],
)
def test_another_training_does_not_go_on_in_the_folder(tmp_path, changes, what):
    blocks = bidirectional.to_blocks(sentences(), byte_tokenizer(), length=24)
    job = mntp.Job(model(), byte_tokenizer(), blocks, [], OPTIONS, SEED, False)
    runs.start(tmp_path, mntp._identity(job), resume=True)
    if changes.get("head"):
        changes = {"head": model(seed=1)}
    with pytest.raises(ValueError, match=what):
        train(output_dir=tmp_path, **changes)


def test_options_that_change_nothing_do_not_stop_a_run_from_going_on(trained, tmp_path):
    train(output_dir=tmp_path)
    other = dataclasses.replace(OPTIONS, save_steps=3, model="a name", seed=3)
    assert train(options=other, output_dir=tmp_path).losses == trained.losses


# --- refusals --------------------------------------------------------------------------------------------------------


def test_what_cannot_be_trained_is_refused():
    with pytest.raises(ValueError, match="LlamaModel has no output head"):
        train(bidirectional.make_bidirectional(make("smollm")))
    with pytest.raises(ValueError, match="still reads from left to right"):
        train(make("smollm", head=True))
    head = model()
    bidirectional.add_adapter(head)
    with pytest.raises(ValueError, match="carries an adapter already"):
        train(head)
    with pytest.raises(ValueError, match="fewer than one block of 24"):
        train(texts=["short"])


def test_a_causal_model_is_trained_where_the_options_say_so():
    options = dataclasses.replace(OPTIONS, bidirectional=False, steps=1, save_steps=None)
    assert len(train(make("smollm", head=True), options=options).losses) == 1
