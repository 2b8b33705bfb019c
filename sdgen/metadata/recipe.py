"""The recipe: all that is needed to draw one picture again, and nothing about who asked for it."""

import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path, PureWindowsPath

from PIL import Image
from pydantic import BaseModel, ConfigDict, ValidationError, field_serializer, field_validator

from sdgen.errors import PictureUnreadable
from sdgen.grid import grid_from_json
from sdgen.job import GeneratedImage
from sdgen.request import GenerateRequest
from sdgen.version import VERSION

APP = f"sdgen {VERSION}"
NOISE = "torch.Generator on the CPU, one a picture, seeded with its seed"


class RecipeAdapter(BaseModel):
    """One LoRA adapter of a picture, so that it can be told from another one of the same name."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", allow_inf_nan=False)

    name: str
    # Hex, of the file. Other programs keep its first digits, or those of its tensors alone, as
    # A1111 does (modules/hashes.py, addnet_hash_safetensors): they stay when the header changes.
    sha256: str = ""
    a1111_hash: str = ""  # by which A1111 finds it: as AdapterReport.a1111_hash; "": not known
    source: str = ""  # as AdapterReport.source
    scale: float = 1.0
    text_scale: float | None = None  # None: as scale


class Recipe(BaseModel):
    """What one picture was made of. Of another program's picture, only what it wrote down.

    `model_dump_json()` and `recipe_from_json` are inverse. Never holds a key, a path or a name of
    a user: of a model given as a folder or file, only the last part of its path is kept.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", allow_inf_nan=False)

    app: str  # "sdgen 0.1.0"; of another program, what it calls itself
    prompt: str
    negative_prompt: str = ""
    seed: int | None = None  # of this very picture, not of the first of its request
    steps: int | None = None
    guidance_scale: float | None = None
    sampler: str | None = None  # our name where it is ours, else the other program's title
    width: int | None = None  # pixels
    height: int | None = None  # pixels
    clip_skip: int = 0  # layers left out; 0 = none
    model: str = ""
    model_hash: str = ""  # SHA-256, hex; other programs keep its first ten digits
    device: str = ""
    dtype: str = ""
    versions: tuple[tuple[str, str], ...] = ()  # a JSON object in the file
    exact: bool = False  # asked to repeat bit for bit
    shared: bool = False  # ran in a batch with other requests' rows
    notes: tuple[str, ...] = ()  # fall-backs taken while drawing; parts that reading left out
    created: str = ""  # UTC, ISO 8601
    original_prompt: str = ""  # what the user wrote, where `prompt` is an enhancement of it
    enhanced_by: str = ""  # "built-in" or "api"
    enhancer_model: str = ""  # the language model's name
    adapters: tuple[RecipeAdapter, ...] = ()
    # The receipt: with these a picture can be drawn again and compared.
    noise_scheduler: str = ""  # diffusers' class and its settings, as JSON
    attention: str = ""  # diffusers' processor class
    threads: int = 0  # of a CPU; 0: another device, or not known
    noise: str = ""  # where the first noise came from
    pixels_sha256: str = ""  # hex, of the picture's RGB pixels and size
    grid: str = ""  # of a sheet: its axes, sdgen.grid.Grid as JSON; the rest is what cells share
    flagged: str = ""  # why the model's safety checker objects; "": it does not
    prompt_left_out: bool = False  # no words of the prompt are in the file, as was wished

    @field_validator("versions", mode="before")
    @classmethod
    def _pairs(cls, value: object) -> object:
        return tuple(value.items()) if isinstance(value, dict) else value

    @field_serializer("versions")
    def _mapping(self, value: tuple[tuple[str, str], ...]) -> dict[str, str]:
        return dict(value)

    @property
    def ours(self) -> bool:
        """True when this program wrote it, so that its seed means the same picture here."""
        return self.app.startswith("sdgen ")


@dataclass(frozen=True)
class Enhancement:
    """Where an enhanced prompt came from: what the user wrote, and who made more of it."""

    original_prompt: str
    engine: str  # "built-in" or "api"
    model: str = ""  # the language model; never its address, never a key


def recipe_for(
    request: GenerateRequest,
    image: GeneratedImage,
    created: datetime | None = None,
    enhancement: Enhancement | None = None,
    adapters: tuple[RecipeAdapter, ...] | None = None,
    grid: str = "",
) -> Recipe:
    """The recipe of one finished picture. created: when, by default now.

    adapters: those of the request with hash and source; by default only what the request says.
    grid: of a sheet, its axes; the size in its recipe is that of a cell. Where the request wishes
    it, no word of a prompt is in the recipe.
    """
    if adapters is None:
        adapters = tuple(
            RecipeAdapter(
                name=public_model_name(use.name), scale=use.scale, text_scale=use.text_scale
            )
            for use in request.adapters
        )
    enhanced = enhancement or Enhancement("", "")
    if request.leave_out_prompt:
        request = request.model_copy(update={"prompt": "", "negative_prompt": ""})
        enhanced = replace(enhanced, original_prompt="")
        known = grid_from_json(grid)
        grid = known.without_words().model_dump_json() if known else grid
    width, height = (request.width, request.height) if grid else image.image.size
    info = image.info
    home = str(Path.home())
    return Recipe(
        app=APP,
        prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        seed=image.seed,
        steps=request.steps,
        guidance_scale=request.guidance_scale,
        sampler=request.sampler,
        width=width,
        height=height,
        clip_skip=request.clip_skip,
        model=public_model_name(request.model),
        model_hash=info.model_hash,
        device=info.device,
        dtype=info.dtype,
        versions=info.versions,
        exact=request.exact,
        shared=info.shared,
        notes=tuple(note.replace(home, "~") for note in info.notes),
        created=(created or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="seconds"),
        original_prompt=enhanced.original_prompt,
        enhanced_by=enhanced.engine,
        enhancer_model=public_model_name(enhanced.model) if enhanced.model else "",
        adapters=adapters,
        noise_scheduler=info.noise_scheduler,
        attention=info.attention,
        threads=info.threads,
        noise=NOISE,
        pixels_sha256=pixels_hash(image.image),
        grid=grid,
        flagged=image.flagged,
        prompt_left_out=request.leave_out_prompt,
    )


def pixels_hash(image: Image.Image) -> str:
    """SHA-256 (hex) of a picture's size and RGB pixels, whatever file they lie in."""
    pixels = image.convert("RGB")
    head = f"RGB {pixels.width}x{pixels.height} ".encode()
    return hashlib.sha256(head + pixels.tobytes()).hexdigest()


def public_model_name(model: str) -> str:
    """The model without the machine's folders: a name or a Hub id as it is, of a path its end."""
    looks_local = model.startswith((".", "/", "~")) or "\\" in model or ":" in model
    looks_local = looks_local or model.lower().endswith(".safetensors")
    looks_local = looks_local or model.partition("@")[0].count("/") > 1
    if not (looks_local or _is_here(model)):
        return model
    name = PureWindowsPath(model).name
    return name if name and not name.startswith((".", "~")) else "model"


def _is_here(model: str) -> bool:
    """True when there is a folder or file of that name."""
    try:
        return Path(model).exists()
    except OSError:  # longer than a file name can be
        return False


def recipe_from_json(text: str) -> Recipe:
    """The recipe of our own JSON chunk. Raises PictureUnreadable when it is not one."""
    try:
        return Recipe.model_validate_json(text)
    except ValidationError as error:
        raise PictureUnreadable("The recipe inside this picture is damaged.") from error
