"""Keys, passwords and paths of this machine stay where they are. A canary is looked for."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sdgen.config import read_settings
from sdgen.errors import DownloadNeeded, ModelUnavailable, SdgenError
from sdgen.studio import Studio
from tests.conftest import FakeEngine, FakeModelFiles, ask

REPOSITORY = Path(__file__).parent.parent
CANARY = "sk-CANARY-4711"

RUN = """
import logging, sys
logging.basicConfig(level=logging.DEBUG)
from sdgen.__main__ import main
from sdgen.errors import OutOfMemory
from sdgen.studio import Studio
from tests.conftest import FakeEngine, FakeModelFiles, Fault
from collections import deque
faults = deque([Fault(OutOfMemory("Too large."), index=1)])
main(lambda settings: Studio(settings, FakeEngine(faults=faults), FakeModelFiles()))
"""


@pytest.mark.parametrize("as_json", [[], ["--json"]])
@pytest.mark.parametrize("count", ["1", "2"])
def test_no_key_is_written_anywhere(tmp_path: Path, as_json: list[str], count: str) -> None:
    keys = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "OPENAI_API_KEY")
    done = subprocess.run(
        [sys.executable, "-c", RUN, "generate", "a robot", "-n", count, *as_json],
        cwd=REPOSITORY,
        env=os.environ
        | dict.fromkeys(keys, CANARY)
        | {"SDGEN_AUTH": f"me:{CANARY}", "SDGEN_DATA_DIR": str(tmp_path / "data")},
        capture_output=True,
        check=False,
    )
    assert done.returncode == int(count) - 1  # the second picture fails
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.suffix == ".png" for path in files)
    for content in (done.stdout, done.stderr, *(path.read_bytes() for path in files)):
        assert CANARY.encode() not in content


def test_settings_do_not_tell_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDGEN_AUTH", f"me:{CANARY}")
    settings = read_settings()
    assert CANARY not in f"{settings} {settings!r} {settings.model_dump_json()}"
    monkeypatch.setenv("SDGEN_PORT", CANARY)
    with pytest.raises(SdgenError) as caught:
        read_settings()
    assert CANARY not in str(caught.value)


@pytest.fixture
def private_folder(tmp_path: Path) -> Path:
    """A model's folder under a path that is nobody's business."""
    folder = tmp_path / "somebody" / "my-model"
    (folder / "unet").mkdir(parents=True)
    (folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"")
    index = {
        "_class_name": "StableDiffusionPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
    }
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


@pytest.fixture
def private(private_folder: Path, tmp_path: Path) -> Iterator[Studio]:
    settings = read_settings(model=str(private_folder), data_dir=tmp_path / "data")
    studio = Studio(settings, FakeEngine(), FakeModelFiles({"my-model"}))
    yield studio
    studio.close()


def test_a_models_folder_is_known_by_its_name_alone(private: Studio, private_folder: Path) -> None:
    assert private.model_problem == ""
    assert private.default_model() == "my-model"
    request = private.request(prompt="x", width=64, height=64, steps=1)
    job = private.start(request)
    job.result(10)
    recipe = private.recipe_of(private.recent()[0])
    assert recipe.model == "my-model"
    told = f"{private.models()} {private.status()} {list(job.events())} {recipe} {job.request}"
    told = told.replace(str(private.recent()[0]), "")  # the picture's own file may be told
    assert "somebody" not in told
    assert b"somebody" not in private.recent()[0].read_bytes()
    with pytest.raises(ModelUnavailable):
        private.start(ask(model=str(private_folder)))  # who asks cannot reach for paths


def test_only_the_engine_is_given_the_real_place(private_folder: Path, tmp_path: Path) -> None:
    settings = read_settings(model=str(private_folder), data_dir=tmp_path / "data")
    engine, files = FakeEngine(), FakeModelFiles(set())
    studio = Studio(settings, engine, files)
    with pytest.raises(DownloadNeeded) as caught:
        studio.start(studio.request(prompt="x"))
    assert "somebody" not in str(caught.value)
    files.local.add("my-model")
    studio.start(studio.request(prompt="x", width=64, height=64, steps=1)).result(10)
    assert engine.submitted[0].model == str(private_folder)
    studio.close()
