"""Enhancing over HTTP: the endpoints, and a canary of a key that must be nowhere afterwards."""

import io
import json
import logging
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client
from pydantic import SecretStr

from sdgen.config import Settings, read_settings
from sdgen.models import ASSETS
from sdgen.studio import Studio
from tests.conftest import FakeEngine, FakeModelFiles
from tests.fault_server import FaultServer, fault_server
from tests.serving import GRADIO_WARNINGS, served

CANARY = "sk-CANARY-4711-abcdefgh"
pytestmark = [
    *GRADIO_WARNINGS,
    pytest.mark.skipif(not (ASSETS / "picturebook" / "words.json").is_file(), reason="no words"),
]
SMALL = {"width": 64, "height": 64, "steps": 2, "seed": 7}


@pytest.fixture
def helper() -> Iterator[FaultServer]:
    """A language model that knows what picturebook can draw."""
    with fault_server("on a beach, at sunset") as server:
        yield server


@pytest.fixture
def everything(tmp_path: Path, engine: FakeEngine, helper: FaultServer) -> Iterator[Any]:
    """(client, url, studio) over a service with the canary as its key."""
    settings = Settings(
        data_dir=tmp_path / "data",
        openai_api_key=SecretStr(CANARY),
        enhance_url=helper.url,
        enhance_model="small",
    )
    studio = Studio(settings, engine, FakeModelFiles())
    studio.prepare_enhancer()
    with served(studio, settings) as url:
        client = Client(
            url, verbose=False, download_files=tmp_path / "downloads", analytics_enabled=False
        )
        yield client, url, studio
        client.close()
    studio.close()


def test_programs_preview_and_draw_enhanced_prompts(everything: Any, helper: FaultServer) -> None:
    client, _, _ = everything
    draft = client.predict(prompt="a red robot", api_name="/enhance")
    assert draft == {
        "text": "a red robot on a beach at sunset",
        "added": ["on a beach", "at sunset"],
        "dropped": [],
        "engine": "api",
        "model": "small",
        "note": "",
    }
    own = client.predict(prompt="a cat", enhancer="builtin", triggers=["zxq"], api_name="/enhance")
    assert own["engine"] == "built-in"
    assert own["text"].startswith("a cat, zxq ")
    (picture,) = client.predict(prompt="a red robot", enhance="api", **SMALL, api_name="/generate")
    assert picture["prompt"] == draft["text"]
    assert (picture["original_prompt"], picture["enhanced_by"]) == ("a red robot", "api")
    assert 'Original prompt: "a red robot"' in picture["recipe"]
    assert len(helper.requests) == 1  # the second time it is remembered
    for wrong in ({"prompt": ""}, {"prompt": "x" * 10_001}, {"prompt": "x", "enhancer": "on"}):
        with pytest.raises(Exception, match=r"Prompt|Enhance"):
            client.predict(**wrong, api_name="/enhance")


def test_a_generation_survives_a_broken_service(everything: Any, helper: FaultServer) -> None:
    client, _, _ = everything
    helper.script = "401"
    (picture,) = client.predict(prompt="a red robot", enhance="api", **SMALL, api_name="/generate")
    assert picture["enhanced_by"] == "built-in"
    assert picture["original_prompt"] == "a red robot"
    assert picture["prompt"].startswith("a red robot ")


def test_the_keys_are_nowhere(
    everything: Any, helper: FaultServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The operator's key, and a user's that is given on the page, through good calls and bad."""
    client, url, studio = everything
    log = io.StringIO()
    handler = logging.StreamHandler(log)
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(logging.DEBUG)
    said: list[object] = []
    try:
        name = studio.keep_key(CANARY, urls_allowed=False)
        for number, script in enumerate(["on a beach", "401", "html", "redirect"]):
            helper.script = script
            prompt = f"a red robot {number}"
            said.append(client.predict(prompt=prompt, api_name="/enhance"))
            said.append(client.predict(prompt=prompt, enhance="api", **SMALL, api_name="/generate"))
        said += [name, studio.service(name), vars(studio), read_settings()]
    finally:
        logging.getLogger().removeHandler(handler)
        logging.getLogger().setLevel(logging.WARNING)
    assert any(CANARY in str(headers) for _, headers, _ in helper.requests)
    for path in ("config", "gradio_api/info", "gradio_api/openapi.json", ""):
        with urllib.request.urlopen(f"{url}{path}", timeout=20) as answer:
            said.append(answer.read().decode())
    out, err = capfd.readouterr()
    said += [out, err, log.getvalue(), json.dumps(str(said))]
    for text in said:
        assert CANARY not in repr(text)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    files += [path for path in Path(tempfile.gettempdir()).glob("gradio*/**/*") if path.is_file()]
    assert any(path.suffix == ".png" for path in files)
    for path in files:
        assert CANARY.encode() not in path.read_bytes()
