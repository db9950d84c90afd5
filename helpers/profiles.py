"""How much of a chapter runs, and on what: the four profiles, as data."""

from __future__ import annotations

import dataclasses

BOOK_TASKS = (
    "intents", "topics", "entities", "retrieval", "sentiment", "subjectivity", "question-type", "paraphrase",
)  # fmt: skip
PUBLIC_TASKS = (
    "banking77", "stackexchange", "mtop-domain", "fewnerd", "scifact", "mr", "subj", "sst2", "trec", "mrpc",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Profile:
    """How much of a chapter runs, on what, and with how many repetitions.

    Attributes:
        name: ``smoke``, ``laptop``, ``benchmark`` or ``paper``.
        purpose: What the profile is for, in one line (printed in the set-up page).
        decoder: Registry name of the language model (see `helpers.models`).
        encoder: Registry name of the sentence encoder.
        judge: Registry name of the language model that answers questions about texts.
        judge_quantization: How its weights are held (see `models.load_decoder`), or None for the profile's precision.
        recipe: How the encoder is trained on answers (a name of `contrastive.RECIPES`).
        masked_model: Registry name of the masked language model (BERT's full-stop experiment).
        decoders: Registry names of further language models, for questions of scale; those that are at hand are run.
        sts: Registry names of the sentence-similarity sets (see `helpers.datasets`).
        more_sts: Further ones, for the final test of a page about likeness; those that are at hand are run.
        tasks: Registry names of the sets for clustering, retrieval and transfer.
        splits: Splits on which the main results are reported; choices are made on ``validation`` alone.
        rows: Largest number of rows taken from a split, or None for all.
        candidates: Largest number of demonstrations of a kind that a search tries, or None for all.
        search_pairs: Largest number of sentence pairs on which a demonstration is chosen, or None for half of them.
        probe_rows: Largest number of rows for a linear probe, or None for all.
        passages: Largest number of passages to search, the judged ones first, or None for all.
        passage_words: Largest number of words of a passage, or None for all.
        folds: Outer and inner folds of a linear probe.
        seeds: Seeds of whatever is repeated (k-means, sampling).
        training_seeds: Seeds of whatever is trained.
        resamples: Bootstrap resamples of an interval.
        precision: ``float32``, ``bfloat16`` or ``fast`` (bfloat16 where the hardware has the instructions).
        keep_vectors: Keep computed vectors in the cache folder, so that a killed run resumes within a chapter.
        minutes: Time limit of one chapter.
        memory_mb: Memory limit of one chapter, in MiB.
        reason: Why this profile was chosen; filled in by `profile`.
    """

    name: str
    purpose: str
    decoder: str = "smollm2-135m"
    encoder: str = "minilm"
    judge: str = "smollm2-135m"
    judge_quantization: str | None = None
    recipe: str = "minilm"
    masked_model: str | None = None
    decoders: tuple[str, ...] = ()
    sts: tuple[str, ...] = ("book-sts",)
    more_sts: tuple[str, ...] = ()
    tasks: tuple[str, ...] = BOOK_TASKS
    splits: tuple[str, ...] = ("test",)
    rows: int | None = None
    candidates: int | None = None
    search_pairs: int | None = None
    probe_rows: int | None = None
    passages: int | None = None
    passage_words: int | None = None
    folds: int = 5
    seeds: tuple[int, ...] = (100,)
    training_seeds: tuple[int, ...] = (100,)
    resamples: int = 2_000
    precision: str = "float32"
    keep_vectors: bool = False
    minutes: float = 20.0
    memory_mb: int = 8_000
    reason: str = "asked for"


_PUBLIC_STS = ("stsb", "sts12", "sts13", "sts14", "sts15", "sts16", "sickr")
_SMALL_OPT = ("opt-125m", "opt-350m", "opt-1.3b")
_LARGE = ("opt-2.7b", "opt-13b", "opt-30b", "opt-66b", "llama-7b", "llama-13b", "llama-30b", "llama-65b")
_FIVE_SEEDS = (100, 13, 21, 36, 42)

PROFILES: dict[str, Profile] = {
    "smoke": Profile(
        name="smoke",
        purpose="does it run; two dozen texts, results not to be read",
        rows=12,
        candidates=2,
        tasks=("intents", "retrieval", "sentiment", "paraphrase"),
        passage_words=12,
        resamples=200,
        minutes=15.0,
        memory_mb=6_000,
    ),
    "laptop": Profile(
        name="laptop",
        purpose="the book as built: bundled data, packaged models, two cores, no network",
        candidates=16,
        search_pairs=64,
        probe_rows=300,
        passage_words=60,
        seeds=(100, 13, 21),
        training_seeds=(100, 13, 21),
    ),
    "benchmark": Profile(
        name="benchmark",
        purpose="real public data with small models; resumable; its records are committed",
        decoders=_SMALL_OPT,
        sts=("book-sts", "stsb"),
        more_sts=_PUBLIC_STS[1:],
        search_pairs=128,
        tasks=(*BOOK_TASKS, *PUBLIC_TASKS),
        splits=("validation", "test"),
        probe_rows=1_000,
        passages=500,
        passage_words=60,
        keep_vectors=True,
        seeds=_FIVE_SEEDS,
        training_seeds=(100, 13, 21),
        minutes=720.0,
        memory_mb=16_000,
    ),
    "paper": Profile(
        name="paper",
        purpose="the papers' own models and data on a GPU",
        decoder="opt-6.7b",
        decoders=(*_SMALL_OPT, *_LARGE),
        encoder="gte-large",
        judge="starling-lm-7b",
        judge_quantization="int8",
        recipe="gte (EMBwithLLM)",
        masked_model="bert-base-uncased",
        sts=_PUBLIC_STS,
        tasks=(*PUBLIC_TASKS, "cr", "mpqa", "nfcorpus"),
        folds=10,
        seeds=_FIVE_SEEDS,
        training_seeds=(100, 13, 21),
        resamples=10_000,
        precision="fast",
        keep_vectors=True,
        minutes=2_880.0,
        memory_mb=64_000,
    ),
}
