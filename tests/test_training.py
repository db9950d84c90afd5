"""Training an encoder on triplets: the same weights whatever happens on the way, and nothing changed around it."""

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
from conftest import ROOT
from sentence_transformers import SentenceTransformer

from helpers import contrastive
from helpers.contrastive import encoder, objective, runs

RECIPE = contrastive.Recipe(learning_rate=1e-3, temperature=0.1, epochs=3, batch_size=4, max_length=32)
WORDS = {"colour": ("red", "blue", "green", "white"), "animal": ("cat", "dog", "horse", "mouse")}
SEED = 7


@pytest.fixture(scope="module")
def tiny_encoder(tmp_path_factory):
    """A random two-layer BERT over letters with mean pooling, as a folder and loaded."""
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("tiny") / "bert"
    letters = "abcdefghijklmnopqrstuvwxyz:"
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=len(pieces), max_position_embeddings=64, **sizes)).save_pretrained(folder)
    BertTokenizerFast(vocab={piece: number for number, piece in enumerate(pieces)}).save_pretrained(folder)
    transformer = Transformer(str(folder))
    model = SentenceTransformer(modules=[transformer, Pooling(16, "mean")], device="cpu")
    model.save_pretrained(str(folder.parent / "encoder"), create_model_card=False)
    return SentenceTransformer(str(folder.parent / "encoder"), device="cpu")


def triplets(n=18):
    """Make questions whose answer is the word of the same kind; batches of four leave a smaller one at the end."""
    rng = random.Random(0)
    rows = []
    for number in range(n):
        kind, other = ("colour", "animal") if number % 2 else ("animal", "colour")
        anchor, positive = rng.sample(WORDS[kind], 2)
        rows.append(
            {"anchor": anchor, "positive": positive, "negative": rng.choice(WORDS[other]), "anchor_row": number}
        )
    return rows


def train(model, *, recipe=RECIPE, rows=None, seed=SEED, **options):
    return contrastive.train_encoder(model, triplets() if rows is None else rows, recipe=recipe, seed=seed, **options)


def weights(model):
    return {name: weight.detach().clone() for name, weight in model.state_dict().items()}


def same(left, right):
    assert left.keys() == right.keys()
    return all(torch.equal(weight, right[name]) for name, weight in left.items())


def loss_of(model, recipe=RECIPE):
    columns = [[row[name] for row in triplets()] for name in encoder.COLUMNS]
    vectors = [torch.from_numpy(contrastive.encode_with(model, recipe, texts)) for texts in columns]
    return contrastive.triplet_question_loss(*vectors, temperature=recipe.temperature).item()


@pytest.fixture(scope="module")
def trained(tiny_encoder):
    return train(tiny_encoder)


class StoppedError(Exception):
    """What a killed run looks like from inside."""


def stop_at(monkeypatch, call):
    """Let the loss fail at its n-th call, counted from 1."""
    calls = iter(range(1, 10_000))
    forward = objective.TripletQuestionLoss.forward

    def failing(self, features, labels=None):
        if next(calls) == call:
            raise StoppedError
        return forward(self, features, labels)

    monkeypatch.setattr(objective.TripletQuestionLoss, "forward", failing)


def test_the_loss_falls(tiny_encoder, trained):
    assert loss_of(trained) < loss_of(tiny_encoder) - 0.1
    assert not trained.training


@pytest.mark.parametrize("part", ["own triplet", "in batch"])
def test_each_part_can_be_trained_on_alone(tiny_encoder, trained, part):
    alone = train(tiny_encoder, recipe=dataclasses.replace(RECIPE, part=part))
    assert not same(weights(alone), weights(tiny_encoder))
    assert not same(weights(alone), weights(trained))


def test_a_seed_decides_the_weights(tiny_encoder, trained):
    assert same(weights(train(tiny_encoder)), weights(trained))
    assert not same(weights(train(tiny_encoder, seed=8)), weights(trained)), "dropout must be drawn from the seed"


def test_the_model_given_stays_as_it_was(tiny_encoder):
    before, mode, length = weights(tiny_encoder), tiny_encoder.training, tiny_encoder.max_seq_length
    train(tiny_encoder)
    assert same(before, weights(tiny_encoder))
    assert (tiny_encoder.training, tiny_encoder.max_seq_length) == (mode, length)
    assert all(weight.grad is None for weight in tiny_encoder.parameters())


def test_the_random_numbers_of_the_caller_go_on(tiny_encoder, tmp_path):
    def draw():
        return random.random(), np.random.rand(), torch.rand(1).item()

    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    expected = draw()
    for options in ({}, {"output_dir": tmp_path}, {"output_dir": tmp_path}):
        random.seed(1), np.random.seed(1), torch.manual_seed(1)
        train(tiny_encoder, **options)
        assert draw() == expected


def test_nothing_is_shown_unless_asked_for(tiny_encoder, tmp_path, capfd):
    train(tiny_encoder, output_dir=tmp_path)
    train(tiny_encoder, output_dir=tmp_path)
    assert capfd.readouterr() == ("", "")
    train(tiny_encoder, progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "training: 100%" in err
    assert "15/15" in err, "five batches in each of three epochs"


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("call", [3, 8, 11, 15])
def test_a_stopped_run_ends_with_the_same_weights(tiny_encoder, tmp_path, monkeypatch, call, shuffle):
    """Steps 2, 4, 6 … are kept; epochs have five steps, so a run goes on within an epoch or at the start of one."""
    recipe = dataclasses.replace(RECIPE, shuffle=shuffle)
    whole = train(tiny_encoder, recipe=recipe)
    options = {"recipe": recipe, "output_dir": tmp_path, "save_steps": 5 if call == 11 else 2}
    with monkeypatch.context() as patch:
        stop_at(patch, call)
        with pytest.raises(StoppedError):
            train(tiny_encoder, **options)
    kept = sorted(int(path.name.split("-")[1]) for path in tmp_path.glob("checkpoint-*"))
    assert kept[-1] == {3: 2, 8: 6, 11: 10, 15: 14}[call]
    assert len(kept) <= 2
    with monkeypatch.context() as patch:
        stop_at(patch, 15 - kept[-1] + 1)  # one call more than what is left to do
        resumed = train(tiny_encoder, **options)
    assert same(weights(resumed), weights(whole))
    assert sorted(path.name for path in tmp_path.iterdir()) == [runs.FINAL, runs.RUN]


def test_a_checkpoint_that_was_not_written_to_its_end_does_not_count(tiny_encoder, trained, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        stop_at(patch, 8)
        with pytest.raises(StoppedError):
            train(tiny_encoder, output_dir=tmp_path, save_steps=2)
    for name in ("optimizer.pt", runs.MARK):
        (tmp_path / "checkpoint-6" / name).unlink()
    assert same(weights(train(tiny_encoder, output_dir=tmp_path, save_steps=2)), weights(trained))


def test_a_killed_process_ends_with_the_same_weights(tiny_encoder, trained, tmp_path):
    """SIGKILL within the eighth step, in a process of its own."""
    tiny_encoder.save_pretrained(str(tmp_path / "start"), create_model_card=False)
    source = """
        import json, os, signal, sys
        from sentence_transformers import SentenceTransformer
        from helpers import contrastive
        from helpers.contrastive import objective
        calls = iter(range(1, 100))
        forward = objective.TripletQuestionLoss.forward
        def killing(self, features, labels=None):
            if next(calls) == 8:
                os.kill(os.getpid(), signal.SIGKILL)
            return forward(self, features, labels)
        objective.TripletQuestionLoss.forward = killing
        model = SentenceTransformer("start", device="cpu")
        recipe = contrastive.Recipe(**json.loads(sys.argv[1]))
        rows, seed = json.loads(sys.argv[2]), int(sys.argv[3])
        contrastive.train_encoder(model, rows, recipe=recipe, seed=seed, output_dir="run", save_steps=2)
    """
    arguments = [json.dumps(dataclasses.asdict(RECIPE)), json.dumps(triplets()), str(SEED)]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ["PYTHONPATH"]]),
        "OMP_NUM_THREADS": str(torch.get_num_threads()),
    }
    command = [sys.executable, "-c", textwrap.dedent(source), *arguments]
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert (tmp_path / "run" / "checkpoint-6" / runs.MARK).exists()
    assert not (tmp_path / "run" / runs.FINAL).exists()
    model = SentenceTransformer(str(tmp_path / "start"), device="cpu")
    resumed = train(model, output_dir=tmp_path / "run", save_steps=2)
    assert same(weights(resumed), weights(trained))


def test_a_finished_run_is_loaded_and_not_done_again(tiny_encoder, trained, tmp_path, monkeypatch):
    first = train(tiny_encoder, output_dir=tmp_path)
    stop_at(monkeypatch, 1)
    again = train(tiny_encoder, output_dir=tmp_path)
    assert same(weights(first), weights(again))
    assert same(weights(first), weights(trained)), "keeping checkpoints changes nothing"
    assert not again.training
    with pytest.raises(StoppedError):
        train(tiny_encoder, output_dir=tmp_path, resume=False)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"rows": triplets(16)}, "rows differ"),
        ({"seed": 8}, "seed differ"),
        ({"recipe": dataclasses.replace(RECIPE, epochs=2)}, "recipe differ"),
        ({}, "starting weights differ"),
    ],
)
def test_another_training_does_not_go_on_in_the_folder(tiny_encoder, tmp_path, changes, what):
    model = copy.deepcopy(tiny_encoder)
    runs.start(tmp_path, runs.identity(model, encoder.read_columns(triplets(), RECIPE), RECIPE, SEED), resume=True)
    if not changes:
        next(model.parameters()).data += 1
    with pytest.raises(ValueError, match=what):
        train(model, output_dir=tmp_path, **changes)


def test_starting_anew_deletes_what_was_there_and_only_that(tiny_encoder, tmp_path):
    train(tiny_encoder, output_dir=tmp_path)
    (tmp_path / "mine.txt").write_text("kept")
    other = train(tiny_encoder, output_dir=tmp_path, seed=8, resume=False)
    assert same(weights(other), weights(train(tiny_encoder, seed=8)))
    assert (tmp_path / "mine.txt").read_text() == "kept"
    (tmp_path / runs.RUN).write_text('{"seed": ')
    with pytest.raises(ValueError, match="cannot be read"):
        train(tiny_encoder, output_dir=tmp_path)
    (tmp_path / runs.RUN).unlink()
    for resume in (True, False):
        with pytest.raises(ValueError, match=r"has final but no run\.json"):
            train(tiny_encoder, output_dir=tmp_path, resume=resume)
    assert (tmp_path / runs.FINAL / "model.safetensors").exists()


def test_the_folder_is_a_stock_encoder_that_names_no_machine(tiny_encoder, tmp_path):
    model = train(tiny_encoder, output_dir=tmp_path)
    folder = tmp_path / runs.FINAL
    loaded = SentenceTransformer(str(folder), device="cpu")
    texts = ["red horse", "a much longer text of many letters that is cut where the recipe says"]
    np.testing.assert_array_equal(loaded.encode(texts), model.encode(texts))
    assert loaded.max_seq_length == RECIPE.max_length
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "| seed | `7` |" in card
    written = "\n".join(
        path.read_text(encoding="utf-8") for path in folder.rglob("*") if path.suffix in (".json", ".md")
    )
    for trace in (str(tmp_path), str(tiny_encoder[0].model.config._name_or_path), str(ROOT), "anchor_row"):
        assert not trace or trace not in written
    assert not list(folder.rglob("*.bin")), "weights are kept as safetensors only"


def test_the_prefix_is_read_in_training_and_later(tiny_encoder, trained, monkeypatch):
    recipe = dataclasses.replace(RECIPE, prefix="query: ")
    seen = []
    forward = objective.TripletQuestionLoss.forward

    def watching(self, features, labels=None):
        seen.extend(tiny_encoder.tokenizer.decode(ids) for column in features for ids in column["input_ids"])
        return forward(self, features, labels)

    monkeypatch.setattr(objective.TripletQuestionLoss, "forward", watching)
    model = train(tiny_encoder, recipe=recipe)
    assert len(seen) == 3 * 3 * 18
    assert all(text.startswith("[CLS] query : ") for text in seen)
    assert not same(weights(model), weights(trained))
    np.testing.assert_array_equal(contrastive.encode_with(model, recipe, ["red"]), model.encode(["query: red"]))
    assert (contrastive.encode_with(model, recipe, ["red"]) != contrastive.encode_with(model, RECIPE, ["red"])).any()


def test_a_default_prompt_of_the_model_does_not_come_in_between(tiny_encoder):
    model = copy.deepcopy(tiny_encoder)
    model.prompts, model.default_prompt_name = {"task": "cat: "}, "task"
    assert (model.encode(["red"]) != tiny_encoder.encode(["red"])).any()
    recipe = dataclasses.replace(RECIPE, prefix="query: ")
    np.testing.assert_array_equal(contrastive.encode_with(model, recipe, ["red"]), tiny_encoder.encode(["query: red"]))


def test_short_texts_are_not_padded_to_the_longest_allowed(tiny_encoder, monkeypatch):
    widths = []
    forward = objective.TripletQuestionLoss.forward

    def watching(self, features, labels=None):
        widths.extend(column["input_ids"].shape[1] for column in features)
        return forward(self, features, labels)

    monkeypatch.setattr(objective.TripletQuestionLoss, "forward", watching)
    train(tiny_encoder)
    assert max(widths) == len("green") + 2


def test_long_texts_are_cut_with_a_warning_that_counts_them(tiny_encoder, caplog):
    recipe = dataclasses.replace(RECIPE, max_length=6)
    long, cut = "horses", "hors"  # a token a letter, and two around them
    vectors = contrastive.encode_with(tiny_encoder, recipe, [long, "red"])
    assert "1 of 2 texts are longer than 6 tokens and are cut" in caplog.text
    np.testing.assert_allclose(vectors, tiny_encoder.encode([cut, "red"]), atol=1e-6)
    assert train(tiny_encoder, recipe=recipe).max_seq_length == 6
    assert "texts are longer than 6 tokens and are cut" in caplog.records[-1].message
    caplog.clear()
    contrastive.encode_with(tiny_encoder, RECIPE, [long])
    assert not caplog.records


def test_the_schedule_of_the_recipe(tiny_encoder, tmp_path):
    from helpers.contrastive.trainer import make_trainer

    recipe = dataclasses.replace(RECIPE, warmup=0.2)
    columns = encoder.read_columns(triplets(), recipe)
    for warm, expected in ((recipe, [1 / 3, 2 / 3, 1, 11 / 12]), (RECIPE, [14 / 15, 13 / 15, 12 / 15, 11 / 15])):
        model = copy.deepcopy(tiny_encoder)
        trainer = make_trainer(model, columns, warm, seed=0, folder=tmp_path, save_steps=None, progress=False)
        trainer.create_optimizer_and_scheduler(15)
        rates = []
        for _ in range(4):
            trainer.optimizer.step()
            trainer.lr_scheduler.step()
            rates.append(trainer.lr_scheduler.get_last_lr()[0] / RECIPE.learning_rate)
        assert rates == pytest.approx(expected)
        assert type(trainer.optimizer).__name__ == "AdamW"
        assert {group["weight_decay"] for group in trainer.optimizer.param_groups} == {0.0}


def test_the_order_of_the_rows_is_kept_unless_the_recipe_shuffles():
    from helpers.contrastive.trainer import EpochOrder

    assert list(EpochOrder(5, None)) == [0, 1, 2, 3, 4]
    order = EpochOrder(50, 3)
    first = list(order)
    order.set_epoch(1)
    second = list(order)
    assert sorted(first) == sorted(second) == list(range(50))
    assert len({tuple(first), tuple(second), tuple(EpochOrder(50, 4))}) == 3
    order.set_epoch(0)
    assert list(order) == first


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "no rows to train on"),
        ([{"anchor": "red", "positive": "blue"}], "row 0 has no 'negative'; it has 'anchor', 'positive'"),
        ([*triplets(2), {"anchor": "red", "positive": " ", "negative": "cat"}], "positive of row 2 .* got ' '"),
        ([{"anchor": "red", "positive": 3, "negative": "cat"}], "positive of row 0 .* got 3"),
    ],
)
def test_rows_that_cannot_be_trained_on(tiny_encoder, rows, message):
    with pytest.raises(ValueError, match=message):
        train(tiny_encoder, rows=rows)


def test_a_prefix_is_not_put_twice(tiny_encoder):
    rows = [{name: "query: " + str(text) for name, text in row.items()} for row in triplets(4)]
    with pytest.raises(ValueError, match="begin with the prefix 'query: ' already"):
        train(tiny_encoder, rows=rows, recipe=contrastive.recipe_named("e5 (ClusterLLM)"))


def test_other_values_that_are_refused(tiny_encoder):
    for seed in (-1, 2**32, "7"):
        with pytest.raises(ValueError, match="seed="):
            train(tiny_encoder, seed=seed)
    with pytest.raises(ValueError, match="save_steps=0"):
        train(tiny_encoder, save_steps=0)
    for texts in ([], "red", ["red", ""], ["red", None]):
        with pytest.raises(ValueError, match="text"):
            contrastive.encode_with(tiny_encoder, RECIPE, texts)


def test_published_recipes_are_as_published():
    e5, gte, minilm = (contrastive.RECIPES[name] for name in ("e5 (ClusterLLM)", "gte (EMBwithLLM)", "minilm"))
    numbers = [(r.learning_rate, r.temperature, r.epochs, r.batch_size, r.prefix) for r in (e5, gte, minilm)]
    assert numbers == [(2e-6, 0.01, 5, 4, "query: "), (5e-7, 0.1, 8, 2, "query: "), (2e-5, 0.05, 1, 16, "")]
    assert not e5.shuffle
    assert not gte.shuffle
    assert all(r.source and r.part == "both" and r.warmup == 0 for r in (e5, gte, minilm))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temperature": 0.0}, "temperature=0.0"),
        ({"learning_rate": 0.0}, "learning_rate=0.0"),
        ({"epochs": 0}, "epochs=0"),
        ({"batch_size": 2.5}, "batch_size=2.5"),
        ({"warmup": 1.5}, "warmup=1.5"),
        ({"part": "own"}, "unknown part 'own'"),
        ({"epoch": 3}, "did you mean 'epochs'"),
    ],
)
def test_recipes_with_values_out_of_range(changes, message):
    with pytest.raises(ValueError, match=message):
        contrastive.recipe_named("minilm", **changes)


def test_recipes_by_name():
    assert contrastive.recipe_named("minilm", part="in batch").part == "in batch"
    with pytest.raises(ValueError, match="did you mean 'minilm'"):
        contrastive.recipe_named("mini")


# --- what it makes of texts afterwards -------------------------------------------------------------------------------


def test_the_vectors_after_a_training_are_those_of_the_trained_encoder_and_are_kept_where_asked(
    tiny_encoder, trained, tmp_path, monkeypatch
):
    texts = ["red cat", "blue dog"]
    expected = contrastive.encode_with(trained, RECIPE, texts)
    trainings = []
    monkeypatch.setattr(
        encoder,
        "train_encoder",
        lambda *given, train=encoder.train_encoder, **how: trainings.append(1) or train(*given, **how),
    )
    monkeypatch.setenv("EMBEDDING_BOOK_CACHE", str(tmp_path))

    def learned(**changes):
        how = {"recipe": RECIPE, "seed": SEED, "keep": True} | changes
        return contrastive.learned_vectors(tiny_encoder, triplets(), how.pop("texts", texts), **how)

    np.testing.assert_array_equal(learned(keep=False), expected)
    assert not list(tmp_path.rglob("*.npy"))
    np.testing.assert_array_equal(learned(), expected)
    np.testing.assert_array_equal(learned(), expected)
    assert len(trainings) == 2, "the third call reads what the second one kept"
    others = ({"seed": SEED + 1}, {"texts": ["red cat"]}, {"recipe": dataclasses.replace(RECIPE, epochs=1)})
    for changes in others:
        learned(**changes)
    assert len(trainings) == 2 + len(others)
