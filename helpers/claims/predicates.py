"""Predicates: what a claim says about the numbers in records, as data that is checked when it is read."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence

from helpers import settings

# What each kind of predicate needs to know beside the metric and the sets.
KINDS: dict[str, tuple[str, ...]] = {
    "compare": ("method", "against"),
    "order": ("methods",),
    "equal": ("method", "against", "within"),
    "at_least": ("method", "value"),
    "at_most": ("method", "value"),
    "near": ("method", "value", "within"),
}
_OPTIONAL = ("chapter", "profile", "model", "against_model", "restricted")
_DIRECTIONS = {"higher": (0.0, math.inf), "lower": (-math.inf, 0.0)}
SHARES = ("all", "most", "any")
ALL_SETS = "all"


@dataclasses.dataclass(frozen=True)
class Predicate:
    """A question to the records of one chapter and profile: does a number, or a difference, lie in a range?

    Attributes:
        pairs: Methods asked about, each with the method that it is compared with, or None for its own score.
        accepted: The open range that the claim says, in points.
        metrics: Names of metrics; a set counts once for each that it has.
        datasets: Pairs of set and split; empty for all sets that have what is asked for.
        chapter: Name of the chapter whose records are read.
        profile: Profile of the records.
        model: Title of the model; None where the records of the method have only one.
        against_model: Title of the model on the other side, where it is another one.
        share: ``all``, ``most`` or ``any``: in how many of the sets the claim must be seen.
        restricted: Why sets that were measured are left out; empty where none is.
    """

    pairs: tuple[tuple[str, str | None], ...]
    accepted: tuple[float, float]
    metrics: tuple[str, ...]
    datasets: tuple[tuple[str, str], ...]
    chapter: str
    profile: str
    model: str | None = None
    against_model: str | None = None
    share: str = "all"
    restricted: str = ""


def parse(source: Mapping[str, object], *, chapter: str | None) -> Predicate:
    """Read a predicate from its data, such as ``{compare: {method: …, against: …, …}, expect: higher, in: most}``.

    Args:
        source: One of `KINDS` with its fields; ``in`` (a name of `SHARES`); for ``compare`` also ``expect``.
        chapter: The chapter that is read where the predicate names none.

    Raises:
        ValueError: For an unknown or missing kind, field or value, with what is allowed.
    """
    check_keys(source, (*KINDS, "in", "expect"))
    kinds = [name for name in source if name in KINDS]
    if len(kinds) != 1:
        raise ValueError(f"a predicate has one kind of {', '.join(KINDS)}; this one has {kinds}")
    kind = kinds[0]
    check_keys(source, (kind, "in", "expect") if kind == "compare" else (kind, "in"))
    fields = source[kind]
    needed = (*KINDS[kind], "metric", "datasets")
    check_keys(fields, (*needed, *_OPTIONAL))
    if missing := [name for name in needed if name not in fields]:
        raise ValueError(f"{kind} lacks {', '.join(missing)}")
    expect = _one_of("expect", source.get("expect", "higher"), _DIRECTIONS)
    profile = _one_of("profile", fields.get("profile", "benchmark"), settings.PROFILES)
    where = fields.get("chapter", chapter)
    if not where:
        raise ValueError("a predicate needs a chapter whose records it reads")
    return Predicate(
        pairs=_pairs(kind, fields),
        accepted=_accepted(kind, fields, expect),
        metrics=_texts(fields["metric"]),
        datasets=_places(fields["datasets"]),
        chapter=where,
        profile=profile,
        model=fields.get("model"),
        against_model=fields.get("against_model"),
        share=_one_of("in", source.get("in", "all"), SHARES),
        restricted=fields.get("restricted", ""),
    )


def check_keys(fields: Mapping[str, object], allowed: Sequence[str]) -> None:
    """Raise a ValueError for a key that is not allowed, with the nearest one that is, and for what has no keys."""
    if not isinstance(fields, Mapping):
        raise ValueError(f"{fields!r} should have the keys {', '.join(allowed)}")
    for name in fields:
        if name not in allowed:
            raise ValueError(f"unknown key {name!r}; {settings.nearest(name, allowed)}")


def _one_of(name: str, value: object, allowed: Sequence[str] | Mapping[str, object]) -> str:
    if value not in list(allowed):
        raise ValueError(f"unknown {name} {value!r}; {settings.nearest(value, allowed)}")
    return str(value)


def _texts(value: object) -> tuple[str, ...]:
    """Return one text or a list of texts as a tuple."""
    found = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else ()
    if not found or not all(isinstance(one, str) for one in found):
        raise ValueError(f"{value!r} should be a name or a list of names")
    return found


def _places(value: object) -> tuple[tuple[str, str], ...]:
    """Read sets: ``name`` means its test split, ``name/split`` another one, and ``all`` every set of the records."""
    if value == ALL_SETS:
        return ()
    return tuple((name, split or "test") for name, _, split in (text.partition("/") for text in _texts(value)))


def _pairs(kind: str, fields: Mapping[str, object]) -> tuple[tuple[str, str | None], ...]:
    if kind == "order":
        methods = _texts(fields["methods"])
        if len(methods) < 2:
            raise ValueError(f"an order needs two methods or more, not {methods}")
        return tuple(itertools.pairwise(methods))
    against = _texts(fields["against"])[0] if "against" in KINDS[kind] else None
    return tuple((method, against) for method in _texts(fields["method"]))


def _accepted(kind: str, fields: Mapping[str, object], expect: str) -> tuple[float, float]:
    """Return the range that a kind of predicate accepts."""
    for name in ("value", "within"):
        if name in fields and (isinstance(fields[name], bool) or not isinstance(fields[name], int | float)):
            raise ValueError(f"{name}={fields[name]!r} should be a number")
    value, within = (float(fields.get(name, 0.0)) for name in ("value", "within"))
    if kind in ("equal", "near"):
        return value - within, value + within
    if kind in ("at_least", "at_most"):
        return (value, math.inf) if kind == "at_least" else (-math.inf, value)
    return _DIRECTIONS[expect]
