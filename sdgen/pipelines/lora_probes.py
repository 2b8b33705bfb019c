"""Fixed small passes through the parts of a model, by which it is seen what an adapter does."""

from typing import Any

import torch

_TOKENS = 8


@torch.inference_mode()
def probe_unet(unet: Any, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """What a UNet2DConditionModel predicts for the smallest latents that it takes, [1, c, h, w].

    Knows the conditions of Stable Diffusion 1, 2, XL and of models distilled for guidance.
    """
    config = unet.config
    generator = torch.Generator("cpu").manual_seed(0)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator).to(device, dtype)

    side = 2 ** (len(config.block_out_channels) - 1)
    latents = noise(1, config.in_channels, side, side)
    conditions: dict[str, Any] = {}
    if config.time_cond_proj_dim is not None:
        conditions["timestep_cond"] = noise(1, config.time_cond_proj_dim)
    if config.addition_embed_type == "text_time":
        pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
        sizes = torch.tensor([[512, 512, 0, 0, 512, 512]], device=device, dtype=dtype)
        conditions["added_cond_kwargs"] = {"text_embeds": noise(1, pooled), "time_ids": sizes}
    output: torch.Tensor = unet(
        latents,
        torch.tensor(500, device=device),
        encoder_hidden_states=noise(1, _TOKENS, config.cross_attention_dim),
        return_dict=False,
        **conditions,
    )[0]
    return output


@torch.inference_mode()
def probe_text_encoder(encoder: Any, device: torch.device) -> torch.Tensor:
    """What a CLIP text encoder says to a few fixed tokens: [1, n, d], or pooled [1, d]."""
    ids = torch.arange(_TOKENS, device=device) * 97 % encoder.config.vocab_size
    ids[-1] = encoder.config.eos_token_id
    output: torch.Tensor = encoder(ids[None])[0]
    return output
