"""A run's checkpoints are measured: fixed questions, losses, judges. The choice: test_lora_pick."""

import json
from pathlib import Path
from statistics import fmean

import pytest
import torch
from PIL import Image
from transformers import CLIPConfig, CLIPModel, Dinov2Config, Dinov2Model

from lora.base import Base, load_base
from lora.cache import TextCache
from lora.config import CompleteRecipe
from lora.dataset import load_dataset
from lora.evaluate import EvaluationFailed, choose, evaluate, read_scores, table
from lora.evaluate.models import (
    JUDGES,
    ClipJudge,
    DinoEmbedder,
    find_judges,
    local_judge,
    picturebook_judge,
)
from lora.evaluate.pairs import class_prompts, losses, make_questions
from lora.evaluate.run import CLOSE, ROUGH
from lora.evaluate.samples import Judges, PixelEmbedder, judged_samples, nearest_of
from lora.network import adapter_state, attach, detach, has_adapter, named_weights
from lora.runs import RunFolder
from tests import tiny_models
from tests.lora_runs import make_run, random_state, recipe_for


def test_nearest_of_some_is_fair() -> None:
    values = [0.1, 0.5, 0.9]
    assert nearest_of(values, 3) == 0.9
    assert nearest_of(values, 1) == pytest.approx(0.5)
    assert nearest_of(values, 2) == pytest.approx((0.5 + 0.9 + 0.9) / 3)


# --- a small real run -------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDGEN_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("SDGEN_DEVICE", "cpu")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Base:
    folder = tmp_path_factory.mktemp("model") / "sd1"
    tiny_models.saved(tiny_models.sd1(), folder)
    return load_base(recipe_for(base=str(folder)))


def learnt(
    base: Base, recipe: CompleteRecipe, run: RunFolder, steps: int
) -> dict[str, torch.Tensor]:
    """An adapter that really lowers the loss on photos like these."""
    from lora.evaluate.pairs import _batches
    from lora.loss import denoising_loss, predict

    photos = load_dataset(run.photos)
    questions = make_questions(base, recipe, photos, run, 96, 1)
    pairs = questions.training[16:]
    text = TextCache(base)
    batches = _batches(base, pairs, text)
    attach(base, recipe)
    optimizer = torch.optim.Adam([weights for _, weights in named_weights(base)], lr=0.02)
    for step in range(steps):
        batch, noisy = batches[step % len(batches)]
        predicted = predict(base, noisy, batch.timesteps, batch.text)
        optimizer.zero_grad()
        denoising_loss(base, batch, predicted).mean().backward()
        optimizer.step()
    state = adapter_state(base)
    detach(base)
    return state


def scaled(state: dict[str, torch.Tensor], factor: float) -> dict[str, torch.Tensor]:
    return {name: t * factor if ".lora_B." in name else t for name, t in state.items()}


def spoilt(state: dict[str, torch.Tensor], size: float) -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(1)
    return {
        name: t + size * t.std() * torch.randn(t.shape, generator=rng) for name, t in state.items()
    }


def samples(run: RunFolder, steps: tuple[int, ...], prompts: tuple[str, ...]) -> None:
    for step in steps:
        run.sample_folder(step).mkdir(parents=True)
        for index in range(len(prompts)):
            picture = Image.effect_noise((64, 64), 40 + step).convert("RGB")
            picture.save(run.sample_folder(step) / f"{index:02}.png")
    run.samples_index.write_text(json.dumps({"prompts": prompts, "seeds": [1] * len(prompts)}))


@pytest.mark.slow
def test_a_real_run_is_measured_and_its_knee_found(small: Base, tmp_path: Path) -> None:
    recipe = recipe_for(small, base=small.spec.name, targets=["attention", "convolutions"])
    run = make_run(tmp_path / "run", recipe, {}, trained=range(9), held_out=range(9, 12))
    good = learnt(small, recipe, run, 100)
    states = {
        10: scaled(good, 0.25),
        20: scaled(good, 0.5),
        30: good,
        40: spoilt(good, 0.5),
        50: spoilt(good, 1.0),
    }
    run = make_run(run.path, recipe, states, trained=range(9), held_out=range(9, 12))
    samples(run, (0, 30), ("zmicat", "zmicat in a garden", "cat"))
    told: list[str] = []
    pick = evaluate(run, small, drift_limit=1e6, on_progress=told.append)
    assert pick.step == 30, table(pick.scores)
    assert not has_adapter(small.unet)
    rows = {one.step: one for one in pick.scores.rows}
    assert list(rows) == [10, 20, 30, 40, 50]
    assert len(rows[30].subject) == CLOSE
    assert len(rows[50].subject) == ROUGH
    assert fmean(rows[30].subject) > fmean(rows[10].subject) > 0
    assert fmean(rows[10].drift) < fmean(rows[30].drift) < fmean(rows[50].drift)
    assert {one.strength for one in pick.scores.strengths} == {0.6, 0.8, 1.2}
    assert "3 held-out photos" in pick.scores.measured_on
    assert rows[30].copying is not None
    assert rows[10].copying is None
    assert pick.scores.cost.forward_passes < 1200
    assert told
    assert read_scores(run) == pick.scores
    text = table(pick.scores)
    assert pick.reason in text
    assert "30*" in text
    assert "±" in text

    mine = choose(run, 10, 0.7)
    assert (mine.step, mine.strength) == (10, 0.7)
    assert "by hand" in mine.reason
    assert "step 30" in mine.reason
    assert read_scores(run).choice.by == "user"
    with pytest.raises(EvaluationFailed, match="no checkpoint of step 11"):
        choose(run, 11, 1.0)
    with pytest.raises(EvaluationFailed, match="strength"):
        choose(run, 10, 0.0)


def test_the_same_questions_whatever_their_number(small: Base, tmp_path: Path) -> None:
    recipe = recipe_for(small, base=small.spec.name)
    run = make_run(tmp_path / "run", recipe, {})
    photos = load_dataset(run.photos)
    few = make_questions(small, recipe, photos, run, 4, 2)
    many = make_questions(small, recipe, photos, run, 8, 4)
    for use in ("subject", "training", "drift"):
        ours, theirs = getattr(few, use), getattr(many, use)
        assert [pair.timestep for pair in ours] == [pair.timestep for pair in theirs[: len(ours)]]
        assert all(torch.equal(a.noise, b.noise) for a, b in zip(ours, theirs, strict=False))
        assert all(torch.equal(a.clean, b.clean) for a, b in zip(ours, theirs, strict=False))
    assert "none was held out" in few.measured_on
    assert {pair.caption for pair in few.subject} == {"zmicat cat"}
    assert not torch.equal(few.subject[0].clean, few.training[0].clean)  # mirrored
    assert all("zmicat" not in pair.caption for pair in few.drift)
    with small.evaluating():
        one = losses(small, few.subject, TextCache(small))
        other = losses(small, many.subject, TextCache(small))[:4]
    assert one == pytest.approx(other, rel=1e-4)


def test_a_trigger_within_a_class_prompt_leaves_it_out(small: Base) -> None:
    recipe = recipe_for(small, base=small.spec.name, trigger="garden", class_word="dog")
    assert all("garden" not in prompt for prompt in class_prompts(small, recipe))
    assert len(class_prompts(small, recipe)) == 4


def test_runs_without_checkpoints_or_scores_are_told(small: Base, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", recipe_for(small, base=small.spec.name), {})
    with pytest.raises(EvaluationFailed, match="no checkpoints"):
        evaluate(run, small)
    with pytest.raises(EvaluationFailed, match="not measured"):
        read_scores(run)
    run.scores.write_text("{}")
    with pytest.raises(EvaluationFailed, match="damaged"):
        read_scores(run)


# --- judges -----------------------------------------------------------------------------------


def tiny_dino(folder: Path) -> Path:
    config = Dinov2Config(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14
    )
    Dinov2Model(config).save_pretrained(folder)
    return folder


def tiny_clip(folder: Path) -> Path:
    words = tiny_models.tokenizer()
    text = {"vocab_size": len(words), "hidden_size": 16, "intermediate_size": 32,
            "num_hidden_layers": 1, "num_attention_heads": 2,
            "bos_token_id": words.bos_token_id, "eos_token_id": words.eos_token_id}  # fmt: skip
    vision = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1,
              "num_attention_heads": 2, "image_size": 32, "patch_size": 16}  # fmt: skip
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)).save_pretrained(
        folder
    )
    words.save_pretrained(folder)
    return folder


def pictures(count: int) -> list[Image.Image]:
    return [Image.effect_noise((60, 40), 30 + 20 * i).convert("RGB") for i in range(count)]


def test_dino_tells_a_copy_from_another_picture(tmp_path: Path) -> None:
    embedder = DinoEmbedder(tiny_dino(tmp_path / "dino"))
    shown = pictures(3)
    rows = embedder.embed([*shown, shown[0].copy()])
    assert rows.shape == (4, 16)
    assert rows.norm(dim=1).tolist() == pytest.approx([1.0] * 4)
    likeness = rows @ rows.T
    assert likeness[0, 3] == pytest.approx(1.0)
    assert likeness[0, 1] < 1.0 - 1e-4


def test_clip_scores_pictures_by_their_prompts(tmp_path: Path) -> None:
    judge = ClipJudge(tiny_clip(tmp_path / "clip"))
    shown = pictures(2)
    scores = judge.scores(shown, ["the red cat", "a dog"])
    assert len(scores) == 2
    assert all(score is not None and -1 <= score <= 1 for score in scores)
    assert judge.scores(shown[:1], ["a dog"]) != scores[:1]


def test_judges_are_used_where_they_are_and_never_fetched(tmp_path: Path, small: Base) -> None:
    for name, judge in JUDGES.items():
        assert judge.download_bytes > 80_000_000
        assert local_judge(name, tmp_path / "hub") is None
    judges = find_judges(small, tmp_path / "hub")
    assert isinstance(judges.embedder, PixelEmbedder)
    assert judges.prompts is None
    home = tmp_path / "hub" / "models--facebook--dinov2-small"
    commit = "0123456789abcdef0123456789abcdef01234567"
    tiny_dino(home / "snapshots" / commit)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(commit)
    assert isinstance(find_judges(small, tmp_path / "hub").embedder, DinoEmbedder)


def test_picturebooks_judge_sees_what_prompts_name() -> None:
    from tools.picturebook.scene import Figure, Scene
    from tools.picturebook.world import draw

    judge = picturebook_judge()
    assert judge is not None
    scene = Scene(figures=(Figure("robot", "red"),), place="beach", time="sunset")
    shown = [draw(scene)[0]] * 4
    prompts = ["a red robot on a beach at sunset", "a cat in the desert", "zmi", "flying cars"]
    right, wrong, unknown, flying = judge.scores(shown, prompts)
    assert right == 1.0
    assert wrong == 0.0
    assert unknown is None
    assert flying == 0.0


def test_copies_of_training_photos_are_seen(small: Base, tmp_path: Path) -> None:
    recipe = recipe_for(small, base=small.spec.name)
    run = make_run(tmp_path / "run", recipe, {}, trained=range(4), held_out=(8, 9))
    photos = load_dataset(run.photos)
    samples(run, (10, 20), ("zmicat", "zmicat in a garden", "cat"))
    for index, example in enumerate(photos.examples[:2]):
        Image.open(example.path).save(run.sample_folder(20) / f"{index:02}.png")
    found = judged_samples(run, recipe, photos, Judges())
    assert found[20]["copying"].mean > found[10]["copying"].mean + 0.05
    assert "likeness" not in found[20]  # pixels do not see subjects
    (run.sample_folder(10) / "00.png").write_bytes(b"cut")
    (run.sample_folder(10) / "01.png").unlink()
    assert judged_samples(run, recipe, photos, Judges())[10] == {}


def test_an_adapter_of_the_text_encoder_is_measured_with_it(small: Base, tmp_path: Path) -> None:
    recipe = recipe_for(small, base=small.spec.name, text_encoder=True)
    state = random_state(small, recipe, size=2.0)
    text_only = {
        name: t if name.startswith("text_encoder") else torch.zeros_like(t)
        for name, t in state.items()
    }
    run = make_run(tmp_path / "run", recipe, {1: text_only})
    pick = evaluate(run, small)
    assert fmean(pick.scores.rows[0].drift) > 0.001
