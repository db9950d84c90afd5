"""Running chapters: reuse, failures, limits, parameters, interrupted runs."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from runner_fixtures import (
    ROOT,
    chapter_cells,
    edit_chapter,
    fake_result,
    make_project,
    smoke,
    stream,
    write_chapter,
)

from helpers import settings
from helpers.runner import execute, keys, parameters, progress, results, watch
from helpers.runner.__main__ import main
from helpers.runner.book import Book, joined, read_notebook

CELL = {"event": "cell", "cell": 3, "total": 9, "source": "x = 1"}


@pytest.fixture
def book(tmp_path: Path) -> Book:
    return make_project(tmp_path)


def run(book: Book, *only: str, profile: settings.Profile | None = None, **options: object) -> dict[str, str]:
    """Run chapters; return the status of each."""
    return {outcome.chapter: outcome.status for outcome in outcomes(book, *only, profile=profile, **options)}


def outcomes(
    book: Book, *only: str, profile: settings.Profile | None = None, **options: object
) -> list[execute.Outcome]:
    profile = profile or smoke()
    values = parameters.for_chapters(book, book.select(only), profile.name, {})
    return execute.run(book, values, profile=profile, **options)


def single(book: Book, *sources: str, profile: settings.Profile | None = None) -> results.Failure:
    """Run one chapter made of these cells, which must fail."""
    write_chapter(book.root, "01_two", chapter_cells(*sources))
    failure = outcomes(book, "01", profile=profile)[0].failure
    assert failure is not None
    return failure


def printed(book: Book, chapter: str, profile: str = "smoke") -> str:
    cells = read_notebook(results.notebook_path(book, profile, chapter))["cells"]
    streams = [output for cell in cells for output in cell.get("outputs", []) if output["output_type"] == "stream"]
    return "".join(joined(output["text"]) for output in streams)


def test_results_are_reused_until_a_helper_changes(book: Book, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(book) == {"00_one": "ran", "01_two": "ran"}
    assert printed(book, "00_one").endswith("alpha says 1\n")
    assert run(book) == {"00_one": "reused", "01_two": "reused"}
    assert "[00_one] reused" in capsys.readouterr().out
    (book.root / "helpers" / "base.py").write_text("VALUE = 5\n")
    assert run(book) == {"00_one": "ran", "01_two": "reused"}
    assert "[00_one] runs: helpers/base.py changed" in capsys.readouterr().out
    assert printed(book, "00_one").endswith("alpha says 5\n")
    edit_chapter(book.root, "00_one", "Some words", "Quite other words")
    assert set(run(book).values()) == {"reused"}


def test_facts_of_a_run_are_kept_and_can_be_committed(book: Book) -> None:
    write_chapter(book.root, "00_one", chapter_cells("pass"))
    run(book, "00")
    facts = results.load(book, "smoke", "00_one")
    assert facts is not None
    assert facts["seconds"] > 0
    assert facts["peak_memory_mb"] > 10
    assert facts["parameters"] == {"profile": "smoke"}
    assert set(facts) >= {"key", "parts", "started", "python", "device", "cores", "versions"}
    assert main(["--root", str(book.root), "remember", "--profile", "smoke"]) == 0
    kept = json.loads(book.runs.read_text())
    assert set(kept) == {"smoke"}
    assert set(kept["smoke"]["00_one"]) == {"seconds", "peak_memory_mb", "date", "cores"}


def test_records_of_runs_that_few_can_repeat_are_committed_too(book: Book) -> None:
    write_chapter(book.root, "00_one", chapter_cells("pass"))
    fake_result(book, "00_one")
    (book.build / "executed" / "smoke").rename(book.build / "executed" / "benchmark")
    for profile in ("smoke", "benchmark"):
        made = book.build / "records" / profile / "00_one.json"
        made.parent.mkdir(parents=True)
        made.write_text("[]")
        assert results.remember(book, profile) == (["00_one"] if profile == "benchmark" else [])
    assert [path.name for path in (book.root / "data" / "records").rglob("*")] == ["benchmark", "00_one.json"]


def install_foreign_kernel(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put another kernel named ``python3`` where the machine's own kernels are looked for."""
    kernel = folder / "jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    specification = {"argv": ["false"], "display_name": "Python 3", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(specification))
    for variable in ("JUPYTER_PATH", "JUPYTER_DATA_DIR"):
        monkeypatch.setenv(variable, str(folder / "jupyter"))


def test_the_kernel_is_this_python_in_the_promised_environment(
    book: Book, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_foreign_kernel(tmp_path, monkeypatch)
    names = ["PYTHONPATH", "EMBEDDING_BOOK_RECORDS", "HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "OMP_NUM_THREADS"]
    names += ["TOKENIZERS_PARALLELISM", "PYTHONHASHSEED", "PATH"]
    source = (
        f"import json, os, sys\nprint(json.dumps([sys.executable, os.getcwd(), {{n: os.environ[n] for n in {names}}}]))"
    )
    write_chapter(book.root, "00_one", chapter_cells(source))
    run(book, "00")
    python, folder, seen = json.loads(printed(book, "00_one"))
    assert python == sys.executable
    assert folder == str(book.root / "notebooks")
    assert seen["PYTHONPATH"].split(os.pathsep)[0] == str(book.root)
    assert seen["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)
    assert seen["EMBEDDING_BOOK_RECORDS"] == str(book.root / "_build" / "records")
    assert (seen["HF_HUB_OFFLINE"], seen["HF_DATASETS_OFFLINE"]) == ("1", "1")
    assert (seen["TOKENIZERS_PARALLELISM"], seen["PYTHONHASHSEED"]) == ("false", "0")
    assert int(seen["OMP_NUM_THREADS"]) == execute.cores()


def test_a_failing_chapter_is_reported_and_the_others_run(book: Book, capsys: pytest.CaptureFixture[str]) -> None:
    fake_result(book, "00_one", stream("older\n"))
    write_chapter(book.root, "00_one", chapter_cells("before = 1", "first = 1\nsecond = 2\nraise KeyError('gone')"))
    assert main(["--root", str(book.root), "execute", "--profile", "smoke"]) == 1
    seen = capsys.readouterr()
    assert "[01_two] done" in seen.out
    # Title, info box, bootstrap, parameters, prose, code, prose, code.
    assert "00_one failed in cell 8: KeyError: 'gone'" in seen.err
    assert "    first = 1" in seen.err
    assert "\x1b[" not in seen.err
    kept = (book.executed("smoke") / "00_one.failed.txt").read_text()
    assert "Traceback" in kept
    assert "raise KeyError" in kept
    assert printed(book, "00_one") == "older\n", "an older result survives a failure"
    write_chapter(book.root, "00_one", chapter_cells("before = 1"))
    fake_result(book, "00_one")
    assert not (book.executed("smoke") / "00_one.failed.txt").exists()


def test_time_limit_ends_a_chapter(book: Book) -> None:
    started = time.monotonic()
    failure = single(book, "import time\ntime.sleep(100)", profile=smoke(minutes=0.03))
    assert time.monotonic() - started < 30
    assert failure.error == "time limit"
    assert failure.message.startswith("the limit is 0.03 min")


def test_memory_limit_ends_a_chapter_and_all_its_processes(book: Book) -> None:
    source = "import os, pathlib, time\npathlib.Path('pid').write_text(str(os.getpid()))\n"
    source += "block = bytearray(400 * 2**20)\nblock[:] = b'1' * len(block)\ntime.sleep(100)"
    failure = single(book, source, profile=smoke(memory_mb=350))
    assert (failure.error, failure.cell) == ("memory limit", 6)
    assert failure.message.startswith("the limit is 350 MiB; ")
    assert "import os, pathlib, time" in failure.report()
    assert _ended(int((book.root / "notebooks" / "pid").read_text()))


def _watched(tmp_path: Path, script: str, *, minutes: float = 1.0) -> watch.Watched:
    """Watch a child process that only talks like a worker."""
    command = [sys.executable, "-c", f"import json, sys, time\nprint(json.dumps({CELL!r}), flush=True)\n{script}"]
    limits, stop = watch.Limits(minutes, 8000), threading.Event()
    log = tmp_path / "log"
    return watch.watch(command, environment=os.environ, log=log, limits=limits, tell=lambda seen: None, stop=stop)


def test_time_limit_knows_the_cell(tmp_path: Path) -> None:
    seen = _watched(tmp_path, "time.sleep(100)", minutes=0.02)
    assert seen.problem is not None
    assert seen.problem["error"] == "time limit"
    assert seen.cell == {"cell": 3, "total": 9, "source": "x = 1"}


def test_a_worker_that_dies_is_reported_with_its_last_words(tmp_path: Path) -> None:
    seen = _watched(tmp_path, "sys.exit('no kernel here')")
    assert seen.problem == {
        "error": "dead worker", "message": "the process ended with status 1", "traceback": "no kernel here",
    }  # fmt: skip


def test_progress_is_told_now_and_then() -> None:
    lines: list[str] = []
    tell = progress.Ticker("00_one", lines.append)
    for seconds in range(60):
        tell(watch.Watched(seconds=seconds, cell={"cell": 17, "total": 44, "source": ""}))
    assert lines[0].startswith("[00_one] cell 17/44 (0:")
    assert 2 <= len(lines) <= 60 / progress.SECONDS_ON_TERMINAL


def test_a_killed_kernel_is_told_as_such(book: Book) -> None:
    failure = single(book, "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    assert (failure.error, failure.cell) == ("dead kernel", 6)
    assert "killed, or out of memory" in failure.message


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("siz=3", r"unknown parameter 'siz' of 00_one; did you mean 'size'\?"),
        ("size=2.5", "parameter size='2.5' of 00_one should be of type int"),
        ("size=True", "parameter size='True' of 00_one should be of type int"),
        ("size=many", "parameter size='many' of 00_one should be of type int"),
        ("rate=fast", "parameter rate='fast' of 00_one should be of type float"),
        ("rate=true", "parameter rate='true' of 00_one should be of type float"),
        ("quick=1", "parameter quick='1' of 00_one should be of type bool"),
        ("profile=paper", "give the profile with --profile"),
        ("size", "not of the form name=value"),
    ],
)
def test_wrong_parameters_are_refused_before_anything_runs(
    book: Book, given: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--root", str(book.root), "execute", "--profile", "smoke", "--set", given]) == 2
    assert not book.build.exists()
    assert re.search(message, capsys.readouterr().err)


def test_parameters_of_the_right_type_are_converted(book: Book) -> None:
    texts = {"size": "3", "rate": "1", "quick": "true"}
    values = parameters.for_chapters(book, ["00_one"], "smoke", texts)["00_one"]
    assert values == {"profile": "smoke", "size": 3, "rate": 1.0, "quick": True}
    assert isinstance(values["rate"], float)


def test_a_chapter_without_the_parameter_is_refused(book: Book) -> None:
    edit_chapter(book.root, "01_two", "rate = 0.5\n", "")
    with pytest.raises(ValueError, match="unknown parameter 'rate' of 01_two"):
        parameters.for_chapters(book, ["00_one", "01_two"], "smoke", {"rate": "1"})


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("a = 1\nb = 2\nc = 3\nd = 4\ne = 5", "has 5 parameters; allowed: 1 to 4"),
        ("a = [1]", r"parameter a=\[1\] of x is no bool, int, float or str"),
        ("a = len('x')", "may only assign literals"),
        ("import os", "line 1 is not of the form name = value"),
    ],
)
def test_a_parameters_cell_holds_few_scalars(source: str, message: str) -> None:
    cell = {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": source}
    with pytest.raises(ValueError, match=message):
        parameters.declared({"cells": [cell]}, "x")
    with pytest.raises(ValueError, match="has 2 cells tagged 'parameters'"):
        parameters.declared({"cells": [cell, cell]}, "x")


def test_set_reaches_the_kernel_and_the_key(book: Book, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--root", str(book.root), "execute", "--profile", "smoke", "--only", "01", "--set", "size=7"]
    assert main(arguments) == 0
    assert printed(book, "01_two") == "beta says 20 size 7\n"
    assert main(arguments) == 0
    assert "[01_two] reused" in capsys.readouterr().out
    profile, values = smoke(), parameters.for_chapters(book, ["01_two"], "smoke", {})
    parts = keys.explain(book, "01_two", profile, parameters=values["01_two"])
    assert keys.key(parts) != results.load(book, "smoke", "01_two")["key"]


def test_an_unknown_chapter_or_profile_is_refused(book: Book, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--root", str(book.root), "execute", "--only", "01_tow"]) == 2
    assert "unknown chapter '01_tow'; did you mean '01_two'?" in capsys.readouterr().err
    assert main(["--root", str(book.root), "execute", "--profile", "smok"]) == 2
    assert "did you mean 'smoke'?" in capsys.readouterr().err


def test_half_a_result_is_no_result(book: Book) -> None:
    fake_result(book, "00_one")
    assert run(book, "00") == {"00_one": "reused"}
    facts = book.executed("smoke") / "00_one.json"
    whole = facts.read_text()
    facts.write_text(whole[:40])
    assert results.load(book, "smoke", "00_one") is None
    facts.write_text(whole)
    results.notebook_path(book, "smoke", "00_one").unlink()
    assert results.load(book, "smoke", "00_one") is None


def test_a_new_notebook_never_stands_beside_old_facts(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_result(book, "00_one")
    new = book.executed("smoke") / "new.ipynb"
    new.write_text("{}")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(results.files, "write_whole", killed)
    with pytest.raises(KeyboardInterrupt):
        results.save(book, "smoke", "00_one", notebook=new, run={"key": "new"})
    assert results.load(book, "smoke", "00_one") is None


@pytest.mark.parametrize("name", ["SIGKILL", "SIGINT"])
def test_a_stopped_run_keeps_finished_chapters_and_leaves_nothing_running(book: Book, name: str) -> None:
    source = "import os, pathlib, time\npathlib.Path('pid').write_text(str(os.getpid()))\ntime.sleep(60 * wait)"
    write_chapter(book.root, "01_two", chapter_cells("wait = 1", source))
    command = [sys.executable, "-m", "helpers.runner", "--root", str(book.root), "execute", "--profile", "smoke"]
    runner = subprocess.Popen([*command, "--jobs", "1"], cwd=ROOT, stdout=subprocess.DEVNULL)
    mark = book.root / "notebooks" / "pid"
    _wait_for(lambda: mark.is_file() and mark.read_text() != "")
    runner.send_signal(getattr(signal, name))
    assert runner.wait() == (130 if name == "SIGINT" else -signal.SIGKILL)
    assert _ended(int(mark.read_text()))
    edit_chapter(book.root, "01_two", "wait = 1", "wait = 0")
    waiting = parameters.for_chapters(book, book.select(), "smoke", {})
    assert results.load(book, "smoke", "01_two") is None
    assert {chapter: reason(book, chapter, values) for chapter, values in waiting.items()} == {
        "00_one": None, "01_two": "no result yet",
    }  # fmt: skip


def reason(book: Book, chapter: str, values: dict[str, object]) -> str | None:
    """Ask why a chapter would run, without running it."""
    parts = keys.explain(book, chapter, smoke(), parameters=values)
    return execute.reason_to_run(book, chapter, smoke(), parts, force=False)


def _ended(pid: int) -> bool:
    """Wait until a process is gone."""
    _wait_for(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    return True


def _wait_for(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)
