"""The model picker: what is said about each model, and a download that somebody agreed to."""

from dataclasses import replace

from sdgen.errors import ModelUnavailable
from sdgen.models import ModelWords
from sdgen.pipelines.prompt_reading import PromptReading
from sdgen.studio import ModelCard, Studio
from sdgen.ui import model_panel
from tests.conftest import FakeModelFiles

WORDS = ModelWords(
    subjects=("robot", "hero"),
    colours=("red",),
    places=("on a beach",),
    times=("at sunset",),
    poses=(),
    words=frozenset(["a", "red", "robot", "on", "beach", "at", "sunset", "hero"]),
    examples=("a red robot on a beach at sunset",),
)


def card(studio: Studio, name: str = "sd15") -> ModelCard:
    return studio.model(name)


def test_the_picker_says_what_a_model_costs(studio: Studio) -> None:
    shown = {name: title for title, name in model_panel.choices(studio.models())}
    assert "to download" not in shown["picturebook"]
    assert "2.8 GB to download" in shown["sd15"]
    assert model_panel.download_label(card(studio)) == "Download 2.8 GB"
    facts = model_panel.facts(card(studio))
    for text in ("CreativeML OpenRAIL-M", "512 × 512", "2.8 GB to download"):
        assert text in facts


def test_a_model_with_own_words_names_them_and_only_offers_what_it_knows(studio: Studio) -> None:
    own = replace(card(studio, "picturebook"), words=WORDS)
    vocabulary = model_panel.vocabulary(own)
    for word in ("robot", "red", "on a beach", "at sunset"):
        assert f'data-name="{word}"' in vocabulary
    examples = model_panel.examples(own)
    assert "a red robot on a beach at sunset" in examples
    assert "oil painting" not in examples
    assert model_panel.unknown(own, "a red dragon, dragon!") == ("dragon",)


def test_a_big_model_has_no_list_of_words(studio: Studio) -> None:
    big = card(studio)
    assert model_panel.vocabulary(big) == ""
    assert model_panel.unknown(big, "anything") == ()
    assert "a futuristic city with flying cars" in model_panel.examples(big)


def test_a_download_reports_and_ends(studio: Studio, model_files: FakeModelFiles) -> None:
    shown = list(model_panel.download(studio, "sd15"))
    assert 'role="progressbar"' in shown[0]
    assert shown[-1] == ""
    assert studio.model("sd15").local


def test_a_download_that_fails_says_why(studio: Studio, model_files: FakeModelFiles) -> None:
    model_files.error = ModelUnavailable("There is no network.")
    shown = list(model_panel.download(studio, "sd15"))
    assert "There is no network." in shown[-1]
    assert 'role="alert"' in shown[-1]
    assert not studio.model("sd15").local


def test_a_closed_window_gives_the_download_up(studio: Studio) -> None:
    reports = model_panel.download(studio, "sd15")
    next(reports)
    reports.close()  # type: ignore[attr-defined]


def test_the_page_explains_the_notation_that_is_followed() -> None:
    shown = model_panel.notation()
    for sign in ("(word:1.2)", "BREAK", "[cat:dog:0.5]", "[cat|dog]", "&lt;lora:name:0.8&gt;"):
        assert f"<code>{sign}" in shown
    for sign, _ in model_panel.NOTATION:
        remarks = PromptReading("prompt", sign.replace("<lora:name:0.8>", ""), 4).remarks()
        assert remarks == []
