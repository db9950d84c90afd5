"""Every template and instruction of the book, as data, and the few ways of putting a text into one."""

from __future__ import annotations

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
    solved = fill(check_template(template), sentence)
    return f'{solved}{word}".{template}'


def with_instruction(task: str, query: str) -> str:
    """Put a task description before a query, in the layout of E5-Mistral (arXiv 2401.00368)."""
    return f"Instruct: {task}\nQuery: {query}"


def as_chat(
    template: str, *, user: str = "<|im_start|>user\n", end: str = "<|im_end|>\n<|im_start|>assistant\n"
) -> str:
    """Wrap a template in the turns of a chat model (the default marks are those of SmolLM2)."""
    return f"{user}{check_template(template)}{end}"
