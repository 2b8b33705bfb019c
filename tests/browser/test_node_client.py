"""@gradio/client under Node draws pictures, downloads them, and gets our sentences as errors."""

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from sdgen.config import Settings
from sdgen.studio import Studio
from tests.serving import GRADIO_WARNINGS, served

pytestmark = [pytest.mark.browser, *GRADIO_WARNINGS]

HERE = Path(__file__).parent


def test_a_javascript_program_draws(
    studio: Studio, settings: Settings, node_modules: Path, tmp_path: Path
) -> None:
    (tmp_path / "node_modules").symlink_to(node_modules)
    script = tmp_path / "generate.mjs"
    shutil.copy(HERE / "generate.mjs", script)
    with served(studio, settings) as url:
        done = subprocess.run(
            ["node", str(script), url, "a red robot", "7"],
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.strip().splitlines()[-1])
    assert said["models"] == [card.name for card in studio.models()]
    assert said["seeds"] == [7, 8]
    assert said["recipes"][0].startswith("a red robot\nSteps: 3")
    assert said["refusal"] == "Prompt is empty; describe the picture you want."
    files = sorted((settings.data_dir / "pictures").rglob("*.png"))
    assert said["hashes"] == [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
