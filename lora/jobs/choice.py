"""Another checkpoint or strength than the picked one.

`python -m lora.jobs.choice STEP STRENGTH RUN`: a process of its own, like training, as it loads the
model.
"""

import contextlib
import sys
from pathlib import Path

from lora.runs import RunFolder, write_whole
from sdgen.config import read_settings
from sdgen.errors import SdgenError


def choose(folder: RunFolder, step: int, strength: float) -> None:
    """Export that checkpoint in the place of the one before, which stays where this fails."""
    from lora.evaluate import EvaluationFailed, by_hand
    from lora.evaluate import choose as overrule
    from lora.export import export

    before = folder.read_status()
    scores = folder.scores.read_bytes() if folder.scores.is_file() else None
    before.changed(state="exporting", message="").write(folder.status)
    try:
        reason = by_hand(folder, step, strength).reason
        if scores is not None:
            with contextlib.suppress(EvaluationFailed):  # scores that are damaged say nothing
                reason = overrule(folder, step, strength).reason
        made = export(folder, step, strength, read_settings().data_dir)
    except SdgenError as error:
        if scores is not None:
            write_whole(folder.scores, scores)
        before.changed(state="done", message=str(error)).write(folder.status)
        return
    before.changed(
        state="done",
        message=made.sentence(),
        best_step=step,
        best_strength=strength,
        reason=reason,
        files=[str(path) for path in made.paths],
    ).write(folder.status)


if __name__ == "__main__":
    choose(RunFolder(Path(sys.argv[3])), int(sys.argv[1]), float(sys.argv[2]))
