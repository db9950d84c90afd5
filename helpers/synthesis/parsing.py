"""Reading what a model wrote: JSON and nothing else is read, nothing is ever evaluated."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

_FENCE = re.compile(r"\A\s*```[a-zA-Z]*\s*\n(.*?)\n?\s*```\s*\Z", re.DOTALL)
# What stands for a text that was never written: one of our slots, a note to fill something in, nothing but a bracket.
_SLOT = re.compile(
    r"\{(?:task|about|keys|lead|count|[a-z]+_[a-z]+|language)\}|\[\s*(?:your|insert)\b[^\]]*\]", re.IGNORECASE
)
_BRACKET = re.compile(r"[{<\[][^{<\[\]>}]{0,60}[\]>}]")
_TRIES = 4  # brackets at which an object may begin: words before it may hold some of their own
_NOTHING = frozenset({"", "...", "…", "string", "text", "none", "null", "n/a", "tbd"})


class ParseError(ValueError):
    """An answer that is not what was asked for; the message says why.

    Attributes:
        reason: In a word or two, for counting: ``not JSON``, ``no object``, ``missing key``, ``wrong type``, ``empty``,
            ``placeholder left`` or ``bad characters``.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def parse(text: str, keys: Sequence[str]) -> dict[str, str]:
    """Return the fields of an answer, without white space around them.

    The JSON object may stand in a code fence, or after or before other words: the first one is taken. Keys that were
    not asked for are left out.

    Args:
        text: What the model wrote.
        keys: The fields that it should have.

    Raises:
        ParseError: Where there is no object, a key is missing, or a value is no text, is empty, or is a placeholder.
    """
    found = _object(text)
    for key in keys:
        if key not in found:
            raise ParseError(
                "missing key", f"the answer has no {key!r}; it has {', '.join(map(repr, found)) or 'no keys'}"
            )
    return {key: _text(found[key], key, keys) for key in keys}


def parse_tasks(text: str) -> list[str]:
    """Return the tasks of a brainstorm: the list under ``tasks``, or a list alone; each once, in order.

    Raises:
        ParseError: For another form, or an item that is no text or a placeholder.
    """
    found = _loaded(text, "[" if text.lstrip().startswith("[") else "{")
    if isinstance(found, dict):
        if "tasks" not in found:
            raise ParseError(
                "missing key", f"the answer has no 'tasks'; it has {', '.join(map(repr, found)) or 'no keys'}"
            )
        found = found["tasks"]
    if not isinstance(found, list):
        raise ParseError("wrong type", f"the tasks should be a list, got {type(found).__name__}")
    tasks = [_text(task, f"task {number}", ()) for number, task in enumerate(found)]
    if not tasks:
        raise ParseError("empty", "the list of tasks is empty")
    return list(dict.fromkeys(tasks))


def _missing(key: str, found: dict[str, Any]) -> ParseError:
    return ParseError("missing key", f"the answer has no {key!r}; it has {', '.join(map(repr, found)) or 'no keys'}")


def _object(text: str) -> dict[str, Any]:
    found = _loaded(text, "{")
    if not isinstance(found, dict):
        raise ParseError("no object", f"the answer should be a JSON object, got {type(found).__name__}")
    return found


def _loaded(text: str, opening: str) -> Any:
    """Read the first JSON value that begins with a bracket."""
    if not isinstance(text, str):
        raise ValueError(f"an answer should be a text, got {text!r:.60} of type {type(text).__name__}")
    fenced = _FENCE.match(text)
    inner = fenced[1] if fenced else text
    starts = [at for at, sign in enumerate(inner) if sign == opening][:_TRIES]
    if not starts:
        raise ParseError("no object", f"there is no JSON object in {text[:60]!r}")
    problems = []
    for start in starts:
        try:
            return json.JSONDecoder(strict=False).raw_decode(inner, start)[0]
        except (ValueError, RecursionError) as error:  # a ValueError also for a number of thousands of digits
            problems.append(f"not JSON ({error}): {inner[start : start + 60]!r}")
    raise ParseError("not JSON", problems[0])


def _text(value: object, name: str, keys: Sequence[str]) -> str:
    """Return a value that is a text with something in it."""
    if not isinstance(value, str):
        raise ParseError("wrong type", f"{name!r} should be a text, got {type(value).__name__}: {value!r:.60}")
    stripped = value.strip()
    if not stripped:
        raise ParseError("empty", f"{name!r} is empty")
    is_bare = stripped.casefold() in _NOTHING or stripped in keys or _BRACKET.fullmatch(stripped)
    if is_bare or _SLOT.search(stripped):
        raise ParseError("placeholder left", f"{name!r} holds a placeholder: {stripped[:60]!r}")
    try:
        stripped.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ParseError("bad characters", f"{name!r} holds half of a character: {error}") from error
    return stripped
