"""A picture and the same recipe drawn again: what is said of them."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter, PngImagePlugin

from sdgen.config import Settings
from sdgen.engine import LocalEngine
from sdgen.engine.run import versions
from sdgen.job import Finished, RunInfo, Saved
from sdgen.metadata import (
    Recipe,
    RecipeAdapter,
    encode_png,
    parameters_text,
    pixels_hash,
    read_picture,
)
from sdgen.studio import Studio
from sdgen.verify import compare, differences, structural_similarity


def scene(seed: int = 0, side: int = 64) -> Image.Image:
    """Blobs of colour: more like a picture than noise is."""
    noise = np.random.default_rng(seed).integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((side, side), Image.Resampling.BICUBIC)


def nudged(image: Image.Image, by: int, every: int = 1) -> Image.Image:
    pixels = np.asarray(image).astype(int)
    pixels[::every] = np.clip(pixels[::every] + by, 0, 255)
    return Image.fromarray(pixels.astype(np.uint8))


def recipe(image: Image.Image, **changes: object) -> Recipe:
    return Recipe(app="sdgen 0.1.0", prompt="x", pixels_sha256=pixels_hash(image), **changes)


INFO = RunInfo(
    model="picturebook",
    model_hash="a" * 64,
    device="cpu",
    dtype="float32",
    versions=(("torch", "2.13.0"), ("diffusers", "0.42.1")),
    shared=False,
    noise_scheduler='{"class": "EulerDiscreteScheduler"}',
    attention="AttnProcessor2_0",
    threads=2,
)


def test_the_hash_is_of_pixels_and_size_alone() -> None:
    image = scene()
    assert pixels_hash(image) == pixels_hash(image.convert("RGBA"))
    assert pixels_hash(image) != pixels_hash(nudged(image, 1, every=64))
    flat = Image.new("RGB", (4, 8))
    assert pixels_hash(flat) != pixels_hash(Image.new("RGB", (8, 4)))


def test_the_same_pixels_are_bit_identical() -> None:
    found = compare(scene(), scene(), recipe(scene()))
    assert found.answer == "identical"
    assert (found.largest, found.altered) == (0, False)
    assert found.ssim == pytest.approx(1.0)


def test_one_step_of_255_is_nearly_and_says_why() -> None:
    image = scene()
    shared = compare(image, nudged(image, 1), recipe(image, shared=True))
    assert shared.answer == "nearly"
    assert "batch" in shared.sentence
    moved = compare(image, nudged(image, 1), recipe(image), ("torch 2.10.0 became 2.13.0",))
    assert moved.sentence == (
        "Identical to within 1/255 a pixel because torch 2.10.0 became 2.13.0."
    )


def test_small_changes_are_alike_and_others_different() -> None:
    image = scene()
    soft = compare(image, image.filter(ImageFilter.GaussianBlur(0.6)), recipe(image), ("x is y",))
    assert soft.answer == "alike"
    assert f"SSIM {soft.ssim:.3f}" in soft.sentence
    assert "x is y" in soft.sentence
    assert compare(image, scene(1), recipe(image)).answer == "different"


def test_another_size_is_different() -> None:
    found = compare(scene(), scene(side=128), recipe(scene()))
    assert found.answer == "different"
    assert "64x64" in found.sentence
    assert "128x128" in found.sentence


def test_a_touched_up_picture_is_told() -> None:
    image = scene()
    found = compare(nudged(image, 40, every=2), image, recipe(image))
    assert found.altered
    assert found.sentence.startswith("The picture was changed after it was saved.")
    unknown = compare(image, image, Recipe(app="A1111", prompt="x"))
    assert unknown.altered is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ()),
        ({"device": "cuda (NVIDIA H200)"}, ("the device cuda (NVIDIA H200) became cpu",)),
        ({"dtype": "bfloat16"}, ("the numbers bfloat16 became float32",)),
        ({"model_hash": "b" * 64}, ("the model's weights are others",)),
        ({"model_hash": "a" * 10}, ()),
        ({"versions": (("torch", "2.10.0"),)}, ("torch 2.10.0 became 2.13.0",)),
        ({"threads": 4}, ("4 CPU threads became 2",)),
        ({"threads": 1}, ("1 CPU thread became 2",)),
        ({"noise_scheduler": '{"class": "DDIM"}'}, ("the sampler's settings are others",)),
    ],
)
def test_what_differs_is_named(changes: dict[str, object], said: tuple[str, ...]) -> None:
    assert differences(Recipe(app="sdgen 0.1.0", prompt="x", **changes), INFO) == said


SKIPS = "clip skip acts on the negative prompt too, as it did not then"
NEWER = "prompts like this one are read by newer rules"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"clip_skip": 1, "guidance_scale": 7.0}, (SKIPS,)),
        ({"clip_skip": 1, "guidance_scale": 1.0}, ()),
        ({"guidance_scale": 7.0}, ()),
        ({"prompt": "a [cat|dog]"}, (NEWER,)),
        ({"negative_prompt": "(text:1.2)"}, (NEWER,)),
        ({"prompt": "a" * 76, "clip_skip": 2, "guidance_scale": 2.0}, (SKIPS, NEWER)),
        ({"prompt": "a [cat|dog]", "versions": (("prompt rules", "2"),)}, ()),
        ({"prompt": "a [cat|dog]", "app": "A1111 v1.9"}, ()),
    ],
)
def test_a_picture_of_older_rules_of_reading_says_what_is_read_otherwise(
    changes: dict[str, object], said: tuple[str, ...]
) -> None:
    fields: dict[str, object] = {"app": "sdgen 0.1.0", "prompt": "x", **changes}
    now = replace(INFO, versions=versions())
    assert differences(Recipe(**fields), now) == said


def test_a_recipe_names_the_rules_that_its_prompts_were_read_by() -> None:
    assert dict(versions())["prompt rules"] == "2"


def test_what_a_recipe_does_not_say_is_not_compared() -> None:
    assert differences(Recipe(app="A1111 v1.9", prompt="x"), INFO) == ()
    assert differences(Recipe(app="sdgen 0.1.0", prompt="x"), replace(INFO, versions=())) == ()


def test_ssim_is_as_in_the_paper() -> None:
    """Against a direct transcription with explicit windows."""
    a, b = scene(2, 24), scene(3, 24)
    luma = [np.asarray(i, dtype=float) @ np.array([0.299, 0.587, 0.114]) for i in (a, b)]
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    values = []
    for y in range(24 - 10):
        for x in range(24 - 10):
            one, other = (plane[y : y + 11, x : x + 11] for plane in luma)
            m1, m2 = (window * one).sum(), (window * other).sum()
            v1, v2 = (window * (one - m1) ** 2).sum(), (window * (other - m2) ** 2).sum()
            cov = (window * (one - m1) * (other - m2)).sum()
            c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
            top = (2 * m1 * m2 + c1) * (2 * cov + c2)
            values.append(top / ((m1**2 + m2**2 + c1) * (v1 + v2 + c2)))
    assert structural_similarity(a, b) == pytest.approx(float(np.mean(values)), abs=1e-9)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """The studio with the engine and the bundled model."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("data"), max_rows=4)
    studio = Studio(settings, LocalEngine(settings))
    yield studio
    studio.close()


def drawn(studio: Studio, **fields: object) -> Path:
    """The file of the last picture of a small request."""
    small = {"prompt": "a red robot on a beach", "seed": 3, "steps": 3, "width": 128, "height": 128}
    request = studio.request(**(small | fields))
    job = studio.start(request)
    saved = [event for event in job.events() if isinstance(event, Saved)]
    assert isinstance(job.end, Finished)
    return saved[-1].path


def test_a_picture_of_ours_proves_itself(real: Studio) -> None:
    path = drawn(real, exact=True)
    found = real.verify(path)
    assert (found.answer, found.altered, found.differs) == ("identical", False, ())


def test_a_prompt_that_changes_while_it_is_drawn_is_verified_bit_for_bit(real: Studio) -> None:
    edited = drawn(
        real, prompt="a [red|blue] (robot:1.2) [on a beach:0.5]", negative_prompt="[cat::2]"
    )
    assert real.verify(edited).answer == "identical"
    image, recipe = read_picture(edited)
    assert recipe.prompt == "a [red|blue] (robot:1.2) [on a beach:0.5]"
    plainly = read_picture(drawn(real, prompt="a red (robot:1.2)", negative_prompt="cat"))[0]
    assert pixels_hash(image) != pixels_hash(plainly)


def test_one_of_several_drawn_together_agrees_to_a_step_of_255(real: Studio) -> None:
    found = real.verify(drawn(real, num_images=3))
    assert found.answer in ("identical", "nearly")


def test_a_recipe_that_was_edited_draws_another_picture(real: Studio, tmp_path: Path) -> None:
    image, recipe = read_picture(drawn(real, exact=True))
    forged = tmp_path / "forged.png"
    forged.write_bytes(encode_png(image, recipe.model_copy(update={"seed": 4})))
    assert real.verify(forged).answer == "different"
    painted = image.copy()
    painted.paste((255, 0, 0), (10, 10, 40, 40))
    forged.write_bytes(encode_png(painted, recipe))
    found = real.verify(forged)
    assert found.altered
    assert found.answer in ("alike", "different")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seed": None}, "does not say its seed"),
        ({"model": "dreams-v9"}, "dreams-v9"),
        (
            {"adapters": (RecipeAdapter(name="gone", source="hub:a/b"),)},
            "it came from the Hub: a/b",
        ),
        ({"model": "sd15", "width": 512, "height": 512}, "needs a download"),
        ({"prompt": "", "prompt_left_out": True}, "here: its prompt was left out of the file."),
        ({"grid": "{}"}, "it is a sheet, which is drawn as a grid"),
    ],
)
def test_what_cannot_be_drawn_here_is_told(
    real: Studio, tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    image, recipe = read_picture(drawn(real))
    path = tmp_path / "other.png"
    path.write_bytes(encode_png(image, recipe.model_copy(update=changes)))
    found = real.verify(path)
    assert found.answer == "impossible"
    assert said in found.sentence


def test_a_picture_by_a1111_is_tried_as_far_as_it_says_enough(real: Studio, tmp_path: Path) -> None:
    image, recipe = read_picture(drawn(real, exact=True))
    texts = PngImagePlugin.PngInfo()
    texts.add_text("parameters", parameters_text(recipe.model_copy(update={"app": "v1.10"})))
    path = tmp_path / "a1111.png"
    image.save(path, pnginfo=texts)
    found = real.verify(path)
    assert found.answer == "identical"
    assert found.altered is None
    assert "another program drew it" in found.differs[-1]
