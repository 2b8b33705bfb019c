"""A run's checkpoint as finished files: written, proven in a fresh process, and only then kept."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save
from torch import Tensor

from lora.base import Base, load_base
from lora.checkpoints import read_adapter, read_tensors
from lora.config import CompleteRecipe
from lora.dataset import Dataset, load_dataset
from lora.evaluate.scores import EvaluationFailed, ScoreSheet, read_scores
from lora.export.check import FileCheck, Job, answers, check_files, write_probe
from lora.export.describe import Facts, Layout, metadata
from lora.export.layouts import (
    ExportFailed,
    from_peft_layout,
    kohya_layout,
    peft_layout,
    ranks_of,
)
from lora.export.recipe_in_file import (
    NoRecipe,
    TrainedRecipe,
    library_versions,
    public_settings,
    read_trained_recipe,
)
from lora.network import detach, load_adapter_state
from lora.runs import RunFolder, write_whole
from sdgen.adapters.store import adapters_folder, slug
from sdgen.errors import StorageFailed
from sdgen.metadata import public_model_name
from sdgen.pipelines.faults import free_memory

SUFFIX, KOHYA_SUFFIX = ".safetensors", ".kohya.safetensors"


@dataclass(frozen=True)
class Exported:
    """The files of a finished adapter, and how exactly each does what was trained."""

    adapter: Path  # in data_dir/adapters, where the catalogue finds it
    peft: Path  # in the run folder; diffusers
    kohya: Path  # in the run folder; A1111, ComfyUI, Forge, kohya's scripts
    checks: tuple[FileCheck, ...]

    @property
    def paths(self) -> tuple[Path, ...]:
        return (self.adapter, self.peft, self.kohya)

    def sentence(self) -> str:
        """What was proven, for the user."""
        worst = max(check.output_error for check in self.checks)
        return (
            f"Written as {self.adapter.name} for this app and diffusers and as {self.kohya.name} "
            "for other tools; both were loaded in a fresh process and do what was trained "
            f"(difference {worst:.1e})."
        )


def export(
    run_folder: RunFolder | Path,
    step: int,
    strength: float,
    data_dir: Path,
    *,
    base: Base | None = None,
    captions: bool = False,
    dtype: torch.dtype = torch.float16,
) -> Exported:
    """Write a checkpoint in both layouts, prove them, and put one into data_dir/adapters.

    strength: recommended for use; the tensors are as trained. base: a loaded base to compare with,
    left without an adapter; None: loaded here. captions: put the photos' captions into the file.
    Raises ExportFailed when a file does not do what was trained (then none is kept), StorageFailed,
    or what loading the base raises.
    """
    run = run_folder if isinstance(run_folder, RunFolder) else RunFolder(run_folder)
    recipe = CompleteRecipe.read(run.recipe)
    tensors = read_adapter(run, step)
    modules = len(ranks_of(tensors))
    given = base is not None
    base = base or load_base(recipe)
    probe = _Probe.of(base, recipe, tensors)
    facts = _facts(run, recipe, load_dataset(run.photos), base, step, strength, captions)
    layers = int(base.unet.config.layers_per_block) if base.is_sdxl else None
    layouts: dict[str, dict[str, Tensor]] = {
        SUFFIX: peft_layout(tensors, dtype),
        KOHYA_SUFFIX: kohya_layout(tensors, dtype, layers),
    }
    name = slug(recipe.name)
    with tempfile.TemporaryDirectory(prefix="sdgen-export-") as scratch:
        folder = Path(scratch)
        names = []
        for suffix, written in layouts.items():
            _check_finite(written)
            kind: Layout = "peft" if suffix == SUFFIX else "kohya"
            entries = metadata(facts, tensors, kind, written)
            (folder / f"{name}{suffix}").write_bytes(save(written, entries))
            names.append(str(folder / f"{name}{suffix}"))
        write_probe(folder / "probe", probe.plain, probe.trained)
        job = Job(
            base=recipe.base,
            precision=str(base.dtype).removeprefix("torch."),
            device=str(base.device),
            probe=str(folder / "probe"),
            prompts=probe.prompts,
            files=tuple(names),
            modules=modules,
        )
        with _out_of_the_way(base, given):
            checks = check_files(job, folder)
        return _keep(run, folder, name, data_dir, checks)


def adapter_from_file(path: Path) -> dict[str, Tensor]:
    """The tensors of a file that `export` wrote for diffusers, as a checkpoint holds them.

    So training can go on from a file alone. Raises ExportFailed where it is not one of these.
    """
    try:
        tensors = read_tensors(path)
    except (OSError, SafetensorError) as error:
        raise ExportFailed(f"{path.name} cannot be read as a safetensors file.") from error
    if any(name.startswith("lora_") for name in tensors):
        raise ExportFailed(f"{path.name} is the copy for kohya's tools; take the other.")
    return from_peft_layout(tensors)


@dataclass(frozen=True)
class _Probe:
    """The base's answers to fixed inputs, without and with the trained adapter."""

    prompts: tuple[str, ...]
    plain: dict[str, Tensor]
    trained: dict[str, Tensor]

    @classmethod
    def of(cls, base: Base, recipe: CompleteRecipe, tensors: Mapping[str, Tensor]) -> "_Probe":
        prompts = (recipe.trigger, recipe.class_word.strip() or "a picture")
        detach(base)
        plain = answers(base, prompts)
        load_adapter_state(base, tensors)
        try:
            return cls(prompts, plain, answers(base, prompts))
        finally:
            detach(base)


def _facts(
    run: RunFolder,
    recipe: CompleteRecipe,
    photos: Dataset,
    base: Base,
    step: int,
    strength: float,
    captions: bool,
) -> Facts:
    scores: ScoreSheet | None
    try:
        scores = read_scores(run)
    except EvaluationFailed:
        scores = None  # a run that was stopped early may have none
    made = TrainedRecipe(
        settings=public_settings(recipe),
        base_hash=base.digest,
        versions=library_versions(),
        photos=tuple(example.id for example in photos.examples),
        held_out=tuple(example.id for example in photos.held_out),
        captions=tuple(example.caption for example in photos.examples) if captions else None,
        step=step,
        strength=strength,
        sample_seed=recipe.sample_seed,
        scores=scores,
        run=run.name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    title = public_model_name(base.spec.title)
    sizes = tuple(example.bucket for example in photos.examples)
    return Facts(recipe, made, base.family, title, base.velocity, sizes)


def _check_finite(written: Mapping[str, Tensor]) -> None:
    for name, tensor in written.items():
        if not bool(torch.isfinite(tensor).all()):
            raise ExportFailed(
                f"The adapter has numbers at this step that its file cannot hold ({name}); choose "
                "an earlier step."
            )


def _keep(
    run: RunFolder, folder: Path, name: str, data_dir: Path, checks: list[FileCheck]
) -> Exported:
    """Put the proven files where they belong, the catalogue's last."""
    home = adapters_folder(data_dir)
    adapter = home / f"{_free_name(home, name, run.name)}{SUFFIX}"
    peft, kohya = run.exports / f"{name}{SUFFIX}", run.exports / f"{name}{KOHYA_SUFFIX}"
    try:
        write_whole(kohya, (folder / kohya.name).read_bytes())
        data = (folder / peft.name).read_bytes()
        write_whole(peft, data)
        write_whole(adapter, data)
    except OSError as error:
        for path in (kohya, peft):
            with suppress(OSError):
                path.unlink(missing_ok=True)
        raise StorageFailed(
            f"The adapter could not be written: {error.strerror or 'the disk does not answer'}. "
            "Free some space and export again; the checkpoint is kept."
        ) from error
    named = tuple(replace(check, name=Path(check.name).name) for check in checks)
    return Exported(adapter, peft, kohya, named)


def _free_name(home: Path, name: str, run_name: str) -> str:
    """The name, or with a number where another run's adapter has that name already."""
    free, number = name, 1
    while (path := home / f"{free}{SUFFIX}").exists():
        with suppress(NoRecipe):
            if read_trained_recipe(path).run == run_name:
                return free
        number += 1
        free = f"{name}-{number}"
    return free


@contextmanager
def _out_of_the_way(base: Base, given: bool) -> Iterator[None]:
    """Room on the GPU for the checking process, which loads the same model."""
    if base.device.type == "cpu":
        yield
        return
    base.pipe.to("cpu")
    free_memory()
    try:
        yield
    finally:
        if given:
            base.pipe.to(base.device)
