"""Adapters in the studio: judged for a model, refused by name, used, and told in the recipe."""

from pathlib import Path

import pytest
from PIL import Image

from sdgen.config import Settings
from sdgen.errors import AdapterRefused, AdapterUnavailable, InvalidRequest
from sdgen.job import Note
from sdgen.studio import Studio
from tests.conftest import FakeEngine, FakeModelFiles
from tests.picture_loras import fill, write_lora
from tests.studio_jobs import saved


@pytest.fixture
def with_adapters(studio: Studio, settings: Settings) -> Studio:
    fill(settings.data_dir)
    return studio


def test_adapters_are_judged_for_the_model_those_that_fit_first(with_adapters: Studio) -> None:
    cards = {card.name: card for card in with_adapters.adapters("picturebook")}
    levels = [card.verdict.level if card.verdict else "" for card in cards.values()]
    assert cards.keys() >= {"storm-hero", "watercolour", "half", "big"}
    assert levels == sorted(levels, key=["fits", "warns", "", "refused"].index)
    verdict = cards["big"].verdict
    assert verdict is not None
    assert "SDXL" in verdict.sentence
    assert cards["storm-hero"].report == with_adapters.inspect_adapter("storm-hero").report


def test_minnal_murali_is_the_hub_s_for_stable_diffusion_15(
    with_adapters: Studio, model_files: FakeModelFiles
) -> None:
    (card,) = [c for c in with_adapters.adapters("sd15") if c.name == "minnal-murali"]
    assert not card.local
    assert card.hub_id == "nikhiljose7/lora-sdv1-5-minnal-murali"
    model_files.local.add("sd15")
    with pytest.raises(AdapterUnavailable, match="fetched"):
        with_adapters.request(model="sd15", prompt="x", adapters=[{"name": "minnal-murali"}])


def test_the_engine_gets_paths_and_the_recipe_public_names(
    with_adapters: Studio, engine: FakeEngine, settings: Settings
) -> None:
    request = with_adapters.request(
        prompt="a storm hero <lora:watercolour:0.5> on a beach", width=64, height=64, steps=2,
        adapters=[{"name": "storm-hero", "scale": 0.8, "text_scale": 0.2}],
    )  # fmt: skip
    assert request.prompt == "a storm hero on a beach"
    (picture,) = saved(with_adapters.start(request))
    inner = engine.submitted[0]
    folder = settings.data_dir / "adapters"
    assert [(use.name, use.scale, use.text_scale) for use in inner.adapters] == [
        (str(folder / "storm-hero.safetensors"), 0.8, 0.2),
        (str(folder / "watercolour.safetensors"), 0.5, None),
    ]
    adapters = with_adapters.recipe_of(picture.path).adapters
    assert [adapter.name for adapter in adapters] == ["storm-hero", "watercolour"]
    assert [(adapter.scale, adapter.text_scale) for adapter in adapters] == [
        (0.8, 0.2),
        (0.5, None),
    ]
    report = with_adapters.inspect_adapter("storm-hero").report
    assert report is not None
    assert adapters[0].sha256 == report.sha256
    assert str(settings.data_dir) not in picture.path.read_bytes().decode("latin-1")


def test_a_tag_wins_over_the_same_adapter_picked(with_adapters: Studio) -> None:
    request = with_adapters.request(
        prompt="x <lora:storm-hero:0.4:0.9>",
        adapters=[{"name": "storm-hero", "scale": 1.5}, {"name": "half"}],
    )
    assert [(use.name, use.scale, use.text_scale) for use in request.adapters] == [
        ("storm-hero", 0.9, 0.4),  # of two numbers the text encoder's comes first
        ("half", 1.0, None),
    ]


@pytest.mark.parametrize(
    ("given", "field", "sentence"),
    [
        ({"prompt": "x <lora:storm-her:1>"}, "adapters", "Did you mean storm-hero"),
        ({"prompt": "x", "adapters": [{"name": "watercolor"}]}, "adapters", "watercolour"),
        ({"prompt": "x <lora:storm-hero:11>"}, "prompt", "beyond 10"),
        ({"prompt": "x <lora:storm-hero"}, "prompt", "not closed"),
        ({"prompt": "<lora:storm-hero:1>"}, "prompt", "is empty"),
        ({"prompt": "x", "negative_prompt": "<lora:half:1>"}, "negative_prompt", "belongs in"),
        ({"prompt": "x", "adapters": [{"name": "half", "scale": 11}]}, "adapters", "at most 10"),
        ({"prompt": "x", "adapters": "half"}, "adapters", "must be a list"),
    ],
)
def test_wrong_adapters_are_refused_by_name(
    with_adapters: Studio, given: dict[str, object], field: str, sentence: str
) -> None:
    with pytest.raises(InvalidRequest, match=sentence) as refused:
        with_adapters.request(**given)
    assert refused.value.field == field


def test_one_that_does_not_fit_is_refused_before_anything_runs(
    with_adapters: Studio, engine: FakeEngine
) -> None:
    request = with_adapters.request(prompt="x", adapters=[{"name": "big"}])
    with pytest.raises(AdapterRefused, match="This is an SDXL LoRA"):
        with_adapters.start(request)
    assert engine.submitted == []


def test_what_does_not_apply_is_a_note_of_the_job(with_adapters: Studio) -> None:
    request = with_adapters.request(
        prompt="x", width=64, height=64, steps=2, adapters=[{"name": "half"}]
    )
    job = with_adapters.start(request)
    notes = [event.text for event in job.events() if isinstance(event, Note)]
    assert any("Only 50 % of it applies" in note for note in notes)


def test_a_dropped_picture_says_which_adapters_are_missing_and_which_changed(
    with_adapters: Studio, settings: Settings
) -> None:
    uses = [{"name": "storm-hero", "scale": 0.7}, {"name": "watercolour"}, {"name": "half"}]
    request = with_adapters.request(prompt="x", width=64, height=64, steps=2, adapters=uses)
    (picture,) = saved(with_adapters.start(request))
    folder = settings.data_dir / "adapters"
    (folder / "storm-hero.safetensors").rename(folder / "renamed.safetensors")
    write_lora(folder / "watercolour.safetensors", seed=77)
    (folder / "half.safetensors").unlink()
    form = with_adapters.form_of(with_adapters.recipe_of(picture.path))
    assert form.fields["adapters"] == (
        {"name": "renamed", "scale": 0.7, "text_scale": None},  # found by its hash
        {"name": "watercolour", "scale": 1.0, "text_scale": None},
    )
    notes = " ".join(form.notes)
    assert "“watercolour” here is another file" in notes
    assert "“half” (strength 1, file " in notes
    assert "a file on the machine that drew it" in notes


def test_trigger_words_of_chosen_adapters_stay_in_a_draft(with_adapters: Studio) -> None:
    draft = with_adapters.enhance("a beach <lora:watercolour:0.5>", adapters=("storm-hero",))
    for words in ("storm hero", "red cape", "watercolour"):
        assert words in draft.text
    assert draft.text.endswith("<lora:watercolour:0.5>")
    assert draft.original == "a beach <lora:watercolour:0.5>"


def test_a_user_s_adapter_is_kept_listed_and_removed(
    studio: Studio, settings: Settings, tmp_path: Path
) -> None:
    file = write_lora(tmp_path / "mine.safetensors", trigger="mycat")
    judged = studio.inspect_adapter_file(file)
    assert judged.verdict is not None
    assert judged.verdict.level == "fits"
    assert [card.name for card in studio.adapters("picturebook") if card.local] == [
        card.name for card in studio.adapters("picturebook") if card.source == "bundled"
    ]
    report = studio.add_adapter_file(file, "mine.safetensors")
    assert report.source == "upload"
    assert studio.inspect_adapter(report.name).report == report
    studio.remove_adapter(report.name)
    with pytest.raises(InvalidRequest, match="There is no LoRA"):
        studio.inspect_adapter(report.name)


def test_tags_are_not_counted_as_words(with_adapters: Studio) -> None:
    counted = with_adapters.count_tokens("picturebook", "a beach <lora:watercolour:0.5>")
    assert counted == with_adapters.count_tokens("picturebook", "a beach")


@pytest.mark.slow
def test_strengths_of_an_adapter_reach_the_bundled_model(settings: Settings) -> None:
    from sdgen.engine import LocalEngine

    write_lora(settings.data_dir / "adapters" / "strong.safetensors", size=0.3, text=True)
    studio = Studio(settings, LocalEngine(settings))
    drawn: dict[float | None, bytes] = {}
    try:
        for scale in (None, 0.0, 1.0):
            adapters = [] if scale is None else [{"name": "strong", "scale": scale}]
            request = studio.request(
                prompt="a red robot on a beach", seed=7, steps=4, exact=True, adapters=adapters
            )
            (picture,) = saved(studio.start(request))
            with Image.open(picture.path) as image:
                drawn[scale] = image.tobytes()
    finally:
        studio.close()
    assert drawn[0.0] == drawn[None]
    assert drawn[1.0] != drawn[None]
