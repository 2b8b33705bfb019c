"""The base models: what each is, what it costs to fetch, how it likes to be used. No torch here.

`find_model("picturebook")` takes a name of the table, a Hub id (`owner/name`, optionally
`@revision`), a diffusers folder, or a single `.safetensors` file.
"""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from sdgen.errors import ModelUnavailable
from sdgen.request import GenerateRequest, Sampler, random_seed

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

    def request(self, **given: object) -> GenerateRequest:
        """A checked request with this model's defaults for all that is absent or None.

        A missing seed is drawn at random. Raises InvalidRequest.
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
        found = re.findall(r"[^\W\d_]+(?:['’-][^\W\d_]+)*", prompt.lower())
        return tuple(dict.fromkeys(word for word in found if word not in self.words))


def read_words(folder: Path) -> ModelWords | None:
    """The words.json beside a model's files, or None where there is none."""
    path = folder / "words.json"
    if not path.is_file():
        return None
    raw = json.loads(path.read_text(encoding="utf-8"))
    return ModelWords(
        subjects=tuple(raw["subjects"]),
        colours=tuple(raw["colours"]),
        places=tuple(raw["places"]),
        times=tuple(raw["times"]),
        poses=tuple(raw["poses"]),
        words=frozenset(raw["words"]),
        examples=tuple(raw["examples"]),
    )


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
            download_bytes=4_300_000_000,
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


_HUB_ID = re.compile(r"^(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?$")


def find_model(name: str) -> ModelSpec:
    """The spec that a name, Hub id, folder or .safetensors file stands for.

    Raises ModelUnavailable: unknown name, folder without model_index.json, no safetensors inside.
    """
    table = bundled_models()
    if name in table:
        return table[name]
    path = Path(name).expanduser()
    if path.is_dir():
        return _folder_spec(name, path)
    if path.is_file():
        return _file_spec(name, path)
    match = _HUB_ID.match(name)
    if match and not name.startswith((".", "/")):
        source = HubSource(match["repo"], match["revision"] or "main")
        return ModelSpec(name, match["repo"], "whole", source, "see the model's page on the Hub")
    raise ModelUnavailable(
        f"There is no model '{name}'. Known names: {', '.join(table)}; or give a Hub id "
        "(owner/name), a folder in diffusers' layout, or a .safetensors file."
    )
