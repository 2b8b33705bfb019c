"""The tested set of versions: writes requirements.txt and its companions from pyproject.toml.

    python -m tools.lock             after a change of pyproject.toml; moves no version needlessly
    python -m tools.lock --upgrade   the newest versions that the ranges allow; then run the tests
    python -m tools.lock --check     does this environment hold that set? Names what differs
    python -m tools.lock --ranges    what pyproject.toml allows, for `pip install -r /dev/stdin`

requirements.txt          the app, every package to the exact version, for each system and Python
requirements-dev.txt      what tests and checks need beside it
requirements-docker.txt   the app with SHA-256 hashes, for the Docker image

torch is a range there and brings its own companions (CUDA, Triton, setuptools): which build fits is
the machine's matter. Each file stands alone, as a Space copies nothing but requirements.txt before
it installs. Resolves with uv (https://docs.astral.sh/uv/pip/compile), against PyPI.
"""

import argparse
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
APP, DEV, DOCKER = "requirements.txt", "requirements-dev.txt", "requirements-docker.txt"
EXTRAS = ("mcp", "c2pa", "prodigy")  # of pyproject.toml; "vision" is torch's companion
PYTHON_MIN, PYTHON_DOCKER = "3.11", "3.12"
# The Python of the Space that README's header asks for. Only there does this exact version stand
# for a machine, as a Space's builder reads nothing else of ours; any other one may have it too.
PYTHON_SPACE = "3.12.12"
TORCH_SPACE = "<2.12"  # ZeroGPU knows 2.8.0, 2.9.1, 2.10.0 and 2.11.0
_HEADER = "# Made by `python -m tools.lock` from pyproject.toml; a change by hand does not last.\n"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.lock", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    deed = parser.add_mutually_exclusive_group()
    deed.add_argument("--upgrade", action="store_true")
    deed.add_argument("--check", action="store_true")
    deed.add_argument("--ranges", action="store_true")
    options = parser.parse_args(arguments)
    if options.check:
        wrong = differences((ROOT / APP, ROOT / DEV))
        print("\n".join(wrong) or "This environment holds the tested set.")
        return 1 if wrong else 0
    if options.ranges:
        print("\n".join(ranges()))
        return 0
    write_locks(upgrade=options.upgrade)
    return 0


def write_locks(upgrade: bool) -> None:
    """The three files anew. Raises CalledProcessError where the ranges do not go together."""
    more = ["--upgrade"] if upgrade else []
    extras = [word for extra in EXTRAS for word in ("--extra", extra)]
    # All in one first: an extra may hold a package of the app back (gradio[mcp] does pydantic).
    everything = _compile(DEV, "--python-version", PYTHON_MIN, *more, *extras, "--group", "dev")
    app = _blocks(_compile(APP, "--python-version", PYTHON_MIN, "-c", DEV))
    docker = ["--python-version", PYTHON_DOCKER, "--generate-hashes", "--no-annotate"]
    hashed = _compile(DOCKER, *docker, "-c", DEV, "--extra", "mcp", "--extra", "c2pa")
    shipped = {_pin(block) for block in app}
    more_for_tests = (block for block in _blocks(everything) if _pin(block) not in shipped)
    torch = (f"torch{limits} ; {marker}\n" for limits, marker in torch_ranges())
    _write(APP, [*torch, *app])
    _write(DEV, [f"-r {APP}\n", *more_for_tests])
    _write(DOCKER, _blocks(hashed))


def ranges() -> list[str]:
    """The requirements of pyproject.toml: the app, the tested extras, the development group."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = table["project"]["optional-dependencies"]
    found = [*table["project"]["dependencies"], *table["dependency-groups"]["dev"]]
    return found + [text for extra in EXTRAS for text in extras[extra]]


def torch_ranges() -> tuple[tuple[str, str], tuple[str, str]]:
    """(limits, marker) of torch in the app's lock: on a Space, and everywhere else."""
    (torch,) = (wanted for wanted in map(Requirement, ranges()) if wanted.name == "torch")
    return (
        (f"{torch.specifier},{TORCH_SPACE}", f"python_full_version == '{PYTHON_SPACE}'"),
        (str(torch.specifier), f"python_full_version != '{PYTHON_SPACE}'"),
    )


def differences(files: Iterable[Path]) -> list[str]:
    """What of these locks the running environment lacks, or has in another version."""
    wrong: list[str] = []
    for requirement in pinned(files):
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        try:
            here = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{requirement.name} is not installed; the tested set has it.")
            continue
        if not requirement.specifier.contains(here.partition("+")[0], prereleases=True):
            wrong.append(
                f"{requirement.name} is {here}; the tested set says {requirement.specifier}."
            )
    return wrong


def pinned(files: Iterable[Path]) -> Iterator[Requirement]:
    """The requirements of lock files, one by one; hashes and comments left out."""
    for file in files:
        for line in file.read_text().splitlines():
            if line and line[0].isalnum():
                yield Requirement(line.partition("#")[0].rstrip(" \\"))


def torchs_own(name: str) -> bool:
    """True of torch and of the packages that come with one build of it, by their canonical name."""
    return bool(re.fullmatch(r"torch|triton|setuptools|(?:nvidia|cuda)-[\w-]+", name))


def _compile(output: str, *options: str) -> str:
    """What uv resolves pyproject.toml to; versions in `output` are kept where they still fit."""
    command = ["uv", "pip", "compile", "pyproject.toml", "--universal", "--no-header", "--quiet"]
    command += ["--annotation-style", "line", *options]
    command += ["--output-file", output, "--default-index", "https://pypi.org/simple"]
    subprocess.run(command, cwd=ROOT, check=True)
    return re.sub(r",? -c requirements-dev\.txt", "", (ROOT / output).read_text())


def _blocks(text: str) -> list[str]:
    """A lock's requirements, each with its hashes and comments, without what is torch's own."""
    blocks = re.findall(r"^\S.*\n(?:[ \t].*\n)*", text, re.MULTILINE)
    names = (canonicalize_name(re.split(r"[=<>\[ ;]", block, maxsplit=1)[0]) for block in blocks)
    pairs = zip(names, blocks, strict=True)
    return [block for name, block in pairs if not torchs_own(name) and name != "sdgen"]


def _pin(block: str) -> str:
    return block.partition("#")[0].strip()


def _write(name: str, blocks: Iterable[str]) -> None:
    (ROOT / name).write_text(_HEADER + "".join(blocks))


if __name__ == "__main__":
    sys.exit(main())
