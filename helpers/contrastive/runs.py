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
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from helpers import files
from helpers.contrastive.recipes import Recipe

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

logger = logging.getLogger(__name__)

RUN, FINAL, MARK, PART = "run.json", "final", "whole", "final.part"


def identity(
    model: SentenceTransformer, columns: dict[str, Sequence[str]], recipe: Recipe, seed: int
) -> dict[str, object]:
    """Return what decides the trained weights: two runs of one identity are the same run."""
    numbers = {key: value for key, value in dataclasses.asdict(recipe).items() if key != "source"}
    texts = json.dumps(columns, ensure_ascii=False).encode("utf-8")
    return {
        "recipe": numbers,
        "rows": hashlib.sha256(texts).hexdigest(),
        "seed": seed,
        "starting weights": weights_checksum(model),
    }


def weights_checksum(model: SentenceTransformer) -> str:
    """Return the SHA-256 of a model's weights, their names and the length that it reads."""
    import torch

    checksum = hashlib.sha256(str(model.max_seq_length).encode())
    for name, weight in model.state_dict().items():
        checksum.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        checksum.update(weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return checksum.hexdigest()


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
        else:
            logger.warning("%s was not written to its end and is deleted", path.name)
            shutil.rmtree(path)
    return whole[max(whole)] if whole else None


def keep(folder: Path, model: SentenceTransformer, recipe: Recipe, rows: int, seed: int) -> Path:
    """Save the trained model as a stock sentence-transformers folder with a card, and drop the checkpoints."""
    part = folder / PART
    shutil.rmtree(part, ignore_errors=True)
    model.save_pretrained(str(part), create_model_card=False)
    files.write_whole(part / "README.md", card(recipe, rows, seed))
    part.rename(folder / FINAL)
    drop_checkpoints(folder)
    return folder / FINAL


def card(recipe: Recipe, rows: int, seed: int) -> str:
    """Return the model card: how it was trained and how it is used, without a training text or a path."""
    lines = [f"| {key} | `{value!r}` |" for key, value in dataclasses.asdict(recipe).items() if key != "source"]
    front = "library_name: sentence-transformers\npipeline_tag: sentence-similarity"
    return (
        f"---\n{front}\ntags: [sentence-transformers, feature-extraction, sentence-similarity]\n---\n\n"
        f"# A sentence encoder, trained on {rows} triplets\n\n"
        "Fine-tuned on answers to triplet questions (which of two texts goes with the query?) with ClusterLLM's loss.\n"
        f"Put the prefix `{recipe.prefix!r}` before every text.\n\n"
        f"| setting | value |\n|---|---|\n| seed | `{seed}` |\n" + "\n".join(lines) + "\n\n"
        f"Numbers of the recipe: {recipe.source or 'chosen by hand'}.\n"
    )


def _read(path: Path) -> dict[str, object]:
    """Read ``run.json``."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{path.name} in {path.parent.name!r} cannot be read ({error}); resume=False begins anew"
        ) from error
