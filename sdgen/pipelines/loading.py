"""From a ModelSpec to a pipeline in memory: local files only, safetensors only, no foreign code."""

import errno
import inspect
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import diffusers
import torch
from diffusers.loaders.single_file_utils import SingleFileComponentError
from diffusers.pipelines.auto_pipeline import AUTO_TEXT2IMAGE_PIPELINES_MAPPING
from diffusers.utils import logging as diffusers_log
from safetensors import SafetensorError
from transformers.utils import logging as transformers_log

from sdgen.config import Settings
from sdgen.descriptors import SENTENCE, out_of_descriptors
from sdgen.errors import ModelUnavailable, SdgenError
from sdgen.model_files import local_folder, model_hash
from sdgen.model_formats import (
    ModelIndex,
    matches_flow,
    names_on_disk,
    part_weights,
    read_index,
    without_checker,
)
from sdgen.models import STEPPED_PIPELINES, FileSource, HubSource, ModelSpec
from sdgen.pipelines.device import (
    GIB,
    WORKING_BYTES,
    DeviceChoice,
    choose_device,
    free_bytes,
    save_memory,
    settle_dtype,
)
from sdgen.pipelines.faults import free_memory, is_out_of_memory
from sdgen.pipelines.folder_view import as_diffusers_reads
from sdgen.pipelines.sd import SdPipeline
from sdgen.pipelines.single_file import load_single_file
from sdgen.pipelines.whole import WholeDiffusersPipeline

if TYPE_CHECKING:
    from sdgen.pipelines.base import StepPipeline, WholePipeline

log = logging.getLogger(__name__)

_NOISY = ("transformers", "diffusers.models")
_LIBRARIES = ("diffusers", "transformers")  # besides the pipeline modules of diffusers itself


def load_pipeline(
    spec: ModelSpec, settings: Settings, cache_dir: Path, hub_cache: Path | None = None
) -> "StepPipeline | WholePipeline":
    """The model, ready to draw, on the device and in the dtype that suit it.

    cache_dir: where measurements and hashes are remembered. hub_cache: the Hub's cache folder;
    None: where huggingface_hub keeps it. Fetches nothing.
    Raises DownloadNeeded when it is not on this machine, else ModelUnavailable with the reason.
    """
    checker = settings.safety_checker
    spec = replace(spec, safety_checker=checker)
    folder = local_folder(spec, hub_cache)
    digest = model_hash(spec, cache_dir, hub_cache)
    choice = choose_device(settings.device, settings.dtype)
    told: tuple[str, ...] = ()
    with _loading_errors(spec), _quiet(), _missing_weights() as missing:
        if isinstance(spec.source, FileSource):
            pipe, told = load_single_file(spec.source.path, folder, choice.dtype)
        else:
            pipe = _from_folder(spec, folder, choice.dtype, checker)
        _check_filled(pipe, spec.title, missing)
        pipe.set_progress_bar_config(disable=True)
        choice, savings = _place(pipe, choice)
    notes = (*told, *savings)
    flow = matches_flow(folder, read_index(folder))
    if type(pipe).__name__ in STEPPED_PIPELINES and not flow:
        spec = replace(spec, family="sd")
        return SdPipeline(
            pipe,
            spec,
            choice,
            digest,
            notes,
            safety=checker,
            adapter_memory_mb=settings.adapter_memory_mb,
        )
    spec = replace(spec, family="whole")
    memory_mb = settings.adapter_memory_mb
    return WholeDiffusersPipeline(pipe, spec, choice, digest, notes, memory_mb)


def _from_folder(spec: ModelSpec, folder: Path, dtype: torch.dtype, checker: bool) -> Any:
    """A folder in diffusers' layout."""
    index = read_index(folder)
    wanted = spec.source.variant if isinstance(spec.source, HubSource) else None
    pipeline_class = _pipeline_class(index, spec.title)
    options: dict[str, Any] = {}
    if "safety_checker" in index.components and not checker:
        options |= {"safety_checker": None, "requires_safety_checker": False}
        if not (folder / "feature_extractor").is_dir():
            options["feature_extractor"] = None
        index = without_checker(index)
    weights = part_weights(names_on_disk(folder, index), index, wanted)
    with as_diffusers_reads(folder, index, weights) as (place, variant):
        return pipeline_class.from_pretrained(
            str(place),
            dtype=dtype,
            variant=variant,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            **options,
        )


def _pipeline_class(index: ModelIndex, title: str) -> Any:
    """The class to load with. Raises ModelUnavailable where it cannot draw from text alone."""
    for library, _ in index.components.values():
        if library not in _LIBRARIES and not hasattr(diffusers.pipelines, library):
            raise ModelUnavailable(
                f"The model '{title}' wants the library '{library}', which sdgen does not use."
            )
    found = getattr(diffusers, index.pipeline, None)
    if not (isinstance(found, type) and issubclass(found, diffusers.DiffusionPipeline)):
        raise ModelUnavailable(
            f"The model '{title}' needs the pipeline {index.pipeline}, which diffusers "
            f"{diffusers.__version__} does not have."
        )
    if found in AUTO_TEXT2IMAGE_PIPELINES_MAPPING.values():
        return found
    takes = inspect.signature(found.__call__).parameters.keys()
    if takes >= {"prompt", "height", "width"} and not takes & {"image", "num_frames"}:
        return found
    raise ModelUnavailable(
        f"The model '{title}' ({index.pipeline}) does not draw pictures from text alone."
    )


def _place(pipe: Any, choice: DeviceChoice) -> tuple[DeviceChoice, tuple[str, ...]]:
    """Put the pipeline on its device; returns the choice it came to, and what was given up."""
    if hasattr(pipe, "unet") and hasattr(pipe, "vae"):
        choice = settle_dtype(pipe, choice)
        return choice, save_memory(pipe, choice)
    parts = [part for part in pipe.components.values() if isinstance(part, torch.nn.Module)]
    needed = sum(part.numel() * part.element_size() for mod in parts for part in mod.parameters())
    free = free_bytes(choice.device)
    if choice.device.type == "cuda" and needed + WORKING_BYTES > free:
        pipe.enable_model_cpu_offload(device=choice.device)
        return choice, (
            f"Only {free / GIB:.1f} GB of GPU memory are free, so the model's parts take turns on "
            "the GPU; this is slower.",
        )
    pipe.to(choice.device)
    return choice, ()


def _check_filled(pipe: Any, name: str, missing: list[str]) -> None:
    """Raises ModelUnavailable when weights were missing, so that a part holds no or random numbers.

    missing: the classes of which transformers said so.
    """
    if missing:
        raise ModelUnavailable(f"'{name}' is incomplete: weights are missing in its {missing[0]}.")
    for part, module in pipe.components.items():
        if isinstance(module, torch.nn.Module) and any(p.is_meta for p in module.parameters()):
            raise ModelUnavailable(f"'{name}' is incomplete: weights are missing in its {part}.")


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars of the libraries on the terminal; ours tells what is being loaded."""
    bars = (diffusers_log, transformers_log)
    active = [library.is_progress_bar_enabled() for library in bars]
    for library in bars:
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library, was in zip(bars, active, strict=True):
            if was:
                library.enable_progress_bar()


@contextmanager
def _missing_weights() -> Iterator[list[str]]:
    """The classes of which transformers says that it made up missing weights; it only logs that.

    Its reports, and a warning of diffusers that names nothing, stay off the terminal meanwhile.
    """
    classes: list[str] = []

    def keep(record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if "LOAD REPORT" in text:
            log.debug("%s", text)
            if "MISSING" in text:
                classes.append(re.sub(r"\x1b\[\d*m", "", text).split(maxsplit=1)[0])
            return False
        return "should be kept in float32: []" not in text

    loggers = [logging.getLogger(f"{name}.modeling_utils") for name in _NOISY]
    for logger in loggers:
        logger.addFilter(keep)
    try:
        yield classes
    finally:
        for logger in loggers:
            logger.removeFilter(keep)


@contextmanager
def _loading_errors(spec: ModelSpec) -> Iterator[None]:
    """Turns what torch, diffusers, transformers and safetensors say into one sentence."""
    try:
        yield
    except SdgenError:
        raise
    except Exception as error:  # four libraries raise all kinds; none is lost
        log.warning("loading %s failed", spec.title, exc_info=error)
        out_of_memory = is_out_of_memory(error) or _no_room(error)
        if out_of_memory:
            error.__traceback__ = None  # its frames hold what filled the memory
            free_memory()
        raise ModelUnavailable(_reason(spec.title, error, out_of_memory)) from error


def _no_room(error: Exception) -> bool:
    """Memory shortage as the loaders' threads and memory maps tell it."""
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    return "can't start new thread" in str(error) or "Cannot allocate memory" in str(error)


def _reason(name: str, error: Exception, out_of_memory: bool) -> str:
    """Words of ours; the libraries' own carry paths of this machine."""
    text = str(error)
    if out_of_descriptors(error):
        return f"'{name}' cannot be loaded. {SENTENCE}"
    if out_of_memory:
        return (
            f"There is not enough memory to load '{name}'; close other programs or choose a "
            "smaller model."
        )
    if isinstance(error, ImportError):
        library = re.search(r"requires the (\w+) library|No module named '(\w+)'", text)
        which = f"the Python library {library[1] or library[2]}" if library else "a Python library"
        return f"'{name}' needs {which}, which is not installed."
    if "custom code" in text:
        return f"The model '{name}' wants to run code of its own, which sdgen never does."
    if "meta tensor" in text:
        return f"'{name}' is incomplete: weights are missing in it."
    if isinstance(error, SafetensorError):
        return f"'{name}' cannot be loaded: a weights file is damaged; please fetch it again."
    if "shape" in text or "size mismatch" in text:
        return f"'{name}' cannot be loaded: its weights do not fit its settings (config.json)."
    if isinstance(error, SingleFileComponentError) or "valid CLIP model" in text:
        return f"'{name}' cannot be loaded: the checkpoint lacks a part of the model."
    return (
        f"'{name}' cannot be loaded: its files do not fit together or are damaged "
        f"({type(error).__name__}; the log tells more)."
    )
