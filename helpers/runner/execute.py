"""Runs chapters, each in a process of its own, and keeps every result that is still good."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import datetime
import json
import os
import platform
import shutil
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from helpers import files, settings
from helpers.runner import keys, results
from helpers.runner.book import Book
from helpers.runner.parameters import Scalar
from helpers.runner.progress import Ticker, clock
from helpers.runner.watch import Limits, Watched, watch

MOST_JOBS = 2
CORES_FOR_TWO = 4
OFFLINE_PROFILES = ("smoke", "laptop")
WORKER = Path(__file__).with_name("worker.py")

Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of one chapter: ``status`` is ``reused``, ``ran`` or ``failed``."""

    chapter: str
    status: str
    failure: results.Failure | None = None


@dataclasses.dataclass(frozen=True)
class Job:
    """One chapter to run, and what is the same for all of a run."""

    book: Book
    chapter: str
    profile: settings.Profile
    parameters: Mapping[str, Scalar]
    threads: int
    stop: threading.Event
    say: Say


def run(
    book: Book,
    parameters: Mapping[str, Mapping[str, Scalar]],
    *,
    profile: settings.Profile,
    force: bool = False,
    jobs: int | None = None,
    say: Say = print,
) -> list[Outcome]:
    """Run chapters; one that fails does not stop the others.

    Args:
        book: The project.
        parameters: Chapter to the values injected into it (see `parameters.for_chapters`).
        profile: The profile; holds the limits of time and memory of a chapter.
        force: Run also what has a good result.
        jobs: Chapters at a time, at most 2; None chooses by the number of cores.
        say: Where lines for the reader go.

    Returns:
        One outcome a chapter, in the order given.

    Raises:
        FileNotFoundError: If a chapter declares a data file that does not exist; nothing has run then.
    """
    parts = {name: keys.explain(book, name, profile, parameters=parameters[name]) for name in parameters}
    waiting = {name: reason_to_run(book, name, profile, parts[name], force=force) for name in parameters}
    for name in [name for name, reason in waiting.items() if reason is None]:
        _reuse(book, name, profile, say)
    due = [name for name, reason in waiting.items() if reason is not None]
    workers = max(1, min(jobs or default_jobs(), MOST_JOBS, len(due)))
    threads, stop = max(1, cores() // workers), threading.Event()
    tasks = [Job(book, name, profile, parameters[name], threads, stop, say) for name in due]
    if tasks:
        _write_kernel(book)
    done = _run_all(tasks, workers, [(parts[job.chapter], waiting[job.chapter]) for job in tasks])
    return [done.get(name, Outcome(name, "reused")) for name in parameters]


def _run_all(tasks: Sequence[Job], workers: int, facts: Sequence[tuple]) -> dict[str, Outcome]:
    """Run jobs, some at a time; an interrupt ends all of them."""
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(_run_one, job, parts, reason) for job, (parts, reason) in zip(tasks, facts, strict=True)]
        try:
            return {job.chapter: future.result() for job, future in zip(tasks, futures, strict=True)}
        except BaseException:
            for job in tasks:
                job.stop.set()
            pool.shutdown(cancel_futures=True)
            raise


def default_jobs() -> int:
    """Return how many chapters run at a time: two need four cores, or they slow each other down."""
    return MOST_JOBS if cores() >= CORES_FOR_TWO else 1


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def reason_to_run(
    book: Book, chapter: str, profile: settings.Profile, parts: dict[str, str], *, force: bool
) -> str | None:
    """Say why a chapter has to run, or None if its result is good."""
    old = results.load(book, profile.name, chapter)
    if old is None:
        return "no result yet"
    if force:
        return "asked for"
    return None if old["key"] == keys.key(parts) else ", ".join(keys.changes(old["parts"], parts))


def _reuse(book: Book, chapter: str, profile: settings.Profile, say: Say) -> None:
    old = results.load(book, profile.name, chapter)
    results.clear_failure(book, profile.name, chapter)
    if old:
        say(f"[{chapter}] reused (ran on {old['started'][:10]} in {clock(old['seconds'])})")


def _run_one(job: Job, parts: dict[str, str], reason: str) -> Outcome:
    """Run one chapter and keep what came of it."""
    job.say(f"[{job.chapter}] runs: {reason}")
    folder = job.book.executed(job.profile.name)
    folder.mkdir(parents=True, exist_ok=True)
    temporary, log = folder / f".{job.chapter}.tmp.ipynb", folder / f"{job.chapter}.log"
    started = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    seen = watch(
        _command(job, temporary),
        environment=_environment(job) | {settings.KEY_VARIABLE: keys.key(parts)},
        log=log,
        limits=Limits(job.profile.minutes, job.profile.memory_mb),
        tell=Ticker(job.chapter, job.say),
        stop=job.stop,
    )
    if seen.problem is not None:
        temporary.unlink(missing_ok=True)
        return _failed(job, seen)
    facts = _facts(job, seen, parts) | {"started": started}
    results.save(job.book, job.profile.name, job.chapter, notebook=temporary, run=facts)
    log.unlink(missing_ok=True)
    job.say(f"[{job.chapter}] done in {clock(seen.seconds)}, peak memory {seen.peak_memory_mb:.0f} MiB")
    return Outcome(job.chapter, "ran")


def _failed(job: Job, seen: Watched) -> Outcome:
    problem = dict(seen.problem or {})
    if problem["error"] == "dead kernel":
        problem["message"] += f" (killed, or out of memory; its peak was {seen.peak_memory_mb:.0f} MiB)"
    failure = results.Failure(
        chapter=job.chapter, cell=seen.cell.get("cell"), source=seen.cell.get("source", ""), **problem
    )
    results.save_failure(job.book, job.profile.name, failure)
    job.say(f"[{job.chapter}] FAILED {failure.summary}")
    return Outcome(job.chapter, "failed", failure)


def _facts(job: Job, seen: Watched, parts: dict[str, str]) -> results.Run:
    """Return what is kept about a run, beside its date."""
    return {
        "key": keys.key(parts),
        "parts": parts,
        "profile": job.profile.name,
        "parameters": dict(job.parameters),
        "seconds": round(seen.seconds, 1),
        "peak_memory_mb": round(seen.peak_memory_mb),
        "python": platform.python_version(),
        "device": _device(),
        "cores": cores(),
        "versions": settings.versions(),
    }


def _device() -> str:
    """Return ``cuda`` or ``cpu``; PyTorch takes seconds to import and is asked only where there is a driver."""
    return settings.device() if shutil.which("nvidia-smi") else "cpu"


def _command(job: Job, target: Path) -> list[str]:
    # -P: the worker's own folder must not come before the standard library.
    places = [str(WORKER), str(job.book.source(job.chapter)), str(target)]
    return [sys.executable, "-P", *places, json.dumps(dict(job.parameters)), str(job.book.root / "notebooks")]


def _environment(job: Job) -> dict[str, str]:
    """Return the child's environment: this Python, this project first, the threads that are its share."""
    root, binaries = str(job.book.root), str(Path(sys.executable).parent)
    environment = dict(os.environ)
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"} if job.profile.name in OFFLINE_PROFILES else {}
    return (
        environment
        | offline
        | {
            "PYTHONPATH": _path_list(root, environment.get("PYTHONPATH")),
            "PATH": _path_list(binaries, environment.get("PATH")),
            "JUPYTER_PATH": _path_list(str(_kernels(job.book)), environment.get("JUPYTER_PATH")),
            settings.RECORDS_VARIABLE: str(job.book.build / "records"),
            "OMP_NUM_THREADS": str(job.threads),
            "TOKENIZERS_PARALLELISM": "false",
            "PYTHONHASHSEED": "0",
            "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        }
    )


def _path_list(first: str, rest: str | None) -> str:
    return os.pathsep.join([first, rest] if rest else [first])


def _kernels(book: Book) -> Path:
    return book.build / "jupyter"


def _write_kernel(book: Book) -> None:
    """Write a kernel named ``python3`` that is this very Python: one of the machine's may be another."""
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    specification = {"argv": command, "display_name": "Python 3", "language": "python"}
    files.write_whole(_kernels(book) / "kernels" / "python3" / "kernel.json", json.dumps(specification))
