"""From a plan to files of examples: asked, journalled, filtered and filed in pieces, so that a run can be stopped.

A folder holds ``run.json`` (what is run), ``answers/`` (the journals), ``rows/`` (the examples, JSON a line),
``toll/`` (what the filters took) and ``seen.sqlite`` (for near-duplicates). One piece of each is in memory at a time.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from helpers import files
from helpers.llm import Journal, Journalled, Order, Replay
from helpers.synthesis import templates
from helpers.synthesis.asking import COUNT, Plan, Request, brainstorms, requests
from helpers.synthesis.duplicates import Seen
from helpers.synthesis.examples import COLUMNS
from helpers.synthesis.filters import Answer, Encode, Toll, sift
from helpers.synthesis.parsing import ParseError, parse_tasks
from helpers.synthesis.schema import json_schema, token_budget
from helpers.synthesis.taxonomy import TWO_STEP

if TYPE_CHECKING:
    import datasets

logger = logging.getLogger(__name__)

BATCH = 32  # answers that are filed together: the most that a killed run asks again


@dataclasses.dataclass(frozen=True)
class Options:
    """How requests are sent and answers filtered.

    Attributes:
        piece: Requests whose answers stand in one file.
        constrained: Send the JSON schema along; False leaves the form to the prompt alone.
        bounded: Say in the schema how long strings may be; some servers refuse that.
        max_tokens: Most tokens of an answer; strings are bounded so that they fit. None allows the longest answer of
            each request's schema, which the window of a small model may not hold.
        least: Share of the expected length that each text must have at least; see `schema.json_schema`.
        threshold: From which likeness on an answer is a near-duplicate.

    Raises:
        ValueError: For a piece without requests.
    """

    piece: int = 1024
    constrained: bool = True
    bounded: bool = True
    max_tokens: int | None = None
    least: float = 0.0
    threshold: float = 0.7

    def __post_init__(self) -> None:
        if self.piece < 1:
            raise ValueError(f"piece={self.piece} should be at least 1")


def order_for(request: Request, options: Options | None = None) -> Order:
    """Return what is sent to a model for a request."""
    how = options or Options()
    budget = token_budget(request)
    budget = budget if how.max_tokens is None else min(budget, how.max_tokens)
    limits = {"max_tokens": how.max_tokens, "bounded": how.bounded, "least": how.least}
    return Order(request.prompt, budget, json_schema(request, **limits) if how.constrained else None, request.seed)


def brainstorm(
    backend: Any,
    count: int,
    *,
    seed: int,
    journal: Journal | None = None,
    groups: Sequence[str] = TWO_STEP,
    tasks: int = COUNT,
    options: Options | None = None,
) -> dict[str, list[str]]:
    """Ask for tasks; return group -> tasks, each once whatever its capitals, in the order in which they came.

    Args:
        backend: What answers: a `LocalModel`, an `OpenAIServer` or a `Replay`.
        count: How many prompts, the groups in turn.
        seed: Of the model's draws.
        journal: Keeps the answers; asking again with it asks only what is not in it.
        groups: Groups of two steps.
        tasks: Tasks asked for in each prompt.
        options: How requests are sent.

    Raises:
        ValueError: Where no answer of a group could be read; and as `brainstorms`.
    """
    found: dict[str, dict[str, str]] = {name: {} for name in groups}
    asked = list(brainstorms(seed, count, groups=groups, tasks=tasks))
    unread = 0
    for answer in _answers(backend, asked, Journal() if journal is None else journal, options or Options()):
        try:
            for task in parse_tasks(answer.written.text):
                found[answer.request.group].setdefault(" ".join(task.split()).casefold(), task)
        except ParseError as error:
            unread += 1
            logger.info("brainstorm %s: %s", answer.request.id, error)
    if unread:
        logger.warning("%d of %d brainstorms could not be read", unread, len(asked))
    for name in {request.group for request in asked}:
        if not found[name]:
            raise ValueError(f"no answer to a brainstorm of {name!r} could be read")
    return {name: list(by_text.values()) for name, by_text in found.items()}


def run(
    backend: Any,
    plan: Plan,
    count: int,
    folder: str | Path,
    *,
    encode: Encode | None = None,
    options: Options | None = None,
    progress: bool = False,
) -> Toll:
    """Ask, filter and file the first ``count`` requests of a plan, going on where an earlier run stopped.

    The rows do not depend on where a run was stopped. A larger ``count`` goes on from a smaller one.

    Args:
        backend: What answers: a `LocalModel`, an `OpenAIServer` or a `Replay`.
        plan: Which requests.
        count: How many of them.
        folder: A folder for this run alone.
        encode: Vectors ``(N, D)`` of texts for the last filter; None leaves it out.
        options: How requests are sent and answers filtered.
        progress: Show a progress bar.

    Returns:
        What the filters took.

    Raises:
        ValueError: For a folder that holds another run.
        AskingError: As the backend; what was answered before is kept.
    """
    how, folder = options or Options(), Path(folder)
    _start(folder, _identity(backend, plan, how, encode is not None))
    toll = Toll()
    with Seen(folder / "seen.sqlite", threshold=how.threshold) as seen, tqdm(
        total=count, unit="request", disable=not progress
    ) as bar:  # fmt: skip
        for number, first in enumerate(range(0, count, how.piece)):
            asked = min(how.piece, count - first)
            piece = _filed_toll(folder, number, asked)
            if piece is None:
                wanted = list(requests(plan, first + asked, start=first))
                journal = Journal(folder / "answers" / f"{number:05d}.jsonl")
                answers = _answers(backend, wanted, journal, how, bar)
                piece = _file(folder, number, answers, backend, seen, encode)
            else:
                bar.update(asked)
            toll.add(piece)
    logger.info("%d of %d answers became examples", toll.kept, count)
    return toll


def load(folder: str | Path) -> datasets.Dataset:
    """Return the examples of a run as a table of texts, with the columns of `examples.COLUMNS` (the seed is a number).

    Raises:
        FileNotFoundError: Where there are none.
    """
    import datasets

    paths = sorted(str(path) for path in (Path(folder) / "rows").glob("*.jsonl") if path.stat().st_size)
    if not paths:
        raise FileNotFoundError(f"there are no examples in the folder {Path(folder).name}")
    kinds = {name: datasets.Value("int64" if name == "seed" else "string") for name in COLUMNS}
    return datasets.load_dataset("json", data_files=paths, split="train", features=datasets.Features(kinds))


def _answers(
    backend: Any, wanted: Sequence[Request], journal: Journal, options: Options, bar: tqdm | None = None
) -> Iterator[Answer]:
    """Yield an answer for each request; each batch is filed before the next is asked."""
    filed = backend if isinstance(backend, Replay) else Journalled(backend, journal)
    for start in range(0, len(wanted), BATCH):
        batch = wanted[start : start + BATCH]
        orders = [order_for(request, options) for request in batch]
        for request, order, written in zip(batch, orders, filed.write(orders), strict=True):
            yield Answer(request, order, written)
        if bar is not None:
            bar.update(len(batch))


def _file(
    folder: Path, number: int, answers: Iterator[Answer], backend: Any, seen: Seen, encode: Encode | None
) -> Toll:  # fmt: skip
    """Filter the answers of one piece and write its rows; the toll is written last and says that the piece is done."""
    kept, _, toll = sift(answers, model=backend.name, revision=backend.revision, seen=seen, encode=encode)
    seen.commit()
    lines = "".join(json.dumps(example.row(), ensure_ascii=False) + "\n" for example in kept)
    files.write_whole(folder / "rows" / f"{number:05d}.jsonl", lines)
    files.write_whole(folder / "toll" / f"{number:05d}.json", json.dumps(toll.as_json()))
    return toll


def _filed_toll(folder: Path, number: int, asked: int) -> Toll | None:
    """Return the toll of a piece that is done, with as many requests as it should have now."""
    path = folder / "toll" / f"{number:05d}.json"
    toll = Toll.from_json(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None
    return toll if toll is not None and sum(toll.asked.values()) == asked else None


def _identity(backend: Any, plan: Plan, options: Options, checked: bool) -> dict[str, Any]:
    """Return all that the rows depend on; long lists as a checksum."""
    texts = json.dumps([templates.WRITE, {name: list(tasks) for name, tasks in plan.tasks.items()}])
    drawn = {"seed": plan.seed, "groups": dict(plan.groups), "languages": dict(plan.languages), "values": plan.values}
    model = {"name": backend.name, "revision": backend.revision, "settings": dict(backend.settings)}
    texts_checksum = hashlib.sha256(texts.encode()).hexdigest()
    parts = {"model": model, "plan": drawn, "texts": texts_checksum, "options": dataclasses.asdict(options)}
    return json.loads(json.dumps({**parts, "checked by an encoder": checked}))


def _start(folder: Path, identity: dict[str, Any]) -> None:
    """Begin a run, or make sure that the folder holds this one."""
    path = folder / "run.json"
    if not path.is_file():
        files.write_whole(path, json.dumps(identity, indent=1))
        return
    held = json.loads(path.read_text(encoding="utf-8"))
    changed = [name for name in identity if held.get(name) != identity[name]]
    if changed:
        raise ValueError(f"the folder {folder.name} holds another run; what differs: {', '.join(changed)}")
