"""Words of every script stay whole: combining signs and joiners belong to them."""

import shutil
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora.dataset.captions import has_trigger, with_trigger
from sdgen.adapters.catalogue import BUNDLED_FOLDER, Catalogue
from sdgen.adapters.store import adapters_folder
from sdgen.adapters.words import clean
from sdgen.enhance.guard import protected
from sdgen.enhance.language import words_of
from sdgen.letters import JOINERS, as_words, marks, plain_words, word_signs
from sdgen.models import ModelWords
from sdgen.terminal import plain
from sdgen.ui import triggers

MURALI = "മിന്നൽ മുരളി"
WORDS = {
    "Malayalam": MURALI,
    "Malayalam with a joiner": "അവന്\u200d വീട്ടിൽ",
    "Hindi": "बिजली की क्षत्रिय",
    "Tamil": "தமிழ் நாடு",
    "Thai": "ที่นี่ น้ำ",
    "Persian": "می\u200cخواهم کتاب",
    "Hebrew": "שָׁלוֹם עוֹלָם",
    "Vietnamese, decomposed": unicodedata.normalize("NFD", "tiếng việt"),
    "Khmer": "ភាសា ខ្មែរ",
}


@pytest.mark.parametrize("text", WORDS.values(), ids=WORDS)
def test_words_are_found_whole(text: str) -> None:
    assert plain_words().findall(f"3 {text}, 5!") == text.split()
    assert words_of(text) == words_of(text.replace(" ", " , "))
    assert len(words_of(text)) == len(text.split())


@pytest.mark.parametrize("text", WORDS.values(), ids=WORDS)
def test_words_that_a_model_does_not_know_are_named_whole(text: str) -> None:
    none = ModelWords((), (), (), (), (), frozenset({"a"}), ())
    assert none.unknown(f"a {text}.") == tuple(text.lower().split())


def test_every_mark_of_unicode_is_part_of_words() -> None:
    inside = as_words("a")
    for code in range(0x110000):
        char = chr(code)
        if unicodedata.category(char).startswith("M"):
            assert inside.search(f"a{char}") is None, hex(code)
    assert inside.search("a-b a.b") is not None


@pytest.mark.parametrize(
    ("text", "trigger"), [("മിന്നൽ", "മ"), ("मिठाई", "म"), ("ന്\u200dx", "ന"), ("xക്ഷ", "ക")]
)
def test_a_trigger_is_not_found_inside_a_word(text: str, trigger: str) -> None:
    assert not triggers.has(f"a {text} b", trigger)
    assert triggers.put_in(text, trigger) == f"{trigger}, {text}"
    assert triggers.take_out(f"{trigger}, {text}", trigger) == text
    assert not has_trigger(text, trigger)
    assert with_trigger(text, trigger) == f"{trigger}, {text}"


@pytest.mark.parametrize("text", WORDS.values(), ids=WORDS)
def test_a_trigger_of_any_script_is_found_as_words(text: str) -> None:
    spaced = f"a {text.replace(' ', '  ')}, b"
    assert triggers.has(spaced, text)
    assert has_trigger(spaced, text)
    assert triggers.without(spaced, [text]).split() == ["a", ",", "b"]


def test_a_name_with_combining_signs_is_protected_whole() -> None:
    name = unicodedata.normalize("NFD", "Müller")
    assert protected(f"a portrait of {name} at night") == (name,)


@pytest.mark.parametrize("name", [MURALI, "അവന്\u200d", "बिजली"])
def test_an_adapter_keeps_a_file_name_of_any_script(tmp_path: Path, name: str) -> None:
    folder = adapters_folder(tmp_path)
    folder.mkdir(parents=True)
    shutil.copyfile(
        next(BUNDLED_FOLDER.glob("minnal-murali.safetensors")), folder / f"{name}.safetensors"
    )
    assert name in [report.name for report in Catalogue(tmp_path).list()]


def test_joiners_stay_in_what_others_wrote_and_control_characters_go() -> None:
    for text in WORDS.values():
        assert clean(f"{text}\x07\u202e") == text
        assert plain(text) == text
    assert clean(JOINERS * 3) == ""
    assert plain("a\u202eb\x1b") == "a\ufffdb\ufffd"


@given(st.text(max_size=60))
def test_a_text_is_cut_into_words_without_losing_a_letter(text: str) -> None:
    found = "".join(plain_words().findall(text))
    letters = [char for char in text if char.isalpha()]
    assert [char for char in found if char.isalpha()] == letters
    assert word_signs().endswith(marks())
