"""What training would change around it and must not: the caller's random numbers, and a quiet screen."""

from __future__ import annotations

import contextlib
import random
import warnings
from collections.abc import Iterator

import numpy as np
import torch


@contextlib.contextmanager
def own_random_numbers() -> Iterator[None]:
    """Give the generators of Python, NumPy and PyTorch back as they were, whatever was seeded and drawn inside."""
    python, numpy = random.getstate(), np.random.get_state()
    devices = list(range(torch.cuda.device_count()))
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


@contextlib.contextmanager
def no_loading_bars() -> Iterator[None]:
    """Keep transformers from showing a progress bar whenever it reads weights."""
    from transformers.utils import logging as transformers_logging

    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


@contextlib.contextmanager
def no_advice_between_libraries() -> Iterator[None]:
    """Keep transformers from telling its users that peft and sentence-transformers use its older names."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*activation_checkpointing", category=FutureWarning)
        yield
