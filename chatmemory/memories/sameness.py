"""The decision whether two facts say the same.

A similar vector is no proof: "Ann is allergic to peanuts" and "Ann is not allergic to peanuts" are neighbours for every
embedder, and so are two numbers, names, units or dates in one sentence. So nearness only proposes, and words decide.
"""

import re
from unicodedata import decomposition, normalize

_TOKEN = re.compile(r"[-+]?\d+(?:[.,:/-]\d+)*|[^\W\d_]+(?:'[^\W\d_]+)*|[^\w\s]|_")
_DIGITS = re.compile(r"\d+")
_PUNCTUATION = frozenset(".,;:!\"'()[]{}-_…“”‘’«»‹›„¿¡、。「」『』【】〈〉《》・·،؛।॥״׳–—")  # noqa: RUF001
_NOT_FOLDED = ("<super>", "<sub>", "<fraction>")
_ARTICLES = frozenset(("a", "an", "the"))
_CONTRACTED = (  # in English
    (re.compile(r"\b(?:cannot|can't)\b"), "can not"),
    (re.compile(r"\bwon't\b"), "will not"),
    (re.compile(r"n't\b"), " not"),
    (re.compile(r"\bi'm\b"), "i am"),
    (re.compile(r"'re\b"), " are"),
    (re.compile(r"'ve\b"), " have"),
    (re.compile(r"'ll\b"), " will"),
)
_NEGATION_WORDS = (
    # English, German, Dutch, Swedish, Danish and Norwegian
    "not no never none nobody nothing neither nor without nicht kein keine keinen keiner keinem keines nie niemals "
    "ohne niemand nichts weder niet geen nooit zonder niets inte ej aldrig utan ingen inget inga ikke aldri "
    "uten uden intet "
    # French, Spanish, Italian, Portuguese, Romanian
    "ne pas jamais sans aucun aucune rien ni non nunca jamás sin ningún ninguna nada nadie tampoco mai senza nessun "
    "nessuno nessuna niente não sem nenhum nenhuma ninguém jamais nu fără niciodată "
    # Polish, Czech, Russian, Ukrainian, Greek, Hungarian, Finnish, Turkish
    "nigdy bez żaden żadna není nemá nikdy žádný не нет нету никогда без ни нельзя ні немає ніколи δεν δε μη μην όχι "
    "χωρίς ποτέ nem soha nincs nélkül ei emme eivät ilman değil yok hiç asla "
    # Arabic, Persian, Hebrew, Hindi, Vietnamese, Indonesian
    "لا ليس ليست لم لن ما بدون غير بلا نه نیست بدون לא אין בלי אינו אינה אף नहीं न मत बिना không chưa chẳng "
    "tidak bukan belum tanpa jangan"
)
_NEGATIONS = frozenset(_NEGATION_WORDS.split())
# Within words: Chinese, Japanese, Korean, Thai, Lao, Khmer, Burmese; and endings of Turkish verbs.
_NEGATIVE_PARTS = re.compile(
    "[不没沒無无未非别別]|ない|なかった|ません|なし|ずに|않|없|못|아니|(?:^|\\s)안(?:\\s|$)|ไม่|มิได้|ไร้|ບໍ່|មិន|គ្មាន|မ(?=.*(?:ဘူး|ပါ))"
    "|m[ıiuü]yor|m[ae]z(?:\\b|[sl])|m[ae]d[ıi]"  # noqa: RUF001
)


def says_the_same(one: str, other: str) -> bool:
    """Return whether two sentences certainly say the same: the same words in the same order, wherever it begins.

    Articles, contractions, capitals and punctuation do not matter ("In Lisbon Ann lives", "Ann lives in Lisbon"), but a
    question is no statement.
    """
    first, second = _words(one), _words(other)
    if first == second or sorted(first) != sorted(second):
        return first == second
    return any(first == second[start:] + second[:start] for start in range(1, len(second)))


def may_say_the_same(new: str, known: str) -> bool:
    """Return whether a model's word can be taken that a new sentence restates a known one.

    They must agree in negation, and the new one must not bring a number or a name of its own.
    """
    if _is_negative(new) != _is_negative(known) or not _numbers(new) <= _numbers(known):
        return False
    words = set(_words(known)) | {word.removesuffix("'s") for word in _words(known)}
    return all(name in words for name in _names(new))


def _folded(text: str) -> str:
    return normalize("NFC", "".join(map(_usual, text))).replace("\u2019", "'").replace("؟", "?")


def _usual(character: str) -> str:
    """Return the usual form of a character: m² is not m2, and 1½ is not 11/2."""
    return character if decomposition(character).startswith(_NOT_FOLDED) else normalize("NFKC", character)


def _words(text: str) -> list[str]:
    folded = _folded(text).casefold()
    for pattern, words in _CONTRACTED:
        folded = pattern.sub(words, folded)
    return [word for word in _TOKEN.findall(folded) if word not in _PUNCTUATION and word not in _ARTICLES]


def _is_negative(text: str) -> bool:
    return any(word in _NEGATIONS for word in _words(text)) or bool(_NEGATIVE_PARTS.search(_folded(text).casefold()))


def _numbers(text: str) -> set[str]:
    return {digits.lstrip("0") for digits in _DIGITS.findall(normalize("NFKC", text))}


def _names(text: str) -> set[str]:
    """Return the capitalised words behind the first one, which may be no name."""
    words = re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)*", _folded(text))
    return {word.casefold().removesuffix("'s") for word in words[1:] if word[0].isupper() and word not in ("I", "I'm")}
