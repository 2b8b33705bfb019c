"""What torch's exceptions mean."""

import gc

import torch


def is_out_of_memory(error: BaseException) -> bool:
    """True for every way in which torch says that memory ran out (CUDA, MPS, CPU)."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and (
        "out of memory" in text or "can't allocate memory" in text
    )


def free_memory() -> None:
    """Return cached blocks to the device, after the tensors that held them are gone."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
