"""Training in two processes is training in one; and the launchers' configurations are what the launchers read."""

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest
import torch
import two_processes
import yaml
from conftest import ROOT
from sentence_transformers import SentenceTransformer
from tiny_decoders import byte_llama, byte_tokenizer, triplets

from helpers import contrastive, models
from helpers.contrastive import __main__ as command_line
from helpers.contrastive import processes

TEXTS = ["red 1", "a horse on the hill", "cat"]


@pytest.fixture(scope="module")
def mirror(tmp_path_factory):
    """A mirror folder that holds a tiny decoder under a name of the registry, and rows in a file."""
    folder = tmp_path_factory.mktemp("place")
    model = folder / "models" / "facebook" / "opt-125m"
    byte_llama().save_pretrained(model)
    byte_tokenizer().save_pretrained(model)
    rows = "\n".join(json.dumps(row) for row in triplets())
    (folder / "rows.jsonl").write_text(rows + "\n")
    return folder


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture(scope="module")
def both(mirror):
    """Run `two_processes` in two processes; return their gradients."""
    paths = [str(ROOT), str(ROOT / "tests"), os.environ["PYTHONPATH"]]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1", models.MIRROR_VARIABLE: str(mirror),
    }  # fmt: skip
    launch = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_addr", "127.0.0.1"]
    command = [sys.executable, *launch, "--master_port", str(free_port()), two_processes.__file__, str(mirror)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return torch.load(mirror / "gradients.pt")


def test_two_processes_have_the_gradient_of_one_with_the_whole_batch(both):
    alone = two_processes.gradients(triplets(8))
    for way, (loss, gradient) in alone.items():
        assert both[way][0] == pytest.approx(loss, abs=1e-5), way
        assert ((both[way][1] - gradient).norm() / gradient.norm()).item() < 1e-5, way
    half = two_processes.gradients(triplets(8)[:4] * 2)["whole"][1]
    assert ((half - alone["whole"][1]).norm() / half.norm()).item() > 0.1, "another batch has another gradient"


def test_the_command_line_trains_the_same_in_two_processes_and_exports_once(both, mirror, monkeypatch):
    monkeypatch.setenv(models.MIRROR_VARIABLE, str(mirror))
    trained = command_line.main(two_processes.command(mirror, "one"))
    log = json.loads((mirror / "two" / "run" / "final" / "log.json").read_text())
    assert log["losses"] == pytest.approx(trained.losses, abs=1e-3)
    folders = [SentenceTransformer(str(mirror / name / "encoder"), device="cpu") for name in ("one", "two")]
    one, two = (encoder.encode(TEXTS, show_progress_bar=False) for encoder in folders)
    np.testing.assert_allclose(one, trained.encoder.encode(TEXTS), atol=1e-5 * np.abs(one).max())
    np.testing.assert_allclose(one, two, atol=1e-3 * np.abs(one).max())
    assert folders[1][0].model.config.is_causal is False
    assert sorted(path.name for path in (mirror / "two" / "run").iterdir()) == ["final", "run.json"]


def test_the_command_line_says_what_is_wrong(mirror, monkeypatch, capsys):
    monkeypatch.setenv(models.MIRROR_VARIABLE, str(mirror))
    good = two_processes.command(mirror, "wrong")
    (mirror / "broken.json").write_text('{"anchor": ')
    (mirror / "wrong.json").write_text('{"anchor": "red"}')
    changes = [
        ("PromptEOL CSE (laptop)", "PromptEOL", "unknown recipe 'PromptEOL'"),
        ("opt-125m", "opt-125", "did you mean 'opt-125m'"),
        (str(mirror / "rows.jsonl"), str(mirror / "none.jsonl"), "No such file"),
        (str(mirror / "rows.jsonl"), str(mirror / "broken.json"), "broken.json cannot be read as JSON"),
        (str(mirror / "rows.jsonl"), str(mirror / "wrong.json"), "should hold a list of objects"),
        (str(mirror / "rows.jsonl"), "nly", "did you mean 'nli'"),
        ("steps=5", "step=5", "did you mean 'steps'"),
        ("steps=5", "steps", "should be NAME=VALUE"),
        ("steps=5", "steps=x", "steps='x' should be a whole number"),
        ("batch_size=4", "batch_size=100", "18 rows do not fill one batch"),
    ]
    for old, new, message in changes:
        with pytest.raises(SystemExit):
            command_line.main([new if part == old else part for part in good])
        assert message in capsys.readouterr().err


def test_a_batch_that_cannot_be_shared_is_refused(monkeypatch):
    from helpers.contrastive import decoder_trainer

    monkeypatch.setenv("WORLD_SIZE", "3")
    assert processes.count() == 3
    with pytest.raises(ValueError, match="batch_size=8 cannot be shared evenly by 3 processes"):
        decoder_trainer._share_of_batch(two_processes.RECIPE)
    monkeypatch.delenv("WORLD_SIZE")
    assert processes.count() == 1
    assert processes.is_main()


def test_rows_of_the_book_are_read_by_name():
    rows = command_line.read_triplets("nli", 5)
    assert len(rows) == 5
    assert {"anchor", "positive", "negative"} <= set(rows[0])
    recipe = contrastive.decoder_recipe(
        "PromptEOL CSE (laptop)", **command_line.read_settings(["steps=3", "pooling=mean"])
    )
    assert (recipe.steps, recipe.pooling) == (3, "mean")


# --- configurations --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "kind"), [("fsdp.yaml", "FSDP"), ("zero3.yaml", "DEEPSPEED")])
def test_accelerate_reads_the_configurations(name, kind):
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(ROOT / "configs" / name))
    assert config.distributed_type == kind
    assert config.num_processes == 8
    command = (ROOT / "configs" / name).read_text()
    assert f"accelerate launch --config_file configs/{name} -m helpers.contrastive" in command


def test_the_options_of_fsdp_are_those_that_accelerate_knows():
    import yaml
    from accelerate.utils import FullyShardedDataParallelPlugin

    options = yaml.safe_load((ROOT / "configs" / "fsdp.yaml").read_text())["fsdp_config"]
    known = set(FullyShardedDataParallelPlugin.__dataclass_fields__)
    wrapped = {"transformer_layer_cls_to_wrap": "transformer_cls_names_to_wrap", "offload_params": "cpu_offload"}
    names = [key.removeprefix("fsdp_") for key in options if key != "fsdp_version"]
    assert {wrapped.get(name, name) for name in names} <= known
    assert options["fsdp_version"] == 2
    assert "fsdp_version" in known


def test_zero_stage_three_leaves_sizes_to_the_trainer():
    options = json.loads((ROOT / "configs" / "zero3.json").read_text())
    assert options["zero_optimization"]["stage"] == 3
    assert options["zero_optimization"]["stage3_gather_16bit_weights_on_model_save"] is True
    assert {options[key] for key in ("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_clipping")} == {
        "auto"
    }
    launch = yaml.safe_load((ROOT / "configs" / "zero3.yaml").read_text())
    assert (ROOT / launch["deepspeed_config"]["deepspeed_config_file"]).is_file()
