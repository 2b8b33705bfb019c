"""Captions written by a model from the Hub, where one is on this machine or may be fetched.

    captioner = find_captioner("blip-base")
    download(captioner)                                   # only after the user agreed
    writer = CaptionWriter(captioner, device)
    dataset = dataset.with_captions(write_captions(dataset.examples, writer, "my cat", "cat"))

Light on import: transformers is imported when a writer is made.
"""

from lora.captioner.models import (
    CAPTIONERS,
    Captioner,
    CaptionerNeeded,
    CaptionerUnavailable,
    captioner_folder,
    download,
    download_size,
    find_captioner,
)
from lora.captioner.writer import CaptionWriter, write_captions

__all__ = [
    "CAPTIONERS",
    "CaptionWriter",
    "Captioner",
    "CaptionerNeeded",
    "CaptionerUnavailable",
    "captioner_folder",
    "download",
    "download_size",
    "find_captioner",
    "write_captions",
]
