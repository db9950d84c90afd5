"""The field's public sets: where they are, at which revision, and under what terms."""

from __future__ import annotations

from helpers.datasets.spec import DatasetSpec, RemoteFile


def _sts(name: str, title: str, hub: str, revision: str, licence: str, citation: str, **rows: int) -> DatasetSpec:
    """Describe one public sentence-similarity set."""
    return DatasetSpec(name, title, "sts", rows, licence, citation, revision, hub=hub)


_SEMEVAL = "SemEval, terms of each source"
_STS = (
    _sts("stsb", "STS Benchmark", "mteb/stsbenchmark-sts", "b0fddb56ed78048fa8b90373c8a3cfc37b684831",
         "CC BY-SA 4.0 and terms of each source", "cer2017stsb", train=5749, validation=1500, test=1379),
    _sts("sts12", "STS 2012", "mteb/sts12-sts", "a0d554a64d88156834ff5ae9920b964011b16384", _SEMEVAL,
         "agirre2012sts", test=3108),
    _sts("sts13", "STS 2013 (without SMT)", "mteb/sts13-sts", "7e90230a92c190f1bf69ae9002b8cea547a64cca", _SEMEVAL,
         "agirre2013sts", test=1500),
    _sts("sts14", "STS 2014", "mteb/sts14-sts", "6031580fec1f6af667f0bd2da0a551cf4f0b2375", _SEMEVAL,
         "agirre2014sts", test=3750),
    _sts("sts15", "STS 2015", "mteb/sts15-sts", "ae752c7c21bf194d8b67fd573edf7ae58183cbe3", _SEMEVAL,
         "agirre2015sts", test=3000),
    _sts("sts16", "STS 2016", "mteb/sts16-sts", "4d8694f8f0e0100860b497b999b3dbed754a0513", _SEMEVAL,
         "agirre2016sts", test=1186),
    _sts("sickr", "SICK-R", "mteb/sickr-sts", "20a6d6f312dd54037fe07a32d58e5e168867909d", "CC BY-NC-SA 3.0",
         "marelli2014sick", test=9927),
)  # fmt: skip


def _clusters(name: str, title: str, folder: str, rows: int, sha256: str, licence: str, citation: str) -> DatasetSpec:
    """Describe one clustering set as the EMBwithLLM repository holds it: plain files at a fixed commit."""
    base, commit = "EMBwithLLM/EMBwithLLM", "c6f61d3"
    path = f"datasets/{folder}/small.jsonl"
    file = RemoteFile(f"https://raw.githubusercontent.com/{base}/{commit}/{path}", sha256)
    return DatasetSpec(name, title, "clustering", {"test": rows}, licence, citation, commit, mirror=base,
                       mirror_files={"test": path}, files={"test": file}, renamed={"input": "text"})  # fmt: skip


_CLUSTERS = (
    _clusters("banking77", "Banking77 (test part)", "banking77", 3080,
              "9d73b2aad1ee357e97c4f3275411e9deb8762ee9d3e7a03198c23b00c079bcac", "CC BY 4.0",
              "casanueva2020efficient"),
    _clusters("stackexchange", "StackExchange titles", "stackexchange", 4156,
              "7d148e8e44ed1c73450d01d98617aebd7bf5df0f72000c4089e7f75b6aa22817", "CC BY-SA 4.0",
              "geigle2021tweac"),
    _clusters("mtop-domain", "MTOP (domain)", "mtop_domain", 4386,
              "62a05854114cf60209fd9cedbf5c714914c440bbdc03242c84a06fa2cfafe6cf", "CC BY-SA 4.0", "li2021mtop"),
    _clusters("fewnerd", "Few-NERD (entity types)", "few_nerd_nat", 3789,
              "4c19d09cc232093712f4041fdc617cf10dbf062493f18e21bae5c9420a927777", "CC BY-SA 4.0", "ding2021fewnerd"),
)  # fmt: skip

# SentEval's own archive has no fixed address any more. These are copies of the same texts on the hub; where its pages
# name no full commit, the revision is "main", which pins nothing, and the number of rows is the only check.
_RESEARCH = "research use"
_TRANSFER = (
    DatasetSpec("mr", "Movie reviews (MR)", "classification", {"all": 10_662}, _RESEARCH, "pang2005seeing",
                "aa13bc287fa6fcab6daf52f0dfb9994269ffea28", hub="cornell-movie-review-data/rotten_tomatoes",
                mirror="senteval/mr", hub_splits={"all": ("train", "validation", "test")}, default_split="all"),
    DatasetSpec("cr", "Customer reviews (CR)", "classification", {"all": 3_765}, _RESEARCH, "hu2004mining", "main",
                hub="SetFit/SentEval-CR", mirror="senteval/cr", hub_splits={"all": ("train", "test")},
                default_split="all"),
    DatasetSpec("subj", "Subjectivity (SUBJ)", "classification", {"all": 10_000}, _RESEARCH, "pang2004sentimental",
                "2eba632847a64707391116d7e9b3cd72c700c5e6", hub="SetFit/subj", mirror="senteval/subj",
                hub_splits={"all": ("train", "test")}, default_split="all"),
    DatasetSpec("mpqa", "Opinion polarity (MPQA)", "classification", {"all": 10_606}, _RESEARCH, "wiebe2005mpqa", "",
                mirror="senteval/mpqa", default_split="all"),
    DatasetSpec("sst2", "Stanford sentiment (SST-2)", "classification",
                {"train": 67_349, "validation": 872, "test": 1_821}, _RESEARCH, "socher2013sst",
                "8d51e7e4887a4caaa95b3fbebbf53c0490b58bbb", hub="stanfordnlp/sst2", mirror="senteval/sst2",
                hub_splits={"test": ()}, renamed={"sentence": "text"}),  # the hub hides the labels of the test part
    DatasetSpec("trec", "Question types (TREC)", "classification", {"train": 5_452, "test": 500}, _RESEARCH,
                "li2002questions", "main", hub="SetFit/TREC-QC", mirror="senteval/trec",
                renamed={"label_text": "label", "label_coarse_text": "label"}),
    DatasetSpec("mrpc", "Paraphrases (MRPC)", "pair classification", {"train": 4_076, "test": 1_725}, _RESEARCH,
                "dolan2005mrpc", "bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c", hub="nyu-mll/glue", config="mrpc",
                mirror="senteval", hub_splits={"train": ("train", "validation")},
                renamed={"sentence1": "text1", "sentence2": "text2"}),
)  # fmt: skip

_BEIR = {"corpus": "corpus", "queries": "queries"}
_RETRIEVAL = (
    DatasetSpec("scifact", "SciFact", "retrieval", {"corpus": 5_183, "queries": 1_109, "test": 339},
                "CC BY-NC 2.0", "wadden2020scifact", "d56462d0e63a25450459c4f213e49ffdb866f7f9", hub="mteb/scifact",
                config=_BEIR, in_part=True, score_range=(0, 1)),
    DatasetSpec("nfcorpus", "NFCorpus", "retrieval", {"corpus": 3_633, "queries": 3_237, "test": 12_334},
                "research use", "boteva2016nfcorpus", "ec0fa4fe99da2ff19ca1214b7966684033a58814",
                hub="mteb/nfcorpus", config=_BEIR, in_part=True, score_range=(0, 2)),
)  # fmt: skip

_TRAINING = (
    DatasetSpec("allnli", "AllNLI triplets", "triplets", {"train": 557_850},
                "CC BY-SA 4.0 (SNLI), terms of each source (MultiNLI)", "reimers2019sentence",
                "d482672c8e74ce18da116f430137434ba2e52fab", hub="sentence-transformers/all-nli", config="triplet",
                in_part=True, default_split="train"),
    DatasetSpec("wiki1m", "A million Wikipedia sentences", "text", {"train": 1_000_000}, "CC BY-SA 3.0",
                "gao2021simcse", "d0065b9a050f8aa53170ab639f5a1f3c643fa9ef", hub="princeton-nlp/datasets-for-simcse",
                mirror="princeton-nlp/wiki1m", hub_files={"train": "wiki1m_for_simcse.txt"}, in_part=True,
                default_split="train"),
    DatasetSpec("wikitext2", "WikiText-2", "text", {"train": 36_718, "validation": 3_760, "test": 4_358},
                "CC BY-SA 3.0", "merity2017pointer", "b08601e04326c79dfdd32d625aee71d232d685c3",
                hub="Salesforce/wikitext", config="wikitext-2-v1", in_part=True, drop_empty=True),
)  # fmt: skip

PUBLIC = (*_STS, *_CLUSTERS, *_TRANSFER, *_RETRIEVAL, *_TRAINING)
