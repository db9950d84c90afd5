"""What an answer has to look like: a JSON schema for each request, short enough for the tokens that it may cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from helpers.synthesis import languages
from helpers.synthesis.asking import Request

SLACK = 1.5  # how much longer than expected a text may become
SKELETON = 16  # tokens of braces, quotes and separators, beside those of the keys
LEAST = 8  # characters that a field is left at least

_QUERY = {"less than 5 words": 4, "5 to 15 words": 10, "at least 10 words": 14}
_TEXT = {
    "less than 10 words": 8,
    "at least 10 words": 25,
    "at least 50 words": 75,
    "at least 100 words": 130,
    "at least 200 words": 240,
}
_UNIT = {"phrase": 8, "sentence": 20, "passage": 70}
_TASK, _LABEL, _SHORT = 25, 3, 10


def expected_words(request: Request) -> dict[str, int]:
    """Return about how many words each field of the answer will have."""
    drawn = request.placeholders
    if request.step == "brainstorm":
        return {"tasks": int(drawn["count"]) * _TASK}
    if request.group == "short-long":
        long = int(drawn["num_words"])
        sizes = [_QUERY.get(str(drawn["query_length"]), 14), long, long]
    elif request.group == "long-short":
        sizes = [_TEXT.get(str(drawn["num_words"]), 240), _LABEL, _LABEL]
    elif request.group == "short-short":
        sizes = [_SHORT, _SHORT]
    elif request.group == "long-long":
        sizes = [int(drawn["num_words"])] * 2
    else:
        sizes = [_UNIT.get(str(drawn["unit"]), 70)] * 3
    own = [_TASK] if request.step == "both" else []
    return dict(zip(request.keys, own + sizes, strict=True))


def field_limits(request: Request, *, max_tokens: int | None = None) -> dict[str, int]:
    """Return the most characters of each field (of each task, for a brainstorm).

    Args:
        request: The request.
        max_tokens: Where all fields at their longest might cost more tokens than this, the longest ones are shortened
            until they fit. None lets them be.

    Raises:
        ValueError: For a budget that is too small for any answer.
    """
    count = int(request.placeholders["count"]) if request.step == "brainstorm" else 1
    limits, size = {}, {}
    for key, expected in expected_words(request).items():
        language = request.languages.get(key, "English")
        limits[key] = round(expected / count * SLACK + 5) * languages.word_characters(language)
        size[key] = languages.character_bytes(language)
    if max_tokens is None:
        return limits
    most = _cap([limits[key] * size[key] for key in limits], (max_tokens - _fixed(request)) // count)
    if most < LEAST * max(size.values()):
        raise ValueError(f"max_tokens={max_tokens} is too few for the fields {', '.join(limits)} of {request.group}")
    return {key: min(limit, most // size[key]) for key, limit in limits.items()}


def _cap(costs: Sequence[int], budget: int) -> int:
    """Return the largest number such that costs, none of them counted above it, stay within a budget."""
    left = budget
    for at, cost in enumerate(sorted(costs)):
        share = left // (len(costs) - at)
        if cost > share:
            return share
        left -= cost
    return max(costs)


def json_schema(
    request: Request, *, max_tokens: int | None = None, bounded: bool = True, least: float = 0.0
) -> dict[str, Any]:
    """Return the JSON schema of the answer to a request.

    Args:
        request: The request.
        max_tokens: Most tokens of the answer; see `field_limits`.
        bounded: Say how long strings may be. Some servers refuse that.
        least: Share of the expected length that every string should have at least, 0 to 1. A small model left to
            itself ends most texts after a few words.

    Raises:
        ValueError: For a share out of range; and as `field_limits`.
    """
    if not 0 <= least <= 1:
        raise ValueError(f"least={least} should be from 0 to 1")
    fields: dict[str, Any] = {}
    for key, limit in field_limits(request, max_tokens=max_tokens).items():
        sizes = {"minLength": max(1, int(least * limit / SLACK / 2)), "maxLength": limit} if bounded else {}
        fields[key] = {"type": "string", **sizes}
    if request.step == "brainstorm":
        count = int(request.placeholders["count"])
        items = {"minItems": count, "maxItems": count} if bounded else {}
        fields = {"tasks": {"type": "array", "items": fields["tasks"], **items}}
    return {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}


def token_budget(request: Request) -> int:
    """Return a number of tokens within which the longest answer of the schema ends, for a tokenizer of bytes.

    It is a limit, not what is paid: most words take one or two tokens. It counts a token for each byte of the
    language's letters, so only a text of other, longer signs (such as emoji in English) can run out of it.
    """
    count = int(request.placeholders["count"]) if request.step == "brainstorm" else 1
    cost = sum(
        count * limit * languages.character_bytes(request.languages.get(key, "English"))
        for key, limit in field_limits(request).items()
    )
    return cost + _fixed(request)


def _fixed(request: Request) -> int:
    """Return the tokens of an answer that hold no text."""
    count = int(request.placeholders["count"]) if request.step == "brainstorm" else 0
    return SKELETON + sum(len(key) + 6 for key in request.keys) + 4 * count
