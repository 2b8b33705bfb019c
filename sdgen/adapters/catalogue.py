"""The adapters that can be chosen by name: bundled, in the data folder, or added by path.

    data/adapters/<name>.safetensors   with <name>.json beside it: title and source
    data/adapters/<hash>.peft.json     PEFT's settings (alpha) of the file with that content

A file there is whole or not there at all (see sdgen.adapters.store).
"""

import difflib
import functools
import os
import re
import threading
from dataclasses import dataclass
from pathlib import Path

from sdgen.adapters.bundled import BUNDLED, ByFamily
from sdgen.adapters.doctor import inspect
from sdgen.adapters.header import FILE_BYTES_MAX, read_header, too_large
from sdgen.adapters.hub import HubId, OnProgress, download_size, fetch, is_hub_id, parse_hub_id
from sdgen.adapters.peft_settings import read_peft_config
from sdgen.adapters.report import AdapterReport, Verdict
from sdgen.adapters.store import (
    adapters_folder,
    keep_file,
    keep_settings,
    remove_file,
    remove_stumps,
    slug,
)
from sdgen.adapters.verdict import verdict
from sdgen.adapters.words import clean
from sdgen.errors import AdapterRefused, AdapterUnavailable, StorageFailed
from sdgen.file_hashes import FileHashes
from sdgen.letters import word_signs
from sdgen.models import ASSETS, ModelSpec

BUNDLED_FOLDER = ASSETS / "adapters"
Broken = list[tuple[str, str]]  # name, why as a sentence
Titles = list[tuple[str, str]]  # name, title
Stamp = tuple[int, int]  # time of change in nanoseconds, size in bytes


@dataclass(frozen=True)
class _Known:
    """A file as it was when the doctor saw it."""

    stamp: Stamp
    report: AdapterReport | None
    problem: str = ""


@functools.cache
def _name() -> re.Pattern[str]:
    """What a tag in a prompt can hold."""
    signs = word_signs()
    return re.compile(rf"[\w.()+-][{signs}.()+ -]{{0,79}}\Z")


class Catalogue:
    """All adapters by their public names. Several threads may use it at once."""

    def __init__(
        self,
        data_dir: Path,
        hub_cache: Path | None = None,
        endpoint: str | None = None,
        *,
        bytes_max: int = FILE_BYTES_MAX,
    ) -> None:
        """hub_cache, endpoint: as in sdgen.model_files; None: huggingface_hub's own.

        bytes_max: of a file that is taken.
        """
        self.bytes_max = bytes_max
        self._folder = adapters_folder(data_dir)
        self._hub_cache = hub_cache
        self._endpoint = endpoint
        self._added: dict[str, Path] = {}  # name -> a file that is used where it lies
        self._known: dict[Path, _Known] = {}
        self._lock = threading.Lock()
        remove_stumps(self._folder)

    # --- what there is ----------------------------------------------------------------------

    def list(self) -> list[AdapterReport]:
        """All adapters that can be used, by name; files that cannot are in `broken`."""
        found = [self._examine(name, path) for name, path in self._files().items()]
        return [known.report for known in found if known.report is not None]

    def broken(self) -> Broken:
        """The files that are no usable adapters: (name, why as a sentence)."""
        found = [(name, self._examine(name, path)) for name, path in self._files().items()]
        return [(name, known.problem) for name, known in found if known.report is None]

    def find(self, name: str) -> AdapterReport:
        """The adapter of that name, or of that Hub id where it was fetched before.

        Raises AdapterUnavailable with the nearest names, AdapterRefused when its file is broken.
        """
        files = self._files()
        if name in files:
            known = self._examine(name, files[name])
            if known.report is None:
                raise AdapterRefused(f"The LoRA '{name}' cannot be used. {known.problem}")
            return known.report
        if is_hub_id(name):
            return self._fetched(parse_hub_id(name))
        for choice in BUNDLED:
            if choice.name == name:
                raise AdapterUnavailable(choice.not_here)
        raise AdapterUnavailable(self._unknown(name, files))

    def verdict(self, name: str, spec: ModelSpec) -> Verdict:
        """What an adapter will do to a model. Raises AdapterUnavailable, ModelUnavailable."""
        return verdict(self.find(name), spec, self._hub_cache)

    def _unknown(self, name: str, files: dict[str, Path]) -> str:
        known = sorted(files)
        near = difflib.get_close_matches(name.lower(), [n.lower() for n in known], 3, 0.5)
        near = [n for n in known if n.lower() in near]
        shown = name[:80]
        if near:
            return f"There is no LoRA '{shown}'. Did you mean {', '.join(near)}?"
        if known:
            return f"There is no LoRA '{shown}'. There are: {', '.join(known[:12])}."
        return f"There is no LoRA '{shown}'; none is here yet."

    def _files(self) -> dict[str, Path]:
        """Name -> file, bundled first, then the data folder, then what was added by path."""
        with self._lock:
            added = dict(self._added)
        found: dict[str, Path] = {}
        for folder in (BUNDLED_FOLDER, self._folder):
            try:
                files = sorted(folder.glob("[!.]*.safetensors"))
            except OSError:
                continue
            for path in files:
                name = path.stem if _name().match(path.stem) else slug(path.stem)
                found.setdefault(name, path)
        for name, path in added.items():
            found.setdefault(name, path)
        return found

    def _examine(self, name: str, path: Path) -> _Known:
        """The doctor's word on a file, remembered until the file changes."""
        try:
            status = path.stat()
        except OSError as error:
            return _Known((0, 0), None, f"The file cannot be read: {error.strerror}.")
        stamp = (status.st_mtime_ns, status.st_size)
        with self._lock:
            known = self._known.get(path)
        if known is not None and known.stamp == stamp:
            return known
        try:
            known = _Known(stamp, self._inspected(name, path))
        except AdapterRefused as error:
            known = _Known(stamp, None, str(error))
        except OSError as error:
            return _Known(stamp, None, f"The file cannot be read: {error.strerror}.")
        with self._lock:
            self._known[path] = known
        return known

    def _inspected(self, name: str, path: Path) -> AdapterReport:
        """Raises AdapterRefused. The hashes of files in the data folder are kept for later runs."""
        if path.parent == BUNDLED_FOLDER:
            return inspect(path, name=name, source="bundled")
        size = path.stat().st_size
        if size > self.bytes_max:
            raise AdapterRefused(too_large(size, self.bytes_max))
        if path.parent != self._folder:
            return inspect(path, name=name, bytes_max=None)
        read_header(path)  # a broken file is not worth hashing
        remembered = self._folder / ".hashes.json"
        hashes = FileHashes(remembered)
        report = inspect(path, name=name, sha256=hashes.of(path), hashes=remembered, bytes_max=None)
        hashes.keep()
        return report

    # --- adding and removing ----------------------------------------------------------------

    def examine(self, path: Path) -> AdapterReport:
        """A file that is not taken in. Raises AdapterRefused."""
        return inspect(path, bytes_max=self.bytes_max)

    def add_upload(
        self, path: Path, original_name: str, config: Path | None = None
    ) -> AdapterReport:
        """Keep a copy of an uploaded file under a name made of its content; a file that is
        here already stays what it is.

        config: the adapter_config.json that PEFT wrote with it, as far as that was uploaded too.
        Raises AdapterRefused when the doctor refuses it, StorageFailed when the disk does.
        """
        title = clean(original_name).removesuffix(".safetensors")
        settings = None if config is None else read_peft_config(config)
        if config is not None and settings is None:
            raise AdapterRefused("The settings file is no adapter_config.json of PEFT.")
        report = inspect(
            path, title=title, source="upload", settings=settings, bytes_max=self.bytes_max
        )
        for known in self.list():
            if known.sha256 == report.sha256 and known.source != "file":
                return self._with_settings(known, report)
        return self.find(keep_file(self._folder, report))

    def _with_settings(self, known: AdapterReport, report: AdapterReport) -> AdapterReport:
        """A file that is here already, with the settings that came with it this time."""
        if known.path.parent != self._folder or known.settings.parts:
            return known
        try:
            written = keep_settings(self._folder, report.sha256, report.settings)
            if written:
                os.utime(known.path)  # whoever remembers the file reads it again
        except OSError as error:
            raise StorageFailed("The adapter's settings could not be kept.") from error
        return self.find(known.name) if written else known

    def add_path(self, path: Path) -> AdapterReport:
        """Use a file of this machine where it lies, for as long as this program runs.

        Raises AdapterRefused.
        """
        path = path.expanduser().absolute()
        report = self.examine(path)
        name = slug(path.stem)
        with self._lock:
            taken = self._added.get(name, path) != path
        if taken or self._files().get(name, path) != path:
            name = report.sha256[:12]
        with self._lock:
            self._added[name] = path
        return self.find(name)

    def removable(self) -> Titles:
        """What `remove` can delete of the data folder, broken files too: (name, title)."""
        found = []
        for name, path in self._files().items():
            if path.parent == self._folder:
                report = self._examine(name, path).report
                found.append((name, report.title if report else name))
        return found

    def remove(self, name: str) -> None:
        """Delete an adapter of the data folder, by name or by the Hub id it was fetched under; one
        that was added by path is only forgotten.

        Raises AdapterUnavailable: it is not here, or a bundled one; StorageFailed.
        """
        if is_hub_id(name):
            here = self._here(parse_hub_id(name))
            name = here.name if here else name
        files = self._files()
        with self._lock:
            if self._added.pop(name, None) is not None:
                return
        if name not in files:
            raise AdapterUnavailable(self._unknown(name, files))
        if files[name].parent != self._folder:
            raise AdapterUnavailable(f"The LoRA '{name}' comes with sdgen and stays.")
        report = self._examine(name, files[name]).report
        alike = [one for one in self.list() if report and one.sha256 == report.sha256]
        remove_file(files[name], report.sha256 if report and len(alike) == 1 else "")

    # --- from the Hub -----------------------------------------------------------------------

    def download_size(self, hub_id: str) -> int:
        """Bytes that `fetch` would fetch; 0 when it is here. Asks the Hub.

        Raises AdapterUnavailable with one sentence.
        """
        wanted = parse_hub_id(hub_id)
        if self._here(wanted):
            return 0
        return download_size(wanted, self.bytes_max, self._endpoint)

    def fetch(self, hub_id: str, on_progress: OnProgress | None = None) -> AdapterReport:
        """Fetch an adapter from the Hub into the data folder, after the user agreed.

        on_progress: gets bytes so far and in all. Raises AdapterUnavailable, StorageFailed.
        """
        wanted = parse_hub_id(hub_id)
        here = self._here(wanted)
        if here is not None:
            return here
        with fetch(wanted, self.bytes_max, self._endpoint, on_progress) as got:
            report = inspect(got.path, title=got.title, source=got.source, bytes_max=None)
            return self.find(keep_file(self._folder, report))

    def _here(self, wanted: HubId) -> AdapterReport | None:
        return next((report for report in self.list() if wanted.matches(report.source)), None)

    def _fetched(self, wanted: HubId) -> AdapterReport:
        here = self._here(wanted)
        if here is None:
            raise AdapterUnavailable(
                f"The LoRA '{wanted}' is not on this machine yet; it has to be fetched from the "
                "Hub first. Nothing is downloaded before you say so."
            )
        return here

    def choices(self, spec: ModelSpec) -> tuple[ByFamily, ...]:
        """The bundled choices that point to the Hub for that model (see ByFamily)."""
        return tuple(choice for choice in BUNDLED if choice.hub_id_for(spec))
