"""Answers that others have recorded, read as a journal."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

from helpers.llm.journal import Journal, answer_key

RECORDED_MODEL = "berkeley-nest/Starling-LM-7B-alpha"
RECORDED_REVISION = "recorded by EMBwithLLM at c6f61d3"
RECORDED_SETTINGS = {"temperature": 0.1, "bits": 8}
RECORDED_TOKENS = 20
_TRIPLET = re.compile(r"Query: (.*?)\nChoice 1: (.*?)\nChoice 2: (.*)\nChoice", re.DOTALL)


def from_recorded(path: str | Path, *, prompt: Callable[[str, str, str], str] | None = None) -> Journal:
    """Return the answers of a file of EMBwithLLM's ``predicted_triplet_results`` as a journal in memory.

    The file is only read. The model's settings are those of the repository's code (section "predict_triplet"): at
    most 20 tokens, temperature 0.1, weights in 8 bit.

    Args:
        path: The JSON file: a list of objects with ``input``, ``prepared`` and ``content``.
        prompt: Makes of query, choice 1 and choice 2 the prompt under which the answer is filed; so `Replay` answers
            when the same triplet is asked in our words. None files it under the words in which it was asked.

    Raises:
        FileNotFoundError: Where there is no such file.
        ValueError: For a file that is not such a list, or a row that has another form, with its number from 1.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path.name} of recorded answers")
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path.name} is not a JSON file: {error}") from error
    if not isinstance(rows, list):
        raise ValueError(f"{path.name} should hold a list of answers, got {type(rows).__name__}")
    journal = Journal()
    journal.put_all([_entry(row, f"{path.name}, row {number},", prompt) for number, row in enumerate(rows, start=1)])
    return journal


def _entry(row: object, where: str, prompt: Callable[[str, str, str], str] | None) -> tuple[str, str, dict]:
    """Return key, answer and facts of one recorded row."""
    fields = row if isinstance(row, dict) else {}
    texts = {name: fields.get(name) for name in ("input", "prepared", "content")}
    wrong = [name for name, text in texts.items() if not isinstance(text, str)]
    if wrong:
        raise ValueError(f"{where} has no text under {wrong[0]!r}")
    found = _TRIPLET.fullmatch(texts["input"])
    if found is None:
        raise ValueError(f"{where} is not a query with two choices: {texts['input'][:60]!r}")
    facts = {
        "kind": "reply",
        "model": RECORDED_MODEL,
        "revision": RECORDED_REVISION,
        "settings": RECORDED_SETTINGS,
        "parameters": {"max_tokens": RECORDED_TOKENS},
    }
    key = answer_key(
        model=RECORDED_MODEL,
        revision=RECORDED_REVISION,
        kind="reply",
        parameters=RECORDED_SETTINGS | facts["parameters"],
        text=prompt(*found.groups()) if prompt else texts["prepared"],
    )
    return key, texts["content"], facts
