"""In which languages texts are asked for, and how often each."""

from __future__ import annotations

from collections.abc import Iterable

from helpers import settings

# The languages of XLM-R (arXiv 1911.02116, appendix A), from which the paper draws, without romanised and otherwise
# doubled ones: name -> ISO 639-1 code, or 639-3 where there is none.
CODES: dict[str, str] = {
    "Afrikaans": "af", "Albanian": "sq", "Amharic": "am", "Arabic": "ar", "Armenian": "hy", "Assamese": "as",
    "Azerbaijani": "az", "Basque": "eu", "Belarusian": "be", "Bengali": "bn", "Bosnian": "bs", "Breton": "br",
    "Bulgarian": "bg", "Burmese": "my", "Catalan": "ca", "Chinese": "zh", "Croatian": "hr", "Czech": "cs",
    "Danish": "da", "Dutch": "nl", "English": "en", "Esperanto": "eo", "Estonian": "et", "Filipino": "tl",
    "Finnish": "fi", "French": "fr", "Galician": "gl", "Georgian": "ka", "German": "de", "Greek": "el",
    "Gujarati": "gu", "Hausa": "ha", "Hebrew": "he", "Hindi": "hi", "Hungarian": "hu", "Icelandic": "is",
    "Indonesian": "id", "Irish": "ga", "Italian": "it", "Japanese": "ja", "Javanese": "jv", "Kannada": "kn",
    "Kazakh": "kk", "Khmer": "km", "Korean": "ko", "Kurdish": "ku", "Kyrgyz": "ky", "Lao": "lo", "Latin": "la",
    "Latvian": "lv", "Lithuanian": "lt", "Macedonian": "mk", "Malagasy": "mg", "Malay": "ms", "Malayalam": "ml",
    "Marathi": "mr", "Mongolian": "mn", "Nepali": "ne", "Norwegian": "no", "Odia": "or", "Oromo": "om",
    "Pashto": "ps", "Persian": "fa", "Polish": "pl", "Portuguese": "pt", "Punjabi": "pa", "Romanian": "ro",
    "Russian": "ru", "Sanskrit": "sa", "Scottish Gaelic": "gd", "Serbian": "sr", "Sindhi": "sd", "Sinhala": "si",
    "Slovak": "sk", "Slovenian": "sl", "Somali": "so", "Spanish": "es", "Sundanese": "su", "Swahili": "sw",
    "Swedish": "sv", "Tamil": "ta", "Telugu": "te", "Thai": "th", "Turkish": "tr", "Ukrainian": "uk", "Urdu": "ur",
    "Uyghur": "ug", "Uzbek": "uz", "Vietnamese": "vi", "Welsh": "cy", "Western Frisian": "fy", "Xhosa": "xh",
    "Yiddish": "yi",
}  # fmt: skip

# Percent of the published set in each language (arXiv 2401.00368, section 3.5 of its statistics); what is left of 100
# is shared equally by all others, as the paper does not say more of them.
NAMED_SHARES: dict[str, float] = {
    "English": 43.1, "Polish": 3.0,
    "Japanese": 2.9, "Italian": 2.9, "Russian": 2.9, "Indonesian": 2.9, "German": 2.9, "Persian": 2.9,
    "Spanish": 2.8, "Chinese": 2.8, "French": 2.8, "Portuguese": 2.8, "Dutch": 2.8,
    "Arabic": 2.7,
}  # fmt: skip

# How long a word may become, in characters with its space, and a character, in UTF-8 bytes: no tokenizer of bytes
# needs more tokens than a text has bytes.
_UNSPACED = {"zh", "ja", "th", "lo", "km", "my"}
_TWO_BYTES = {
    "ar", "be", "bg", "el", "fa", "he", "hy", "kk", "ky", "mk", "mn", "ps", "ru", "sd", "sr", "ug", "uk", "ur", "yi",
}  # fmt: skip
_THREE_BYTES = _UNSPACED | {
    "am", "as", "bn", "gu", "hi", "ka", "kn", "ko", "ml", "mr", "ne", "or", "pa", "sa", "si", "ta", "te",
}  # fmt: skip


def word_characters(language: str) -> int:
    """Return how many characters a word of a language is allowed."""
    return 3 if CODES[language] in _UNSPACED else 9


def character_bytes(language: str) -> int:
    """Return how many UTF-8 bytes a letter of a language mostly has."""
    code = CODES[language]
    return 3 if code in _THREE_BYTES else 2 if code in _TWO_BYTES else 1


def published_shares() -> dict[str, float]:
    """Return the share of each of the languages in the published set; they add up to 1."""
    others = [language for language in CODES if language not in NAMED_SHARES]
    left = (100 - sum(NAMED_SHARES.values())) / len(others)
    return {language: NAMED_SHARES.get(language, left) / 100 for language in CODES}


def check_languages(names: Iterable[str]) -> None:
    """Raise a ValueError for a language that is not in `CODES`, with the nearest name."""
    for name in names:
        if name not in CODES:
            raise ValueError(f"unknown language {name!r}; {settings.nearest(name, CODES)}")
