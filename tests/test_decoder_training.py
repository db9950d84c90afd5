"""Training a decoder to embed: the right loss and gradient, the same weights after a kill, nothing else changed."""

import copy
import dataclasses
import json
import os
import random
import re
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from conftest import ROOT
from tiny_decoders import END, WORDS, byte_llama, byte_tokenizer, pairs, triplets

from helpers import bench, contrastive, embedding, prompts
from helpers.contrastive import adapters, decoder, in_batch, losses, runs, student
from helpers.contrastive.decoder_trainer import make_decoder_trainer

SEED = 7
RECIPE = contrastive.DecoderRecipe(
    template=prompts.PROMPT_EOL,
    pooling="last",
    learning_rate=5e-3,
    temperature=0.1,
    batch_size=4,
    epochs=2,
    warmup_steps=2,
    max_length=16,
    lora_rank=4,
    lora_alpha=8,
    lora_dropout=0.1,
    precision="float32",
)
STEPS = 8  # four in each epoch; the last two rows of each are left over


@pytest.fixture(scope="module")
def llama():
    """A random Llama small enough for a step in a hundredth of a second, and its tokenizer."""
    return byte_llama(), byte_tokenizer()


def train(llama, *, recipe=RECIPE, rows=None, seed=SEED, **options):
    return contrastive.train_decoder(*llama, triplets() if rows is None else rows, recipe=recipe, seed=seed, **options)


@pytest.fixture(scope="module")
def trained(llama):
    return train(llama)


def close(left, right, tolerance=1e-6):
    """Say whether two adapters, or lists of losses, are the same but for rounding."""
    if isinstance(left, list):
        return np.allclose(left, right, atol=tolerance)
    return left.keys() == right.keys() and all((left[k] - right[k]).abs().max() <= tolerance for k in left)


def with_random_adapter(made):
    """Draw B too, for the gradient of A is zero as long as B is."""
    torch.manual_seed(1)
    for name, weight in made.encoder.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    return made


def gradient(made, recipe, rows):
    """Return loss and gradient of one batch by the loss that the trainer would use."""
    columns = decoder.read_rows(rows, recipe)
    made.encoder.zero_grad()
    features = [made.encoder.preprocess(texts, prompt=made.prompts.get(name)) for name, texts in columns.items()]
    loss = in_batch.loss_of(made.encoder, recipe)(features, None)
    loss.backward()
    weights = [weight for weight in made.encoder.parameters() if weight.requires_grad]
    return loss.item(), torch.cat([weight.grad.flatten() for weight in weights])


def relative(left, right):
    return ((left - right).norm() / right.norm()).item()


# --- the loss and its gradient ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("rows", [triplets(10), pairs(10)], ids=["triplets", "pairs"])
def test_the_gradient_in_pieces_is_that_of_the_whole_batch(llama, rows, symmetric):
    recipe = dataclasses.replace(RECIPE, batch_size=10, symmetric=symmetric, lora_dropout=0.0)
    made = with_random_adapter(student.make_student(*llama, recipe, seed=SEED, in_place=False))
    loss, whole = gradient(made, recipe, rows)
    for size in (3, 4, 10):
        again, pieces = gradient(made, dataclasses.replace(recipe, mini_batch_size=size), rows)
        assert again == pytest.approx(loss, abs=1e-5)
        assert relative(pieces, whole) < 1e-5
    smaller = dataclasses.replace(recipe, batch_size=5)
    half = [gradient(made, smaller, part)[1] for part in (rows[:5], rows[5:])]
    assert relative((half[0] + half[1]) / 2, whole) > 0.1, "accumulated gradients are not those of the large batch"


@pytest.mark.parametrize("negatives", [True, False])
def test_the_loss_is_info_nce_of_what_the_embedder_gives(llama, negatives):
    recipe = dataclasses.replace(RECIPE, hard_negatives=negatives)
    made = student.make_student(*llama, recipe, seed=SEED, in_place=False)
    made.encoder.eval()
    ours = embedding.Embedder(*llama, template=prompts.PROMPT_EOL, pooling="last")
    columns = decoder.read_rows(triplets(6), recipe)
    assert list(columns) == ["anchor", "positive", *(["negative"] if negatives else [])]
    vectors = [torch.from_numpy(ours.encode(texts)) for texts in columns.values()]
    expected = losses.info_nce(*vectors, temperature=0.1)
    assert gradient(made, recipe, triplets(6))[0] == pytest.approx(expected.item(), abs=1e-4)


def test_the_symmetric_loss_is_the_mean_of_both_directions():
    class Stub(torch.nn.Module):
        def forward(self, features):
            return {"sentence_embedding": features["rows"]}

    torch.manual_seed(0)
    query, positive, negative = torch.randn(3, 5, 8).unbind()
    features = [{"rows": rows} for rows in (query, positive, negative)]
    there = losses.info_nce(query, positive, negative, temperature=0.1)
    back = losses.info_nce(positive, query, temperature=0.1)
    torch.testing.assert_close(in_batch.InfoNCELoss(Stub(), 0.1)(features), there)
    torch.testing.assert_close(in_batch.InfoNCELoss(Stub(), 0.1, symmetric=True)(features), (there + back) / 2)
    with pytest.raises(ValueError, match="got 1 columns"):
        in_batch.InfoNCELoss(Stub(), 0.1)(features[:1])
    with pytest.raises(ValueError, match="temperature=0"):
        in_batch.InfoNCELoss(Stub(), 0)


# --- what a training does and leaves alone ---------------------------------------------------------------------------


def test_the_loss_falls_and_every_step_is_kept(llama, trained):
    assert len(trained.losses) == len(trained.seconds) == STEPS
    assert np.mean(trained.losses[-3:]) < np.mean(trained.losses[:3]) - 0.3
    assert all(0 < seconds < 60 for seconds in trained.seconds)
    assert not trained.encoder.training


def test_the_encoder_is_the_decoder_with_its_adapter_merged(llama, trained):
    beside = adapters.add_lora(copy.deepcopy(llama[0]), RECIPE.lora)
    adapters.set_adapter(beside, trained.adapter)
    expected = embedding.Embedder(beside.eval(), llama[1], template=prompts.PROMPT_EOL, pooling="last")
    texts = ["red 1", "a horse on the hill"]
    vectors = trained.encoder.encode(texts, show_progress_bar=False)
    np.testing.assert_allclose(vectors, expected.encode(texts), atol=1e-5 * np.abs(vectors).max())
    merged = embedding.Embedder(trained.encoder[0].model, llama[1], template=prompts.PROMPT_EOL, pooling="last")
    np.testing.assert_allclose(merged.encode(texts), vectors, atol=1e-5 * np.abs(vectors).max())
    assert trained.encoder.max_seq_length == 256, "the limit of the training is not that of reading"


def test_the_model_and_the_random_numbers_given_stay_as_they_were(llama):
    model = llama[0]
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    config, mode = model.config.to_dict(), model.training
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    expected = random.random(), np.random.rand(), torch.rand(1).item()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    train(llama, recipe=dataclasses.replace(RECIPE, epochs=None, steps=2, attention_dropout=0.5))
    assert (random.random(), np.random.rand(), torch.rand(1).item()) == expected
    assert before.keys() == model.state_dict().keys()
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
    assert (model.config.to_dict(), model.training) == (config, mode)
    assert all(weight.grad is None for weight in model.parameters())
    assert {layer.self_attn.attention_dropout for layer in model.layers} == {0.0}


def test_a_seed_decides_the_weights(llama, trained):
    assert close(train(llama).adapter, trained.adapter, 0.0)
    assert not close(train(llama, seed=8).adapter, trained.adapter, 1e-3)


def test_nothing_is_shown_unless_asked_for(llama, tmp_path, capfd, recwarn):
    short = dataclasses.replace(RECIPE, epochs=1)
    train(llama, recipe=short, output_dir=tmp_path)
    train(llama, recipe=short, output_dir=tmp_path)
    assert capfd.readouterr() == ("", "")
    assert not [str(warning.message) for warning in recwarn if warning.category is FutureWarning]
    train(llama, recipe=short, progress=True)
    assert "4/4" in capfd.readouterr().err


def test_all_weights_can_be_trained(llama):
    recipe = dataclasses.replace(RECIPE, lora_rank=None, epochs=None, steps=3, learning_rate=1e-3)
    whole = train(llama, recipe=recipe)
    assert whole.adapter is None
    changed = [
        not torch.equal(weight, other)
        for weight, other in zip(whole.encoder[0].model.parameters(), llama[0].parameters(), strict=True)
    ]
    assert all(changed)


def test_what_the_model_reads(llama, monkeypatch):
    """Instruction on the anchors alone, the end-of-sequence token last, no text beyond its limit."""
    seen = []
    forward = in_batch.InfoNCELoss.forward

    def watching(self, features, labels=None):
        decode = llama[1].decode
        for column in features:
            rows = zip(column["input_ids"], column["attention_mask"].bool(), strict=True)
            seen.append([decode(ids[mask]) for ids, mask in rows])
        return forward(self, features, labels)

    monkeypatch.setattr(in_batch.InfoNCELoss, "forward", watching)
    recipe = contrastive.decoder_recipe(
        "E5-Mistral (published)", batch_size=4, epochs=None, steps=1, instruction="Find the like.", max_length=9,
        shuffle=False, gradient_checkpointing=False, precision="float32",
    )  # fmt: skip
    rows = [{"anchor": f"red {n}", "positive": "blue " * 30, "negative": "dog"} for n in range(4)]
    train(llama, recipe=recipe, rows=rows)
    anchors, positives, negatives = seen
    assert anchors == [f"Instruct: Find the like.\nQuery: red {n}{END}" for n in range(4)]
    assert negatives == [f"dog{END}"] * 4
    assert positives == [f"blue blue{' blue' * 7}"[: len(positives[0]) - len(END)] + END] * 4
    around = len(llama[1](anchors[0])["input_ids"]) - len("red 0")
    assert len(llama[1](positives[0])["input_ids"]) == around + 9


def test_long_texts_are_counted(llama, caplog):
    rows = [{"anchor": "red " * 30, "positive": "blue"}] * 4
    train(llama, rows=rows, recipe=dataclasses.replace(RECIPE, epochs=1))
    assert "4 of 8 texts are longer than 16 tokens and are cut" in caplog.text


def test_negatives_can_be_left_out(llama):
    without = train(llama, recipe=dataclasses.replace(RECIPE, hard_negatives=False))
    assert close(without.adapter, train(llama, rows=pairs()).adapter, 0.0)
    assert without.losses[0] < train(llama).losses[0], "fewer candidates"


def test_a_text_is_its_own_positive_where_attention_drops_weights(llama):
    """Unsupervised SimCSE: without dropout both views are the same vector, with it they are not."""
    texts = [{"anchor": f"{word} {n}", "positive": f"{word} {n}"} for n in range(2) for word in WORDS["animal"]]
    recipe = dataclasses.replace(
        RECIPE, template="{text}", pooling="mean", batch_size=8, lora_dropout=0.0, epochs=None, steps=1
    )

    def first_loss(dropout):
        return train(llama, rows=texts, recipe=dataclasses.replace(recipe, attention_dropout=dropout)).losses[0]

    made = student.make_student(*llama, recipe, seed=SEED, in_place=False)
    assert first_loss(0.0) == pytest.approx(gradient(made, recipe, texts)[0], abs=1e-5)
    assert abs(first_loss(0.5) - first_loss(0.0)) > 1e-3
    with pytest.raises(ValueError, match="does nothing"), student.attention_dropout(torch.nn.Linear(2, 2), 0.3):
        pass


def test_a_bidirectional_decoder_stays_one(llama):
    model = copy.deepcopy(llama[0])
    model.config.is_causal = False
    recipe = dataclasses.replace(RECIPE, template="{text}", pooling="mean", epochs=None, steps=2)
    both_ways = train((model, llama[1]), recipe=recipe)
    assert both_ways.encoder[0].model.config.is_causal is False
    assert embedding.sees_the_future(both_ways.encoder[0].model, [5, 6, 7, 8])
    assert not close(both_ways.losses, train(llama, recipe=recipe).losses, 1e-3)


def test_half_precision_stays_inside_the_model(llama, monkeypatch):
    dtypes = []
    info_nce = losses.info_nce
    monkeypatch.setattr(
        in_batch,
        "info_nce",
        lambda *rows, temperature: dtypes.append(rows[0].dtype) or info_nce(*rows, temperature=temperature),
    )
    half = train(llama, recipe=dataclasses.replace(RECIPE, precision="bfloat16", epochs=None, steps=2))
    assert set(dtypes) == {torch.float32}
    exact = train(llama, recipe=dataclasses.replace(RECIPE, epochs=None, steps=2))
    assert not close(half.losses, exact.losses, 1e-6)
    assert close(half.losses, exact.losses, 0.3)
    features = half.encoder.preprocess(["red"])
    with torch.inference_mode():
        assert half.encoder(features)["token_embeddings"].dtype == torch.float32
    linear = next(module for module in half.encoder.modules() if isinstance(module, torch.nn.Linear))
    types = []
    hook = linear.register_forward_hook(lambda module, given, out: types.append(out.dtype))
    half.encoder.encode(["red"], show_progress_bar=False)
    hook.remove()
    assert types == [torch.float32], "the trainer's autocast must not stay on the encoder"


def test_checkpointed_activations_change_nothing(llama, trained):
    again = train(llama, recipe=dataclasses.replace(RECIPE, gradient_checkpointing=True))
    assert close(again.adapter, trained.adapter, 1e-5)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [("linear", [0.5, 1, 5 / 6, 4 / 6]), ("constant", [0.5, 1, 1, 1]), ("cosine", [0.5, 1, 0.933, 0.75])],
)
def test_the_schedule_of_the_recipe(llama, tmp_path, schedule, expected):
    recipe = dataclasses.replace(RECIPE, schedule=schedule, weight_decay=0.1)
    made = student.make_student(*llama, recipe, seed=0, in_place=False)
    columns = decoder.read_rows(triplets(), recipe)
    trainer = make_decoder_trainer(made, columns, seed=0, folder=tmp_path, save_steps=None, progress=False)
    assert trainer.args.max_steps == STEPS
    trainer.create_optimizer_and_scheduler(STEPS)
    rates = []
    for _ in range(4):
        trainer.optimizer.step()
        trainer.lr_scheduler.step()
        rates.append(trainer.lr_scheduler.get_last_lr()[0] / recipe.learning_rate)
    assert rates == pytest.approx(expected, abs=1e-3)
    assert type(trainer.optimizer).__name__ == "AdamW"
    assert {group["weight_decay"] for group in trainer.optimizer.param_groups if group["params"]} == {0.1}


# --- kills and folders -----------------------------------------------------------------------------------------------


class StoppedError(Exception):
    """What a killed run looks like from inside."""


def stop_at(monkeypatch, call):
    """Let the loss fail at its n-th call, counted from 1."""
    calls = iter(range(1, 10_000))
    loss_of = in_batch.loss_of

    def failing_loss(*given):
        loss = loss_of(*given)
        forward = loss.forward

        def failing(features, labels=None):
            if next(calls) == call:
                raise StoppedError
            return forward(features, labels)

        loss.forward = failing
        return loss

    monkeypatch.setattr(in_batch, "loss_of", failing_loss)


def test_a_stopped_run_with_gradient_caching_ends_with_the_same_weights_and_curve(llama, tmp_path, monkeypatch):
    recipe = dataclasses.replace(RECIPE, mini_batch_size=3)
    whole = train(llama, recipe=recipe)
    options = {"recipe": recipe, "output_dir": tmp_path, "save_steps": 2}
    with monkeypatch.context() as patch:
        stop_at(patch, 6)
        with pytest.raises(StoppedError):
            train(llama, **options)
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*")) == ["checkpoint-2", "checkpoint-4"]
    biggest = max(path.stat().st_size for path in tmp_path.rglob("*.safetensors"))
    assert biggest < 50_000, "a checkpoint holds the adapter and not the model"
    with monkeypatch.context() as patch:
        stop_at(patch, 5)  # four steps are left
        resumed = train(llama, **options)
    assert close(resumed.adapter, whole.adapter)
    assert close(resumed.losses, whole.losses)
    assert len(resumed.seconds) == STEPS
    assert sorted(path.name for path in tmp_path.iterdir()) == [runs.FINAL, runs.RUN]


def test_a_killed_process_ends_with_the_same_weights(llama, trained, tmp_path):
    """SIGKILL within the sixth step, in a process of its own."""
    llama[0].save_pretrained(tmp_path / "start")
    llama[1].save_pretrained(tmp_path / "start")
    source = """
        import json, os, signal, sys
        from transformers import AutoModel, AutoTokenizer
        from helpers import contrastive
        from helpers.contrastive import in_batch
        calls = iter(range(1, 100))
        forward = in_batch.InfoNCELoss.forward
        def killing(self, features, labels=None):
            if next(calls) == 6:
                os.kill(os.getpid(), signal.SIGKILL)
            return forward(self, features, labels)
        in_batch.InfoNCELoss.forward = killing
        model, tokenizer = AutoModel.from_pretrained("start").eval(), AutoTokenizer.from_pretrained("start")
        recipe = contrastive.DecoderRecipe(**json.loads(sys.argv[1]))
        rows, seed = json.loads(sys.argv[2]), int(sys.argv[3])
        contrastive.train_decoder(model, tokenizer, rows, recipe=recipe, seed=seed, output_dir="run", save_steps=2)
    """
    arguments = [json.dumps(dataclasses.asdict(RECIPE)), json.dumps(triplets()), str(SEED)]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ["PYTHONPATH"]]),
        "OMP_NUM_THREADS": str(torch.get_num_threads()),
    }
    command = [sys.executable, "-c", textwrap.dedent(source), *arguments]
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert (tmp_path / "run" / "checkpoint-4" / runs.MARK).exists()
    assert not (tmp_path / "run" / runs.FINAL).exists()
    resumed = train(llama, output_dir=tmp_path / "run", save_steps=2)
    assert close(resumed.adapter, trained.adapter)
    assert close(resumed.losses, trained.losses)


def test_a_finished_run_is_loaded_and_not_done_again(llama, trained, tmp_path, monkeypatch):
    first = train(llama, output_dir=tmp_path)
    assert close(first.adapter, trained.adapter, 0.0), "keeping checkpoints changes nothing"
    stop_at(monkeypatch, 1)
    again = train(llama, output_dir=tmp_path)
    assert close(again.adapter, first.adapter, 0.0)
    assert (again.losses, again.seconds) == (first.losses, first.seconds)
    texts = ["red", "a horse"]
    np.testing.assert_array_equal(again.encoder.encode(texts), first.encoder.encode(texts))
    card = (tmp_path / runs.FINAL / "README.md").read_text()
    assert "| seed | `7` |" in card
    assert str(tmp_path) not in card
    with pytest.raises(StoppedError):
        train(llama, output_dir=tmp_path, resume=False)


def test_another_training_does_not_go_on_in_the_folder(llama, tmp_path):
    recipe = dataclasses.replace(RECIPE, epochs=1)
    train(llama, recipe=recipe, output_dir=tmp_path)
    model = copy.deepcopy(llama[0])
    model.config.is_causal = False
    for changes, what in (
        ({"rows": triplets(16)}, "rows differ"),
        ({"recipe": dataclasses.replace(recipe, temperature=0.5)}, "recipe differ"),
        ({"llama": (model, llama[1])}, "causal differ"),
    ):
        with pytest.raises(ValueError, match=what):
            train(**{"llama": llama, "recipe": recipe, "output_dir": tmp_path, **changes})


# --- four bits -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def quantised(tmp_path_factory):
    """A small Llama in NF4, its dequantised float copy, and the tokenizer."""
    import bitsandbytes as bnb
    from transformers import AutoModel, BitsAndBytesConfig

    folder = tmp_path_factory.mktemp("float")
    byte_llama(hidden_size=64, intermediate_size=128).save_pretrained(folder)
    options = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32,
    )  # fmt: skip
    model = AutoModel.from_pretrained(
        folder, quantization_config=options, dtype=torch.float32, device_map={"": "cpu"}
    ).eval()
    exact = AutoModel.from_pretrained(folder).eval()
    for name, layer in model.named_modules():
        if isinstance(layer, bnb.nn.Linear4bit):
            held = bnb.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state)
            exact.get_submodule(name).weight.data.copy_(held)
    return model, exact, byte_tokenizer()


QLORA = dataclasses.replace(RECIPE, quantization="nf4", lora_dropout=0.0, epochs=None, steps=3)


def four_bit_layers(model):
    return [layer for layer in model.modules() if hasattr(layer, "support_avx512bf16_for_cpu")]


def as_on_avx512_bf16(model):
    """Return a copy that behaves as on a CPU where bitsandbytes repacks the weights."""
    model = copy.deepcopy(model)
    for layer in four_bit_layers(model):
        layer.support_avx512bf16_for_cpu = True
    return model


def test_gradients_in_four_bits_are_those_of_the_dequantised_model_before_and_after_an_evaluation(quantised):
    model, exact, tokenizer = as_on_avx512_bf16(quantised[0]), *quantised[1:]
    held = with_random_adapter(student.make_student(model, tokenizer, QLORA, seed=SEED, in_place=False))
    assert len(four_bit_layers(held.encoder)) == 14
    plain = dataclasses.replace(QLORA, quantization=None)
    reference = with_random_adapter(student.make_student(exact, tokenizer, plain, seed=SEED, in_place=False))
    expected = gradient(reference, plain, triplets(4))[1]
    assert expected.norm() > 1e-3
    held.encoder.train()
    assert relative(gradient(held, QLORA, triplets(4))[1], expected) < 1e-5
    held.encoder.eval().encode(["red"], show_progress_bar=False)
    held.encoder.train()
    assert relative(gradient(held, QLORA, triplets(4))[1], expected) < 1e-5


def test_a_model_whose_weights_were_repacked_is_refused(quantised):
    model = as_on_avx512_bf16(quantised[0])
    embedding.Embedder(model, quantised[2]).encode(["red"])
    with pytest.raises(ValueError, match="repacked by an evaluation"):
        train((model, quantised[2]), recipe=QLORA)


def test_training_in_four_bits_leaves_an_adapter_beside_the_weights(quantised):
    model, _, tokenizer = quantised
    before = {name: weight.clone() for name, weight in model.state_dict().items() if "quant_state" not in name}
    copied = train((model, tokenizer), recipe=QLORA)
    assert not getattr(model, "peft_config", None)
    assert all(torch.equal(weight, model.state_dict()[name]) for name, weight in before.items())
    assert copied.encoder[0].model.is_loaded_in_4bit
    beside = embedding.Embedder(copied.encoder[0].model, tokenizer, template=prompts.PROMPT_EOL, pooling="last")
    texts = ["red", "a horse"]
    vectors = copied.encoder.encode(texts, show_progress_bar=False)
    np.testing.assert_allclose(beside.encode(texts), vectors, atol=1e-4)
    assert np.abs(embedding.Embedder(model, tokenizer, template=prompts.PROMPT_EOL, pooling="last").encode(texts)
                  - vectors).max() > 1e-2  # fmt: skip
    own = copy.deepcopy(model)
    placed = train((own, tokenizer), recipe=QLORA, in_place=True)
    assert placed.encoder[0].model is own
    assert close(placed.adapter, copied.adapter)
    with pytest.raises(ValueError, match="has adapters already"):
        train((own, tokenizer), recipe=QLORA, in_place=True)


def test_the_recipe_and_the_model_must_agree_on_the_bits(llama, quantised):
    with pytest.raises(ValueError, match="quantization='nf4', and the model was loaded with None"):
        train(llama, recipe=QLORA)
    with pytest.raises(ValueError, match="quantization=None, and the model was loaded with 'nf4'"):
        train((quantised[0], quantised[2]))


# --- rows and recipes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "no rows to train on"),
        ([{"anchor": "red"}] * 4, "row 0 has no 'positive'; it has 'anchor'"),
        ([*triplets(3), {"anchor": "red", "positive": "blue"}], "row 3 has no 'negative'"),
        ([*pairs(3), triplets(1)[0]], "row 3 has a 'negative', and rows before it have none"),
        ([*pairs(3), {"anchor": "red", "positive": " "}], "positive of row 3 .* got ' '"),
        (pairs(3), "3 rows do not fill one batch of batch_size=4"),
    ],
)
def test_rows_that_cannot_be_trained_on(llama, rows, message):
    with pytest.raises(ValueError, match=message):
        train(llama, rows=rows)


def test_other_values_that_are_refused(llama):
    for options, message in (({"seed": -1}, "seed=-1"), ({"save_steps": 0}, "save_steps=0")):
        with pytest.raises(ValueError, match=message):
            train(llama, **options)


def test_published_recipes_are_as_published():
    code, paper = (contrastive.DECODER_RECIPES[f"PromptEOL CSE ({name})"] for name in ("published", "paper"))
    assert code.template == prompts.PROMPT_EOL
    numbers = (code.pooling, code.learning_rate, code.temperature, code.batch_size, code.epochs, code.max_length)
    assert numbers == ("last", 5e-4, 0.05, 256, 1, 32)
    assert (code.lora_rank, code.lora_alpha, code.lora_dropout, code.quantization) == (64, 16, 0.05, "nf4")
    differing = {
        field.name for field in dataclasses.fields(code) if getattr(code, field.name) != getattr(paper, field.name)
    }
    assert differing == {"temperature", "source"}
    assert paper.temperature == 0.5
    e5 = contrastive.decoder_recipe("E5-Mistral (published)")
    assert contrastive.fill_query(e5.query_template, "T", "q") == "Instruct: T\nQuery: q"
    assert (e5.pooling, e5.temperature, e5.batch_size, e5.learning_rate, e5.weight_decay) == (
        "eos",
        0.02,
        2048,
        1e-4,
        0.1,
    )
    simcse = contrastive.decoder_recipe("LLM2Vec SimCSE (published)")
    assert (simcse.attention_dropout, simcse.temperature, simcse.batch_size, simcse.steps) == (0.3, 0.05, 128, 1000)
    supervised = contrastive.decoder_recipe("LLM2Vec supervised (published)")
    assert (supervised.temperature, supervised.batch_size, supervised.warmup_steps) == (0.02, 512, 300)
    assert not supervised.pool_instruction
    assert all(recipe.source for recipe in contrastive.DECODER_RECIPES.values())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temperature": 0.0}, "temperature=0.0"),
        ({"learning_rate": 1.0}, "learning_rate=1.0"),
        ({"steps": None}, "one of epochs=None and steps=None"),
        ({"epochs": 1}, "one of epochs=1 and steps=40"),
        ({"steps": 2.5}, "steps=2.5"),
        ({"mini_batch_size": 0}, "mini_batch_size=0"),
        ({"warmup_steps": -1}, "warmup_steps=-1"),
        ({"attention_dropout": 1.0}, "attention_dropout=1.0"),
        ({"schedule": "liner"}, "did you mean 'linear'"),
        ({"pooling": "lst"}, "did you mean 'last'"),
        ({"precision": "half"}, "unknown precision 'half'"),
        ({"quantization": "nf8"}, "quantization='nf8'"),
        ({"quantization": "nf4", "lora_rank": None}, "with a lora_rank"),
        ({"template": "none"}, "exactly once"),
        ({"query_template": "{text}"}, "and later"),
        ({"step": 3}, "did you mean 'steps'"),
    ],
)
def test_recipes_with_values_out_of_range(changes, message):
    with pytest.raises(ValueError, match=message):
        contrastive.decoder_recipe("PromptEOL CSE (laptop)", **changes)
    with pytest.raises(ValueError, match="did you mean 'PromptEOL CSE \\(laptop\\)'"):
        contrastive.decoder_recipe("PromptEOL (laptop)")


# --- the benchmark ---------------------------------------------------------------------------------------------------


def test_the_naive_step_has_the_same_gradient_and_takes_longer(monkeypatch, capsys):
    monkeypatch.setattr(bench, "PADDED", 120)
    monkeypatch.setattr(bench, "ROUNDS", 1)
    monkeypatch.setattr(bench.models, "load_decoder", lambda name: (byte_llama(), byte_tokenizer()))
    widths = []
    forward = in_batch.InfoNCELoss.forward
    monkeypatch.setattr(
        in_batch.InfoNCELoss,
        "forward",
        lambda self, columns, labels=None: widths.append(columns[0]["input_ids"].shape[1]) or forward(self, columns),
    )
    assert bench.against_naive_training("any", triplets(4)) > 0
    assert len(set(widths)) == 2
    assert min(widths) < 60 < max(widths) == 120
    assert float(re.search(r"gradients ([\d.e+-]+)\)", capsys.readouterr().out)[1]) < 1e-4
