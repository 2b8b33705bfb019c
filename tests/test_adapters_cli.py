"""`sdgen adapters` and `sdgen generate --adapter`."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from sdgen.adapters.modules import model_modules
from sdgen.cli import app
from sdgen.config import Settings
from sdgen.models import DEFAULT_MODEL, find_model
from sdgen.request import AdapterUse
from sdgen.studio import Studio
from tests import adapter_files
from tests.adapter_files import Pair, Pairs, family_pairs
from tests.conftest import FakeEngine, FakeModelFiles
from tests.fake_hub import fake_hub

Run = Callable[..., Result]
SMALL = ("--width", "64", "--height", "64", "--steps", "2")


@pytest.fixture
def run(engine: FakeEngine, model_files: FakeModelFiles, tmp_path: Path) -> Run:
    """Runs a command line over the fakes, with a data folder of the test's own."""

    def studio(settings: Settings) -> Studio:
        own = settings.model_copy(update={"data_dir": tmp_path / "data"})
        return Studio(own, engine, model_files)

    def invoke(*arguments: str, answer: str = "") -> Result:
        return CliRunner().invoke(app, list(arguments), obj=studio, input=answer)

    return invoke


def picturebook_pairs(alpha: float = 1.0) -> Pairs:
    """A pair for each attention module of the bundled model's denoiser."""
    modules = model_modules(find_model(DEFAULT_MODEL))
    assert modules is not None
    return {
        name: Pair(torch.ones(2, shape[1]), torch.ones(shape[0], 2), alpha)
        for name, shape in modules.items()
        if ".attn1.to_" in name
    }


@pytest.fixture
def cat(tmp_path: Path) -> Path:
    """A file that fits the bundled model, in the data folder."""
    path = tmp_path / "data" / "adapters" / "my-cat.safetensors"
    path.parent.mkdir(parents=True)
    path.with_suffix(".json").write_text('{"title": "My [b]cat[/b]", "triggers": ["sks cat"]}')
    return adapter_files.kohya(picturebook_pairs(), path)


def test_a_file_is_examined(run: Run, cat: Path) -> None:
    result = run("adapters", str(cat))
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("It fits Picturebook (bundled).")
    for said in ("My [b]cat[/b]", "kohya", "sks cat", "alpha     1"):
        assert said in result.stdout


def test_the_report_is_json_for_programs(run: Run, cat: Path, tmp_path: Path) -> None:
    result = run("adapters", str(cat), "--json")
    told = json.loads(result.stdout)
    assert (told["ranks"], told["alphas"], told["alpha_is_told"]) == ([2], [1.0], True)
    assert (told["layout"], told["kind"]) == ("kohya", "lora")
    assert told["verdict"]["level"] == "fits"
    assert told["verdict"]["share"] == 1.0
    assert str(tmp_path) not in result.stdout


def test_a_lora_for_another_model_is_refused_by_name(run: Run, tmp_path: Path) -> None:
    path = adapter_files.peft(family_pairs("sdxl", has="attn2"), tmp_path / "x.safetensors")
    result = run("adapters", str(path), "--model", "sd15")
    assert result.exit_code == 3
    assert result.stdout.startswith("This is an SDXL LoRA; the model is Stable Diffusion 1.5.\n")
    result = run("adapters", str(path), "--model", "sdxl")
    assert result.exit_code == 0
    assert result.stdout.startswith("It fits Stable Diffusion XL 1.0.\n")


def test_a_pickle_is_refused(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"PK\x03\x04" + bytes(100))
    result = run("adapters", str(path))
    assert result.exit_code == 3
    assert "pickled" in result.stderr
    told = json.loads(run("adapters", str(path), "--json").stdout)
    assert told["kind"] == "AdapterRefused"
    assert run("adapters", str(tmp_path / "absent.safetensors")).exit_code == 3


def test_the_list_names_what_is_there_and_what_is_broken(run: Run, cat: Path) -> None:
    (cat.parent / "bad.safetensors").write_bytes(b"no")
    result = run("adapters")
    assert result.exit_code == 0, result.output
    assert "my-cat" in result.stdout
    assert "bad cannot be used" in result.stderr
    told = json.loads(run("adapters", "--json").stdout)
    assert "my-cat" in [adapter["name"] for adapter in told["adapters"]]
    assert [entry["name"] for entry in told["broken"]] == ["bad"]


def test_an_unknown_name_suggests_the_nearest(run: Run, cat: Path) -> None:
    result = run("adapters", "mycat")
    assert result.exit_code == 2
    assert "Did you mean my-cat" in result.stderr


@pytest.mark.parametrize("as_json", [(), ("--json",)])
def test_one_that_was_added_is_removed(run: Run, cat: Path, as_json: tuple[str, ...]) -> None:
    result = run("adapters", "--remove", "my-cat", *as_json)
    assert result.exit_code == 0, result.output
    told = '{"removed": "my-cat"}' if as_json else "The LoRA 'my-cat' is removed."
    assert result.stdout == f"{told}\n"
    assert list(cat.parent.glob("my-cat*")) == []
    assert "my-cat" not in run("adapters").stdout


def test_a_broken_file_can_be_removed(run: Run, cat: Path) -> None:
    bad = cat.with_name("bad.safetensors")
    bad.write_bytes(b"no")
    assert run("adapters", "--remove", "bad").exit_code == 0
    assert not bad.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("minnal-murali",), 3, "comes with sdgen and stays"),
        (("mycat",), 3, "Did you mean my-cat"),
        (("someone/cat",), 3, "There is no LoRA 'someone/cat'"),
        (("my-cat", "my-cat"), 2, "not both"),
    ],
)
def test_what_cannot_be_removed_stays(
    arguments: tuple[str, ...], code: int, said: str, run: Run, cat: Path
) -> None:
    result = run("adapters", "--remove", *arguments)
    assert result.exit_code == code
    assert said in result.stderr
    assert said in json.loads(run("adapters", "--remove", *arguments, "--json").stdout)["error"]
    assert cat.is_file()


@pytest.mark.parametrize(
    ("text", "scale", "text_scale"),
    [("my-cat", 1.0, None), ("my-cat:0.8", 0.8, None), ("my-cat:-0.5:.25", -0.5, 0.25)],
)
def test_generate_takes_adapters(
    text: str, scale: float, text_scale: float | None, run: Run, engine: FakeEngine, cat: Path
) -> None:
    result = run("generate", "a robot", "--adapter", text, *SMALL)
    assert result.exit_code == 0, result.output
    [request] = engine.submitted
    assert request.adapters == (AdapterUse(name=str(cat), scale=scale, text_scale=text_scale),)


def test_generate_takes_a_file_where_it_lies(run: Run, engine: FakeEngine, tmp_path: Path) -> None:
    path = adapter_files.kohya(picturebook_pairs(), tmp_path / "My Dog.safetensors")
    result = run("generate", "a robot", "--adapter", f"{path}:0.5", "--json", *SMALL)
    assert result.exit_code == 0, result.output
    [request] = engine.submitted
    assert request.adapters == (AdapterUse(name=str(path), scale=0.5),)
    [adapter] = json.loads(result.stdout)["recipe"]["adapters"]
    assert adapter["name"] == "my-dog"
    assert not (tmp_path / "data" / "adapters").exists()


@pytest.mark.parametrize(
    "text", ["my-cat:11", "my-cat:1:-19", "my-cat:1:1:1", ":1", "my-cat:1e999", "my-cat:1.2.3"]
)
def test_wrong_strengths_are_refused(text: str, run: Run, engine: FakeEngine, cat: Path) -> None:
    result = run("generate", "a robot", "--adapter", text, *SMALL)
    assert result.exit_code == 2
    assert "Error: " in result.stderr
    assert engine.submitted == []


def test_generate_refuses_what_does_not_fit(run: Run, engine: FakeEngine, tmp_path: Path) -> None:
    path = adapter_files.peft(family_pairs("sdxl", has="attn2"), tmp_path / "x.safetensors")
    result = run("generate", "a robot", "--adapter", str(path), *SMALL)
    assert result.exit_code == 3
    assert "This is an SDXL LoRA" in result.stderr
    assert engine.submitted == []


@pytest.mark.slow  # two programs start
def test_the_hub_is_asked_only_after_a_yes(cat: Path, tmp_path: Path) -> None:
    (tmp_path / "repo").mkdir()
    adapter_files.peft(picturebook_pairs(), tmp_path / "repo" / "a.safetensors")
    with fake_hub(someone__cat=tmp_path / "repo") as hub:

        def sdgen(*arguments: str) -> subprocess.CompletedProcess[str]:
            places = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "hf")}
            command = [sys.executable, "-m", "sdgen", "adapters", "someone/cat", *arguments]
            return subprocess.run(
                [*command, "--json", "--data-dir", str(tmp_path / "data")],
                env={**os.environ, **places}, capture_output=True, text=True, check=False,
            )  # fmt: skip

        refused = sdgen()
        assert refused.returncode == 3
        assert "nothing was fetched" in json.loads(refused.stdout)["error"]
        assert hub.fetched == []
        fetched = sdgen("--yes")
        assert fetched.returncode == 0, fetched.stderr
        assert hub.fetched == ["a.safetensors"]
    told = json.loads(fetched.stdout)
    assert told["source"] == "hub:someone/cat:a.safetensors"
    assert told["verdict"]["level"] == "fits"


def test_minnal_murali_of_sd15_is_on_the_hub(run: Run) -> None:
    result = run("adapters", "--model", "sd15", "--json")
    [choice] = [a for a in json.loads(result.stdout)["adapters"] if a["name"] == "minnal-murali"]
    assert not choice["local"]
    assert choice["source"] == "hub:nikhiljose7/lora-sdv1-5-minnal-murali"
