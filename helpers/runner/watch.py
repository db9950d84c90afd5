"""Watches one child process: how far it is, how much memory its tree holds, and whether it must be stopped."""

from __future__ import annotations

import dataclasses
import json
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

SECONDS_BETWEEN_LOOKS = 0.25
MEBIBYTE = 2**20
LOG_LINES = 15

Message = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Limits:
    """What one chapter may use: ``minutes`` of wall time and ``memory_mb`` MiB in its whole process tree."""

    minutes: float
    memory_mb: float


@dataclasses.dataclass
class Watched:
    """What was seen of a child process.

    Attributes:
        seconds: Wall time so far.
        peak_memory_mb: Largest memory of the process tree seen, in MiB.
        cell: The last message about a cell that started, or an empty dict.
        problem: Why it failed (``error``, ``message``, ``traceback``), or None.
        done: Whether it said that every cell ran.
    """

    seconds: float = 0.0
    peak_memory_mb: float = 0.0
    cell: Message = dataclasses.field(default_factory=dict)
    problem: Message | None = None
    done: bool = False


def watch(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    log: Path,
    limits: Limits,
    tell: Callable[[Watched], None],
    stop: threading.Event,
) -> Watched:
    """Run a worker to its end, or end it and its children when it goes past a limit or ``stop`` is set.

    Args:
        command: The worker's command line.
        environment: Its environment.
        log: File for what it writes to standard error.
        limits: Limits of time and memory.
        tell: Called at each look, for progress.
        stop: Set by another thread to end the worker.

    Returns:
        What was seen; exactly one of ``problem`` and ``done`` is set.
    """
    seen = Watched()
    with log.open("wb") as errors:
        # Standard input stays open as long as this process lives: the worker ends when it closes.
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=dict(environment)
        )
        messages = _reader(process)
        try:
            _look_on(process, messages, seen, limits=limits, tell=tell, stop=stop)
        finally:
            _end(process)
    messages.join()
    _take(messages, seen)
    if not seen.done and seen.problem is None:
        seen.problem = _unexplained(process.returncode, log)
    return seen


def _look_on(
    process: subprocess.Popen[bytes],
    messages: _Messages,
    seen: Watched,
    *,
    limits: Limits,
    tell: Callable[[Watched], None],
    stop: threading.Event,
) -> None:
    """Look at a worker again and again, until it ends or there is a problem."""
    started = time.monotonic()
    while process.poll() is None and seen.problem is None:
        time.sleep(SECONDS_BETWEEN_LOOKS)
        seen.seconds = time.monotonic() - started
        seen.peak_memory_mb = max(seen.peak_memory_mb, _memory_mb(process.pid))
        _take(messages, seen)
        seen.problem = seen.problem or _excess(seen, limits, stop)
        tell(seen)


class _Messages(threading.Thread):
    """Reads a worker's standard output, one JSON object a line."""

    def __init__(self, stream: Any) -> None:
        super().__init__(daemon=True)
        self.stream = stream
        self.waiting: queue.SimpleQueue[Message] = queue.SimpleQueue()

    def run(self) -> None:
        for line in self.stream:
            self.waiting.put(json.loads(line))


def _reader(process: subprocess.Popen[bytes]) -> _Messages:
    messages = _Messages(process.stdout)
    messages.start()
    return messages


def _take(messages: _Messages, seen: Watched) -> None:
    """Work through the messages that have come in."""
    while not messages.waiting.empty():
        message = messages.waiting.get()
        event = message.pop("event")
        if event == "cell":
            seen.cell = message
        elif event == "failed":
            seen.problem = seen.problem or message
        else:
            seen.done = True


def _excess(seen: Watched, limits: Limits, stop: threading.Event) -> Message | None:
    """Say which limit was passed, with the limit and what was reached."""
    minutes = seen.seconds / 60
    if stop.is_set():
        return {"error": "interrupted", "message": "the run was stopped", "traceback": ""}
    if minutes > limits.minutes and not seen.done:
        message = f"the limit is {limits.minutes:g} min of wall time; {minutes:.2f} min were reached"
        return {"error": "time limit", "message": message, "traceback": ""}
    if seen.peak_memory_mb > limits.memory_mb:
        message = f"the limit is {limits.memory_mb:g} MiB; {seen.peak_memory_mb:.0f} MiB were reached"
        return {"error": "memory limit", "message": message, "traceback": ""}
    return None


def _unexplained(status: int, log: Path) -> Message:
    """Describe a worker that ended without a word."""
    ending = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:]
    return {"error": "dead worker", "message": f"the process {ending}", "traceback": "\n".join(lines)}


def _tree(pid: int) -> list[psutil.Process]:
    """Return a process and all below it; the kernel is in a session of its own, so a process group is not enough."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _memory_mb(pid: int) -> float:
    total = 0
    for process in _tree(pid):
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total / MEBIBYTE


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a worker and all below it, if they still run."""
    for member in _tree(process.pid) if process.poll() is None else []:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue
    process.wait()
    if process.stdin:
        process.stdin.close()
