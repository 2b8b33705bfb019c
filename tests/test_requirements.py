"""What is installed is one tested set: declared, pinned, the same everywhere, fit for a Space."""

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from sdgen.model_formats import missing_parts, parse_index
from tools import lock

ROOT = Path(__file__).parent.parent
APP, DEV, DOCKER = (ROOT / name for name in (lock.APP, lock.DEV, lock.DOCKER))
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
OURS = {"sdgen", "lora", "app", "tests", "tools", "bench"}


# model_index.json of stable-diffusion-v1-5/stable-diffusion-v1-5.
SD15_INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "_diffusers_version": "0.6.0",
    "feature_extractor": ["transformers", "CLIPImageProcessor"],
    "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
    "scheduler": ["diffusers", "PNDMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def names(requirements: Iterable[str]) -> set[str]:
    return {canonicalize_name(Requirement(text).name) for text in requirements}


def declared(*groups: str) -> set[str]:
    """The packages of pyproject.toml: the app's, and those of its extras and groups."""
    project = PYPROJECT["project"]
    more = [project["optional-dependencies"], PYPROJECT["dependency-groups"]]
    found = names(project["dependencies"])
    for group in groups:
        for table in more:
            found |= names(table.get(group, ()))
    return found


def imported(*places: str) -> dict[str, set[str]]:
    """Each package that these files import, by its name on PyPI, and which files do."""
    distributions = importlib.metadata.packages_distributions()
    found: dict[str, set[str]] = {}
    files = [
        file
        for place in places
        for file in ([ROOT / place] if place.endswith(".py") else (ROOT / place).rglob("*.py"))
    ]
    for file in files:
        for module in modules(ast.parse(file.read_text())):
            for name in distributions.get(module, ()):
                found.setdefault(canonicalize_name(name), set()).add(str(file.relative_to(ROOT)))
    assert "torch" in found or "pytest" in found  # else nothing was looked at
    return found


def modules(tree: ast.Module) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found - OURS - sys.stdlib_module_names


def test_all_that_the_app_imports_is_declared() -> None:
    extras = declared("mcp", "c2pa", "prodigy", "vision")
    hidden = {name: sorted(files) for name, files in imported("sdgen", "lora", "app.py").items()}
    assert {name: files for name, files in hidden.items() if name not in extras} == {}


def test_all_that_tests_and_tools_import_is_declared() -> None:
    known = declared("mcp", "c2pa", "prodigy", "dev")
    hidden = {name: sorted(files) for name, files in imported("tests", "tools", "bench").items()}
    assert {name: files for name, files in hidden.items() if name not in known} == {}


def test_every_declared_package_has_an_upper_bound() -> None:
    project = PYPROJECT["project"]
    texts = [*project["dependencies"], *PYPROJECT["dependency-groups"]["dev"]]
    for group in project["optional-dependencies"].values():
        texts += group
    open_ended = [
        text for text in texts if not any(s.operator in "<==" for s in Requirement(text).specifier)
    ]
    assert open_ended == []


def test_every_direct_requirement_is_pinned_within_its_range() -> None:
    pins = {canonicalize_name(pin.name): pin for pin in lock.pinned([APP, DEV])}
    for wanted in map(Requirement, lock.ranges()):
        if wanted.name == "torch":
            continue
        (version,) = pins[canonicalize_name(wanted.name)].specifier
        assert version.operator == "=="
        assert wanted.specifier.contains(version.version), f"{wanted} is not {version}"


def test_what_the_pinned_packages_need_is_pinned_too() -> None:
    """Closed under "needs": no package comes in by chance in whatever version is the newest."""
    pins = {
        canonicalize_name(pin.name): pin
        for pin in lock.pinned([APP, DEV])
        if pin.marker is None or pin.marker.evaluate()
    }
    looked_at = 0
    for name, pin in pins.items():
        try:
            here = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        if name == "torch" or not pin.specifier.contains(here.version):
            continue  # its own companions; another version than the lock's
        looked_at += 1
        for text in here.requires or ():
            needs = Requirement(text)
            if needs.marker is not None and not needs.marker.evaluate({"extra": ""}):
                continue
            needed = canonicalize_name(needs.name)
            if lock.torchs_own(needed):
                continue
            assert needed in pins, f"{name} needs {needs}, which no lock names"
            (version,) = pins[needed].specifier
            assert needs.specifier.contains(version.version), f"{name} needs {needs}"
    assert looked_at > 20


def test_the_docker_image_gets_the_same_versions_with_hashes() -> None:
    app = {(pin.name, str(pin.specifier)) for pin in lock.pinned([APP, DEV]) if pin.name != "torch"}
    docker = {(pin.name, str(pin.specifier)) for pin in lock.pinned([DOCKER])}
    assert docker <= app
    direct = declared("mcp", "c2pa") - {"torch"}
    assert direct <= {name for name, _ in docker}
    blocks = re.findall(r"^\w.*\n(?:[ \t].*\n)*", DOCKER.read_text(), re.MULTILINE)
    assert len(blocks) == len(docker)
    assert all("--hash=sha256:" in block for block in blocks)


def test_the_dockerfile_names_a_base_by_digest_and_a_tested_torch() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert re.search(r"^ARG BASE=python:3\.12-slim@sha256:[0-9a-f]{64}$", text, re.MULTILINE)
    assert "--require-hashes" in text
    (torch,) = re.findall(r"^ARG TORCH=(.+)$", text, re.MULTILINE)
    (vision,) = re.findall(r"^ARG TORCHVISION=(.+)$", text, re.MULTILINE)
    assert lock.torch_ranges()[1][0].endswith(f"<={torch}") or torch in lock.torch_ranges()[1][0]
    assert Version(vision).minor == Version(torch).minor + 15  # 0.15 went with torch 2.0


def test_a_difference_from_the_tested_set_is_named(tmp_path: Path) -> None:
    here, numpy = importlib.metadata.version("pillow"), importlib.metadata.version("numpy")
    file = tmp_path / "lock.txt"
    file.write_text(
        f"pillow==1.0  # via sdgen\nno-such-package==2.0\nnumpy=={numpy}\n"
        "colorama==0.0.1 ; sys_platform == 'no such system'\n"
    )
    assert lock.differences([file]) == [
        f"pillow is {here}; the tested set says ==1.0.",
        "no-such-package is not installed; the tested set has it.",
    ]


# --- a Space --------------------------------------------------------------------------------


@cache
def header() -> dict[str, object]:
    """The settings of a Space at the head of README.md."""
    return dict(yaml.safe_load((ROOT / "README.md").read_text().split("---")[1]))


def test_a_space_has_the_gradio_of_the_lock() -> None:
    """Its builder installs sdk_version beside requirements.txt: another one would not resolve."""
    (gradio,) = (pin for pin in lock.pinned([APP]) if pin.name == "gradio")
    assert str(gradio.specifier) == f"=={header()['sdk_version']}"
    assert str(header()["python_version"]) == lock.PYTHON_SPACE


def test_a_spaces_requirements_stand_alone() -> None:
    """Its builder has requirements.txt and no other file of the repository."""
    lines = APP.read_text().splitlines()
    assert not [line for line in lines if line.startswith(("-r", "-c", "-e", "."))]


def test_on_a_space_torch_is_one_that_zerogpu_has() -> None:
    torch = [pin for pin in lock.pinned([APP]) if pin.name == "torch"]
    where = {"python_full_version": lock.PYTHON_SPACE}
    (there,) = (pin for pin in torch if pin.marker is not None and pin.marker.evaluate(where))
    assert all(there.specifier.contains(v) for v in ("2.8.0", "2.9.1", "2.10.0", "2.11.0"))
    assert not there.specifier.contains("2.13.0")
    where = {"python_full_version": "3.11.7"}
    (elsewhere,) = (pin for pin in torch if pin.marker is not None and pin.marker.evaluate(where))
    assert elsewhere.specifier.contains("2.13.0")


def test_the_files_that_a_space_fetches_while_it_is_built_are_a_whole_model() -> None:
    (preload,) = header()["preload_from_hub"]  # type: ignore[misc]
    repo, _, files = preload.partition(" ")
    assert repo == "stable-diffusion-v1-5/stable-diffusion-v1-5"
    parts: dict[str, set[str]] = {}
    for file in files.split(","):
        part, _, name = file.rpartition("/")
        parts.setdefault(part, set()).add(name)
    assert parts.pop("") == {"model_index.json"}
    index = parse_index(SD15_INDEX, "sd15")
    assert missing_parts(parts, index) == ()
    assert set(parts) == set(index.components)
    weights = [name for names_ in parts.values() for name in names_ if name.endswith("tensors")]
    assert weights
    assert all(name.endswith(".fp16.safetensors") for name in weights)


@pytest.mark.slow
@pytest.mark.parametrize("torch", ["2.8.0", "2.9.1", "2.10.0", "2.11.0"])
def test_requirements_resolve_with_what_zerogpu_brings(torch: str, tmp_path: Path) -> None:
    brings = tmp_path / "space.in"
    sdk = header()["sdk_version"]
    brings.write_text(f"gradio[oauth,mcp]=={sdk}\nuvicorn>=0.14.0\nspaces\ntorch=={torch}\n")
    found = resolve(brings, APP, python=lock.PYTHON_SPACE)
    assert f"torch=={torch}" in found
    assert f"gradio=={sdk}" in found


@pytest.mark.slow
@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_the_tests_requirements_resolve(python: str) -> None:
    assert "torch==2.13.0" in resolve(DEV, python=python)


def resolve(*files: Path, python: str) -> list[str]:
    """What these requirements come to on Linux, with that Python; asks PyPI."""
    command = ["uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate"]
    command += ["--python-version", python, "--python-platform", "x86_64-manylinux_2_28"]
    command += ["--default-index", "https://pypi.org/simple", *map(str, files)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()
