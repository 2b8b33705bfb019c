"""Is this the picture that its recipe makes? Two pictures compared, and the answer in words.

Similarity: SSIM, Wang et al. 2004 (IEEE TIP 13, 4), on luma with the 11 px Gaussian window of
sigma 1.5 of that paper.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sdgen.job import RunInfo
from sdgen.metadata import Recipe, pixels_hash
from sdgen.pipelines.prompts import RULES, RULES_NAME, read_otherwise_before

Answer = Literal["identical", "nearly", "alike", "different", "impossible"]
ALIKE = 0.9  # SSIM from which two pictures count as the same scene with small differences
_SIGMA, _RADIUS = 1.5, 5
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2

Plane = NDArray[np.float64]


@dataclass(frozen=True)
class Verification:
    """What drawing a picture again came to.

    `largest`: the greatest difference of a pixel's channel, 0 to 255. `differs`: what is not as it
    was, e.g. "torch 2.10.0 became 2.13.0". `altered`: the file's pixels are not those that were
    saved with it; None where the recipe does not say.
    """

    answer: Answer
    sentence: str
    ssim: float | None = None
    largest: int | None = None
    differs: tuple[str, ...] = ()
    altered: bool | None = None


def structural_similarity(one: Image.Image, other: Image.Image) -> float:
    """SSIM of two pictures of one size; 1.0 for equal ones."""
    a, b = (_luma(image) for image in (one, other))
    mean_a, mean_b = _blurred(a), _blurred(b)
    var_a = _blurred(a * a) - mean_a**2
    var_b = _blurred(b * b) - mean_b**2
    both = _blurred(a * b) - mean_a * mean_b
    top = (2 * mean_a * mean_b + _C1) * (2 * both + _C2)
    return float(np.mean(top / ((mean_a**2 + mean_b**2 + _C1) * (var_a + var_b + _C2))))


def compare(
    saved: Image.Image, again: Image.Image, recipe: Recipe, differs: tuple[str, ...] = ()
) -> Verification:
    """The verdict on a saved picture and the same recipe drawn again.

    differs: from `differences`. A picture whose pixels were changed after it was saved is told so.
    """
    altered = recipe.pixels_sha256 != pixels_hash(saved) if recipe.pixels_sha256 else None
    if saved.size != again.size:
        sizes = [f"{image.width}x{image.height}" for image in (saved, again)]
        sentence = f"Different: the file has {sizes[0]} pixels, its recipe draws {sizes[1]}."
        return Verification("different", sentence, differs=differs, altered=altered)
    pairs = [np.asarray(image.convert("RGB"), dtype=np.int16) for image in (saved, again)]
    largest = int(np.abs(pairs[0] - pairs[1]).max())
    ssim = structural_similarity(saved, again)
    because = f" because {listed(differs)}" if differs else ""
    answer: Answer
    if largest == 0:
        answer, said = "identical", "Bit-identical: its recipe draws exactly this picture."
    elif largest == 1:
        if not because and recipe.shared:
            because = ", as it was drawn in a batch with other requests"
        answer, said = "nearly", f"Identical to within 1/255 a pixel{because}."
    elif ssim >= ALIKE:
        because = because or ", though nothing that is known differs"
        answer, said = "alike", f"Alike (SSIM {ssim:.3f}){because}."
    else:
        answer = "different"
        said = f"Different (SSIM {ssim:.3f}): its recipe draws another picture{because}."
    if altered:
        said = f"The picture was changed after it was saved. {said}"
    return Verification(answer, said, ssim, largest, differs, altered)


def differences(recipe: Recipe, now: RunInfo) -> tuple[str, ...]:
    """What is not as it was when the picture was made: model, device, numbers, libraries, sampler.

    What the recipe does not say (another program's) is not compared.
    """
    before = dict(recipe.versions)
    pairs = [
        ("the model's weights", recipe.model_hash, now.model_hash),
        ("the device", recipe.device, now.device),
        ("the numbers", recipe.dtype, now.dtype),
        ("the attention", recipe.attention, now.attention),
        ("the sampler's settings", recipe.noise_scheduler, now.noise_scheduler),
        *(
            (name, before.get(name, ""), version)
            for name, version in now.versions
            if name != RULES_NAME
        ),
    ]
    found = [
        _became(what, was, is_now) for what, was, is_now in pairs if was and not _same(was, is_now)
    ]
    if recipe.threads and now.threads and recipe.threads != now.threads:
        threads = "thread" if recipe.threads == 1 else "threads"
        found.append(f"{recipe.threads} CPU {threads} became {now.threads}")
    if recipe.ours and before.get(RULES_NAME, "1") != RULES:
        found += _newer_rules(recipe)
    return tuple(found)


def _newer_rules(recipe: Recipe) -> list[str]:
    """What of the recipe was read otherwise when its picture was made, or may have been."""
    found = []
    if recipe.clip_skip and (recipe.guidance_scale or 0.0) > 1:
        found.append("clip skip acts on the negative prompt too, as it did not then")
    if read_otherwise_before(recipe.prompt) or read_otherwise_before(recipe.negative_prompt):
        found.append("prompts like this one are read by newer rules")
    return found


def _same(was: str, now: str) -> bool:
    """Equal, or the ten digits of a hash that other programs keep."""
    return was == now or (len(was) == 10 and now.startswith(was))


def _became(what: str, was: str, now: str) -> str:
    if "{" in was or max(len(was), len(now)) > 40:  # hashes and settings say nothing to people
        return f"{what} are others" if what.endswith("s") else f"{what} is another"
    return f"{what} {was} became {now or 'unknown'}"


def listed(parts: tuple[str, ...]) -> str:
    """ "a, b and c"."""
    return ", ".join(parts[:-1]) + " and " + parts[-1] if len(parts) > 1 else "".join(parts)


def _luma(image: Image.Image) -> Plane:
    pixels = np.asarray(image.convert("RGB"), dtype=np.float64)
    plane: Plane = pixels @ np.array(_LUMA)
    return plane


def _blurred(plane: Plane) -> Plane:
    """Through the Gaussian window, without borders that the picture does not have."""
    offsets = np.arange(-_RADIUS, _RADIUS + 1)
    window = np.exp(-(offsets**2) / (2 * _SIGMA**2))
    window /= window.sum()
    for axis in (0, 1):
        if plane.shape[axis] > 2 * _RADIUS:
            count = plane.shape[axis] - 2 * _RADIUS
            parts = (plane.take(range(i, i + count), axis) * w for i, w in enumerate(window))
            plane = np.sum(list(parts), axis=0)
    return plane
