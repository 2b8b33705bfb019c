"""Judges that are models of their own: used where they lie on this machine, never fetched unasked.

    embedder = DinoEmbedder(local_judge("dinov2-small"))

Likeness: DINOv2, Oquab et al. 2023, arXiv 2304.07193, as in the DreamBooth paper's DINO score.
Prompts: CLIP, Radford et al. 2021, arXiv 2103.00020, its cosine as in CLIPScore.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from lora.base import Base
from lora.evaluate.samples import Embedder, Judges, Picture, PixelEmbedder, PromptJudge
from sdgen.models import HubSource, hub_folder

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
_SIDE = 224  # pixels
ROWS = 16  # pictures at a time


@dataclass(frozen=True)
class JudgeModel:
    """A model of the Hub that can judge samples."""

    repo: str
    download_bytes: int
    licence: str
    use: str


JUDGES: Mapping[str, JudgeModel] = MappingProxyType(
    {
        "dinov2-small": JudgeModel("facebook/dinov2-small", 88_000_000, "Apache-2.0", "likeness"),
        "dinov2-base": JudgeModel("facebook/dinov2-base", 346_000_000, "Apache-2.0", "likeness"),
        "clip-b32": JudgeModel("openai/clip-vit-base-patch32", 605_000_000, "MIT", "prompts"),
        "clip-l14": JudgeModel("openai/clip-vit-large-patch14", 1_710_000_000, "MIT", "prompts"),
    }
)


def local_judge(name: str, hub_cache: Path | None = None) -> Path | None:
    """The folder of a judge of the table where it lies in the Hub's cache whole, or None."""
    folder = hub_folder(HubSource(JUDGES[name].repo), hub_cache)
    files = ("config.json", "model.safetensors")
    if folder is None or not all((folder / file).is_file() for file in files):
        return None
    return folder


def find_judges(base: Base, hub_cache: Path | None = None) -> Judges:
    """The best judges that are here for this base; fetches nothing."""
    embedder: Embedder = PixelEmbedder()
    for name in ("dinov2-base", "dinov2-small"):
        if (folder := local_judge(name, hub_cache)) is not None:
            embedder = DinoEmbedder(folder, base.device)
            break
    prompts: PromptJudge | None = picturebook_judge() if base.family == "picturebook" else None
    for name in ("clip-l14", "clip-b32"):
        if prompts is None and (folder := local_judge(name, hub_cache)) is not None:
            prompts = ClipJudge(folder, base.device)
    return Judges(embedder, prompts)


class DinoEmbedder:
    """DINOv2's class token of a picture's middle square."""

    sees_subjects = True

    def __init__(self, folder: Path, device: torch.device | str = "cpu") -> None:
        from transformers import Dinov2Model

        self.name = "DINOv2"
        self._device = torch.device(device)
        model: Any = Dinov2Model.from_pretrained(str(folder), local_files_only=True)
        self._model = model.eval().to(self._device)
        patch = int(model.config.patch_size)
        self._side = min(_SIDE, int(model.config.image_size)) // patch * patch

    @torch.no_grad()
    def embed(self, pictures: Sequence[Picture]) -> Tensor:
        rows = []
        for start in range(0, len(pictures), ROWS):
            pixels = _pixels(pictures[start : start + ROWS], self._side, _IMAGENET)
            output = self._model(pixel_values=pixels.to(self._device))
            rows.append(output.last_hidden_state[:, 0].float().cpu())
        return F.normalize(torch.cat(rows), dim=1)


class ClipJudge:
    """The cosine of picture and prompt."""

    def __init__(self, folder: Path, device: torch.device | str = "cpu") -> None:
        from transformers import CLIPModel, CLIPTokenizer

        self.name = "CLIP"
        self._device = torch.device(device)
        model: Any = CLIPModel.from_pretrained(str(folder), local_files_only=True)
        self._model = model.eval().to(self._device)
        self._side = int(model.config.vision_config.image_size)
        self._words: Any = CLIPTokenizer.from_pretrained(str(folder), local_files_only=True)

    @torch.no_grad()
    def scores(self, pictures: Sequence[Picture], prompts: Sequence[str]) -> list[float | None]:
        limit = self._model.config.text_config.max_position_embeddings
        found: list[float | None] = []
        for start in range(0, len(pictures), ROWS):
            pixels = _pixels(pictures[start : start + ROWS], self._side, _CLIP)
            tokens = self._words(
                list(prompts[start : start + ROWS]),
                padding=True,
                truncation=True,
                max_length=limit,
                return_tensors="pt",
            )
            output = self._model(
                input_ids=tokens.input_ids.to(self._device),
                attention_mask=tokens.attention_mask.to(self._device),
                pixel_values=pixels.to(self._device),
            )
            found += F.cosine_similarity(output.image_embeds, output.text_embeds).tolist()
        return found


class PicturebookJudge:
    """The bundled model's own judge: the share of named subjects, places and times that it sees."""

    name = "picturebook's judge"

    def __init__(self, judge: Any, captions: Any) -> None:
        """judge, captions: the modules of those names in tools.picturebook."""
        self._tools = judge
        self._judge = judge.load_judge()
        self._places: Mapping[str, Sequence[str]] = captions.PLACE_WORDS
        self._times: Mapping[str, Sequence[str]] = captions.TIME_WORDS
        kinds = {
            kind: (*words, *captions.PLURALS.get(kind, ()))
            for kind, words in captions.KIND_WORDS.items()
        }
        self._kinds = {**kinds, judge.MINNAL_MURALI: (captions.TRIGGER,)}

    @torch.no_grad()
    def scores(self, pictures: Sequence[Picture], prompts: Sequence[str]) -> list[float | None]:
        sized = [np.asarray(one.convert("RGB").resize((256, 256)), np.uint8) for one in pictures]
        seen = self._judge(self._tools.shrink(np.stack(sized)))
        found: list[float | None] = []
        for index, prompt in enumerate(prompts):
            right: list[bool] = []
            for kind in _named(prompt, self._kinds):
                right.append(bool(seen["present"][index, self._tools.SEEN.index(kind)] > 0))
            for place in _named(prompt, self._places):
                right.append(self._tools.PLACES[int(seen["place"][index].argmax())] == place)
            for time in _named(prompt, self._times):
                right.append(self._tools.TIMES[int(seen["time"][index].argmax())] == time)
            found.append(sum(right) / len(right) if right else None)
        return found


def picturebook_judge() -> PicturebookJudge | None:
    """The judge of tools/picturebook where this runs in the repository, or None."""
    try:
        judge = import_module("tools.picturebook.judge")
        captions = import_module("tools.picturebook.captions")
        return PicturebookJudge(judge, captions)
    except (ImportError, OSError, AttributeError):
        return None


def _named(prompt: str, words: Mapping[str, Sequence[str]]) -> list[str]:
    """What of a table a prompt names; of "flying car" and "car" only the longer."""
    text = f" {prompt.lower().replace(',', ' ').replace('.', ' ')} "
    found = []
    pairs = [(phrase.lower(), name) for name, phrases in words.items() for phrase in set(phrases)]
    for phrase, name in sorted(pairs, key=lambda pair: -len(pair[0])):
        if f" {phrase} " in text:
            text = text.replace(f" {phrase} ", " | ")
            if name not in found:
                found.append(name)
    return found


def _pixels(
    pictures: Sequence[Picture], side: int, spread: tuple[tuple[float, ...], tuple[float, ...]]
) -> Tensor:
    """[n, 3, side, side]: the middle square, scaled and normalised as the model was trained."""
    mean, deviation = (torch.tensor(values)[:, None, None] for values in spread)
    rows = []
    for picture in pictures:
        edge = min(picture.size)
        left, top = (picture.width - edge) / 2, (picture.height - edge) / 2
        image = picture.convert("RGB").resize(
            (side, side), Image.Resampling.BICUBIC, box=(left, top, left + edge, top + edge)
        )
        values = torch.from_numpy(np.asarray(image, np.float32).copy()).permute(2, 0, 1) / 255
        rows.append((values - mean) / deviation)
    return torch.stack(rows)
