"""The prompts of synthetic data, in our own words: brainstorming tasks, then writing an example for one.

What each prompt demands is what the paper's prompts demand (arXiv 2401.00368, appendix C); no sentence is theirs. Slots
stand in braces; `fill` puts values in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_SLOT = re.compile(r"\{([a-z_]+)\}")

_BRAINSTORM_END = """
Write {count} tasks of this kind, each as one sentence that tells a machine what is given and what is to be found. \
Range over many professions, hobbies, kinds of text and situations; surprise us.
Answer with a JSON object that has the single key "tasks", a list of {count} strings. Write nothing before or after it.\
"""

BRAINSTORM: dict[str, str] = {
    "short-long": """\
We collect search tasks in which somebody types a few words and wants longer documents back. A task says what the \
query is and what a fitting document is. Two of them, to show the form:
- Given the name of a houseplant and what is wrong with it, find advice that explains the cause and the cure.
- Given a short question about tenancy law, find passages of a guide that answer it.
"""
    + _BRAINSTORM_END,
    "long-short": """\
We collect classification tasks: a text is given, and the name of its class is wanted. The classes may concern topic, \
intention, feeling, style, quality, urgency, origin or whatever else texts can be sorted by.
"""
    + _BRAINSTORM_END,
    "short-short": """\
We collect matching tasks in which both sides are short: a word, a name, a title, a phrase or a sentence. Three of \
them, to show the form:
- Given the title of a song, find the mood that it is played for.
- Given an abbreviation, find what it stands for.
- Given an old tool, find the trade that used it.
"""
    + _BRAINSTORM_END,
    "long-long": """\
We collect matching tasks in which both sides are long: whole articles, reports, letters, stories or descriptions. Two \
of them, to show the form:
- Given the minutes of a meeting, find the press release that was made of them.
- Given a patient's account of an illness, find the account of another with the same course.
"""
    + _BRAINSTORM_END,
}

_TASK = "The task: {task}"
_OWN_TASK = """\
First think of a task of this kind: {about}. Put it, in one English sentence, under the key "task". \
Then write for it."""
_END = """
Answer with one JSON object that has exactly the keys {keys}, all of them strings. No remark, no reason, no code fence \
around it. Be inventive: think of a subject that others would not think of first.\
"""

WRITE: dict[str, str] = {
    "short-long": """\
You write training data for a search engine. {lead}

Write one example:
- "user_query" is what a user of the engine types;
- "positive_document" is a document that serves this user;
- "hard_negative_document" is a document that seems to serve, and is of some use, but covers the need less well.

What to keep to:
- The query is {query_type}, has {query_length}, and what it means is {clarity}.
- Each document has at least {num_words} words.
- Write each document as if its author had never seen the query. Do not repeat the query in it, and let a part of the \
positive document be about something else.
- All texts are in {language}, and reading them takes this level of education: {difficulty}.
- No text says why it does or does not serve the user.
"""
    + _END,
    "long-short": """\
You write training data for a text classifier. {lead}

Write one example:
- "input_text" is a text to be classified;
- "label" is the name of the class that fits it best, in a few words;
- "misleading_label" is the name of another class of the same task, one that fits less well.

What to keep to:
- The text has {num_words}, and how it is written is {clarity}.
- The words of the label do not stand in the text.
- All three are in {language}, and reading the text takes this level of education: {difficulty}.
"""
    + _END,
    "short-short": """\
You write training data for a model that matches short texts. {lead}

Write one example:
- "input" is what is given;
- "positive_document" is what is to be found for it.

What to keep to:
- Both are short: a word, a name, a phrase or one sentence.
- Write the second as if its author had never seen the first: as few words as possible stand in both.
- Both are in {language}.
"""
    + _END,
    "long-long": """\
You write training data for a model that matches long texts. {lead}

Write one example:
- "input" is what is given;
- "positive_document" is what is to be found for it.

What to keep to:
- Each has at least {num_words} words.
- Write the second as if its author had never seen the first: no sentence and few expressions stand in both.
- Both are in {language}.
"""
    + _END,
    "sts": """\
You write training data for a model that measures how alike two texts are in meaning, from 1 (nothing in common) to 5 \
(the same meaning).

Write three texts, each a {unit}, in {language}:
- "S1";
- "S2", whose likeness to S1 is {high_score};
- "S3", whose likeness to S1 is {low_score}.

What to keep to:
- The three have some words in common, so that words alone do not show which two belong together.
- Choose subject and length freely; reading the texts takes this level of education: {difficulty}.
"""
    + _END,
    "bitext": """\
You write training data for a model that finds translations. How well a translation keeps the meaning is measured from \
1 (nothing of it) to 5 (all of it).

Write three texts, each a {unit}:
- "S1", in {src_lang};
- "S2", in {tgt_lang}, a translation of S1 at {high_score};
- "S3", in {tgt_lang}, a translation of S1 at {low_score}.

What to keep to:
- S2 and S3 have words in common.
- S3 is good {tgt_lang}, but wrong: a central word or a number is another, something is missing, or something is added.
- Choose subject and length freely; reading the texts takes this level of education: {difficulty}.
"""
    + _END,
}


def fill(template: str, values: Mapping[str, object]) -> str:
    """Put values into a template's slots, in one pass: braces in a value stay as they are.

    Raises:
        ValueError: For a slot without a value, with its name.
    """

    def value(found: re.Match[str]) -> str:
        if found[1] not in values:
            raise ValueError(f"the template has a slot {found[0]} and no value for it")
        return str(values[found[1]])

    return _SLOT.sub(value, template)


def slots(template: str) -> set[str]:
    """Return the names of a template's slots."""
    return set(_SLOT.findall(template))


def lead(task: str | None, about: str) -> str:
    """Return the sentence that gives a task, or asks for one (one-step prompting) where it is None."""
    return fill(_OWN_TASK, {"about": about}) if task is None else fill(_TASK, {"task": task})


def quoted(keys: tuple[str, ...]) -> str:
    """Return keys as they stand in a prompt: ``"a", "b" and "c"``."""
    names = [f'"{key}"' for key in keys]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
