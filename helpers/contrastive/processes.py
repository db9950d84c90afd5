"""Training in several processes (``torchrun``, ``accelerate launch``): who writes, and who waits."""

from __future__ import annotations

import os

import torch


def count() -> int:
    """Return how many processes train together, as the launcher says; 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Say whether this is the process that writes files and logs for all."""
    return int(os.environ.get("RANK", "0")) == 0


def join(device: torch.device) -> None:
    """Meet the other processes, so that `wait` works; the trainer uses the same group later."""
    if count() > 1:
        from accelerate import PartialState

        PartialState(cpu=device.type == "cpu")


def wait() -> None:
    """Wait until all processes are here."""
    if count() > 1:
        torch.distributed.barrier()
