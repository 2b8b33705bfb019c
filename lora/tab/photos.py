"""The photos of a training that is being prepared: checked, captioned, frozen into its folder.

A folder of photos without a recipe is no run yet. Captions that are typed lie in its captions.json
by the photo's name, so they outlive another check and another start.
"""

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from lora.config import InvalidRecipe, TrainingRecipe, default_runs_folder
from lora.dataset import Dataset, check, load_dataset, split, with_trigger, write_dataset
from lora.jobs import Trainings
from lora.runs import RunFolder, write_json
from lora.tab.form import Bases, TrainForm, effective
from lora.tab.report import report_html
from sdgen.errors import SdgenError
from sdgen.studio import Studio

CAPTION_CHARS = 2000


class NoPhotos(SdgenError):
    """There is nothing to check or to train on."""


@dataclass(frozen=True)
class Checked:
    """What a check has made. draft: the folder's name. report: HTML."""

    draft: str
    report: str
    notice: str = ""


class Photos:
    """Drafts of the data folder."""

    def __init__(self, trainings: Trainings, studio: Studio) -> None:
        self._trainings = trainings
        self._studio = studio

    def check(
        self,
        files: list[str],
        draft: str,
        form: TrainForm,
        bases: Bases,
        on_photo: Callable[[int, int], None] | None = None,
    ) -> Checked:
        """Look at all photos, in the draft that is there or in a new one. files: uploaded ones.

        Raises NoPhotos, PhotosRefused, InvalidRecipe, ModelUnavailable, StorageFailed.
        """
        if not files:
            raise NoPhotos("Drop some photos first: 10 to 30 of them, or a zip.")
        if not (form.trigger or "").strip():
            raise InvalidRecipe("trigger", "Choose a trigger word first: captions begin with it.")
        key = _key(files, form, bases)
        before = self._folder(draft)
        typed = _captions(before) if before else {}
        folder = before if before and not before.recipe.exists() else None
        folder = folder or self._trainings.draft(form.name or "photos")
        write_json(folder.path / "captions.json", typed)
        with tempfile.TemporaryDirectory(prefix="sdgen-photos-") as together:
            report = check(
                _gathered(files, Path(together)),
                folder.photos,
                key.trigger,
                key.class_word,
                resolution=key.resolution,
                count_tokens=partial(self._count_tokens, form.base),
                captions=typed,
                on_photo=on_photo,
            )
        write_json(folder.path / "checked.json", key._asdict())
        return Checked(folder.name, report_html(report))

    def is_current(self, files: list[str], draft: str, form: TrainForm, bases: Bases) -> bool:
        """True when these photos were checked with these words and no run was made of it yet."""
        folder = self._folder(draft)
        if folder is None or folder.recipe.exists():
            return False
        try:
            found = json.loads((folder.path / "checked.json").read_bytes())
        except (OSError, ValueError):
            return False
        return bool(found == _key(files, form, bases)._asdict())

    def caption(self, draft: str, name: str, text: str) -> None:
        """Keep a typed caption. Raises NoPhotos where the draft is gone."""
        folder = self._folder(draft)
        if folder is None:
            raise NoPhotos("These photos are not here any more; drop them again.")
        captions = dict(_captions(folder))
        captions[name[:300]] = text[:CAPTION_CHARS]
        write_json(folder.path / "captions.json", captions)

    def dataset(self, draft: str) -> Dataset:
        """The photos of a draft that can be used. Raises NoPhotos, DatasetDamaged."""
        folder = self._folder(draft)
        if folder is None:
            raise NoPhotos("These photos are not here any more; drop them again.")
        return load_dataset(folder.photos)

    def count(self, draft: str) -> int:
        """How many photos of a draft can be used; 0 before they were checked."""
        folder = self._folder(draft)
        try:
            return len(load_dataset(folder.photos).examples) if folder else 0
        except SdgenError:
            return 0

    def freeze(self, draft: str, recipe: TrainingRecipe) -> RunFolder:
        """The draft's photos as they are trained on: with the typed captions, some held out.

        Raises NoPhotos where none can be used, DatasetDamaged, StorageFailed.
        """
        folder = self._folder(draft)
        dataset = load_dataset(folder.photos) if folder else Dataset(())
        if folder is None or not dataset.examples:
            raise NoPhotos("None of these photos can be used; the report says why.")
        typed = _captions(folder)
        captions = {
            one.id: with_trigger(typed[one.name], recipe.trigger, recipe.class_word)
            for one in dataset.examples
            if one.name in typed
        }
        whole = split(dataset.with_captions(captions), recipe.held_out, seed=recipe.seed)
        write_dataset(whole, folder.photos)
        return folder

    def _folder(self, draft: str) -> RunFolder | None:
        """The draft of that name; what a browser sends is no path."""
        home = default_runs_folder(self._trainings.data_dir)
        path = home / draft
        return RunFolder(path) if draft and path.parent == home and path.is_dir() else None

    def _count_tokens(self, base: str, caption: str) -> int | None:
        try:
            return self._studio.count_tokens(base, caption)
        except SdgenError:  # a model that the studio knows under another name
            return None


def _gathered(files: list[str], together: Path) -> list[Path]:
    """Uploaded files, each of which lies in a folder of its own, so that photos and their captions
    are beside each other; zips stay as they are."""
    zips: list[Path] = []
    loose = False
    for file in map(Path, files):
        if file.suffix.lower() == ".zip":
            zips.append(file)
            continue
        number, place, loose = 1, together / file.name, True
        while place.exists():
            number += 1
            place = together / f"{file.stem} ({number}){file.suffix}"
        shutil.copyfile(file, place)
    return [together, *zips] if loose else zips


def _captions(folder: RunFolder) -> Mapping[str, str]:
    try:
        raw = json.loads((folder.path / "captions.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return {str(key): str(value) for key, value in raw.items()} if isinstance(raw, dict) else {}


class _Key(NamedTuple):
    """What a check depends on."""

    files: list[list[object]]
    trigger: str
    class_word: str
    resolution: int


def _key(files: list[str], form: TrainForm, bases: Bases) -> _Key:
    recipe = effective(form, bases.family(form.base), 1)
    sizes: list[list[object]] = [[Path(file).name, Path(file).stat().st_size] for file in files]
    return _Key(sorted(sizes, key=str), recipe.trigger, recipe.class_word, recipe.resolution)
