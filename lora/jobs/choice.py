"""Another checkpoint or strength than the picked one.

`python -m lora.jobs.choice STEP STRENGTH RUN`: a process of its own, like training, as it loads the
model.
"""

import sys
from pathlib import Path

from lora.runs import RunFolder
from sdgen.config import read_settings
from sdgen.errors import SdgenError

BY_HAND = "Chosen by hand."


def choose(folder: RunFolder, step: int, strength: float) -> None:
    """Export that checkpoint in the place of the one before, which stays where this fails."""
    from lora.export import export

    before = folder.read_status()
    before.changed(state="exporting", message="").write(folder.status)
    try:
        made = export(folder, step, strength, read_settings().data_dir)
    except SdgenError as error:
        before.changed(state="done", message=str(error)).write(folder.status)
        return
    before.changed(
        state="done",
        message=made.sentence(),
        best_step=step,
        best_strength=strength,
        reason=BY_HAND,
        files=[str(path) for path in made.paths],
    ).write(folder.status)


if __name__ == "__main__":
    choose(RunFolder(Path(sys.argv[3])), int(sys.argv[1]), float(sys.argv[2]))
