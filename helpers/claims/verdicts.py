"""Verdicts: what records say to a predicate, with the numbers behind it as text.

Each set is on the claimed side, on the other side, or open: its 95 % interval lies in the range that the claim accepts,
outside of it, or reaches across the border. Then a claim

* *holds* where the asked share of the sets (all of them, more than half, or one) is on the claimed side;
* *does not hold* where that share is on the other side (for a claim that one set can prove: where all sets are);
* is *undecided* otherwise: where intervals include the border, which for a difference is zero, or where sets disagree;
* was *not run at this scale* where records are missing.

A difference is the paired one that a record keeps. Where no record pairs the two methods, we ask for more: their own
intervals must not overlap.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

from helpers.claims.predicates import Predicate

HOLDS, FAILS, UNDECIDED, NOT_RUN = "holds", "does not hold", "undecided", "not run at this scale"
Place = tuple[str, str, str]  # set, split, metric


@dataclasses.dataclass(frozen=True)
class Part:
    """One number with its 95 % interval: a method's score on a set, or a difference of two methods there.

    Attributes:
        label: Which method, set and metric.
        mean: The number, in points.
        low: Lower end of its interval.
        high: Upper end.
        paired: False for a difference of two scores that no record pairs: its interval reaches from the lowest to the
            highest difference that the two intervals allow. True for all others.
    """

    label: tuple[str, str, str]
    mean: float
    low: float
    high: float
    paired: bool = True

    def side(self, accepted: tuple[float, float]) -> int:
        """Return 1 where the whole interval is in the accepted range, -1 where it is outside, else 0."""
        inside = accepted[0] < self.low and self.high < accepted[1]
        outside = self.high < accepted[0] or accepted[1] < self.low
        return int(inside) - int(outside)


@dataclasses.dataclass(frozen=True)
class Verdict:
    """A verdict (``word``) and the numbers behind it, as text."""

    word: str
    numbers: str


def evaluate(predicate: Predicate, records: Sequence[Mapping]) -> Verdict:
    """Ask the records, by the rules of this module.

    Args:
        predicate: Of `parse`.
        records: Of `records.load`, of any chapters and profiles.

    Raises:
        ValueError: Where a method has records of several models and the predicate names none.
    """
    found = [one for one in records if (one["chapter"], one["profile"]) == (predicate.chapter, predicate.profile)]
    if not found:
        return Verdict(NOT_RUN, f"No records of {predicate.chapter} in the profile {predicate.profile}")
    parts, missing = [], []
    for method, against in predicate.pairs:
        measured = dict(_measure(predicate, found, method, against))
        sets = dict.fromkeys(place[:2] for place in measured)
        wanted = predicate.datasets or sets
        pair = f"{method} against {against}" if against else method
        missing += [f"{pair} on {_set_name(one)}" for one in wanted if one not in sets] or [pair] * (not wanted)
        parts += [part for one in wanted for place, part in measured.items() if place[:2] == one]
    if missing:
        return Verdict(NOT_RUN, f"No record of {', '.join(missing)}")
    return Verdict(_word(predicate, parts), _numbers(predicate, parts))


def _measure(
    predicate: Predicate, records: Sequence[Mapping], method: str, against: str | None
) -> Iterator[tuple[Place, Part]]:
    """Yield (set, split, metric) and its number, for all that the records hold of both methods."""
    other_model = predicate.against_model or predicate.model
    ones = _by_place(predicate, records, method, predicate.model)
    others = _by_place(predicate, records, against, other_model) if against else ones
    for place in (place for place in ones if place in others):
        label = (method if against is None else f"{method} against {against}", _set_name(place), place[2])
        if predicate.against_model:
            label = (f"{method}, {predicate.model} against {predicate.against_model}", *label[1:])
        if against is None:
            yield place, Part(label, ones[place][0]["mean"], *ones[place][0]["ci95"])
        else:
            yield place, _difference(label, ones[place], others[place])


def _by_place(
    predicate: Predicate, records: Sequence[Mapping], method: str, model: str | None
) -> dict[Place, list[Mapping]]:
    """Group a method's records by set, split and metric."""
    chosen = [one for one in records if one["method"] == method and one["metric"] in predicate.metrics]
    chosen = [one for one in chosen if model in (None, one["model"]["id"])]
    if len(models := {one["model"]["id"] for one in chosen}) > 1:
        raise ValueError(f"{method!r} has records of several models; name one of: {', '.join(sorted(models))}")
    found: dict[Place, list[Mapping]] = {}
    for one in chosen:
        found.setdefault((one["dataset"]["name"], one["dataset"]["split"], one["metric"]), []).append(one)
    return found


def _difference(label: Place, ones: Sequence[Mapping], others: Sequence[Mapping]) -> Part:
    """Return the paired difference that a record keeps, from either side, or the widest that two intervals allow."""
    for side, control, sign in ((ones, others[0]["method"], 1), (others, ones[0]["method"], -1)):
        for one in side:
            if one["control"] == control != one["method"] and (pair := one["paired_difference"]):
                low, high = sorted(sign * end for end in pair["ci95"])
                return Part(label, sign * pair["mean"], low, high)
    one, other = ones[0], others[0]
    low, high = one["ci95"][0] - other["ci95"][1], one["ci95"][1] - other["ci95"][0]
    return Part(label, one["mean"] - other["mean"], low, high, paired=False)


def _set_name(place: Sequence[str]) -> str:
    return place[0] if place[1] == "test" else f"{place[0]}/{place[1]}"


def _word(predicate: Predicate, parts: Sequence[Part]) -> str:
    """Count sides and return the verdict's word."""
    sides = [part.side(predicate.accepted) for part in parts]
    needed = {"all": len(sides), "most": len(sides) // 2 + 1, "any": 1}[predicate.share]
    against = len(sides) if predicate.share == "any" else needed
    if sides.count(1) >= needed:
        return HOLDS
    return FAILS if sides.count(-1) >= against else UNDECIDED


def _numbers(predicate: Predicate, parts: Sequence[Part]) -> str:
    """Write the parts, under one heading for each pair of methods."""
    signed = "+" if predicate.pairs[0][1] else ""
    groups: dict[str, list[str]] = {}
    for part in parts:
        method, place, metric = part.label
        interval = f"{part.mean:{signed}.2f} [{part.low:{signed}.2f}, {part.high:{signed}.2f}]"
        note = "" if part.paired else " (not paired)"
        groups.setdefault(f"{method}, {metric}", []).append(f"{place} {interval}{note}")
    return ". ".join(f"{heading}: {'; '.join(values)}" for heading, values in groups.items())
