"""Demonstrations made of a task itself: two solved examples for each kind of task, written for this book."""

from __future__ import annotations

from helpers import datasets

EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "verdict": (("A warm, funny film that I would see again.", "Positive"), ("Dull from first to last.", "Negative")),
    "tone": (("The hall seats four hundred people.", "Objective"), ("No hall ever sounded lovelier.", "Subjective")),
    "question": (("Who built the first lighthouse.", "Human"), ("How many steps lead up to the tower.", "Number")),
    "message": (("Is the branch open on Saturdays.", "Opening"), ("I would like a green card.", "Design")),
    "title": (("Why does my loaf sink in the oven.", "Baking"), ("Which chess opening suits a beginner.", "Chess")),
    "passage": (("Ice grinds rock to fine flour.", "Glaciers"), ("A vaccine teaches the body.", "Immunity")),
}
# Registry names of the sets that each kind is about; others have no examples.
ABOUT: dict[str, tuple[str, ...]] = {
    "verdict": ("sentiment", "mr", "sst2", "cr", "mpqa"),
    "tone": ("subjectivity", "subj"),
    "question": ("question-type", "trec"),
    "message": ("intents", "banking77"),
    "title": ("topics", "stackexchange"),
    "passage": ("retrieval", "scifact", "nfcorpus"),
}


def of_task(name: str) -> tuple[tuple[str, str], ...]:
    """Return solved examples ``(text, word)`` of the task that a registered set is about; nothing where none exist.

    The words are labels of the task, after the finding that examples with labels help where those about likeness do
    not (arXiv 2307.16645, appendix on transfer tasks).

    Raises:
        ValueError: For a set that the registry does not know.
    """
    datasets.spec(name)
    return next((EXAMPLES[kind] for kind, names in ABOUT.items() if name in names), ())
