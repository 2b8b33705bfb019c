"""The metadata of an exported file, for all who read it: strings only, as safetensors has it.

ss_*                   kohya's scripts; A1111, Forge and ComfyUI show them
modelspec.*            Stability's standard, version 1.0.0: github.com/Stability-AI/ModelSpec
lora_adapter_metadata  diffusers: rank and alpha of each part, else it takes alpha = rank
sdgen.*                ours: trigger, strength, recipe
"""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import safetensors.torch
from torch import Tensor

from lora.config import BaseFamily, CompleteRecipe
from lora.export.layouts import ranks_of
from lora.export.recipe_in_file import (
    RECIPE_KEY,
    STRENGTH_KEY,
    TRIGGER_KEY,
    TrainedRecipe,
    recipe_text,
)

Layout = Literal["peft", "kohya"]
DIFFUSERS_KEY = "lora_adapter_metadata"  # diffusers.loaders.lora_base
_BASE_VERSION: Mapping[BaseFamily, str] = {
    "sd1": "sd_v1",
    "sd2": "sd_v2",
    "sdxl": "sdxl_base_v1-0",
    "picturebook": "picturebook",
}
_ARCHITECTURE: Mapping[BaseFamily, str] = {
    "sd1": "stable-diffusion-v1",
    "sd2": "stable-diffusion-v2-512",
    "sdxl": "stable-diffusion-xl-v1-base",
    "picturebook": "picturebook",
}


@dataclass(frozen=True)
class Facts:
    """What is told about a trained adapter, whatever the file's layout."""

    recipe: CompleteRecipe
    made: TrainedRecipe
    family: BaseFamily
    base_title: str
    velocity: bool  # the base predicts v
    sizes: tuple[tuple[int, int], ...]  # width, height of each training photo's bucket, pixels
    licence: str = ""


def adapter_configs(tensors: Mapping[str, Tensor]) -> str:
    """diffusers' `lora_adapter_metadata`: for each part the arguments of PEFT's LoraConfig.

    tensors: under a checkpoint's names. alpha = rank, module by module. Modules
    are named in full and without `text_model.`: PEFT compares the ends of names.
    """
    ranks = ranks_of(tensors)
    configs: dict[str, object] = {}
    parts: dict[str, dict[str, int]] = {}
    for name, rank in ranks.items():
        part, _, module = name.partition(".")
        parts.setdefault(part, {})[module] = rank
    for part, of_module in parts.items():
        common = Counter(of_module.values()).most_common(1)[0][0]
        others = {module: rank for module, rank in of_module.items() if rank != common}
        configs |= {
            f"{part}.peft_type": "LORA",
            f"{part}.r": common,
            f"{part}.lora_alpha": common,
            f"{part}.rank_pattern": others,
            f"{part}.alpha_pattern": others,
            f"{part}.target_modules": sorted(of_module),
            f"{part}.bias": "none",
        }
    return json.dumps(configs, sort_keys=True)


def metadata(
    facts: Facts,
    tensors: Mapping[str, Tensor],
    layout: Layout,
    written: Mapping[str, Tensor],
) -> dict[str, str]:
    """All of a file's metadata. tensors: under a checkpoint's names; written: under the file's."""
    entries = _kohya_entries(facts, tensors)
    entries |= _model_spec(facts, layout, written)
    entries |= {
        TRIGGER_KEY: facts.recipe.trigger,
        STRENGTH_KEY: f"{facts.made.strength:g}",
        RECIPE_KEY: recipe_text(facts.made),
    }
    if layout == "peft":
        entries[DIFFUSERS_KEY] = adapter_configs(tensors)
    else:
        entries["sshs_model_hash"] = hashlib.sha256(_content(written)).hexdigest()
    return {"format": "pt", **{key: value for key, value in entries.items() if value}}


def _kohya_entries(facts: Facts, tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """What kohya's train_network.py writes, as far as it applies here."""
    recipe, made = facts.recipe, facts.made
    ranks = ranks_of(tensors)
    rank = Counter(ranks.values()).most_common(1)[0][0]
    count = max(len(made.photos), 1)
    batch = recipe.batch_size * recipe.accumulation
    has_convolutions = any(t.ndim == 4 and t.shape[2] > 1 for t in tensors.values())
    arguments = {"conv_dim": str(rank), "conv_alpha": str(rank)} if has_convolutions else {}
    has_text = any(name.startswith("text_encoder") for name in ranks)
    buckets = {
        str(i): {"resolution": list(size), "count": number}
        for i, (size, number) in enumerate(sorted(Counter(facts.sizes).items()))
    }
    return {
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(rank),
        "ss_network_alpha": str(rank),
        "ss_network_args": json.dumps(arguments),
        "ss_base_model_version": _BASE_VERSION[facts.family],
        "ss_v2": str(facts.family == "sd2"),
        "ss_sd_model_name": str(made.settings.get("base", "")),
        "ss_sd_model_hash": made.base_hash[:10],
        "ss_new_sd_model_hash": made.base_hash,
        "ss_output_name": recipe.name,
        "ss_unet_lr": f"{recipe.learning_rate:g}",
        "ss_learning_rate": f"{recipe.learning_rate:g}",
        "ss_text_encoder_lr": f"{recipe.text_learning_rate:g}" if has_text else "None",
        "ss_optimizer": recipe.optimizer,
        "ss_lr_scheduler": "cosine",
        "ss_lr_warmup_steps": str(round(recipe.warm_up * recipe.steps)),
        "ss_max_train_steps": str(recipe.steps),
        "ss_steps": str(made.step),
        "ss_epoch": str(math.ceil(made.step * batch / count)),
        "ss_num_epochs": str(math.ceil(recipe.steps * batch / count)),
        "ss_num_batches_per_epoch": str(math.ceil(count / recipe.batch_size)),
        "ss_num_train_images": str(count),
        "ss_num_reg_images": "0",
        "ss_batch_size_per_device": str(recipe.batch_size),
        "ss_total_batch_size": str(batch),
        "ss_gradient_accumulation_steps": str(recipe.accumulation),
        "ss_gradient_checkpointing": str(recipe.gradient_checkpointing),
        "ss_seed": str(recipe.seed),
        "ss_min_snr_gamma": f"{recipe.min_snr_gamma:g}" if recipe.min_snr_gamma else "None",
        "ss_noise_offset": f"{recipe.noise_offset:g}" if recipe.noise_offset else "None",
        "ss_prior_loss_weight": f"{recipe.prior_weight:g}",
        "ss_caption_dropout_rate": f"{recipe.caption_dropout:g}",
        "ss_cache_latents": "True",
        "ss_resolution": f"({recipe.resolution}, {recipe.resolution})",
        "ss_enable_bucket": str(recipe.buckets),
        "ss_bucket_info": json.dumps({"buckets": buckets}),
        "ss_tag_frequency": json.dumps(_tags(recipe, made), ensure_ascii=False),
        "ss_dataset_dirs": json.dumps({_folder(recipe): {"n_repeats": 1, "img_count": count}}),
        "ss_training_comment": f"trained by {made.app}",
    }


def _tags(recipe: CompleteRecipe, made: TrainedRecipe) -> dict[str, dict[str, int]]:
    """How often each tag occurs: of the captions where they may be told, else what is public."""
    counts: Counter[str] = Counter()
    for caption in made.captions or ():
        counts.update(tag.strip() for tag in caption.split(",") if tag.strip())
    if made.captions is None:
        public = (recipe.trigger, recipe.class_word.strip())
        counts.update({word: len(made.photos) for word in public if word})
    return {_folder(recipe): dict(counts.most_common())}


def _folder(recipe: CompleteRecipe) -> str:
    """A folder as kohya's scripts name them: repeats, trigger, class."""
    return f"1_{recipe.trigger} {recipe.class_word}".strip()


def _model_spec(facts: Facts, layout: Layout, written: Mapping[str, Tensor]) -> dict[str, str]:
    architecture = _ARCHITECTURE[facts.family]
    if facts.family == "sd2" and facts.velocity:
        architecture = "stable-diffusion-v2-768-v"
    recipe, made = facts.recipe, facts.made
    stability = layout == "kohya" and facts.family == "sdxl"
    code = "https://github.com/Stability-AI/generative-models" if stability else "diffusers"
    return {
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": f"{architecture}/lora",
        "modelspec.implementation": code,
        "modelspec.title": recipe.name,
        "modelspec.trigger_phrase": recipe.trigger,
        "modelspec.usage_hint": f"Write '{recipe.trigger}'; strength {made.strength:g}.",
        "modelspec.description": f"LoRA on {facts.base_title}, {made.step} steps, {made.app}.",
        "modelspec.resolution": f"{recipe.resolution}x{recipe.resolution}",
        "modelspec.date": made.created,
        "modelspec.license": facts.licence,
        "modelspec.prediction_type": "v" if facts.velocity else "epsilon",
        "modelspec.hash_sha256": f"0x{hashlib.sha256(_content(written)).hexdigest()}",
    }


def _content(written: Mapping[str, Tensor]) -> bytes:
    """A file's bytes behind its header, which no metadata changes."""
    data: bytes = safetensors.torch.save(dict(written))
    return data[8 + int.from_bytes(data[:8], "little") :]
