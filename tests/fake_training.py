"""A training without a model, for tests of what starts and watches one: `fake_training.py HOW RUN`.

It writes what a real one writes and obeys the same commands. HOW says what goes wrong, if anything.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

from lora.runs import RunFolder, write_json

STEPS = 20
# A safetensors file of one float32.
HEADER = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
WHOLE = len(HEADER).to_bytes(8, "little") + HEADER + bytes(4)


def main(how: str, path: str) -> int:
    folder = RunFolder(Path(path))
    write_json(folder.path / "environment.json", dict(os.environ))
    status = folder.read_status().changed(state="training", steps=STEPS, pid=os.getpid())
    if how == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    seconds = 0.3 if how in ("slow", "deaf") else 0.02
    for step in range(status.step + 1, STEPS + 1):
        if how != "deaf" and folder.take("stop"):
            status.changed(state="stopped").write(folder.status)
            return 0
        if folder.take("sample-now"):
            folder.sample_folder(step).mkdir(parents=True)
        time.sleep(seconds)
        status = status.changed(step=step)
        status.write(folder.status)
        with folder.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, "loss": 1 / step}) + "\n")
        if how == "killed" and step == 3:
            os.kill(os.getpid(), signal.SIGKILL)
    folder.exports.mkdir(exist_ok=True)
    names = {"no-file": (), "names-no-file": ("exports/a.safetensors",)}.get(how)
    if names is None:
        file = folder.exports / "a.safetensors"
        file.write_bytes(WHOLE[:-2] if how == "half-a-file" else WHOLE)
        names = ("exports/a.safetensors",)
    status.changed(state="done", files=names).write(folder.status)
    return 3 if how == "bad-exit" else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
