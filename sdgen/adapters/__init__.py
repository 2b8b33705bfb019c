"""LoRA adapters before they are loaded: catalogue and doctor. Reads headers only; no torch.

inspect(path)              all that a file tells, or AdapterRefused with the reason
verdict(report, spec)      what of it will apply to a model
Catalogue(data_dir)        the adapters by name: list, find, add, fetch, remove
keys.layers                which tensor belongs to which module
tags.take_tags             <lora:name:0.8> in a prompt
"""

from sdgen.adapters.catalogue import Catalogue
from sdgen.adapters.doctor import inspect
from sdgen.adapters.report import AdapterReport, Parts, Verdict
from sdgen.adapters.verdict import unsupported, verdict

__all__ = ["AdapterReport", "Catalogue", "Parts", "Verdict", "inspect", "unsupported", "verdict"]
