"""A run from its recipe to the last step: what it leaves, what it obeys, what it survives."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lora.base import Base, load_base
from lora.cache import Latents, Row, Rows, WrongPair, encode_photos
from lora.checkpoints import latest_checkpoint, read_tensors, save_checkpoint, tensor_bytes
from lora.config import CompleteRecipe, InvalidRecipe, completed
from lora.dataset import Dataset, load_dataset
from lora.loss import Text
from lora.network import adapter_state, named_weights
from lora.preflight import NotEnoughMemory, more_modest, preflight
from lora.runs import RunFolder, Status
from lora.train import TrainingFailed, prepare, resume, train
from lora.trainer import Step, Trainer, prior_prompts
from sdgen.config import Settings
from sdgen.models import bundled_models
from tests.tiny_models import saved, sd1
from tests.tiny_sdxl import sdxl
from tests.tiny_training import photos, recipe, run_folder, trained_in_child


class Ready:
    """A tiny base with cached photos, from which trainers are made."""

    def __init__(self, folder: Path, pipe: Any = None, **fields: Any) -> None:
        self.folder = folder
        asked = recipe(saved(pipe or sd1(), folder / "base"), **fields)
        self.base: Base = load_base(asked, Settings(data_dir=folder / "data"))
        self.dataset: Dataset = photos(folder / "photos", 5)
        self.recipe: CompleteRecipe = completed(asked, self.base.family, 5)
        self.latents: dict[str, Latents] = encode_photos(self.base, self.dataset.examples)

    def trainer(self, **fields: Any) -> Trainer:
        whole = self.recipe.with_fields(**fields)
        return Trainer(self.base, whole, self.dataset.examples, self.latents)

    def after(self, steps: int, **fields: Any) -> dict[str, torch.Tensor]:
        trainer = self.trainer(**fields)
        for step in range(steps):
            assert trainer.step(step).finite
        return adapter_state(self.base)


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Ready:
    return Ready(tmp_path_factory.mktemp("ready"))


def apart(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """The largest difference of two adapters, relative to how far one has moved from zero."""
    assert one.keys() == other.keys()
    moved = max(float(value.abs().max()) for name, value in one.items() if "lora_B" in name)
    return max(float((one[name] - other[name]).abs().max()) for name in one) / moved


# --- a run on disk


def test_a_run_leaves_what_it_promises(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", held_out=2, ema=0.5)
    seen: list[Status] = []
    done = train(run, lambda status, step: seen.append(status), export=False)
    assert (done.state, done.step) == ("done", 6)
    assert [status.step for status in seen] == [1, 2, 3, 4, 5, 6]
    assert seen[-1].seconds_left == 0
    assert run.read_status().state == "done"
    assert run.read_recipe().precision == "float32", "what was found to suit is written down"
    assert run.saved_steps() == [3, 6]
    assert run.sampled_steps() == [0, 3, 6]
    pictures = [(run.sample_folder(step) / "00.png").read_bytes() for step in (0, 3, 6)]
    assert len(set(pictures)) == 3, "the samples change with the adapter"
    lines = run.read_metrics()
    assert [line["step"] for line in lines if "loss" in line] == [1, 2, 3, 4, 5, 6]
    assert [line["step"] for line in lines if "held_out_loss" in line] == [0, 3, 6]
    names = set(read_tensors(run.checkpoint(6) / "adapter.safetensors"))
    assert all(name.startswith("unet.") and ".lora_" in name for name in names)
    assert isinstance(CompleteRecipe.read(run.recipe), CompleteRecipe)


def test_commands_are_obeyed_and_stop_keeps_what_is_there(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", steps=50, save_every=50, samples=[])

    def ask(status: Status, step: Step) -> None:
        if status.step == 2:
            run.send("save-now")
        elif status.step == 4:
            run.send("sample-now")
        elif status.step == 5:
            run.send("stop")

    done = train(run, ask, export=False)
    assert (done.state, done.step) == ("stopped", 5)
    assert run.read_status().state == "stopped"
    assert run.saved_steps() == [2, 5]
    again = resume(run, on_step=lambda status, step: run.send("stop"), export=False)
    assert again.step == 6


def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", samples=[])
    train(run, export=False)
    whole = {step: (run.checkpoint(step) / "state.safetensors").read_bytes() for step in (3, 6)}
    (run.checkpoint(6) / "state.safetensors").write_bytes(whole[6][:-8] + b"\0" * 8)
    found = latest_checkpoint(run)
    assert found is not None
    assert found.step == 3
    resume(run, export=False)
    assert (run.checkpoint(6) / "state.safetensors").read_bytes() == whole[6]


def test_a_file_of_tensors_has_the_same_bytes_in_every_process() -> None:
    tensors, words = {"a": torch.ones(2)}, {name: name for name in ("rank", "alpha", "step")}
    data = tensor_bytes(tensors, words)
    assert tensor_bytes(tensors, dict(reversed(words.items()))) == data


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", samples=[])
    run.metrics.mkdir()  # where a file should be
    with pytest.raises(TrainingFailed, match="could not be written"):
        train(run, export=False)
    assert run.read_status().state == "failed"
    assert "resume" in run.read_status().error
    run.metrics.rmdir()
    assert resume(run, export=False).step == 6


def test_broken_numbers_end_the_run_after_going_back(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", learning_rate=10.0, warm_up=0.0, samples=[], steps=400)
    base = RunFolder(tmp_path / "run-base")
    weights = base.path / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = read_tensors(weights)
    tensors["conv_out.weight"] *= 1e37  # so that the loss overflows
    weights.write_bytes(tensor_bytes(tensors, {"format": "pt"}))
    with pytest.raises(TrainingFailed, match=r"Lower the learning rate"):
        train(run, export=False)
    status = run.read_status()
    assert (status.state, status.step) == ("failed", 0)
    assert "learning rate" in status.error


def test_going_back_halves_the_rate_and_forgets_the_lost_steps(
    tmp_path: Path, ready: Ready
) -> None:
    trainer = ready.trainer()
    trainer.step(0)
    good = trainer.checkpoint(1)
    with torch.no_grad():
        for _, value in named_weights(ready.base):
            value.fill_(float("nan"))
    assert not trainer.step(1).finite
    trainer.restore(good)
    trainer.rate_factor /= 2
    rate = ready.recipe.with_fields(steps=ready.recipe.steps).learning_rate
    done = trainer.step(1)
    assert done.finite
    assert 0 < done.learning_rate <= rate / 2


def test_a_step_of_broken_numbers_changes_nothing(ready: Ready) -> None:
    trainer = ready.trainer()
    trainer.step(0)
    row = next(iter(ready.latents.values()))
    kept = row.mean.clone()
    row.mean.fill_(float("inf"))
    try:
        results = [trainer.step(step) for step in (1, 2, 3)]
    finally:
        row.mean.copy_(kept)
    assert not all(result.finite for result in results)
    assert all(bool(torch.isfinite(value).all()) for value in adapter_state(ready.base).values())


def test_a_caption_beside_a_foreign_photo_ends_the_run(ready: Ready) -> None:
    first, second = ready.dataset.examples[:2]
    rows = Rows(ready.base, ready.recipe, ready.dataset.examples, ready.latents)
    wrong = Row(0, ready.latents[first.id], second.caption)
    text = Text(torch.zeros(1, 77, 32))
    with pytest.raises(WrongPair):
        rows.batch(0, 2, [wrong], text)
    rows.batch(0, 2, [replace(wrong, caption=first.caption)], text)
    rows.batch(0, 2, [replace(wrong, caption="")], text)


def test_kept_latents_are_those_of_the_photo(tmp_path: Path, ready: Ready) -> None:
    encode_photos(ready.base, ready.dataset.examples, tmp_path)
    again = encode_photos(ready.base, ready.dataset.examples, tmp_path)
    assert len(list(tmp_path.iterdir())) == 5
    for name, latents in ready.latents.items():
        assert torch.equal(again[name].mean, latents.mean)
    next(tmp_path.iterdir()).write_bytes(b"damaged")
    repaired = encode_photos(ready.base, ready.dataset.examples, tmp_path)
    assert all(torch.equal(repaired[n].spread, ready.latents[n].spread) for n in ready.latents)


def test_a_resolution_that_the_vae_cannot_make_is_refused(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run")
    wrong = load_dataset(run.photos).examples[0]
    assert wrong.bucket == (64, 64)
    line = (run.photos / "metadata.jsonl").read_text("utf-8").replace("[64, 64]", "[60, 60]")
    (run.photos / "metadata.jsonl").write_text(line, encoding="utf-8")
    with pytest.raises(InvalidRecipe, match="resolution"):
        prepare(run.read_recipe(), run)


# --- the steps


def test_the_same_photos_a_step_give_the_same_adapter(ready: Ready) -> None:
    whole = ready.after(3, batch_size=4)
    assert apart(whole, ready.after(3, batch_size=4)) == 0
    assert apart(whole, ready.after(3, batch_size=2, accumulation=2)) < 1e-3
    assert apart(whole, ready.after(3, batch_size=4, gradient_checkpointing=True)) < 1e-3
    assert apart(whole, ready.after(3, batch_size=2)) > 0.05


def test_text_encoders_learn_for_their_share_of_the_steps(ready: Ready) -> None:
    fields = {"text_encoder": True, "text_encoder_share": 0.5, "steps": 4}
    trainer = ready.trainer(**fields)
    states = []
    for step in range(4):
        trainer.step(step)
        state = adapter_state(ready.base)
        states.append({n: v for n, v in state.items() if n.startswith("text_encoder.")})
    assert states[0], "there is an adapter in the text encoder"
    assert any(not torch.equal(states[0][n], states[1][n]) for n in states[0])
    assert all(torch.equal(states[1][n], states[3][n]) for n in states[0])


def test_sdxl_learns(tmp_path: Path) -> None:
    ready = Ready(tmp_path, sdxl(), text_encoder=True, prior_weight=0.5, class_word="cat")
    names = ready.after(3)
    parts = {name.partition(".")[0] for name in names}
    assert parts == {"unet", "text_encoder", "text_encoder_2"}
    assert not any(name.startswith("text_encoder_2.text_model") for name in names)
    still = {name for name, value in names.items() if "lora_B" in name and not value.any()}
    unused = "text_encoder.encoder.layers.2."  # SDXL reads its first encoder's last layer but one
    assert still == {name for name in names if "lora_B" in name and name.startswith(unused)}


def test_the_loss_falls_on_photos_that_are_learnt_by_heart(ready: Ready) -> None:
    trainer = ready.trainer(
        steps=30, batch_size=5, rank=8, learning_rate=3e-2, targets=["attention", "convolutions"]
    )
    losses = [trainer.step(step).loss for step in range(30)]
    assert sum(losses[-8:]) < 0.97 * sum(losses[:8])


@pytest.mark.parametrize(
    ("optimizer", "package"), [("prodigy", "prodigyopt"), ("adamw8bit", "bitsandbytes")]
)
def test_an_optimizer_that_is_not_installed_names_its_package(
    ready: Ready, monkeypatch: pytest.MonkeyPatch, optimizer: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # as Python has it where it is not installed
    with pytest.raises(InvalidRecipe, match=f"pip install {package}"):
        ready.trainer(optimizer=optimizer, learning_rate=1.0)


@pytest.mark.parametrize("optimizer", ["adamw", "prodigy"])
def test_a_restored_trainer_goes_on_as_if_nothing_had_been(ready: Ready, optimizer: str) -> None:
    if optimizer == "prodigy":
        pytest.importorskip("prodigyopt")
    fields = {"optimizer": optimizer, "learning_rate": 1.0 if optimizer == "prodigy" else 1e-2}
    fields |= {"text_learning_rate": fields["learning_rate"], "text_encoder": True, "ema": 0.9}
    straight = ready.trainer(**fields)
    for step in range(4):
        straight.step(step)
    goal = straight.checkpoint(4)
    first = ready.trainer(**fields)
    for step in range(2):
        first.step(step)
    run = RunFolder(ready.folder / optimizer)
    save_checkpoint(run, first.checkpoint(2), 2)
    kept = latest_checkpoint(run)
    assert kept is not None
    second = ready.trainer(**fields)
    second.restore(kept)
    for step in range(2, 4):
        second.step(step)
    end = second.checkpoint(4)
    assert end.numbers == goal.numbers
    for one, other in ((end.adapter, goal.adapter), (end.tensors, goal.tensors)):
        assert one.keys() == other.keys()
        assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert not torch.equal(*(c.adapter[max(c.adapter)] for c in (kept, goal))), "it moved"


# --- the pre-flight


def test_short_memory_costs_time_and_not_the_result(ready: Ready) -> None:
    tried: list[CompleteRecipe] = []

    def make(recipe: CompleteRecipe) -> Trainer:
        tried.append(recipe)
        if recipe.batch_size > 1 or not recipe.gradient_checkpointing:
            raise torch.OutOfMemoryError("out of memory")
        return Trainer(ready.base, recipe, ready.dataset.examples, ready.latents)

    start = ready.recipe.with_fields(batch_size=6)
    measured = preflight(start, make, lambda: 1.5)
    assert [(one.batch_size, one.accumulation) for one in tried] == [(6, 1), (6, 1), (3, 2), (1, 6)]
    assert measured.recipe == tried[-1]
    assert measured.seconds_per_step > 0
    assert (measured.peak_gb, len(measured.notes)) == (1.5, 3)
    with pytest.raises(NotEnoughMemory, match="64 pixels"):
        more_modest(measured.recipe)


# --- several processes


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_processes_do_what_one_does_with_twice_the_batch(tmp_path: Path) -> None:
    fields: dict[str, Any] = {"samples": [], "text_encoder": True}
    alone = run_folder(tmp_path / "alone", batch_size=4, **fields)
    both = run_folder(tmp_path / "both", batch_size=2, **fields)
    train(alone, export=False)
    launcher = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    launcher += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    done = trained_in_child(both, sys.executable, *launcher, "-m")
    assert done.returncode == 0, done.stderr
    states = [read_tensors(run.checkpoint(6) / "adapter.safetensors") for run in (alone, both)]
    assert apart(*states) < 1e-3
    assert [line["step"] for line in both.read_metrics()] == [1, 2, 3, 4, 5, 6]


def test_the_prior_holds_to_the_class_to_no_words_and_to_what_the_base_is_known_to_draw(
    ready: Ready,
) -> None:
    assert prior_prompts(ready.base.spec, "cat") == ("cat", "")
    known = bundled_models()["picturebook"]
    assert known.words is not None
    assert prior_prompts(known, "hero") == ("hero", "", *known.words.examples)
