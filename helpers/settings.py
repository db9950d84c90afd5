"""Profiles, seeds, device, precision, versions, and the folders that the book reads and writes."""

from __future__ import annotations

import dataclasses
import difflib
import importlib.metadata
import logging
import os
import platform
import types
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import platformdirs

from helpers.profiles import PROFILES, Profile

logger = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "data"
PROFILE_VARIABLE = "EMBEDDING_BOOK_PROFILE"
CACHE_VARIABLE = "EMBEDDING_BOOK_CACHE"
RECORDS_VARIABLE = "EMBEDDING_BOOK_RECORDS"
KEY_VARIABLE = "EMBEDDING_BOOK_KEY"
REPORTED_PACKAGES = ("torch", "transformers", "sentence-transformers", "scikit-learn", "scipy", "numpy", "datasets")


def profile(name: str = "auto", **overrides: object) -> Profile:
    """Return a profile, with single values replaced where asked.

    Args:
        name: A name of `PROFILES`, or ``auto``: the environment variable EMBEDDING_BOOK_PROFILE where it is set,
            else ``benchmark`` where a GPU is found, else ``laptop``.
        **overrides: Fields of `Profile` to replace.

    Returns:
        The profile; its ``reason`` says why it was chosen, and the choice is logged.

    Raises:
        ValueError: For an unknown profile or field, with the nearest name, or a value of the wrong type.
    """
    reason = "asked for"
    if name == "auto":
        name, reason = _choose()
    if name not in PROFILES:
        raise ValueError(f"unknown profile {name!r}; {nearest(name, [*PROFILES, 'auto'])}")
    fields = {field.name for field in dataclasses.fields(Profile)}
    for key, value in overrides.items():
        if key not in fields:
            raise ValueError(f"unknown profile setting {key!r}; {nearest(key, fields)}")
        _check_type(key, value)
    logger.info("profile %s (%s)", name, reason)
    return dataclasses.replace(PROFILES[name], **{"reason": reason, **overrides})


def _choose() -> tuple[str, str]:
    """Return the automatic profile and the reason for it."""
    if chosen := os.environ.get(PROFILE_VARIABLE):
        return chosen, f"{PROFILE_VARIABLE} is set"
    if device() == "cuda":
        return "benchmark", "a GPU was found"
    return "laptop", "no GPU was found"


def _check_type(key: str, value: object) -> None:
    """Refuse a profile value that does not fit the field's annotation."""
    if not _fits(value, typing.get_type_hints(Profile)[key]):
        raise ValueError(f"profile setting {key}={value!r} should be of type {Profile.__annotations__[key]}")


def _fits(value: object, hint: Any) -> bool:
    """Say whether a value is of an annotated type; whole numbers are floats too, True and False are no numbers."""
    options = typing.get_args(hint)
    if isinstance(hint, types.UnionType):
        return any(_fits(value, option) for option in options)
    if typing.get_origin(hint) is tuple:
        return isinstance(value, tuple) and all(_fits(item, options[0]) for item in value)
    return isinstance(value, (int, float) if hint is float else hint) and (hint is bool or not isinstance(value, bool))


def nearest(name: object, allowed: Iterable[str]) -> str:
    """Say which names are allowed, the nearest first: the tail of every "unknown name" error."""
    names = sorted(allowed)
    close = difflib.get_close_matches(str(name), names, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}allowed: {', '.join(names)}"


def device() -> str:
    """Return ``cuda`` where PyTorch finds a GPU, else ``cpu``."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def has_fast_bfloat16() -> bool:
    """Say whether this machine multiplies bfloat16 matrices in hardware (a GPU that does, or AVX512-BF16 / AMX)."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported()
    return bool(torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported() and _cpu_flag())


def _cpu_flag() -> bool:
    """Look for the processor's bfloat16 instructions; oneDNN also accepts CPUs that only emulate them, slowly."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def precision(wanted: str = "float32") -> str:
    """Turn a profile's precision into the name of a torch dtype.

    ``float32`` is for scores; ``fast`` is bfloat16 where the hardware has the instructions, else float32, because
    emulated bfloat16 is slower than float32 and no more exact.

    Raises:
        ValueError: For any other word than ``float32``, ``bfloat16`` or ``fast``.
    """
    if wanted == "fast":
        return "bfloat16" if has_fast_bfloat16() else "float32"
    if wanted not in ("float32", "bfloat16"):
        raise ValueError(f"unknown precision {wanted!r}; {nearest(wanted, ['float32', 'bfloat16', 'fast'])}")
    return wanted


def cache_folder() -> Path:
    """Return the folder for what can be made again: EMBEDDING_BOOK_CACHE, or the user's cache folder."""
    chosen = os.environ.get(CACHE_VARIABLE)
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("embedding-book"))


def records_folder(profile_name: str) -> Path:
    """Return where a run writes its records: EMBEDDING_BOOK_RECORDS, or ``_build/records``, then the profile's name."""
    chosen = os.environ.get(RECORDS_VARIABLE)
    return (Path(chosen) if chosen else ROOT / "_build" / "records") / profile_name


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that the numbers depend on."""
    found = {"python": platform.python_version()}
    for package in REPORTED_PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found
