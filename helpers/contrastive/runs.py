"""The folder of a training: what is trained there, its checkpoints, and the model when it is done.

``run.json`` says what is trained, ``checkpoint-N`` is the state after step N, ``final`` the trained model. Each appears
whole or not at all, so that a run may be killed at any moment.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from helpers import files
from helpers.contrastive import processes

if TYPE_CHECKING:
    from torch import nn

logger = logging.getLogger(__name__)

RUN, FINAL, MARK, PART = "run.json", "final", "whole", "final.part"
Trained = TypeVar("Trained")


def carry_out(
    output_dir: str | Path | None,
    *,
    wanted: Callable[[], dict[str, object]],
    resume: bool,
    fit: Callable[[Path, bool], Trained],
    save: Callable[[Trained, Path], None],
    load: Callable[[Path], Trained],
) -> Trained:
    """Train, or go on with a training that was killed, or load what one has left.

    Where several processes train together, all call this, and one of them writes.

    Args:
        output_dir: A folder for this run alone, or None to keep nothing.
        wanted: Returns the run's `identity`.
        resume: See `start`.
        fit: Trains in a folder, from the last checkpoint there; the flag says whether to write checkpoints.
        save: Writes what was trained into an empty folder.
        load: Reads it from there.

    Raises:
        ValueError: As `start`.
    """
    if output_dir is None:
        with tempfile.TemporaryDirectory() as temporary:
            return fit(Path(temporary), False)
    folder = Path(output_dir)
    if processes.is_main():
        start(folder, wanted(), resume=resume)
    processes.wait()
    if (folder / FINAL).is_dir():
        logger.info("%s was trained before", folder.name)
        trained = load(folder / FINAL)
    else:
        trained = fit(folder, True)
        if processes.is_main():
            _keep(folder, trained, save)
        processes.wait()
    if processes.is_main():
        drop_checkpoints(folder)  # some may be left where a run was killed just after it had saved the model
    return trained


def identity(model: nn.Module, columns: dict[str, Sequence[str]], recipe: Any, seed: int) -> dict[str, object]:
    """Return what decides the trained weights: two runs of one identity are the same run."""
    numbers = {key: value for key, value in dataclasses.asdict(recipe).items() if key != "source"}
    texts = json.dumps(columns, ensure_ascii=False).encode("utf-8")
    return {
        "recipe": numbers,
        "rows": hashlib.sha256(texts).hexdigest(),
        "seed": seed,
        "starting weights": weights_checksum(model),
    }


def weights_checksum(model: nn.Module) -> str:
    """Return the SHA-256 of a model's weights, their names and the length that it reads (where it says so)."""
    import torch

    checksum = hashlib.sha256(str(getattr(model, "max_seq_length", None)).encode())
    for name, weight in model.state_dict().items():
        checksum.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        checksum.update(weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return checksum.hexdigest()


def check_numbers(seed: int, save_steps: int | None) -> None:
    """Raise a ValueError for a seed or a number of steps out of range."""
    if not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise ValueError(f"seed={seed!r} should be a whole number from 0 to {2**32 - 1}")
    if save_steps is not None and save_steps < 1:
        raise ValueError(f"save_steps={save_steps} should be at least 1")


def start(folder: Path, wanted: dict[str, object], *, resume: bool) -> None:
    """Make the folder ready for a run: go on with what is there, or begin anew.

    Args:
        folder: Of this run alone.
        wanted: From `identity`.
        resume: Keep what is there. Where False, the checkpoints and the model of the run that is there are deleted.

    Raises:
        ValueError: With ``resume``, for a folder of another run: the message says what differs. For a ``run.json``
            that cannot be read, and for checkpoints without one.
    """
    if (folder / RUN).exists() and not resume:
        clear(folder)
    if (folder / RUN).exists():
        different = [key for key, value in wanted.items() if _read(folder / RUN).get(key) != value]
        if different:
            raise ValueError(
                f"output_dir={folder.name!r} holds another training: {', '.join(different)} differ. Give each training "
                "a folder of its own, or resume=False to delete the one that is there"
            )
        return
    if strangers := [path.name for path in (folder / FINAL, *folder.glob("checkpoint-*")) if path.exists()]:
        raise ValueError(f"output_dir={folder.name!r} has {strangers[0]} but no {RUN} that says what it is")
    files.write_whole(folder / RUN, json.dumps(wanted, indent=1, ensure_ascii=False))


def clear(folder: Path) -> None:
    """Delete the checkpoints and the model of a run, and last the file that says what they were."""
    drop_checkpoints(folder)
    if (folder / FINAL).exists():
        shutil.rmtree(folder / PART, ignore_errors=True)
        (folder / FINAL).rename(folder / PART)  # so that no half of it can be taken for the whole
    shutil.rmtree(folder / PART, ignore_errors=True)
    (folder / RUN).unlink()


def drop_checkpoints(folder: Path) -> None:
    """Delete all checkpoints, the mark first: what is killed half-way is then no checkpoint any more."""
    for path in folder.glob("checkpoint-*"):
        (path / MARK).unlink(missing_ok=True)
        shutil.rmtree(path)


def mark_whole(folder: Path, step: int) -> None:
    """Write the mark that says that a checkpoint was written to its end."""
    files.write_whole(folder / f"checkpoint-{step}" / MARK, "")


def last_checkpoint(folder: Path) -> Path | None:
    """Return the last checkpoint that is whole; those that are not are deleted."""
    whole = {}
    for path in folder.glob("checkpoint-*"):
        if (path / MARK).exists():
            whole[int(path.name.split("-")[1])] = path
        elif processes.is_main():
            logger.warning("%s was not written to its end and is deleted", path.name)
            shutil.rmtree(path, ignore_errors=True)
    return whole[max(whole)] if whole else None


def _keep(folder: Path, trained: Trained, save: Callable[[Trained, Path], None]) -> None:
    """Write what was trained under another name first, so that ``final`` is whole wherever it is."""
    part = folder / PART
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    save(trained, part)
    part.rename(folder / FINAL)


def _read(path: Path) -> dict[str, object]:
    """Read ``run.json``."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{path.name} in {path.parent.name!r} cannot be read ({error}); resume=False begins anew"
        ) from error
