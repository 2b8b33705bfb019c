"""Small models with random weights, in the shapes of the real ones, built in a second or less.

Each builder returns a diffusers pipeline; `saved(pipe, folder)` puts it where a loader finds it.
Weights are drawn from a fixed seed, so a test may compare pictures of two processes.
"""

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    PNDMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
)

SIDE = 64  # pixels; the native size of these models

SD1_SCHEDULER: dict[str, Any] = {  # as stable-diffusion-v1-5/stable-diffusion-v1-5 has it
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "skip_prk_steps": True,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}
SD2_SCHEDULER: dict[str, Any] = {  # as stabilityai/stable-diffusion-2-1 has it
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "prediction_type": "v_prediction",
}


def tokenizer(pad_token: str = "<|endoftext|>", length: int = 77) -> CLIPTokenizer:
    """A CLIP tokenizer of single bytes and a few merges; every text has tokens in it."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    letters = list(bytes_to_unicode().values())
    merges = [("c", "a"), ("ca", "t</w>"), ("r", "e"), ("re", "d</w>"), ("t", "h"), ("th", "e</w>")]
    words = letters + [letter + "</w>" for letter in letters]
    words += ["".join(pair) for pair in merges] + ["<|startoftext|>", "<|endoftext|>"]
    vocab = {word: number for number, word in enumerate(words)}
    return CLIPTokenizer(vocab=vocab, merges=merges, pad_token=pad_token, model_max_length=length)


def text_encoder(words: CLIPTokenizer, width: int = 32, layers: int = 3) -> CLIPTextModel:
    """A CLIP text encoder for `tokenizer()`."""
    config = CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=width,
        intermediate_size=width * 2,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=words.model_max_length,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
    )
    return CLIPTextModel(config).eval()


def unet(text_width: int = 32, **changes: Any) -> UNet2DConditionModel:
    """A denoiser with two stages, attention in one. Its weights are raised where random ones
    would make prompts hardly count and predictions smaller than noise is."""
    options: dict[str, Any] = {
        "sample_size": SIDE // 8,
        "in_channels": 4,
        "out_channels": 4,
        "block_out_channels": (16, 32),
        "layers_per_block": 1,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "cross_attention_dim": text_width,
        "attention_head_dim": 4,
        "norm_num_groups": 8,
    }
    model = UNet2DConditionModel(**(options | changes)).eval()
    with torch.no_grad():
        model.conv_out.weight.mul_(4)
        for name, weights in model.named_parameters():
            if ".attn2.to_v." in name or ".attn2.to_out." in name:
                weights.mul_(6)
    return model


def vae(side: int = SIDE) -> AutoencoderKL:
    """An autoencoder of factor 8, like the real one's, and very thin. side: of one tile, pixels."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 16, 16),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=side,
        scaling_factor=0.18215,
    ).eval()


def safety_checker(objects: bool) -> StableDiffusionSafetyChecker:
    """A safety checker that objects to every picture, or to none."""
    config = CLIPConfig(
        text_config={"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2},
        vision_config={
            "hidden_size": 8,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 32,
            "patch_size": 16,
        },
        projection_dim=8,
    )
    checker = StableDiffusionSafetyChecker(config).eval()
    checker.concept_embeds_weights.data.fill_(-2.0 if objects else 2.0)  # cosines lie between
    checker.special_care_embeds_weights.data.fill_(2.0)
    return checker


def _pipeline(
    noise_scheduler: Any,
    words: CLIPTokenizer,
    text_width: int,
    checker: StableDiffusionSafetyChecker | None = None,
    tile: int = SIDE,
    **unet_changes: Any,
) -> StableDiffusionPipeline:
    pipe = StableDiffusionPipeline(
        vae=vae(tile),
        text_encoder=text_encoder(words, text_width),
        tokenizer=words,
        unet=unet(text_width, **unet_changes),
        scheduler=noise_scheduler,
        safety_checker=checker,
        feature_extractor=CLIPImageProcessor(size=32, crop_size=32) if checker else None,
        requires_safety_checker=checker is not None,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def sd1(
    checker_objects: bool | None = None, tile: int = SIDE, seed: int = 0, **unet_changes: Any
) -> StableDiffusionPipeline:
    """Like Stable Diffusion 1.5: epsilon, PNDM's configuration.

    checker_objects: None, no safety checker; True, one that objects to everything.
    tile: side from which the VAE works in tiles when told to, pixels.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        checker = None if checker_objects is None else safety_checker(checker_objects)
        schedule = PNDMScheduler(**SD1_SCHEDULER)
        return _pipeline(schedule, tokenizer(), 32, checker, tile, **unet_changes)


def sd2(seed: int = 0, **scheduler_changes: Any) -> StableDiffusionPipeline:
    """Like Stable Diffusion 2.1: v-prediction, linear projections, "!" as padding."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _pipeline(
            DDIMScheduler(**(SD2_SCHEDULER | scheduler_changes)),
            tokenizer(pad_token="!"),
            48,
            use_linear_projection=True,
            attention_head_dim=(4, 8),
        )


def lcm(seed: int = 0) -> StableDiffusionPipeline:
    """Like a model distilled for LCM: guidance is an input of its UNet."""
    return sd1(seed=seed, time_cond_proj_dim=16)


def saved(pipe: Any, folder: Path) -> Path:
    """The pipeline as a folder in diffusers' layout, safetensors; returns the folder."""
    pipe.save_pretrained(folder, safe_serialization=True)
    return folder
