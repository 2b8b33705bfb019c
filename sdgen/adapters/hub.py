"""Adapters on the Hugging Face Hub: `owner/name`, `owner/name@revision:folder/file.safetensors`.

Nothing is fetched but by `fetch`, and of a repository only one safetensors file, PEFT's settings
beside it (they hold its alpha), and the README.
"""

import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdgen.adapters.header import too_large
from sdgen.adapters.peft_settings import CONFIG_BYTES_MAX, CONFIG_FILE
from sdgen.errors import AdapterUnavailable
from sdgen.hub_errors import hub_errors
from sdgen.model_files import progress_class
from sdgen.models import HubSource

OnProgress = Callable[[int, int], None]  # bytes so far, bytes in all; may raise to give up

_HUB_ID = re.compile(
    r"(?P<repo>\w[\w.-]*/\w[\w.-]*)(?:@(?P<revision>\w[\w./-]*))?(?::(?P<file>\w[\w ./-]*))?\Z",
    re.ASCII,
)
# What trainers call their one file, the most telling first.
_USUAL = ("pytorch_lora_weights.safetensors", "adapter_model.safetensors")


@dataclass(frozen=True)
class HubId:
    """A repository, a revision and one file; file "": the one that it holds."""

    repo: str
    revision: str = "main"
    file: str = ""

    def __str__(self) -> str:
        text = self.repo if self.revision == "main" else f"{self.repo}@{self.revision}"
        return f"{text}:{self.file}" if self.file else text

    def matches(self, source: str) -> bool:
        """Whether a report's source ("hub:...") is what this id asks for."""
        if not source.startswith("hub:") or not is_hub_id(source.removeprefix("hub:")):
            return False
        there = parse_hub_id(source.removeprefix("hub:"))
        return (
            there.repo == self.repo
            and there.revision == self.revision
            and self.file in ("", there.file)
        )


@dataclass(frozen=True)
class Fetched:
    """A fetched file in a scratch folder."""

    path: Path  # with adapter_config.json beside it, where the repository has one there
    title: str
    source: str  # "hub:owner/name@revision:file"


def is_hub_id(text: str) -> bool:
    """Whether a text has the form of a Hub id, owner/name with a revision and file or without."""
    return bool(_HUB_ID.match(text)) and ".." not in text


def parse_hub_id(text: str) -> HubId:
    """The parts of a Hub id. Raises AdapterUnavailable."""
    match = _HUB_ID.match(text)
    if not match or ".." in text:
        raise AdapterUnavailable(
            f"'{text[:120]}' is not a Hub id; they look like owner/name, owner/name@revision or "
            "owner/name:file.safetensors."
        )
    return HubId(match["repo"], match["revision"] or "main", match["file"] or "")


@dataclass(frozen=True)
class _Listed:
    """What of a repository is to be fetched."""

    name: str
    size: int  # bytes
    card: str  # "" where there is none, also below
    config: str


def download_size(wanted: HubId, bytes_max: int, endpoint: str | None = None) -> int:
    """Bytes of the file. Asks the Hub.

    Raises AdapterUnavailable with one sentence, also for a file above bytes_max.
    """
    return _look_up(wanted, bytes_max, endpoint).size


@contextmanager
def fetch(
    wanted: HubId,
    bytes_max: int,
    endpoint: str | None = None,
    on_progress: OnProgress | None = None,
) -> Iterator[Fetched]:
    """The file in a scratch folder that goes when the `with` ends, its card and settings beside it.

    Raises AdapterUnavailable with one sentence, also for a file above bytes_max.
    """
    listed = _look_up(wanted, bytes_max, endpoint)
    source = HubSource(wanted.repo, wanted.revision)
    with tempfile.TemporaryDirectory(prefix="sdgen-adapter-") as scratch:
        with hub_errors(source, AdapterUnavailable):
            from huggingface_hub import hf_hub_download

            def get(file: str, bar: Any = None) -> Path:
                return Path(
                    hf_hub_download(
                        wanted.repo,
                        file,
                        revision=wanted.revision,
                        local_dir=scratch,
                        endpoint=endpoint,
                        tqdm_class=bar,
                    )
                )

            path = get(listed.name, progress_class(on_progress, listed.size, counts=""))
            if listed.card:
                path.with_suffix(".md").write_bytes(get(listed.card).read_bytes())
            if listed.config:
                get(listed.config)
        if on_progress is not None:
            on_progress(listed.size, listed.size)
        title = wanted.repo.partition("/")[2]
        full = HubId(wanted.repo, wanted.revision, listed.name)
        yield Fetched(path, title, f"hub:{full}")


def _look_up(wanted: HubId, bytes_max: int, endpoint: str | None) -> _Listed:
    """Raises AdapterUnavailable."""
    with hub_errors(HubSource(wanted.repo, wanted.revision), AdapterUnavailable):
        from huggingface_hub import HfApi

        info = HfApi(endpoint=endpoint).model_info(
            wanted.repo, revision=wanted.revision, files_metadata=True
        )
        sizes = {file.rfilename: int(file.size or 0) for file in info.siblings or ()}
    name = _choose(wanted, sizes)
    if sizes[name] > bytes_max:
        raise AdapterUnavailable(
            f"'{name}' of '{wanted.repo}': {too_large(sizes[name], bytes_max)}"
        )
    card = "README.md" if "README.md" in sizes else ""
    return _Listed(name, sizes[name], card, _config_of(name, sizes))


def _config_of(name: str, sizes: Mapping[str, int]) -> str:
    """PEFT's settings of a file; "" where there are none, or they may be another file's."""
    folder, slash, file = name.rpartition("/")
    config = f"{folder}{slash}{CONFIG_FILE}"
    if not 0 < sizes.get(config, 0) <= CONFIG_BYTES_MAX:
        return ""
    others = [n for n in sizes if n.endswith(".safetensors") and n.rpartition("/")[0] == folder]
    return config if file.startswith("adapter_model") or others == [name] else ""


def _choose(wanted: HubId, sizes: dict[str, int]) -> str:
    """The one file to fetch. Raises AdapterUnavailable."""
    files = [name for name in sizes if name.endswith(".safetensors")]
    if wanted.file:
        if wanted.file not in sizes:
            raise AdapterUnavailable(f"'{wanted.repo}' holds no file '{wanted.file[:120]}'.")
        if wanted.file not in files:
            raise AdapterUnavailable("sdgen reads safetensors only; name a .safetensors file.")
        return wanted.file
    usual = [name for name in _USUAL if name in files]
    if usual:
        return usual[0]
    if len(files) == 1:
        return files[0]
    if files:
        raise AdapterUnavailable(
            f"'{wanted.repo}' holds {len(files)} safetensors files; name one: "
            + ", ".join(f"{wanted.repo}:{name}" for name in files[:5])
        )
    pickled = any(name.endswith((".bin", ".pt", ".ckpt")) for name in sizes)
    raise AdapterUnavailable(
        f"'{wanted.repo}' holds no safetensors file"
        + (", only pickled ones, which sdgen never opens." if pickled else ".")
    )
