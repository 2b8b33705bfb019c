"""What the Hub, the network and the disk say when something is fetched, as sentences of ours."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from sdgen.errors import ModelUnavailable, SdgenError
from sdgen.models import HubSource


@contextmanager
def hub_errors(source: HubSource, kind: type[SdgenError] = ModelUnavailable) -> Iterator[None]:
    """Turns what the Hub, the network and the disk say into one sentence each, raised as `kind`."""
    import httpx2

    try:
        yield
    except (OSError, httpx2.HTTPError, ValueError, KeyError, TypeError) as error:
        raise kind(_hub_sentence(source, error)) from error


def _hub_sentence(source: HubSource, error: BaseException) -> str:
    """What an error means for the person who asked, and what to do."""
    import httpx2
    from huggingface_hub import errors

    repo = source.repo
    if isinstance(error, errors.GatedRepoError):
        return (
            f"'{repo}' is gated: accept its licence on https://huggingface.co/{repo}, then log in "
            "on this machine with `hf auth login`."
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"The Hub has no model '{repo}', or it is private; check the spelling (owner/name)."
    if isinstance(error, errors.RevisionNotFoundError):
        return f"The model '{repo}' has no revision '{source.revision}' on the Hub."
    if isinstance(error, errors.OfflineModeIsEnabled):
        return f"'{repo}' cannot be fetched because HF_HUB_OFFLINE is set; unset it to go online."
    if isinstance(error, errors.HFValidationError):
        return f"'{repo[:200]}' is not a valid Hub id (owner/name)."
    if isinstance(error, errors.HfHubHTTPError):
        status = error.response.status_code
        if status in (401, 403):
            return f"The Hub refuses '{repo}' to this login; log in again with `hf auth login`."
        return f"The Hub answered with an error ({status}) for '{repo}'; please try again later."
    if isinstance(error, errors.LocalEntryNotFoundError) and error.__cause__ is not None:
        return _hub_sentence(source, error.__cause__)
    if isinstance(error, httpx2.HTTPError | errors.LocalEntryNotFoundError | ConnectionError):
        return (
            f"'{repo}' could not be fetched: the Hub cannot be reached or the connection broke "
            "off. Check the network and try again; what is here already is kept."
        )
    if isinstance(error, OSError):
        return _disk_sentence(repo, error)
    return f"The Hub's answer for '{repo}' makes no sense; please try again later."


def _disk_sentence(repo: str, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk is full; '{repo}' was not fetched to its end. Make room and try again."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR):
        return "The Hub's cache folder cannot be written; set HF_HOME to a folder that can."
    return (
        f"'{repo}' was not fetched to its end: {error.strerror or 'the transfer broke off'}. "
        "Please try again; what is here already is kept."
    )
