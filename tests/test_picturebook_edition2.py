"""The second edition of the drawn world: what it shows, how it is told, and how it is learned."""

import random
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from torch import Tensor, nn

from tools.picturebook.edition2 import crispness, distill, prompts, words
from tools.picturebook.edition2.captions import FORMS, all_words, caption, misspelt, plain_caption
from tools.picturebook.edition2.denoiser import new_noise_schedule
from tools.picturebook.edition2.export import EXAMPLES
from tools.picturebook.edition2.judge import (
    NAMES,
    SIZES_OF_FIELDS,
    everything_right,
    seen_fields,
    shares,
)
from tools.picturebook.edition2.latent_code import CHANNELS, LEVELS, box_masks
from tools.picturebook.edition2.pen import GRID, PAINT, SIZE, lighter
from tools.picturebook.edition2.pool import Pool, training_scene
from tools.picturebook.edition2.run import Run, learning_rate
from tools.picturebook.edition2.scene import (
    ACCESSORIES,
    COLOURS,
    HELD_OUT_SHARE,
    MOODS,
    PEOPLE,
    PLACES,
    POSES,
    RELATIONS,
    SIZES,
    SUBJECTS,
    TIMES,
    Figure,
    Scene,
    is_held_out,
    sample_any_scene,
    sample_held_out_scene,
    sample_scene,
    touches_held_out,
)
from tools.picturebook.edition2.slots import (
    FIELDS,
    LENGTH,
    PARTS,
    SLOTS,
    UNSAID,
    Chances,
    SlotEncoder,
    fields_of,
    leave_out,
)
from tools.picturebook.edition2.vae import encoder_from_code, new_vae
from tools.picturebook.edition2.world import MINNAL_MURALI, draw, minnal_murali_scene
from tools.picturebook.latent_code import LatentCode
from tools.picturebook.muon import orthogonal

NOTHING_LEFT_OUT = Chances(nothing=0, place=0, time=0, colour=0, pose=0)


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    rng = random.Random(11)
    return [sample_scene(rng) for _ in range(3000)]


@pytest.fixture(scope="module")
def code() -> LatentCode:
    """A code with orthonormal maps by lot."""
    generator, before, maps = torch.Generator().manual_seed(0), 3, []
    for kept in LEVELS:
        matrix = torch.linalg.qr(torch.randn(4 * before, 4 * before, generator=generator))[0]
        maps.append(matrix[:kept])
        before = kept
    scale = 0.5 + torch.rand(CHANNELS, generator=generator)
    return LatentCode(maps, torch.randn(CHANNELS, generator=generator), scale)


def test_the_world_is_as_large_as_it_says() -> None:
    assert len(SUBJECTS) == len(set(SUBJECTS)) >= 40
    assert len(COLOURS) == 12
    assert set(COLOURS) == set(PAINT)
    assert len(PLACES) >= 14
    assert {"rain", "fog"} < set(TIMES)
    assert len(TIMES) >= 8


def test_the_same_scene_gives_the_same_picture(scenes: list[Scene]) -> None:
    for scene in scenes[:8]:
        assert draw(scene)[0].tobytes() == draw(scene)[0].tobytes()


@pytest.mark.parametrize("kind", SUBJECTS)
def test_every_subject_stands_whole_in_the_picture_and_in_its_colour(kind: str) -> None:
    for size, least in zip(SIZES, (0.2, 0.34, 0.44), strict=True):
        figure = Figure(kind, "purple", size, "standing" if kind in PEOPLE else None)
        picture, boxes = draw(Scene("sea", "fog", (figure,)))
        assert picture.size == (SIZE, SIZE)
        left, top, right, bottom = boxes[0]
        assert 0 <= left < right <= SIZE
        assert 0 <= top < bottom <= SIZE
        assert max(bottom - top, right - left) >= least * SIZE
        inside = np.asarray(picture)[top:bottom, left:right].reshape(-1, 3).astype(int)
        paints = [PAINT["purple"], lighter(PAINT["purple"], 0.3)]  # a ghost is paler
        near = np.min([np.abs(inside - np.array(paint)).sum(1) for paint in paints], axis=0) < 60
        assert near.mean() > 0.02


@pytest.mark.parametrize(
    ("field", "values"),
    [("mood", MOODS), ("accessory", ACCESSORIES), ("colour", COLOURS), ("size", SIZES)],
)
def test_whatever_is_told_of_a_cat_can_be_seen(field: str, values: tuple[str, ...]) -> None:
    cat = Figure("cat", "blue")
    pictures = {draw(Scene("farm", "day", (replace(cat, **{field: v}),)))[0].tobytes()
                for v in values}  # fmt: skip
    assert len(pictures) == len(values)


def test_places_and_times_look_different() -> None:
    pictures = {draw(Scene(p, t, ()))[0].tobytes() for p in PLACES for t in TIMES}
    assert len(pictures) == len(PLACES) * len(TIMES)


def test_as_many_are_drawn_as_are_told(scenes: list[Scene]) -> None:
    told = [scene for scene in scenes if sum(f.count for f in scene.figures) > 1]
    for scene in told[:60]:
        assert len(draw(scene)[1]) == sum(figure.count for figure in scene.figures)


@pytest.mark.parametrize("relation", RELATIONS)
def test_relations_are_drawn_as_they_are_named(relation: str) -> None:
    kinds = {"on": ("cat", "horse"), "under": ("cat", "tree"), "over": ("plane", "castle")}
    first, second = kinds.get(relation, ("cat", "dog"))
    for jitter in range(6):
        figures = (Figure(first, "red"), Figure(second, "blue"))
        (left, top, right, bottom), other = draw(
            Scene("beach", "day", figures, relation, jitter)
        )[1]  # fmt: skip
        if relation == "beside":
            assert (left + right) < (other[0] + other[2])
        elif relation == "on":
            assert top < other[1] < bottom < other[3]
        elif relation == "behind":
            assert bottom < other[3]
        elif relation == "under":
            assert top > other[1]
            assert other[0] < left < right < other[2]
        else:
            assert bottom <= other[1] + 0.1 * SIZE


def test_backgrounds_move_in_steps_of_the_grid() -> None:
    """With the sky's and the ground's shift known, two drawings differ by whole cells only."""
    seen = {draw(Scene("space", "night", (), jitter=j))[0].tobytes() for j in range(12)}
    assert len(seen) == 2
    assert GRID == 32


def test_the_held_out_share_is_as_named() -> None:
    every = [(s, c, p, t) for s in SUBJECTS for c in COLOURS for p in PLACES for t in TIMES]
    share = sum(is_held_out(*combination) for combination in every) / len(every)
    assert abs(share - HELD_OUT_SHARE) < 0.01


def test_training_never_sees_what_is_held_out(scenes: list[Scene]) -> None:
    assert not any(touches_held_out(scene) for scene in scenes)
    assert not any(touches_held_out(training_scene(i)) for i in range(200))


def test_the_evaluation_asks_for_what_was_held_out() -> None:
    rng = random.Random(5)
    assert all(touches_held_out(sample_held_out_scene(rng)) for _ in range(100))
    for ask, _, fields in prompts.ASKED.values():
        asked = ask(20)
        assert len(asked) == 20
        assert all(touches_held_out(scene) for _, scene in asked)
        assert set(fields) <= {*NAMES, "all four"}


def test_sampling_reaches_everything(scenes: list[Scene]) -> None:
    figures = [figure for scene in scenes for figure in scene.figures]
    assert {f.kind for f in figures} == set(SUBJECTS)
    assert {f.colour for f in figures} == set(COLOURS)
    assert {f.pose for f in figures} == {*POSES, None}
    assert {f.mood for f in figures} == {*MOODS, None}
    assert {f.accessory for f in figures} == {*ACCESSORIES, None}
    assert {f.count for f in figures} == {1, 2, 3, 4}
    assert {s.place for s in scenes} == set(PLACES)
    assert {s.time for s in scenes} == set(TIMES)
    assert {s.relation for s in scenes} == set(RELATIONS)
    assert {len(s.figures) for s in scenes} == {0, 1, 2, 3}


def test_everything_has_words() -> None:
    assert set(words.KINDS) == set(SUBJECTS)
    assert set(words.COLOURS) == set(COLOURS)
    assert set(words.PLACES) == set(words.BARE_PLACES) == set(PLACES)
    assert set(words.TIMES) == set(words.BARE_TIMES) == set(TIMES)
    assert set(words.POSES) == set(POSES)
    assert set(words.MOODS) == set(MOODS)
    assert set(words.ACCESSORIES) == set(ACCESSORIES)


def test_no_word_means_two_things_of_a_kind() -> None:
    for table in (words.KINDS, words.COLOURS, words.PLACES, words.TIMES, words.MOODS, words.POSES):
        said = [phrase for choices in table.values() for phrase in set(choices)]
        assert len(said) == len(set(said))


def test_every_word_of_a_caption_is_in_the_list(scenes: list[Scene]) -> None:
    known = set(all_words())
    rng = random.Random(3)
    for scene in scenes[:800]:
        told = leave_out(scene, rng)
        for form, _ in FORMS:
            if told is not None and told.figures:
                assert set(re.findall(r"[a-z]+", form(told, rng).lower())) <= known
        assert set(re.findall(r"[a-z]+", plain_caption(scene))) <= known
    for example in EXAMPLES:
        assert set(re.findall(r"[a-z]+", example)) <= known
    assert "minnal" not in known


def test_a_scene_is_told_in_many_ways_and_always_whole() -> None:
    figure = Figure("penguin", "turquoise", "small", None, "sad", "umbrella")
    scene, rng = Scene("moon", "fog", (figure,)), random.Random(4)
    texts = {text.lower() for text in (caption(scene, rng) for _ in range(300))}
    assert len(texts) > 200
    said = [words.COLOURS["turquoise"], words.SIZES["small"], words.MOODS["sad"]]
    fog = words.TIMES["fog"] + words.BARE_TIMES["fog"]
    whole = [
        text for text in texts
        if all(any(word in text for word in choices) for choices in (*said, fog, ("penguin",)))
    ]  # fmt: skip
    assert len(whole) > 0.8 * len(texts)  # the others have a typo


def test_what_is_left_out_is_not_told() -> None:
    figure, rng = Figure("cat", "", "normal"), random.Random(1)
    for _ in range(60):
        text = caption(Scene("", "", (figure,)), rng).lower()
        assert not set(words.COLOURS) & set(re.findall(r"[a-z]+", text))
    assert caption(None, rng) == ""


def test_a_typo_is_one_letter() -> None:
    rng = random.Random(2)
    for _ in range(200):
        text = "a yellow elephant in a village at night"
        wrong = misspelt(text, rng)
        assert abs(len(wrong) - len(text)) <= 1
        changed = [(a, b) for a, b in zip(text.split(), wrong.split(), strict=True) if a != b]
        assert len(changed) <= 1
    assert misspelt("a cat", rng) == "a cat"


def test_held_out_wordings_are_none_of_trainings(scenes: list[Scene]) -> None:
    rng = random.Random(8)
    starts = ("please draw", "is shown", "there is", "are shown", "is seen")
    for scene in [s for s in scenes if len(s.figures) == 1][:50]:
        text = caption(scene, rng, held_out=True)
        assert any(start in text for start in starts)


def test_fields_say_what_is_told_and_no_more(scenes: list[Scene]) -> None:
    assert fields_of(None) == [UNSAID] * FIELDS
    rng = random.Random(9)
    for scene in scenes[:300]:
        whole = fields_of(leave_out(scene, rng, NOTHING_LEFT_OUT))
        assert whole == fields_of(scene)
        assert len(whole) == FIELDS
        assert all(0 <= value < size for value, size in zip(whole, SIZES_OF_FIELDS, strict=True))
        part = fields_of(leave_out(scene, rng, Chances(nothing=0, place=1, time=1, colour=1)))
        assert part[:2] == [UNSAID, UNSAID]
        assert part[3] == 1 + len(scene.figures)
    two = [Figure("cat", "red"), Figure("dog", "blue")]
    apart = {tuple(fields_of(Scene("sea", "day", tuple(f), r)))
             for f in (two, two[::-1]) for r in RELATIONS}  # fmt: skip
    assert len(apart) == 2 * len(RELATIONS)


def test_slots_are_the_last_vectors_and_the_rest_is_always_the_same() -> None:
    torch.manual_seed(0)
    encoder = SlotEncoder()
    red = Scene("sea", "day", (Figure("cat", "red"),))
    blue = replace(red, figures=(Figure("cat", "blue"),))
    a, b = encoder(torch.tensor([fields_of(red), fields_of(blue)]))
    assert a.shape == (LENGTH, b.shape[1])
    assert torch.equal(a[:-SLOTS], b[:-SLOTS])
    differs = [i for i in range(SLOTS) if not torch.equal(a[LENGTH - SLOTS + i], b[-SLOTS + i])]
    assert differs == [3, 6]  # the first figure's, and the one of everything


def test_the_vaes_encoder_is_the_latent_code(code: LatentCode) -> None:
    vae = new_vae()
    encoder_from_code(vae, code)
    pictures = torch.randn(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1)).clamp(
        -1, 1
    )
    with torch.no_grad():
        latents = vae.encode(pictures).latent_dist.mean
    assert latents.shape == (1, CHANNELS, 16, 16)
    assert torch.allclose(latents, code.encode(pictures), atol=0.02)


def test_the_pool_draws_the_same_again(tmp_path: Path, code: LatentCode) -> None:
    code.save(tmp_path / "latent_code.pt")
    pool = Pool(tmp_path, 70)
    pool.grow_to(65)
    assert len(pool) == 70
    rows = torch.tensor([0, 69])
    latents, masks, scenes = pool.take(rows)
    assert scenes == [training_scene(0), training_scene(69)]
    (tmp_path / "scenes.jsonl").write_text("")  # as if killed before it was written
    again = Pool(tmp_path, 70)
    assert len(again) == 0
    again.grow_to(70)
    for before, after in zip((latents, masks), again.take(rows)[:2], strict=True):
        assert torch.equal(before, after)
    assert torch.equal(masks, box_masks([draw(scene)[1] for scene in scenes]))


def _step(run: Run) -> Tensor:
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(run.step))
    return run.networks(x).square().mean()


def _small_run(path: Path) -> Run:
    torch.manual_seed(0)
    return Run(path, nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)), ("1.",), 1e-2, 0.9)


def test_a_killed_run_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    whole = _small_run(tmp_path / "whole.pt")
    for _ in range(6):
        whole.learn(_step(whole), 10)
    first = _small_run(tmp_path / "part.pt")
    for _ in range(3):
        first.learn(_step(first), 10)
    first.save()
    first.learn(_step(first), 10)  # is lost
    second = _small_run(tmp_path / "part.pt")
    assert second.step == 3
    for _ in range(3):
        second.learn(_step(second), 10)
    for a, b in zip(whole.networks.parameters(), second.networks.parameters(), strict=True):
        assert torch.equal(a, b)
    for name, value in whole.average.state_dict().items():
        assert torch.equal(value, second.average.state_dict()[name])


@pytest.mark.parametrize("shape", [(24, 60), (60, 24)])
def test_muon_makes_singular_values_equal_and_keeps_directions(shape: tuple[int, int]) -> None:
    matrix = torch.randn(*shape, generator=torch.Generator().manual_seed(2))
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    found = left.T @ orthogonal(matrix) @ right.T
    assert values.max() / values.min() > 3
    assert found.diag().min() > 0.6
    assert found.diag().max() < 1.3
    assert (found - found.diag().diag()).abs().max() < 1e-3


def test_the_learning_rate_is_even_until_its_last_quarter() -> None:
    rates = [learning_rate(step, 4000, 1.0) for step in range(4001)]
    assert rates[0] < rates[50] < 1
    assert set(rates[100:3000]) == {1.0}
    assert rates[3500] == pytest.approx(0.51)
    assert rates[4000] == pytest.approx(0.02)


def test_the_judge_counts_a_picture_only_if_every_figure_is_right() -> None:
    correct = torch.ones(4, FIELDS, dtype=torch.bool)
    second_colour = 4 + len(PARTS) + list(PARTS).index("colour")
    correct[0, second_colour] = False
    correct[1, 0] = False  # place
    found = shares(correct)
    assert found["colour"] == 0.75
    assert found["kind"] == 1.0
    assert found["all four"] == 0.5
    assert everything_right(correct, ("kind", "colour")) == 0.75


@pytest.fixture(scope="module")
def drawings() -> np.ndarray:
    rng = random.Random(21)
    return np.stack([np.asarray(draw(sample_any_scene(rng))[0]) for _ in range(32)])


def _blurred(pictures: np.ndarray) -> np.ndarray:
    blur = ImageFilter.GaussianBlur(2)
    return np.stack([np.asarray(Image.fromarray(p).filter(blur)) for p in pictures])


def test_a_blur_shows_in_the_edges(drawings: np.ndarray) -> None:
    ratio = crispness.edge_sharpness(_blurred(drawings)) / crispness.edge_sharpness(drawings)
    assert ratio < 0.75


@pytest.mark.slow
def test_a_blur_is_told_apart(drawings: np.ndarray) -> None:
    blurred = _blurred(drawings)
    assert crispness.told_apart(blurred, drawings, crops=True, passes=8, batch=8) > 0.9


@pytest.mark.slow
def test_drawings_are_not_told_apart_from_drawings(drawings: np.ndarray) -> None:
    found = crispness.told_apart(drawings[:16], drawings[16:], crops=True, passes=8, batch=8)
    assert 0.1 < found < 0.9


def test_blocks_show(drawings: np.ndarray) -> None:
    cells = drawings.astype(int)
    uneven = np.random.default_rng(0).integers(-12, 13, (len(cells), 16, 16, 1))
    blocky = cells + uneven.repeat(32, axis=1).repeat(32, axis=2)
    blocky = blocky.clip(0, 255).astype(np.uint8)
    assert crispness.blockiness(blocky) > 1.3 * crispness.blockiness(drawings)


def test_minnal_murali_can_be_drawn_and_judged_and_is_never_in_training(
    scenes: list[Scene],
) -> None:
    rng = random.Random(7)
    for _ in range(8):
        scene = minnal_murali_scene(rng)
        assert draw(scene)[0].size == (SIZE, SIZE)
        fields = seen_fields(scene)
        assert all(0 <= value < size for value, size in zip(fields, SIZES_OF_FIELDS, strict=True))
        assert fields != seen_fields(
            replace(scene, figures=(replace(scene.figures[0], kind="hero"),))
        )
    assert all(f.kind != MINNAL_MURALI for scene in scenes for f in scene.figures)
    assert len(SIZES_OF_FIELDS) == len(NAMES) == FIELDS


def test_the_fast_recipes_aim_is_the_teachers_path() -> None:
    """A teacher that always answers with the truth: its step lands on the truth's own path, and the
    last one on the truth, so a student that also does has no loss."""
    truth = torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(3))

    class Knowing(nn.Module):
        def forward(self, noisy: Tensor, *_: object, **__: object) -> tuple[Tensor]:
            return (truth,)

        def disable_adapters(self) -> None: ...
        def enable_adapters(self) -> None: ...

    kept = new_noise_schedule().alphas_cumprod
    timesteps = torch.tensor([distill.JUMP - 1, 499])
    noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(4))
    now = kept[timesteps][:, None, None, None]
    noisy = now.sqrt() * truth + (1 - now).sqrt() * noise
    hidden = torch.zeros(2, 1, 1), torch.zeros(2, 1, 1)
    ahead, before = distill.teachers_step(Knowing(), noisy, timesteps, hidden, kept)  # type: ignore[arg-type]
    assert before.tolist() == [-1, 499 - distill.JUMP]
    assert torch.allclose(ahead[0], truth[0], atol=1e-5)
    then = kept[449]
    assert torch.allclose(
        ahead[1], then.sqrt() * truth[1] + (1 - then).sqrt() * noise[1], atol=1e-5
    )
    loss = distill.loss_of(Knowing(), truth, noise, timesteps, hidden, kept)  # type: ignore[arg-type]
    assert float(loss) < 1e-9
