"""Keys, passwords and paths of this machine stay where they are. A canary is looked for."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from gradio_client import Client
from pydantic import SecretStr

from sdgen.config import Settings, read_settings
from sdgen.errors import DownloadNeeded, ModelUnavailable, SdgenError
from sdgen.owners import owner_of_token
from sdgen.studio import Studio
from sdgen.web.visitors import COOKIE
from tests.conftest import FakeEngine, FakeModelFiles, ask
from tests.serving import GRADIO_WARNINGS, served
from tests.studio_jobs import saved

pytestmark = GRADIO_WARNINGS

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
        | {"SDGEN_AUTH": f"me:{CANARY}", "SDGEN_METRICS_TOKEN": CANARY}
        | {"SDGEN_DATA_DIR": str(tmp_path / "data")},
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
    (picture,) = saved(job)
    recipe = private.recipe_of(picture.path)
    assert recipe.model == "my-model"
    told = f"{private.models()} {private.status()} {list(job.events())} {recipe} {job.request}"
    told = told.replace(str(picture.path), "")  # the picture's own file may be told
    assert "somebody" not in told
    assert b"somebody" not in picture.path.read_bytes()
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


PAGES = (
    "/",
    "/config",
    "/gradio_api/info",
    "/gradio_api/openapi.json",
    "/healthz",
    "/readyz",
    "/metrics",
)
SMALL = {"width": 64, "height": 64, "steps": 1}


class Heard(logging.Handler):
    """All that the server's side logs, at every level; not what this test's own clients say."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if not record.name.startswith(("httpx", "httpcore")):
            self.lines.append(f"{record.getMessage()} {vars(record)}")


def data_of(folder: Path) -> Iterator[tuple[Path, bytes]]:
    for path in folder.rglob("*"):
        if path.is_file():
            yield path, path.read_bytes()


def test_a_browser_s_token_is_in_no_file_no_log_and_no_other_browser_s_page(
    studio: Studio, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard, root = Heard(), logging.getLogger()
    root.addHandler(heard)
    monkeypatch.setattr(root, "level", logging.DEBUG)
    studio.open_queue()
    try:
        with served(studio, settings) as url, httpx.Client(base_url=url, timeout=20) as ann:
            own_page = ann.get("/").text
            token = ann.cookies[COOKIE]
            program = Client(
                url,
                verbose=False,
                download_files=False,
                httpx_kwargs={"cookies": {COOKIE: token}},
            )
            drawn = program.predict(prompt=f"{CANARY} beach", seed=7, **SMALL, api_name="/generate")
            picture = f"/sdgen/picture/{drawn[0]['id']}"
            assert ann.get(picture).status_code == 200  # it is that browser's
            with httpx.Client(base_url=url, timeout=20) as bob:
                others = [bob.get(where).text for where in PAGES]
                assert bob.cookies[COOKIE] != token
                assert bob.get(picture).status_code == 404
            cache = Path(os.environ["GRADIO_TEMP_DIR"])
            files = [*data_of(settings.data_dir), *data_of(cache)]
    finally:
        root.removeHandler(heard)
    assert any(owner_of_token(token) in str(path) for path, _ in files)
    assert not [path for path, content in files if token in f"{path}" or token.encode() in content]
    assert len(heard.lines) > 1
    assert not [line for line in heard.lines if token in line]
    assert token not in own_page  # also its own page has it in the cookie alone
    for text in others:
        assert token not in text
        assert owner_of_token(token) not in text
        assert CANARY not in text  # nor what the other one drew


def test_the_operator_s_token_and_the_password_are_on_no_page(
    engine: FakeEngine, model_files: FakeModelFiles, tmp_path: Path
) -> None:
    settings = Settings(
        data_dir=tmp_path, auth=SecretStr(f"ann:{CANARY}"), metrics_token=SecretStr(CANARY)
    )
    studio = Studio(settings, engine, model_files)
    with served(studio, settings) as url, httpx.Client(base_url=url, timeout=20) as browser:
        for where in PAGES:
            answer = browser.get(where)
            assert CANARY not in answer.text + str(answer.headers)
        browser.post("/login", data={"username": "ann", "password": CANARY})
        for where in PAGES:
            answer = browser.get(where)
            assert answer.status_code in (200, 401, 503)
            assert CANARY not in answer.text + str(answer.headers)
    studio.close()
