"""The base models: what each is, what it costs to fetch, how it likes to be used. No torch here.

`find_model("picturebook")` takes a name of the table, a Hub id (`owner/name`, optionally
`@revision`), a diffusers folder, or a single `.safetensors` file.
"""

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from sdgen.checkpoint_kinds import CheckpointKind, kind_of, text_width
from sdgen.errors import ModelUnavailable
from sdgen.letters import plain_words
from sdgen.model_formats import (
    ModelIndex,
    guidance_is_embedded,
    matches_flow,
    missing_settings,
    native_size,
    parse_index,
    read_index,
    read_json,
)
from sdgen.prediction import Prediction, file_prediction, folder_prediction, modelspec_size
from sdgen.request import GenerateRequest, Sampler, random_seed
from sdgen.safetensors_header import read_whole_header

ASSETS = Path(__file__).parent / "assets"
DEFAULT_MODEL = "picturebook"

Family = Literal["sd", "whole"]  # which StepPipeline of sdgen.pipelines drives it


@dataclass(frozen=True)
class HubSource:
    """A repository on the Hugging Face Hub."""

    repo: str
    revision: str = "main"
    variant: str | None = None  # "fp16": fetch and load the half-precision files


@dataclass(frozen=True)
class FolderSource:
    """A folder in diffusers' layout, with a model_index.json."""

    path: Path


@dataclass(frozen=True)
class FileSource:
    """A single .safetensors checkpoint."""

    path: Path


Source = HubSource | FolderSource | FileSource


@dataclass(frozen=True)
class ModelSpec:
    """All there is to know about a base model before it is loaded."""

    name: str
    title: str
    family: Family
    source: Source
    licence: str
    download_bytes: int = 0  # 0: nothing to fetch, or (for a foreign Hub id) not known
    width: int = 512  # native size, pixels
    height: int = 512
    steps: int = 25
    guidance_scale: float = 7.0
    sampler: Sampler = "dpmpp_2m"
    ignores: frozenset[str] = frozenset()  # fields of GenerateRequest without effect here
    words: "ModelWords | None" = field(default=None, repr=False)  # where its vocabulary is known
    safety_checker: bool = True  # False: the operator does without, and its files may be absent

    def request(self, **given: object) -> GenerateRequest:
        """A checked request with this model's defaults for all that is absent or None.

        A missing seed, or -1 as other tools of the field write it, is drawn at random. Raises
        InvalidRequest.
        """
        fields: dict[str, object] = {
            "model": self.name,
            "width": self.width,
            "height": self.height,
            "steps": self.steps,
            "guidance_scale": self.guidance_scale,
            "sampler": self.sampler,
            "seed": random_seed(),
        }
        if type(given.get("seed")) is int and given["seed"] == -1:
            given["seed"] = None
        fields.update({name: value for name, value in given.items() if value is not None})
        return GenerateRequest.checked(**fields)


@dataclass(frozen=True)
class ModelWords:
    """What a small model can draw (the bundled model's words.json)."""

    subjects: tuple[str, ...]
    colours: tuple[str, ...]
    places: tuple[str, ...]
    times: tuple[str, ...]
    poses: tuple[str, ...]
    words: frozenset[str]
    examples: tuple[str, ...]

    def unknown(self, prompt: str) -> tuple[str, ...]:
        """The words of `prompt` that the model never saw, in order, each once, lower case."""
        found = plain_words().findall(prompt.lower())
        return tuple(dict.fromkeys(word for word in found if word not in self.words))


def read_words(folder: Path) -> ModelWords | None:
    """The words.json beside a model's files, or None where there is none.

    Raises ModelUnavailable when it is damaged.
    """
    path = folder / "words.json"
    if not path.is_file():
        return None
    raw = read_json(path)
    try:
        return ModelWords(
            subjects=tuple(raw["subjects"]),
            colours=tuple(raw["colours"]),
            places=tuple(raw["places"]),
            times=tuple(raw["times"]),
            poses=tuple(raw["poses"]),
            words=frozenset(raw["words"]),
            examples=tuple(raw["examples"]),
        )
    except (KeyError, TypeError) as error:
        raise ModelUnavailable(
            f"The words.json of '{folder.name}' lacks {error}; remove or repair it."
        ) from error


def bundled_models() -> dict[str, ModelSpec]:
    """The table, by name: the bundled model first, then those that the Hub has."""
    book = ASSETS / "picturebook"
    table = [
        ModelSpec(
            name="picturebook",
            title="Picturebook (bundled)",
            family="sd",
            source=FolderSource(book),
            licence="CC0-1.0",
            width=256,
            height=256,
            steps=12,
            guidance_scale=3.0,
            words=read_words(book),
        ),
        ModelSpec(
            name="sd15",
            title="Stable Diffusion 1.5",
            family="sd",
            source=HubSource("stable-diffusion-v1-5/stable-diffusion-v1-5", variant="fp16"),
            licence="CreativeML OpenRAIL-M",
            download_bytes=2_750_000_000,
        ),
        ModelSpec(
            name="sd-turbo",
            title="SD-Turbo (1 to 4 steps)",
            family="sd",
            source=HubSource("stabilityai/sd-turbo", variant="fp16"),
            licence="Stability AI Community License",
            download_bytes=2_600_000_000,
            steps=2,
            guidance_scale=1.0,
            sampler="euler_a",
            ignores=frozenset({"guidance_scale", "negative_prompt"}),
        ),
        ModelSpec(
            name="lcm",
            title="LCM Dreamshaper v7 (4 to 8 steps)",
            family="sd",
            source=HubSource("SimianLuo/LCM_Dreamshaper_v7"),
            licence="MIT",
            download_bytes=5_500_000_000,
            width=768,
            height=768,
            steps=4,
            guidance_scale=8.0,
            sampler="lcm",
            ignores=frozenset({"negative_prompt"}),
        ),
        ModelSpec(
            name="sdxl",
            title="Stable Diffusion XL 1.0",
            family="whole",
            source=HubSource("stabilityai/stable-diffusion-xl-base-1.0", variant="fp16"),
            licence="CreativeML OpenRAIL++-M",
            download_bytes=7_100_000_000,
            width=1024,
            height=1024,
        ),
        ModelSpec(
            name="sdxl-turbo",
            title="SDXL-Turbo (1 to 4 steps)",
            family="whole",
            source=HubSource("stabilityai/sdxl-turbo", variant="fp16"),
            licence="Stability AI Community License",
            download_bytes=7_000_000_000,
            steps=2,
            guidance_scale=1.0,
            sampler="euler_a",
            ignores=frozenset({"guidance_scale", "negative_prompt"}),
        ),
    ]
    return {spec.name: spec for spec in table}


_HUB_ID = re.compile(r"^(?P<repo>\w[\w.-]*/\w[\w.-]*)(?:@(?P<revision>\w[\w./-]*))?$", re.ASCII)


def find_model(name: str, hub_cache: Path | None = None) -> ModelSpec:
    """The spec that a name, Hub id, folder or .safetensors file stands for; nothing is fetched.

    hub_cache: the Hub's cache folder; None: where huggingface_hub keeps it. A Hub id that is not
    in it gets the family "whole" until it is; then `find_model` knows better.

    Raises ModelUnavailable: unknown name, folder without model_index.json, a file that is no
    Stable Diffusion checkpoint in safetensors.
    """
    table = bundled_models()
    if name in table:
        return table[name]
    path = Path(name).expanduser()
    try:
        if path.is_dir():
            return _folder_spec(name, path)
        if path.is_file():
            return _file_spec(name, path)
    except OSError as error:  # a name too long for a path, a folder that may not be read
        raise ModelUnavailable(
            f"The model '{path.name[:80]}' cannot be read: {error.strerror}."
        ) from error
    match = _HUB_ID.match(name)
    if match and ".." not in name and not name.endswith((".safetensors", ".ckpt")):
        # Half-precision files where there are any: half the download, the same pictures.
        source = HubSource(match["repo"], match["revision"] or "main", variant="fp16")
        return _hub_spec(name, source, hub_cache)
    known = ", ".join(table)
    raise ModelUnavailable(
        f"There is no model '{name[:200]}'. Known names: {known}; or give a Hub id "
        "(owner/name), a folder in diffusers' layout, or a .safetensors file."
    )


def hub_folder(source: HubSource, hub_cache: Path | None = None) -> Path | None:
    """The folder of a repository's files in the Hub's cache, or None; it may be half there."""
    if hub_cache is None:
        from huggingface_hub import constants

        hub_cache = Path(constants.HF_HUB_CACHE)
    home = hub_cache / f"models--{source.repo.replace('/', '--')}"
    commit = source.revision
    if not re.fullmatch(r"[0-9a-f]{40}", commit):
        ref = home / "refs" / commit
        if not ref.is_file():
            return None
        commit = ref.read_text(encoding="utf-8").strip()
        if not re.fullmatch(r"[0-9a-f]{40}", commit):
            return None
    snapshot = home / "snapshots" / commit
    return snapshot if snapshot.is_dir() else None


def _folder_spec(name: str, path: Path) -> ModelSpec:
    """A diffusers folder: all that its settings tell."""
    index = read_index(path)
    spec = ModelSpec(
        name=name,
        title=path.resolve().name,
        family="whole",
        source=FolderSource(path),
        licence="as its maker says",
        words=read_words(path),
    )
    return _fitted(spec, index, path)


def _hub_spec(name: str, source: HubSource, hub_cache: Path | None) -> ModelSpec:
    """A repository outside the table: what its cached settings tell, else only its name."""
    spec = ModelSpec(name, source.repo, "whole", source, "see the model's page on the Hub")
    folder = hub_folder(source, hub_cache)
    if folder is None or not (folder / "model_index.json").is_file():
        return spec
    index = parse_index(read_json(folder / "model_index.json"), source.repo)
    return _fitted(spec, index, folder)


def _file_spec(name: str, path: Path) -> ModelSpec:
    """A single checkpoint: its header and the settings beside it tell kind, size and sampler."""
    header = read_whole_header(path)
    kind = kind_of(header, path.name)
    beside = settings_beside(path, kind)
    prediction = file_prediction(path, header, kind, beside)
    side = 1024 if kind == "sdxl" else 512
    if kind == "sd2" and prediction.type == "v_prediction":
        side = 768
    size = modelspec_size(header.metadata)
    if size is None and beside is not None:
        size = native_size(beside, read_index(beside))
    width, height = size or (side, side)
    spec = ModelSpec(
        name=name,
        title=path.stem,
        family="whole" if kind == "sdxl" else "sd",
        source=FileSource(path),
        licence="as its maker says",
        width=width,
        height=height,
        words=None if beside is None else read_words(beside),
    )
    return _with_habits_of(prediction, spec)


def _with_habits_of(prediction: Prediction, spec: ModelSpec) -> ModelSpec:
    """The spec with the sampler that suits what the model predicts."""
    if prediction.edm is not None:
        if prediction.type == "epsilon":  # Playground 2.5; figures of its model card
            return replace(spec, sampler="dpmpp_2m_karras", steps=50, guidance_scale=3.0)
        return replace(spec, sampler="euler")
    if prediction.zero_snr:
        # Karras' levels would spend most steps where all is noise; NoobAI's card names Euler.
        return replace(spec, sampler="euler", guidance_scale=min(spec.guidance_scale, 5.0))
    return spec


PIPELINES: dict[CheckpointKind, str] = {  # of the settings that suit a single file
    "sd1": "StableDiffusionPipeline",
    "sd2": "StableDiffusionPipeline",
    "sdxl": "StableDiffusionXLPipeline",
}


def settings_beside(checkpoint: Path, kind: CheckpointKind) -> Path | None:
    """The folder in diffusers' layout with a checkpoint's settings and tokenizers, or None.

    It is named like the checkpoint without its suffix; else the checkpoint's own folder will do,
    where that is one of its kind, as repositories have both.
    """
    named = checkpoint.with_suffix("")
    if (named / "model_index.json").is_file():
        return named
    around = checkpoint.parent
    if not (around / "model_index.json").is_file():
        return None
    try:
        index = read_index(around)
        if index.pipeline != PIPELINES[kind] or missing_settings(around, index):
            return None
        width = read_json(around / "unet" / "config.json").get("cross_attention_dim")
        reads = text_width(read_whole_header(checkpoint).tensors)
    except ModelUnavailable:
        return None
    return around if reads is None or width == reads else None


STEPPED_PIPELINES = frozenset({"StableDiffusionPipeline", "LatentConsistencyModelPipeline"})
_SKIP_CLIP_LAYERS = ("StableDiffusion", "LatentConsistency")  # their pipelines take clip_skip
_HABITS: dict[str, tuple[int, float]] = {  # pipeline class: steps, guidance of its model card
    "FluxPipeline": (28, 3.5),
    "StableDiffusion3Pipeline": (28, 7.0),
    "PixArtAlphaPipeline": (20, 4.5),
    "PixArtSigmaPipeline": (20, 4.5),
    "SanaPipeline": (20, 4.5),
}


def _fitted(spec: ModelSpec, index: ModelIndex, folder: Path) -> ModelSpec:
    """The spec with family, size and defaults that suit the model's pipeline and sampler."""
    stepped = index.pipeline in STEPPED_PIPELINES
    _, scheduler = index.components.get("scheduler", ("", ""))
    steps, guidance_scale = _HABITS.get(index.pipeline, (spec.steps, spec.guidance_scale))
    ignores: set[str] = set()
    if not index.pipeline.startswith(_SKIP_CLIP_LAYERS):
        ignores.add("clip_skip")
    sampler = spec.sampler
    if guidance_is_embedded(folder, index):  # distilled for LCM, arXiv 2310.04378
        sampler, steps, guidance_scale = "lcm", 4, 8.0
        ignores.add("negative_prompt")
    elif scheduler == "LCMScheduler":
        sampler, steps, guidance_scale = "lcm", 8, 1.0
    flow = matches_flow(folder, index)
    if flow:
        ignores.add("sampler")
    default = 1024 if index.pipeline.startswith(("StableDiffusionXL", "StableDiffusion3")) else 512
    width, height = native_size(folder, index) or (default, default)
    fitted = replace(
        spec,
        family="sd" if stepped and not flow else "whole",
        width=width,
        height=height,
        steps=steps,
        guidance_scale=guidance_scale,
        sampler=sampler,
        ignores=spec.ignores | ignores,
    )
    return fitted if sampler == "lcm" else _with_habits_of(folder_prediction(folder), fitted)
