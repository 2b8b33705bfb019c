"""One action of the engine: its value, or why it failed. The engine's one broad catch is here."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from sdgen.errors import SdgenError

Value = TypeVar("Value")


@dataclass(frozen=True)
class Fault:
    """Why an attempt failed. `out_of_memory`: a smaller attempt may work."""

    error: Exception
    out_of_memory: bool


def attempt(action: Callable[[], Value]) -> Value | Fault:
    """What the action returns; whatever it raises becomes a Fault, with the memory freed."""
    from sdgen.pipelines.faults import free_memory, is_out_of_memory

    try:
        return action()
    except SdgenError as error:
        return Fault(error, out_of_memory=False)
    except Exception as error:  # noqa: BLE001 - one request's failure must stay its own
        fault = Fault(error, out_of_memory=is_out_of_memory(error))
        if fault.out_of_memory:
            error.__traceback__ = None  # its frames hold the tensors that filled the memory
    if fault.out_of_memory:
        free_memory()
    return fault
