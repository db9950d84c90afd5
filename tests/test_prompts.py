import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import prompts

# What each ablation takes away: the positions among the signs of the whole template, by hand.
SIGNS = ["this", "sentence", ":", '"', "{text}", '"', "means", "in", "one", "word", ":", '"']
TAKEN_AWAY = {
    "This": {0},
    "sentence": {1},
    "first colon": {2},
    "quotes around the text": {3, 5},
    "means": {6},
    "in": {7},
    "one": {8},
    "word": {9},
    "last colon": {10},
    "last quote": {11},
    "last colon and quote": {10, 11},
}
TEMPLATES = [prompts.PROMPT_EOL, prompts.PROMPT_PLAIN, prompts.PROMPT_MASK, prompts.PROMPT_MASK_NO_STOP]


def signs(template):
    return re.findall(r"\{text\}|\w+|[^\w\s]", template.lower())


def test_the_prompts_are_spelled_exactly():
    assert prompts.PROMPT_EOL == 'This sentence : "{text}" means in one word:"'
    assert prompts.PROMPT_PLAIN == 'This sentence : "{text}" means'
    assert prompts.PROMPT_MASK == 'This sentence : "{text}" means [MASK].'
    assert prompts.PROMPT_MASK_NO_STOP + "." == prompts.PROMPT_MASK


@pytest.mark.parametrize("name", TAKEN_AWAY)
def test_each_ablation_takes_away_what_its_name_says_and_nothing_else(name):
    assert signs(prompts.PROMPT_EOL) == SIGNS
    assert signs(prompts.PROMPT_EOL_WITHOUT[name]) == [s for i, s in enumerate(SIGNS) if i not in TAKEN_AWAY[name]]


def test_every_ablation_is_covered_in_order_and_all_differ():
    assert list(prompts.PROMPT_EOL_WITHOUT) == list(TAKEN_AWAY)
    assert len({prompts.PROMPT_EOL, *prompts.PROMPT_EOL_WITHOUT.values()}) == len(TAKEN_AWAY) + 1


@pytest.mark.parametrize("template", [*TEMPLATES, *prompts.PROMPT_EOL_WITHOUT.values()])
def test_every_template_is_valid_and_has_no_stray_spaces(template):
    assert prompts.check_template(template) == template
    assert template == " ".join(template.split())


def test_a_demonstration_is_spelled_exactly():
    assert prompts.with_demonstration("Two cooks slice onions in a busy kitchen.", "Cooking") == (
        'This sentence : "Two cooks slice onions in a busy kitchen." means in one word:"Cooking".'
        'This sentence : "{text}" means in one word:"'
    )
    assert prompts.with_demonstration("Rain.", "wet", template="<{text}>") == '<Rain.>wet".<{text}>'


def test_a_demonstration_can_be_filled_like_any_template():
    template = prompts.with_demonstration("Rain.", "wet", template="<{text}>")
    assert prompts.fill(template, "Snow.") == '<Rain.>wet".<Snow.>'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Is it raining?", "Is it raining."),
        ("Wow!", "Wow!."),
        ('He said "go"', "He said 'go'"),
        ("A full stop.", "A full stop."),
        ("None here", "None here."),
        ("It's the dogs'", "It's the dogs'"),
        ("  folded \t white\n\nspace ", "folded white space."),
        ("Really??", "Really?."),
        ('"Why?"', "'Why?'"),
        ("", ""),
        (" \n", ""),
    ],
)
def test_sentences_are_normalised_as_in_the_paper(text, expected):
    assert prompts.normalise_sentence(text) == expected


@given(text=st.text(max_size=40))
def test_a_normalised_sentence_has_single_spaces_no_double_quote_and_a_closed_end(text):
    result = prompts.normalise_sentence(text)
    assert result == " ".join(result.split())
    assert '"' not in result
    assert not result or result[-1] in ".'"


@given(text=st.text(max_size=40))
def test_normalising_twice_changes_nothing_more(text):
    once = prompts.normalise_sentence(text)
    assert prompts.normalise_sentence(once) == once


@given(text=st.text(max_size=40))
def test_fill_puts_in_any_text_unchanged(text):
    assert prompts.fill('a "{text}" b', text) == 'a "' + text + '" b'


@pytest.mark.parametrize("text", ["{text}", "{}", "{0!r:>{width}}", "}{", r"\1 %s {{text}}"])
def test_braces_in_a_text_stay_as_they_are(text):
    assert prompts.fill("[{text}]", text) == f"[{text}]"


@pytest.mark.parametrize("template", ["", "no slot", "{text} and {text}", "{Text}", "{ text }", None, 7])
def test_a_template_without_exactly_one_slot_is_refused(template):
    message = re.escape(f"must hold {{text}} exactly once, got {template!r}")
    with pytest.raises(ValueError, match=message):
        prompts.check_template(template)
    with pytest.raises(ValueError, match=message):
        prompts.fill(template, "a")
    with pytest.raises(ValueError, match=message):
        prompts.with_demonstration("a", "b", template=template)
    with pytest.raises(ValueError, match=message):
        prompts.as_chat(template)


def test_an_instruction_stands_on_its_own_line_before_the_query():
    assert prompts.with_instruction("Find {similar} texts", "rain") == "Instruct: Find {similar} texts\nQuery: rain"


def test_an_instruction_around_the_slot_is_a_template():
    template = prompts.with_instruction("Sort", prompts.SLOT)
    assert prompts.fill(template, "rain") == prompts.with_instruction("Sort", "rain")


def test_a_chat_wraps_the_template_in_turns():
    assert prompts.as_chat("Say {text}") == "<|im_start|>user\nSay {text}<|im_end|>\n<|im_start|>assistant\n"
    assert prompts.as_chat("{text}", user="U:", end="A:") == "U:{text}A:"
