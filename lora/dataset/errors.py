"""What can be wrong with photos as a whole; a single bad photo is left out and named instead."""

from sdgen.errors import SdgenError


class PhotosRefused(SdgenError):
    """A folder, zip or list of photos cannot be used, with the reason and what to do."""


class DatasetDamaged(SdgenError):
    """Photos that were prepared before are missing or have changed since."""
