"""What is said of two pictures, by numbers: how far apart they are, and what differs."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageFilter

from sdgen.engine.run import versions
from sdgen.job import RunInfo
from sdgen.metadata import Recipe, pixels_hash
from sdgen.verify import ALIKE, compare, differences, listed, structural_similarity


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


def test_two_steps_of_255_are_not_nearly_the_same() -> None:
    """A batch that is shared changes a pixel by one step of 255 at most; two have another cause."""
    image = scene()
    pixels = np.asarray(image).copy()
    pixels[3, 5, 1] = 128
    for by, answer in (
        (0, "identical"),
        (1, "nearly"),
        (-1, "nearly"),
        (2, "alike"),
        (-2, "alike"),
    ):
        changed = pixels.copy()
        changed[3, 5, 1] = 128 + by
        one, other = Image.fromarray(pixels), Image.fromarray(changed)
        for saved, again in ((one, other), (other, one)):
            found = compare(saved, again, recipe(saved))
            assert (found.answer, found.largest) == (answer, abs(by))


def test_from_nine_tenths_of_similarity_on_they_are_alike() -> None:
    image, other = scene(), scene(1)
    answers = set()
    for share in np.linspace(0, 0.6, 61)[1:]:
        found = compare(image, Image.blend(image, other, float(share)), recipe(image))
        assert found.ssim is not None
        assert found.answer == ("alike" if found.ssim >= 0.9 else "different")
        answers.add((found.answer, round(found.ssim, 1)))
    assert {("alike", 0.9), ("different", 0.9)} <= answers
    assert ALIKE == 0.9


def test_what_is_said() -> None:
    image = scene()
    one, soft, other = nudged(image, 1), image.filter(ImageFilter.GaussianBlur(0.6)), scene(1)
    differs = ("torch 2.10.0 became 2.13.0", "the numbers float16 became float32")
    because = " because torch 2.10.0 became 2.13.0 and the numbers float16 became float32"

    def said(again: Image.Image, *differs: str, shared: bool = False) -> str:
        return compare(image, again, recipe(image, shared=shared), differs).sentence

    exactly = "Bit-identical: its recipe draws exactly this picture."
    assert said(image) == said(image, *differs) == exactly
    assert said(one) == "Identical to within 1/255 a pixel."
    assert said(one, *differs) == f"Identical to within 1/255 a pixel{because}."
    assert said(one, *differs, shared=True) == f"Identical to within 1/255 a pixel{because}."
    assert said(one, shared=True) == (
        "Identical to within 1/255 a pixel, as it was drawn in a batch with other requests."
    )
    assert said(soft) == "Alike (SSIM 1.000), though nothing that is known differs."
    assert said(soft, *differs) == f"Alike (SSIM 1.000){because}."
    similar = f"{structural_similarity(image, other):.3f}"
    assert said(other) == f"Different (SSIM {similar}): its recipe draws another picture."
    assert said(other, *differs) == (
        f"Different (SSIM {similar}): its recipe draws another picture{because}."
    )
    changed = compare(other, image, recipe(image))
    assert changed.sentence == (
        "The picture was changed after it was saved. "
        f"Different (SSIM {similar}): its recipe draws another picture."
    )


def test_what_is_told_of_another_size() -> None:
    found = compare(scene(), scene(side=128), recipe(scene(side=128)), ("x is y",))
    assert (found.answer, found.differs, found.altered) == ("different", ("x is y",), True)
    assert (found.ssim, found.largest) == (None, None)
    assert found.sentence == ("Different: the file has 64x64 pixels, its recipe draws 128x128.")


def test_colours_beside_transparency_and_grey_are_compared_as_colours() -> None:
    image = scene()
    assert compare(image.convert("RGBA"), image, recipe(image)).answer == "identical"
    grey = image.convert("L")
    assert compare(grey, grey.convert("RGB"), recipe(grey)).answer == "identical"


@pytest.mark.parametrize("side", [8, 10, 11, 12])
def test_pictures_as_small_as_the_window_have_a_similarity(side: int) -> None:
    one, other = scene(0, 64).resize((side, 40)), scene(1, 64).resize((side, 40))
    assert structural_similarity(one, one) == pytest.approx(1.0)
    assert -1 <= structural_similarity(one, other) < 0.9
    assert structural_similarity(one, other) == pytest.approx(structural_similarity(other, one))


LONG = "x" * 41


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        ({"attention": "AttnProcessor"}, {}, "the attention AttnProcessor became AttnProcessor2_0"),
        ({"device": "cuda"}, {"device": ""}, "the device cuda became unknown"),
        ({"attention": "a" * 40}, {}, f"the attention {'a' * 40} became AttnProcessor2_0"),
        ({"attention": LONG}, {}, "the attention is another"),
        ({"attention": "a"}, {"attention": LONG}, "the attention is another"),
        ({"noise_scheduler": "{}"}, {}, "the sampler's settings are others"),
        ({"model_hash": "b" * 10}, {}, "the model's weights are others"),
        ({"model_hash": "a" * 9}, {}, "the model's weights are others"),
        ({"versions": (("torch", "2.9"), ("gone", "1"))}, {}, "torch 2.9 became 2.13.0"),
    ],
)
def test_how_a_difference_is_told(
    before: dict[str, object], now: dict[str, object], said: str
) -> None:
    told = Recipe(app="sdgen 0.1.0", prompt="x", **before)
    assert differences(told, replace(INFO, **now)) == (said,)  # type: ignore[arg-type]


def test_a_short_hash_is_that_of_a_program_that_keeps_ten_digits() -> None:
    told = Recipe(app="sdgen 0.1.0", prompt="x", model_hash="a" * 10)
    assert differences(told, INFO) == ()
    assert differences(told, replace(INFO, model_hash="b" + "a" * 63)) != ()


def test_threads_are_compared_where_both_are_known() -> None:
    told = Recipe(app="sdgen 0.1.0", prompt="x", threads=4)
    assert differences(told, replace(INFO, threads=0)) == ()
    assert differences(told, replace(INFO, threads=4)) == ()
    assert differences(told, replace(INFO, threads=1)) == ("4 CPU threads became 1",)
    assert differences(told.model_copy(update={"threads": 0}), INFO) == ()


def test_a_list_in_words() -> None:
    assert listed(()) == ""
    assert listed(("a",)) == "a"
    assert listed(("a", "b")) == "a and b"
    assert listed(("a", "b", "c")) == "a, b and c"
