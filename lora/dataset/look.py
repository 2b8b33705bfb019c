"""One photo: decoded, measured, captioned and stored, or left out with the reason. No torch."""

import contextlib
import os
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from PIL import Image

from lora.dataset.buckets import Crop, crop_to, fit
from lora.dataset.captions import CaptionFiles, CountTokens, has_trigger, unread, with_trigger
from lora.dataset.example import Example, one_line
from lora.dataset.files import SourceFile, display
from lora.dataset.layout import content_hash, stored_name
from lora.dataset.likeness import BLURRED, blur, fingerprint
from lora.dataset.opening import Opened, open_photo
from lora.dataset.report import Finding, Photo
from sdgen.errors import PictureUnreadable, StorageFailed

ENLARGED_UNSEEN = 1.25  # times; less than that is hardly to be seen
ENLARGED_MOST = 4.0  # times; a photo that would be enlarged more is left out
CUT_UNSAID = 0.15  # share of a photo that cropping may take without a word
STORED = 2  # times the bucket's sides; what is larger is stored smaller


@dataclass(frozen=True)
class Wish:
    """What the photos are checked for."""

    trigger: str
    class_word: str
    resolution: int
    step: int | None
    aspect_buckets: bool
    count_tokens: CountTokens | None
    captions: Mapping[str, str] = field(default_factory=dict)
    leave_out: Collection[str] = ()

    def crop(self, width: int, height: int) -> Crop:
        """How a photo of that size is cropped."""
        if self.aspect_buckets:
            return fit(width, height, self.resolution, self.step)
        return crop_to(width, height, (self.resolution, self.resolution))


def look(file: SourceFile, name: str, wish: Wish, found: CaptionFiles, work: Path) -> Photo:
    """One photo by itself: decoded, cropped, captioned, stored in `work`; or why not.

    Raises StorageFailed.
    """
    if file.refused:
        return Photo(name, reason=file.refused)
    if name in wish.leave_out:
        return Photo(name, reason="You left it out.")
    try:
        opened = open_photo(file.read())
    except PictureUnreadable as error:
        return Photo(name, reason=str(error))
    except OSError:
        return Photo(name, reason="The file may not be read.")
    size = opened.image.size
    crop = wish.crop(*size)
    if crop.enlarged > ENLARGED_MOST:
        return Photo(
            name,
            reason=f"It has only {size[0]}x{size[1]} pixels; enlarged {crop.enlarged:.1f} times "
            f"to {crop.bucket[0]}x{crop.bucket[1]} it would teach nothing but blur.",
            size=size,
            enlarged=crop.enlarged,
        )
    caption, findings = _caption(file, name, wish, found)
    findings = (*_about_picture(opened, crop), *findings)
    example = _stored(opened.image, name, caption, crop, wish, work)
    with Image.open(example.path) as stored:
        example = replace(example, fingerprint=fingerprint(stored))
        softness = blur(stored, crop.bucket)
    if softness > BLURRED:
        findings = (Finding("blurred", f"{softness:.2f} of 1"), *findings)
    lost = wish.count_tokens and unread(caption, wish.count_tokens)
    if lost:
        findings = (*findings, Finding("long_caption", f"unread: “{display(lost)}”"))
    cut = crop.cut(*size)
    return Photo(name, example, "", findings, size, crop.enlarged, cut, softness, lost or "")


def _about_picture(opened: Opened, crop: Crop) -> list[Finding]:
    findings = []
    if crop.enlarged > ENLARGED_UNSEEN:
        width, height = opened.image.size
        findings.append(Finding("small", f"{width}x{height}, enlarged {crop.enlarged:.1f} times"))
    cut = crop.cut(*opened.image.size)
    if cut > CUT_UNSAID:
        findings.append(Finding("cropped", f"{cut:.0%} is cut away"))
    if opened.animated:
        findings.append(Finding("animated"))
    if opened.turned:
        findings.append(Finding("turned"))
    if opened.transparent:
        findings.append(Finding("transparent"))
    if opened.converted:
        findings.append(Finding("converted"))
    return findings


def _caption(
    file: SourceFile, name: str, wish: Wish, found: CaptionFiles
) -> tuple[str, tuple[Finding, ...]]:
    """The caption with the trigger in it, and what there is to say about it."""
    typed = wish.captions.get(name, wish.captions.get(name.rpartition(".")[0]))
    caption, disagree = found.of(file) if typed is None else (one_line(typed), False)
    findings = [Finding("two_captions")] if disagree else []
    if not caption:
        findings.append(Finding("no_caption"))
    elif wish.trigger and not has_trigger(caption, wish.trigger):
        findings.append(Finding("no_trigger"))
    return with_trigger(caption, wish.trigger, wish.class_word), tuple(findings)


def _stored(
    image: Image.Image, name: str, caption: str, crop: Crop, wish: Wish, work: Path
) -> Example:
    """The photo as a PNG in `work`, at most STORED times as large as it is trained at."""
    if crop.enlarged * STORED < 1:
        scale = crop.enlarged * STORED
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(size, Image.Resampling.LANCZOS)
        crop = crop_to(*size, crop.bucket)
    content = content_hash(image.width, image.height, image.tobytes())
    path = work / f"{stored_name(content)}.png"
    if not path.is_file():
        stump = work / f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp"
        try:
            work.mkdir(parents=True, exist_ok=True)
            image.save(stump, "PNG", compress_level=1)
            stump.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                stump.unlink(missing_ok=True)
            raise StorageFailed(
                f"The photos could not be stored: {error.strerror or 'the disk does not answer'}."
            ) from error
    return Example(content, name, path, caption, image.width, image.height, crop.bucket, crop.box)
