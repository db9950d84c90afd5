"""Which prompts are sent: drawn from a seed, one at a time, each by its number alone."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import random
from collections.abc import Iterator, Mapping, Sequence

from helpers.synthesis import languages as known_languages
from helpers.synthesis import templates
from helpers.synthesis.taxonomy import TWO_STEP, Group, Value, group_named, published_group_shares

COUNT = 20  # tasks asked for in one brainstorm, as in the paper
Values = Mapping[str, Mapping[str, Sequence[Value]]]


@dataclasses.dataclass(frozen=True)
class Request:
    """One prompt and all that it was made of.

    Attributes:
        id: Seed, number and a checksum of the prompt: the same in every run that asks the same.
        group: Name of the group.
        step: ``brainstorm``, ``write`` (for a given task), or ``both`` (task and example in one step).
        task: The task; None for a brainstorm, for ``both``, and for groups that have none.
        language: Language of the answer; for bitext ``source to target``; None for a brainstorm (English).
        placeholders: What was drawn.
        prompt: What is sent.
        keys: Fields of the answer.
        seed: For the model's own draws, so that equal prompts are answered differently.
    """

    id: str
    group: str
    step: str
    task: str | None
    language: str | None
    placeholders: Mapping[str, Value]
    prompt: str
    keys: tuple[str, ...]
    seed: int

    @property
    def languages(self) -> dict[str, str]:
        """Key -> language that the text under it should be in; nothing for a brainstorm."""
        if "src_lang" in self.placeholders:
            source, target = self.placeholders["src_lang"], self.placeholders["tgt_lang"]
            return dict(zip(self.keys, (source, target, target), strict=True))
        return {key: self.language for key in self.keys if key != "task"} if self.language else {}


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is drawn from.

    Attributes:
        seed: Of all draws.
        tasks: Group -> brainstormed tasks; a two-step group that is missing here is asked in one step.
        groups: Group -> share of the requests.
        languages: Language -> share.
        values: Group -> placeholder -> values, where they should be others than the published ones.

    Raises:
        ValueError: For an unknown group, language or placeholder, shares that are no weights, or an empty list.
    """

    seed: int
    tasks: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    groups: Mapping[str, float] = dataclasses.field(default_factory=published_group_shares)
    languages: Mapping[str, float] = dataclasses.field(default_factory=known_languages.published_shares)
    values: Values = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        known_languages.check_languages(self.languages)
        for what, shares in {"groups": self.groups, "languages": self.languages}.items():
            if not shares or min(shares.values()) < 0 or not sum(shares.values()) > 0:
                raise ValueError(f"{what} should have shares of 0 or more that are not all 0, got {dict(shares)}")
        for name in (*self.groups, *self.tasks):
            group_named(name)
        if "bitext" in self.groups and sum(share > 0 for share in self.languages.values()) < 2:
            raise ValueError(f"bitext needs two languages, got {', '.join(self.languages)}")
        for name, changed in self.values.items():
            _check_values(group_named(name), changed)
        for name, tasks in self.tasks.items():
            if isinstance(tasks, str) or not tasks or not all(isinstance(task, str) and task.strip() for task in tasks):
                raise ValueError(f"tasks[{name!r}] should be a list of texts, none empty, got {tasks!r:.60}")


def requests(plan: Plan, count: int, *, start: int = 0, step: int = 1) -> Iterator[Request]:
    """Yield the requests with the numbers from ``start`` up to ``count``, without holding them.

    Each is drawn from the seed and its number alone. So a run that was stopped goes on at any number, several machines
    share a run by ``start=machine, step=machines``, and the first 100 of 500,000 are the first 100 of 1,000.
    """
    for number in range(start, count, step):
        rng = _generator(plan.seed, number)
        name = _draw(rng, plan.groups)
        tasks = plan.tasks.get(name)
        yield request(plan, name, number, task=rng.choice(tasks) if tasks else None)


def request(
    plan: Plan, group: str, number: int, *, task: str | None = None, given: Mapping[str, Value] | None = None
) -> Request:
    """Return the request of one group, number and task; of a two-step group without a task, one for both steps.

    Args:
        plan: What is drawn from.
        group: Name of the group.
        number: Number of the request.
        task: The brainstormed task.
        given: Placeholders that are not drawn; with all of them, a request is made again from what was filed of it.
    """
    chosen = group_named(group)
    rng = _generator(plan.seed, number, group)
    drawn: dict[str, Value] = {
        name: rng.choice(plan.values.get(group, {}).get(name, values)) for name, values in chosen.values.items()
    }
    drawn |= _drawn_languages(rng, plan.languages, group)
    drawn |= given or {}
    is_both = chosen.steps == 2 and task is None
    keys = ("task", *chosen.keys) if is_both else chosen.keys
    fixed = {"lead": templates.lead(task, chosen.about), "keys": templates.quoted(keys)}
    prompt = templates.fill(templates.WRITE[group], {**drawn, **fixed})
    language = str(drawn["language"]) if group != "bitext" else f"{drawn['src_lang']} to {drawn['tgt_lang']}"
    where = (plan.seed, number)
    return Request(
        _id(*where, prompt), group, "both" if is_both else "write", task, language, drawn, prompt, keys, _own(*where)
    )


def brainstorms(seed: int, count: int, *, groups: Sequence[str] = TWO_STEP, tasks: int = COUNT) -> Iterator[Request]:
    """Yield prompts that ask for lists of tasks, the groups in turn.

    Args:
        seed: Of the model's draws; the prompts of a group are all the same.
        count: How many prompts.
        groups: Groups of two steps.
        tasks: Tasks asked for in each.

    Raises:
        ValueError: For a group of one step, or fewer than one task.
    """
    for name in groups:
        if group_named(name).steps != 2:
            raise ValueError(f"group {name!r} has no tasks to brainstorm; those that have: {', '.join(TWO_STEP)}")
    if tasks < 1:
        raise ValueError(f"tasks={tasks} should be at least 1")
    for number, name in zip(range(count), itertools.cycle(groups), strict=False):
        prompt = templates.fill(templates.BRAINSTORM[name], {"count": tasks})
        where = (seed, number)
        yield Request(
            _id(*where, prompt), name, "brainstorm", None, None, {"count": tasks}, prompt, ("tasks",), _own(*where)
        )


def _check_values(group: Group, changed: Mapping[str, Sequence[Value]]) -> None:
    """Refuse values of placeholders that the group has not."""
    for name, values in changed.items():
        if name not in group.values:
            raise ValueError(f"group {group.name!r} has no placeholder {name!r}; it has {', '.join(group.values)}")
        if isinstance(values, str) or not values:
            raise ValueError(f"values of {name!r} should be a list that is not empty, got {values!r}")


def _drawn_languages(rng: random.Random, shares: Mapping[str, float], group: str) -> dict[str, str]:
    """Draw one language, or two different ones for bitext."""
    first = _draw(rng, shares)
    if group != "bitext":
        return {"language": first}
    others = {name: share for name, share in shares.items() if name != first}
    return {"src_lang": first, "tgt_lang": _draw(rng, others)}


def _draw(rng: random.Random, shares: Mapping[str, float]) -> str:
    return rng.choices(list(shares), weights=list(shares.values()))[0]


def _generator(seed: int, number: int, group: str = "") -> random.Random:
    return random.Random(f"{seed}:{number}:{group}")


def _own(seed: int, number: int) -> int:
    """Return a seed for the model's draws that no other request of the plan is likely to have."""
    return _generator(seed, number, "model").getrandbits(31)


def _id(seed: int, number: int, prompt: str) -> str:
    return f"{seed}-{number:06d}-{hashlib.sha256(prompt.encode()).hexdigest()[:8]}"
