"""Too many open files: told as what it is, and waited for, as it passes."""

import errno
import os
import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")

WAIT_SECONDS, LOOK_SECONDS = 60.0, 0.5
SENTENCE = (
    "This machine lets sdgen open no more files just now. Please try again in a moment; its "
    "operator can raise the limit (ulimit -n)."
)
_CODES = (errno.EMFILE, errno.ENFILE)
_WORDS = ("too many open files", "os error 24", "os error 23")  # of libraries written in Rust or C


def out_of_descriptors(error: BaseException | None) -> bool:
    """True where an error, or what caused it, is that no further file may be opened.

    SQLite says that it cannot open the database then, and safetensors that there is no such file;
    so whether one can be opened at all is tried, too.
    """
    if error is None:
        return False
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, OSError) and error.errno in _CODES:
            return True
        if any(words in str(error).lower() for words in _WORDS):
            return True
        error = error.__cause__ or error.__context__
    return _none_can_be_opened()


def _none_can_be_opened() -> bool:
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return error.errno in _CODES
    return False


def patiently(
    action: Callable[[], Value],
    seconds: float = WAIT_SECONDS,
    wait: Callable[[float], None] = time.sleep,
) -> Value:
    """What the action returns; where no file may be opened, tried again for so many seconds.

    Then, and for any other reason, raises what the action raises.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return action()
        except Exception as error:
            if not out_of_descriptors(error) or time.monotonic() >= deadline:
                raise
        wait(LOOK_SECONDS)
