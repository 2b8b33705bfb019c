"""A small SDXL with random weights, and any small model as one checkpoint file of the old layout.

The old layout is that of the CompVis and Stability code, which most single .safetensors files
have; the names here are the inverse of those in diffusers/loaders/single_file_utils.py.
"""

import re
from pathlib import Path
from typing import Any

import torch
from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from tests.tiny_models import text_encoder, tokenizer, unet, vae

SDXL_SCHEDULER: dict[str, Any] = {  # as stabilityai/stable-diffusion-xl-base-1.0 has it
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "timestep_spacing": "leading",
    "steps_offset": 1,
}


def sdxl(seed: int = 0) -> StableDiffusionXLPipeline:
    """Like Stable Diffusion XL: two text encoders, size embedding, force_upcast."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        words, big_words = tokenizer(), tokenizer(pad_token="!")
        config = CLIPTextConfig(
            vocab_size=len(big_words),
            hidden_size=48,
            intermediate_size=96,
            num_hidden_layers=3,
            num_attention_heads=4,
            projection_dim=48,
            hidden_act="gelu",
            bos_token_id=big_words.bos_token_id,
            eos_token_id=big_words.eos_token_id,
            pad_token_id=big_words.pad_token_id,
        )
        autoencoder = vae()
        autoencoder.register_to_config(scaling_factor=0.13025)
        pipe = StableDiffusionXLPipeline(
            vae=autoencoder,
            text_encoder=text_encoder(words),
            text_encoder_2=CLIPTextModelWithProjection(config).eval(),
            tokenizer=words,
            tokenizer_2=big_words,
            unet=unet(
                32 + 48,
                use_linear_projection=True,
                addition_embed_type="text_time",
                addition_time_embed_dim=8,
                projection_class_embeddings_input_dim=48 + 6 * 8,
            ),
            scheduler=EulerDiscreteScheduler(**SDXL_SCHEDULER),
            add_watermarker=False,
        )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def checkpoint(pipe: Any, path: Path) -> Path:
    """The weights of an SD 1.x, 2.x or XL pipeline as one file of the old layout; returns it."""
    tensors = {f"model.diffusion_model.{k}": v for k, v in _unet_tensors(pipe.unet).items()}
    tensors |= {f"first_stage_model.{k}": v for k, v in _vae_tensors(pipe.vae).items()}
    if hasattr(pipe, "text_encoder_2"):
        tensors |= _clip_tensors(pipe.text_encoder, "conditioner.embedders.0.transformer.")
        tensors |= _open_clip_tensors(pipe.text_encoder_2, "conditioner.embedders.1.model.")
    elif pipe.unet.config.use_linear_projection:  # SD 2.x
        tensors |= _open_clip_tensors(pipe.text_encoder, "cond_stage_model.model.")
    else:
        tensors |= _clip_tensors(pipe.text_encoder, "cond_stage_model.transformer.")
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, path)
    return path


_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
_UNET_ENDS = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}


def _unet_tensors(module: Any) -> dict[str, torch.Tensor]:
    per_block = module.config.layers_per_block + 1
    return {_unet_name(name, per_block): value for name, value in module.state_dict().items()}


def _unet_name(name: str, per_block: int) -> str:
    stem, kind = name.rsplit(".", 1)
    if stem in _UNET_ENDS:
        return f"{_UNET_ENDS[stem]}.{kind}"
    if match := re.fullmatch(r"mid_block\.(resnets|attentions)\.(\d)\.(.+)", name):
        place = 1 if match[1] == "attentions" else 2 * int(match[2])
        return f"middle_block.{place}.{_inner(match[1], match[3])}"
    match = re.fullmatch(r"(down|up)_blocks\.(\d)\.(\w+)\.(\d)\.(.+)", name)
    assert match is not None, name
    way, block, sort, layer, rest = match.groups()
    if way == "down":
        if sort == "downsamplers":
            return f"input_blocks.{(int(block) + 1) * per_block}.0.op.{rest.removeprefix('conv.')}"
        number = 1 + int(block) * per_block + int(layer)
        return f"input_blocks.{number}.{int(sort == 'attentions')}.{_inner(sort, rest)}"
    if sort == "upsamplers":
        place = 2 if int(block) == 0 else 1  # after attention, which only the first block has here
        return f"output_blocks.{int(block) * per_block + per_block - 1}.{place}.{rest}"
    number = int(block) * per_block + int(layer)
    return f"output_blocks.{number}.{int(sort == 'attentions')}.{_inner(sort, rest)}"


def _inner(sort: str, rest: str) -> str:
    if sort == "attentions":
        return rest
    part, kind = rest.split(".")
    return f"{_RESNET[part]}.{kind}"


def _vae_tensors(module: Any) -> dict[str, torch.Tensor]:
    stages = len(module.config.block_out_channels)
    tensors = {}
    for name, value in module.state_dict().items():
        new = name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
        new = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", new)
        new = re.sub(r"down_blocks\.(\d)\.resnets", r"down.\1.block", new)
        new = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", new)
        new = re.sub(
            r"up_blocks\.(\d)\.(resnets|upsamplers\.0)",
            lambda m: f"up.{stages - 1 - int(m[1])}.{'block' if m[2] == 'resnets' else 'upsample'}",
            new,
        )
        if "mid_block.attentions.0" in new:
            new = new.replace("mid_block.attentions.0", "mid.attn_1").replace("group_norm", "norm")
            new = new.replace("to_out.0", "proj_out").replace(".to_", ".")
            if new.endswith("weight") and "norm" not in new:
                value = value[:, :, None, None]  # it was a convolution
        tensors[new] = value
    return tensors


def _clip_tensors(module: CLIPTextModel, prefix: str) -> dict[str, torch.Tensor]:
    return {
        f"{prefix}text_model.{name.removeprefix('text_model.')}": value
        for name, value in module.state_dict().items()
    }


def _open_clip_tensors(module: Any, prefix: str) -> dict[str, torch.Tensor]:
    old = {
        "embeddings.position_embedding.weight": "positional_embedding",
        "embeddings.token_embedding.weight": "token_embedding.weight",
        "final_layer_norm.weight": "ln_final.weight",
        "final_layer_norm.bias": "ln_final.bias",
    }
    tensors: dict[str, torch.Tensor] = {}
    state = {name.removeprefix("text_model."): v for name, v in module.state_dict().items()}
    for name, value in state.items():
        if name == "text_projection.weight":
            tensors[prefix + "text_projection"] = value.T
        elif name in old:
            tensors[prefix + old[name]] = value
        elif "k_proj" not in name and "v_proj" not in name:
            new = name.replace("encoder.layers", "transformer.resblocks")
            new = new.replace("layer_norm1", "ln_1").replace("layer_norm2", "ln_2")
            new = new.replace("mlp.fc1", "mlp.c_fc").replace("mlp.fc2", "mlp.c_proj")
            new = new.replace("self_attn.out_proj", "attn.out_proj")
            if "self_attn.q_proj" in new:
                rows = [state[name.replace("q_proj", f"{which}_proj")] for which in "qkv"]
                value = torch.cat(rows)
                new = new.replace("self_attn.q_proj.", "attn.in_proj_")
            tensors[prefix + new] = value
    return tensors
