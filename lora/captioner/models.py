"""Which models can write captions, where they are, and how they are fetched. No torch."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from sdgen.errors import SdgenError
from sdgen.hub_errors import hub_errors
from sdgen.model_files import progress_class
from sdgen.models import HubSource, hub_folder

Kind = Literal["blip", "chat"]  # says what it sees; answers a question about a picture
OnProgress = Callable[[int, int], None]  # bytes so far, bytes in all; may raise to give up

_BLIP_TYPES = ("blip",)  # of config.json
_CHAT_TYPES = frozenset(
    ("idefics3", "smolvlm", "llava", "llava_onevision", "qwen2_vl", "qwen2_5_vl", "qwen3_vl")
)
_SETTINGS_ENDS = (".json", ".txt", ".jinja", ".model")


class CaptionerUnavailable(SdgenError):
    """A captioning model cannot be had or used, with the reason and what to do."""


class CaptionerNeeded(CaptionerUnavailable):
    """It is not on this machine. `download_bytes` is about what fetching it would cost."""

    def __init__(self, captioner: "Captioner") -> None:
        super().__init__(
            f"The captioning model '{captioner.title}' is not on this machine yet: it needs a "
            f"download of about {captioner.download_bytes / 1e9:.1f} GB. Nothing is downloaded "
            "before you say so."
        )
        self.download_bytes = captioner.download_bytes


@dataclass(frozen=True)
class Captioner:
    """A model that describes pictures; `source` is a Hub repository or a folder."""

    name: str
    title: str
    kind: Kind
    source: HubSource | Path
    download_bytes: int = 0  # about; of its safetensors
    licence: str = ""


CAPTIONERS: tuple[Captioner, ...] = (
    Captioner(
        name="blip-base",
        title="BLIP base",
        kind="blip",
        # The main branch has pickled weights only; this commit is the Hub's own conversion of them.
        source=HubSource(
            "Salesforce/blip-image-captioning-base", "9cfcdbcaccbcadb2b53b36d4b50042c4eeaa0c25"
        ),
        download_bytes=990_000_000,
        licence="BSD-3-Clause",
    ),
    Captioner(
        name="blip-large",
        title="BLIP large",
        kind="blip",
        source=HubSource("Salesforce/blip-image-captioning-large"),
        download_bytes=1_880_000_000,
        licence="BSD-3-Clause",
    ),
    Captioner(
        name="smolvlm-256m",
        title="SmolVLM 256M",
        kind="chat",
        source=HubSource("HuggingFaceTB/SmolVLM-256M-Instruct"),
        download_bytes=520_000_000,
        licence="Apache-2.0",
    ),
    Captioner(
        name="smolvlm-500m",
        title="SmolVLM 500M",
        kind="chat",
        source=HubSource("HuggingFaceTB/SmolVLM-500M-Instruct"),
        download_bytes=1_020_000_000,
        licence="Apache-2.0",
    ),
)


def find_captioner(name: str) -> Captioner:
    """A captioner of the table by its name, or the one in the folder of that path.

    Raises CaptionerUnavailable.
    """
    for captioner in CAPTIONERS:
        if captioner.name == name:
            return captioner
    folder = Path(name).expanduser()
    if not (folder / "config.json").is_file():
        names = ", ".join(captioner.name for captioner in CAPTIONERS)
        raise CaptionerUnavailable(
            f"There is no captioning model '{name[:80]}'. Choose one of {names}, or name a folder "
            "with one in the layout of transformers."
        )
    return Captioner(folder.name, folder.name, _kind_of(folder), folder)


def captioner_folder(captioner: Captioner, hub_cache: Path | None = None) -> Path:
    """The folder of its files on this machine. Raises CaptionerNeeded."""
    if isinstance(captioner.source, Path):
        return captioner.source
    folder = hub_folder(captioner.source, hub_cache)
    if folder is None or not (folder / "config.json").is_file() or not _weights(folder):
        raise CaptionerNeeded(captioner)
    return folder


def download_size(
    captioner: Captioner, hub_cache: Path | None = None, endpoint: str | None = None
) -> int:
    """Bytes that `download` would fetch now; 0 when all is here. Asks the Hub for its file list.

    Raises CaptionerUnavailable.
    """
    if isinstance(captioner.source, Path):
        return 0
    return sum(_missing(captioner.source, hub_cache, endpoint).values())


def download(
    captioner: Captioner,
    on_progress: OnProgress | None = None,
    hub_cache: Path | None = None,
    endpoint: str | None = None,
) -> Path:
    """Fetch what is missing into the Hub's cache; the folder. Call it only after the user agreed.

    Raises CaptionerUnavailable.
    """
    if isinstance(captioner.source, Path):
        return captioner.source
    source = captioner.source
    missing = _missing(source, hub_cache, endpoint)
    total = sum(missing.values())
    with hub_errors(source, CaptionerUnavailable):
        from huggingface_hub import snapshot_download

        if missing:
            snapshot_download(
                source.repo,
                revision=source.revision,
                cache_dir=hub_cache,
                endpoint=endpoint,
                allow_patterns=list(missing),
                tqdm_class=progress_class(on_progress, total),
            )
    if on_progress is not None:
        on_progress(total, total)
    return captioner_folder(captioner, hub_cache)


def _missing(source: HubSource, hub_cache: Path | None, endpoint: str | None) -> Mapping[str, int]:
    """The files to fetch with their bytes. Raises CaptionerUnavailable."""
    with hub_errors(source, CaptionerUnavailable):
        from huggingface_hub import HfApi

        info = HfApi(endpoint=endpoint).model_info(
            source.repo, revision=source.revision, files_metadata=True
        )
        sizes = {file.rfilename: int(file.size or 0) for file in info.siblings or ()}
    wanted = {
        name: size
        for name, size in sizes.items()
        if "/" not in name and name.endswith((*_SETTINGS_ENDS, ".safetensors"))
    }
    if not any(name.endswith(".safetensors") for name in wanted):
        raise CaptionerUnavailable(
            f"'{source.repo}' holds no safetensors files, and sdgen opens no others."
        )
    here = hub_folder(replace(source, revision=str(info.sha)), hub_cache)
    return {
        name: size for name, size in wanted.items() if here is None or not (here / name).is_file()
    }


def _weights(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*.safetensors") if path.is_file()]


def _kind_of(folder: Path) -> Kind:
    """How to ask the model of a folder. Raises CaptionerUnavailable."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        config = None
    kind = config.get("model_type") if isinstance(config, dict) else None
    if kind in _BLIP_TYPES:
        return "blip"
    if kind in _CHAT_TYPES:
        return "chat"
    raise CaptionerUnavailable(f"The folder '{folder.name}' holds no captioning model.")
