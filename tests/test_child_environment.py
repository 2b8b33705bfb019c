"""What a training child gets of the environment: names that are known to be needed, no others."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lora.environment import HOME, child_environment

CANARY = "CANARY-4711"
NEVER = [
    "SDGEN_AUTH", "SDGEN_METRICS_TOKEN", "SDGEN_ENHANCE_URL", "SDGEN_ENHANCE_MODEL",
    "OPENAI_API_KEY", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_ENDPOINT", "GITHUB_TOKEN",
    "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "DATABASE_URL", "MY_DATABASE", "SSH_AUTH_SOCK",
    "WANDB_API_KEY", "KUBERNETES_SERVICE_HOST", "https_proxy", "HTTP_PROXY", "PIP_INDEX_URL",
    "CUDA_LICENSE_KEY", "TORCH_HUB_TOKEN", "NVIDIA_API_KEY", "OMP_PASSWORD", "RANK",
    "WORLD_SIZE", "MASTER_ADDR", "ACCELERATE_USE_CPU", "GRADIO_TEMP_DIR", "SPACE_ID",
    "FORWARDED_ALLOW_IPS", "EDITOR", "PS1", "LC", "CUDA",
]  # fmt: skip
NEEDED = [
    "PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV",
    "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "PYTORCH_CUDA_ALLOC_CONF",
    "PYTORCH_MPS_HIGH_WATERMARK_RATIO", "OMP_NUM_THREADS", "MKL_NUM_THREADS",
    "HSA_OVERRIDE_GFX_VERSION", "HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME", "SystemRoot",
    "SDGEN_THREADS", "SDGEN_DEVICE", "SDGEN_DTYPE",
]  # fmt: skip


@pytest.mark.parametrize("name", NEVER)
def test_what_is_not_needed_stays_here(name: str) -> None:
    assert CANARY not in str(child_environment({name: CANARY}))


@pytest.mark.parametrize("name", NEEDED)
def test_what_is_needed_is_passed_on(name: str) -> None:
    assert child_environment({name: CANARY})[name] == CANARY


def test_an_address_with_a_login_stays_here_under_any_name() -> None:
    assert "me" not in child_environment({"HF_HOME": "https://me:secret@example.org/x"}).values()
    assert "HF_HOME" not in child_environment({"HF_HOME": "https://me:secret@example.org/x"})


def test_it_finds_this_program_and_fetches_nothing(tmp_path: Path) -> None:
    environment = child_environment({"PYTHONPATH": str(tmp_path), "HF_HUB_OFFLINE": "0"})
    assert environment["PYTHONPATH"].split(os.pathsep) == [str(HOME), str(tmp_path)]
    assert environment["HF_HUB_OFFLINE"] == "1"
    done = subprocess.run(
        [sys.executable, "-c", "import os, json, lora; print(json.dumps(dict(os.environ)))"],
        env=child_environment({**os.environ, "SDGEN_AUTH": f"me:{CANARY}", "XYZ": CANARY}),
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert CANARY not in done.stdout
    assert json.loads(done.stdout)["HF_HUB_DISABLE_IMPLICIT_TOKEN"] == "1"
