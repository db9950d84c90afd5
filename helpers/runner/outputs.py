"""Outputs of executed cells, made fit for a page: no progress-bar litter, no paths of a machine, figures with words."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

from helpers.runner.book import Cell, joined

Output = dict[str, Any]
WIDGET = "application/vnd.jupyter.widget-view+json"
IMAGES = ("image/png", "image/jpeg", "image/svg+xml")
_CURSOR = re.compile(r"\x1b\[\d*[ABCDJK]")
_KERNEL_FILE = re.compile(r"\S*ipykernel_\d+/\d+\.py")
_PACKAGE_FILE = re.compile(r"[^\s\"'(<=]*/(?=(?:site|dist)-packages/)")


def cleaned(outputs: list[Output], root: Path, *, where: str) -> list[Output]:
    """Return outputs for a page.

    Neighbouring pieces of one stream are joined, progress bars reduced to their last state, widgets to their text,
    and the project's path is taken out.

    Args:
        outputs: Outputs as the kernel gave them; not changed.
        root: The project's folder.
        where: Chapter and cell, for the error message.

    Raises:
        ValueError: If a path of this machine is left in an output.
    """
    kept = [_tidy(output) for output in _with_joined_streams(outputs)]
    kept = [output for output in kept if output["output_type"] != "stream" or output["text"].strip()]
    return [_without_paths(output, root, where=where) for output in kept]


def _with_joined_streams(outputs: list[Output]) -> list[Output]:
    """Join the pieces in which a stream arrives: a progress bar comes in many."""
    kept: list[Output] = []
    for output in outputs:
        last = kept[-1] if kept else {}
        if output["output_type"] != "stream":
            kept.append(output)
        elif last.get("output_type") == "stream" and last["name"] == output["name"]:
            kept[-1] = last | {"text": last["text"] + joined(output["text"])}
        else:
            kept.append(output | {"text": joined(output["text"])})
    return kept


def _tidy(output: Output) -> Output:
    if output["output_type"] == "stream":
        return output | {"text": final_lines(output["text"])}
    if "data" not in output:
        return output
    data = {mime: content for mime, content in output["data"].items() if mime != WIDGET}
    return output | {"data": data}


def final_lines(text: str) -> str:
    """Return what a terminal would show in the end: what follows a carriage return replaces what was before it."""
    lines = _CURSOR.sub("", text).replace("\r\n", "\n").split("\n")
    return "\n".join(next((part for part in reversed(line.split("\r")) if part.strip()), "") for line in lines)


def _without_paths(output: Output, root: Path, *, where: str) -> Output:
    """Take the paths of this machine out of everything that is text."""
    changed = dict(output)
    for name in ("text", "evalue", "traceback"):
        if name in changed:
            changed[name] = without_paths(
                "\n".join(changed[name]) if name == "traceback" else changed[name], root, where
            )
    if "traceback" in changed:
        changed["traceback"] = changed["traceback"].split("\n")
    if "data" in changed:
        changed["data"] = {
            mime: without_paths(joined(content), root, where) if _is_text(mime, content) else content
            for mime, content in changed["data"].items()
        }
    return changed


def _is_text(mime: str, content: object) -> bool:
    return isinstance(content, str | list) and (mime.startswith("text/") or mime == "image/svg+xml")


def without_paths(text: str, root: Path, where: str) -> str:
    """Shorten the paths of the project, of packages and of the kernel's cells.

    Raises:
        ValueError: If the home folder, the folder for temporary files or the project's folder is still named.
    """
    text = _shortened(text, root)
    if match := _machine_folder(root).search(text):
        raise ValueError(f"{where}: an output names a folder of this machine: {match.group()[:120]!r}")
    return text


def redacted(text: str, root: Path) -> str:
    """Shorten paths as `without_paths` does, and blot out what it would refuse."""
    return _machine_folder(root).sub("…", _shortened(text, root))


def _shortened(text: str, root: Path) -> str:
    text = _PACKAGE_FILE.sub("", _KERNEL_FILE.sub("cell", text))
    return text.replace(f"{root}/", "").replace(str(root), "…")


def _machine_folder(root: Path) -> re.Pattern[str]:
    """Match a path that begins in the home folder, the folder for temporary files or the project."""
    folders = {str(Path.home()), tempfile.gettempdir(), str(root)} - {"/"}
    return re.compile(rf"(?<![\w./])(?:{'|'.join(map(re.escape, sorted(folders)))})(?![\w-])[^\s'\"]*")


def figure_metadata(outputs: list[Output], *, where: str) -> dict[str, Any]:
    """Return the cell metadata by which MyST-NB numbers a cell's figure, captions it and describes it in words.

    Raises:
        ValueError: For an image without alt text, a label without caption, or a figure that is not its cell's only
            rich output: MyST-NB gives label and caption to every one of them.
    """
    rich = [output for output in outputs if output["output_type"] in ("display_data", "execute_result")]
    images = [output for output in rich if any(mime in output["data"] for mime in IMAGES)]
    words = [_words(output) for output in images]
    if any(not str(entry.get("alt", "")).strip() for entry in words):
        raise ValueError(f"{where}: an image has no alt text; show it with helpers.figures.show(…, alt=…)")
    if not words:
        return {}
    if len(images) > 1:
        raise ValueError(f"{where}: one cell may show one figure; this one shows {len(images)}")
    label, caption = words[0].get("label"), words[0].get("caption")
    found: dict[str, Any] = {"image": {"alt": words[0]["alt"]}}
    if bool(label) != bool(caption):
        raise ValueError(f"{where}: a figure needs both label and caption; got {label=}, {caption=}")
    if label and len(rich) > 1:
        raise ValueError(
            f"{where}: a cell with the figure {label!r} may show nothing else; move the rest to its own cell"
        )
    return found | ({"figure": {"name": label, "caption": caption}} if label else {})


def _words(output: Output) -> dict[str, Any]:
    """Return label, caption and alt text of an image, from its own metadata or the output's."""
    metadata = output.get("metadata", {})
    inner = next((metadata[mime] for mime in IMAGES if mime in metadata), {})
    return metadata.get("book") or inner.get("book") or {}


def figure_label(cell: Cell) -> str | None:
    """Return the label of a staged cell's figure."""
    return cell.get("metadata", {}).get("mystnb", {}).get("figure", {}).get("name")
