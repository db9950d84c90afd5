"""What ships with the book under ``data/``; each set has a card there."""

from __future__ import annotations

from helpers.datasets.spec import DatasetSpec


def _own(name: str, title: str, task: str, sha256: dict[str, str], **options: object) -> DatasetSpec:
    """Describe one of the book's own sets; its folder has its name, its rows are written beside its checksums."""
    folder = options.pop("folder", name)
    return DatasetSpec(name, title, task, options.pop("rows"), "CC BY 4.0", "", "1", folder=folder, sha256=sha256,
                       default_split=options.pop("default_split", "test"), **options)  # fmt: skip


BUNDLED = (
    _own("book-sts", "The book's own STS pairs", "sts",
         {"validation": "1d357c1cc4b65ab82d5e2a23d66dd1378b744c3b65b2968a5f882304f68ba449",
          "test": "126281ca99c6251b6ea539a156c861d02931cf07ff5968d937155d7241800a11"},
         rows={"validation": 250, "test": 250}, folder="sts", extra=("genre", "kind")),
    _own("book-sts-plain", "The book's own STS pairs, without the hard ones", "sts",
         {"validation": "1d357c1cc4b65ab82d5e2a23d66dd1378b744c3b65b2968a5f882304f68ba449",
          "test": "126281ca99c6251b6ea539a156c861d02931cf07ff5968d937155d7241800a11"},
         rows={"validation": 164, "test": 153}, folder="sts", extra=("genre", "kind"), only=("kind", "plain")),
    _own("intents", "Intents of a bank's help line", "clustering",
         {"test": "6be65d66bab7cb010109aab5450b161ad06e4d37e13b61e05b4c3c76ca92eb2e"},
         rows={"test": 600}),
    _own("topics", "Titles on question forums", "clustering",
         {"test": "85eb1748f8453e9a5a347ef9f8e38829ce30e5b00402ee3d2fbe080884269d93"},
         rows={"test": 400}),
    _own("entities", "Types of named entities", "clustering",
         {"test": "ec72df62713da1c848e2b3b4a2b3e00f22ac5d79eb195278e9f013dd3207fb55"},
         rows={"test": 300}, extra=("entity",)),
    _own("retrieval", "Passages, queries and judgements", "retrieval",
         {"corpus": "aaf1db0392e978fad8ac0f5121b4cec64c3d4dbe69f7cb6194671de2b5cf1304",
          "queries": "09cdec57e9adf2cfda84063c114e9efb65aab51fcc1a62d25256bd8106db460e",
          "test": "4a0b2311f5e49f0bd07c55b22afc6da67d600e363f8703becae77be18aede600"},
         rows={"corpus": 240, "queries": 160, "test": 919}, score_range=(0, 2)),
    _own("sentiment", "Verdicts of reviews", "classification",
         {"test": "7d12c4e94a26ca51fd9ecd7c5481a7449b4629dd29837b115635b9faa45afebc"},
         rows={"test": 450}),
    _own("subjectivity", "Reports and judgements", "classification",
         {"test": "72613adaf30597756f040635a912df4d536fda8a9f248b5cc392838691bcd054"},
         rows={"test": 300}),
    _own("question-type", "What a question asks for", "classification",
         {"test": "f06e565cd01179bc9f87de85c540717c874b2a815fe14bbfa946ff0fb59047ab"},
         rows={"test": 300}),
    _own("paraphrase", "Pairs that say the same, or nearly", "pair classification",
         {"test": "56ed0dc560f866d03bb4f555c476b0c1895f6734bd86da435051613f7e567575"},
         rows={"test": 200}),
    _own("nli", "Entailed and contradicted sentences", "triplets",
         {"train": "976b87f275b004c15df95317f19a8df70f0eefd122954243f1e850a564ec904a"},
         rows={"train": 600}, default_split="train"),
    _own("definitions", "Words and their definitions", "definitions",
         {"words": "6c517cd3064f2c6c5ad2676ede640cc968b7a1b48eec42ffa81dde1f67e852ac"},
         rows={"words": 200}, default_split="words"),
    _own("sentence-words", "Sentences and one word for each", "sentence words",
         {"sentences": "d9d1440c5943262cf6536d85624286456ce84e8eafa0b6d20d50f03644a68188"},
         rows={"sentences": 100}, folder="definitions", default_split="sentences"),
    _own("tagged", "Words and their parts of speech", "word tags",
         {"sentences": "24ee1a5eeeb52bc477541f02b393084e90280fde154ec1190ca366946d8d8df6"},
         rows={"sentences": 274}, default_split="sentences"),
    _own("synthetic", "Written examples with instructions", "instructed pairs",
         {"train": "4bb6c4295ba6363435f9c6442feb9bf0e36aded5fb3706a8b3662c38436dfa6c"},
         rows={"train": 300}, default_split="train", extra=("group", "language", "task")),
    _own("text", "Running prose", "text",
         {"train": "f1e712921adbfc20a4d50f0e9c5d8052c3930e8e6f83fc7ff5601303daea48e6"},
         rows={"train": 469}, default_split="train", extra=("title",)),
)  # fmt: skip
