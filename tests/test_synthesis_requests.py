"""Which prompts are sent: templates, published values and shares, and drawing from a seed."""

import dataclasses
import itertools
import json
import re
import tracemalloc
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import synthesis
from helpers.synthesis import languages, templates

TASKS = {name: [f"Given a thing of kind {n}, find what goes with it" for n in range(5)] for name in synthesis.TWO_STEP}
PLAN = synthesis.Plan(3, tasks=TASKS)

# The values of tables 8 to 13 of arXiv 2401.00368, written down a second time.
PUBLISHED = """
short-long query_type extremely long-tail|long-tail|common
short-long query_length less than 5 words|5 to 15 words|at least 10 words
short-long difficulty high school|college|PhD
short-long clarity clear|understandable with some effort|ambiguous
short-long num_words 50|100|200|300|400|500
long-short num_words less than 10 words|at least 10 words|at least 50 words|at least 100 words|at least 200 words
long-short difficulty high school|college|PhD
long-short clarity clear|understandable with some effort|ambiguous
long-long num_words 300
sts unit sentence|phrase|passage
sts high_score 4|4.5|5
sts low_score 2.5|3|3.5
sts difficulty elementary school|high school|college
bitext unit sentence|phrase|passage
bitext high_score 4|4.5|5
bitext low_score 1.5|2|2.5
bitext difficulty elementary school|high school|college
"""


def published():
    for line in PUBLISHED.strip().splitlines():
        group, name, values = line.split(" ", 2)
        yield group, name, set(values.split("|"))


def test_placeholders_have_the_published_values():
    ours = {
        (group.name, name): {str(value) for value in values}
        for group in synthesis.GROUPS.values()
        for name, values in group.values.items()
    }
    assert ours == {(group, name): values for group, name, values in published()}


@pytest.mark.parametrize("group", synthesis.GROUPS.values(), ids=lambda group: group.name)
def test_every_placeholder_stands_in_its_template_and_no_other(group):
    drawn = {"src_lang", "tgt_lang"} if group.name == "bitext" else {"language"}
    fixed = {"keys", "lead"} if group.steps == 2 else {"keys"}
    assert templates.slots(templates.WRITE[group.name]) == set(group.values) | drawn | fixed
    assert (group.name in templates.BRAINSTORM) == (group.steps == 2) == (group.instruction is None)


def test_there_are_as_many_languages_as_published_with_their_shares():
    shares = synthesis.published_shares()
    assert len(shares) == len(set(languages.CODES.values())) == 93
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["English"] == pytest.approx(0.431)
    assert shares["Polish"] == pytest.approx(0.03)
    assert shares["Welsh"] == pytest.approx(0.198 / 79)


def test_groups_have_their_published_shares():
    assert synthesis.published_group_shares()["short-long"] == pytest.approx(167 / 507)
    assert synthesis.published_group_shares(["sts", "bitext"]) == pytest.approx({"sts": 99 / 188, "bitext": 89 / 188})


def test_a_seed_gives_the_same_requests_and_another_gives_others():
    first = list(synthesis.requests(PLAN, 60))
    assert first == list(synthesis.requests(synthesis.Plan(3, tasks=TASKS), 60))
    assert first[:20] == list(synthesis.requests(PLAN, 20))
    other = list(synthesis.requests(dataclasses.replace(PLAN, seed=4), 60))
    assert {request.id for request in first}.isdisjoint(request.id for request in other)
    assert sum(a.prompt == b.prompt for a, b in zip(first, other, strict=True)) < 5


@settings(max_examples=20, deadline=None)
@given(count=st.integers(0, 40), machines=st.integers(1, 5), start=st.integers(0, 40))
def test_requests_can_be_entered_anywhere_and_shared_out(count, machines, start):
    whole = list(synthesis.requests(PLAN, count))
    assert list(synthesis.requests(PLAN, count, start=start)) == whole[start:]
    parts = [list(synthesis.requests(PLAN, count, start=at, step=machines)) for at in range(machines)]
    assert [one for row in itertools.zip_longest(*parts) for one in row if one] == whole


def test_ids_and_seeds_tell_equal_prompts_apart():
    plan = synthesis.Plan(1, groups={"sts": 1}, languages={"English": 1})
    drawn = list(synthesis.requests(plan, 500))
    assert len({request.prompt for request in drawn}) <= 3 * 3 * 3 * 3
    assert len({request.id for request in drawn}) == len({request.seed for request in drawn}) == 500


def test_prompts_hold_what_was_drawn_and_no_slot():
    for request in synthesis.requests(PLAN, 300):
        assert not re.search(r"\{[a-z_]+\}", request.prompt)
        assert all(str(value) in request.prompt for value in request.placeholders.values())
        assert all(f'"{key}"' in request.prompt for key in request.keys)
        assert request.task is None or request.task in request.prompt
        assert set(request.languages) == set(request.keys)


def test_shares_are_those_of_the_plan():
    count = 4000
    drawn = list(synthesis.requests(PLAN, count))
    groups = Counter(request.group for request in drawn)
    for name, share in synthesis.published_group_shares().items():
        assert abs(groups[name] - share * count) < 4 * (count * share * (1 - share)) ** 0.5
    one = [request.language for request in drawn if request.group != "bitext"]
    assert abs(one.count("English") - 0.431 * len(one)) < 4 * (len(one) * 0.431 * 0.569) ** 0.5
    assert len(set(one)) > 80
    for group, name, values in published():
        counts = Counter(str(request.placeholders[name]) for request in drawn if request.group == group)
        assert set(counts) == values
        assert min(counts.values()) > max(counts.values()) / 3


def test_bitext_has_two_languages():
    drawn = list(synthesis.requests(synthesis.Plan(1, groups={"bitext": 1}, languages={"English": 9, "Thai": 1}), 50))
    assert {request.language for request in drawn} == {"English to Thai", "Thai to English"}
    request = next(request for request in drawn if request.language == "English to Thai")
    assert request.languages == {"S1": "English", "S2": "Thai", "S3": "Thai"}


def test_without_tasks_both_steps_are_one():
    request = synthesis.request(synthesis.Plan(1), "short-long", 0)
    assert (request.step, request.task, request.keys[0]) == ("both", None, "task")
    assert '"task"' in request.prompt
    assert "task" not in request.languages
    assert synthesis.request(synthesis.Plan(1), "sts", 0).step == "write"


def test_a_request_is_made_again_from_what_was_filed():
    plan = synthesis.Plan(9, languages={"Hausa": 1, "Czech": 1}, tasks=TASKS, values={"short-long": {"num_words": [7]}})
    for request in synthesis.requests(plan, 40):
        given_back = json.loads(json.dumps(dict(request.placeholders)))
        number = int(request.id.split("-")[1])
        again = synthesis.request(synthesis.Plan(9), request.group, number, task=request.task, given=given_back)
        assert again == request


def test_braces_in_a_task_stay():
    task = "Given {language} and {nonsense}, find {"
    request = synthesis.request(synthesis.Plan(1), "short-short", 0, task=task)
    assert task in request.prompt


def test_memory_does_not_grow_with_the_number_of_requests():
    def peak(count):
        tracemalloc.start()
        for _ in synthesis.requests(PLAN, count):
            pass
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(10)
    few = peak(200)
    assert peak(4000) < few + 20_000  # 3,800 requests more, of two thousand bytes each
    assert next(synthesis.requests(PLAN, 10**12)).id.startswith("3-000000-")


def test_brainstorms_go_round_the_groups_and_say_how_many():
    drawn = list(synthesis.brainstorms(1, 6, tasks=7))
    assert [request.group for request in drawn] == [*synthesis.TWO_STEP, *synthesis.TWO_STEP[:2]]
    assert all("a list of 7 strings" in request.prompt for request in drawn)
    assert drawn[0].prompt == drawn[4].prompt
    assert len({request.seed for request in drawn}) == len({request.id for request in drawn}) == 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"groups": {"short-lnog": 1}}, "unknown group 'short-lnog'; did you mean 'short-long'"),
        ({"groups": {}}, "groups should have shares"),
        ({"groups": {"sts": -1}}, "groups should have shares"),
        ({"languages": {"Germann": 1}}, "unknown language 'Germann'; did you mean 'German'"),
        ({"languages": {"German": 0}}, "languages should have shares"),
        ({"languages": {"German": 1}}, "bitext needs two languages, got German"),
        ({"values": {"sts": {"unti": ["a"]}}}, "group 'sts' has no placeholder 'unti'"),
        ({"values": {"sts": {"unit": []}}}, "values of 'unit' should be a list that is not empty"),
        ({"values": {"sts": {"unit": "word"}}}, "values of 'unit' should be a list"),
        ({"tasks": {"short-long": []}}, r"tasks\['short-long'\] should be a list of texts"),
        ({"tasks": {"short-long": ["a", " "]}}, "none empty"),
    ],
)
def test_a_plan_that_cannot_be_drawn_from_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        synthesis.Plan(1, **options)


def test_bad_brainstorms_are_named():
    with pytest.raises(ValueError, match="group 'sts' has no tasks to brainstorm"):
        next(synthesis.brainstorms(1, 1, groups=["sts"]))
    with pytest.raises(ValueError, match="tasks=0"):
        next(synthesis.brainstorms(1, 1, tasks=0))
    with pytest.raises(ValueError, match=r"slot \{b\} and no value"):
        templates.fill("{a} {b}", {"a": 1})
