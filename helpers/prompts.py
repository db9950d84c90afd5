"""Every template and instruction of the book, as data, and the few ways of putting a text into one."""

from __future__ import annotations

from collections.abc import Sequence

SLOT = "{text}"

# Scaling Sentence Embeddings with LLMs (arXiv 2307.16645), spelled as in its code: a space before the first colon,
# nothing after the last quote. The paper prints it with other spaces.
PROMPT_EOL = 'This sentence : "{text}" means in one word:"'
PROMPT_PLAIN = 'This sentence : "{text}" means'
PROMPT_MASK = 'This sentence : "{text}" means [MASK].'
PROMPT_MASK_NO_STOP = 'This sentence : "{text}" means [MASK]'

# PromptEOL with one word or sign taken away, in the order in which they stand. Every entry is a complete template, so
# that spaces are ours and not those of a rule.
PROMPT_EOL_WITHOUT: dict[str, str] = {
    "This": 'Sentence : "{text}" means in one word:"',
    "sentence": 'This : "{text}" means in one word:"',
    "first colon": 'This sentence "{text}" means in one word:"',
    "quotes around the text": 'This sentence : {text} means in one word:"',
    "means": 'This sentence : "{text}" in one word:"',
    "in": 'This sentence : "{text}" means one word:"',
    "one": 'This sentence : "{text}" means in word:"',
    "word": 'This sentence : "{text}" means in one:"',
    "last colon": 'This sentence : "{text}" means in one word"',
    "last quote": 'This sentence : "{text}" means in one word:',
    "last colon and quote": 'This sentence : "{text}" means in one word',
}

_SENTENCE_ENDS = (".", "?", '"', "'")


def check_template(template: str) -> str:
    """Return the template, or raise a ValueError where it does not hold ``{text}`` exactly once."""
    if not isinstance(template, str) or template.count(SLOT) != 1:
        raise ValueError(f"a template must hold {SLOT} exactly once, got {template!r}")
    return template


def fill(template: str, text: str) -> str:
    """Put a text into a template. Braces in the text stay as they are."""
    before, after = check_template(template).split(SLOT)
    return f"{before}{text}{after}"


def normalise_sentence(text: str) -> str:
    """Prepare a sentence as PromptEOL's evaluation code does.

    White space is folded; a full stop is added unless the text ends with ``. ? " '``; double quotes become single ones,
    so that the template's own quotes stay the only ones; a final question mark becomes a full stop.
    Source: the evaluation of arXiv 2307.16645, described in its repository; an exclamation mark gets ``!.`` there too.
    """
    text = " ".join(text.split())
    if not text:
        return ""
    if not text.endswith(_SENTENCE_ENDS):
        text += "."
    text = text.replace('"', "'")
    return text[:-1] + "." if text.endswith("?") else text


def with_demonstration(sentence: str, word: str, *, template: str = PROMPT_EOL) -> str:
    """Return the template with one solved example before it (in-context learning, arXiv 2307.16645).

    Example:
        ``with_demonstration("Two cooks slice onions in a busy kitchen.", "Cooking")`` begins with that sentence in the
        template, the word, a quote and a full stop, and goes on, without a space, with the template for the text.
    """
    return with_demonstrations([(sentence, word)], template=template)


def with_demonstrations(examples: Sequence[tuple[str, str]], *, template: str = PROMPT_EOL) -> str:
    """Return the template with solved examples ``(sentence, word)`` before it, in order; without any, as it is."""
    check_template(template)
    return "".join(f'{fill(template, sentence)}{word}".' for sentence, word in examples) + template


def with_instruction(task: str, query: str) -> str:
    """Put a task description before a query, in the layout of E5-Mistral (arXiv 2401.00368)."""
    return f"Instruct: {task}\nQuery: {query}"


def as_chat(
    template: str, *, user: str = "<|im_start|>user\n", end: str = "<|im_end|>\n<|im_start|>assistant\n"
) -> str:
    """Wrap a template in the turns of a chat model (the default marks are those of SmolLM2)."""
    return f"{user}{check_template(template)}{end}"


# Name of a dataset -> what its texts are, and in which respect two of them go together (after ClusterLLM, arXiv
# 2305.14871, in other words).
KINDS: dict[str, tuple[str, str]] = {
    "banking77": ("message from a bank's customer", "intent"),
    "stackexchange": ("question from a StackExchange site", "topic"),
    "mtop-domain": ("request to a voice assistant", "domain"),
    "fewnerd": ("example", "type of the entity that it asks for"),
    "intents": ("message to a bank's help line", "intent"),
    "topics": ("title of a forum question", "topic"),
    "entities": ("example", "type of the entity that it asks for"),
}
TRIPLET_INSTRUCTIONS: dict[str, str] = {
    name: f"Which choice is the {kind} that matches the query better in its {respect}?"
    for name, (kind, respect) in KINDS.items()
}
TRIPLET_REQUEST = "Answer with 'Choice 1' or 'Choice 2' and give no reason."
PAIR_INSTRUCTIONS: dict[str, str] = {
    name: f"Each sentence is a {kind}. Do the two have the same {respect}?" for name, (kind, respect) in KINDS.items()
}
PAIR_REQUEST = "Answer with 'Yes' or 'No' and give no reason."


def triplet_question(instruction: str, query: str, choice1: str, choice2: str, *, order: str = "before") -> str:
    """Return the question which of two choices goes with a query.

    Args:
        instruction: What to look at, such as one of `TRIPLET_INSTRUCTIONS`.
        query: The text asked about.
        choice1: The first option.
        choice2: The second.
        order: Where the instruction stands: ``before`` the three texts, as in ClusterLLM, or ``after`` them, as in
            EMBwithLLM. The request for the form of the answer always comes last.

    Raises:
        ValueError: For another order.
    """
    lines = f"Query: {query}\nChoice 1: {choice1}\nChoice 2: {choice2}"
    if order == "before":
        return f"{instruction}\n\n{lines}\n\n{TRIPLET_REQUEST}"
    if order == "after":
        return f"{lines}\n\n{instruction} {TRIPLET_REQUEST}"
    raise ValueError(f"order={order!r} should be 'before' or 'after'")


def pair_question(instruction: str, sentence1: str, sentence2: str, *, demonstrations: Sequence[str] = ()) -> str:
    """Return the question whether two texts belong together, with solved examples before it where there are any."""
    solved = "".join(f"[Example {n}]\n{text}\n\n" for n, text in enumerate(demonstrations, start=1))
    return f"{solved}{instruction}\n\nSentence 1: {sentence1}\nSentence 2: {sentence2}\n\n{PAIR_REQUEST}"


# What a judge reads who is not asked to write: its probabilities are read off instead (`helpers.llm`).
OPTION_LEAD = "The better match is Choice"
OPTIONS = (" 1", " 2")
SAME_MEANING = 'These two messages mean the same: "{first}" and "{second}'
# The layout of Starling-RM-7B-alpha as its model card gives it; the end mark before [/INST] belongs there.
STARLING_REWARD = "<s>[INST] {prompt} </s> [/INST] {response}</s>"


def option_question(instruction: str, query: str, choice1: str, choice2: str) -> str:
    """Return a text that stops right before the number of the choice: the next token is the answer."""
    return f"{instruction}\n\nQuery: {query}\nChoice 1: {choice1}\nChoice 2: {choice2}\n\n{OPTION_LEAD}"


def same_meaning(first: str, second: str, *, template: str = SAME_MEANING) -> tuple[str, str]:
    """Return ``(context, continuation)``: the template up to its ``{second}``, and the second text.

    Raises:
        ValueError: For a template that does not hold ``{first}`` once and end with its only ``{second}``.
    """
    before, found, rest = template.partition("{first}")
    middle, last, after = rest.partition("{second}")
    if not found or not last or after or "{first}" in middle or "{second}" in before:
        raise ValueError(f"a template of two texts must hold {{first}} and end with {{second}}, got {template!r}")
    return f"{before}{first}{middle}", second


def reward_text(prompt: str, response: str, *, template: str = STARLING_REWARD) -> str:
    """Put a prompt and the response to be scored into a reward model's layout; braces in them stay as they are."""
    before, found, rest = template.partition("{prompt}")
    middle, last, after = rest.partition("{response}")
    if not found or not last:
        raise ValueError(f"a reward template must hold {{prompt}} and then {{response}}, got {template!r}")
    return f"{before}{prompt}{middle}{response}{after}"
