"""Makes the second edition: `nice -n 19 python -m tools.picturebook.edition2.make`.

One command, one thread, for as many hours as there are: fits what is fitted, then lets the
training programs take turns until each has made all its steps, matches the text encoder and
exports. It may be killed at any time, and goes on where it was; a new machine begins anew by the
same command.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from tools.picturebook.edition2 import judge, text, train_decoder, train_denoiser
from tools.picturebook.edition2.run import WORK_DIR, step_of

PACKAGE = "tools.picturebook.edition2"
TURNS = (  # program, checkpoint, steps in all, processor minutes of one turn
    ("train_denoiser", "denoiser.pt", train_denoiser.STEPS, 60.0),
    ("text", "text.pt", text.STEPS, 15.0),
    ("train_decoder", "decoder.pt", train_decoder.STEPS, 30.0),
    ("judge", "judge.pt", judge.STEPS, 15.0),
)
ENVIRONMENT = {  # memory is kept from step to step: glibc else gives it back and asks again
    "OMP_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": str(2**32),
    "MALLOC_TRIM_THRESHOLD_": str(2**33),
}


def start(program: str, work_dir: Path, *options: str) -> None:
    """Runs one program to its end; raises CalledProcessError where it fails."""
    command = [sys.executable, "-m", f"{PACKAGE}.{program}", "--work-dir", str(work_dir), *options]
    print(" ".join(command), flush=True)
    subprocess.run(command, check=True, env={**os.environ, **ENVIRONMENT})


def take_turns(work_dir: Path) -> None:
    unfinished = list(TURNS)
    while unfinished:
        for turn in list(unfinished):
            program, checkpoint, steps, minutes = turn
            if step_of(work_dir / checkpoint) >= steps:
                unfinished.remove(turn)
            else:
                start(program, work_dir, "--minutes", str(minutes))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work-dir", type=Path, default=WORK_DIR)
    args = parser.parse_args()
    args.work_dir.mkdir(parents=True, exist_ok=True)
    if not (args.work_dir / "latent_code.pt").exists():
        start("latent_code", args.work_dir)
    if not (args.work_dir / "tokenizer").exists():
        start("tokenizer", args.work_dir)
    take_turns(args.work_dir)
    if step_of(args.work_dir / "matched.pt") < text.MATCH_STEPS:
        start("text", args.work_dir, "--match")
    start("export", args.work_dir)


if __name__ == "__main__":
    main()
