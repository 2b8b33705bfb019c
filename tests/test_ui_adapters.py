"""Adapters on the page: trigger words, rows, picking, proof; as functions of plain values."""

import shutil
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdgen.config import Settings
from sdgen.request import ADAPTERS_MAX, SCALE_MAX
from sdgen.studio import Studio
from sdgen.ui import adapter_rows, triggers
from sdgen.ui.adapter_panel import AdapterPanel
from sdgen.ui.form import ChosenAdapter, Form, chosen_adapters, request_fields
from sdgen.ui.page import Page, View
from sdgen.ui.viewing import Viewing
from tests.conftest import FakeEngine
from tests.picture_loras import fill, write_lora
from tests.watchers import ME, pictures_of, settled

HERO = {"name": "storm-hero", "scale": 0.8, "text_scale": None, "put": ["storm hero"]}
SKIP = gr.skip()


@pytest.fixture(autouse=True)
def adapters(settings: Settings) -> None:
    fill(settings.data_dir)


@pytest.fixture
def panel(studio: Studio) -> AdapterPanel:
    return AdapterPanel(studio, may_add=True)


def event(**data: str) -> gr.EventData:
    return gr.EventData(None, data)


def value(update: Any) -> Any:
    """The new value of an update."""
    return update["value"] if isinstance(update, dict) else update


# --- trigger words


@pytest.mark.parametrize(
    ("prompt", "put", "taken"),
    [
        ("", "Storm Hero", ""),
        ("a beach", "Storm Hero, a beach", "a beach"),
        ("a beach, storm  hero, at night", "a beach, storm  hero, at night", "a beach, at night"),
        ("storm hero, a beach", "storm hero, a beach", "a beach"),
        ("a beach, storm hero", "a beach, storm hero", "a beach"),
        ("see storm hero run", "see storm hero run", "see run"),
        ("brainstorm heroes", "Storm Hero, brainstorm heroes", "brainstorm heroes"),
    ],
)
def test_a_trigger_goes_in_once_and_out_again(prompt: str, put: str, taken: str) -> None:
    assert triggers.put_in(prompt, "Storm Hero") == put
    assert triggers.put_in(put, "Storm Hero") == put
    assert triggers.take_out(put, "Storm Hero") == taken


@given(prompt=st.text(max_size=60), trigger=st.text(max_size=20))
def test_any_trigger_that_was_put_in_leaves_the_prompt_as_it_was(prompt: str, trigger: str) -> None:
    put = triggers.put_in(prompt, trigger)
    if put != prompt:
        assert triggers.take_out(put, trigger).strip() == prompt.lstrip(" \t\n\r,").strip() or (
            triggers.take_out(put, trigger).split() == prompt.split()
        )


# --- what a browser sends


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(["name", "scale", "text_scale", "put", "x"]), inner, max_size=5
            )
        ),
        max_leaves=12,
    )
)
def test_anything_may_be_sent_and_only_adapters_are_taken(sent: object) -> None:
    chosen = chosen_adapters(sent)
    assert len(chosen) <= ADAPTERS_MAX
    assert len({each.name for each in chosen}) == len(chosen)
    for each in chosen:
        assert each.name
        assert -SCALE_MAX <= each.scale <= SCALE_MAX
        assert each.text_scale is None or -SCALE_MAX <= each.text_scale <= SCALE_MAX
        assert all(isinstance(word, str) for word in each.put)
    assert chosen_adapters([each.as_value() for each in chosen]) == chosen


def test_the_form_s_adapters_become_a_request(studio: Studio) -> None:
    form = Form(prompt="x", adapters=[HERO, {"name": "watercolour", "scale": -1}])
    request = studio.request(model="", **request_fields(form))
    assert [(use.name, use.scale, use.text_scale) for use in request.adapters] == [
        ("storm-hero", 0.8, None),
        ("watercolour", -1.0, None),
    ]


# --- picking


def test_the_picker_says_what_fits_before_it_is_picked(studio: Studio) -> None:
    lines = {name: line for line, name in adapter_rows.choices(studio.adapters("picturebook"), ())}
    assert lines["storm-hero"] == "Storm hero"
    assert lines["half"] == "Half of another · 50% of it fits"
    assert lines["big"] == "Big XL look · does not fit"
    assert list(lines)[-1] == "big"
    chosen = chosen_adapters([HERO])
    left = adapter_rows.choices(studio.adapters("picturebook"), chosen)
    assert "storm-hero" not in [name for _, name in left]


def test_a_picked_adapter_brings_its_strength_and_its_trigger(panel: AdapterPanel) -> None:
    pick, chosen, prompt, said, _ = panel.add("storm-hero", [], "picturebook", "a beach")
    assert pick is None
    assert value(chosen) == [HERO]
    assert prompt == "storm hero, a beach"
    assert said == ""


def test_a_typed_trigger_is_not_put_in_again_and_stays_when_the_adapter_goes(
    panel: AdapterPanel,
) -> None:
    _, chosen, prompt, _, _ = panel.add("storm-hero", [], "picturebook", "a Storm Hero runs")
    assert prompt == "a Storm Hero runs"
    assert value(chosen)[0]["put"] == []
    gone = panel.dismiss(value(chosen), "picturebook", prompt, event(name="storm-hero"))
    assert value(gone[0]) == []
    assert gone[1] == "a Storm Hero runs"


def test_what_the_page_put_in_goes_with_the_adapter(panel: AdapterPanel) -> None:
    with_chip = [{**HERO, "put": ["storm hero", "red cape"]}]
    prompt = "red cape, storm hero, a beach"
    gone = panel.dismiss(with_chip, "picturebook", prompt, event(name="storm-hero"))
    assert (value(gone[0]), gone[1]) == ([], "a beach")


def test_one_that_does_not_fit_is_not_picked_and_says_why(panel: AdapterPanel) -> None:
    _, chosen, prompt, said, _ = panel.add("big", [], "picturebook", "a beach")
    assert (chosen, prompt) == (SKIP, SKIP)
    assert "This is an SDXL LoRA; the model is Picturebook" in said
    assert 'role="alert"' in said


def test_one_of_the_hub_is_not_fetched_but_named(panel: AdapterPanel) -> None:
    _, chosen, _, said, hub = panel.add("minnal-murali", [], "sd15", "a beach")
    assert chosen == SKIP
    assert "not on this machine" in said
    assert hub == "nikhiljose7/lora-sdv1-5-minnal-murali"


def test_no_more_than_a_request_can_have(panel: AdapterPanel, settings: Settings) -> None:
    many = [{"name": f"n{i}", "scale": 1.0} for i in range(ADAPTERS_MAX)]
    _, chosen, _, said, _ = panel.add("watercolour", many, "picturebook", "")
    assert chosen == SKIP
    assert f"At most {ADAPTERS_MAX}" in said


def test_an_added_file_is_examined_kept_and_chosen(
    panel: AdapterPanel, settings: Settings, tmp_path: Path
) -> None:
    file = write_lora(tmp_path / "My cat (v2).safetensors", trigger="mycat", seed=9)
    added = panel.add_file(str(file), [HERO], "picturebook", "a beach")
    names = [each["name"] for each in value(added[2])]
    assert names[0] == "storm-hero"
    assert len(names) == 2
    assert added[3] == "mycat, a beach"
    assert not file.exists()  # the copy of Gradio goes
    assert len(list((settings.data_dir / "adapters").glob("*.safetensors"))) == 5


def test_a_file_that_is_no_adapter_is_a_sentence(
    panel: AdapterPanel, settings: Settings, tmp_path: Path
) -> None:
    file = tmp_path / "x.safetensors"
    file.write_bytes(b"\x80\x04pickle")
    added = panel.add_file(str(file), [], "picturebook", "")
    assert 'role="alert"' in added[4]
    assert added[2] == SKIP
    assert len(list((settings.data_dir / "adapters").glob("*"))) == 4


def test_one_that_was_added_is_deleted_and_left_out(
    panel: AdapterPanel, settings: Settings
) -> None:
    unwanted, button = panel.offer("picturebook", [])[2:]
    assert ("Storm hero", "storm-hero") in unwanted["choices"]
    assert "minnal-murali" not in [name for _, name in unwanted["choices"]]
    assert unwanted["visible"] is button["visible"] is True
    other = {"name": "watercolour", "scale": 0.6}
    picked, chosen, prompt, said = panel.delete_it(
        "storm-hero", [HERO, other], "picturebook", "storm hero, a beach"
    )
    assert picked is None
    assert [each["name"] for each in value(chosen)] == ["watercolour"]
    assert prompt == "a beach"
    assert "not on this machine any more" in said
    assert not list((settings.data_dir / "adapters").glob("storm-hero*"))
    picks, _, unwanted, _ = panel.offer("picturebook", [])
    for each in (picks, unwanted):
        assert "storm-hero" not in [name for _, name in each["choices"]]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("minnal-murali", "stays"),
        ("storm-hero2", "Did you mean"),
        (None, None),
        (["storm-hero"], None),
    ],
)
def test_what_cannot_be_deleted_says_why(
    panel: AdapterPanel, settings: Settings, name: Any, said: str | None
) -> None:
    *_, told = panel.delete_it(name, [HERO], "picturebook", "storm hero")
    assert told == SKIP if said is None else said in told
    assert len(list((settings.data_dir / "adapters").glob("*.safetensors"))) == 4


def test_a_broken_file_can_be_deleted(panel: AdapterPanel, settings: Settings) -> None:
    bad = settings.data_dir / "adapters" / "cut.safetensors"
    bad.write_bytes(b"cut off")
    assert ("cut", "cut") in panel.offer("picturebook", [])[2]["choices"]
    panel.delete_it("cut", [], "picturebook", "")
    assert not bad.exists()


def test_strangers_are_shown_nothing_to_delete(studio: Studio) -> None:
    for update in AdapterPanel(studio, may_add=False).offer("picturebook", [])[2:]:
        assert update.get("choices", []) == []
        assert update["visible"] is False


# --- rows


def rows(studio: Studio, chosen: list[Any], prompt: str = "", model: str = "picturebook") -> str:
    return adapter_rows.rows(chosen_adapters(chosen), studio.adapters(model), prompt)


def test_a_row_says_the_verdict_and_offers_what_the_adapter_has(studio: Studio) -> None:
    html = rows(studio, [HERO], "a storm hero")
    assert "sd-fits" in html
    assert "It fits Picturebook" in html
    assert 'data-part="text_scale"' in html
    assert 'data-word="storm hero" aria-pressed="true"' in html
    assert 'data-word="red cape" aria-pressed="false"' in html
    assert 'data-part="text_scale"' not in rows(studio, [{"name": "watercolour"}])
    assert "sd-warns" in rows(studio, [{"name": "half"}])
    assert "Will not apply" in rows(studio, [{"name": "half"}])


def test_a_row_that_cannot_be_used_offers_nothing(studio: Studio) -> None:
    for name, model in (("big", "picturebook"), ("gone", "picturebook"), ("watercolour", "sd15")):
        html = rows(studio, [{"name": name}], model=model)
        assert "sd-refused" in html
        assert 'data-action="dismiss"' in html
        assert 'data-action="proof"' not in html


def test_what_a_file_says_is_shown_literally(studio: Studio, settings: Settings) -> None:
    nasty = "<b>x</b> {{7*7}} ${1} `\\` \"'"
    write_lora(settings.data_dir / "adapters" / "nasty.safetensors", title=nasty, trigger=nasty)
    html = rows(studio, [{"name": "nasty"}])
    for sign in ("<b>x", "{{", "${", "`", "\\"):
        assert sign not in html


def test_a_file_that_appears_is_offered_without_a_restart(
    panel: AdapterPanel, settings: Settings
) -> None:
    folder = settings.data_dir / "adapters"
    before = panel.offer("picturebook", [])[0]["choices"]
    shutil.copy(folder / "watercolour.safetensors", folder / "trained.safetensors")
    after, broken, *_ = panel.offer("picturebook", [])
    assert {name for _, name in after["choices"]} - {name for _, name in before} == {"trained"}
    assert broken == ""


def test_a_broken_file_is_named_with_the_reason(panel: AdapterPanel, settings: Settings) -> None:
    (settings.data_dir / "adapters" / "cut.safetensors").write_bytes(b"cut off")
    offered, broken, *_ = panel.offer("picturebook", [])
    assert "cut" not in [name for _, name in offered["choices"]]
    assert "cut: This is not a safetensors file." in broken


# --- drawing


def test_the_proof_strip_draws_three_strengths_of_one_seed(
    studio: Studio, engine: FakeEngine
) -> None:
    form = Form(
        "storm hero <lora:storm-hero:0.3>", seed="7", steps=3, width=64, height=64, num_images=4,
        adapters=[HERO, {"name": "watercolour", "scale": 0.6}],
    )  # fmt: skip
    assert Page(studio, most=9).proof(form, ME, "storm-hero") == View(notice="", last_seed=7)
    stage = settled(studio)["stage"]
    strengths = [[use.scale for use in request.adapters] for request in engine.submitted]
    assert strengths == [[0.0, 0.6], [0.5, 0.6], [1.0, 0.6]]
    assert {request.seed for request in engine.submitted} == {7}
    assert {request.num_images for request in engine.submitted} == {1}
    for label in ("Strength 0<", "Strength 0.5<", "Strength 1<"):
        assert label in stage
    assert stage.count("sdgen/picture/") == 3


def test_a_picture_gives_its_adapters_back(studio: Studio, settings: Settings) -> None:
    form = Form("x", steps=3, width=64, height=64, adapters=[HERO, {"name": "half", "scale": 0.4}])
    Page(studio, most=9).generate(form, ME)
    parts = settled(studio)
    assert "Only 50 % of it" in parts["told"]
    (settings.data_dir / "adapters" / "half.safetensors").unlink()
    (picture,) = pictures_of(studio)
    filled = Viewing(studio).reuse(picture.id, ME)
    assert chosen_adapters(filled.fields["adapters"]) == (ChosenAdapter("storm-hero", 0.8),)
    assert "“half” (strength 0.4" in filled.notice
    assert "not here" in filled.notice


def test_peft_s_settings_come_with_the_file(panel: AdapterPanel, tmp_path: Path) -> None:
    file = write_lora(tmp_path / "new.safetensors", seed=9)
    config = tmp_path / "adapter_config.json"
    config.write_text('{"r": 4, "lora_alpha": 12}')
    added = panel.add_file([str(config), str(file)], [], "picturebook", "")
    assert "value" in str(added[2])
    assert not file.exists()
    assert not config.exists()
    [new] = [card.report for card in panel._cards("picturebook") if card.title == "new"]
    assert new is not None
    assert new.alphas == (12.0,)
    two = [str(write_lora(tmp_path / f"{number}.safetensors")) for number in range(2)]
    for paths in (two, []):
        said = str(panel.add_file(paths, [], "picturebook", ""))
        assert ("one .safetensors file at a time" in said) == bool(paths)
