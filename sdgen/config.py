"""Settings: every knob, its default, its SDGEN_ variable and its reason. Read once, passed down."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from sdgen.errors import SettingError

GPU_SPACE_MODEL = "sd15"  # the default on a Space with a GPU
LOCAL_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})


class Settings(BaseSettings):
    """All settings. A field `x` is set by the variable SDGEN_X; command line options win.

    Build it with `read_settings(...)`, which turns a wrong value into a SettingError.
    """

    model_config = SettingsConfigDict(
        env_prefix="SDGEN_", frozen=True, extra="ignore", populate_by_name=True
    )

    # Where it listens
    host: str = "127.0.0.1"  # this machine only, until somebody decides otherwise
    port: Annotated[int, Field(ge=1, le=65535)] = 7860
    share: bool = False  # a public Gradio link
    auth: SecretStr | None = None  # "name:password" that the page asks for
    yes_public: bool = False  # "I know that anybody with the link can use this machine"
    mcp: bool = False  # also serve the endpoints as MCP tools; needs `pip install gradio[mcp]`

    # What it draws with
    model: str = ""  # a name, Hub id, folder or file; empty: picturebook, on a GPU Space sd15
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    threads: Annotated[int, Field(ge=0)] = 0  # CPU threads of torch; 0: torch's own choice
    models_in_memory: Annotated[int, Field(ge=1, le=8)] = 2  # the least recently used goes first
    safety_checker: bool = True  # where the model has one
    # LoRA adapters kept in memory beside each model, MB; above it those that no picture needs
    # leave. 512 MB hold some 40 of the usual size (rank 16, Stable Diffusion, float32).
    adapter_memory_mb: Annotated[int, Field(ge=16, le=65536)] = 512
    # The largest LoRA file that is taken, MB: SDXL at rank 128 has 680 to 910.
    max_adapter_mb: Annotated[int, Field(ge=1, le=100_000)] = 2000

    # How much at once
    max_queue: Annotated[int, Field(ge=1, le=1000)] = 100  # requests waiting or running
    max_running: Annotated[int, Field(ge=1, le=64)] = 8  # of them at work together
    # Of one person (login, else network address). 0: as many as the queue takes; 8 on public pages.
    max_waiting_per_user: Annotated[int, Field(ge=0, le=1000)] = 0
    # Megapixels x steps that one person may ask for in an hour, e.g. 100 pictures of 512x512 in 30
    # steps are 790. 0: no limit.
    max_work_per_hour: Annotated[float, Field(ge=0)] = 0.0
    # When the last page of a person is closed: go on with the queue, or stop after a while.
    # auto: stop where strangers come (a Space, --share, a public host), else go on.
    when_left: Literal["auto", "keep", "stop"] = "auto"
    left_seconds: Annotated[float, Field(ge=0, le=86400)] = 60.0  # that while
    max_rows: Annotated[int, Field(ge=0, le=256)] = 0  # rows of one forward pass; 0: measured

    # Who helps with prompts. The key is the operator's and goes to the operator's address only.
    openai_api_key: Annotated[SecretStr | None, Field(validation_alias="OPENAI_API_KEY")] = None
    enhance_url: str = ""  # any OpenAI-compatible server; empty: OpenAI, where there is a key
    enhance_model: str = ""  # its model; empty: a small one of OpenAI's
    enhance_per_day: Annotated[int, Field(ge=0)] = 1000  # drafts that the operator pays for
    enhance_user_urls: bool = True  # users with a key may name a service; never on a public page

    # What pictures say of themselves
    credentials: bool = True  # sign them (C2PA), where c2pa-python is installed

    # Who is who
    one_user: bool = False  # everybody who comes is the same person: one queue, one gallery

    # Where it keeps things
    data_dir: Path = Path.home() / "sdgen"  # pictures, queue and measurements
    disk_warn_mb: Annotated[int, Field(ge=0)] = 1000  # below that the page warns
    disk_reserve_mb: Annotated[int, Field(ge=0)] = 200  # below that nothing new is taken
    # Uploads lie in a folder for temporary files for a day. 0: 8000 in all and 4000 of one person
    # (login, else network address), so that a 2 GB adapter fits; 1000 and 200 for strangers.
    max_uploads_mb: Annotated[int, Field(ge=0)] = 0
    max_uploads_mb_per_user: Annotated[int, Field(ge=0)] = 0
    temp_reserve_mb: Annotated[int, Field(ge=0)] = 50  # of that folder's disk, which uploads leave
    bin_days: Annotated[int, Field(ge=0, le=3650)] = 30  # deleted pictures can come back so long
    keep_days: Annotated[int, Field(ge=0)] = 0  # older pictures go, but for favourites; 0: none
    keep_mb: Annotated[int, Field(ge=0)] = 0  # above it the oldest go, but for favourites; 0: never

    # What it tells its operator
    log_format: Literal["text", "json"] = "text"
    log_prompts: bool = False  # prompts are the users' own
    metrics_token: SecretStr | None = None  # lets others than this machine read /metrics

    @property
    def is_public(self) -> bool:
        """True when others than this machine's users can reach the page, or are said to: behind
        a proxy it listens on this machine only."""
        return self.share or self.yes_public or self.host not in LOCAL_HOSTS

    def login(self) -> tuple[str, str] | None:
        """(name, password) from `auth`, or None. Raises SettingError when it has no colon."""
        if self.auth is None or not self.auth.get_secret_value():
            return None
        name, colon, password = self.auth.get_secret_value().partition(":")
        if not (name and colon and password):
            raise SettingError("--auth / SDGEN_AUTH must have the form name:password.")
        return name, password


def read_settings(**given: object) -> Settings:
    """Settings from SDGEN_ variables, overridden by those of `given` that are not None.

    Raises SettingError with a sentence that names the variable; never shows a secret's value.
    """
    options = {name: value for name, value in given.items() if value is not None}
    try:
        settings = Settings(**options)  # type: ignore[arg-type]  # checked by pydantic itself
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = str(first["loc"][0])
        raise SettingError(
            f"SDGEN_{name.upper()} (or --{name.replace('_', '-')}): {first['msg']}."
        ) from error
    if not settings.model and _on_gpu_space(os.environ):
        return settings.model_copy(update={"model": GPU_SPACE_MODEL})
    return settings


def _on_gpu_space(environment: Mapping[str, str]) -> bool:
    """True on a Hugging Face Space whose owner chose hardware with a GPU, or ZeroGPU."""
    accelerator = environment.get("ACCELERATOR", "none")
    zero_gpu = environment.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")
    return "SPACE_ID" in environment and (zero_gpu or accelerator not in ("", "none"))
