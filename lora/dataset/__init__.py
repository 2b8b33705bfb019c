"""Photos for training: read, checked, captioned, cropped, and written for other tools too.

    report = check(Path("photos.zip"), run / "photos", "my cat", "cat", resolution=512)
    print_report(report)
    dataset = write_dataset(split(report.dataset, None, seed=0), run / "photos")

No torch on import; only `pixels` imports it, when it is called.
"""

from lora.dataset.buckets import buckets, fit
from lora.dataset.captions import has_trigger, with_trigger
from lora.dataset.check import check
from lora.dataset.crops import draw_crop, draw_crops
from lora.dataset.errors import DatasetDamaged, PhotosRefused
from lora.dataset.example import Dataset, Example
from lora.dataset.layout import load_dataset, write_dataset
from lora.dataset.packing import pack
from lora.dataset.pixels import cropped, pixels
from lora.dataset.report import Finding, Photo, PhotoReport
from lora.dataset.split import default_count, split
from lora.dataset.telling import print_report, report_json, report_text

__all__ = [
    "Dataset",
    "DatasetDamaged",
    "Example",
    "Finding",
    "Photo",
    "PhotoReport",
    "PhotosRefused",
    "buckets",
    "check",
    "cropped",
    "default_count",
    "draw_crop",
    "draw_crops",
    "fit",
    "has_trigger",
    "load_dataset",
    "pack",
    "pixels",
    "print_report",
    "report_json",
    "report_text",
    "split",
    "with_trigger",
    "write_dataset",
]
