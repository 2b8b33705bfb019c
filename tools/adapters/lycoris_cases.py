"""Write tests/cases/adapters/lycoris.safetensors: what LyCORIS' own modules give.

    pip install lycoris-lora && python -m tools.adapters.lycoris_cases

For each case the adapter's tensors as LyCORIS saves them, an input, and the output of LyCORIS'
forward at multiplier 1. Read by tests/test_lora_changes.py. Made with lycoris-lora 4.1.3.
"""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

FILE = Path(__file__).parents[2] / "tests" / "cases" / "adapters" / "lycoris.safetensors"
DORA: dict[str, dict[str, Any]] = {
    "": {},
    "-dora": {"weight_decompose": True},
    "-dora-inputs": {"weight_decompose": True, "wd_on_out": False},
}


def bases() -> dict[str, tuple[nn.Module, torch.Tensor]]:
    """The modules that adapters change, and their inputs, from a fixed seed."""
    draw = torch.Generator().manual_seed(1)
    made: dict[str, tuple[nn.Module, torch.Tensor]] = {
        "linear": (nn.Linear(12, 8), torch.randn(2, 3, 12, generator=draw)),
        "square": (nn.Linear(8, 8, bias=False), torch.randn(2, 3, 8, generator=draw)),
        "conv": (nn.Conv2d(8, 8, 3, stride=2, padding=1), torch.randn(2, 8, 5, 5, generator=draw)),
    }
    with torch.no_grad():
        for module, _ in made.values():
            for weights in module.parameters():
                weights.copy_(torch.randn(weights.shape, generator=draw) / 3)
    return made


def main() -> None:
    """Write the file."""
    from lycoris.modules.locon import LoConModule
    from lycoris.modules.loha import LohaModule
    from lycoris.modules.lokr import LokrModule

    kinds: dict[str, tuple[Any, dict[str, Any]]] = {
        "locon": (LoConModule, {"lora_dim": 2}),
        "loha": (LohaModule, {"lora_dim": 2}),
        "loha-tucker": (LohaModule, {"lora_dim": 2, "use_tucker": True}),
        "loha-high": (LohaModule, {"lora_dim": 8}),
        "lokr": (LokrModule, {"lora_dim": 1, "factor": 2}),
        "lokr-both": (LokrModule, {"lora_dim": 1, "factor": 4, "decompose_both": True}),
        "lokr-tucker": (LokrModule, {"lora_dim": 1, "factor": 2, "use_tucker": True}),
        "lokr-full": (LokrModule, {"full_matrix": True}),
        "lokr-rs": (LokrModule, {"lora_dim": 1, "factor": 2, "rs_lora": True}),
    }
    found: dict[str, torch.Tensor] = {}
    draw = torch.Generator().manual_seed(2)
    for sort in bases():
        for kind, (build, options) in kinds.items():
            for ending, more in DORA.items():
                module, given = bases()[sort]
                adapter = build("x", module, 1.0, alpha=1.5, **options, **more)
                with torch.no_grad():
                    for name, weights in adapter.named_parameters():
                        if name.startswith("org_"):
                            continue
                        drawn = torch.randn(weights.shape, generator=draw)
                        scaled = weights * (1 + 0.2 * drawn) if name == "dora_scale" else drawn / 2
                        weights.copy_(scaled)
                    case = f"{sort}/{kind}{ending}"
                    found[f"{case}/output"] = adapter.eval()(given).contiguous()
                for name, tensor in adapter.custom_state_dict().items():
                    found[f"{case}/{name}"] = tensor.detach().clone().contiguous()
    save_file(found, FILE)


if __name__ == "__main__":
    main()
