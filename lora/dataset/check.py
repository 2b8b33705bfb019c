"""Photos in; a report by name and a dataset out, before the first step. No torch.

Nothing that came in is changed or deleted: the photos are decoded and stored anew, upright and
without EXIF, under the hash of their pixels.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from lora.dataset.captions import CaptionFiles, CountTokens, read_captions
from lora.dataset.errors import PhotosRefused
from lora.dataset.example import Dataset, one_line
from lora.dataset.files import display
from lora.dataset.layout import clear_dataset, write_dataset
from lora.dataset.likeness import alike
from lora.dataset.look import Wish, look
from lora.dataset.report import Finding, Photo, PhotoReport
from lora.dataset.sources import read_source

FEW = 10  # photos; with less an adapter learns them by heart


def check(
    source: Path | Sequence[Path],
    work: Path,
    trigger: str,
    class_word: str,
    resolution: int,
    count_tokens: CountTokens | None = None,
    *,
    captions: Mapping[str, str] | None = None,
    leave_out: Collection[str] = (),
    aspect_buckets: bool = True,
    step: int | None = None,
    on_photo: Callable[[int, int], None] | None = None,
) -> PhotoReport:
    """Look at every photo of `source` and store those that can be used in `work`.

    source: a folder, a zip, a photo, or a list of these. count_tokens: of the base's tokenizer.
    captions: typed ones, by the photo's name, with or without its end; they count more than those
    in files. leave_out: names of photos not to be used. step: what the buckets' sides are multiples
    of. on_photo: called with photos done and photos in all.
    Raises PhotosRefused when the source cannot be used at all, or StorageFailed; a photo that
    cannot be used is left out and named.
    """
    _check_places(source, work)
    files = read_source(source)
    incoming = [file for file in files if file.kind == "photo"]
    others = [file for file in files if file.kind != "photo" and file.refused]
    if not incoming:
        raise PhotosRefused("There are no photos in it: JPEG, PNG, WebP, TIFF, BMP, GIF or AVIF.")
    wish = Wish(
        one_line(trigger),
        one_line(class_word),
        resolution,
        step,
        aspect_buckets,
        count_tokens,
        captions or {},
        leave_out,
    )
    found = read_captions(files)
    photos: list[Photo] = []
    names: set[str] = set()
    for number, file in enumerate(incoming):
        name = _unique(display(found.names.get((file.folder, file.name), file.name)), names)
        photo = look(file, name, wish, found, work)
        photos.append(_not_twice(photo, photos))
        if on_photo is not None:
            on_photo(number + 1, len(incoming))
    similar = _similar(photos)
    photos = _tell_similar(photos, similar)
    dataset = Dataset(tuple(photo.example for photo in photos if photo.example is not None))
    if dataset.examples:
        dataset = write_dataset(dataset, work)
    else:
        clear_dataset(work)  # nobody shall train on the photos of an earlier check
    return PhotoReport(
        tuple(photos),
        dataset,
        work,
        wish.trigger,
        wish.class_word,
        resolution,
        tuple(_about_all(photos, wish, found)),
        tuple((display(file.name), file.refused) for file in others),
        similar,
    )


def _check_places(source: Path | Sequence[Path], work: Path) -> None:
    for path in [source] if isinstance(source, Path) else source:
        if path.is_dir() and work.resolve().is_relative_to(path.resolve()):
            raise PhotosRefused("The folder to work in must not lie in the folder of the photos.")


def _unique(name: str, taken: set[str]) -> str:
    """The name, with a number where another photo has it already."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name} ({number})"
    taken.add(free)
    return free


def _not_twice(photo: Photo, before: Sequence[Photo]) -> Photo:
    """The photo, left out when one before it has the very same pixels."""
    if photo.example is None:
        return photo
    for other in before:
        if other.example is not None and other.example.id == photo.example.id:
            return Photo(photo.name, reason=f"It is the same picture as '{other.name}'.")
    return photo


def _similar(photos: Sequence[Photo]) -> tuple[tuple[str, ...], ...]:
    used = [photo.example for photo in photos if photo.example is not None]
    groups = alike([example.fingerprint for example in used])
    return tuple(tuple(used[place].name for place in group) for group in groups)


def _tell_similar(photos: Sequence[Photo], similar: Sequence[Sequence[str]]) -> list[Photo]:
    """Every photo of a group but the first is told which one it is like."""
    first = {name: group[0] for group in similar for name in group[1:]}
    return [
        replace(photo, findings=(Finding("alike", f"like '{first[photo.name]}'"), *photo.findings))
        if photo.name in first
        else photo
        for photo in photos
    ]


def _about_all(photos: Sequence[Photo], wish: Wish, found: CaptionFiles) -> list[str]:
    """Sentences about the photos together."""
    used = [photo for photo in photos if photo.example is not None]
    said = [f"A list of captions could not be used: {display(text)}" for text in found.problems]
    if not used:
        return [*said, "None of the photos can be used, so there is nothing to train on."]
    if len(used) < FEW:
        said.append(
            f"There are only {len(used)} photos; below {FEW} an adapter rather learns them by "
            "heart than what they have in common."
        )
    captions = {photo.example.caption for photo in used if photo.example is not None}
    if len(used) > 1 and len(captions) == 1:
        said.append(
            "All captions are the same, so the model cannot tell the subject from what is around "
            "it. Say in each what changes: place, light, pose, clothes."
        )
    if wish.trigger and wish.count_tokens is not None and wish.count_tokens(wish.trigger) == 1:
        said.append(
            f"The trigger '{display(wish.trigger)}' is a single word that the model knows already; "
            "what it means by it will show through. A rarer word or two are safer."
        )
    return said
