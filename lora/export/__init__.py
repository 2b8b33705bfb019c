"""From a checkpoint to files that other tools load, each proven before it is called done.

layouts.py: names of tensors. describe.py: metadata. recipe_in_file.py: how to train it again.
check.py: the proof, in a fresh process. run.py: all of it.
"""

from lora.export.check import FileCheck
from lora.export.layouts import ExportFailed
from lora.export.recipe_in_file import (
    NoRecipe,
    TrainedRecipe,
    read_trained_recipe,
    recipe_from_file,
)
from lora.export.run import Exported, adapter_from_file, export

__all__ = [
    "ExportFailed",
    "Exported",
    "FileCheck",
    "NoRecipe",
    "TrainedRecipe",
    "adapter_from_file",
    "export",
    "read_trained_recipe",
    "recipe_from_file",
]
