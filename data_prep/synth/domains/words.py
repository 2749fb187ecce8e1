"""translate_word({"word": "river", "language": "Spanish"}) -> {"translation": "rio"}. Words and letters."""

from __future__ import annotations

from random import Random

from data_prep.synth.functions import Domain, Function, Kind, Param, Return, State, ToolError, known
from data_prep.synth.kinds import INTEGER, TEXT, Names

OPPOSITES = {"cold": "hot", "dark": "light", "early": "late", "empty": "full", "weak": "strong", "narrow": "wide"}
LANGUAGES = ("Spanish", "German", "Italian")
TRANSLATIONS = {
    "hot": ("caliente", "heiß", "caldo"), "light": ("luz", "hell", "luce"), "late": ("tarde", "spät", "tardi"),
    "full": ("lleno", "voll", "pieno"), "strong": ("fuerte", "stark", "forte"), "wide": ("ancho", "breit", "largo"),
    "cold": ("frío", "kalt", "freddo"), "dark": ("oscuro", "dunkel", "scuro"), "early": ("temprano", "früh", "presto"),
    "empty": ("vacío", "leer", "vuoto"), "weak": ("débil", "schwach", "debole"),
    "narrow": ("estrecho", "eng", "stretto"),
}  # fmt: skip
WORD = Kind("Word", "string", "word", 'the word "{}"', lambda rng, s: rng.choice(list(OPPOSITES)))
LANGUAGE = Kind("Language", "string", "language", "{}", lambda rng, s: rng.choice(LANGUAGES))


def build(rng: Random, names: Names) -> State:
    return {"rng": rng}


def get_antonym(state: State, word: str) -> dict:
    return {"antonym": known(OPPOSITES, word, "word")}


def translate_word(state: State, word: str, language: str) -> dict:
    if language not in LANGUAGES:
        raise ToolError(f"no dictionary for {language!r}")
    return {"translation": known(TRANSLATIONS, word, "word")[LANGUAGES.index(language)]}


def count_letters(state: State, word: str) -> dict:
    return {"letters": len(word)}


def reverse_word(state: State, word: str) -> dict:
    return {"reversed": word[::-1]}


FUNCTIONS = (
    Function(
        "get_antonym", "Get the opposite of a word.",
        (Param("word", WORD, "English word"),),
        (Return("antonym", WORD, ("the opposite of {word}", "the antonym of {word}")),),
        asks=("find the opposite of {word}", "name the antonym of {word}"),
        says=('The opposite of "{word}" is "{antonym}".',), run=get_antonym,
    ),
    Function(
        "translate_word", "Translate an English word.",
        (Param("word", WORD, "English word"), Param("language", LANGUAGE, "Language to translate to")),
        (Return("translation", WORD, ("the {language} translation of {word}",)),),
        asks=("translate {word} into {language}", "give the {language} translation of {word}"),
        says=('In {language}, "{word}" is "{translation}".',), run=translate_word,
    ),
    Function(
        "count_letters", "Count the letters of a word.",
        (Param("word", WORD, "Word to count"),),
        (Return("letters", INTEGER),),
        asks=("count the letters of {word}", "tell how many letters {word} has"),
        says=('"{word}" has {letters} letters.',), run=count_letters,
    ),
    Function(
        "reverse_word", "Spell a word backwards.",
        (Param("word", WORD, "Word to reverse"),),
        (Return("reversed", TEXT),),
        asks=("spell {word} backwards", "reverse {word}"),
        says=('"{word}" spelled backwards is "{reversed}".',), run=reverse_word,
    ),
)  # fmt: skip

DOMAIN = Domain("words", ("I'm playing a word game.", "I am studying vocabulary."), build, FUNCTIONS)
