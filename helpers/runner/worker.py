"""The child process that runs one notebook with papermill and tells its parent, line by line, how far it is.

It is started by its path and imports nothing of `helpers`, so that the notebook's own `helpers` come first.
Each line on standard output is one JSON object, whose ``event`` is ``cell``, ``failed`` or ``done``.
The parent holds this process's standard input open; when it closes (the parent was killed), everything here ends.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import traceback
from typing import Any, TextIO

import psutil

# A grammar of internet addresses, which no notebook needs, takes two seconds to load for nbformat's checks.
sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]

import papermill  # noqa: E402
from nbclient.exceptions import DeadKernelError  # noqa: E402
from papermill.engines import NBClientEngine, papermill_engines  # noqa: E402
from papermill.exceptions import PapermillExecutionError  # noqa: E402

ENGINE = "telling"


def main() -> int:
    """Run the notebook named on the command line; 0 when every cell ran, else 1."""
    parser = argparse.ArgumentParser(description="Run one notebook.")
    for name in ("source", "target", "parameters", "cwd"):
        parser.add_argument(name)
    arguments = parser.parse_args()
    channel = _private_output()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    papermill_engines.register(ENGINE, _telling_engine(channel))
    try:
        papermill.execute_notebook(
            arguments.source,
            arguments.target,
            parameters=json.loads(arguments.parameters),
            engine_name=ENGINE,
            kernel_name="python3",
            cwd=arguments.cwd,
            progress_bar=False,
            request_save_on_cell_execute=False,
            autosave_cell_every=0,
        )
    except Exception as error:  # whatever went wrong is the parent's to report
        _tell(channel, event="failed", **_described(error))
        return 1
    _tell(channel, event="done")
    return 0


def _private_output() -> TextIO:
    """Keep standard output for the parent, and send what the kernel prints past its notebook to standard error."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return channel


def _tell(channel: TextIO, **message: Any) -> None:
    channel.write(json.dumps(message) + "\n")
    channel.flush()


def _end_with_parent() -> None:
    """Wait for standard input to close, then end the kernel and this process."""
    while os.read(0, 1):
        pass
    for child in psutil.Process().children(recursive=True):
        try:
            child.kill()
        except psutil.NoSuchProcess:
            continue
    os._exit(1)


def _telling_engine(channel: TextIO) -> type[NBClientEngine]:
    """Return papermill's own engine, made to tell of each cell that starts, numbered as in the source notebook."""

    class TellingEngine(NBClientEngine):
        @classmethod
        def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **options: Any) -> Any:
            own_start = nb_man.cell_start
            injected = [_is_injected(cell) for cell in nb_man.nb.cells]
            total = len(injected) - sum(injected)

            def start(cell: Any, cell_index: int, **rest: Any) -> None:
                number = cell_index + 1 - sum(injected[: cell_index + 1])
                _tell(channel, event="cell", cell=number, total=total, source=cell.source)
                own_start(cell, cell_index, **rest)

            nb_man.cell_start = start
            return super().execute_managed_notebook(nb_man, kernel_name, **options)

    return TellingEngine


def _is_injected(cell: Any) -> bool:
    return "injected-parameters" in cell.metadata.get("tags", [])


def _described(error: Exception) -> dict[str, str]:
    """Return the name, message and traceback of what stopped the notebook."""
    if isinstance(error, PapermillExecutionError):
        return {"error": error.ename, "message": error.evalue, "traceback": "\n".join(error.traceback)}
    if isinstance(error, DeadKernelError):
        return {"error": "dead kernel", "message": "the kernel died while the cell ran", "traceback": ""}
    return {"error": type(error).__name__, "message": str(error), "traceback": traceback.format_exc()}


if __name__ == "__main__":
    sys.exit(main())
