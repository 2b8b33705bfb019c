"""The drawn world behind the bundled model: what it shows, says, and never shows in training."""

import json
import random
import re
from pathlib import Path

import pytest

from tools.picturebook.captions import (
    POSE_WORDS,
    TRIGGER,
    all_words,
    caption,
    plain_caption,
)
from tools.picturebook.scene import (
    COLOURS,
    HELD_OUT_SHARE,
    PEOPLE,
    PLACES,
    POSES,
    SUBJECTS,
    TIMES,
    Figure,
    Scene,
    is_held_out,
    sample_held_out_scene,
    sample_scene,
    touches_held_out,
)
from tools.picturebook.world import draw, minnal_murali_scene

ASSETS = Path(__file__).parents[1] / "sdgen" / "assets" / "picturebook"


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    rng = random.Random(11)
    return [sample_scene(rng) for _ in range(3000)]


def test_the_same_scene_gives_the_same_picture(scenes: list[Scene]) -> None:
    for scene in scenes[:10]:
        assert draw(scene)[0].tobytes() == draw(scene)[0].tobytes()


def test_jitter_changes_the_picture_and_not_the_scene() -> None:
    figures = (Figure("cat", "blue"),)
    pictures = {draw(Scene("beach", "day", figures, jitter))[0].tobytes() for jitter in range(4)}
    assert len(pictures) == 4


def test_every_combination_can_be_drawn_large_enough() -> None:
    for i, kind in enumerate(SUBJECTS):
        for pose in POSES if kind in PEOPLE else (None,):
            figure = Figure(kind, COLOURS[i % len(COLOURS)], "centre", pose)
            picture, boxes = draw(Scene(PLACES[i % 9], TIMES[i % 5], (figure,), i))
            assert picture.size == (256, 256)
            left, top, right, bottom = boxes[0]
            assert 0 <= left < right <= 256
            assert 0 <= top < bottom <= 256
            assert max(bottom - top, right - left) >= 0.4 * 256


def test_places_and_times_look_different() -> None:
    pictures = {draw(Scene(place, time, (), 0))[0].tobytes() for place in PLACES for time in TIMES}
    assert len(pictures) == len(PLACES) * len(TIMES)


def test_the_held_out_share_is_as_named() -> None:
    every = [(s, c, p, t) for s in SUBJECTS for c in COLOURS for p in PLACES for t in TIMES]
    share = sum(is_held_out(*combination) for combination in every) / len(every)
    assert abs(share - HELD_OUT_SHARE) < 0.015


def test_training_never_sees_a_held_out_combination(scenes: list[Scene]) -> None:
    assert not any(touches_held_out(scene) for scene in scenes)


def test_the_evaluation_asks_only_for_held_out_combinations() -> None:
    rng = random.Random(5)
    assert all(touches_held_out(sample_held_out_scene(rng)) for _ in range(200))


def test_sampling_reaches_everything(scenes: list[Scene]) -> None:
    figures = [figure for scene in scenes for figure in scene.figures]
    assert {figure.kind for figure in figures} == set(SUBJECTS)
    assert {figure.colour for figure in figures} == set(COLOURS)
    assert {figure.pose for figure in figures} == {*POSES, None}
    assert {scene.place for scene in scenes} == set(PLACES)
    assert {scene.time for scene in scenes} == set(TIMES)
    assert {len(scene.figures) for scene in scenes} == {0, 1, 2}


def test_only_people_have_poses(scenes: list[Scene]) -> None:
    for scene in scenes:
        for figure in scene.figures:
            assert (figure.pose is not None) == (figure.kind in PEOPLE)


def test_every_caption_word_is_in_the_list_of_words(scenes: list[Scene]) -> None:
    words, rng = set(all_words()), random.Random(3)
    for scene in scenes:
        for text in (caption(scene, rng), plain_caption(scene)):
            assert set(re.findall(r"[a-z]+", text.lower())) <= words, text


def test_a_scene_is_told_in_many_ways(scenes: list[Scene]) -> None:
    rng = random.Random(4)
    scene = next(s for s in scenes if len(s.figures) == 1 and s.figures[0].kind == "hero")
    assert len({caption(scene, rng) for _ in range(50)}) > 30


def test_minnal_murali_is_never_in_training(scenes: list[Scene]) -> None:
    rng = random.Random(6)
    assert "minnal" not in all_words()
    for scene in scenes:
        assert TRIGGER.lower() not in caption(scene, rng).lower()


def test_minnal_murali_can_be_drawn_and_named_for_a_lora() -> None:
    rng = random.Random(7)
    for _ in range(20):
        scene = minnal_murali_scene(rng)
        text = caption(scene, rng)
        assert TRIGGER in text or TRIGGER.lower() in text.lower()
        assert not set(COLOURS) & set(text.split())
        picture, boxes = draw(scene)
        assert picture.size == (256, 256)
        assert len(boxes) == 1


def test_every_pose_has_words() -> None:
    assert set(POSE_WORDS) == set(POSES)


def test_the_shipped_folder_is_small_and_names_its_words() -> None:
    files = [path for path in ASSETS.rglob("*") if path.is_file()]
    assert max(path.stat().st_size for path in files) < 10e6
    assert sum(path.stat().st_size for path in files) < 40e6
    shipped = json.loads((ASSETS / "words.json").read_text())
    assert shipped["words"] == all_words()
    assert shipped["subjects"] == list(SUBJECTS)
    for example in shipped["examples"]:
        assert set(re.findall(r"[a-z]+", example)) <= set(all_words())


def test_the_preview_is_one_colour_a_channel() -> None:
    preview = json.loads((ASSETS / "preview.json").read_text())
    channels = json.loads((ASSETS / "vae" / "config.json").read_text())["latent_channels"]
    assert len(preview["latent_rgb_factors"]) == channels
    assert all(len(row) == 3 for row in preview["latent_rgb_factors"])
    assert len(preview["latent_rgb_bias"]) == 3
