"""The claims: what the file may say, which verdict records give, and the page made of them."""

import copy
import dataclasses
import re
import shlex
import shutil

import pytest
import yaml
from conftest import ROOT

from helpers import claims, contrastive, models, records, settings
from helpers.contrastive.__main__ import make_parser
from helpers.runner import verdicts
from helpers.runner.book import Book
from helpers.runner.stage import stage

CONTENT = yaml.safe_load(claims.CLAIMS.read_text(encoding="utf-8"))
CLAIMS = claims.load()
PREDICATES = [claim for claim in CLAIMS if claim.predicate]
FOLDERS = sorted((settings.DATA / "records").glob("*/"))
COMMITTED = [record for folder in FOLDERS for record in records.load_all(folder)]
TO_COME = {"06_synthetic_data", "08_e5_recipe", "09_bidirectional_mntp", "10_simcse_and_instructions"}
ORACLE = {
    "compare": {"method": "oracle", "against": "no training", "metric": "NMI", "datasets": ["intents", "topics"]},
    "expect": "higher",
}
CHAPTER = "05_learning_from_answers"


def claim_named(name):
    return next(claim for claim in CLAIMS if claim.id == name)


def word(source, rows, chapter=CHAPTER):
    return claims.evaluate(claims.parse(source, chapter=chapter), rows).word


def record(method, dataset, mean, low, high, *, control=None, pair=None, **more):
    """A record with the fields that a predicate reads."""
    row = {"method": method, "metric": "NMI", "mean": mean, "ci95": [low, high], "control": control}
    row |= {"chapter": CHAPTER, "profile": "benchmark", "model": {"id": "small"}}
    row["dataset"] = {"name": dataset, "split": "test"}
    row["paired_difference"] = pair and {"mean": sum(pair) / 2, "ci95": list(pair)}
    return row | more


def paired(dataset, low, high):
    """Two records of a set: no training, and the oracle with its paired difference."""
    plain = record("no training", dataset, 50.0, 40.0, 60.0)
    return [plain, record("oracle", dataset, 51.0, 41.0, 61.0, control="no training", pair=(low, high))]


# The file


def test_there_are_claims_of_every_document():
    assert len(CLAIMS) >= 45
    assert set(claims.documents()) == set("ABCDE") == {claim.document for claim in CLAIMS}


def test_chapters_are_notebooks_or_announced():
    notebooks = {path.stem for path in (ROOT / "notebooks").glob("[0-9]*.ipynb")}
    assert set(CONTENT["chapters"]) <= notebooks | TO_COME
    assert {claim.chapter for claim in CLAIMS} - {None} <= set(CONTENT["chapters"])


def test_cited_works_are_in_the_bibliography():
    known = re.findall(r"^@\w+\{(\w+),", (ROOT / "book" / "refs.bib").read_text(), re.MULTILINE)
    cited = {key for document in claims.documents().values() for key in document.cite.split(",")}
    assert cited <= set(known)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_a_claim_is_one_sentence(claim):
    assert re.fullmatch(r"[A-Z][^\n]*\.", claim.claim)
    assert not re.search(r"[a-z]\. [A-Z]", claim.claim)
    assert len(claim.claim.split()) <= 25
    assert not re.search(r"[${}<>|]", claim.claim + claim.where + claim.scale + claim.note), "a page reads it otherwise"


@pytest.mark.parametrize("claim", [one for one in CLAIMS if one.command], ids=lambda claim: claim.id)
def test_commands_name_what_there_is(claim):
    program, *arguments = shlex.split(claim.command)
    if program == "make":
        values = dict(argument.split("=") for argument in arguments[1:])
        assert values["PROFILE"] in settings.PROFILES
        assert any(chapter.split("_")[0] == values["ONLY"] for chapter in CONTENT["chapters"])
    else:
        options = make_parser().parse_args(arguments[2:])
        assert arguments[:2] == ["-m", "helpers.contrastive"]
        assert models.spec(options.model, "decoder")
        changes = dict(pair.split("=") for pair in options.set)
        assert contrastive.decoder_recipe(options.recipe, **{key: int(value) for key, value in changes.items()})


def test_a_predicate_of_a_contradiction_is_refused_and_its_verdict_is_fixed():
    found = [claim for claim in CLAIMS if claim.kind == claims.CONTRADICTION]
    assert len(found) >= 8
    for claim in found:
        verdict = claims.judge(claim, [])
        assert verdict.word == "contradiction"
        assert all(side.says in verdict.numbers and side.source in verdict.numbers for side in claim.sides)


def changed(tmp_path, name, **fields):
    """Write the file with one row changed (None: the field goes) and load it."""
    content = copy.deepcopy(CONTENT)
    row = next(row for row in content["claims"] if row["id"] == name)
    row.update(fields)
    for key in [key for key, value in fields.items() if value is None]:
        del row[key]
    path = tmp_path / "claims.yml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return claims.load(path)


ROW, SPLIT = "mntp-improves", "averaged-over-padding"


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        (ROW, {"chaptre": "05"}, "unknown key 'chaptre'; did you mean 'chapter'"),
        (ROW, {"document": "F"}, "unknown document 'F'; allowed: A, B, C, D, E"),
        (
            ROW,
            {"chapter": "09_bidirectional"},
            "unknown chapter '09_bidirectional'; did you mean '09_bidirectional_mntp'",
        ),
        (ROW, {"kind": "claims"}, "unknown kind 'claims'"),
        (ROW, {"scale": None}, "lacks scale"),
        (ROW, {"where": 5}, "where=5 should be a text"),
        (ROW, {"id": "Two words"}, "lower-case letters"),
        (ROW, {"id": "mistral-beats-llama2"}, "used twice"),
        (ROW, {"sides": [{"says": "a", "source": "b"}]}, "only a contradiction has sides"),
        (ROW, {"predicate": None, "command": None}, "needs a predicate, a command, or a note"),
        (ROW, {"predicate": {"comparing": {}}}, "unknown key 'comparing'; did you mean 'compare'"),
        (ROW, {"predicate": "x > 1"}, "should have the keys compare"),
        (SPLIT, {"sides": [{"says": "a", "source": "b"}]}, "two sides or more"),
        (SPLIT, {"sides": ["a", "b"]}, "should have the keys says, source"),
        (SPLIT, {"predicate": ORACLE}, "no predicate"),
    ],
)
def test_a_bad_row_is_refused_by_name(tmp_path, name, fields, message):
    with pytest.raises(ValueError, match=message) as caught:
        changed(tmp_path, name, **fields)
    assert str(caught.value).startswith(f"claim {fields.get('id', name)!r}: ")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"expect": "better"}, "unknown expect 'better'; allowed: higher, lower"),
        ({"in": "some"}, "unknown in 'some'; allowed: all, any, most"),
        ({"at_least": {}}, "one kind"),
        ({"compare": {**ORACLE["compare"], "metrik": "NMI"}}, "unknown key 'metrik'; did you mean 'metric'"),
        ({"compare": {"method": "oracle", "metric": "NMI", "datasets": "all"}}, "compare lacks against"),
        ({"compare": {**ORACLE["compare"], "profile": "large"}}, "unknown profile 'large'"),
        ({"compare": {**ORACLE["compare"], "datasets": []}}, "a name or a list of names"),
        ({"compare": {**ORACLE["compare"], "method": 7}}, "a name or a list of names"),
    ],
)
def test_a_bad_predicate_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        claims.parse({**ORACLE, **change}, chapter=CHAPTER)


def test_numbers_of_a_predicate_are_numbers_and_an_order_has_two():
    about = {"method": "oracle", "metric": "NMI", "datasets": "all"}
    with pytest.raises(ValueError, match="value='5' should be a number"):
        claims.parse({"at_least": {**about, "value": "5"}}, chapter=CHAPTER)
    with pytest.raises(ValueError, match="two methods or more"):
        claims.parse({"order": {"methods": ["oracle"], "metric": "NMI", "datasets": "all"}}, chapter=CHAPTER)
    with pytest.raises(ValueError, match="needs a chapter"):
        claims.parse({"at_least": {**about, "value": 5}}, chapter=None)


def test_another_file_is_refused(tmp_path):
    path = tmp_path / "claims.yml"
    for text, message in (("claims: [", "is not YAML"), ("claims: []", "should hold documents, chapters, claims")):
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            claims.load(path)


def test_nothing_is_evaluated_as_code():
    for path in (ROOT / "helpers" / "claims").glob("*.py"):
        assert not re.search(
            r"(?<![.\w])(?:eval|exec|compile)\(|yaml\.(?:load|full_load|unsafe_load)\(", path.read_text()
        )


# Verdicts


@pytest.mark.parametrize(
    ("topics", "share", "expected"),
    [
        ((1, 3), "all", "holds"),
        ((-1, 3), "all", "undecided"),
        ((-3, -1), "all", "undecided"),
        ((1, 3), "most", "holds"),
        ((-1, 3), "most", "undecided"),
        ((-1, 3), "any", "holds"),
        ((0, 3), "all", "undecided"),
    ],
)
def test_sets_are_counted(topics, share, expected):
    rows = paired("intents", 0.5, 2) + paired("topics", *topics)
    assert word({**ORACLE, "in": share}, rows) == expected


@pytest.mark.parametrize(
    ("share", "expected"), [("all", "does not hold"), ("most", "does not hold"), ("any", "undecided")]
)
def test_the_other_side_in_most_sets(share, expected):
    rows = paired("intents", -2, -0.5) + paired("topics", -3, -1 if share != "any" else 1)
    assert word({**ORACLE, "in": share}, rows) == expected


def test_lower_is_the_mirror_of_higher():
    rows = paired("intents", 1, 2) + paired("topics", 1, 3)
    assert word({**ORACLE, "expect": "lower"}, rows) == "does not hold"
    rows = paired("intents", -2, -1) + paired("topics", -3, -1)
    assert word({**ORACLE, "expect": "lower"}, rows) == "holds"


def test_a_paired_difference_counts_from_either_side():
    turned = {**ORACLE, "compare": {**ORACLE["compare"], "method": "no training", "against": "oracle"}}
    rows = paired("intents", 1, 2) + paired("topics", 1, 3)
    assert word(turned, rows) == "does not hold"
    verdict = claims.evaluate(claims.parse(turned, chapter=CHAPTER), rows)
    assert verdict.numbers.endswith("intents -1.50 [-2.00, -1.00]; topics -2.00 [-3.00, -1.00]")


def test_a_difference_from_another_control_is_not_taken():
    """The paired difference is from TF-IDF: the verdict must rest on the two scores, whose intervals overlap."""
    rows = [
        record("no training", "intents", 50.0, 40.0, 60.0),
        record("oracle", "intents", 55.0, 45.0, 65.0, control="TF-IDF", pair=(10, 12)),
    ]
    one = {**ORACLE, "compare": {**ORACLE["compare"], "datasets": "all"}}
    assert claims.evaluate(claims.parse(one, chapter=CHAPTER), rows) == claims.Verdict(
        "undecided", "oracle against no training, NMI: intents +5.00 [-15.00, +25.00] (not paired)"
    )
    rows[1] |= {"mean": 90.0, "ci95": [80.0, 95.0]}
    assert word(one, rows) == "holds"


@pytest.mark.parametrize(
    ("source", "interval", "expected"),
    [
        ({"at_least": {"value": 50}}, (51, 53), "holds"),
        ({"at_least": {"value": 50}}, (40, 49), "does not hold"),
        ({"at_least": {"value": 50}}, (49, 51), "undecided"),
        ({"at_most": {"value": 50}}, (40, 49), "holds"),
        ({"at_most": {"value": 50}}, (51, 53), "does not hold"),
        ({"near": {"value": 50, "within": 5}}, (46, 54), "holds"),
        ({"near": {"value": 50, "within": 5}}, (56, 60), "does not hold"),
        ({"near": {"value": 50, "within": 5}}, (44, 54), "undecided"),
    ],
)
def test_a_number_in_a_range(source, interval, expected):
    (kind, fields), *_ = source.items()
    about = {"method": "oracle", "metric": "NMI", "datasets": "all", **fields}
    assert word({kind: about}, [record("oracle", "intents", sum(interval) / 2, *interval)]) == expected


@pytest.mark.parametrize(
    ("pair", "expected"), [((-0.9, 0.9), "holds"), ((1.5, 3), "does not hold"), ((-1.5, 0.5), "undecided")]
)
def test_equal_means_the_whole_interval_is_within(pair, expected):
    source = {"equal": {**ORACLE["compare"], "datasets": "all", "within": 1}}
    assert word(source, paired("intents", *pair)) == expected


def test_an_order_compares_neighbours():
    rows = [record(name, "intents", mean, mean - 1, mean + 1) for name, mean in (("a", 60), ("b", 50), ("c", 40))]
    order = {"order": {"methods": ["a", "b", "c"], "metric": "NMI", "datasets": "all"}}
    assert word(order, rows) == "holds"
    order["order"]["methods"] = ["c", "b", "a"]
    assert word(order, rows) == "does not hold"
    order["order"]["methods"] = ["b", "a", "c"]
    assert word(order, rows) == "undecided"


def test_two_models_are_told_apart():
    large = {"model": {"id": "large"}}
    rows = [record("oracle", "intents", 50, 49, 51), record("oracle", "intents", 60, 59, 61, **large)]
    about = {"method": "oracle", "against": "oracle", "metric": "NMI", "datasets": "all"}
    with pytest.raises(ValueError, match="records of several models; name one of: large, small"):
        word({"compare": about}, rows)
    assert word({"compare": {**about, "model": "large", "against_model": "small"}}, rows) == "holds"
    claim = dataclasses.replace(PREDICATES[0], predicate=claims.parse({"compare": about}, chapter=CHAPTER))
    with pytest.raises(ValueError, match=f"claim '{claim.id}': "):
        claims.judge(claim, rows)


def test_a_set_or_method_without_records_was_not_run():
    verdict = claims.evaluate(claims.parse(ORACLE, chapter=CHAPTER), paired("intents", 1, 2))
    assert verdict == claims.Verdict("not run at this scale", "No record of oracle against no training on topics")
    several = {"compare": {**ORACLE["compare"], "method": ["oracle", "another"], "datasets": "all"}}
    assert word(several, paired("intents", 1, 2)) == "not run at this scale"
    assert word({**ORACLE, "compare": {**ORACLE["compare"], "profile": "paper"}}, paired("intents", 1, 2)) == (
        "not run at this scale"
    )


# The committed records


@pytest.mark.parametrize("claim", PREDICATES, ids=lambda claim: claim.id)
def test_every_predicate_is_answered(claim):
    verdict = claims.judge(claim, COMMITTED)
    assert verdict.word in claims.VERDICTS
    assert re.search(r"\d\.\d\d \[", verdict.numbers) or verdict.word == claims.NOT_RUN


@pytest.mark.parametrize("claim", PREDICATES, ids=lambda claim: claim.id)
def test_methods_are_those_of_the_chapter(claim):
    """Where a chapter has records, a predicate must not miss them by a name that is spelt otherwise."""
    asked = claim.predicate
    there = [one for one in COMMITTED if (one["chapter"], one["profile"]) == (asked.chapter, asked.profile)]
    names = {name for pair in asked.pairs for name in pair if name}
    assert not there or names <= {one["method"] for one in there}
    assert not there or {one["metric"] for one in there} & set(asked.metrics)


@pytest.mark.parametrize("claim", [one for one in PREDICATES if one.predicate.datasets], ids=lambda claim: claim.id)
def test_no_set_is_left_out_in_silence(claim):
    asked = claim.predicate
    everywhere = claims.evaluate(dataclasses.replace(asked, datasets=()), COMMITTED)
    named = claims.judge(claim, COMMITTED)
    if named.word != claims.NOT_RUN:
        assert asked.restricted or named == everywhere


PINNED = {
    "starling-bank77-acc": "undecided",
    "starling-bank77-nmi": "holds",
    "right-answers-improve-clusters": "holds",
    "gain-is-due-to-the-model": "undecided",
    "judge-knows-more-than-chance": "undecided",
    "one-order-is-enough": "undecided",
    "prompteol-beats-mean": "holds",
    "one-word-matters": "holds",
    "plain-prompt-beats-mean": "undecided",
    "weighted-mean-is-best-when-causal": "holds",
    "gpt35-bank77": "not run at this scale",
}


@pytest.mark.parametrize("name", PINNED)
def test_verdicts_of_today(name):
    assert claims.judge(claim_named(name), COMMITTED).word == PINNED[name]


def test_the_numbers_are_those_of_the_record():
    row = next(
        one
        for one in COMMITTED
        if (one["chapter"], one["method"], one["control"], one["dataset"]["name"], one["dataset"]["split"])
        == ("02_prompteol", "PromptEOL", "mean", "stsb", "test")
    )
    pair = row["paired_difference"]
    text = f"stsb {pair['mean']:+.2f} [{pair['ci95'][0]:+.2f}, {pair['ci95'][1]:+.2f}]"
    assert text in claims.judge(claim_named("prompteol-beats-mean"), COMMITTED).numbers


def with_pairs(chapter, change):
    """Return the committed records, with the paired differences of a chapter changed."""
    rows = copy.deepcopy(COMMITTED)
    for row in rows:
        if row["chapter"] == chapter and row["paired_difference"]:
            pair = row["paired_difference"]
            pair["mean"], pair["ci95"] = change(pair["mean"], *pair["ci95"])
    return rows


def test_a_changed_record_changes_the_verdict():
    claim = claim_named("prompteol-beats-mean")
    assert claims.judge(claim, COMMITTED).word == "holds"
    turned = with_pairs("02_prompteol", lambda mean, low, high: (-mean, [-high, -low]))
    assert claims.judge(claim, turned).word == "does not hold"
    wider = with_pairs("02_prompteol", lambda mean, low, high: (mean, [low - 50, high + 50]))
    assert claims.judge(claim, wider).word == "undecided"


def test_without_a_chapters_records_its_claims_were_not_run():
    rest = [one for one in COMMITTED if one["chapter"] != "02_prompteol"]
    for claim in PREDICATES:
        before, after = (claims.judge(claim, rows) for rows in (COMMITTED, rest))
        if claim.predicate.chapter == "02_prompteol":
            assert after.word == "not run at this scale"
            assert "No records of 02_prompteol" in after.numbers
        else:
            assert after == before


# The page

CLAIM = "Claim, where it stands, and its scale"


def cells(line):
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def body(text, head):
    """Return the rows of all tables with this first column's head."""
    lines = text.splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith(f"| {head} |")]
    rows = []
    for start in starts:
        for line in lines[start + 2 :]:
            if not line.startswith("|"):
                break
            rows.append(cells(line))
    return rows


def test_counts_add_up():
    *lines, total = body(verdicts.counts(Book(ROOT)), "Document")
    numbers = [[int(number) for number in line[1:]] for line in lines]
    assert [sum(column) for column in zip(*numbers, strict=True)] == [int(number) for number in total[1:]]
    assert all(sum(line[:-1]) == line[-1] for line in numbers)
    assert int(total[-1]) == len(CLAIMS)


def test_every_claim_is_a_row_with_verdict_and_link():
    rows = body(verdicts.sections(Book(ROOT)), CLAIM)
    assert [row[0].partition("<br>")[0] for row in rows] == [
        claim.claim for letter in "ABCDE" for claim in CLAIMS if claim.document == letter
    ]
    assert all(len(row) == 3 and all(row) for row in rows)
    links = {link for row in rows for link in re.findall(r"\(\.\./notebooks/(\w+)\.ipynb\)", row[1])}
    assert {"02_prompteol", "04_asking_an_llm", "05_learning_from_answers"} <= links <= set(Book(ROOT).chapters())
    contents = Book(ROOT).chapters()
    for row, claim in zip(rows, sorted(CLAIMS, key=lambda one: one.document), strict=True):
        assert claim.chapter in contents or claim.chapter is None or row[1].endswith(", to come")


@pytest.fixture
def project(tmp_path):
    """The pages, the claims and the records, without a chapter."""
    shutil.copyfile(ROOT / "_config.yml", tmp_path / "_config.yml")
    shutil.copytree(ROOT / "book" / "_static", tmp_path / "book" / "_static")
    shutil.copyfile(ROOT / "book" / "claims.md", tmp_path / "book" / "claims.md")
    shutil.copytree(ROOT / "data" / "records", tmp_path / "data" / "records")
    shutil.copyfile(claims.CLAIMS, tmp_path / "data" / "claims.yml")
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: book/claims\n")
    return Book(tmp_path)


def page(book):
    stage(book, settings.profile("smoke"))
    return (book.stage / "book" / "claims.md").read_text(encoding="utf-8")


def test_the_page_is_made_of_records_alone(project):
    text = page(project)
    assert "generated:" not in text
    assert len(body(text, CLAIM)) == len(CLAIMS)
    for claim in PREDICATES:
        assert claims.judge(claim, COMMITTED).numbers in text


def test_records_of_this_build_change_no_verdict(project):
    before = page(project)
    shutil.copytree(project.root / "data" / "records" / "benchmark", project.build / "records" / "smoke")
    shutil.rmtree(project.root / "data" / "records")
    after = page(project)
    assert after != before
    words = {row[1].partition("<br>")[0] for row in body(after, CLAIM)}
    assert words == {"not run at this scale", "**contradiction**"}


def test_the_page_names_every_verdict_with_its_rule():
    text = (ROOT / "book" / "claims.md").read_text(encoding="utf-8")
    rules = {row[0].strip("*") for row in body(text, "verdict")}
    assert rules == set(claims.VERDICTS)
    assert "book/claims" in (ROOT / "_toc.yml").read_text()
