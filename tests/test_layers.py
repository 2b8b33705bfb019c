"""Imports point down only, and the page can open before torch is imported."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent

# From the ground up; a module may import what stands below it, and others of its own entry.
LAYERS = (
    "sdgen.version",
    "sdgen.letters",
    "sdgen.errors",
    "sdgen.atomic_write",
    "sdgen.data_folder",
    "sdgen.descriptors",
    "sdgen.html",
    "sdgen.config",
    "sdgen.logs",
    "sdgen.owners",
    "sdgen.request",
    "sdgen.several",
    "sdgen.samplers",
    "sdgen.grid",
    "sdgen.safetensors_header",
    "sdgen.checkpoint_kinds",
    "sdgen.prediction",
    "sdgen.model_formats",
    "sdgen.models",
    "sdgen.file_hashes",
    "sdgen.hub_errors",
    "sdgen.model_files",
    "sdgen.adapters",
    "sdgen.job",
    "sdgen.metrics",
    "sdgen.batcher",
    "sdgen.pipelines",
    "sdgen.engine",
    "sdgen.metadata",
    "sdgen.tokens",
    "sdgen.enhance",
    "sdgen.pictures",
    "sdgen.history",
    "sdgen.gallery",
    "sdgen.credentials",
    "sdgen.keeping",
    "sdgen.queue",
    "sdgen.scratch",
    "sdgen.verify",
    "sdgen.studio_models",
    "sdgen.studio_adapters",
    "sdgen.studio_verify",
    "sdgen.studio_enhance",
    "sdgen.studio_direct",
    "sdgen.studio_store",
    "sdgen.studio",
    "sdgen.web",
    "sdgen.ui",
    "sdgen.launch",
    "sdgen.terminal",
    "sdgen.cli",
    "sdgen.__main__",
    # lora depends on sdgen, never the reverse; sdgen.launch only knows the tab's name.
    "lora.environment",
    "lora.config",
    "lora.runs",  # a run's folder and status file; light
    "lora.dataset",
    "lora.captioner",
    "lora.draws",
    "lora.processes",
    "lora.base",
    "lora.network",
    "lora.loss",
    "lora.checkpoints",
    "lora.cache",
    "lora.optimizers",
    "lora.samples",
    "lora.evaluate",
    "lora.export",
    "lora.hub",
    "lora.trainer",
    "lora.preflight",
    "lora.prepare",
    "lora.witness",
    "lora.course",
    "lora.train",
    "lora.jobs",
    "lora.tab",
    "lora.__main__",
    "app",
)
TORCH_BEGINS = LAYERS.index("sdgen.pipelines")
HEAVY = {"torch", "diffusers", "transformers", "accelerate", "peft"}
# What may be imported only under certain names.
ONLY_IN = {
    **dict.fromkeys(HEAVY, ("sdgen.pipelines", "sdgen.engine", "lora")),
    "openai": ("sdgen.enhance",),
    "c2pa": ("sdgen.credentials",),
    "httpx2": ("sdgen.enhance", "sdgen.hub_errors", "sdgen.model_files"),
    "sqlite3": ("sdgen.history", "sdgen.gallery"),
    "starlette": ("sdgen.web", "sdgen.ui"),
    "prometheus_client": ("sdgen.metrics",),
    "gradio": ("sdgen.ui", "lora.tab", "app"),
    "typer": ("sdgen.cli", "sdgen.__main__", "lora.__main__", "app"),
    "rich": ("sdgen.cli", "sdgen.terminal", "lora.__main__"),
}


def modules() -> Iterator[tuple[str, Path]]:
    """Every module of the program with its dotted name."""
    paths = [path for package in ("sdgen", "lora") for path in (REPOSITORY / package).rglob("*.py")]
    paths.sort()
    if (REPOSITORY / "app.py").is_file():
        paths.append(REPOSITORY / "app.py")
    for path in paths:
        parts = path.relative_to(REPOSITORY).with_suffix("").parts
        yield ".".join(parts).removesuffix(".__init__"), path


def layer(module: str) -> int | None:
    """The place of a module in LAYERS; None for the bare package, which only names its version."""
    for place, name in enumerate(LAYERS):
        if module == name or module.startswith(f"{name}."):
            return place
    return None


def imports(path: Path) -> Iterator[str]:
    """All modules that a file imports, also inside functions. `from a import b` gives a.b too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative import"
            assert node.module is not None
            if node.module in ("sdgen", "lora"):
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
            else:
                yield node.module


@pytest.mark.parametrize(("module", "path"), list(modules()), ids=str)
def test_imports_point_down(module: str, path: Path) -> None:
    here = layer(module)
    assert here is not None or module in ("sdgen", "lora"), f"{module} has no place in LAYERS yet"
    for imported in imports(path):
        there = layer(imported)
        if there is not None and here is not None:
            assert there <= here, f"{module} imports {imported}, which stands above it"
        owners = ONLY_IN.get(imported.partition(".")[0], (module,))
        assert any(module == owner or module.startswith(f"{owner}.") for owner in owners), (
            f"{module} imports {imported}, which only {', '.join(owners)} may"
        )


def test_every_layer_is_there() -> None:
    known = {name for name, _ in modules()}
    assert {name for name in LAYERS if name.startswith("sdgen")} <= known


IMPORT_ALL = """
import importlib, sys, threading
for name in sys.argv[1].split(","):
    importlib.import_module(name)
assert threading.active_count() == 1, threading.enumerate()
print(",".join(sys.modules))
"""


def modules_after_importing(names: list[str]) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, ",".join(names)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.strip().split(","))


LIGHT_IN_LORA = ("lora.config", "lora.runs", "lora.jobs")  # what the page imports before torch


def light(name: str) -> bool:
    if name.startswith("lora"):
        return name.startswith(LIGHT_IN_LORA)
    return layer(name) != TORCH_BEGINS and not name.startswith("sdgen.ui")


def test_nothing_above_the_pipelines_imports_torch_or_gradio() -> None:
    names = [name for name, _ in modules() if light(name) and name != "app"]
    loaded = modules_after_importing(names)
    assert not loaded & (HEAVY | {"gradio", "huggingface_hub", "openai"})


def test_the_page_is_there_before_torch() -> None:
    names = [name for name, _ in modules() if name.startswith(("sdgen.ui", "lora.tab"))]
    assert not modules_after_importing(names) & HEAVY
