"""The six groups of tasks of synthetic data, as data: what is asked for, in how many steps, and what becomes of it.

Source: arXiv 2401.00368, figure 1, section 3 and appendix C. Values of placeholders are the published ones.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

from helpers import settings

Value = str | int | float

_CLARITY = ("clear", "understandable with some effort", "ambiguous")
_UNIT = ("sentence", "phrase", "passage")
_HIGH = (4, 4.5, 5)


@dataclasses.dataclass(frozen=True)
class Group:
    """One group of tasks.

    Attributes:
        name: Its name: the lengths of anchor and positive, or what it is.
        about: What a task of this group is, in one clause (part of the prompts).
        steps: 2 where tasks are brainstormed before examples are written, else 1.
        keys: The fields of an answer, in order.
        values: Placeholder -> published values; each request draws one of each, all equally likely.
        thousands: Examples of the group in the published set, in thousands.
        instruction: What every anchor's instruction is; None where it is the brainstormed task.
    """

    name: str
    about: str
    steps: int
    keys: tuple[str, ...]
    values: Mapping[str, tuple[Value, ...]]
    thousands: int
    instruction: str | None = None

    @property
    def anchor(self) -> str:
        """The key of the text that a row begins with."""
        return self.keys[0]

    @property
    def positive(self) -> str:
        """The key of the text that goes with it."""
        return self.keys[1]

    @property
    def negative(self) -> str | None:
        """The key of the hard negative; None where the group has none."""
        return self.keys[2] if len(self.keys) > 2 else None


GROUPS: dict[str, Group] = {
    group.name: group
    for group in (
        Group(
            "short-long",
            "somebody types a short query and wants longer documents that answer it",
            2,
            ("user_query", "positive_document", "hard_negative_document"),
            {
                "query_type": ("extremely long-tail", "long-tail", "common"),
                "query_length": ("less than 5 words", "5 to 15 words", "at least 10 words"),
                "difficulty": ("high school", "college", "PhD"),
                "clarity": _CLARITY,
                "num_words": (50, 100, 200, 300, 400, 500),
            },
            167,
        ),
        Group(
            "long-short",
            "a text is put into one of several classes",
            2,
            ("input_text", "label", "misleading_label"),
            {
                "num_words": (
                    "less than 10 words",
                    "at least 10 words",
                    "at least 50 words",
                    "at least 100 words",
                    "at least 200 words",
                ),
                "difficulty": ("high school", "college", "PhD"),
                "clarity": _CLARITY,
            },
            122,
        ),
        Group(
            "short-short",
            "a short text is matched with another short text",
            2,
            ("input", "positive_document"),
            {},
            13,
        ),
        Group(
            "long-long",
            "a long text is matched with another long text",
            2,
            ("input", "positive_document"),
            {"num_words": (300,)},
            17,
        ),
        Group(
            "sts",
            "texts of one language are alike in meaning, more or less",
            1,
            ("S1", "S2", "S3"),
            {
                "unit": _UNIT,
                "high_score": _HIGH,
                "low_score": (2.5, 3, 3.5),
                "difficulty": ("elementary school", "high school", "college"),
            },
            99,
            "Retrieve semantically similar text.",
        ),
        Group(
            "bitext",
            "a text is matched with its translation",
            1,
            ("S1", "S2", "S3"),
            {
                "unit": _UNIT,
                "high_score": _HIGH,
                "low_score": (1.5, 2, 2.5),
                "difficulty": ("elementary school", "high school", "college"),
            },
            89,
            "Retrieve parallel sentences.",
        ),
    )
}
TWO_STEP = tuple(name for name, group in GROUPS.items() if group.steps == 2)


def group_named(name: str) -> Group:
    """Return a group, or raise a ValueError with the nearest name."""
    if name not in GROUPS:
        raise ValueError(f"unknown group {name!r}; {settings.nearest(name, GROUPS)}")
    return GROUPS[name]


def published_group_shares(names: Iterable[str] = tuple(GROUPS)) -> dict[str, float]:
    """Return the share of each group in the published set, among the named ones; they add up to 1."""
    thousands = {name: group_named(name).thousands for name in names}
    return {name: count / sum(thousands.values()) for name, count in thousands.items()}
