"""Everything that can go wrong, as sentences for the person who asked.

    SdgenError
      SettingError         a command line option or SDGEN_ variable cannot be used
      InvalidRequest       what was asked is out of bounds; names the field and the limit
      QueueFull            too many are waiting; says how many
      TooMuch              one person asks for more than this app allows one person; says the limit
      ModelUnavailable     a base model cannot be had or used
        DownloadNeeded     it could be had, after a download that nobody has agreed to yet
      AdapterUnavailable   a LoRA adapter cannot be had
        AdapterRefused     it is there and cannot be used: damaged, unsafe, for another model
      GenerationFailed     a picture could not be made
        OutOfMemory        not even alone and with the picture decoded in tiles
        BrokenNumbers      NaN or infinity in latents or picture
      PictureUnreadable    a file that was dropped or named is no picture, or holds no recipe
      StorageFailed        a picture could not be written
      ShuttingDown         the app is being stopped

`str(error)` is shown to the user as it stands. The cause is chained (`raise ... from error`) for
the log. Nothing here ever carries a key, a path of the machine's user, or another user's text.
"""


class SdgenError(Exception):
    """Base of all errors that a user may see; `str()` is a sentence they can act on."""


class SettingError(SdgenError):
    """A setting cannot be used; the sentence names the option or the variable."""


class InvalidRequest(SdgenError):
    """A request is out of bounds. `field` is the name of the offending field of GenerateRequest."""

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(sentence)
        self.field = field


class QueueFull(SdgenError):
    """The queue refuses more work. `waiting` is the number of requests already in it."""

    def __init__(self, waiting: int) -> None:
        super().__init__(
            f"The queue is full: {waiting} requests are waiting. Please try again in a moment."
        )
        self.waiting = waiting


class TooMuch(SdgenError):
    """One person's share is used up; the sentence names the limit."""


class ModelUnavailable(SdgenError):
    """A base model cannot be loaded, with the reason and what to do about it."""


class DownloadNeeded(ModelUnavailable):
    """The model is not on this machine. `download_bytes` is what fetching it would cost."""

    def __init__(self, model: str, download_bytes: int) -> None:
        size = f"about {_size(download_bytes)}" if download_bytes else "an unknown amount"
        super().__init__(
            f"The model '{model}' is not on this machine yet: it needs a download of {size}. "
            "Nothing is downloaded before you say so."
        )
        self.model = model
        self.download_bytes = download_bytes


class AdapterUnavailable(SdgenError):
    """A LoRA adapter cannot be had: no such name, or it could not be fetched."""


class AdapterRefused(AdapterUnavailable):
    """A LoRA adapter cannot be used, with the reason: not safetensors, damaged, does not fit."""


def _size(count: int) -> str:
    """Bytes as people say them: "2.8 GB", "4 MB"."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{max(1, round(count / 1e6))} MB"


class GenerationFailed(SdgenError):
    """One request failed; its neighbours did not."""


class OutOfMemory(GenerationFailed):
    """There was not enough memory for this picture even alone and decoded in tiles."""


class BrokenNumbers(GenerationFailed):
    """NaN or infinity appeared where a picture should be, and decoding in float32 did not help."""


class PictureUnreadable(SdgenError):
    """A file is not a picture that can be read, or carries no recipe."""


class StorageFailed(SdgenError):
    """A picture could not be written, for example because the disk is full."""


class ShuttingDown(SdgenError):
    """The app is being stopped and takes no new work."""

    def __init__(self) -> None:
        super().__init__("The app is shutting down and takes no new pictures.")
