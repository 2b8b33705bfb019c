"""Photos for training: read, checked, captioned, cropped, and written for other tools too.

    report = check(Path("photos.zip"), run / "photos", "my cat", "cat", resolution=512)
    print_report(report)
    dataset = write_dataset(split(report.dataset, None, seed=0), run / "photos")

No torch on import; only `pixels` imports it, when it is called.
"""

from lora.dataset.buckets import buckets, fit
from lora.dataset.errors import DatasetDamaged, PhotosRefused
from lora.dataset.layout import Dataset, Example, load_dataset, write_dataset
from lora.dataset.pixels import cropped, pixels

__all__ = [
    "Dataset",
    "DatasetDamaged",
    "Example",
    "PhotosRefused",
    "buckets",
    "cropped",
    "fit",
    "load_dataset",
    "pixels",
    "write_dataset",
]
