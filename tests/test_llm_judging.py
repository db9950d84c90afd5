"""Judging: three ways of reading an opinion, each from two sides, and a reward."""

import re

import numpy as np
import pytest

from helpers import llm, models, prompts

QUESTIONS = [
    ("where is my card", "the card has not arrived", "how do I change my PIN"),
    ("rain tomorrow?", "play a song", "what will the weather be"),
    ("cat", "cat", "dog"),
]
ANSWERS = [1, 2, 1]


def first_number(reply):
    found = re.findall(r"Choice ([12])", reply)
    return int(found[0]) if len(set(found)) == 1 else None


class Fake:
    """Answers from a function of query and choices; it sees only what a model would."""

    name, revision = "fake", "1"

    def __init__(self, better, says="Choice {}"):
        self.better, self.says, self.settings, self.asked = better, says, {}, []

    def choose(self, prompt):
        self.asked.append(prompt)
        return self.better(*re.search(r"Query: (.*)\nChoice 1: (.*)\nChoice 2: (.*)\n", prompt).groups())

    def reply(self, texts, *, max_tokens):
        return [self.says.format(self.choose(text)) for text in texts]

    def option_logprobs(self, texts, options):
        assert list(options) == [" 1", " 2"]
        return np.array([[-0.5, -1.7] if self.choose(text) == 1 else [-1.7, -0.5] for text in texts])

    def text_logprob(self, contexts, continuations, *, per_token):
        assert per_token
        self.asked += list(zip(contexts, continuations, strict=True))
        return np.array([-float(len(set(a) ^ set(b))) for a, b in self.asked[-len(contexts) :]])

    def scores(self, texts, responses):
        self.asked += list(zip(texts, responses, strict=True))
        return np.array(
            [float(len(set(text) & set(response))) for text, response in zip(texts, responses, strict=True)]
        )


def right(query, first, second):
    texts = {question[0]: question[answer] for question, answer in zip(QUESTIONS, ANSWERS, strict=True)}
    return 1 if texts[query] == first else 2


def always_one(query, first, second):
    return 1


@pytest.mark.parametrize("way", ["reply", "option"])
def test_a_judge_that_looks_at_the_texts_is_right_and_consistent(way):
    found = llm.judge(Fake(right), QUESTIONS, way=way, parse=first_number)
    assert [one.answer for one in found] == ANSWERS
    assert all(one.consistent for one in found)
    assert [abs(one.margin) for one in found] == pytest.approx([1.0] * 3 if way == "reply" else [1.2] * 3)


@pytest.mark.parametrize("way", ["reply", "option"])
def test_a_preference_for_a_place_cancels(way):
    for one in llm.judge(Fake(always_one), QUESTIONS, way=way, parse=first_number):
        assert (one.answer, one.margin, one.consistent) == (None, 0.0, False)
        assert one.sides[0] == -one.sides[1] > 0


@pytest.mark.parametrize("way", ["reply", "option", "likelihood", "reward"])
@pytest.mark.parametrize("better", [right, always_one])
def test_swapping_the_choices_swaps_the_judgement(way, better):
    swapped = [llm.Question(*question).swapped for question in QUESTIONS]
    there = llm.judge(Fake(better), QUESTIONS, way=way, parse=first_number)
    back = llm.judge(Fake(better), swapped, way=way, parse=first_number)
    for one, other in zip(there, back, strict=True):
        assert one.margin == -other.margin
        assert one.consistent == other.consistent
        assert {one.answer, other.answer} in ({1, 2}, {None})


@pytest.mark.parametrize("way", ["reply", "option"])
def test_one_order_takes_half_the_prompts_and_knows_no_consistency(way):
    fake = Fake(always_one)
    found = llm.judge(fake, QUESTIONS, way=way, parse=first_number, both_orders=False)
    assert [(one.answer, one.consistent) for one in found] == [(1, None)] * 3
    assert len(fake.asked) == 3


@pytest.mark.parametrize("says", ["", "no idea", "Choice 1 or Choice 2", "\x00"])
def test_a_reply_that_cannot_be_parsed_is_no_answer(says):
    for one in llm.judge(Fake(right, says=says), QUESTIONS, way="reply", parse=first_number):
        assert (one.answer, one.margin, one.consistent) == (None, 0.0, False)
        assert one.facts["replies"] == (says, says)
        assert one.facts["read"] == (None, None)


def test_one_vote_and_one_silence_is_an_answer_without_agreement():
    class Half(Fake):
        def reply(self, texts, *, max_tokens):
            return ["Choice 2" if at % 2 == 0 else "hm" for at, _ in enumerate(texts)]

    one = llm.judge(Half(right), QUESTIONS[:1], way="reply", parse=first_number)[0]
    assert (one.answer, one.margin, one.consistent) == (2, -0.5, False)


def test_prompts_are_those_of_the_book():
    fake = Fake(right)
    query, first, second = QUESTIONS[0]
    llm.judge(fake, QUESTIONS[:1], way="reply", parse=first_number, instruction="Look!", order="after")
    assert fake.asked[1] == prompts.triplet_question("Look!", query, second, first, order="after")
    fake.asked.clear()
    llm.judge(fake, QUESTIONS[:1], way="option", instruction="Look!")
    assert fake.asked[0].startswith("Look!\n\nQuery: ")
    assert fake.asked[0].endswith("\n\nThe better match is Choice")
    fake.asked.clear()
    llm.judge(fake, QUESTIONS[:1], way="likelihood")
    context = 'These two messages mean the same: "{}" and "'
    assert fake.asked == [(context.format(first), query), (context.format(query), first),
                          (context.format(second), query), (context.format(query), second)]  # fmt: skip
    fake.asked.clear()
    llm.judge(fake, QUESTIONS[:1], way="reward", instruction="Look!")
    assert fake.asked == [(f"Look!\n\n{query}", first), (f"Look!\n\n{query}", second)]


def test_likelihood_averages_both_directions():
    class Table(Fake):
        def text_logprob(self, contexts, continuations, *, per_token):
            return np.array([-1.0, -2.0, -3.0, -2.5])  # query after 1, 1 after query, query after 2, 2 after query

    one = llm.judge(Table(right), QUESTIONS[:1], way="likelihood")[0]
    assert one.sides == (2.0, 0.5)
    assert (one.margin, one.answer, one.consistent) == (1.25, 1, True)


def test_a_question_whose_choices_are_equal_has_no_answer():
    for way in ("likelihood", "reward"):
        one = llm.judge(Fake(right), [("a", "b", "b")], way=way)[0]
        assert (one.answer, one.margin) == (None, 0.0)


def test_braces_and_marks_in_texts_stay_as_they_are():
    assert prompts.same_meaning("{second} {x}", "{first}") == (
        'These two messages mean the same: "{second} {x}" and "',
        "{first}",
    )
    assert prompts.reward_text("{response}", "{prompt}") == "<s>[INST] {response} </s> [/INST] {prompt}</s>"
    for template in ("{first}", "{second} {first}", "{first} {second}.", "{first} {first} {second}", ""):
        with pytest.raises(ValueError, match="two texts must hold"):
            prompts.same_meaning("a", "b", template=template)
    for template in ("{prompt}", "{response} {prompt}"):
        with pytest.raises(ValueError, match="a reward template must hold"):
            prompts.reward_text("a", "b", template=template)


@pytest.mark.parametrize(
    ("questions", "options", "message"),
    [
        (QUESTIONS, {"way": "replies"}, "unknown way of judging 'replies'; did you mean 'reply'"),
        (QUESTIONS, {"way": "reply"}, "way='reply' needs parse"),
        ([*QUESTIONS, ("a", " ", "c")], {}, r"questions\[3\]\.choice1 is ' '"),
        ([("a", None, "c")], {}, r"questions\[0\]\.choice1 is None"),
        ([("a", "b")], {}, r"questions\[0\] should be a query and two choices"),
        (["abc"], {}, r"questions\[0\] should be a query and two choices"),
        (QUESTIONS, {"way": "reply", "parse": first_number, "order": "upside"}, "order='upside'"),
    ],
)
def test_bad_requests_are_named_before_anything_is_asked(questions, options, message):
    fake = Fake(right)
    with pytest.raises(ValueError, match=message):
        llm.judge(fake, questions, **options)
    assert fake.asked == []


def test_a_backend_that_cannot_judge_this_way_says_so():
    server = llm.OpenAIServer("http://127.0.0.1:1/v1", "m")
    with pytest.raises(ValueError, match="OpenAIServer 'm' cannot judge this way: it has no option_logprobs"):
        llm.judge(server, QUESTIONS, way="option")


def test_no_questions_give_no_judgements():
    assert llm.judge(Fake(right), [], way="option") == []


@pytest.mark.parametrize("way", ["reply", "option", "likelihood", "reward"])
def test_a_journal_answers_a_second_run_and_what_an_interrupted_one_has_left(way, tmp_path):
    path = tmp_path / "j.jsonl"
    many = [(f"query {n}", f"one {n}", f"two {n}") for n in range(70)]
    options = {"way": way, "parse": first_number}

    class Dying(Fake):
        calls = 0

        def __getattribute__(self, name):
            if name in ("reply", "option_logprobs", "text_logprob", "scores"):
                Dying.calls += 1
                if Dying.calls > 4:  # each call is looked up twice: the first two batches pass
                    raise KeyboardInterrupt
            return super().__getattribute__(name)

    with pytest.raises(KeyboardInterrupt):
        llm.judge(Dying(always_one), many, journal=llm.Journal(path), **options)
    kept = len(llm.Journal(path))
    rest, fresh = Fake(always_one), Fake(always_one)
    resumed = llm.judge(rest, many, journal=llm.Journal(path), **options)
    expected = llm.judge(fresh, many, **options)
    assert resumed == expected
    assert 0 < kept == len(fresh.asked) - len(rest.asked)
    assert llm.judge(llm.Replay(llm.Journal(path)), many, **options) == expected


def test_the_packaged_model_tells_something_by_likelihood():
    model, tokenizer = models.load_decoder("smollm2-135m", head=True)
    judge = llm.LocalModel(model, tokenizer)
    assert judge.name.startswith("smollm2-135m-")
    found = llm.judge(judge, QUESTIONS[:2], way="likelihood")
    assert [one.answer for one in found] == ANSWERS[:2]
    found = llm.judge(judge, QUESTIONS[:1], way="option", instruction=prompts.TRIPLET_INSTRUCTIONS["intents"])
    logprobs = np.array(found[0].facts["logprobs"])
    assert logprobs.shape == (2, 2)
    assert (logprobs < 0).all()
    assert (np.exp(logprobs).sum(axis=1) > 0.2).all()  # it understands that a number is asked for
