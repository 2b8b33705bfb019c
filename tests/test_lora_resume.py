"""A run that is killed at any step and resumed ends with the same bytes as one that was not."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lora.config import CompleteRecipe
from lora.runs import RunFolder
from lora.train import resume, train
from tests.tiny_training import REPOSITORY, run_folder, trained_in_child

STEPS = 20
pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


def bytes_of(run: RunFolder) -> dict[str, str]:
    """The hashes of all checkpoints and samples of a run, by their place in its folder."""
    return {
        str(path.relative_to(run.path)): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in (run.checkpoints, run.samples)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def losses(run: RunFolder) -> list[tuple[float, float]]:
    return [(line["step"], line["loss"]) for line in run.read_metrics() if "loss" in line]


def kill_at(run: RunFolder, step: int, pause: float) -> None:
    """Train in a child and kill it `pause` seconds after its metrics show that step."""
    command = [sys.executable, "-m", "lora", "train", str(run.recipe), "--folder", str(run.path)]
    child = subprocess.Popen([*command, "--no-export"], cwd=REPOSITORY, stderr=subprocess.DEVNULL)
    try:
        while child.poll() is None:
            seen = losses(run)
            if seen and seen[-1][0] >= step:
                time.sleep(pause)
                break
            time.sleep(0.002)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
@pytest.mark.parametrize(
    ("kills", "fields"),
    [
        (2, {"ema": 0.9, "text_encoder": True, "caption_dropout": 0.3, "noise_offset": 0.1}),
        (1, {"accumulation": 2, "prior_weight": 0.5, "class_word": "cat", "samples": []}),
    ],
    ids=["average-and-text", "accumulated-with-prior"],
)
def test_killed_and_resumed_is_bit_identical(
    tmp_path: Path, kills: int, fields: dict[str, Any]
) -> None:
    fields = {"steps": STEPS, "save_every": 6, **fields}
    straight = run_folder(tmp_path / "straight", held_out=1, **fields)
    killed = run_folder(tmp_path / "killed", held_out=1, **fields)
    train(straight, export=False)
    dice = random.Random()
    steps = [dice.randrange(1, 6), dice.randrange(6, STEPS - 2)][:kills]  # before a save, and after
    print("killed at", steps)
    for step in steps:
        kill_at(killed, step, dice.random() * 0.05)
        assert killed.saved_steps()[-1:] != [STEPS], "it was to be killed before its end"
    done = trained_in_child(killed)
    assert done.returncode == 0, done.stderr
    assert bytes_of(killed) == bytes_of(straight)
    assert losses(killed) == losses(straight)
    assert len(losses(straight)) == STEPS


def test_a_run_that_ended_goes_on_to_more_steps(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", steps=4, save_every=2)
    resume(run, export=False)
    before = bytes_of(run)
    done = resume(run, steps=8, export=False)
    assert done.step == 8
    assert [step for step, _ in losses(run)] == list(range(1, 9))
    after = bytes_of(run)
    kept = {name: digest for name, digest in before.items() if "adapter" in name}
    assert kept.items() <= after.items()
    assert isinstance(CompleteRecipe.read(run.recipe), CompleteRecipe)
