"""What is done with answers: schemas, reading, filters, near-duplicates, languages."""

import dataclasses
import json
import random
import string

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import llm, synthesis
from helpers.synthesis import duplicates, schema, words

PLAN = synthesis.Plan(5, tasks={name: ["Given a bird, find its nest"] for name in synthesis.TWO_STEP})
ONE_STEP = synthesis.Plan(5)
TEXT = "Storks return in March and mend the nests that the winter storms have torn from chimneys and barns."


def request(group, *, plan=PLAN, **given_values):
    task = plan.tasks.get(group, [None])[0]
    return synthesis.request(plan, group, 1, task=task, given={"language": "English", **given_values})


# --- Schemas ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plan", [PLAN, ONE_STEP], ids=["two steps", "one step"])
@pytest.mark.parametrize("group", synthesis.GROUPS)
def test_a_schema_takes_the_longest_answer_it_allows_within_the_budget(group, plan):
    asked = request(group, plan=plan)
    form = synthesis.json_schema(asked)
    jsonschema.Draft202012Validator.check_schema(form)
    longest = {key: "x" * part["maxLength"] for key, part in form["properties"].items()}
    jsonschema.validate(longest, form)
    assert tuple(longest) == asked.keys
    # A tokenizer of bytes needs no more tokens than an answer has bytes.
    assert len(json.dumps(longest).encode()) <= synthesis.token_budget(asked)
    for wrong in (
        {**longest, "more": "x"},
        {**longest, asked.keys[0]: "x" * (len(longest[asked.keys[0]]) + 1)},
        {**longest, asked.keys[0]: 7},
        dict(list(longest.items())[1:]),
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, form)


@settings(max_examples=60, deadline=None)
@given(number=st.integers(0, 10**6), budget=st.integers(200, 5000))
def test_a_budget_shrinks_all_fields_until_they_fit(number, budget):
    asked = next(synthesis.requests(PLAN, number + 1, start=number))
    limits = schema.field_limits(asked, max_tokens=budget)
    letters = {"English": "x", "Russian": "д", "Chinese": "山"}
    longest = {key: letters.get(asked.languages[key], "x") * limit for key, limit in limits.items()}
    assert len(json.dumps(longest, ensure_ascii=False).encode()) <= budget
    assert all(limits[key] <= limit for key, limit in schema.field_limits(asked).items())


def test_words_in_scripts_of_long_characters_get_fewer_of_them():
    english, chinese = (request("long-long", language=language) for language in ("English", "Chinese"))
    assert schema.field_limits(english)["input"] == 3 * schema.field_limits(chinese)["input"]
    assert synthesis.token_budget(english) == synthesis.token_budget(chinese)


def test_a_budget_that_is_too_small_is_named():
    with pytest.raises(ValueError, match="max_tokens=60 is too few for the fields user_query, positive_document"):
        synthesis.json_schema(request("short-long"), max_tokens=60)


def test_texts_can_be_asked_to_be_long():
    asked = request("short-long", num_words=100)
    free, long = (synthesis.json_schema(asked, least=least)["properties"] for least in (0, 1))
    assert {part["minLength"] for part in free.values()} == {1}
    assert 400 < long["positive_document"]["minLength"] < 500  # a hundred words of four or five characters
    for budget in (150, 600):
        for part in synthesis.json_schema(asked, max_tokens=budget, least=1.0)["properties"].values():
            assert part["minLength"] <= part["maxLength"] / 2
    with pytest.raises(ValueError, match=r"least=1\.5"):
        synthesis.json_schema(asked, least=1.5)


def test_an_unbounded_schema_says_nothing_of_lengths():
    text = json.dumps(synthesis.json_schema(request("sts"), bounded=False))
    assert "Length" not in text
    listed = synthesis.json_schema(next(synthesis.brainstorms(1, 1, tasks=4)))["properties"]["tasks"]
    assert (listed["minItems"], listed["maxItems"]) == (4, 4)
    assert listed["items"]["maxLength"] > 200


# --- Reading ----------------------------------------------------------------------------------------------------------

KEYS = ("S1", "S2")
GOOD = {"S1": "a stork", "S2": "a bird"}


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(GOOD),
        f"```json\n{json.dumps(GOOD)}\n```",
        f"Here is it: {json.dumps(GOOD)} I hope it helps.",
        f"As {{asked}}: {json.dumps(GOOD)}",
        json.dumps({"more": 1, **GOOD}, indent=4),
        '{"S1": " a stork\\n", "S2": "a bird"}',
    ],
)
def test_an_object_is_found_wherever_it_stands(text):
    assert synthesis.parse(text, KEYS) == GOOD


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no object"),
        ("I cannot do that.", "no object"),
        ('["a", "b"]', "no object"),
        ('{"S1": "a stork", "S2": "a bi', "not JSON"),
        ("{'S1': 'a stork', 'S2': 'a bird'}", "not JSON"),
        ('{"S1": __import__("os").getcwd(), "S2": "b"}', "not JSON"),
        ('{"S1": ' + "[" * 100_000, "not JSON"),
        ('{"S1": ' + "9" * 10_000 + "}", "not JSON"),
        ('{"S1": "a stork"}', "missing key"),
        ('{"S1": "a stork", "S2": ["a bird"]}', "wrong type"),
        ('{"S1": "a stork", "S2": null}', "wrong type"),
        ('{"S1": "a stork", "S2": " "}', "empty"),
        ('{"S1": "a stork", "S2": "S2"}', "placeholder left"),
        ('{"S1": "a stork", "S2": "..."}', "placeholder left"),
        ('{"S1": "a stork", "S2": "<a bird>"}', "placeholder left"),
        ('{"S1": "a stork", "S2": "text in {language}"}', "placeholder left"),
        ('{"S1": "a stork", "S2": "Dear [your name], the stork"}', "placeholder left"),
        ('{"S1": "a stork", "S2": "\\ud800"}', "bad characters"),
    ],
)
def test_what_cannot_be_read_says_why(text, reason):
    with pytest.raises(synthesis.ParseError) as caught:
        synthesis.parse(text, KEYS)
    assert caught.value.reason == reason
    assert len(str(caught.value)) < 300


@settings(max_examples=80, deadline=None)
@given(text=st.text(max_size=200) | st.text(alphabet='{}[]":,\\S12 ab', max_size=60))
def test_any_text_is_read_or_refused(text):
    try:
        found = synthesis.parse(text, KEYS)
    except synthesis.ParseError:
        return
    assert set(found) == set(KEYS)


@settings(max_examples=80, deadline=None)
@given(texts=st.tuples(*[st.text(alphabet=string.ascii_letters + " éд山\n\"\\'{")] * len(KEYS)))
def test_what_was_written_as_json_comes_back(texts):
    fields = {key: f"A{text}1" for key, text in zip(KEYS, texts, strict=True)}  # nothing that stands for a placeholder
    assert synthesis.parse(json.dumps(fields), KEYS) == fields


def test_code_is_never_run(tmp_path):
    trace = tmp_path / "trace"
    for text in (f"open({str(trace)!r}, 'w')", f'{{"S1": open({str(trace)!r}, "w"), "S2": "b"}}'):
        with pytest.raises(synthesis.ParseError):
            synthesis.parse(text, KEYS)
        with pytest.raises(synthesis.ParseError):
            synthesis.parse_tasks(text)
    assert not trace.exists()


def test_lists_of_tasks():
    assert synthesis.parse_tasks('{"tasks": ["find a", " find b ", "find a"]}') == ["find a", "find b"]
    assert synthesis.parse_tasks('["find a"]') == ["find a"]
    for text, reason in {
        '{"list": []}': "missing key",
        '{"tasks": []}': "empty",
        '{"tasks": "find a"}': "wrong type",
        '{"tasks": ["find a", 3]}': "wrong type",
        "1. find a": "no object",
    }.items():
        with pytest.raises(synthesis.ParseError) as caught:
            synthesis.parse_tasks(text)
        assert caught.value.reason == reason
    with pytest.raises(ValueError, match="an answer should be a text, got 7"):
        synthesis.parse(7, KEYS)


# --- Filters ----------------------------------------------------------------------------------------------------------

RETRIEVAL = {
    "user_query": "when do storks come back",
    "positive_document": TEXT,
    "hard_negative_document": "Storks are large birds with long red legs; they feed on frogs, mice and other vermin.",
}
CLASSES = {"input_text": TEXT, "label": "animal migration", "misleading_label": "house repair"}
STS = {"S1": "A stork sits on the roof.", "S2": "On the roof there is a stork.", "S3": "A stork flies over the lake."}


def answer(group="short-long", fields=None, *, finished=True, text=None, **given_values):
    asked = request(group, **given_values)
    written = llm.Written(text if text is not None else json.dumps(fields), finished, 10, 20)
    return synthesis.Answer(asked, synthesis.order_for(asked), written)


def sifted(*answers, **options):
    with synthesis.Seen() as seen:
        return synthesis.sift(answers, model="m", revision="1", seen=seen, **options)


def reason(*answers, **options):
    kept, dropped, toll = sifted(*answers, **options)
    assert len(kept) + len(dropped) == sum(toll.asked.values()) == len(answers)
    return [one.filter for one in dropped]


def test_a_good_answer_becomes_a_row_with_its_provenance():
    kept, dropped, toll = sifted(answer(fields=RETRIEVAL))
    assert (len(kept), dropped, toll.kept) == (1, [], 1)
    row = kept[0].row()
    assert tuple(row) == synthesis.COLUMNS
    assert [row["anchor"], row["positive"], row["negative"]] == list(RETRIEVAL.values())
    assert row["instruction"] == row["task"] == "Given a bird, find its nest"
    assert (row["group"], row["language"], row["model"], row["revision"]) == ("short-long", "English", "m", "1")
    assert json.loads(row["placeholders"])["language"] == "English"
    assert toll.tokens == {"prompt": 10, "reply": 20}


@pytest.mark.parametrize("group", synthesis.GROUPS)
def test_roles_of_the_fields(group):
    texts = ["the small owl hoots at night", "mice dread its soft wings", "a barn stands empty in the valley"]
    described = synthesis.GROUPS[group]
    given_values = {"src_lang": "English", "tgt_lang": "English"} if group == "bitext" else {}
    kept, *_ = sifted(answer(group, dict(zip(described.keys, texts, strict=False)), **given_values))
    row = kept[0].row()
    assert [row["anchor"], row["positive"]] == texts[:2]
    assert row["negative"] == (texts[2] if described.negative else "")
    assert row["instruction"]


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (answer(fields=RETRIEVAL, finished=False), "truncated"),
        (answer(text='{"user_query": "a'), "invalid"),
        (answer(fields=RETRIEVAL | {"positive_document": "x" * 697}), None),
        (answer(fields=RETRIEVAL | {"user_query": "Given a bird, find its nest"}), "copied from the prompt"),
        (
            answer(fields=RETRIEVAL | {"positive_document": f"{TEXT} You write training data for a search engine."}),
            "copied from the prompt",
        ),
        (answer(fields=RETRIEVAL | {"user_query": "mend the NESTS, that the winter"}), "query copied"),
        (answer(fields=RETRIEVAL | {"user_query": "mend nests"}), None),
        (answer(fields=RETRIEVAL | {"hard_negative_document": TEXT}), "query copied"),
        (answer("sts", STS | {"S2": "a stork sits on the roof"}), "query copied"),
        (answer("sts", STS), None),
        (answer("long-short", CLASSES | {"label": "Winter storms"}), "label in the text"),
        (answer("long-short", CLASSES | {"label": "storm"}), None),
        (answer("long-short", CLASSES), None),
        (answer(fields=RETRIEVAL, language="German"), "wrong language"),
        (answer(fields=RETRIEVAL, language="Sindhi"), None),
    ],
)  # fmt: skip
def test_each_filter_by_hand(changed, expected):
    assert reason(changed) == ([expected] if expected else [])


def test_a_text_as_long_as_its_schema_permits_was_cut():
    asked = request("sts", unit="phrase")
    limit = schema.field_limits(asked)["S3"]
    for length, expected in {limit: ["truncated"], limit - 1: ["truncated"], limit - 2: []}.items():
        long = ("a stork flies over the lake and on and on " * 20)[:length].replace(" ", "-")
        assert reason(answer("sts", STS | {"S3": long}, unit="phrase")) == expected


def test_bitext_is_looked_at_in_both_languages():
    fields = {
        "S1": "The storks come back in March and mend their nests.",
        "S2": "Die Störche kommen im März zurück und bessern ihre Nester aus.",
        "S3": "Die Störche kommen im Mai zurück und verlassen ihre Nester.",
    }
    assert reason(answer("bitext", fields, src_lang="English", tgt_lang="German")) == []
    assert reason(answer("bitext", fields, src_lang="German", tgt_lang="English")) == ["wrong language"]


def test_the_first_of_near_duplicates_stays():
    twin = RETRIEVAL | {"positive_document": TEXT.replace("March", "April")}
    other = RETRIEVAL | {
        "user_query": "how fast do swifts fly",
        "positive_document": "A swift reaches a hundred kilometres.",
    }
    answers = [answer(fields=fields) for fields in (RETRIEVAL, twin, other)]
    answers = [numbered(one, at) for at, one in enumerate(answers)]
    kept, dropped, _ = sifted(*answers)
    assert [example.request.id for example in kept] == ["0", "2"]
    assert [(one.filter, one.why, one.request.id) for one in dropped] == [("near-duplicate", "of 0", "1")]


def numbered(one, name):
    return dataclasses.replace(one, request=dataclasses.replace(one.request, id=str(name)))


def test_the_encoder_takes_what_is_no_closer_than_its_negative():
    directions = {"user_query": [1, 0], "positive_document": [1, 1], "hard_negative_document": [0, 1]}

    def encode(texts):
        return np.array([directions[next(key for key, text in RETRIEVAL.items() if text == one)] for one in texts])

    assert reason(answer(fields=RETRIEVAL), encode=encode) == []
    for positive in ([0, 1], [1, 7], [-1, 0]):
        directions |= {"positive_document": positive, "hard_negative_document": [1, 7]}
        assert reason(answer(fields=RETRIEVAL), encode=encode) == ["no closer than the negative"]
    pair = {"input": "a stork", "positive_document": "a nest on a chimney"}
    assert reason(answer("short-short", pair), encode=encode) == []


def test_the_toll_counts_in_the_order_of_the_filters_and_adds_up():
    answers = [
        answer(fields=RETRIEVAL, finished=False),
        answer(text="no"),
        answer("sts", STS),
        answer("long-short", CLASSES | {"label": "storms"}),
    ]
    _, _, toll = sifted(*answers)
    table = toll.table()
    assert [row["filter"] for row in table] == list(synthesis.FILTERS)
    assert [row["all"] for row in table] == [1, 1, 0, 0, 1, 0, 0, 0]
    assert table[0]["short-long"] == table[1]["short-long"] == table[4]["long-short"] == 1
    assert [row["left"] for row in table] == [0.75, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25]
    assert toll.kept == 1
    again = synthesis.Toll.from_json(json.loads(json.dumps(toll.as_json())))
    assert again == toll
    again.add(toll)
    assert (again.kept, again.tokens["reply"], again.table()[4]["all"]) == (2, 160, 2)
    assert synthesis.Toll().table()[0]["left"] == 0


# --- Near-duplicates, words, languages --------------------------------------------------------------------------------


def test_likeness_estimates_the_share_of_common_shingles():
    draw = random.Random(0)
    vocabulary = ["".join(draw.choices(string.ascii_lowercase, k=draw.randint(2, 9))) for _ in range(800)]
    for changed in (0, 2, 5, 10, 20, 40):
        one = draw.choices(vocabulary, k=40)
        two = [draw.choice(vocabulary) if at < changed else word for at, word in enumerate(one)]
        first, second = duplicates.shingles(" ".join(one)), duplicates.shingles(" ".join(two))
        exact = len(first & second) / len(first | second)
        found = duplicates.likeness(duplicates.signature(" ".join(one)), duplicates.signature(" ".join(two)))
        assert found == pytest.approx(exact, abs=0.2)  # three standard errors of 64 hashes


def test_what_was_seen_stays_in_the_file_and_is_no_duplicate_of_itself(tmp_path):
    path = tmp_path / "seen.sqlite"
    with synthesis.Seen(path) as seen:
        assert seen.add("a", TEXT) is None
        assert seen.add("b", TEXT.upper()) == "a"
        seen.commit()
        assert seen.add("c", "something else entirely, about mountains") is None
    with synthesis.Seen(path) as seen:  # what was not committed is gone
        assert len(seen) == 1
        assert seen.add("a", TEXT) is None
        assert seen.add("c", TEXT + " ") == "a"
        assert len(seen) == 1
    with pytest.raises(ValueError, match=r"threshold=1\.5"):
        synthesis.Seen(threshold=1.5)


@pytest.mark.parametrize("text", ["", "a", "山", "🦢🦢", "\ud800"])
def test_any_text_has_a_signature(text):
    assert duplicates.likeness(duplicates.signature(text), duplicates.signature(text)) == 1


def test_words_are_those_of_every_script():
    assert words.words("Don't “stop” — HERE!") == ["don't", "stop", "here"]
    assert words.words("修剪 apple树") == ["修", "剪", "apple", "树"]
    assert words.words("हिन्दी में लिखा है।") == ["हिन्दी", "में", "लिखा", "है"]
    assert words.contains(["a", "bc", "d"], ["bc", "d"])
    assert not words.contains(["a", "bc", "d"], ["c", "d"])


SENTENCES = {
    "English": "The old apple tree behind the house has not been pruned for years.",
    "German": "Der alte Apfelbaum hinter dem Haus wurde seit Jahren nicht geschnitten.",
    "French": "Le vieux pommier derrière la maison n'a pas été taillé depuis des années.",
    "Spanish": "El viejo manzano detrás de la casa no se ha podado en muchos años.",
    "Polish": "Stara jabłoń za domem nie była przycinana od wielu lat.",
    "Russian": "Старую яблоню за домом не обрезали уже много лет.",
    "Chinese": "屋后的老苹果树已经多年没有修剪了。",
    "Japanese": "家の裏の古いリンゴの木は何年も剪定されていない。",
    "Korean": "집 뒤의 오래된 사과나무는 몇 년 동안 가지치기를 하지 않았다.",
    "Arabic": "شجرة التفاح القديمة خلف المنزل لم تقلم منذ سنوات.",
    "Hindi": "घर के पीछे का पुराना सेब का पेड़ वर्षों से नहीं छाँटा गया है।",
    "Indonesian": "Pohon apel tua di belakang rumah sudah bertahun-tahun tidak dipangkas.",
}


@pytest.mark.parametrize("language", SENTENCES)
def test_languages_are_told_apart(language):
    text = SENTENCES[language]
    assert next(iter(synthesis.probabilities(text))) == language
    assert not synthesis.is_wrong_language(text, language)
    wrong = [other for other in SENTENCES if other != language and synthesis.is_wrong_language(text, other)]
    assert len(wrong) == len(SENTENCES) - 1


def test_what_is_not_known_of_a_language_passes():
    assert not synthesis.is_wrong_language("bank", "Welsh")
    assert not synthesis.is_wrong_language(SENTENCES["English"], "Yiddish")
    with pytest.raises(ValueError, match="unknown language 'Germann'; did you mean 'German'"):
        synthesis.is_wrong_language("bank", "Germann")
